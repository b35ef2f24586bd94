use std::time::Duration;

use anyhow::{Context as _, anyhow};
use futures::StreamExt as _;
use futures::stream::{self, FuturesUnordered};
use mainstem_bus::TraceContext;
use mainstem_bus::nats::{Bus, CaseQueue, QueuedCase, ServiceClient};
use mainstem_domain::{QueueId, RefusalCode};
use mainstem_proto::wire::routing::{AcceptCaseRequest, ResolveCaseRequest, ResolveCaseResponse};

use super::stage::Stage;
use crate::operator::{call, connect};

/// How many cases one unit has in work.
const WORKERS: usize = 64;
/// A case takes from so long to four times as long, by the clock of the day.
const LEAST_WORK: Duration = Duration::from_secs(20);

/// Every unit takes its cases and resolves them, until something goes wrong.
pub(super) async fn work(stage: &Stage) -> anyhow::Error {
    let config = &stage.process.config;
    let bus = match connect(config, Some("backoffice"), &stage.secret.of("backoffice")).await {
        Ok(bus) => bus,
        Err(error) => return error.context("the back office connects"),
    };
    let mut units: FuturesUnordered<_> =
        stage.example.queues.keys().map(|queue| unit(stage, &bus, queue)).collect();
    match units.next().await {
        Some(Err(error)) => error.context("the back office works"),
        Some(Ok(())) | None => anyhow!("the back office has no queue any more"),
    }
}

async fn unit(stage: &Stage, bus: &Bus, queue: &QueueId) -> anyhow::Result<()> {
    let routing = ServiceClient::new(bus.clone(), &stage.secret.of(&format!("unit/{queue}")));
    let cases = CaseQueue::open(bus, queue).await.with_context(|| format!("queue {queue}"))?;
    let cases = stream::unfold(cases, async |mut cases| Some((cases.next().await, cases)));
    let mut worked = cases.map(|case| one(stage, &routing, case)).buffer_unordered(WORKERS).boxed();
    while let Some(worked) = worked.next().await {
        worked.with_context(|| format!("queue {queue}"))?;
    }
    Ok(())
}

async fn one(stage: &Stage, routing: &ServiceClient, queued: QueuedCase) -> anyhow::Result<()> {
    let case = queued.case.to_string();
    let accept = AcceptCaseRequest { request_id: format!("accept-{case}"), case: case.clone() };
    let body = serde_json::to_vec(&accept)?;
    let trace = TraceContext::root(&accept.request_id);
    let accepted = routing.call("routing", "accept-case", body.into(), &trace).await;
    // An item can come after its case was taken: then it is only taken off.
    let taken = match accepted {
        Ok(_) => false,
        Err(refusal) if refusal.code == RefusalCode::FailedPrecondition => true,
        Err(refusal) => return Err(refusal.into()),
    };
    queued.done().await?;
    if taken {
        return Ok(());
    }
    let share = case.bytes().last().map_or(0, |byte| u32::from(byte % 4)) + 1;
    let clock = &stage.process.clock;
    clock.sleep_until(clock.now().after(LEAST_WORK * share)).await;
    let resolve = ResolveCaseRequest { request_id: format!("resolve-{case}"), case };
    let _: ResolveCaseResponse = call(routing, "routing", "resolve-case", &resolve).await?;
    Ok(())
}
