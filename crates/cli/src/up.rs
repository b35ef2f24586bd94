use std::net::SocketAddr;

use futures::stream;
use mainstem_runtime::service::Started;
use mainstem_runtime::{Config, Lifecycle, Process};

/// Where everything listens.
pub(crate) struct Running {
    pub(crate) identity_merge: Started,
    pub(crate) routing: Started,
    pub(crate) notification: Started,
    pub(crate) webhooks: SocketAddr,
}

pub(crate) fn run(config: Config) -> anyhow::Result<()> {
    mainstem_runtime::run("mainstem", config, async |process| {
        Box::pin(start(process)).await?;
        Ok(())
    })
}

/// Starts every service in this process.
///
/// They end in two steps: first those that talk to the outside, then the deciders, because a
/// sender lets an item go only when notification has taken note of it.
pub(crate) async fn start(process: &Process) -> anyhow::Result<Running> {
    let config = &process.config;
    let part = || Process { lifecycle: Lifecycle::new(config.engine.drain / 2), ..process.clone() };
    let (outside, deciders) = (part(), part());
    let running = Running {
        notification: Box::pin(mainstem_notification::start(&deciders)).await?,
        routing: Box::pin(mainstem_routing::start(&deciders)).await?,
        identity_merge: Box::pin(mainstem_identity_merge::start(&deciders)).await?,
        webhooks: mainstem_ingress::start(&outside).await?.http,
    };
    mainstem_sender::start(&outside).await?;
    process.lifecycle.spawn(
        "all services",
        in_two_steps(process.lifecycle.clone(), outside.lifecycle, deciders.lifecycle),
    );
    Ok(running)
}

/// Runs both parts. When one ends, so does the other.
async fn in_two_steps(
    all: Lifecycle,
    outside: Lifecycle,
    deciders: Lifecycle,
) -> anyhow::Result<()> {
    let stop = stream::once(all.stopping().cancelled_owned());
    let outside_ends = async {
        let ended = outside.clone().run_until(stop).await;
        deciders.stop();
        ended
    };
    let deciders_end = async {
        let ended = deciders.clone().run_until(stream::pending()).await;
        outside.stop();
        ended
    };
    let (outside_ended, deciders_ended) = tokio::join!(outside_ends, deciders_end);
    deciders_ended.and(outside_ended)
}
