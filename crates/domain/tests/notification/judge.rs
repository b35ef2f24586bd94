//! What the rules say of one request, read line by line.

use std::sync::Arc;

use mainstem_domain::configuration::{Configuration, Mode};
use mainstem_domain::notification::{Class, Item, Outcome, Request, Verdict, Wait, Way, Words};
use mainstem_domain::person::{Address, ReplyRight};
use mainstem_domain::routing::MessageRequest;
use mainstem_domain::voice::Message;
use mainstem_domain::{At, ChannelId, ItemId, Language};

use crate::model::{Model, Place};
use crate::world::{CHANNELS, ENTRY, line, own, user};

impl Model {
    /// Where the group is told, as (channel, person).
    fn account(&self, name: usize, request: &Request) -> Result<(ChannelId, usize), Outcome> {
        let found = |place: &Place| (place.channel.clone(), place.person);
        let on = |place: &&Place| Some(&place.channel) == request.channel.as_ref();
        if let Some(place) = self.places_of(name).rfind(|place| on(place) && !place.is_blocked()) {
            return Ok(found(place));
        }
        let anywhere = request.channel.is_none() || request.elsewhere;
        let live = |place: &&Place| {
            let it = CHANNELS.iter().find(|it| place.channel.as_str() == it.name).unwrap();
            it.mode == Mode::Live && it.is_line && !place.is_blocked()
        };
        let brand = |place: &Place| {
            let it = CHANNELS.iter().find(|it| place.channel.as_str() == it.name).unwrap();
            it.brand.filter(|brand| request.brand.as_ref().is_some_and(|it| it.as_str() == *brand))
        };
        let entry = self.places_of(name).rfind(|it| live(it) && it.channel.as_str() == ENTRY);
        let own = self.places_of(name).rfind(|it| live(it) && brand(it).is_some());
        let any = self.places_of(name).rfind(live);
        if let Some(place) = entry.or(own).or(any).filter(|_| anywhere) {
            return Ok(found(place));
        }
        let blocked =
            self.places_of(name).any(|place| place.is_blocked() && (anywhere || on(&place)));
        Err(if blocked {
            Outcome::Suppressed { reason: "blocked by the person".into() }
        } else {
            Outcome::Failed { reason: "no address".into() }
        })
    }

    /// What becomes of a request now, alone.
    fn judge(&self, config: &Configuration, name: usize, request: &Request, at: At) -> Verdict {
        let suppressed =
            |reason: &'static str| Verdict::End(Outcome::Suppressed { reason: reason.into() });
        let expired =
            |reason: &'static str| Verdict::End(Outcome::Expired { reason: reason.into() });
        if request.mode == Mode::Shadow {
            return suppressed("the channel is in shadow");
        }
        let messages = said(request, self.language(name).unwrap_or_default());
        if messages.is_empty() {
            return Verdict::End(Outcome::Failed { reason: "no such template".into() });
        }
        let (channel, person) = match self.account(name, request) {
            Ok(found) => found,
            Err(outcome) => return Verdict::End(outcome),
        };
        if CHANNELS.iter().any(|it| it.name == channel.as_str() && it.mode == Mode::Shadow) {
            return suppressed("the channel is in shadow");
        }
        // A reply token is used in its first 50 seconds.
        let fresh =
            |it: &&ReplyRight| at.as_millis().saturating_sub(it.received_at.as_millis()) < 50_000;
        let right = request.reply.as_ref().filter(fresh);
        let class = if right.is_some() { Class::Reply } else { request.class };
        let marketing = class == Class::Marketing;
        let late = |moment: At| request.deadline.is_some_and(|deadline| moment > deadline);
        if marketing && self.refuses(name) {
            return suppressed("no consent to marketing");
        }
        if late(at) {
            return expired("its deadline was over");
        }
        let awake = self.quiet_until(config, name, class, at);
        if awake > at {
            return if marketing && late(awake) {
                expired("quiet hours last longer than its deadline")
            } else {
                Verdict::Defer { until: awake, wait: Wait::QuietHours }
            };
        }
        if marketing && !self.has_room(config, name, at) {
            let until = self.room_at(config, name, at);
            return if request.digest && !late(until) {
                Verdict::Defer { until, wait: Wait::Budget }
            } else {
                expired("over the person's budget")
            };
        }
        Verdict::Queue(Arc::new(Item {
            customer: own(name),
            carrier: Some(line(person)),
            class,
            address: Address { channel, user: user(person).into() },
            way: right.map_or(Way::Push, |it| Way::Reply { token: it.token.clone() }),
            messages,
            asked_at: request.asked_at,
            deadline: request.deadline,
            joined: Vec::new(),
            attempts: Vec::new(),
        }))
    }

    /// What becomes of a request now, and of those that waited for the next digest with it.
    pub(crate) fn decide(
        &self,
        config: &Configuration,
        id: Option<ItemId>,
        name: usize,
        request: &Request,
        at: At,
    ) -> Verdict {
        let mut verdict = self.judge(config, name, request, at);
        let Verdict::Queue(item) = &mut verdict else { return verdict };
        if item.class != Class::Marketing {
            return verdict;
        }
        for (ask, _, wait) in self.waiting(name) {
            let same =
                request.collapse_key.is_some() && request.collapse_key == ask.request.collapse_key;
            if wait != Wait::Budget || !ask.request.digest || Some(ask.id) == id || same {
                continue;
            }
            if let Verdict::Queue(other) = self.judge(config, name, &ask.request, at)
                && other.address == item.address
                && other.messages.len() + item.messages.len() <= 5
            {
                let item = Arc::make_mut(item);
                item.messages.extend_from_slice(&other.messages);
                item.joined.push(ask.id);
            }
        }
        verdict
    }
}

/// The texts of the templates of the world, in aurora's voice or the house's, and in the person's
/// language.
fn said(request: &Request, language: Language) -> Vec<Message> {
    if let Some(text) = &request.words.text {
        return vec![Message::text(text)];
    }
    let case = request.words.case.map(|case| case.to_string()).unwrap_or_default();
    let aurora = request.brand.as_ref().is_some_and(|brand| brand.as_str() == "aurora");
    let mut messages = Vec::new();
    for name in request.words.templates.iter().take(5) {
        messages.push(Message::text(&match (name.as_str(), aurora) {
            ("t0", true) => format!("aurora {case}"),
            ("t0", false) => format!("house {case}"),
            ("t1", _) => match language {
                Language::ZhTw => "你好".to_owned(),
                Language::En => "hello".to_owned(),
            },
            _ => return Vec::new(),
        }));
    }
    messages
}

/// What routing asks for, as a request of ours.
pub(crate) fn of_routing(request: &MessageRequest, at: At) -> Request {
    let answers = request.reply.is_some() || request.text.is_some();
    let case = request.case.filter(|_| !answers);
    Request {
        customer: request.customer,
        carrier: request.carrier,
        class: if request.text.is_some() { Class::Reply } else { Class::Service },
        channel: Some(request.channel.clone()),
        elsewhere: !answers,
        mode: request.mode,
        brand: request.brand.clone(),
        words: Words {
            templates: request.templates.clone(),
            text: request.text.clone(),
            variables: std::collections::BTreeMap::new(),
            case: request.case,
            staff: request.staff.clone(),
        },
        reply: request.reply.clone(),
        collapse_key: case.map(|case| case.to_string()),
        deadline: None,
        digest: false,
        asked_at: at,
    }
}
