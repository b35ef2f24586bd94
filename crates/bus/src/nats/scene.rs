//! A watch that first tells what is there, and then what becomes of it, without a gap and nothing twice.
//!
//! What is there comes from the state, in pages, each as it was when some record was the last one. What
//! becomes of it comes from the ledger, from before the first page on: a record that a page has taken in
//! is passed over. A resume token carries the place in the ledger, and, as long as it matters, which page
//! has taken in what; so a watch may be cut off anywhere, among the pages too.
//!
//! Invariant: each thing is told once by a page or by the records after it, and never by both.

use std::collections::VecDeque;
use std::time::Duration;

use futures::Stream;
use futures::stream;
use mainstem_domain::{Refusal, RefusalCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::machine::{Looked, Machine, read_request};
use crate::nats::journal::{RETRY, read_place, stopping};
use crate::nats::{Bus, FollowError, Follower, News};
use crate::record::Stored;
use crate::sha256_hex;

/// What a watch shows.
pub trait Scene: Send + Sync + 'static {
    /// A thing or a change of one, as it is told.
    type Told: DeserializeOwned + Send + 'static;

    /// What tells this watch from others: a token of another one is refused.
    fn name(&self) -> String;

    /// Under which subjects the records stand that it tells.
    fn subjects(&self) -> Vec<String>;

    /// The next things that are there, behind the one with this key: the JSON of a [`Looked`] with a
    /// [`Page`].
    ///
    /// # Errors
    /// The refusal that ends the watch.
    fn page(&self, after: &str) -> impl Future<Output = Result<String, Refusal>> + Send;

    /// What a record tells; `None`: nothing.
    ///
    /// # Errors
    /// The refusal that ends the watch.
    fn read(
        &mut self,
        message: &Stored,
    ) -> impl Future<Output = Result<Option<Thing<Self::Told>>, Refusal>> + Send;
}

/// Something, or a change of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Thing<T> {
    /// Tells it from all other things of the watch; not empty.
    pub key: String,
    /// What is told of it.
    pub told: T,
}

/// Some of what is there, in the order of the keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The things.
    pub things: Vec<Thing<T>>,
    /// Whether there may be more behind them.
    pub more: bool,
}

/// Up to which key was told what had become of things up to which record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    /// The last key; none: all of them.
    until: Option<String>,
    /// The last record.
    sequence: u64,
}

/// What a resume token says.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bookmark {
    /// Of which watch it is.
    of: String,
    /// How far the ledger was read.
    at: String,
    /// What was told by pages, and may still be told by records behind that; in the order of the keys.
    told: Vec<Told>,
}

/// What was told by pages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Pages(Vec<Told>);

impl Pages {
    /// Behind which key the next page begins; none: there is no next one.
    fn after(&self) -> Option<&str> {
        match self.0.last() {
            None => Some(""),
            Some(last) => last.until.as_deref(),
        }
    }

    /// A page was seen as it was at this record.
    fn begin(&mut self, sequence: u64) {
        let Some(after) = self.after().map(str::to_owned) else { return };
        if self.0.last().is_none_or(|last| last.sequence != sequence) {
            self.0.push(Told { until: Some(after), sequence });
        }
    }

    /// Everything up to this key was told, or all of it.
    fn advance(&mut self, until: Option<String>) {
        if let Some(last) = self.0.last_mut() {
            last.until = until;
        }
    }

    /// Whether a page has told what this record did to the thing with this key.
    fn cover(&self, key: &str, sequence: u64) -> bool {
        let told =
            self.0.iter().find(|told| told.until.as_deref().is_none_or(|until| key <= until));
        told.is_some_and(|told| sequence <= told.sequence)
    }

    /// Forgets what cannot matter any more, when everything up to here was read.
    fn pass(&mut self, sequence: u64) {
        if self.after().is_none() && self.0.iter().all(|told| told.sequence <= sequence) {
            // The one that says that all was told.
            self.0.drain(..self.0.len().saturating_sub(1));
        }
    }

    /// Whether this could be what [`Bookmark::told`] was made of.
    fn is_sound(&self) -> bool {
        let keys = self.0.iter().map(|told| told.until.as_deref());
        let order = |one: Option<&str>, next: Option<&str>| match (one, next) {
            (Some(one), Some(next)) => one <= next,
            (Some(_), None) => true,
            (None, _) => false,
        };
        keys.clone().zip(keys.skip(1)).all(|(one, next)| order(one, next))
    }
}

