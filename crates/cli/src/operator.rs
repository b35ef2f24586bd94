use anyhow::{Context as _, bail};
use bytes::Bytes;
use mainstem_bus::TraceContext;
use mainstem_bus::nats::{Bus, Login, ServiceClient};
use mainstem_domain::Refusal;
use mainstem_runtime::Config;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The services with a ledger, in the order in which a message goes through them.
pub(crate) const SERVICES: [&str; 3] = ["identity-merge", "routing", "notification"];

/// The operator of the configuration, connected.
pub(crate) struct Operator {
    pub(crate) bus: Bus,
    services: ServiceClient,
}

impl Operator {
    pub(crate) async fn connect(config: &Config) -> anyhow::Result<Self> {
        let bus = connect(config, None, config.operator.nats_password.expose()).await?;
        let services = ServiceClient::new(bus.clone(), config.operator.token.expose());
        Ok(Self { bus, services })
    }

    /// Calls a method of a service, e.g. `get-status`.
    pub(crate) async fn call<Answer: DeserializeOwned>(
        &self,
        service: &str,
        endpoint: &str,
        request: &impl Serialize,
    ) -> anyhow::Result<Answer> {
        call(&self.services, service, endpoint, request)
            .await
            .with_context(|| format!("{service} {endpoint}"))
    }
}

/// Connects as `user`, else as the operator of the configuration.
pub(crate) async fn connect(
    config: &Config,
    user: Option<&str>,
    password: &str,
) -> anyhow::Result<Bus> {
    let login = Login {
        url: config.nats.url.clone(),
        user: user.unwrap_or(&config.operator.nats_user).to_owned(),
        password: password.to_owned(),
        tls_ca: config.nats.tls_ca.clone(),
        name: "mainstem command line".to_owned(),
    };
    Ok(Bus::connect(&login).await?)
}

/// Calls a method of a service as whoever `client` is. A refusal is told with all that is wrong.
pub(crate) async fn call<Answer: DeserializeOwned>(
    client: &ServiceClient,
    service: &str,
    endpoint: &str,
    request: &impl Serialize,
) -> anyhow::Result<Answer> {
    let body = serde_json::to_vec(request)?;
    let trace =
        TraceContext::root(&format!("{service} {endpoint} {}", String::from_utf8_lossy(&body)));
    match client.call(service, endpoint, Bytes::from(body), &trace).await {
        Ok(answer) => serde_json::from_slice(&answer)
            .with_context(|| "the answer is of another version; use the mainstem of that version"),
        Err(refusal) => bail!(told(&refusal)),
    }
}

fn told(refusal: &Refusal) -> String {
    let mut text = format!("{refusal} ({})", refusal.reason);
    for violation in refusal.violations.iter().filter(|_| refusal.violations.len() > 1) {
        text.extend(["\n  ", &violation.field, ": ", &violation.description]);
    }
    if refusal.reason == "UNKNOWN_TOKEN" || refusal.reason == "NO_CREDENTIALS" {
        text += "; the token is [operator] token, its SHA-256 stands in the callers file";
    }
    text
}
