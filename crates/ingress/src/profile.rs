//! How people show on LINE: display name and language, fetched at first contact and after 30 days,
//! and told to everybody else as an event of the channel.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use mainstem_bus::nats::{Inbound, InboundMessage, Known, Profiles};
use mainstem_bus::topology::PROFILE_KEPT;
use mainstem_bus::{TraceContext, sha256_hex, topology};
use mainstem_domain::configuration::ChannelKind;
use mainstem_domain::person::Business;
use mainstem_domain::{At, ChannelId};
use mainstem_line_client::{CallError, Fetched, LineClient, Profile};
use mainstem_proto::channel::{ATTRIBUTE_AT_MOST, business_to, mode_to};
use mainstem_proto::field::timestamp;
use mainstem_proto::wire::channel as wire;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::{Directory, Place};

/// What waits beyond this is asked for with the person's next event.
const WAITING_AT_MOST: usize = 10_000;

/// Profiles that are fetched at once.
const AT_ONCE: usize = 8;

/// One account asks no faster than this: far below LINE's limit, and nobody waits for it.
const PACE: Duration = Duration::from_millis(20);

/// So many people are remembered; then it begins anew, which costs a look each.
const REMEMBERED_AT_MOST: usize = 200_000;

/// Whose profile it is.
#[derive(Clone, PartialEq, Eq)]
pub struct ProfileOf {
    /// The account that the person spoke to.
    pub channel: ChannelId,
    /// The provider inside which the user id means something.
    pub provider: String,
    /// LINE's id of the person.
    pub user: String,
    /// A keyed hash of it.
    pub handle: String,
    /// The person became a friend just now, which one who could not be found before may be.
    pub followed: bool,
}

impl fmt::Debug for ProfileOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "profile of {} on {}", self.handle, self.channel)
    }
}

/// The profiles that somebody wants, on their way to the worker. Nothing is lost with what is lost
/// here: a person's next event asks again.
#[derive(Clone)]
pub(crate) struct Wanted {
    /// None: nobody fetches profiles.
    queue: Option<mpsc::Sender<ProfileOf>>,
    asked: Arc<Mutex<HashMap<String, At>>>,
}

impl Wanted {
    /// Of an ingress that fetches none.
    pub(crate) fn nobody() -> Self {
        Self { queue: None, asked: Arc::default() }
    }

    pub(crate) fn new() -> (Self, mpsc::Receiver<ProfileOf>) {
        let (queue, waiting) = mpsc::channel(WAITING_AT_MOST);
        (Self { queue: Some(queue), asked: Arc::default() }, waiting)
    }

    /// Asks for it, if this process did not lately.
    pub(crate) fn want(&self, of: ProfileOf, now: At) {
        let Some(queue) = &self.queue else { return };
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let lately = asked.get(&of.handle).is_some_and(|asked| now.since(*asked) < PROFILE_KEPT);
        if lately && !of.followed {
            return;
        }
        if asked.len() >= REMEMBERED_AT_MOST {
            asked.clear();
        }
        let handle = of.handle.clone();
        if queue.try_send(of).is_ok() {
            asked.insert(handle, now);
        }
    }

    /// It was not fetched after all.
    fn forget(&self, handle: &str) {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).remove(handle);
    }
}

/// Fetches profiles and tells of them.
pub(crate) struct Worker {
    pub(crate) line: Arc<LineClient>,
    pub(crate) profiles: Profiles,
    pub(crate) inbound: Inbound,
    pub(crate) directory: Arc<Directory>,
    pub(crate) now: Arc<dyn Fn() -> At + Send + Sync>,
    pub(crate) metrics: Metrics,
    pub(crate) wanted: Wanted,
}

/// Why a profile is not told.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Line(#[from] CallError),
    #[error(transparent)]
    Broker(#[from] mainstem_bus::nats::PublishError),
}

