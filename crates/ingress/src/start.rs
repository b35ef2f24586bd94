use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use mainstem_bus::nats::{FetchQueue, InForce, Inbound, Media, Profiles, Relay};
use mainstem_domain::At;
use mainstem_line::Channels;
use mainstem_line_client::{LineClient, Urls};
use mainstem_runtime::{Process, grpc};
use secrecy::SecretString;
use tokio::net::TcpListener;

use crate::directory::{first_look, follow};
use crate::grpc::service;
use crate::profile::Wanted;
use crate::relay::Worker;
use crate::{Directory, Ingress, Senders, Sources, fetch, profile, run};

/// Where ingress can be reached.
#[derive(Clone, Copy, Debug)]
pub struct Started {
    /// Webhooks and events.
    pub http: SocketAddr,
    /// The gRPC server.
    pub grpc: SocketAddr,
}

/// How long a call to LINE may take until its answer begins.
const CALL_WITHIN: Duration = Duration::from_secs(10);

/// Starts ingress in a process: its HTTP routes, its gRPC server, and its workers.
pub async fn start(process: &Process) -> anyhow::Result<Started> {
    let config = &process.config.ingress;
    let lifecycle = &process.lifecycle;
    let handle_key = SecretString::from(config.handle_key.required("ingress.handle_key")?);
    let channels =
        Channels::parse(&Process::read("ingress.channels_file", config.channels_file.as_deref())?)?;
    let sources = Sources::load(&channels, |path: &Path| std::fs::read_to_string(path))?;
    let bus = process.connect("ingress", &config.nats_user, &config.nats_password).await?;
    let inbound = Inbound::new(bus.clone());
    let clock = process.clock.clone();
    let now: Arc<dyn Fn() -> At + Send + Sync> = Arc::new(move || clock.now());

    let directory = Arc::<Directory>::default();
    let mut in_force = InForce::new(bus.clone());
    first_look(&directory, &mut in_force).await;
    let urls = Urls { api: config.line_api_url.clone(), data: config.line_data_url.clone() };
    let line = LineClient::new(&channels, &urls, CALL_WITHIN, now.clone());
    let line = Arc::new(line.context("the client for LINE's API cannot be made")?);
    let senders = Senders { channels, sources, directory: directory.clone() };
    let (wanted, waiting) = Wanted::new();
    let ingress = Ingress::new(senders, handle_key, inbound.clone(), now.clone());
    let ingress = ingress.with_profiles(wanted.clone());
    let profiles = profile::Worker {
        line: line.clone(),
        profiles: Profiles::open(&bus).await?,
        inbound: inbound.clone(),
        directory: directory.clone(),
        now: now.clone(),
        metrics: ingress.metrics.clone(),
        wanted,
    };
    let contents = fetch::Worker {
        line,
        media: Media::open(&bus).await?,
        now: now.clone(),
        metrics: ingress.metrics.clone(),
        bytes_at_most: config.media_bytes_at_most,
    };
    let queue = FetchQueue::open(&bus, fetch::AT_ONCE).await?;
    if !inbound.fits(2 * ingress.limits.body_bytes) {
        tracing::warn!(
            "this nats-server takes no event as large as a body may be; set max_payload to 4MB"
        );
    }
    let worker = Worker::new(Relay::new(bus), directory.clone(), now, ingress.metrics.clone())
        .context("the HTTP client of the relay cannot be made")?;
    let ingress = Arc::new(ingress);

    let (http, http_address) = listen(config.http_listen).await?;
    let (grpc_listener, grpc_address) = listen(config.grpc_listen).await?;
    let service = service(ingress.clone(), process.callers.clone());
    let (routes, health) = grpc::standard_routes(&[name_of(&service)]).await?;
    let tls = grpc::server_tls(&process.config.grpc)?;
    let stop = lifecycle.stopping();
    lifecycle.spawn("ingress", run(ingress, http, stop.clone()));
    let served = grpc::serve(grpc_listener, routes.add_service(service), tls, stop.clone());
    lifecycle.spawn("ingress gRPC", served);
    lifecycle.spawn("ingress directory", follow(directory, in_force, stop.clone()));
    lifecycle.spawn("ingress profiles", profiles.run(waiting, stop.clone()));
    lifecycle.spawn("ingress contents", contents.run(queue, stop.clone()));
    lifecycle.spawn("ingress relay", worker.run(stop.clone()));
    lifecycle.spawn("ingress health", async move {
        health.set_ready(true).await;
        stop.cancelled().await;
        health.set_ready(false).await;
        Ok(())
    });
    tracing::info!(http = %http_address, grpc = %grpc_address, "ingress listens");
    Ok(Started { http: http_address, grpc: grpc_address })
}

/// The full name that reflection lists.
fn name_of<S: tonic::server::NamedService>(_: &S) -> &'static str {
    S::NAME
}

async fn listen(address: SocketAddr) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address} for ingress"))?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}
