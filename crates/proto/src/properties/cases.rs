//! What routing decides.

use std::time::Duration;

use mainstem_domain::configuration::RuleFailure;
use mainstem_domain::routing::RulesTried;

use super::*;

pub(super) fn stage() -> impl Strategy<Value = Stage> {
    prop_oneof![
        Just(Stage::Open),
        (any_text(), at()).prop_map(|(by, at)| Stage::Accepted { by, at }),
        (any_text(), at()).prop_map(|(by, at)| Stage::InProgress { by, at }),
        (any_text(), at()).prop_map(|(by, at)| Stage::Waiting { by, at }),
        (any_text(), at()).prop_map(|(by, at)| Stage::Resolved { by, at }),
        (any_text(), at(), at()).prop_map(|(by, at, resolved_at)| Stage::Closed {
            by,
            at,
            resolved_at
        }),
        (any_text(), at(), any_text()).prop_map(|(by, at, reason)| Stage::Cancelled {
            by,
            at,
            reason
        }),
    ]
}

pub(super) fn opener() -> impl Strategy<Value = Opener> {
    prop_oneof![
        (any_text(), event_id()).prop_map(|(rule, event)| Opener::Event { rule, event }),
        any_text().prop_map(|by| Opener::Staff { by }),
    ]
}

prop_compose! {
    pub(super) fn details()(
        (product, serial, purchase) in (any_text(), any_text(), any_text()),
        (warranty, symptom, reference) in (any_text(), any_text(), any_text()),
        photos in vec(any_text(), 0..3),
    ) -> Details {
        Details { product, serial, purchase, warranty, symptom, photos, reference }
    }
}

pub(super) fn unit() -> impl Strategy<Value = Option<UnitId>> {
    option::of(slug().prop_map(|text| text.parse().unwrap()))
}

prop_compose! {
    pub(super) fn timing()(
        clocks in vec((unit(), any::<u32>(), any::<u32>(), any::<[bool; 2]>()), 0..3),
        (running_since, warn_at, due_at) in (option::of(at()), option::of(at()), option::of(at())),
    ) -> Timing {
        let clocks = clocks.into_iter().map(|(unit, ran, worked, [warned, escalated])| Clock {
            unit,
            ran: Duration::from_millis(ran.into()),
            worked: Duration::from_millis(worked.into()),
            warned,
            escalated,
        });
        Timing { clocks: clocks.collect(), running_since, warn_at, due_at }
    }
}

prop_compose! {
    pub(super) fn case()(
        (customer, channel, brand, store) in
            (customer(), channel_id(), option::of(brand()), option::of(store())),
        (queue, opener, opened_at) in (queue(), opener(), at()),
        (details, timing, shared_serial, tags) in (details(), timing(), any::<bool>(), tags()),
        (priority, queued_at, queued_times) in (priority(), at(), any::<u32>()),
        (stage, carrier) in (stage(), carrier()),
    ) -> Case {
        Case {
            customer, channel, brand, store, queue, priority, opener, details, opened_at,
            queued_at, queued_times, stage, carrier, timing, shared_serial, tags,
        }
    }
}

pub(super) fn priority() -> impl Strategy<Value = Priority> {
    prop::sample::select(vec![Priority::P1, Priority::P2, Priority::P3, Priority::P4])
}

prop_compose! {
    pub(super) fn request()(
        customer in customer(),
        channel in channel_id(),
        brand in option::of(brand()),
        (templates, text) in (vec(any_text(), 0..4), option::of(token())),
        case in option::of(case_id()),
        reply in option::of((token(), at())),
        mode in prop::sample::select(vec![Mode::Live, Mode::Shadow, Mode::Retired]),
        (carrier, staff, rule) in (carrier(), option::of(staff()), option::of(token())),
    ) -> MessageRequest {
        let reply = reply.map(|(token, received_at)| ReplyRight { token, received_at });
        MessageRequest {
            customer, channel, brand, templates, text, case, reply, mode, carrier, staff,
            rule,
        }
    }
}

prop_compose! {
    fn failure()(rule in any_text(), why in any_text()) -> RuleFailure { RuleFailure { rule, why } }
}