impl Worker {
    /// Works until `stop`.
    pub(crate) async fn run(
        self,
        mut waiting: mpsc::Receiver<ProfileOf>,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let worker = Arc::new(self);
        let mut paces: HashMap<ChannelId, Pace> = HashMap::new();
        let waiting = futures::stream::poll_fn(move |context| waiting.poll_recv(context));
        let work = waiting.for_each_concurrent(AT_ONCE, |of| {
            let pace = paces.entry(of.channel.clone()).or_insert_with(pace).clone();
            let worker = worker.clone();
            async move { worker.handle(of, &pace).await }
        });
        stop.run_until_cancelled(work).await;
        Ok(())
    }

    async fn handle(&self, of: ProfileOf, pace: &Pace) {
        let outcome = match self.fetch(&of, pace).await {
            Ok(outcome) => outcome,
            Err(error) => {
                tracing::debug!(channel = %of.channel, %error, "a profile is not fetched");
                self.wanted.forget(&of.handle);
                "failed"
            }
        };
        self.metrics.profile(of.channel.as_str(), outcome);
    }

    async fn fetch(&self, of: &ProfileOf, pace: &Pace) -> Result<&'static str, Failed> {
        match self.profiles.known(&of.handle).await? {
            Some(Known::Found) => return Ok("known"),
            Some(Known::NotFound) if !of.followed => return Ok("known"),
            Some(Known::NotFound) | None => {}
        }
        let Some(account) = self.line.account(&of.channel) else { return Ok("no_account") };
        pace.lock().await.tick().await;
        let Fetched::Here(profile) = account.profile(&of.user).await? else {
            // A hint that the person blocked the account, and no proof: nothing follows from it.
            self.profiles.note(&of.handle, Known::NotFound).await?;
            return Ok("not_found");
        };
        let Some(message) = self.told(of, &profile) else {
            self.wanted.forget(&of.handle);
            return Ok("no_channel");
        };
        self.inbound.publish(message).await?;
        self.profiles.note(&of.handle, Known::Found).await?;
        Ok("found")
    }

    /// The event that tells it; none while the directory does not hold the channel.
    fn told(&self, of: &ProfileOf, profile: &Profile) -> Option<InboundMessage> {
        let applied = self.directory.current()?;
        let place = Place::of(&of.channel, &applied.configuration)?;
        message(of, profile, &place, (self.now)())
    }
}

/// When an account may ask again; its calls wait for it in turn.
type Pace = Arc<tokio::sync::Mutex<Interval>>;

fn pace() -> Pace {
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    Arc::new(tokio::sync::Mutex::new(pace))
}

/// A member became known better: no deed of the person's.
///
/// Its id follows from the person and the day, so two processes tell it once.
fn message(
    of: &ProfileOf,
    profile: &Profile,
    place: &Place<'_>,
    now: At,
) -> Option<InboundMessage> {
    let ProfileOf { channel, provider, user, handle, .. } = of;
    let attribute = |name: &str, value: &str| {
        let value: String =
            value.chars().filter(|letter| !letter.is_control()).take(ATTRIBUTE_AT_MOST).collect();
        let value = value.trim().to_owned();
        let named = wire::Attribute { name: name.to_owned(), value, verified: true };
        (!named.value.is_empty()).then_some(named)
    };
    let language = profile.language.as_deref().and_then(|value| attribute("language", value));
    let attributes = attribute("display-name", &profile.display_name).into_iter().chain(language);
    let day = now.to_string().chars().take("2026-11-21".len()).collect::<String>();
    let digest = sha256_hex(format!("profile {channel} {handle} {day}").as_bytes());
    let id = format!("profile-{digest}");
    let text = |of: Option<String>| of.unwrap_or_default();
    let event = wire::ChannelEvent {
        id: id.clone(),
        channel: channel.to_string(),
        store: text(place.channel.store.as_ref().map(ToString::to_string)),
        brand: text(place.channel.brand.as_ref().map(ToString::to_string)),
        act: Some(wire::channel_event::Act::Business(business_to(Business::MemberUpdated).into())),
        identifiers: vec![wire::Sighting {
            identifier: format!("line:{provider}:{user}"),
            verified: true,
            extension: String::new(),
        }],
        occur_time: Some(timestamp(now)),
        receive_time: Some(timestamp(now)),
        mode: mode_to(place.channel.mode).into(),
        attributes: attributes.collect(),
        ..wire::ChannelEvent::default()
    };
    Some(InboundMessage {
        kind: topology::inbound_kind(ChannelKind::Line, Business::MemberUpdated.name()),
        id: id.parse().ok()?,
        channel: channel.clone(),
        handle: handle.clone(),
        store: place.channel.store.clone(),
        brand: place.channel.brand.clone(),
        occurred_at: now,
        media: None,
        trace: TraceContext::root(&id),
        body: Bytes::from(serde_json::to_vec(&event).ok()?),
    })
}

