use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use mainstem_bus::nats::Inbound;
use mainstem_line::Channels;
use mainstem_runtime::Process;
use secrecy::SecretString;
use tokio::net::TcpListener;

use crate::{Ingress, run};

/// Starts ingress in a process; says where it listens.
pub async fn start(process: &Process) -> anyhow::Result<SocketAddr> {
    let config = &process.config.ingress;
    let handle_key = SecretString::from(config.handle_key.required("ingress.handle_key")?);
    let channels =
        Channels::parse(&Process::read("ingress.channels_file", config.channels_file.as_deref())?)?;
    let bus = process.connect("ingress", &config.nats_user, &config.nats_password).await?;
    let clock = process.clock.clone();
    let now = Arc::new(move || clock.now());
    let ingress = Arc::new(Ingress::new(channels, handle_key, Inbound::new(bus), now));
    let listener = TcpListener::bind(config.http_listen)
        .await
        .with_context(|| format!("cannot listen on {} for ingress", config.http_listen))?;
    let address = listener.local_addr()?;
    process.lifecycle.spawn("ingress", run(ingress, listener, process.lifecycle.stopping()));
    tracing::info!(http = %address, "ingress listens");
    Ok(address)
}
