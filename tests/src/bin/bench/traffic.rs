//! Taps of people on menus as LINE's webhooks tell them, and a LINE that takes the answers, at once or
//! slowly, and knows when each arrived.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::{Json, Router};
use bytes::Bytes;
use mainstem_domain::configuration::Configuration;
use mainstem_line::signature;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::start;

/// Accounts: one for each counter of the retailer.
pub(crate) const CHANNELS: usize = 76;
/// People who tap.
const PEOPLE: usize = 5_000;
/// Each so many-th tap opens a repair case; the others are only answered.
const REPAIR_EVERY: usize = 10;

fn channel(number: usize) -> String {
    format!("line-{}", number % CHANNELS)
}

fn destination(channel: &str) -> String {
    format!("U{}", &mainstem_bus::sha256_hex(channel.as_bytes())[..32])
}

/// One brand with all accounts, a queue, and an answer for each tap.
pub(crate) fn configuration() -> anyhow::Result<Configuration> {
    let place = json!({"brand": "aurora", "store": "taipei-1"});
    let channels: serde_json::Map<_, _> =
        (0..CHANNELS).map(|number| (channel(number), place.clone())).collect();
    Ok(serde_json::from_value(json!({
        "brands": {"aurora": {"name": "Aurora"}},
        "stores": {"taipei-1": {"name": "Taipei 1"}},
        "channels": channels,
        "queues": {"repair": {"name": "Repair"}},
        "rules": [
            {"name": "menu-repair", "when": "event.menu == 'repair'", "open": {"queue": "repair"}, "reply": "opened"},
            {"name": "menu-hours", "when": "event.menu == 'hours'", "reply": "hours"},
        ],
        "templates": {
            "opened": {"house": "Case {case} is open."},
            "case-resolved": {"house": "Case {case} is done."},
            "hours": {"house": "We are open from 11:00 to 21:30 on every day of the week."},
        }
    }))?)
}

/// The credentials of all accounts, as ingress and sender read them.
pub(crate) fn channels_file() -> String {
    (0..CHANNELS).map(channel).fold(String::new(), |mut text, channel| {
        let _ = writeln!(
            text,
            "[channels.{channel}]\nprovider = \"p1\"\ndestination = \"{}\"\n\
             secret = \"secret-of-{channel}\"\naccess_token = \"access-to-{channel}\"\n",
            destination(&channel)
        );
        text
    })
}

/// A signed webhook.
pub(crate) struct Webhook {
    path: String,
    signature: String,
    body: Bytes,
}

impl Webhook {
    /// These taps in one webhook. Each number is another event with another reply token.
    pub(crate) fn of(taps: Range<usize>, per_webhook: usize) -> Self {
        let channel = channel(taps.start / per_webhook);
        let events: Vec<_> = taps.map(tap).collect();
        let body = json!({"destination": destination(&channel), "events": events}).to_string();
        Self {
            signature: signature::sign(&format!("secret-of-{channel}"), body.as_bytes()),
            path: format!("/webhooks/line/{channel}"),
            body: body.into(),
        }
    }

    /// All these taps in webhooks of so many.
    pub(crate) fn all(taps: Range<usize>, per_webhook: usize) -> Vec<Self> {
        let starts = taps.clone().step_by(per_webhook);
        starts
            .map(|first| Self::of(first..taps.end.min(first + per_webhook), per_webhook))
            .collect()
    }
}

fn tap(number: usize) -> Value {
    let data = if number.is_multiple_of(REPAIR_EVERY) { "menu=repair" } else { "menu=hours" };
    json!({
        "type": "postback",
        "postback": {"data": data},
        "mode": "active",
        "timestamp": 1_795_000_000_000_u64 + number as u64,
        "source": {"type": "user", "userId": format!("U{:032x}", number % PEOPLE)},
        "webhookEventId": format!("01BENCH{number:019}"),
        "deliveryContext": {"isRedelivery": false},
        "replyToken": format!("{number:032x}"),
    })
}

