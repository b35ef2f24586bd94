//! What happens on a day: planned whole, from a seed, before anything is sent.

use mainstem_domain::{At, ChannelId};
use mainstem_line::Channels;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Which day to play. The same seed and numbers give the same events with the same ids, so playing
/// a day twice is a day of duplicates.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlayRequest {
    /// Where ingress is, e.g. `http://127.0.0.1:7700`.
    pub webhook_base: String,
    /// Tells days apart.
    #[serde(default)]
    pub seed: u64,
    /// How many events happen, each person's `follow` included. At most 1,000,000.
    #[serde(default = "events")]
    pub events: usize,
    /// How many people there are; a quarter follow two accounts. At most 1,000,000.
    #[serde(default = "users")]
    pub users: usize,
    /// Of 100 deliveries that were taken so many come a second time.
    #[serde(default = "redeliver_percent")]
    pub redeliver_percent: u8,
}

fn events() -> usize {
    300
}
fn users() -> usize {
    60
}
fn redeliver_percent() -> u8 {
    5
}

/// What one channel sends, in order.
#[derive(Debug, PartialEq)]
pub(crate) struct Lane {
    pub(crate) channel: ChannelId,
    pub(crate) deliveries: Vec<Delivery>,
}

/// One POST.
#[derive(Debug, PartialEq)]
pub(crate) struct Delivery {
    pub(crate) events: Vec<Event>,
    pub(crate) again: Again,
}

/// Whether a delivery that was taken comes a second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    Never,
    /// With `isRedelivery: true`.
    Redelivered,
    /// Byte for byte the same.
    Duplicated,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) user: String,
    pub(crate) reply_token: String,
    id: String,
    what: Value,
}

impl Delivery {
    /// The body; everything happens at `at`.
    pub(crate) fn body(&self, destination: &str, at: At, is_redelivery: bool) -> String {
        let events = self.events.iter().map(|event| {
            let mut json = json!({
                "mode": "active",
                "timestamp": at.as_millis(),
                "source": {"type": "user", "userId": event.user},
                "webhookEventId": event.id,
                "deliveryContext": {"isRedelivery": is_redelivery},
                "replyToken": event.reply_token,
            });
            if let (Some(json), Some(what)) = (json.as_object_mut(), event.what.as_object()) {
                json.extend(what.clone());
            }
            json
        });
        json!({"destination": destination, "events": events.collect::<Vec<_>>()}).to_string()
    }
}

/// One person as one account knows them.
struct Friend {
    lane: usize,
    user: String,
    follows: bool,
}

const SMALL_TALK: &[&str] = &[
    "請問今天營業到幾點？",
    "謝謝你們 😊",
    "新款的包包有貨嗎？",
    "可以幫我保留一件 M 號嗎",
    "週年慶什麼時候開始？",
    "Hello, do you have this in red?",
    "Thanks a lot! 🎉",
    "What time do you close today?",
    "Is the 𝓵𝓲𝓶𝓲𝓽𝓮𝓭 edition still available?",
];
const REPAIRS: &[&str] = &[
    "我想送修，手錶需要維修",
    "包包的拉鍊壞了",
    "上個月買的鞋子壞了，可以維修嗎？",
    "My watch needs a repair",
    "The strap broke, how do I get it repaired?",
];
const MENU: &[&str] = &["menu=store", "menu=shop", "menu=member"];

/// Plans the day. Nothing happens where there is no channel.
pub(crate) fn plan(request: &PlayRequest, channels: &Channels) -> Vec<Lane> {
    let mut draws = ChaCha8Rng::seed_from_u64(request.seed);
    let channels: Vec<_> = channels.iter().collect();
    let mut friends = friends(&mut draws, request.users, &channels);
    let mut lanes: Vec<Vec<Event>> = channels.iter().map(|_| Vec::new()).collect();
    for _ in 0..request.events {
        let count = friends.len().max(1);
        let Some(friend) = friends.get_mut(draws.random_range(0..count)) else { break };
        let what = if friend.follows { act(&mut draws) } else { follow() };
        friend.follows = true;
        lanes[friend.lane].push(Event {
            user: friend.user.clone(),
            reply_token: characters(&mut draws, b"0123456789abcdef", 32),
            id: ulid(&mut draws),
            what,
        });
    }
    let lanes = channels.into_iter().zip(lanes).map(|((channel, _), events)| {
        let deliveries = deliveries(&mut draws, events, request.redeliver_percent);
        Lane { channel: channel.clone(), deliveries }
    });
    lanes.collect()
}

fn friends(
    draws: &mut ChaCha8Rng,
    users: usize,
    channels: &[(&ChannelId, &mainstem_line::Channel)],
) -> Vec<Friend> {
    let mut friends = Vec::new();
    if channels.is_empty() {
        return friends;
    }
    for _ in 0..users {
        let first = draws.random_range(0..channels.len());
        let user = format!("U{}", characters(draws, b"0123456789abcdef", 32));
        if draws.random_ratio(1, 4) {
            let second = draws.random_range(0..channels.len());
            if second != first {
                // One person has another id in another provider, and nobody tells us that it is them.
                let same = channels[first].1.provider == channels[second].1.provider;
                let foreign = format!("U{}", characters(draws, b"0123456789abcdef", 32));
                let user = if same { user.clone() } else { foreign };
                friends.push(Friend { lane: second, user, follows: false });
            }
        }
        friends.push(Friend { lane: first, user, follows: false });
    }
    friends
}

