//! What is being written to a ledger under some subjects, for whoever watches it: from now on, or
//! from where an earlier watch ended.

use std::time::Duration;

use futures::Stream;
use futures::stream::{self, StreamExt as _};
use mainstem_domain::{Refusal, RefusalCode};
use tokio_util::sync::CancellationToken;

use crate::engine::kind;
use crate::nats::{Bus, Log, ReadError};
use crate::positions::{Epoch, Position, Positions};
use crate::record::{Stored, header};
use crate::topology;

/// How soon a reader tries again when the broker does not answer.
pub(crate) const RETRY: Duration = Duration::from_millis(250);

/// Records of some subjects of one ledger that count, in order, each once, for ever.
///
/// A record counts when it carries the epoch that the newest epoch record before it opened, which
/// is read along; see [`Past::slice`](crate::nats::Past::slice) for what cannot be seen so.
pub struct Follower {
    log: Log,
    ledger: &'static str,
    place: Position,
}

/// Why a watch cannot begin where it is asked to.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The resume token is none of this ledger's.
    #[error("is none that this method gave; begin without one")]
    Malformed,
    /// The ledger is not the one that was watched.
    #[error(
        "the ledger is shorter than when the watch ended: it was restored from a backup; begin \
         without resume_token, and read anew what you keep"
    )]
    Gone,
    /// The broker does not answer.
    #[error(transparent)]
    Read(ReadError),
}

impl From<ReadError> for FollowError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Broker { .. } => Self::Read(error),
            ReadError::LostTail { .. } => Self::Gone,
        }
    }
}

impl From<FollowError> for Refusal {
    fn from(error: FollowError) -> Self {
        match &error {
            FollowError::Malformed => Self::field("resume_token", error.to_string()),
            FollowError::Gone => {
                Self::new(RefusalCode::FailedPrecondition, "LEDGER_SHORTER", error.to_string())
            }
            FollowError::Read(_) => {
                Self::new(RefusalCode::Unavailable, "NO_BROKER", error.to_string())
            }
        }
    }
}

impl Follower {
    /// Begins behind the message that a resume token was given with; without one, now.
    ///
    /// # Errors
    /// See [`FollowError`].
    pub async fn open(
        bus: &Bus,
        service: &str,
        ledger: &'static str,
        subjects: Vec<String>,
        resume_token: &str,
    ) -> Result<Self, FollowError> {
        let place = match resume_token {
            "" => None,
            token => Some(parse(ledger, token).ok_or(FollowError::Malformed)?),
        };
        Self::open_at(bus, service, ledger, subjects, place).await
    }

    /// Begins behind a place; without one, now.
    pub(crate) async fn open_at(
        bus: &Bus,
        service: &str,
        ledger: &'static str,
        mut subjects: Vec<String>,
        place: Option<Position>,
    ) -> Result<Self, FollowError> {
        let epochs = topology::ledger_subject(service, topology::EPOCH);
        let place = match place {
            Some(place) => place,
            None => end(bus, ledger, &epochs).await?,
        };
        subjects.push(epochs);
        let log = Log::open_subjects(bus, ledger, place, subjects).await?;
        Ok(Self { log, ledger, place })
    }

    /// Where a later watch goes on after everything that was given so far.
    #[must_use]
    pub fn resume_token(&self) -> String {
        data_encoding::BASE64URL_NOPAD.encode(self.positions().to_string().as_bytes())
    }

    /// How far it has read, as [`read_place`] reads it.
    pub(crate) fn positions(&self) -> Positions {
        let mut positions = Positions::default();
        positions.advance(self.ledger, self.place);
        positions
    }

    /// The last message that was looked at.
    pub(crate) fn sequence(&self) -> u64 {
        self.place.sequence
    }

