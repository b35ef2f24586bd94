//! The floor under the whole path: stream → relay → stream → relay → stream, and nothing decided.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use async_nats::jetstream::consumer::pull::{Ordered, OrderedConfig};
use async_nats::{Client, Subscriber, jetstream};
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use tokio::task::JoinSet;

use crate::{Latencies, rate, start};

/// As many appends are under way as in a ledger.
const WINDOW: usize = 64;
const BYTES: usize = 512;
const STREAMS: [&str; 3] = ["CHAIN_A", "CHAIN_B", "CHAIN_C"];

/// What the broker carries without us.
pub(crate) struct Floor {
    pub(crate) events_per_s: f64,
    pub(crate) latencies: Latencies,
}

/// Sends so many messages through, as fast as they go, and then for so long a fixed number in each
/// second.
pub(crate) async fn measure(
    url: &str,
    events: usize,
    per_second: usize,
    seconds: usize,
) -> anyhow::Result<Floor> {
    let client = async_nats::connect(url).await?;
    let jetstream = jetstream::new(client);
    for name in STREAMS {
        let config = jetstream::stream::Config {
            name: name.to_owned(),
            subjects: vec![format!("{name}.>")],
            ..Default::default()
        };
        jetstream.create_stream(config).await?;
    }
    let mut relays = JoinSet::new();
    for [from, to] in STREAMS.array_windows() {
        let (from, to) = (read(url, from).await?, Publisher::new(url, to).await?);
        relays.spawn(relay(from, to));
    }
    let (mut first, mut last) =
        (Publisher::new(url, STREAMS[0]).await?, read(url, STREAMS[2]).await?);
    let measured = async {
        let started = start();
        let publish = async {
            for number in 0..events {
                first.publish(message(number)).await?;
            }
            first.settle().await
        };
        let arrive = async {
            for _ in 0..events {
                last.next().await.context("the chain ended")??;
            }
            anyhow::Ok(())
        };
        tokio::try_join!(publish, arrive)?;
        let events_per_s = rate(events, started);

        let events = per_second * seconds;
        let (mut sent, mut arrived) = (Vec::with_capacity(events), Vec::with_capacity(events));
        let publish = async {
            let mut pace = pace(per_second);
            for number in 0..events {
                sent.push(pace.tick().await.into_std());
                first.publish(message(number)).await?;
            }
            first.settle().await
        };
        let arrive = async {
            for _ in 0..events {
                last.next().await.context("the chain ended")??;
                arrived.push(start());
            }
            anyhow::Ok(())
        };
        tokio::try_join!(publish, arrive)?;
        let took = sent.into_iter().zip(arrived);
        let latencies =
            Latencies::of(took.map(|(sent, arrived): (Instant, Instant)| arrived - sent));
        anyhow::Ok(Floor { events_per_s, latencies })
    };
    let floor = tokio::select! {
        floor = measured => floor?,
        Some(ended) = relays.join_next() => {
            ended??;
            anyhow::bail!("a relay ended")
        }
    };
    relays.shutdown().await;
    for name in STREAMS {
        jetstream.delete_stream(name).await?;
    }
    Ok(floor)
}

/// Ticks so often in a second; late ticks are caught up, so that no slow moment is left out.
pub(crate) fn pace(per_second: usize) -> tokio::time::Interval {
    let nanos = 1_000_000_000 / u64::try_from(per_second).unwrap_or(u64::MAX).max(1);
    tokio::time::interval(Duration::from_nanos(nanos))
}

fn message(number: usize) -> Bytes {
    format!("{number:0>BYTES$}").into()
}

async fn read(url: &str, stream: &str) -> anyhow::Result<Ordered> {
    let jetstream = jetstream::new(async_nats::connect(url).await?);
    let stream = jetstream.get_stream(stream).await?;
    let consumer = stream.create_consumer(OrderedConfig::default()).await?;
    Ok(consumer.messages().await?)
}

async fn relay(mut from: Ordered, mut to: Publisher) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            message = from.next() => {
                let message = message.context("nothing to relay")??;
                to.publish(message.payload.clone()).await?;
            }
            settled = to.acknowledge(), if to.under_way > 0 => settled?,
        }
    }
}

/// Publishes in one window, acknowledged on an own inbox.
struct Publisher {
    client: Client,
    stream: &'static str,
    inbox: String,
    acks: Subscriber,
    sent: usize,
    under_way: usize,
}

impl Publisher {
    async fn new(url: &str, stream: &'static str) -> anyhow::Result<Self> {
        let client = async_nats::connect(url).await?;
        let inbox = client.new_inbox();
        let acks = client.subscribe(inbox.clone()).await?;
        Ok(Self { client, stream, inbox, acks, sent: 0, under_way: 0 })
    }

    async fn publish(&mut self, message: Bytes) -> anyhow::Result<()> {
        if self.under_way == WINDOW {
            self.acknowledge().await?;
        }
        let subject = format!("{}.{}", self.stream, self.sent % 1_000);
        self.client.publish_with_reply(subject, self.inbox.clone(), message).await?;
        self.sent += 1;
        self.under_way += 1;
        Ok(())
    }

    /// Takes the next acknowledgement, and what came with it.
    async fn acknowledge(&mut self) -> anyhow::Result<()> {
        let mut ack = self.acks.next().await;
        while let Some(message) = ack {
            anyhow::ensure!(!message.payload.starts_with(b"{\"error"), "a message was refused");
            self.under_way -= 1;
            match self.acks.next().now_or_never() {
                Some(more) if self.under_way > 0 => ack = more,
                _ => return Ok(()),
            }
        }
        anyhow::bail!("the connection is closed")
    }

    async fn settle(&mut self) -> anyhow::Result<()> {
        while self.under_way > 0 {
            self.acknowledge().await?;
        }
        Ok(())
    }
}