prop_compose! {
    fn tried()(
        (customer, channel, event) in (customer(), channel_id(), event_id()),
        (carrier, rule) in (carrier(), option::of(token())),
        failed in vec(failure(), 0..3),
    ) -> RulesTried {
        RulesTried { customer, channel, event, carrier, rule, failed }
    }
}

/// Steps of a case that tell its clocks, or its unit.
pub(super) fn step() -> impl Strategy<Value = route::Event> {
    let who = || (case_id(), customer(), any_text(), timing());
    let known = || (case_id(), customer(), option::of(queue()));
    let place = || (queue(), priority());
    let told = prop_oneof![
        (known(), any_text()).prop_map(|((id, customer, queue), by)| route::Event::Closed {
            id,
            customer,
            queue,
            by
        }),
        (known(), unit()).prop_map(|((id, customer, queue), unit)| route::Event::Warned {
            id,
            customer,
            queue,
            unit
        }),
        (known(), unit()).prop_map(|((id, customer, queue), unit)| route::Event::Escalated {
            id,
            customer,
            queue,
            unit
        }),
        known().prop_map(|(id, customer, queue)| route::Event::SerialShared {
            id,
            customer,
            queue
        }),
    ];
    let moved = prop_oneof![
        (who(), place(), any_text()).prop_map(
            |((id, customer, by, timing), (queue, priority), reason)| {
                route::Event::Cancelled { id, customer, queue, priority, by, reason, timing }
            }
        ),
        (who(), place(), queue(), any_text()).prop_map(
            |((id, customer, by, timing), (queue, priority), to, reason)| {
                route::Event::Transferred { id, customer, queue, priority, to, by, reason, timing }
            }
        ),
        (who(), place(), priority()).prop_map(
            |((id, customer, by, timing), (queue, priority), to)| {
                route::Event::Prioritised { id, customer, queue, priority, to, by, timing }
            }
        ),
    ];
    prop_oneof![
        (who(), option::of(queue())).prop_map(|((id, customer, by, timing), queue)| {
            route::Event::Started { id, customer, queue, by, timing }
        }),
        (who(), option::of(queue())).prop_map(|((id, customer, by, timing), queue)| {
            route::Event::Waits { id, customer, queue, by, timing }
        }),
        (who(), option::of(queue())).prop_map(|((id, customer, by, timing), queue)| {
            route::Event::Resolved { id, customer, queue, by, timing }
        }),
        (who(), option::of(queue())).prop_map(|((id, customer, by, timing), queue)| {
            route::Event::Reopened { id, customer, queue, by, timing }
        }),
        told,
        moved,
    ]
}

pub(super) fn routing_event() -> impl Strategy<Value = route::Event> {
    prop_oneof![
        (case_id(), case()).prop_map(|(id, case)| route::Event::Opened { id, case }),
        (case_id(), case()).prop_map(|(id, case)| route::Event::Queued { id, case }),
        (case_id(), customer(), queue(), priority(), any_text()).prop_map(
            |(id, customer, queue, priority, by)| route::Event::Accepted {
                id,
                customer,
                queue,
                priority,
                by
            }
        ),
        (case_id(), case()).prop_map(|(id, case)| route::Event::CaseRestated { id, case }),
        custody_event().prop_map(route::Event::Custody),
        (customer(), brand(), at(), carrier()).prop_map(|(customer, brand, at, carrier)| {
            let purchase = route::Purchase { brand, at, carrier };
            route::Event::PurchaseNoted { customer, purchase }
        }),
        step().boxed(),
        (customer(), customer()).prop_map(|(from, to)| route::Event::Moved { from, to }),
        request().prop_map(route::Event::MessageRequested),
        tried().prop_map(route::Event::RulesTried).boxed(),
        failure().prop_map(route::Event::RuleFailed).boxed(),
        (queue(), any_text(), any_text())
            .prop_map(|(queue, by, reason)| route::Event::QueuePaused { queue, by, reason })
            .boxed(),
        (queue(), any_text())
            .prop_map(|(queue, by)| route::Event::QueueResumed { queue, by })
            .boxed(),
        conversation_event().prop_map(route::Event::Conversation).boxed(),
        binding_event(),
        withdrawn().prop_map(route::Event::Withdrawn).boxed(),
    ]
}