    /// The next record, as soon as there is one. May be dropped and called again.
    ///
    /// # Errors
    /// [`FollowError::Gone`] when the ledger was replaced by a shorter one.
    pub async fn next(&mut self) -> Result<Stored, FollowError> {
        loop {
            let message = match self.log.next().await {
                Ok(message) => message,
                Err(error @ ReadError::Broker { .. }) => {
                    tracing::debug!(%error, "a watch asks again");
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
                Err(error @ ReadError::LostTail { .. }) => return Err(error.into()),
            };
            let opens = message.record.kind() == kind::EPOCH;
            let counts = self.place.epoch.admit(epoch_of(&message), opens);
            self.place.sequence = message.sequence;
            self.place.stored_at = message.stored_at;
            if counts && !opens {
                return Ok(message);
            }
        }
    }
}

/// The last message of a ledger, and the epoch in force there.
async fn end(bus: &Bus, ledger: &'static str, epochs: &str) -> Result<Position, FollowError> {
    let mut log = Log::open(bus, ledger, Position::default()).await?;
    loop {
        let opened = log.last_of(epochs).await?;
        let (_, sequence) = log.end().await?;
        if sequence == 0 {
            return Ok(Position::default());
        }
        let last = log.at(sequence).await?;
        // Another epoch may begin, and the last message may go, while we look.
        let again = log.last_of(epochs).await?.map(|message| message.sequence);
        if again != opened.as_ref().map(|message| message.sequence) {
            continue;
        }
        let number = opened.as_ref().and_then(epoch_of).unwrap_or(0);
        let epoch = Epoch { number, broken: false };
        if let Some(Stored { sequence, stored_at, .. }) = last {
            return Ok(Position { sequence, stored_at, epoch });
        }
    }
}

fn epoch_of(message: &Stored) -> Option<u64> {
    message.record.header(header::EPOCH).and_then(|text| text.parse().ok())
}

fn parse(ledger: &str, token: &str) -> Option<Position> {
    let bytes = data_encoding::BASE64URL_NOPAD.decode(token.as_bytes()).ok()?;
    read_place(ledger, std::str::from_utf8(&bytes).ok()?)
}

/// A place in this ledger alone.
pub(crate) fn read_place(ledger: &str, text: &str) -> Option<Position> {
    let positions: Positions = text.parse().ok()?;
    let mut streams = positions.iter();
    let (stream, position) = streams.next()?;
    (stream == ledger && streams.next().is_none()).then_some(position)
}

/// One message of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News<T = Stored> {
    /// Where a later watch goes on after this message.
    pub resume_token: String,
    /// The record, or what it tells; none in a heartbeat.
    pub record: Option<T>,
}

/// Everything that a follower gives, with a heartbeat at once and whenever nothing has come for that
/// long, until `stop`. It ends with a refusal that says why; `UNAVAILABLE` asks the client to come
/// again.
///
/// Nothing is read ahead of whoever takes the messages, so a slow client costs no memory.
pub fn watch(
    follower: Follower,
    heartbeat: Duration,
    stop: CancellationToken,
) -> impl Stream<Item = Result<News, Refusal>> + Send + 'static {
    let begun = News { resume_token: follower.resume_token(), record: None };
    let rest = stream::unfold(Some(follower), move |follower| {
        let stop = stop.clone();
        async move {
            let mut follower = follower?;
            let told = tokio::select! {
                biased;
                () = stop.cancelled() => Err(stopping()),
                next = follower.next() => next.map(Some).map_err(Refusal::from),
                () = tokio::time::sleep(heartbeat) => Ok(None),
            };
            match told {
                Ok(record) => {
                    let news = News { resume_token: follower.resume_token(), record };
                    Some((Ok(news), Some(follower)))
                }
                Err(refusal) => Some((Err(refusal), None)),
            }
        }
    });
    stream::once(async { Ok(begun) }).chain(rest)
}

pub(crate) fn stopping() -> Refusal {
    Refusal::new(
        RefusalCode::Unavailable,
        "STOPPING",
        "this instance is stopping; watch again with the last resume_token",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str) -> String {
        data_encoding::BASE64URL_NOPAD.encode(text.as_bytes())
    }

    #[test]
    fn a_token_of_something_else_is_none() {
        let epoch = Epoch { number: 3, broken: false };
        let place = Position { sequence: 7, stored_at: 70, epoch };
        assert_eq!(parse("CUSTOMER", &token("CUSTOMER=7@70/3")), Some(place));
        assert_eq!(parse("CUSTOMER", &token("ROUTING=7@70/3")), None);
        assert_eq!(parse("CUSTOMER", &token("CUSTOMER=7@70/3 ROUTING=7@70/3")), None);
        for wrong in ["CUSTOMER=7@70/3", "!", &token(""), &token("CUSTOMER"), "維修"] {
            assert_eq!(parse("CUSTOMER", wrong), None, "{wrong}");
        }
    }
}