struct Showing<S: Scene> {
    scene: S,
    follower: Follower,
    pages: Pages,
    /// Of the last page, not told yet.
    things: VecDeque<Thing<S::Told>>,
    /// Whether there may be more behind the last page.
    more: bool,
    heartbeat: Interval,
    stop: CancellationToken,
}

/// Everything that is there, then a heartbeat, then everything that becomes of it, with a heartbeat
/// whenever nothing has been told for that long, until `stop`. With the token of a message it goes on
/// behind that message. It ends with a refusal that says why; `UNAVAILABLE` asks the client to come again.
///
/// Nothing is read ahead of whoever takes the messages but one page, so a slow client costs little.
///
/// # Errors
/// As [`Follower::open`].
pub async fn show<M: Machine, S: Scene>(
    bus: &Bus,
    scene: S,
    resume_token: &str,
    heartbeat: Duration,
    stop: CancellationToken,
) -> Result<impl Stream<Item = Result<News<S::Told>, Refusal>> + Send + 'static, FollowError> {
    let (place, pages) = match resume_token {
        "" => (None, Pages::default()),
        token => {
            let read = read_token(token, &scene.name()).ok_or(FollowError::Malformed)?;
            let place = read_place(M::LEDGER, &read.at).ok_or(FollowError::Malformed)?;
            (Some(place), Pages(read.told))
        }
    };
    let subjects = scene.subjects();
    let follower = Follower::open_at(bus, M::SERVICE, M::LEDGER, subjects, place).await?;
    let mut heartbeat = tokio::time::interval(heartbeat);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let things = VecDeque::new();
    let showing = Showing { scene, follower, pages, things, more: true, heartbeat, stop };
    Ok(stream::unfold(Some(showing), |showing| async move {
        let mut showing = showing?;
        match showing.next().await {
            Ok(news) => Some((Ok(news), Some(showing))),
            Err(refusal) => Some((Err(refusal), None)),
        }
    }))
}

impl<S: Scene> Showing<S> {
    async fn next(&mut self) -> Result<News<S::Told>, Refusal> {
        loop {
            if let Some(thing) = self.things.pop_front() {
                self.pages.advance(Some(thing.key));
                return Ok(self.news(Some(thing.told)));
            }
            if !self.more {
                self.pages.advance(None);
            }
            let Some(after) = self.pages.after().map(str::to_owned) else { break };
            self.turn(&after).await?;
        }
        self.record().await
    }