fn deliveries(draws: &mut ChaCha8Rng, events: Vec<Event>, redeliver_percent: u8) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    let mut events = events.into_iter().peekable();
    while events.peek().is_some() {
        let size = draws.random_range(1..=4);
        let again = match draws.random_range(0..100) < redeliver_percent {
            false => Again::Never,
            true if draws.random() => Again::Redelivered,
            true => Again::Duplicated,
        };
        deliveries.push(Delivery { events: events.by_ref().take(size).collect(), again });
    }
    deliveries
}

fn follow() -> Value {
    json!({"type": "follow", "follow": {"isUnblocked": false}})
}

fn act(draws: &mut ChaCha8Rng) -> Value {
    match draws.random_range(0..100) {
        0..45 => said(draws, SMALL_TALK),
        45..65 => said(draws, REPAIRS),
        65..80 => json!({"type": "postback", "postback": {"data": "menu=store&topic=repair"}}),
        80..90 => {
            json!({"type": "postback", "postback": {"data": MENU.choose(draws).unwrap_or(&"")}})
        }
        _ => {
            let id = characters(draws, b"0123456789", 18);
            let sticker =
                json!({"type": "sticker", "id": id, "packageId": "446", "stickerId": "1988"});
            json!({"type": "message", "message": sticker})
        }
    }
}

fn said(draws: &mut ChaCha8Rng, texts: &[&str]) -> Value {
    let text = texts.choose(draws).copied().unwrap_or_default();
    let id = characters(draws, b"0123456789", 18);
    json!({"type": "message", "message": {"type": "text", "id": id, "text": text}})
}

fn ulid(draws: &mut ChaCha8Rng) -> String {
    format!("01{}", characters(draws, b"0123456789ABCDEFGHJKMNPQRSTVWXYZ", 24))
}

fn characters(draws: &mut ChaCha8Rng, alphabet: &[u8], count: usize) -> String {
    (0..count).map(|_| char::from(alphabet[draws.random_range(0..alphabet.len())])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn request(seed: u64) -> PlayRequest {
        let base =
            json!({"webhook_base": "http://localhost", "seed": seed, "redeliver_percent": 30});
        serde_json::from_value(base).unwrap()
    }

    fn channels() -> Channels {
        let one = |id: &str, provider: &str| {
            format!(
                "[channels.{id}]\nprovider = \"{provider}\"\ndestination = \"{id}\"\n\
                 secret = \"s\"\naccess_token = \"t\"\n"
            )
        };
        Channels::parse(&[one("a", "p1"), one("b", "p1"), one("c", "p2")].concat()).unwrap()
    }

    #[test]
    fn a_seed_is_a_day() {
        let day = plan(&request(7), &channels());
        assert_eq!(day, plan(&request(7), &channels()));
        assert_ne!(day, plan(&request(8), &channels()));
        let deliveries: Vec<_> = day.iter().flat_map(|lane| &lane.deliveries).collect();
        let events: Vec<_> = deliveries.iter().flat_map(|delivery| &delivery.events).collect();
        assert_eq!(events.len(), 300);
        assert_eq!(events.iter().map(|event| &event.id).collect::<BTreeSet<_>>().len(), 300);
        for again in [Again::Never, Again::Redelivered, Again::Duplicated] {
            assert!(deliveries.iter().any(|delivery| delivery.again == again), "{again:?}");
        }
        let text = format!("{events:?}");
        for word in ["維修", "壞了", "repair", "topic=repair", "sticker", "follow"] {
            assert!(text.contains(word), "{word}");
        }
        assert!(deliveries.iter().any(|delivery| {
            delivery.events.iter().map(|event| &event.user).collect::<BTreeSet<_>>().len() > 1
        }));
    }

    #[test]
    fn everybody_follows_first() {
        for lane in plan(&request(7), &channels()) {
            let mut known = BTreeSet::new();
            for event in lane.deliveries.iter().flat_map(|delivery| &delivery.events) {
                let new = known.insert(&event.user);
                assert_eq!(new, event.what["type"] == "follow");
            }
        }
    }

    #[test]
    fn a_redelivery_differs_in_one_word() {
        let day = plan(&request(7), &channels());
        let delivery = &day[0].deliveries[0];
        let first = delivery.body("a", At::from_millis(1), false);
        let again = delivery.body("a", At::from_millis(1), true);
        assert_eq!(first.replace("\"isRedelivery\":false", "\"isRedelivery\":true"), again);
        let webhook = mainstem_line::Webhook::parse(first.as_bytes()).unwrap();
        for raw in webhook.events {
            let event = mainstem_line::LineEvent::parse(raw).unwrap();
            assert!(event.source.person().is_some() && event.reply_token.is_some());
        }
    }

    #[test]
    fn nobody_and_nowhere_is_nothing() {
        let nobody = PlayRequest { users: 0, ..request(7) };
        assert!(plan(&nobody, &channels()).iter().all(|lane| lane.deliveries.is_empty()));
        let nowhere = Channels::parse("[channels]").unwrap();
        assert!(plan(&request(7), &nowhere).is_empty());
    }
}
