//! Each operation, done by the machine and by the model.

use std::time::Duration;

use mainstem_domain::configuration::Mode;
use mainstem_domain::custody::{self, Counts, Job, Part, Split};
use mainstem_domain::notification::{
    Answer, Class, Consent, Deed, Event, Input, Notification, Outcome, Preferences, Request, Told,
    Verdict, Words,
};
use mainstem_domain::person::{Address, ReplyRight};
use mainstem_domain::routing::MessageRequest;
use mainstem_domain::{At, CaseId, CustomerId, Decider as _, Decision, ItemId, SplitId, Wakeup};
use proptest::prelude::*;

use crate::judge::of_routing;
use crate::model::{Ask, Fates, Stand};
use crate::ops::{Op, Say, Send, Step};
use crate::world::{CHANNELS, Checked, World, channel, fates, line, member, own, user};

const MILLI: Duration = Duration::from_millis(1);

fn settles(events: &[Event], item: ItemId, outcome: &Outcome) -> bool {
    matches!(events, [Event::Settled { id, outcome: it, .. }] if *id == item && it == outcome)
}

impl World {
    pub(crate) fn run(&mut self, op: &Op) -> Checked {
        match op {
            Op::Seen { person, channel, deed, age } => {
                self.seen(*person, *channel, *deed, *age)?;
            }
            Op::Tell { person, by_member, what, verified, age } => {
                // No two identifiers say something at the very same moment.
                let told_at = self.before(*age).as_millis() / 16 * 16;
                let told_at = At::from_millis(told_at + i64::try_from(2 * person).unwrap())
                    .after(Duration::from_millis(u64::from(*by_member)));
                let carrier = if *by_member { member(*person) } else { line(*person) };
                let told = Told { carrier, what: what.clone(), verified: *verified, told_at };
                let customer = self.customer(*person);
                self.model.tell(*person, what.clone(), *verified, told_at);
                self.expect(&Input::Told { customer, told: vec![told] }, &Fates::new())?;
            }
            Op::Consent { person, answer, age } => {
                let consent = Consent { answer: *answer, told_at: self.before(*age) };
                let customer = self.customer(*person);
                self.model.consent(*person, consent);
                self.expect(&Input::Consented { customer, consent }, &Fates::new())?;
            }
            Op::Prefer { person, preferences } => self.prefer(*person, preferences)?,
            Op::Say(say) => self.say(say)?,
            Op::Send { send, times } => {
                for _ in 0..*times {
                    self.send(send)?;
                }
            }
            Op::Cancel { pick } => self.cancel(*pick)?,
            Op::Begin { pick, attempt } => self.begin(*pick, &format!("a{attempt}"))?,
            Op::Record { pick, outcome } => self.record(*pick, outcome)?,
            Op::Budget { person } => self.budget(*person)?,
            Op::Merge { survivor, absorbed } => self.merge(*survivor, *absorbed)?,
            Op::Split { person, parts } => self.split(*person, *parts)?,
            Op::Pass(step) => self.at = self.target(step).max(self.at.after(MILLI)),
        }
        self.wake()
    }

    fn before(&self, age: i64) -> At {
        At::from_millis(self.at.as_millis().saturating_sub(age))
    }

    fn target(&self, step: &Step) -> At {
        let off = |at: At, off: i64| At::from_millis(at.as_millis() + off);
        match step {
            Step::Millis(millis) => off(self.at, *millis),
            Step::Due(by) => Notification::due(&self.state).map_or(self.at, |at| off(at, *by)),
            Step::Quiet { person, by } => {
                let name = self.model.named[*person];
                let class = Class::Service;
                off(self.model.quiet_until(&self.configuration, name, class, self.at), *by)
            }
            Step::Push { person, hours, by } => {
                let pushes = self.model.pushes_of(self.model.named[*person]);
                let last = pushes.last().map(|push| push.at.after(Duration::from_hours(*hours)));
                last.map_or(self.at, |at| off(at, *by))
            }
            Step::Deadline { pick, by } => {
                let deadline = self.model.asks.get(*pick).and_then(|ask| ask.request.deadline);
                deadline.map_or(self.at, |at| off(at, *by))
            }
        }
    }

    /// A deadline that has come is gone after its wakeups, each of which does something.
    fn wake(&mut self) -> Checked {
        let expected = self.model.release(&self.configuration, self.at);
        let mut decided = Vec::new();
        while let Some(due) = Notification::due(&self.state).filter(|due| *due <= self.at) {
            let decision = self.try_take(&Input::Wakeup(Wakeup::Due))?;
            let moved = Notification::due(&self.state) != Some(due);
            prop_assert!(moved || !decision.events.is_empty(), "goes round for ever at {}", due);
            decided.extend(decision.events);
        }
        prop_assert_eq!(fates(&decided), expected, "due at {}", self.at);
        self.check_queued(&decided)
    }

