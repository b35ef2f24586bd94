use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures::StreamExt as _;
use futures::stream;
use mainstem_domain::{At, ChannelId};
use mainstem_line::signature;
use mainstem_runtime::clock::Clock;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{Plan, Post, Shape, Told};

/// How often a request is tried before it is given up.
const ATTEMPTS: u32 = 8;
/// Waited after a first failure, and doubled after each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// How many requests are on their way at once.
const AT_ONCE: usize = 16;

/// Tells a plan to ingress, and remembers what was answered 200.
pub(in crate::demo) struct Teller {
    http: reqwest::Client,
    base: String,
    clock: Clock,
    keys: BTreeMap<ChannelId, String>,
    told: AtomicU64,
    taken: Mutex<BTreeMap<(ChannelId, String), u64>>,
}

impl Teller {
    /// `keys` sign for the channels; `base` is where ingress is.
    pub(in crate::demo) fn new(
        base: String,
        clock: Clock,
        keys: BTreeMap<ChannelId, String>,
    ) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(5))
            .no_proxy()
            .build()
            .context("cannot build the client of the web shop")?;
        let (told, taken) = (AtomicU64::new(0), Mutex::default());
        Ok(Self { http, base, clock, keys, told, taken })
    }

    /// How many events were taken until now, without second ones.
    pub(in crate::demo) fn told(&self) -> u64 {
        self.told.load(Ordering::Relaxed)
    }

    /// Each event that was answered 200, by its channel and its source's id, and how often.
    pub(in crate::demo) fn taken(&self) -> BTreeMap<(ChannelId, String), u64> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells all of it: each channel one request after the other, all channels at once.
    ///
    /// # Errors
    /// A request that ingress does not take in the end, with its answer.
    pub(in crate::demo) async fn tell(&self, plan: &Plan) -> anyhow::Result<()> {
        let (start, gate) = (self.clock.now(), &Semaphore::new(AT_ONCE));
        let lanes = plan.lanes.iter().map(|(channel, posts)| async move {
            for post in posts {
                self.clock.sleep_until(start.after(post.due)).await;
                let _turn = gate.acquire().await?;
                self.post(channel, post).await?;
            }
            anyhow::Ok(())
        });
        let mut lanes = stream::iter(lanes).buffer_unordered(plan.lanes.len().max(1)).boxed_local();
        while let Some(lane) = lanes.next().await {
            lane?;
        }
        Ok(())
    }

    async fn post(&self, channel: &ChannelId, post: &Post) -> anyhow::Result<()> {
        let mut pause = FIRST_PAUSE;
        for attempt in 1..=ATTEMPTS {
            match self.once(channel, post, "first").await {
                Ok(()) => break,
                Err(error) if attempt == ATTEMPTS => {
                    bail!("ingress does not take the events of {channel}: {error}")
                }
                Err(_) => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
            }
        }
        self.told.fetch_add(u64::try_from(post.told.len())?, Ordering::Relaxed);
        if post.again {
            // Whether it is taken or not: it must leave no second trace.
            let _ = self.once(channel, post, "again").await;
        }
        Ok(())
    }

    /// One request; the error is the answer as a person reads it.
    async fn once(&self, channel: &ChannelId, post: &Post, delivery: &str) -> Result<(), String> {
        let now = self.clock.now();
        let (headers, body) = request(channel, post, now);
        let first = post.told.first().map_or("", |told| told.id.as_str());
        let id = format!("msg-{first}-{delivery}");
        let key = self.keys.get(channel).map_or("", String::as_str);
        let mut request = self.http.post(format!("{}/events/{channel}", self.base));
        for (name, value) in headers.into_iter().chain(signed(key, &id, now, &body)) {
            request = request.header(name, value);
        }
        let answer = request.body(body).send().await.map_err(|error| error.to_string())?;
        let status = answer.status();
        if !status.is_success() {
            return Err(format!("{status} {}", answer.text().await.unwrap_or_default()));
        }
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        for told in &post.told {
            *taken.entry((channel.clone(), told.id.clone())).or_default() += 1;
        }
        Ok(())
    }
}

/// The headers of the Standard Webhooks scheme: HMAC-SHA256 over id, moment and body. The secret
/// that the channels file holds is `whsec_` and the base64 of `key`.
fn signed(key: &str, id: &str, now: At, body: &str) -> [(String, String); 3] {
    let seconds = now.as_millis().div_euclid(1_000);
    let signature = signature::sign(key, format!("{id}.{seconds}.{body}").as_bytes());
    [
        ("webhook-id".to_owned(), id.to_owned()),
        ("webhook-timestamp".to_owned(), seconds.to_string()),
        ("webhook-signature".to_owned(), format!("v1,{signature}")),
    ]
}

/// CloudEvents 1.0 over HTTP.
fn request(channel: &ChannelId, post: &Post, now: At) -> (Vec<(String, String)>, String) {
    let whole = |told: &Told| {
        let mut event = attributes(channel, told, now);
        event["datacontenttype"] = "application/json".into();
        event["data"] = told.data.clone();
        event
    };
    let content = |kind: &str| ("content-type".to_owned(), kind.to_owned());
    match (post.shape, &post.told[..]) {
        (Shape::Binary, [told]) => {
            let mut headers = vec![content("application/json")];
            if let Value::Object(attributes) = attributes(channel, told, now) {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let header = |(name, value)| (format!("ce-{name}"), text(&value));
                headers.extend(attributes.into_iter().map(header));
            }
            (headers, told.data.to_string())
        }
        (Shape::Structured, [told]) => {
            (vec![content("application/cloudevents+json")], whole(told).to_string())
        }
        (Shape::Binary | Shape::Structured | Shape::Batch, told) => {
            let events = told.iter().map(whole).collect();
            (vec![content("application/cloudevents-batch+json")], Value::Array(events).to_string())
        }
    }
}

fn attributes(channel: &ChannelId, told: &Told, now: At) -> Value {
    json!({
        "specversion": "1.0",
        "id": told.id,
        "source": format!("/demo/{channel}"),
        "type": told.kind.name(),
        "time": told.time.clone().unwrap_or_else(|| now.to_string()),
    })
}

#[cfg(test)]
mod tests;
