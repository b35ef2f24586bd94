//! What happens on a day: planned whole, from a seed, before anything is sent.

use std::time::Duration;

use mainstem_domain::{At, ChannelId};
use mainstem_line::Channels;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::strange::strange;
use super::style::{self, Style};
use super::talk::{self, Language, characters, ulid};

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
    /// Over how many minutes of the clock it happens, evenly; 0 is as fast as it is taken.
    #[serde(default)]
    pub minutes: u32,
    /// The account that speaks for every brand: a tap there names one of `brands`.
    #[serde(default)]
    pub entry: Option<ChannelId>,
    /// The brands that can be chosen at the entry.
    #[serde(default)]
    pub brands: Vec<String>,
    /// Of 100 events so many are of a kind that few receivers were tried with, and of 100 deliveries
    /// so many are written in another way, are large, or are empty.
    #[serde(default)]
    pub strange_percent: u8,
    /// Of 100 deliveries so many change places with the next of the same channel.
    #[serde(default)]
    pub reorder_percent: u8,
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
    /// When it is sent, counted from the start of the day.
    pub(crate) due: Duration,
    style: Style,
    /// Seeds the style.
    seed: u64,
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
    user: String,
    /// Empty where LINE gives none.
    reply_token: String,
    id: String,
    what: Value,
    due: Duration,
}

impl Delivery {
    /// The body; everything happens at `at`.
    /// What it tells differs from time to time in `isRedelivery` alone.
    pub(crate) fn body(&self, destination: &str, at: At, is_redelivery: bool) -> String {
        let events = self.events.iter().map(|event| {
            let mut json = json!({
                "mode": "active",
                "timestamp": at.as_millis(),
                "source": {"type": "user", "userId": event.user},
                "webhookEventId": event.id,
                "deliveryContext": {"isRedelivery": is_redelivery},
            });
            if let (Some(json), Some(what)) = (json.as_object_mut(), event.what.as_object()) {
                if !event.reply_token.is_empty() {
                    json.insert("replyToken".to_owned(), event.reply_token.clone().into());
                }
                json.extend(what.clone());
                json.retain(|_, value| !value.is_null());
            }
            json
        });
        let body = json!({"destination": destination, "events": events.collect::<Vec<_>>()});
        style::write(&body, self.style, self.seed)
    }
}

/// One person as one account knows them.
struct Friend {
    lane: usize,
    user: String,
    language: Language,
    follows: bool,
    blocked: bool,
    /// The last message that the person sent.
    said: Option<String>,
}

/// Plans the day. Nothing happens where there is no channel.
pub(crate) fn plan(request: &PlayRequest, channels: &Channels) -> Vec<Lane> {
    let mut draws = ChaCha8Rng::seed_from_u64(request.seed);
    let channels: Vec<_> = channels.iter().collect();
    let mut friends = friends(&mut draws, request.users, &channels);
    let mut lanes: Vec<Vec<Event>> = channels.iter().map(|_| Vec::new()).collect();
    for number in 0..request.events {
        let count = friends.len().max(1);
        let Some(friend) = friends.get_mut(draws.random_range(0..count)) else { break };
        let at_entry = request.entry.as_ref() == Some(channels[friend.lane].0);
        let brand = request.brands.choose(&mut draws).filter(|_| at_entry);
        let what = if friend.follows && happens(&mut draws, request.strange_percent) {
            strange(&mut draws, &friend.user, friend.said.as_deref())
        } else {
            next(&mut draws, friend, brand.map(String::as_str))
        };
        let reply_token = characters(&mut draws, b"0123456789abcdef", 32);
        let gives_token = what["type"] != "unfollow";
        lanes[friend.lane].push(Event {
            user: friend.user.clone(),
            reply_token: if gives_token { reply_token } else { String::new() },
            id: ulid(&mut draws),
            what,
            due: share(request.minutes, number, request.events),
        });
    }
    let lanes = channels.into_iter().zip(lanes).map(|((channel, _), events)| {
        let mut deliveries = deliveries(&mut draws, events, request);
        for first in 1..deliveries.len() {
            if happens(&mut draws, request.reorder_percent) {
                change_places(&mut deliveries, first - 1);
            }
        }
        Lane { channel: channel.clone(), deliveries }
    });
    lanes.collect()
}

/// Draws nothing where it never happens, so that a day without it stays the day that it was.
fn happens(draws: &mut ChaCha8Rng, percent: u8) -> bool {
    percent > 0 && draws.random_range(0..100) < percent
}

/// The later one comes first, at the time of the earlier.
fn change_places(deliveries: &mut [Delivery], first: usize) {
    deliveries.swap(first, first + 1);
    let (earlier, later) = (deliveries[first + 1].due, deliveries[first].due);
    (deliveries[first].due, deliveries[first + 1].due) = (earlier, later);
}

/// When the event of that number happens, if all happen evenly.
fn share(minutes: u32, number: usize, of: usize) -> Duration {
    let number = u32::try_from(number).unwrap_or(u32::MAX);
    let of = u32::try_from(of).unwrap_or(u32::MAX).max(1);
    Duration::from_mins(minutes.into()).mul_f64(f64::from(number) / f64::from(of))
}

