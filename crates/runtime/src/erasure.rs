//! Tells identity-merge that a service has forgotten a customer.
//!
//! The records are gone when the ledger says so; this carries the counts to whoever keeps the
//! receipt, and the ledger remembers that it did. It works while its instance writes and asks
//! until it is answered: identity-merge takes the first report of a service and answers the next
//! ones the same way, so telling twice does no harm.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use mainstem_bus::TraceContext;
use mainstem_bus::nats::{Handle, ServiceClient};
use mainstem_domain::access::{Caller, Role, Scope};
use mainstem_domain::custody::{Custody, Input};
use mainstem_domain::{ErasureId, Refusal};
use mainstem_proto::FieldError;
use mainstem_proto::wire::custody as wire;
use mainstem_proto::wire::identity::ReportErasureRequest;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::Process;
use crate::config::ServiceConfig;

/// What the state of a service is asked for; on no face.
pub const UNREPORTED: &str = "ListUnreported";

/// Takes note that identity-merge knows; on no face.
pub const CONFIRM: &str = "ConfirmReport";

/// How often it looks, in real time, and how long it waits after a refusal.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The answer to [`UNREPORTED`].
#[must_use]
pub fn unreported(custody: &Custody) -> String {
    let erasures = custody.unreported().map(|(erasure, counts)| wire::ErasureDone {
        erasure: erasure.to_string(),
        counts: counts.clone(),
    });
    let response = wire::ListUnreportedResponse { erasures: erasures.collect() };
    serde_json::to_string(&response).unwrap_or_default()
}

/// What [`CONFIRM`] asks for.
///
/// # Errors
/// The field that is wrong.
pub fn confirmed(request: &wire::ConfirmReportRequest) -> Result<Input, Refusal> {
    let erasure = request.erasure.parse::<ErasureId>();
    let erasure = erasure.map_err(|error| FieldError::new("erasure", error.rule))?;
    Ok(Input::Reported(erasure))
}

/// Starts the reporter of a service in this process.
///
/// # Errors
/// The broker's.
pub async fn start(
    process: &Process,
    service: &'static str,
    section: &ServiceConfig,
    handle: &Handle,
) -> anyhow::Result<()> {
    let token = process.config.erasure.token.expose();
    let name = format!("{service} erasure reporter");
    let bus = process.connect(&name, &section.nats_user, &section.nats_password).await?;
    let scope = Scope { all: true, ..Scope::default() };
    let reporter = Reporter {
        service,
        handle: handle.clone(),
        caller: Caller { name: format!("{service}/erasure-reporter"), role: Role::Service, scope },
        identity: (!token.is_empty()).then(|| ServiceClient::new(bus, token)),
        calls: 0,
    };
    process.lifecycle.spawn(name, reporter.run(process.lifecycle.stopping()));
    Ok(())
}

struct Reporter {
    service: &'static str,
    handle: Handle,
    caller: Caller,
    /// None without a token.
    identity: Option<ServiceClient>,
    calls: u64,
}

impl Reporter {
    async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            () = self.report_in_turn() => Ok(()),
        }
    }

    async fn report_in_turn(&mut self) {
        let handle = self.handle.clone();
        loop {
            handle.wait_until(|status| status.writer).await;
            if let Err(trouble) = self.report().await {
                let service = self.service;
                tracing::warn!(service, %trouble, "an erasure is not reported yet; trying again");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn report(&mut self) -> anyhow::Result<()> {
        let open: wire::ListUnreportedResponse =
            self.ask(UNREPORTED, &wire::ListUnreportedRequest::default()).await?;
        for wire::ErasureDone { erasure, counts } in open.erasures {
            let identity = self.identity.as_ref().context(
                "[erasure] token is empty; enter the token of a caller with the role service",
            )?;
            let request = ReportErasureRequest {
                request_id: format!("{}/{erasure}", self.service),
                erasure: erasure.clone(),
                service: self.service.to_owned(),
                counts,
            };
            let trace = TraceContext::root(&request.request_id);
            let body = Bytes::from(serde_json::to_vec(&request)?);
            identity.call("identity-merge", "report-erasure", body, &trace).await?;
            let confirm = wire::ConfirmReportRequest { erasure };
            self.ask::<_, serde::de::IgnoredAny>(CONFIRM, &confirm).await?;
        }
        Ok(())
    }

    async fn ask<Ask: Serialize, Answer: DeserializeOwned>(
        &mut self,
        method: &str,
        request: &Ask,
    ) -> anyhow::Result<Answer> {
        self.calls += 1;
        let call_id = format!("erasure-reporter/{}", self.calls);
        let body = serde_json::to_string(request)?;
        let answer = self.handle.ask(method, self.caller.clone(), body, call_id).await?;
        Ok(serde_json::from_str(&answer)?)
    }
}
