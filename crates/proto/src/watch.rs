//! What watches of desks and queues tell: a record, or something that is there, as one message.

use mainstem_domain::routing::{
    About, CaseView, ConversationEvent, ConversationView, Event, Pause, Post, Standing, Talk,
    Timing, Withdrawn,
};
use mainstem_domain::{QueueId, StaffId};

use crate::case::timing_to_wire;
use crate::conversation::{post_to_wire, standing_to_wire};
use crate::error::DecodeError;
use crate::field::{parse_case, parse_id, parse_optional, parse_queue, text, timestamp};
use crate::pause::pause_to_wire;
use crate::record::{self, Encoded};
use crate::wire::routing::{self as wire, DeskChange, QueueChange};

/// A case of a customer who is forgotten.
pub const CASE_WITHDRAWN: &str = "mainstem.routing.case-withdrawn.v1";
/// A conversation of a customer who is forgotten.
pub const CONVERSATION_WITHDRAWN: &str = "mainstem.routing.conversation-withdrawn.v1";

pub(crate) fn encode(what: &Withdrawn) -> Encoded {
    match what {
        Withdrawn::Case { id, queue } => record::write(
            CASE_WITHDRAWN,
            &wire::CaseWithdrawn { case: id.to_string(), queue: queue.to_string() },
        ),
        Withdrawn::Conversation { id, store, brand, staff } => record::write(
            CONVERSATION_WITHDRAWN,
            &wire::ConversationWithdrawn {
                conversation: id.to_string(),
                previous_staff: text(staff.as_ref()),
                store: text(store.as_ref()),
                brand: text(brand.as_ref()),
            },
        ),
    }
}

pub(crate) fn decode(kind: &str, body: &[u8]) -> Result<Withdrawn, DecodeError> {
    if kind == CASE_WITHDRAWN {
        let record: wire::CaseWithdrawn = record::read(body)?;
        return Ok(Withdrawn::Case {
            id: parse_case("case", &record.case)?,
            queue: parse_queue("queue", &record.queue)?,
        });
    }
    let record: wire::ConversationWithdrawn = record::read(body)?;
    Ok(Withdrawn::Conversation {
        id: parse_id("conversation", &record.conversation)?,
        store: parse_optional("store", &record.store)?,
        brand: parse_optional("brand", &record.brand)?,
        staff: parse_optional("previous_staff", &record.previous_staff)?,
    })
}

/// A conversation that is there.
#[must_use]
pub fn present_conversation(view: &ConversationView) -> wire::WatchDeskResponse {
    wire::WatchDeskResponse { change: DeskChange::Present.into(), ..whole_conversation(view) }
}

/// A member of staff who is there, or said so once.
#[must_use]
pub fn present_staff(staff: &StaffId, standing: &Standing) -> wire::WatchDeskResponse {
    wire::WatchDeskResponse {
        change: DeskChange::Present.into(),
        staff: staff.to_string(),
        standing: Some(standing_to_wire(staff, standing)),
        ..wire::WatchDeskResponse::default()
    }
}

