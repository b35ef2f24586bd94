//! The naive model: lists, searched from the start each time, and clocks reckoned anew from all that
//! happened to a case.

use std::collections::BTreeSet;
use std::time::Duration;

use mainstem_domain::configuration::{
    CASE_CANCELLED, CASE_OPENED, CASE_REOPENED, CASE_RESOLVED, CASE_WAITING, Configuration, Facts,
    MOVED, Mode,
};
use mainstem_domain::person::{Act, Business, ChannelEvent};
use mainstem_domain::routing::{
    Answer, CLOSER, Case, CaseView, Clock, Details, Input, NewCase, Opener, Pause, QueueView,
    Stage, Timing,
};
use mainstem_domain::{At, BrandId, CaseId, CustomerId, QueueId, UnitId, Wakeup};

use super::world::{PRODUCTS, SERIALS, brand};

const HALF_AN_HOUR: i64 = 30 * 60_000;
const TWO_WEEKS: i64 = 14 * 24 * 60 * 60_000;

/// What the naive model expects of one input.
#[derive(Default)]
pub(crate) struct Expected {
    pub(crate) answer: Option<Result<Answer, String>>,
    pub(crate) opened: usize,
    pub(crate) queued: usize,
    /// Templates, case and brand of what the customer is told.
    pub(crate) told: Option<(Vec<String>, Option<CaseId>, Option<BrandId>)>,
    /// The rule that an event of a customer is decided by.
    pub(crate) rule: Option<String>,
    /// The rules before it that cannot be evaluated.
    pub(crate) failed: Vec<&'static str>,
}

/// A case, and while which spans whose clock ran.
#[derive(Clone)]
pub(crate) struct Known {
    id: CaseId,
    case: Case,
    spans: Vec<(Option<UnitId>, At, Option<At>)>,
    warned: BTreeSet<Option<UnitId>>,
    escalated: BTreeSet<Option<UnitId>>,
}

#[derive(Clone, Default)]
pub(crate) struct Model {
    pub(crate) cases: Vec<Known>,
    pub(crate) bought: Vec<(CustomerId, BrandId, At)>,
    pub(crate) merged: Vec<(CustomerId, CustomerId)>,
    /// Queues that give nothing out: by whom, why, since when.
    pub(crate) paused: Vec<(QueueId, String, String, At)>,
}

impl Known {
    fn running(&self) -> bool {
        self.spans.last().is_some_and(|(_, _, until)| until.is_none())
    }

    fn stops(&mut self, at: At) {
        if let Some((_, _, until @ None)) = self.spans.last_mut() {
            *until = Some(at);
        }
    }

    fn runs(&mut self, configuration: &Configuration, at: At) {
        self.stops(at);
        let unit = configuration.unit_of(&self.case.queue).map(|(id, _)| id.clone());
        self.spans.push((unit, at, None));
    }

    fn queued(&mut self, at: At) {
        self.case.queued_at = at;
        self.case.queued_times += 1;
    }

    /// When most of the time is up, and all of it.
    fn promised(&self, configuration: &Configuration) -> (Option<At>, Option<At>) {
        let Some((Some(unit), since, None)) = self.spans.last() else { return (None, None) };
        let directory = &configuration.units[unit];
        let calendar = &configuration.calendars[&directory.calendar];
        let Some(given) = directory.due.get(&self.case.priority) else { return (None, None) };
        let worked = self.worked(configuration, Some(unit));
        let up = |hundredths: u32| {
            let share = given.duration() * hundredths / 100;
            calendar.after(*since, share.saturating_sub(worked))
        };
        (up(80), up(100))
    }

    fn worked(&self, configuration: &Configuration, unit: Option<&UnitId>) -> Duration {
        let Some(unit) = unit else { return Duration::ZERO };
        let calendar = &configuration.calendars[&configuration.units[unit].calendar];
        let theirs = self.spans.iter().filter(|(whose, ..)| whose.as_ref() == Some(unit));
        theirs.filter_map(|(_, from, until)| Some(calendar.open_between(*from, (*until)?))).sum()
    }