    fn seen(&mut self, person: usize, number: Option<usize>, deed: Deed, age: i64) -> Checked {
        let occurred_at = self.before(age);
        let place = number.map(channel);
        let heard = (place.as_ref(), deed, occurred_at);
        let (customer, at) = (self.customer(person), self.at);
        let expected = self.model.seen(&self.configuration, person, heard, at);
        let address = place.map(|channel| Address { channel, user: user(person).into() });
        let carrier = Some(line(person));
        self.expect(&Input::Seen { customer, address, carrier, deed, occurred_at }, &expected)
    }

    fn prefer(&mut self, person: usize, preferences: &Preferences) -> Checked {
        let input =
            Input::SetPreferences { customer: own(person), preferences: preferences.clone() };
        let decision = self.try_take(&input)?;
        match decision.answer.unwrap() {
            Ok(answer) => {
                prop_assert_eq!(answer, Answer::Preferences(preferences.clone()));
                self.model.prefer(self.model.named[person], preferences.clone());
            }
            Err(refusal) => {
                prop_assert_eq!(&refusal.reason, "NOT_FOUND");
                prop_assert!(self.model.places_of(self.model.named[person]).next().is_none());
            }
        }
        Ok(())
    }

    /// Routing decided it under an id that the person may have had before a merge.
    pub(crate) fn routed(&mut self, say: &Say) -> (String, MessageRequest) {
        let Say { person, channel: number, .. } = *say;
        let received = |age| ReplyRight {
            token: "token".to_owned(),
            received_at: At::from_millis(self.at.as_millis().saturating_sub(age)),
        };
        let request = MessageRequest {
            rule: None,
            customer: own(person),
            channel: channel(number),
            brand: say.brand.map(|brand| brand.parse().unwrap()),
            templates: (0..say.templates).map(|number| format!("t{}", number % 2)).collect(),
            text: say.text.then(|| "好".to_owned()),
            case: say.case.map(|case| CaseId::derive(&case.to_string())),
            reply: say.reply_age.map(received),
            mode: say.mode,
            carrier: if say.by_member { Some(member(person)) } else { say.carrier(person) },
            staff: None,
        };
        (format!("routing {}", self.number()), request)
    }

    fn say(&mut self, say: &Say) -> Checked {
        let (id, request) = self.routed(say);
        let ours = Request { customer: self.customer(say.person), ..of_routing(&request, self.at) };
        let (item, at) = (ItemId::derive(&id), self.at);
        let name = self.model.named[say.person];
        let expected = self.model.ask(&self.configuration, item, name, ours, at);
        self.expect(&Input::Requested { id, request }, &expected)
    }

    pub(crate) fn wish(&self, send: &Send) -> Request {
        let deadline = send
            .minutes
            .map(|minutes| At::from_millis(self.at.as_millis().saturating_add(minutes * 60_000)));
        Request {
            customer: own(send.person),
            carrier: None,
            class: send.class,
            channel: send.channel.map(channel),
            elsewhere: send.elsewhere,
            mode: Mode::Live,
            brand: send.brand.map(|brand| brand.parse().unwrap()),
            words: Words {
                templates: (0..send.templates).map(|number| format!("t{}", number % 2)).collect(),
                case: Some(CaseId::derive("0")),
                ..Words::default()
            },
            reply: None,
            collapse_key: send.key.map(|key| format!("key {key}")),
            deadline,
            digest: send.digest,
            asked_at: At::default(),
        }
    }