/// What a record tells whoever watches a desk, without its time and place; `None`: nothing.
#[must_use]
pub fn desk_change(event: &Event) -> Option<wire::WatchDeskResponse> {
    match event {
        Event::Conversation(event) => conversation_change(event),
        Event::Withdrawn(Withdrawn::Conversation { id, store, brand, staff }) => {
            Some(wire::WatchDeskResponse {
                change: DeskChange::Withdrawn.into(),
                conversation: id.to_string(),
                previous_staff: text(staff.as_ref()),
                store: text(store.as_ref()),
                brand: text(brand.as_ref()),
                ..wire::WatchDeskResponse::default()
            })
        }
        Event::Opened { .. }
        | Event::Queued { .. }
        | Event::Accepted { .. }
        | Event::Started { .. }
        | Event::Waits { .. }
        | Event::Resolved { .. }
        | Event::Closed { .. }
        | Event::Reopened { .. }
        | Event::Cancelled { .. }
        | Event::Transferred { .. }
        | Event::Prioritised { .. }
        | Event::Warned { .. }
        | Event::Escalated { .. }
        | Event::SerialShared { .. }
        | Event::CaseRestated { .. }
        | Event::Withdrawn(Withdrawn::Case { .. })
        | Event::Moved { .. }
        | Event::PurchaseNoted { .. }
        | Event::MessageRequested(_)
        | Event::RulesTried(_)
        | Event::RuleFailed(_)
        | Event::QueuePaused { .. }
        | Event::QueueResumed { .. }
        | Event::Custody(_)
        | Event::CodeIssued { .. }
        | Event::CodeRevoked { .. }
        | Event::CodeRefused { .. }
        | Event::Bound { .. }
        | Event::BindingEnded { .. }
        | Event::BindingRestated { .. }
        | Event::HandOverBegun(_)
        | Event::HandOverDone { .. } => None,
    }
}

fn conversation_change(event: &ConversationEvent) -> Option<wire::WatchDeskResponse> {
    let told = match event {
        ConversationEvent::Opened { id, conversation, .. } => {
            let view = ConversationView { id: *id, conversation: conversation.clone() };
            wire::WatchDeskResponse {
                change: offered(&conversation.stage).into(),
                event: conversation.event.to_string(),
                ..whole_conversation(&view)
            }
        }
        ConversationEvent::Restated { id, conversation } => {
            let view = ConversationView { id: *id, conversation: conversation.clone() };
            wire::WatchDeskResponse {
                change: DeskChange::Restated.into(),
                ..whole_conversation(&view)
            }
        }
        ConversationEvent::Active { about, event, .. } => wire::WatchDeskResponse {
            change: DeskChange::Active.into(),
            staff: text(about.staff.as_ref()),
            event: event.to_string(),
            ..step(about)
        },
        ConversationEvent::Tagged { about, tags, .. } => wire::WatchDeskResponse {
            change: DeskChange::Tagged.into(),
            staff: text(about.staff.as_ref()),
            tags: tags.iter().map(ToString::to_string).collect(),
            ..step(about)
        },
        ConversationEvent::Offered { about, stage, ended, .. } => wire::WatchDeskResponse {
            change: offered(stage).into(),
            staff: text(stage.staff()),
            offer_end_time: offer_end(stage),
            ended: ended.name().to_owned(),
            ..step(about)
        },
        ConversationEvent::Accepted { about, staff } => wire::WatchDeskResponse {
            change: DeskChange::Accepted.into(),
            staff: staff.to_string(),
            ..step(about)
        },
        ConversationEvent::Assigned { about, staff, by, reason } => wire::WatchDeskResponse {
            change: DeskChange::Assigned.into(),
            staff: staff.to_string(),
            actor: by.clone(),
            reason: reason.clone(),
            ..step(about)
        },
        ConversationEvent::Replied { about, staff } => wire::WatchDeskResponse {
            change: DeskChange::Replied.into(),
            staff: staff.to_string(),
            ..step(about)
        },
        ConversationEvent::Closed { about, by } => wire::WatchDeskResponse {
            change: DeskChange::Closed.into(),
            actor: by.clone(),
            ..step(about)
        },
        ConversationEvent::Stands { staff, post, .. } => stands(staff, post),
        ConversationEvent::Reviewed { .. }
        | ConversationEvent::Forgotten { .. }
        | ConversationEvent::IdleRestated { .. } => return None,
    };
    Some(told)
}

fn offered(stage: &Talk) -> DeskChange {
    match stage {
        Talk::Waiting => DeskChange::Waiting,
        Talk::Offered { .. } => DeskChange::Offered,
        Talk::InProgress { .. } => DeskChange::Accepted,
        Talk::Closed { .. } => DeskChange::Closed,
    }
}

