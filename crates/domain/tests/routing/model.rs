//! The naive model: lists, searched from the start each time.

use mainstem_domain::configuration::{CASE_CANCELLED, CASE_RESOLVED, Configuration, MOVED, Mode};
use mainstem_domain::person::{Act, Business, ChannelEvent};
use mainstem_domain::routing::{Case, CaseView, Input, Stage};
use mainstem_domain::{At, BrandId, CaseId, CustomerId, QueueId};

use super::world::brand;

/// What the naive model expects of one input.
#[derive(Default)]
pub(crate) struct Expected {
    pub(crate) answer: Option<Result<Option<CaseView>, String>>,
    pub(crate) opened: usize,
    pub(crate) queued: usize,
    /// Templates, case and brand of what the customer is told.
    pub(crate) told: Option<(Vec<String>, Option<CaseId>, Option<BrandId>)>,
}

#[derive(Clone, Default)]
pub(crate) struct Model {
    pub(crate) cases: Vec<CaseView>,
    pub(crate) bought: Vec<(CustomerId, BrandId, At)>,
}

impl Model {
    pub(crate) fn bought(&self, customer: CustomerId) -> Option<&(CustomerId, BrandId, At)> {
        self.bought.iter().find(|(whose, ..)| *whose == customer)
    }

    pub(crate) fn buys(&mut self, customer: CustomerId, brand: BrandId, at: At) {
        self.bought.retain(|(whose, ..)| *whose != customer);
        self.bought.push((customer, brand, at));
    }

    pub(crate) fn next_on(&self, queue: &QueueId) -> Option<CaseView> {
        let open = self
            .cases
            .iter()
            .filter(|view| view.case.queue == *queue && view.case.stage == Stage::Open);
        open.min_by_key(|view| (view.case.priority, view.case.opened_at, view.id)).cloned()
    }

    /// Changes a stage by the table in the head of the module, or says why not.
    pub(crate) fn step(
        &mut self,
        id: CaseId,
        input: &Input,
        at: At,
    ) -> Result<Option<CaseView>, String> {
        let Some(view) = self.cases.iter_mut().find(|view| view.id == id) else {
            return Err("NOT_FOUND".to_owned());
        };
        let stage = view.case.stage.clone();
        let taken = |by: &str| match &stage {
            Stage::Accepted { by: holder, .. } | Stage::InProgress { by: holder, .. } => {
                holder != by
            }
            Stage::Open | Stage::Resolved { .. } | Stage::Cancelled { .. } => false,
        };
        let why_not = match &stage {
            Stage::Open => "CASE_NOT_ACCEPTED",
            Stage::Accepted { .. } | Stage::InProgress { .. } => "CASE_TAKEN",
            Stage::Resolved { .. } => "CASE_RESOLVED",
            Stage::Cancelled { .. } => "CASE_CANCELLED",
        };
        let name = stage.name();
        let next = match input {
            Input::Accept { by, .. } | Input::Claim { by, .. } if !taken(by) => match name {
                "open" => Some(Stage::Accepted { by: by.clone(), at }),
                "accepted" | "in progress" => None,
                _ => return Err(why_not.to_owned()),
            },
            Input::Start { by, .. } if !taken(by) => match name {
                "accepted" => Some(Stage::InProgress { by: by.clone(), at }),
                "in progress" => None,
                _ => return Err(why_not.to_owned()),
            },
            Input::Resolve { by, .. } if !taken(by) => match name {
                "accepted" | "in progress" => Some(Stage::Resolved { by: by.clone(), at }),
                "resolved" => None,
                _ => return Err(why_not.to_owned()),
            },
            Input::Cancel { by, overrules, reason, .. } if *overrules || !taken(by) => match name {
                "cancelled" => None,
                "resolved" => return Err(why_not.to_owned()),
                _ => Some(Stage::Cancelled { by: by.clone(), at, reason: reason.clone() }),
            },
            Input::Accept { .. }
            | Input::Claim { .. }
            | Input::Start { .. }
            | Input::Resolve { .. }
            | Input::Cancel { .. }
            | Input::Requeue { .. }
            | Input::Channel { .. }
            | Input::Merged { .. }
            | Input::Custody(_)
            | Input::Wakeup(_) => return Err(why_not.to_owned()),
        };
        if let Some(next) = next {
            view.case.stage = next;
        }
        Ok(Some(view.clone()))
    }