    pub(crate) fn view(&self, configuration: &Configuration) -> CaseView {
        let mut units: Vec<Option<UnitId>> = Vec::new();
        for (unit, ..) in &self.spans {
            units.retain(|known| known != unit);
            units.push(unit.clone());
        }
        let clocks = units.into_iter().map(|unit| {
            let theirs = self.spans.iter().filter(|(whose, ..)| *whose == unit);
            Clock {
                ran: theirs.filter_map(|(_, from, until)| Some((*until)?.since(*from))).sum(),
                worked: self.worked(configuration, unit.as_ref()),
                warned: self.warned.contains(&unit),
                escalated: self.escalated.contains(&unit),
                unit,
            }
        });
        let clocks: Vec<_> = clocks.collect();
        let (warn_at, due_at) = self.promised(configuration);
        let running = self.spans.last().filter(|(_, _, until)| until.is_none());
        let timing = Timing {
            running_since: running.map(|(_, since, _)| *since),
            warn_at: warn_at.filter(|_| clocks.last().is_some_and(|clock| !clock.warned)),
            due_at,
            clocks,
        };
        CaseView { id: self.id, case: Case { timing, ..self.case.clone() } }
    }
}

fn serial(case: &Case) -> Option<&'static str> {
    SERIALS.iter().find(|(written, _)| *written == case.details.serial).unwrap().1
}

fn product(details: &Details) -> &'static str {
    PRODUCTS.iter().find(|(written, _)| *written == details.product).unwrap().1
}

fn over(stage: &Stage) -> bool {
    ["closed", "cancelled"].contains(&stage.name())
}

fn finished(stage: &Stage) -> bool {
    over(stage) || stage.name() == "resolved"
}

impl Model {
    pub(crate) fn bought(&self, customer: CustomerId) -> Option<&(CustomerId, BrandId, At)> {
        self.bought.iter().find(|(whose, ..)| *whose == customer)
    }

    fn buys(&mut self, customer: CustomerId, brand: BrandId, at: At) {
        self.bought.retain(|(whose, ..)| *whose != customer);
        self.bought.push((customer, brand, at));
    }

    pub(crate) fn next_on(&self, queue: &QueueId) -> Option<&Known> {
        let open = self
            .cases
            .iter()
            .filter(|known| known.case.queue == *queue && known.case.stage == Stage::Open);
        open.min_by_key(|known| (known.case.priority, known.case.opened_at, known.id))
    }

    fn pause(&self, queue: &QueueId) -> Option<Pause> {
        let (_, by, reason, at) = self.paused.iter().find(|(paused, ..)| paused == queue)?;
        Some(Pause { by: by.clone(), reason: reason.clone(), at: *at })
    }

    pub(crate) fn queue(&self, queue: &QueueId) -> QueueView {
        let open = self.cases.iter();
        let open = open.filter(|one| one.case.queue == *queue && one.case.stage == Stage::Open);
        QueueView {
            queue: queue.clone(),
            open: open.count(),
            next: self.next_on(queue).map(|known| known.id),
            pause: self.pause(queue),
        }
    }

