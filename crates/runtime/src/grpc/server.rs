use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::config::GrpcConfig;

/// A client that does not answer for the interval and the time-out together is gone.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Calls at once on one connection; further ones wait at the client.
const MOST_STREAMS: u32 = 1024;

/// Says whether the process can take requests (`grpc.health.v1`, the service ""). Cheap to clone.
#[derive(Clone, Debug)]
pub struct Health(HealthReporter);

impl Health {
    /// Not ready until the first `true`; set to `false` before the end, so that balancers leave.
    pub async fn set_ready(&self, ready: bool) {
        let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
        self.0.set_service_status("", status).await;
    }
}

/// Health and reflection, to which a process adds its services. `services` are their full names
/// (`…Server::<T>::NAME`): reflection lists these and no other process's.
pub async fn standard_routes(services: &[&str]) -> anyhow::Result<(Routes, Health)> {
    let (reporter, health_server) = tonic_health::server::health_reporter();
    let health = Health(reporter);
    health.set_ready(false).await;
    let reflection = || {
        let mut builder = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(mainstem_proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .with_service_name("grpc.health.v1.Health");
        for service in services {
            builder = builder.with_service_name(*service);
        }
        builder
    };
    let unreadable = "the descriptors cannot be read";
    let routes = Routes::new(health_server)
        .add_service(reflection().build_v1().context(unreadable)?)
        .add_service(reflection().build_v1alpha().context(unreadable)?);
    Ok((routes, health))
}

/// The server's side of TLS; `None` when no certificate is configured. With a client CA, a client
/// certificate that is shown must be signed by it; a client that shows none may send a token.
pub fn server_tls(config: &GrpcConfig) -> anyhow::Result<Option<ServerTlsConfig>> {
    let (Some(certificate), Some(key)) = (&config.tls_certificate, &config.tls_key) else {
        return Ok(None);
    };
    let identity = Identity::from_pem(read(certificate)?, read(key)?);
    let mut tls = ServerTlsConfig::new().identity(identity);
    if let Some(ca) = &config.client_ca {
        tls = tls.client_ca_root(Certificate::from_pem(read(ca)?)).client_auth_optional(true);
    }
    Ok(Some(tls))
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Serves until `shutdown`, then takes no new connection and lets running calls finish. An open
/// server stream is a running call: end it at the same token, or the drain's deadline ends it.
pub async fn serve(
    listener: TcpListener,
    routes: Routes,
    tls: Option<ServerTlsConfig>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let mut server = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_concurrent_streams(MOST_STREAMS);
    if let Some(tls) = tls {
        server = server.tls_config(tls).context("the TLS files of [grpc] cannot be used")?;
    }
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    server
        .add_routes(routes.prepare())
        .serve_with_incoming_shutdown(incoming, shutdown.cancelled_owned())
        .await
        .context("the gRPC server ended")
}

#[cfg(test)]
mod tests;
