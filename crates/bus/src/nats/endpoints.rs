use std::collections::HashMap;
use std::sync::Arc;

use async_nats::HeaderMap;
use async_nats::service::{self, ServiceExt as _};
use bytes::Bytes;
use futures::StreamExt as _;
use mainstem_domain::access::Caller;
use mainstem_domain::{Refusal, RefusalCode};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::nats::handle::{Forwarded, unavailable};
use crate::nats::{Bus, Handle};
use crate::record::header;
use crate::topology;
use crate::trace::TraceContext;

/// Tells who presents a bearer token; `None` when there is no token.
pub type Authenticate = Arc<dyn Fn(Option<&str>) -> Result<Caller, Refusal> + Send + Sync>;

/// The header that carries `Bearer <token>`.
const AUTHORIZATION: &str = "Authorization";

fn failed(error: impl std::fmt::Display) -> std::io::Error {
    std::io::Error::other(error.to_string())
}

/// Serves every method of a service as a NATS service endpoint, until `stop`.
///
/// # Errors
/// The broker's.
pub async fn serve_endpoints(
    bus: Bus,
    handle: Handle,
    version: &str,
    description: &str,
    authenticate: Authenticate,
    stop: CancellationToken,
) -> Result<(), std::io::Error> {
    let service = bus
        .client
        .service_builder()
        .description(description)
        .start(handle.service, version)
        .await
        .map_err(failed)?;
    let calls = TaskTracker::new();
    for method in handle.methods() {
        let roles: Vec<_> =
            method.roles.iter().map(|role| format!("{role:?}").to_lowercase()).collect();
        let metadata = HashMap::from([
            ("method".to_owned(), method.name.to_owned()),
            ("roles".to_owned(), roles.join(",")),
        ]);
        let mut endpoint = service
            .endpoint_builder()
            .name(method.endpoint)
            .metadata(metadata)
            .add(topology::endpoint_subject(handle.service, method.endpoint))
            .await
            .map_err(failed)?;
        let (handle, authenticate, stop) =
            (handle.clone(), Arc::clone(&authenticate), stop.clone());
        let inner = calls.clone();
        calls.spawn(async move {
            loop {
                let request = tokio::select! {
                    () = stop.cancelled() => break,
                    request = endpoint.next() => request,
                };
                let Some(request) = request else { break };
                let (handle, authenticate) = (handle.clone(), Arc::clone(&authenticate));
                inner.spawn(async move {
                    let answer = answer(&handle, method.name, &authenticate, &request).await;
                    if let Err(error) = respond(&request, answer).await {
                        tracing::debug!(%error, "nobody waits for the answer any more");
                    }
                });
            }
        });
    }
    stop.cancelled().await;
    service.stop().await.map_err(failed)?;
    calls.close();
    calls.wait().await;
    Ok(())
}

async fn answer(
    handle: &Handle,
    method: &'static str,
    authenticate: &Authenticate,
    request: &service::Request,
) -> Result<String, Refusal> {
    let header = |name: &str| {
        let headers = request.message.headers.as_ref()?;
        headers.get(name).map(|value| value.as_str().to_owned())
    };
    let token = header(AUTHORIZATION);
    let token = token.as_deref().map(|value| value.strip_prefix("Bearer ").unwrap_or(value));
    let caller = authenticate(token)?;
    let trace = header(header::TRACE);
    // The reply subject is new for every request, so it names a call without a request_id.
    let Some(reply) = &request.message.reply else {
        return Err(Refusal::field("reply", "is missing; send a request, not a publication"));
    };
    let call_id = reply.to_string();
    handle.call(method, caller, &request.message.payload, trace, call_id).await
}

/// The code in `Nats-Service-Error-Code`, as HTTP has them.
fn code(code: RefusalCode) -> usize {
    match code {
        RefusalCode::InvalidArgument => 400,
        RefusalCode::Unauthenticated => 401,
        RefusalCode::PermissionDenied => 403,
        RefusalCode::NotFound => 404,
        RefusalCode::FailedPrecondition | RefusalCode::AlreadyExists => 409,
        RefusalCode::ResourceExhausted => 429,
        RefusalCode::Internal => 500,
        RefusalCode::Unavailable => 503,
    }
}