fn offer_end(stage: &Talk) -> Option<pbjson_types::Timestamp> {
    match stage {
        Talk::Offered { until, .. } => Some(timestamp(*until)),
        Talk::Waiting | Talk::InProgress { .. } | Talk::Closed { .. } => None,
    }
}

/// What every record about one conversation says alike.
fn step(about: &About) -> wire::WatchDeskResponse {
    wire::WatchDeskResponse {
        conversation: about.id.to_string(),
        customer: about.customer.to_string(),
        previous_staff: text(about.staff.as_ref()),
        store: text(about.store.as_ref()),
        brand: text(about.brand.as_ref()),
        ..wire::WatchDeskResponse::default()
    }
}

fn whole_conversation(view: &ConversationView) -> wire::WatchDeskResponse {
    let one = &view.conversation;
    wire::WatchDeskResponse {
        conversation: view.id.to_string(),
        customer: one.customer.to_string(),
        staff: text(one.stage.staff()),
        offer_end_time: offer_end(&one.stage),
        store: text(one.store.as_ref()),
        brand: text(one.brand.as_ref()),
        whole: Some(view.into()),
        ..wire::WatchDeskResponse::default()
    }
}

fn stands(staff: &StaffId, post: &Post) -> wire::WatchDeskResponse {
    wire::WatchDeskResponse {
        change: DeskChange::Stands.into(),
        staff: staff.to_string(),
        standing: Some(post_to_wire(staff, post)),
        ..wire::WatchDeskResponse::default()
    }
}

/// A case that is there.
#[must_use]
pub fn present_case(view: &CaseView) -> wire::WatchQueueResponse {
    whole_case(QueueChange::Present, view)
}

/// A queue that is paused.
#[must_use]
pub fn present_pause(queue: &QueueId, pause: &Pause) -> wire::WatchQueueResponse {
    wire::WatchQueueResponse {
        change: QueueChange::Present.into(),
        queue: queue.to_string(),
        pause: Some(pause_to_wire(pause)),
        ..wire::WatchQueueResponse::default()
    }
}

