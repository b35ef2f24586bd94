use std::sync::Arc;

use anyhow::Context as _;
use mainstem_bus::nats::{Outbox, ServiceClient};
use mainstem_line::Channels;
use mainstem_runtime::Process;
use tokio::net::TcpListener;

use crate::run::{open, run};
use crate::{Limits, Sender, health};

/// Starts a sender in a process, and its health face if one is configured.
pub async fn start(process: &Process) -> anyhow::Result<()> {
    let config = &process.config.sender;
    let token = config.token.required("sender.token")?;
    let channels =
        Channels::parse(&Process::read("sender.channels_file", config.channels_file.as_deref())?)?;
    let bus = process.connect("sender", &config.nats_user, &config.nats_password).await?;
    let clock = process.clock.clone();
    let now = Arc::new(move || clock.now());
    let notification = ServiceClient::new(bus.clone(), token);
    let limits = Limits { in_work_by_channel: config.concurrency, ..Limits::default() };
    let sender = Sender::new(
        process.instance.clone(),
        channels,
        notification,
        &config.line_api_url,
        now,
        limits,
    )?;
    let outbox = Outbox::new(&bus);
    let lanes = open(&sender, &outbox).await?;
    if let Some(address) = config.health_listen {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address} for the sender's health"))?;
        let health = health::router(move || bus.connected());
        let stopping = process.lifecycle.stopping();
        process.lifecycle.spawn("the sender's health", health::serve(listener, health, stopping));
    }
    process.lifecycle.spawn("sender", run(sender, outbox, lanes, process.lifecycle.stopping()));
    tracing::info!(line = config.line_api_url, "sender sends");
    Ok(())
}
