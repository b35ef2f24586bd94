//! Queues that give nothing out: records and answers.

use mainstem_domain::QueueId;
use mainstem_domain::routing::{Event, Pause, QueueView};

use crate::error::DecodeError;
use crate::field::{parse_queue, text, timestamp};
use crate::record::{self, Encoded};
use crate::routing::{QUEUE_PAUSED, QUEUE_RESUMED};
use crate::wire::routing as wire;

pub(crate) fn paused(queue: &QueueId, by: &str, reason: &str) -> Encoded {
    let (queue, actor, reason) = (queue.to_string(), by.to_owned(), reason.to_owned());
    record::write(QUEUE_PAUSED, &wire::QueuePaused { queue, actor, reason })
}

pub(crate) fn resumed(queue: &QueueId, by: &str) -> Encoded {
    let (queue, actor) = (queue.to_string(), by.to_owned());
    record::write(QUEUE_RESUMED, &wire::QueueResumed { queue, actor })
}

pub(crate) fn decode(kind: &str, body: &[u8]) -> Result<Event, DecodeError> {
    if kind == QUEUE_PAUSED {
        let record: wire::QueuePaused = record::read(body)?;
        let queue = parse_queue("queue", &record.queue)?;
        return Ok(Event::QueuePaused { queue, by: record.actor, reason: record.reason });
    }
    let record: wire::QueueResumed = record::read(body)?;
    let queue = parse_queue("queue", &record.queue)?;
    Ok(Event::QueueResumed { queue, by: record.actor })
}

/// A queue as it is now.
#[must_use]
pub fn queue_to_wire(view: &QueueView) -> wire::Queue {
    wire::Queue {
        queue: view.queue.to_string(),
        open: u32::try_from(view.open).unwrap_or(u32::MAX),
        next_case: text(view.next.as_ref()),
        pause: view.pause.as_ref().map(pause_to_wire),
    }
}

/// Why a queue gives nothing out.
#[must_use]
pub fn pause_to_wire(pause: &Pause) -> wire::QueuePause {
    let Pause { by, reason, at } = pause;
    wire::QueuePause { actor: by.clone(), reason: reason.clone(), time: Some(timestamp(*at)) }
}