#[cfg(test)]
mod tests {
    use mainstem_domain::configuration::Configuration;
    use serde_json::json;

    use super::*;

    fn of(handle: &str, followed: bool) -> ProfileOf {
        ProfileOf {
            channel: "line-1".parse().unwrap(),
            provider: "p1".to_owned(),
            user: "U1".to_owned(),
            handle: handle.to_owned(),
            followed,
        }
    }

    #[test]
    fn each_person_is_asked_for_once_in_30_days_and_when_they_become_a_friend() {
        let (wanted, mut waiting) = Wanted::new();
        let mut asks = |handle: &str, followed, days: u64| {
            let day = At::from_millis(0).after(Duration::from_hours(24 * days));
            wanted.want(of(handle, followed), day);
            waiting.try_recv().is_ok()
        };
        assert!(asks("a", false, 0));
        assert!(!asks("a", false, 29));
        assert!(asks("b", false, 29));
        assert!(asks("a", true, 29));
        assert!(!asks("a", false, 58));
        assert!(asks("a", false, 59));
        wanted.forget("a");
        assert!(asks("a", false, 59));
    }

    #[test]
    fn a_profile_becomes_an_event_that_reads_back_as_no_deed() {
        let configuration: Configuration = serde_json::from_value(json!({
            "brands": {"aurora": {"name": "Aurora"}}, "channels": {"line-1": {"brand": "aurora"}},
        }))
        .unwrap();
        let channel = "line-1".parse().unwrap();
        let place = Place::of(&channel, &configuration).unwrap();
        let now = At::parse("2026-11-21T09:00:00Z").unwrap();
        let name = format!(" 小明\u{7}{}", "長".repeat(300));
        let profile = Profile { display_name: name, language: Some("zh-TW".to_owned()) };
        let told = message(&of("h1", false), &profile, &place, now).unwrap();
        assert_eq!(told.kind, "mainstem.channel.line.member-updated.v1");
        let read = mainstem_proto::channel::decode(serde_json::from_slice(&told.body).unwrap());
        let event = read.unwrap().event;
        assert_eq!(event.act, mainstem_domain::person::Act::Business(Business::MemberUpdated));
        assert_eq!(event.sightings[0].identifier.to_string(), "line:p1:U1");
        let attributes = event.attributes.iter();
        let attributes: Vec<_> =
            attributes.map(|one| (one.name.as_str(), one.value.chars().count())).collect();
        assert_eq!(attributes, [("display-name", 255), ("language", 5)]);
        let later = now.after(Duration::from_hours(1));
        let again = message(&of("h1", true), &profile, &place, later).unwrap();
        assert_eq!(again.id, told.id);
        let nothing = Profile { display_name: "\u{7}".to_owned(), language: None };
        let told = message(&of("h1", false), &nothing, &place, now).unwrap();
        let read = mainstem_proto::channel::decode(serde_json::from_slice(&told.body).unwrap());
        assert!(read.unwrap().event.attributes.is_empty());
    }
}