/// People follow first. Who blocked the account comes back before doing anything else there.
fn next(draws: &mut ChaCha8Rng, friend: &mut Friend, brand: Option<&str>) -> Value {
    if !friend.follows {
        friend.follows = true;
        return talk::follow(friend.blocked);
    }
    let what = talk::act(draws, friend.language, brand);
    if let Some(id) = what.pointer("/message/id").and_then(Value::as_str) {
        friend.said = Some(id.to_owned());
    }
    if what["type"] == "unfollow" {
        (friend.follows, friend.blocked) = (false, true);
    }
    what
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
        let chinese = draws.random_ratio(7, 10);
        let language = if chinese { Language::Chinese } else { Language::English };
        let friend = |lane, user| Friend {
            lane,
            user,
            language,
            follows: false,
            blocked: false,
            said: None,
        };
        if draws.random_ratio(1, 4) {
            let second = draws.random_range(0..channels.len());
            if second != first {
                // One person has another id in another provider, and nobody tells us that it is them.
                let same = channels[first].1.provider == channels[second].1.provider;
                let foreign = format!("U{}", characters(draws, b"0123456789abcdef", 32));
                let user = if same { user.clone() } else { foreign };
                friends.push(friend(second, user));
            }
        }
        friends.push(friend(first, user));
    }
    friends
}

fn deliveries(draws: &mut ChaCha8Rng, events: Vec<Event>, request: &PlayRequest) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    let mut events = events.into_iter().peekable();
    while events.peek().is_some() {
        let strange = happens(draws, request.strange_percent);
        let size = if strange {
            // Now and then none at all, and now and then those of many people.
            [0, 1, 4, 100][draws.random_range(0..4)]
        } else {
            draws.random_range(1..=4)
        };
        let again = match draws.random_range(0..100) < request.redeliver_percent {
            false => Again::Never,
            true if draws.random() => Again::Redelivered,
            true => Again::Duplicated,
        };
        let due = events.peek().map_or(Duration::ZERO, |next| next.due);
        let events: Vec<_> = events.by_ref().take(size).collect();
        let due = events.iter().map(|event| event.due).max().unwrap_or(due);
        let (style, seed) = if strange {
            let styles = [Style::Spaced, Style::Shuffled, Style::Escaped];
            (styles[draws.random_range(0..3)], draws.random())
        } else {
            (Style::Compact, 0)
        };
        deliveries.push(Delivery { events, again, due, style, seed });
    }
    deliveries
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
        for word in ["維修", "壞了", "repair", "topic=repair", "sticker", "unfollow", "image", "？"]
        {
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
                if event.what["type"] == "unfollow" {
                    assert!(event.reply_token.is_empty());
                    known.remove(&event.user);
                }
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
            assert!(event.source.person().is_some());
            assert_eq!(
                event.reply_token.is_none(),
                event.act == mainstem_domain::person::Act::Unfollow
            );
        }
    }

    #[test]
    fn a_day_of_minutes_is_even_and_in_order() {
        let request = PlayRequest { minutes: 30, events: 600, ..request(7) };
        for lane in plan(&request, &channels()) {
            let dues: Vec<_> = lane.deliveries.iter().map(|delivery| delivery.due).collect();
            assert!(dues.is_sorted());
            assert!(dues.last().is_some_and(|last| *last < Duration::from_mins(30)));
            assert!(dues.iter().any(|due| *due > Duration::from_mins(25)));
        }
        let at_once = PlayRequest { minutes: 0, ..request };
        let lanes = plan(&at_once, &channels());
        let mut deliveries = lanes.iter().flat_map(|lane| &lane.deliveries);
        assert!(deliveries.all(|delivery| delivery.due.is_zero()));
    }

    #[test]
    fn a_tap_names_a_brand_at_the_entry_alone() {
        let request = PlayRequest {
            entry: Some("b".parse().unwrap()),
            brands: vec!["aurelune".to_owned()],
            ..request(7)
        };
        let taps = |named: bool| {
            let lanes = plan(&request, &channels());
            let lanes = lanes.iter().filter(|lane| (lane.channel.as_str() == "b") == named);
            let events = lanes.flat_map(|lane| &lane.deliveries).flat_map(|one| &one.events);
            let data = events.filter_map(|event| {
                let data = event.what.pointer("/postback/data")?.as_str()?;
                Some(data.ends_with("&brand=aurelune"))
            });
            data.collect::<Vec<_>>()
        };
        assert!(!taps(true).is_empty() && taps(true).iter().all(|brand| *brand));
        assert!(!taps(false).is_empty() && !taps(false).iter().any(|brand| *brand));
    }

    #[test]
    fn a_strange_day_holds_what_few_were_tried_with() {
        let request =
            PlayRequest { events: 3_000, strange_percent: 30, reorder_percent: 20, ..request(7) };
        let lanes = plan(&request, &channels());
        let all: Vec<_> = lanes.iter().flat_map(|lane| &lane.deliveries).collect();
        assert!(all.iter().any(|delivery| delivery.events.is_empty()));
        assert!(all.iter().any(|delivery| delivery.events.len() == 100));
        let bodies: Vec<_> =
            all.iter().map(|one| one.body("a", At::from_millis(1), false)).collect();
        let text = bodies.concat();
        for word in [
            "standby",
            "observing",
            "hologram",
            "scent",
            "satellite",
            "unsend",
            "messageEdited",
            "groupId",
            "accountLink",
            "\\ud842",
            "an old payload",
            "botSuspended",
        ] {
            assert!(text.contains(word), "{word}");
        }
        // Whatever it is, each body is a webhook, and each event one by itself.
        for body in &bodies {
            let webhook = mainstem_line::Webhook::parse(body.as_bytes()).unwrap();
            assert!(
                webhook.events.into_iter().all(|raw| mainstem_line::LineEvent::parse(raw).is_ok())
            );
        }
        let again = all[0].body("a", At::from_millis(1), true);
        assert_eq!(again.len() + all[0].events.len(), bodies[0].len(), "true is shorter by one");
        for lane in &lanes {
            assert!(lane.deliveries.is_sorted_by_key(|delivery| delivery.due));
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
