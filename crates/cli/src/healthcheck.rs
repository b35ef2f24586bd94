use std::time::Duration;

use anyhow::{Context as _, bail};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

const PATIENCE: Duration = Duration::from_secs(3);

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Asked {
    /// A gRPC server, e.g. 127.0.0.1:7701, asked by grpc.health.v1
    #[arg(long)]
    grpc: Option<String>,
    /// A URL that answers 200 when all is well, e.g. http://127.0.0.1:7700/healthz
    #[arg(long)]
    http: Option<String>,
}

#[derive(clap::Args)]
pub(crate) struct Healthcheck {
    #[command(flatten)]
    asked: Asked,
    /// The CA of a gRPC server with TLS (PEM)
    #[arg(long)]
    ca: Option<std::path::PathBuf>,
}

impl Healthcheck {
    pub(crate) async fn run(&self) -> anyhow::Result<()> {
        match (&self.asked.grpc, &self.asked.http) {
            (Some(address), _) => self.ask_grpc(address).await,
            (None, Some(url)) => ask_http(url).await,
            (None, None) => bail!("name --grpc or --http"),
        }
    }

    async fn ask_grpc(&self, address: &str) -> anyhow::Result<()> {
        let scheme = if self.ca.is_some() { "https" } else { "http" };
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))
            .with_context(|| format!("{address} is no address; write host:port"))?
            .connect_timeout(PATIENCE)
            .timeout(PATIENCE);
        if let Some(ca) = &self.ca {
            let pem =
                std::fs::read(ca).with_context(|| format!("--ca: cannot read {}", ca.display()))?;
            let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem));
            endpoint = endpoint.tls_config(tls).context("--ca is no certificate")?;
        }
        let channel =
            endpoint.connect().await.with_context(|| format!("{address} does not answer"))?;
        // The empty name is the whole server.
        let request = HealthCheckRequest { service: String::new() };
        let answer = HealthClient::new(channel).check(request).await?.into_inner();
        match answer.status() {
            ServingStatus::Serving => Ok(()),
            ServingStatus::Unknown | ServingStatus::NotServing | ServingStatus::ServiceUnknown => {
                bail!("{address} runs, and cannot work yet: its log says what it waits for")
            }
        }
    }
}

async fn ask_http(url: &str) -> anyhow::Result<()> {
    let client = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build()?;
    let answer = client.get(url).send().await.with_context(|| format!("{url} does not answer"))?;
    if !answer.status().is_success() {
        bail!("{url} answers {}", answer.status());
    }
    Ok(())
}