    /// Takes the next page.
    async fn turn(&mut self, after: &str) -> Result<(), Refusal> {
        loop {
            let answer = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(stopping()),
                answer = self.scene.page(after) => answer?,
            };
            let Looked { sequence, body }: Looked<Page<S::Told>> =
                serde_json::from_str(&answer).map_err(|_| another_version())?;
            // A writer that was replaced does not know of everything that was read.
            if sequence >= self.follower.sequence() {
                self.pages.begin(sequence);
                self.things = body.things.into();
                self.more = body.more && !self.things.is_empty();
                return Ok(());
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// The next record that tells something, or a heartbeat.
    async fn record(&mut self) -> Result<News<S::Told>, Refusal> {
        loop {
            let message = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(stopping()),
                _ = self.heartbeat.tick() => return Ok(self.news(None)),
                message = self.follower.next() => message?,
            };
            let told = self.scene.read(&message).await?;
            let told = told.filter(|thing| !self.pages.cover(&thing.key, message.sequence));
            self.pages.pass(message.sequence);
            if let Some(thing) = told {
                self.heartbeat.reset();
                return Ok(self.news(Some(thing.told)));
            }
        }
    }

    fn news(&self, record: Option<S::Told>) -> News<S::Told> {
        let bookmark = Bookmark {
            of: fingerprint(&self.scene.name()),
            at: self.follower.positions().to_string(),
            told: self.pages.0.clone(),
        };
        let text = serde_json::to_vec(&bookmark).unwrap_or_default();
        News { resume_token: data_encoding::BASE64URL_NOPAD.encode(&text), record }
    }
}

fn read_token(token: &str, name: &str) -> Option<Bookmark> {
    let bytes = data_encoding::BASE64URL_NOPAD.decode(token.as_bytes()).ok()?;
    let bookmark: Bookmark = read_request(&bytes).ok()?;
    let sound = bookmark.of == fingerprint(name) && Pages(bookmark.told.clone()).is_sound();
    sound.then_some(bookmark)
}

fn fingerprint(name: &str) -> String {
    let mut digest = sha256_hex(name.as_bytes());
    digest.truncate(12);
    digest
}

fn another_version() -> Refusal {
    Refusal::new(
        RefusalCode::Unavailable,
        "OTHER_VERSION",
        "another version of this service writes; watch again with the last resume_token",
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// A world of things, each with the record that changed it last; one change at each sequence.
    fn told_at(changes: &[u8], key: u8, sequence: usize) -> usize {
        let past = changes[..sequence].iter().enumerate();
        past.filter(|(_, changed)| **changed == key).map(|(at, _)| at + 1).next_back().unwrap_or(0)
    }

    proptest! {
        /// Pages are taken at any records, one after the other, while the world goes on; the watch is
        /// cut off and resumed after each of them. By the pages and the records behind them everybody
        /// knows the last change of everything, and nothing was told twice.
        #[test]
        fn nothing_is_missed_and_nothing_is_told_twice(
            changes in prop::collection::vec(0..9_u8, 0..40),
            start in any::<prop::sample::Index>(),
            pages in prop::collection::vec((1..4_usize, 0..6_usize), 0..9),
        ) {
            let begun = start.index(changes.len() + 1);
            let (mut told, mut at) = (Pages::default(), begun);
            let mut known = BTreeMap::new();
            let mut cuts = pages.into_iter();
            let mut key = 0_u8;
            while let Some(after) = told.after().map(str::to_owned) {
                prop_assert_eq!(after.clone(), if key == 0 { String::new() } else { (key - 1).to_string() });
                let (size, pause) = cuts.next().unwrap_or((9, 0));
                at = (at + pause).min(changes.len());
                told.begin(at as u64);
                for _ in 0..size {
                    if key < 9 {
                        known.insert(key, told_at(&changes, key, at));
                        told.advance(Some(key.to_string()));
                        key += 1;
                    }
                }
                if key == 9 {
                    told.advance(None);
                }
                prop_assert!(told.is_sound());
            }
            for sequence in begun + 1..=changes.len() {
                let changed = changes[sequence - 1];
                if !told.cover(&changed.to_string(), sequence as u64) {
                    let before = known.insert(changed, sequence);
                    prop_assert!(before < Some(sequence), "{} is told twice", changed);
                    let between = &changes[before.unwrap_or(0)..sequence - 1];
                    prop_assert!(!between.contains(&changed), "a change of {} is missed", changed);
                }
                told.pass(sequence as u64);
            }
            for key in 0..9 {
                prop_assert_eq!(known[&key], told_at(&changes, key, changes.len()));
            }
        }
    }

    #[test]
    fn a_token_of_another_watch_is_none() {
        let token = |of: &str, told: &str| {
            let text = format!("{{\"of\":\"{of}\",\"at\":\"ROUTING=7@70/3\",\"told\":{told}}}");
            data_encoding::BASE64URL_NOPAD.encode(text.as_bytes())
        };
        let of = fingerprint("desk a");
        assert!(read_token(&token(&of, "[]"), "desk a").is_some());
        assert!(read_token(&token(&of, "[]"), "desk b").is_none());
        let good = r#"[{"until":"a","sequence":1},{"until":null,"sequence":2}]"#;
        assert_eq!(read_token(&token(&of, good), "desk a").map(|read| read.told.len()), Some(2));
        for wrong in [
            r#"[{"until":null,"sequence":1},{"until":"a","sequence":2}]"#,
            r#"[{"until":"b","sequence":1},{"until":"a","sequence":2}]"#,
            "7",
        ] {
            assert!(read_token(&token(&of, wrong), "desk a").is_none(), "{wrong}");
        }
        for wrong in ["", "!", "Uk9VVElORz03QDcwLzM"] {
            assert!(read_token(wrong, "desk a").is_none(), "{wrong}");
        }
    }
}