    pub(crate) fn input(
        &mut self,
        configuration: &Configuration,
        input: &Input,
        at: At,
    ) -> Expected {
        match input {
            Input::Channel { customer, event, address } => {
                self.channel(configuration, *customer, event, address.is_some(), at)
            }
            Input::Merged { survivor, absorbed } => {
                for view in &mut self.cases {
                    if view.case.customer == *absorbed {
                        view.case.customer = *survivor;
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
            Input::Claim { queue, .. } => {
                let answer = match self.next_on(queue) {
                    Some(next) => self.step(next.id, input, at),
                    None if configuration.queues.contains_key(queue) => Ok(None),
                    None => Err("NOT_FOUND".to_owned()),
                };
                Expected { answer: Some(answer), ..Expected::default() }
            }
            Input::Requeue { case } => {
                let found = self.cases.iter_mut().find(|view| view.id == *case);
                let open = found.filter(|view| view.case.stage == Stage::Open);
                let Some(view) = open else {
                    // Nothing leads from another stage to the queue: as an unknown worker's start.
                    let nobody = Input::Start { case: *case, by: String::new() };
                    let answer = Some(self.step(*case, &nobody, at));
                    return Expected { answer, ..Expected::default() };
                };
                if at.as_millis() - view.case.queued_at.as_millis() < 120_000 {
                    let answer = Some(Err("CASE_QUEUED_RECENTLY".to_owned()));
                    return Expected { answer, ..Expected::default() };
                }
                view.case.queued_at = at;
                view.case.queued_times += 1;
                let answer = Some(Ok(Some(view.clone())));
                Expected { answer, queued: 1, ..Expected::default() }
            }
            Input::Accept { case, .. }
            | Input::Start { case, .. }
            | Input::Resolve { case, .. }
            | Input::Cancel { case, .. } => {
                let before = self.cases.iter().find(|view| view.id == *case).cloned();
                let answer = self.step(*case, input, at);
                let template = [
                    (matches!(input, Input::Resolve { .. }), CASE_RESOLVED),
                    (matches!(input, Input::Cancel { .. }), CASE_CANCELLED),
                ]
                .into_iter()
                .find_map(|(told, template)| told.then(|| vec![template.to_owned()]));
                let told = match (before, &answer) {
                    (Some(before), Ok(Some(view))) if before.case.stage != view.case.stage => {
                        template.map(|name| (name, Some(*case), view.case.brand.clone()))
                    }
                    _ => None,
                };
                Expected { answer: Some(answer), told, ..Expected::default() }
            }
            // Has a world of its own: tests/custody.
            Input::Custody(_) | Input::Wakeup(_) => Expected::default(),
        }
    }

    pub(crate) fn channel(
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
        let Some(rule) = configuration.rule_for(event) else {
            let moved = event.mode == Mode::Retired && event.reply_token.is_some();
            expected.told = (moved && reachable).then(|| (vec![MOVED.to_owned()], None, about));
            return expected;
        };
        let mut case = None;
        if let Some(open) = &rule.open {
            let there = self.cases.iter().filter(|view| {
                let same = (&view.case.customer, &view.case.brand, &view.case.rule)
                    == (&customer, &about, &rule.name);
                same && !matches!(view.case.stage, Stage::Resolved { .. } | Stage::Cancelled { .. })
            });
            // Of two that a merge brought together either is right; the model takes what is there.
            case = there.map(|view| view.id).min();
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
                    rule: rule.name.clone(),
                    opened_by: event.id.clone(),
                    carrier: None,
                    opened_at: at,
                    queued_at: at,
                    queued_times: 1,
                    stage: Stage::Open,
                };
                self.cases.push(CaseView { id, case: opened });
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