/// What a record tells whoever watches a queue, without its time and place; `None`: nothing.
#[must_use]
#[expect(clippy::too_many_lines, reason = "an arm for each event")]
pub fn queue_change(event: &Event) -> Option<wire::WatchQueueResponse> {
    let case = |change: QueueChange, id: &dyn ToString, customer: &dyn ToString| {
        wire::WatchQueueResponse {
            change: change.into(),
            case: id.to_string(),
            customer: customer.to_string(),
            ..wire::WatchQueueResponse::default()
        }
    };
    let clocks = |timing: &Timing| Some(timing_to_wire(timing));
    let view = |id, case: &mainstem_domain::routing::Case| CaseView { id, case: case.clone() };
    let told = match event {
        Event::Opened { id, case } => whole_case(QueueChange::Opened, &view(*id, case)),
        Event::Queued { id, case } => whole_case(QueueChange::Queued, &view(*id, case)),
        Event::CaseRestated { id, case } => whole_case(QueueChange::Restated, &view(*id, case)),
        Event::Accepted { id, customer, queue, priority, by } => wire::WatchQueueResponse {
            queue: queue.to_string(),
            priority: priority.to_string(),
            actor: by.clone(),
            ..case(QueueChange::Accepted, id, customer)
        },
        Event::Started { id, customer, queue, by, timing } => wire::WatchQueueResponse {
            queue: text(queue.as_ref()),
            actor: by.clone(),
            timing: clocks(timing),
            ..case(QueueChange::Started, id, customer)
        },
        Event::Waits { id, customer, queue, by, timing } => wire::WatchQueueResponse {
            queue: text(queue.as_ref()),
            actor: by.clone(),
            timing: clocks(timing),
            ..case(QueueChange::Waits, id, customer)
        },
        Event::Resolved { id, customer, queue, by, timing } => wire::WatchQueueResponse {
            queue: text(queue.as_ref()),
            actor: by.clone(),
            timing: clocks(timing),
            ..case(QueueChange::Resolved, id, customer)
        },
        Event::Closed { id, customer, queue, by } => wire::WatchQueueResponse {
            queue: text(queue.as_ref()),
            actor: by.clone(),
            ..case(QueueChange::Closed, id, customer)
        },
        Event::Reopened { id, customer, queue, by, timing } => wire::WatchQueueResponse {
            queue: text(queue.as_ref()),
            actor: by.clone(),
            timing: clocks(timing),
            ..case(QueueChange::Reopened, id, customer)
        },
        Event::Cancelled { id, customer, queue, priority, by, reason, timing } => {
            wire::WatchQueueResponse {
                queue: queue.to_string(),
                priority: priority.to_string(),
                actor: by.clone(),
                reason: reason.clone(),
                timing: clocks(timing),
                ..case(QueueChange::Cancelled, id, customer)
            }
        }
        Event::Transferred { id, customer, queue, priority, to, by, reason, timing } => {
            wire::WatchQueueResponse {
                queue: queue.to_string(),
                to_queue: to.to_string(),
                priority: priority.to_string(),
                actor: by.clone(),
                reason: reason.clone(),
                timing: clocks(timing),
                ..case(QueueChange::Transferred, id, customer)
            }
        }
        Event::Prioritised { id, customer, queue, to, by, timing, .. } => {
            wire::WatchQueueResponse {
                queue: queue.to_string(),
                priority: to.to_string(),
                actor: by.clone(),
                timing: clocks(timing),
                ..case(QueueChange::Prioritised, id, customer)
            }
        }
        Event::Warned { id, customer, queue, unit } => wire::WatchQueueResponse {
            queue: text(queue.as_ref()),
            unit: text(unit.as_ref()),
            ..case(QueueChange::Warned, id, customer)
        },
        Event::Escalated { id, customer, queue, unit } => wire::WatchQueueResponse {
            queue: text(queue.as_ref()),
            unit: text(unit.as_ref()),
            ..case(QueueChange::Escalated, id, customer)
        },
        Event::SerialShared { id, customer, queue } => wire::WatchQueueResponse {
            queue: text(queue.as_ref()),
            ..case(QueueChange::SerialShared, id, customer)
        },
        Event::QueuePaused { queue, by, reason } => wire::WatchQueueResponse {
            queue: queue.to_string(),
            actor: by.clone(),
            reason: reason.clone(),
            ..case(QueueChange::Paused, &"", &"")
        },
        Event::QueueResumed { queue, by } => wire::WatchQueueResponse {
            queue: queue.to_string(),
            actor: by.clone(),
            ..case(QueueChange::Resumed, &"", &"")
        },
        Event::Withdrawn(Withdrawn::Case { id, queue }) => wire::WatchQueueResponse {
            queue: queue.to_string(),
            ..case(QueueChange::Withdrawn, id, &"")
        },
        Event::Moved { .. }
        | Event::PurchaseNoted { .. }
        | Event::MessageRequested(_)
        | Event::RulesTried(_)
        | Event::RuleFailed(_)
        | Event::Conversation(_)
        | Event::Withdrawn(Withdrawn::Conversation { .. })
        | Event::Custody(_)
        | Event::CodeIssued { .. }
        | Event::CodeRevoked { .. }
        | Event::CodeRefused { .. }
        | Event::Bound { .. }
        | Event::BindingEnded { .. }
        | Event::BindingRestated { .. }
        | Event::HandOverBegun(_)
        | Event::HandOverDone { .. } => return None,
    };
    Some(told)
}

fn whole_case(change: QueueChange, view: &CaseView) -> wire::WatchQueueResponse {
    wire::WatchQueueResponse {
        change: change.into(),
        case: view.id.to_string(),
        customer: view.case.customer.to_string(),
        queue: view.case.queue.to_string(),
        priority: view.case.priority.to_string(),
        whole: Some(view.into()),
        ..wire::WatchQueueResponse::default()
    }
}