async fn respond(
    request: &service::Request,
    answer: Result<String, Refusal>,
) -> Result<(), async_nats::PublishError> {
    match answer {
        Ok(body) => request.respond(Ok(body.into())).await,
        Err(refusal) => {
            // The client library sends an error without a body; the facts go in a header.
            let mut headers = HeaderMap::new();
            let facts = serde_json::to_string(&refusal).unwrap_or_default();
            headers.insert("Mainstem-Refusal", facts.as_str());
            let status = refusal.message.replace(['\r', '\n'], " ");
            let error = service::error::Error { status, code: code(refusal.code) };
            request.respond_with_headers(Err(error), headers).await
        }
    }
}

/// Answers what standbys send to the writer, as long as this instance writes.
pub(crate) async fn serve_forwarded(
    bus: Bus,
    handle: Handle,
    stop: CancellationToken,
) -> Result<(), async_nats::SubscribeError> {
    let mut requests = bus.client.subscribe(topology::forward_subject(handle.service)).await?;
    let calls = TaskTracker::new();
    loop {
        let message = tokio::select! {
            () = stop.cancelled() => break,
            message = requests.next() => message,
        };
        let Some(message) = message else { break };
        let (handle, client) = (handle.clone(), bus.client.clone());
        calls.spawn(async move {
            let answer = match serde_json::from_slice::<Forwarded>(&message.payload) {
                Ok(request) => handle.submit(request, true).await,
                Err(_) => Err(unavailable("instances of different versions do not forward")),
            };
            let body = serde_json::to_vec(&answer).map(Bytes::from).unwrap_or_default();
            if let Some(reply) = message.reply
                && let Err(error) = client.publish(reply, body).await
            {
                tracing::debug!(%error, "nobody waits for the answer any more");
            }
        });
    }
    calls.close();
    calls.wait().await;
    Ok(())
}

/// Calls methods of services, as one caller.
#[derive(Clone)]
pub struct ServiceClient {
    bus: Bus,
    authorization: String,
}

impl ServiceClient {
    /// A client that presents this bearer token.
    #[must_use]
    pub fn new(bus: Bus, token: &str) -> Self {
        Self { bus, authorization: format!("Bearer {token}") }
    }

    /// Calls an endpoint (`get-delivery`) of a service with a request in proto3 JSON.
    ///
    /// # Errors
    /// The service's refusal; `UNAVAILABLE` when nobody answers.
    pub async fn call(
        &self,
        service: &str,
        endpoint: &str,
        body: Bytes,
        trace: &TraceContext,
    ) -> Result<Bytes, Refusal> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, self.authorization.as_str());
        headers.insert(header::TRACE, trace.to_string().as_str());
        let subject = topology::endpoint_subject(service, endpoint);
        let request = async_nats::Request::new()
            .headers(headers)
            .payload(body)
            // Longer than a standby waits for a writer.
            .timeout(Some(std::time::Duration::from_secs(15)));
        let message = self
            .bus
            .client
            .send_request(subject, request)
            .await
            .map_err(|error| unavailable(&format!("{service} does not answer: {error}")))?;
        let header = |name: &str| message.headers.as_ref().and_then(|headers| headers.get(name));
        if let Some(facts) = header("Mainstem-Refusal") {
            return Err(serde_json::from_str(facts.as_str()).unwrap_or_else(|_| {
                Refusal::new(
                    RefusalCode::Internal,
                    "UNREADABLE_REFUSAL",
                    "the refusal is of another version",
                )
            }));
        }
        if let Some(status) = header("Nats-Service-Error") {
            return Err(Refusal::new(RefusalCode::Internal, "SERVICE_ERROR", status.as_str()));
        }
        Ok(message.payload)
    }
}
