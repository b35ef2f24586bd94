//! How long the deciders of a large deployment take until all of them write again after `kill -9`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _};
use mainstem_bus::nats::{Inbound, InboundMessage, Log};
use mainstem_bus::{Position, TraceContext};
use mainstem_domain::At;
use mainstem_tests::deployment::{Deployment, Service, eventually};
use mainstem_tests::users;
use serde::Serialize;
use serde_json::{Value, json};

use crate::path::rss_mib;
use crate::{Sync, start, traffic};

#[derive(Serialize)]
pub(crate) struct Figures {
    pub(crate) restart_s_1m_customers: f64,
    pub(crate) rss_mib_1m_customers: BTreeMap<&'static str, f64>,
    pub(crate) customers: usize,
}

const DECIDERS: [&str; 3] = ["identity-merge", "routing", "notification"];
/// Who reads what, in this order: a stream ends when all who write it have read theirs.
const LAST_READERS: [(&str, &str); 3] =
    [("identity-merge", "INBOUND"), ("routing", "CUSTOMER"), ("notification", "CUSTOMER")];
const UNDER_WAY: usize = 256;

/// Makes so many customers once, and starts everything again under each `sync_interval`.
pub(crate) async fn measure(
    service: &Path,
    syncs: &[Sync],
    customers: usize,
) -> anyhow::Result<Vec<Figures>> {
    let service = service.to_str().context("a path of UTF-8")?;
    // How they came to be does not matter for the restart, so they come the fast way.
    let mut deployment = Deployment::start_on(service, false, Sync::Default.config())
        .await
        .context("no nats-server to measure on")?;
    let mut running = start_all(&deployment);
    deployment.apply(&traffic::configuration()?, &DECIDERS).await;
    create(&deployment, customers).await?;

    let mut all = Vec::new();
    for sync in syncs {
        eprintln!("restart with sync_interval {}", sync.name());
        for (_, decider) in &mut running {
            decider.kill();
        }
        deployment.server.stop();
        users::write(&deployment.folder().join("nats.conf"), false, sync.config())?;
        deployment.server.start_again();
        deployment.reconnect().await;
        let started = start();
        running = start_all(&deployment);
        for name in DECIDERS {
            eventually(&format!("{name} writes"), async || {
                let status = deployment.call("operator", name, "get-status", json!({})).await;
                (status.ok()?["writer"] == true).then_some(())
            })
            .await;
        }
        let restart_s_1m_customers = started.elapsed().as_secs_f64();
        let processes = running.iter().map(|(name, decider)| (*name, decider.id()));
        let server = deployment.server.id().map(|id| ("nats-server", id));
        let rss_mib_1m_customers = rss_mib(processes.chain(server));
        all.push(Figures { restart_s_1m_customers, rss_mib_1m_customers, customers });
    }
    Ok(all)
}

fn start_all(deployment: &Deployment) -> Vec<(&'static str, Service)> {
    DECIDERS.into_iter().map(|name| (name, deployment.service(name))).collect()
}

/// Lets so many people come for the first time, and waits until every decider knows them.
async fn create(deployment: &Deployment, customers: usize) -> anyhow::Result<()> {
    let inbound = Inbound::new(deployment.bus.clone());
    let step = (customers / 10).max(1);
    let publish = futures::stream::iter(0..customers).map(|number| {
        let inbound = &inbound;
        async move {
            if number.is_multiple_of(step) {
                eprintln!("{number} of {customers} customers");
            }
            inbound.publish(first_message(number)?).await?;
            anyhow::Ok(())
        }
    });
    publish.buffered(UNDER_WAY).try_collect::<()>().await?;
    let mut look = tokio::time::interval(Duration::from_secs(5));
    for (service, stream) in LAST_READERS {
        loop {
            look.tick().await;
            let (last, _) =
                Log::open(&deployment.bus, stream, Position::default()).await?.end().await?;
            let answer = deployment.call("operator", service, "get-status", json!({})).await;
            let status = answer.map_err(|refusal| anyhow::anyhow!("{service}: {refusal}"))?;
            if read(&status, stream) >= last {
                break;
            }
            eprintln!("{service} has read {} of {last} from {stream}", read(&status, stream));
        }
    }
    Ok(())
}

fn read(status: &Value, stream: &str) -> u64 {
    let positions = status["positions"].as_array().into_iter().flatten();
    let sequence = positions
        .filter(|position| position["stream"] == stream)
        .find_map(|position| position["sequence"].as_str()?.parse().ok());
    sequence.unwrap_or_default()
}

fn first_message(number: usize) -> anyhow::Result<InboundMessage> {
    let (id, now) = (format!("01CUSTOMER{number:016}"), "2026-11-21T09:00:00.000Z");
    let user = format!("U{number:032x}");
    let body = json!({
        "id": id,
        "channel": "line-1",
        "store": "taipei-1",
        "brand": "aurora",
        "text": "你好",
        "identifiers": [{"identifier": format!("line:p1:{user}"), "verified": true}],
        "occurTime": now,
        "receiveTime": now,
        "raw": {"type": "message", "message": {"type": "text", "id": "468789577898262530"}},
    });
    Ok(InboundMessage {
        kind: "mainstem.channel.line.message.v1".to_owned(),
        id: id.parse()?,
        channel: "line-1".parse()?,
        handle: format!("h{number}"),
        store: "taipei-1".parse().ok(),
        brand: "aurora".parse().ok(),
        occurred_at: At::parse(now).context("a time")?,
        media: None,
        trace: TraceContext::root(&id),
        body: body.to_string().into(),
    })
}