/// Posts webhooks to ingress.
#[derive(Clone)]
pub(crate) struct Poster {
    http: reqwest::Client,
    base: String,
}

impl Poster {
    pub(crate) fn new(address: &str) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        Ok(Self { http, base: format!("http://{address}") })
    }

    /// Posts it, and waits for the 200 which says that every event is stored.
    pub(crate) async fn post(&self, webhook: &Webhook) -> anyhow::Result<()> {
        let request = self
            .http
            .post(format!("{}{}", self.base, webhook.path))
            .header(signature::HEADER, &webhook.signature)
            .body(webhook.body.clone());
        request.send().await?.error_for_status()?;
        Ok(())
    }

    /// Waits until ingress works by this configuration: it looks once a second.
    pub(crate) async fn follows(&self, digest: &str) -> anyhow::Result<()> {
        let url = format!("{}/healthz", self.base);
        let mut look = tokio::time::interval(std::time::Duration::from_millis(50));
        loop {
            look.tick().await;
            let health: Value = self.http.get(&url).send().await?.json().await?;
            if health["configuration"] == digest {
                return Ok(());
            }
        }
    }
}

/// LINE, as far as a sender calls it. Every answer is accepted, at once where the account is not slow.
pub(crate) struct Line {
    pub(crate) url: String,
    arrived: Arc<Arrived>,
    /// Ends when this is dropped.
    _server: JoinSet<()>,
}

struct Arrived {
    answers: Mutex<HashMap<usize, Instant>>,
    /// Those of accounts that were not slow.
    count: watch::Sender<usize>,
    slow: Mutex<Option<Slow>>,
}

/// An account that answers late.
#[derive(Clone)]
struct Slow {
    authorization: String,
    takes: Duration,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    reply_token: Option<String>,
}

impl Line {
    pub(crate) async fn listen() -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let arrived = Arc::new(Arrived {
            answers: Mutex::default(),
            count: watch::Sender::new(0),
            slow: Mutex::default(),
        });
        let router = Router::new().fallback(take).with_state(Arc::clone(&arrived));
        let mut server = JoinSet::new();
        server.spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                eprintln!("the stand-in of LINE ended: {error}");
            }
        });
        Ok(Self { url, arrived, _server: server })
    }

    /// From now on the first account answers after this time.
    pub(crate) fn slow_down(&self, takes: Duration) {
        let authorization = format!("Bearer access-to-{}", channel(0));
        *self.arrived.slow() = Some(Slow { authorization, takes });
    }

    /// Waits until so many taps were answered since the beginning, but for those on a slow account.
    pub(crate) async fn answered(&self, taps: usize) -> anyhow::Result<()> {
        let mut count = self.arrived.count.subscribe();
        count.wait_for(|count| *count >= taps).await.context("nobody counts")?;
        Ok(())
    }

    /// When the tap's answer came.
    pub(crate) fn answer(&self, tap: usize) -> Option<Instant> {
        self.arrived.answers.lock().unwrap_or_else(PoisonError::into_inner).get(&tap).copied()
    }
}

impl Arrived {
    fn slow(&self) -> MutexGuard<'_, Option<Slow>> {
        self.slow.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn take(
    State(arrived): State<Arc<Arrived>>,
    headers: HeaderMap,
    Json(answer): Json<Answer>,
) -> Json<Value> {
    let now = start();
    let authorization = headers.get(header::AUTHORIZATION).and_then(|it| it.to_str().ok());
    let slow = arrived.slow().clone().filter(|slow| Some(&*slow.authorization) == authorization);
    if let Some(slow) = slow {
        tokio::time::sleep(slow.takes).await;
    } else if let Some(token) = answer.reply_token
        && let Ok(tap) = usize::from_str_radix(&token, 16)
    {
        let mut answers = arrived.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.entry(tap).or_insert(now);
        let count = answers.len();
        drop(answers);
        arrived.count.send_replace(count);
    }
    Json(json!({"sentMessages": [{"id": "1"}]}))
}