    /// What is filled in, or why it is refused.
    fn filled(&self, wish: &Request, name: usize) -> Result<Request, &'static str> {
        if wish.deadline.is_some_and(|deadline| deadline <= self.at) {
            return Err("INVALID_FIELD");
        }
        let mut carrier = None;
        if let Some(channel) = &wish.channel {
            let account = CHANNELS.iter().find(|it| it.name == channel.as_str()).unwrap();
            if account.mode == Mode::Shadow {
                return Err("CHANNEL_IN_SHADOW");
            }
            let there = || self.model.places_of(name).filter(|it| it.channel == *channel);
            let place = there().rfind(|it| !it.is_blocked()).or_else(|| there().next_back());
            carrier = Some(line(place.ok_or("NO_ADDRESS")?.person));
        }
        let three_days = self.at.after(Duration::from_hours(72));
        let own_deadline = (wish.class == Class::Marketing).then_some(three_days);
        let deadline = wish.deadline.or(own_deadline);
        Ok(Request { customer: own(name), carrier, deadline, asked_at: self.at, ..wish.clone() })
    }

    /// Asks what would become of it, and then for it.
    fn send(&mut self, send: &Send) -> Checked {
        let (wish, at) = (self.wish(send), self.at);
        let name = self.model.named[send.person];
        let expected = self.filled(&wish, name).and_then(|request| {
            let verdict = self.model.decide(&self.configuration, None, name, &request, at);
            if let Verdict::Queue(item) = &verdict {
                let full = self.model.on_their_way(&item.address.channel) >= 6;
                if full && item.class == Class::Marketing {
                    return Err("OUTBOX_FULL");
                }
            }
            Ok((request, verdict))
        });
        let previewed = self.try_take(&Input::Preview { request: Box::new(wish.clone()) })?;
        prop_assert_eq!(previewed.events, vec![]);
        let id = format!("send {}", self.number());
        let item = ItemId::derive(&format!("{id}/{}", at.as_millis()));
        let input = Input::Send { id, request: Box::new(wish) };
        match expected {
            Ok((request, verdict)) => {
                let answer = previewed.answer.unwrap();
                prop_assert_eq!(answer, Ok(Answer::Preview(verdict.clone())));
                let fates = self.model.ask(&self.configuration, item, name, request, at);
                prop_assert_eq!(fates.last(), Some(&(item, verdict)), "otherwise than previewed");
                self.expect(&input, &fates)
            }
            Err(reason) => {
                let refused = |answer: Decision<Event, Answer>| {
                    (answer.events, answer.answer.unwrap().unwrap_err().reason)
                };
                let preview = previewed.answer.unwrap().unwrap_err().reason;
                prop_assert_eq!(&preview, reason);
                let decision = self.try_take(&input)?;
                prop_assert_eq!(refused(decision), (vec![], reason.into()));
                Ok(())
            }
        }
    }

    /// Why a call that names an item is refused, if it is; `None`, when it has ended.
    fn refused(&self, id: ItemId, decision: &Decision<Event, Answer>) -> Option<&'static str> {
        let known = self.state.delivery(id).is_some() || !decision.events.is_empty();
        match self.model.find(id).filter(|_| known).map(|ask| &ask.stand) {
            None => Some("NOT_FOUND"),
            Some(Stand::Waits(..)) => Some("NOT_QUEUED"),
            Some(Stand::Queued(_, item)) if *item != id => Some("IN_DIGEST"),
            Some(Stand::Queued(..) | Stand::Ended(..)) => None,
        }
    }

    fn cancel(&mut self, pick: usize) -> Checked {
        let item = self.item(pick);
        let decision = self.try_take(&Input::Cancel { item })?;
        let reason = decision.answer.unwrap().err().map(|refusal| refusal.reason);
        let stand = self.model.find(item).map(|ask| ask.stand.clone());
        match stand {
            Some(Stand::Waits(..)) => {
                let outcome = Outcome::Suppressed { reason: "cancelled".into() };
                let verdict = Verdict::End(outcome);
                prop_assert_eq!(fates(&decision.events), vec![(item, verdict.clone())]);
                self.model.apply(item, &verdict, self.at);
            }
            Some(Stand::Queued(..)) => {
                prop_assert_eq!(reason, Some("ALREADY_QUEUED".into()));
                prop_assert_eq!(decision.events, vec![]);
            }
            Some(Stand::Ended(..)) | None => {
                let forgotten = self.state.delivery(item).is_none();
                prop_assert_eq!(reason, forgotten.then(|| "NOT_FOUND".into()));
                prop_assert_eq!(decision.events, vec![]);
            }
        }
        Ok(())
    }

    fn begin(&mut self, pick: usize, attempt: &str) -> Checked {
        let id = self.item(pick);
        let known = self.state.delivery(id);
        let decision = self.try_take(&Input::Begin { item: id, attempt: attempt.to_owned() })?;
        if let Some(reason) = self.refused(id, &decision) {
            prop_assert_eq!(decision.answer.unwrap().unwrap_err().reason, reason);
            prop_assert_eq!(decision.events, vec![]);
            return Ok(());
        }
        let late = |at: At| at < self.at;
        let stand = self.model.find(id).map(|ask| ask.stand.clone());
        match stand {
            Some(Stand::Queued(item, _)) if item.deadline.is_some_and(late) => {
                let outcome = if item.attempts.is_empty() {
                    Outcome::Expired { reason: "its deadline was over".into() }
                } else {
                    let reason = "its deadline was over and an attempt was not answered";
                    Outcome::Failed { reason: reason.into() }
                };
                prop_assert!(settles(&decision.events, id, &outcome), "{:?}", decision);
                self.model.settle(id, &outcome, self.at);
            }
            Some(Stand::Queued(..)) => self.model.begin(id, attempt),
            Some(Stand::Waits(..) | Stand::Ended(..)) | None => {
                prop_assert_eq!(decision.events, vec![]);
                prop_assert_eq!(known, self.state.delivery(id));
            }
        }
        Ok(())
    }

    fn record(&mut self, pick: usize, outcome: &Outcome) -> Checked {
        let item = self.item(pick);
        let known = self.state.delivery(item);
        let decision = self.try_take(&Input::Record { item, outcome: outcome.clone() })?;
        if let Some(reason) = self.refused(item, &decision) {
            prop_assert_eq!(decision.answer.unwrap().unwrap_err().reason, reason);
            prop_assert_eq!(decision.events, vec![]);
            return Ok(());
        }
        let is_queued = |ask: &Ask| matches!(ask.stand, Stand::Queued(..));
        if self.model.find(item).is_some_and(is_queued) {
            prop_assert!(settles(&decision.events, item, outcome), "{:?}", decision);
            self.model.settle(item, outcome, self.at);
        } else {
            // The first outcome stands, and whoever comes later is told.
            prop_assert_eq!(decision.events, vec![]);
            prop_assert_eq!(decision.answer, known.map(|known| Ok(Answer::Delivery(known))));
        }
        Ok(())
    }

    fn budget(&mut self, person: usize) -> Checked {
        let decision = self.try_take(&Input::Budget { customer: own(person) })?;
        prop_assert_eq!(decision.events, vec![]);
        let Ok(Answer::Budget(budget)) = decision.answer.unwrap() else { return Ok(()) };
        let (config, name) = (&self.configuration, self.model.named[person]);
        prop_assert_eq!(budget.spans, self.model.spans(config, name, self.at));
        prop_assert_eq!(budget.tired, self.model.is_tired(name));
        prop_assert_eq!(budget.refused, self.model.refuses(name));
        prop_assert_eq!(budget.room_at, self.model.room_at(config, name, self.at));
        let quiet = self.model.quiet_until(config, name, Class::Marketing, self.at);
        prop_assert_eq!(budget.quiet_until, quiet);
        Ok(())
    }

    fn merge(&mut self, survivor: usize, absorbed: usize) -> Checked {
        let (survivor, absorbed) = (self.model.named[survivor], self.model.named[absorbed]);
        if survivor == absorbed {
            return Ok(());
        }
        let expected = self.model.merge(survivor, absorbed, self.at);
        let (survivor, absorbed) = (own(survivor), own(absorbed));
        self.expect(&Input::Merged { survivor, absorbed }, &expected)
    }

    /// Takes one person out, with everything that belongs to that.
    fn split(&mut self, person: usize, parts: bool) -> Checked {
        let name = self.model.named[person];
        let (gone, stay): (Vec<_>, Vec<_>) =
            self.model.group(name).into_iter().partition(|it| *it == person);
        if stay.is_empty() {
            return Ok(());
        }
        // The first keeps the id.
        let (keeps, other) = if person == name { (gone, stay) } else { (stay, gone) };
        let pieces = [(name, keeps), (other[0], other)];
        let (before, split) = (own(name), SplitId::derive(&self.number().to_string()));
        let aliases = |(name, people): &(usize, Vec<usize>)| -> Vec<CustomerId> {
            people.iter().filter(|it| *it != name).map(|it| own(*it)).collect()
        };
        let mut inputs = vec![Input::Custody(custody::Input::Split(Split {
            split,
            before,
            pieces: pieces.iter().map(|(name, _)| own(*name)).collect(),
            aliases: pieces.iter().flat_map(aliases).collect(),
        }))];
        for piece in &pieces {
            let (customer, people) = (own(piece.0), &piece.1);
            let consent = self.model.consent_on(people);
            let members: Vec<_> = people.iter().map(|it| member(*it)).collect();
            let lines: Vec<_> = people.iter().map(|it| line(*it)).collect();
            let part =
                |carriers, aliases, last| Part { split, before, customer, aliases, carriers, last };
            if parts {
                let (first, last) =
                    (part(members, vec![], false), part(lines, aliases(piece), true));
                inputs.push(Input::Part { part: first, consent });
                inputs.push(Input::Part { part: last, consent: None });
            } else {
                let part = part([members, lines].concat(), aliases(piece), true);
                inputs.push(Input::Part { part, consent });
            }
        }
        let moved = custody::Input::UpstreamMoved { split, customer: before };
        inputs.push(Input::Custody(moved));
        for input in &inputs {
            self.expect(input, &Fates::new())?;
        }
        while let Some(Job::Move { job, .. }) = self.state.custody().jobs().into_iter().next() {
            let done = custody::Input::JobDone { job, counts: Counts::new() };
            self.expect(&Input::Custody(done), &Fates::new())?;
        }
        self.model.split(&pieces);
        Ok(())
    }
}