    /// The table of `Stage`, line by line.
    #[expect(clippy::too_many_lines, reason = "it is the whole table")]
    fn step(
        &mut self,
        configuration: &Configuration,
        id: CaseId,
        input: &Input,
        at: At,
    ) -> Result<(bool, &Known), String> {
        let others = self.cases.clone();
        let Some(known) = self.cases.iter_mut().find(|known| known.id == id) else {
            return Err("NOT_FOUND".to_owned());
        };
        let stage = known.case.stage.clone();
        let (method, by) = match input {
            Input::Accept { by, .. } | Input::Claim { by, .. } => ("accept", by),
            Input::Start { by, .. } => ("start", by),
            Input::Wait { by, .. } => ("wait", by),
            Input::Resolve { by, .. } => ("resolve", by),
            Input::Close { by, .. } => ("close", by),
            Input::Reopen { by, .. } => ("reopen", by),
            Input::Cancel { by, .. } => ("cancel", by),
            Input::Transfer { by, .. } => ("transfer", by),
            Input::Prioritise { by, .. } => ("prioritise", by),
            Input::Requeue { by, .. } => ("requeue", by),
            _ => panic!("{input:?} is no step"),
        };
        let overrules = match input {
            Input::Cancel { overrules, .. } | Input::Transfer { overrules, .. } => *overrules,
            Input::Prioritise { .. } => true,
            _ => false,
        };
        let anothers = stage.holder().is_some_and(|holder| holder != by);
        let why_not = match stage.name() {
            "open" => "CASE_NOT_ACCEPTED",
            "resolved" => "CASE_RESOLVED",
            "closed" => "CASE_CLOSED",
            "cancelled" => "CASE_CANCELLED",
            _ if anothers => "CASE_TAKEN",
            _ => "CASE_NOT_THERE",
        };
        if let Input::Transfer { to, .. } = input
            && !configuration.queues.contains_key(to)
        {
            return Err("NOT_FOUND".to_owned());
        }
        if anothers && !overrules {
            return Err(why_not.to_owned());
        }
        let held = by.clone();
        let paused = self.paused.iter().any(|(queue, ..)| *queue == known.case.queue);
        let next = match (method, stage.name()) {
            ("accept", "open") if paused => return Err("QUEUE_PAUSED".to_owned()),
            ("accept", "open") => Stage::Accepted { by: held, at },
            ("accept", "accepted" | "in progress" | "waiting for the customer")
            | ("start", "in progress")
            | ("wait", "waiting for the customer")
            | ("resolve", "resolved")
            | ("close", "closed")
            | ("cancel", "cancelled") => return Ok((false, known)),
            ("start", "accepted" | "waiting for the customer") => {
                Stage::InProgress { by: held, at }
            }
            ("wait", "in progress") => Stage::Waiting { by: held, at },
            ("resolve", "accepted" | "in progress" | "waiting for the customer") => {
                Stage::Resolved { by: held, at }
            }
            ("close", "resolved") => {
                let Stage::Resolved { at: resolved_at, .. } = stage else { unreachable!() };
                Stage::Closed { by: held, at, resolved_at }
            }
            ("reopen", "resolved" | "closed") => {
                let (Stage::Resolved { at: done, .. } | Stage::Closed { resolved_at: done, .. }) =
                    stage
                else {
                    unreachable!()
                };
                if at.as_millis() - done.as_millis() >= TWO_WEEKS {
                    return Err(why_not.to_owned());
                }
                let replaced = others.iter().any(|other| {
                    other.id != id
                        && serial(&known.case).is_some()
                        && serial(&other.case) == serial(&known.case)
                        && other.case.customer == known.case.customer
                        && other.case.brand == known.case.brand
                        && !over(&other.case.stage)
                });
                if replaced {
                    return Err("CASE_REPLACED".to_owned());
                }
                Stage::Open
            }
            ("cancel", name) if name != "closed" => {
                let Input::Cancel { reason, .. } = input else { unreachable!() };
                Stage::Cancelled { by: held, at, reason: reason.clone() }
            }
            ("transfer", name) if !["resolved", "closed", "cancelled"].contains(&name) => {
                let Input::Transfer { to, .. } = input else { unreachable!() };
                if *to == known.case.queue {
                    return Ok((false, known));
                }
                known.case.queue = to.clone();
                Stage::Open
            }
            ("prioritise", name) if !["resolved", "closed", "cancelled"].contains(&name) => {
                let Input::Prioritise { priority, .. } = input else { unreachable!() };
                if *priority == known.case.priority {
                    return Ok((false, known));
                }
                known.case.priority = *priority;
                stage.clone()
            }
            ("requeue", "open") if at.as_millis() - known.case.queued_at.as_millis() < 120_000 => {
                return Err("CASE_QUEUED_RECENTLY".to_owned());
            }
            ("requeue", "open") if paused => return Err("QUEUE_PAUSED".to_owned()),
            ("requeue", "open") => Stage::Open,
            _ => return Err(why_not.to_owned()),
        };
        known.case.stage = next;
        match known.case.stage.name() {
            "open" | "accepted" | "in progress" => {
                let anew = ["transfer", "prioritise"].contains(&method) || !known.running();
                if anew {
                    known.runs(configuration, at);
                }
            }
            _ => known.stops(at),
        }
        if known.case.stage == Stage::Open {
            known.queued(at);
        }
        Ok((true, known))
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each input")]
    pub(crate) fn input(
        &mut self,
        configuration: &Configuration,
        input: &Input,
        at: At,
    ) -> Expected {
        match input {
            Input::Channel { customer, event, address, .. } => {
                self.channel(configuration, *customer, event, address.is_some(), at)
            }
            Input::Merged { survivor, absorbed } => {
                self.merged.push((*absorbed, *survivor));
                for known in &mut self.cases {
                    if known.case.customer == *absorbed {
                        known.case.customer = *survivor;
                    }
                }
                let moved = self.bought(*absorbed).cloned();
                self.bought.retain(|(whose, ..)| whose != absorbed);
                if let Some((_, brand, at)) = moved
                    && self.bought(*survivor).is_none_or(|(_, _, kept)| *kept < at)
                {
                    self.buys(*survivor, brand, at);
                }
                Expected::default()
            }
            Input::Open(wish) => self.open(configuration, wish, at),
            Input::Claim { queue, .. } if self.pause(queue).is_some() => Expected {
                answer: Some(Ok(Answer::Paused(self.queue(queue)))),
                ..Expected::default()
            },
            Input::Pause { queue, by, reason } => {
                let known = configuration.queues.contains_key(queue);
                if known && self.pause(queue).is_none() {
                    self.paused.push((queue.clone(), by.clone(), reason.clone(), at));
                }
                let answer = known.then(|| Answer::Queue(self.queue(queue)));
                let answer = Some(answer.ok_or_else(|| "NOT_FOUND".to_owned()));
                Expected { answer, ..Expected::default() }
            }
            Input::Resume { queue, .. } => {
                let known = configuration.queues.contains_key(queue);
                self.paused.retain(|(paused, ..)| paused != queue);
                let answer = known.then(|| Answer::Queue(self.queue(queue)));
                let answer = Some(answer.ok_or_else(|| "NOT_FOUND".to_owned()));
                Expected { answer, ..Expected::default() }
            }
            Input::Claim { queue, .. } => {
                let answer = match self.next_on(queue).map(|known| known.id) {
                    Some(next) => self
                        .step(configuration, next, input, at)
                        .map(|(_, known)| Answer::Case(known.view(configuration))),
                    None if configuration.queues.contains_key(queue) => Ok(Answer::Nothing),
                    None => Err("NOT_FOUND".to_owned()),
                };
                Expected { answer: Some(answer), ..Expected::default() }
            }
            Input::Accept { case, .. }
            | Input::Start { case, .. }
            | Input::Wait { case, .. }
            | Input::Resolve { case, .. }
            | Input::Close { case, .. }
            | Input::Reopen { case, .. }
            | Input::Cancel { case, .. }
            | Input::Transfer { case, .. }
            | Input::Prioritise { case, .. }
            | Input::Requeue { case, .. } => {
                let template = match input {
                    Input::Wait { .. } => Some(CASE_WAITING),
                    Input::Resolve { .. } => Some(CASE_RESOLVED),
                    Input::Reopen { .. } => Some(CASE_REOPENED),
                    Input::Cancel { .. } => Some(CASE_CANCELLED),
                    _ => None,
                };
                match self.step(configuration, *case, input, at) {
                    Err(reason) => Expected { answer: Some(Err(reason)), ..Expected::default() },
                    Ok((changed, known)) => {
                        let view = known.view(configuration);
                        let accepted = matches!(input, Input::Accept { .. });
                        let queued = changed && view.case.stage == Stage::Open && !accepted;
                        let told = template.filter(|_| changed).map(|name| {
                            (vec![name.to_owned()], Some(*case), view.case.brand.clone())
                        });
                        Expected {
                            answer: Some(Ok(Answer::Case(view))),
                            queued: usize::from(queued),
                            told,
                            ..Expected::default()
                        }
                    }
                }
            }
            Input::Wakeup(Wakeup::Due) => {
                for known in &mut self.cases {
                    let (warn_at, due_at) = known.promised(configuration);
                    let unit = known.spans.last().and_then(|(unit, ..)| unit.clone());
                    if warn_at.is_some_and(|moment| moment <= at) {
                        known.warned.insert(unit.clone());
                    }
                    if due_at.is_some_and(|moment| moment <= at) {
                        known.escalated.insert(unit);
                    }
                    if let Stage::Resolved { at: resolved_at, .. } = known.case.stage
                        && at.as_millis() - resolved_at.as_millis() >= TWO_WEEKS
                    {
                        let by = CLOSER.to_owned();
                        known.case.stage = Stage::Closed { by, at, resolved_at };
                    }
                }
                Expected::default()
            }
            // Has a world of its own: tests/custody.
            Input::Conversation { .. }
            | Input::Custody(_)
            | Input::IssueCode(_)
            | Input::RevokeCode { .. }
            | Input::EndBinding { .. }
            | Input::HandOver(_)
            | Input::Wakeup(Wakeup::Configured) => Expected::default(),
        }
    }

    fn add(&mut self, configuration: &Configuration, id: CaseId, case: Case, at: At) {
        let mut known = Known {
            id,
            case,
            spans: Vec::new(),
            warned: BTreeSet::new(),
            escalated: BTreeSet::new(),
        };
        known.runs(configuration, at);
        self.cases.push(known);
    }

    fn open(&mut self, configuration: &Configuration, wish: &NewCase, at: At) -> Expected {
        if !configuration.queues.contains_key(&wish.queue) {
            let answer = Some(Err("NOT_FOUND".to_owned()));
            return Expected { answer, ..Expected::default() };
        }
        let mut customer = wish.customer;
        for (absorbed, survivor) in &self.merged {
            if customer == *absorbed {
                customer = *survivor;
            }
        }
        let mut case = Case {
            customer,
            channel: "line-1".parse().unwrap(),
            brand: wish.brand.clone(),
            store: None,
            queue: wish.queue.clone(),
            priority: wish.priority,
            opener: Opener::Staff { by: wish.by.clone() },
            details: wish.details.clone(),
            carrier: None,
            opened_at: at,
            queued_at: at,
            queued_times: 1,
            stage: Stage::Open,
            timing: Timing::default(),
            tags: BTreeSet::new(),
            shared_serial: false,
        };
        let theirs = self
            .cases
            .iter()
            .filter(|known| (known.case.customer, &known.case.brand) == (customer, &case.brand));
        let there = if serial(&case).is_some() {
            theirs
                .filter(|known| serial(&known.case) == serial(&case) && !over(&known.case.stage))
                .min_by_key(|known| (known.case.opened_at, known.id))
        } else {
            theirs
                .filter(|known| {
                    serial(&known.case).is_none()
                        && matches!(known.case.opener, Opener::Staff { .. })
                        && known.case.queue == case.queue
                        && product(&known.case.details) == product(&case.details)
                        && !finished(&known.case.stage)
                        && at.as_millis() - known.case.opened_at.as_millis() < HALF_AN_HOUR
                })
                .max_by_key(|known| (known.case.opened_at, known.id))
        };
        if let Some(known) = there {
            let answer = Some(Ok(Answer::Existing(known.view(configuration))));
            return Expected { answer, ..Expected::default() };
        }
        for known in &mut self.cases {
            if serial(&case).is_some()
                && serial(&known.case) == serial(&case)
                && known.case.brand == case.brand
                && known.case.customer != customer
                && !over(&known.case.stage)
            {
                known.case.shared_serial = true;
                case.shared_serial = true;
            }
        }
        let id = CaseId::derive(&format!("staff/{customer}/{at}"));
        let about = case.brand.clone();
        self.add(configuration, id, case, at);
        let view = self.cases.last().unwrap().view(configuration);
        Expected {
            answer: Some(Ok(Answer::Case(view))),
            opened: 1,
            queued: 1,
            told: Some((vec![CASE_OPENED.to_owned()], Some(id), about)),
            ..Expected::default()
        }
    }

    fn channel(
        &mut self,
        configuration: &Configuration,
        customer: CustomerId,
        event: &ChannelEvent,
        reachable: bool,
        at: At,
    ) -> Expected {
        let mut expected = Expected::default();
        // Menu, store, last purchase.
        let mut about = self.bought(customer).map(|(_, brand, _)| brand.clone());
        if let Some(stores) = &event.brand {
            about = Some(stores.clone());
        }
        if let Act::Postback(data) = &event.act
            && data.ends_with("brand=borea")
        {
            about = Some(brand("borea"));
        }
        let buys = matches!(
            event.act,
            Act::Business(Business::OrderPlaced | Business::OrderPaid | Business::OrderShipped)
        );
        let bought = event.brand.clone().filter(|_| buys);
        if let Some(bought) = bought {
            let when = event.occurred_at.min(at);
            let known = self.bought(customer);
            if known.is_none_or(|(_, known, since)| *known != bought && *since <= when) {
                self.buys(customer, bought, when);
            }
        }
        let kind = configuration.kind(&event.channel);
        if matches!(&event.act, Act::Postback(data) if data.starts_with("menu=m5")) {
            expected.failed.push("fails");
        }
        let tried = configuration.rule_for(&Facts::of(event, kind, at));
        expected.rule = tried.rule.map(|rule| rule.name.clone());
        let Some(rule) = tried.rule else {
            let moved = event.mode == Mode::Retired && event.reply_token.is_some();
            expected.told = (moved && reachable).then(|| (vec![MOVED.to_owned()], None, about));
            return expected;
        };
        let mut case = None;
        if let Some(open) = &rule.open {
            let there = self.cases.iter().filter(|known| {
                let Opener::Event { rule: by, .. } = &known.case.opener else { return false };
                let same = (&known.case.customer, &known.case.brand, by)
                    == (&customer, &about, &rule.name);
                same && !finished(&known.case.stage)
                    && at.as_millis() - known.case.opened_at.as_millis() < HALF_AN_HOUR
            });
            let newest = there.max_by_key(|known| (known.case.opened_at, known.id));
            case = newest.map(|known| known.id);
            if case.is_none() {
                (expected.opened, expected.queued) = (1, 1);
                let id = CaseId::derive(&format!("{}/{}", event.channel, event.id));
                case = Some(id);
                let opened = Case {
                    customer,
                    channel: event.channel.clone(),
                    brand: about.clone(),
                    store: None,
                    queue: open.queue.clone(),
                    priority: open.priority,
                    opener: Opener::Event { rule: rule.name.clone(), event: event.id.clone() },
                    details: Details::default(),
                    carrier: None,
                    opened_at: at,
                    queued_at: at,
                    queued_times: 1,
                    stage: Stage::Open,
                    timing: Timing::default(),
                    tags: rule.tags.clone(),
                    shared_serial: false,
                };
                self.add(configuration, id, opened, at);
            }
        }
        let mut templates: Vec<_> = rule.reply.clone().into_iter().collect();
        if event.mode == Mode::Retired && event.reply_token.is_some() {
            templates.push(MOVED.to_owned());
        }
        expected.told = (reachable && !templates.is_empty()).then_some((templates, case, about));
        expected
    }
}
