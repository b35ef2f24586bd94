use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mainstem_domain::access::{Caller, Role};
use mainstem_domain::{Refusal, RefusalCode};
use mainstem_proto::canonical;
use mainstem_proto::field::parse_request_id;
use mainstem_proto::wire::engine as wire;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, oneshot, watch};

use crate::engine::{Answer, Applied};
use crate::machine::{Method, no_such_method, read_request};
use crate::nats::outside::{Asked, Outside, Question};
use crate::nats::{Bus, Configurations};
use crate::positions::Positions;
use crate::topology;

/// The methods that every service with a ledger has.
pub(crate) const ENGINE_METHODS: [Method; 2] = [
    Method { name: "GetStatus", endpoint: "get-status", roles: &[Role::Operator, Role::Service] },
    Method {
        name: "ApplyConfiguration",
        endpoint: "apply-configuration",
        roles: &[Role::Operator],
    },
];

/// How long a request waits for a writer before it is refused as `UNAVAILABLE`.
const PATIENCE: Duration = Duration::from_secs(10);

/// What one instance is doing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// Whether it writes the ledger.
    pub writer: bool,
    /// The epoch in force.
    pub epoch: u64,
    /// The last ledger sequence it has taken in.
    pub sequence: u64,
    /// How far it has read its upstreams.
    pub positions: Positions,
    /// The configuration in force.
    pub configuration: String,
    /// Records voided since its start.
    pub voided: u64,
    /// Dead letters since its start.
    pub dead_lettered: u64,
}

/// The way to one service's use cases. Both faces, gRPC and NATS, call them here.
#[derive(Clone)]
pub struct Handle {
    pub(crate) service: &'static str,
    pub(crate) methods: &'static [Method],
    bus: Bus,
    configurations: Configurations,
    submissions: mpsc::Sender<Submission>,
    status: watch::Receiver<Status>,
    outside: Option<Arc<dyn Outside>>,
}

/// A call on its way to the engine of this instance.
pub(crate) struct Submission {
    pub(crate) request: Forwarded,
    pub(crate) request_id: Option<String>,
    pub(crate) hash: String,
    pub(crate) applied: Option<Arc<Applied>>,
    /// Whether a standby sent it here: then it is not sent on.
    pub(crate) forwarded: bool,
    pub(crate) reply: oneshot::Sender<Answer>,
}

impl Submission {
    /// What tells this call from all others: the client's `request_id`, or the id made for it.
    pub(crate) fn id(&self) -> &str {
        self.request_id.as_deref().unwrap_or(&self.request.call_id)
    }
}

/// A call as a standby sends it to the writer. The caller was admitted by the sender, and only
/// instances of the same service may publish it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Forwarded {
    pub(crate) method: String,
    pub(crate) caller: Caller,
    pub(crate) body: String,
    pub(crate) trace: Option<String>,
    /// Names a call that has no `request_id`.
    pub(crate) call_id: String,
    /// The body as the client sent it, where something was put into it since.
    #[serde(default)]
    pub(crate) sent: Option<String>,
}

#[derive(Deserialize)]
struct RequestId {
    #[serde(default, rename = "requestId", alias = "request_id")]
    request_id: String,
}

pub(crate) fn unavailable(message: &str) -> Refusal {
    Refusal::new(RefusalCode::Unavailable, "NO_WRITER", message)
}

impl Handle {
    pub(crate) fn new(
        service: &'static str,
        methods: &'static [Method],
        bus: Bus,
        configurations: Configurations,
        submissions: mpsc::Sender<Submission>,
        status: watch::Receiver<Status>,
    ) -> Self {
        Self { service, methods, bus, configurations, submissions, status, outside: None }
    }

    /// The same, with an answer to what the state alone does not know.
    #[must_use]
    pub fn with_outside(self, outside: Arc<dyn Outside>) -> Self {
        Self { outside: Some(outside), ..self }
    }

    /// What this instance is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Resolves when this instance's status satisfies `wanted`, or never.
    pub async fn wait_until(&self, wanted: impl FnMut(&Status) -> bool) {
        let mut status = self.status.clone();
        if status.wait_for(wanted).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Every method, the engine's own included.
    pub fn methods(&self) -> impl Iterator<Item = &'static Method> {
        self.methods.iter().chain(ENGINE_METHODS.iter())
    }

    /// Does what the method says, wherever the writer is.
    ///
    /// `body` is the request in proto3 JSON, and so is the answer. `call_id` names the call when
    /// the request has no `request_id`; it must differ from those of all other calls.
    ///
    /// # Errors
    /// The refusal for the caller.
    pub async fn call(
        &self,
        method: &str,
        caller: Caller,
        body: &[u8],
        trace: Option<String>,
        call_id: String,
    ) -> Answer {
        let known = self
            .methods()
            .find(|known| known.name == method)
            .ok_or_else(|| no_such_method(self.service, method))?;
        caller.admit(known.name, known.roles)?;
        if method == "GetStatus" {
            return Ok(self.status_response());
        }
        let body = if body.is_empty() { b"{}" } else { body };
        let body = std::str::from_utf8(body)
            .map_err(|_| Refusal::field("body", "is not UTF-8; send proto3 JSON"))?
            .to_owned();
        let mut request =
            Forwarded { method: method.to_owned(), caller, body, trace, call_id, sent: None };
        if let Some(outside) = &self.outside {
            let Forwarded { method, caller, body, trace, call_id, .. } = &request;
            let question =
                Question { handle: self, method, caller, body, trace: trace.as_deref(), call_id };
            match outside.call(&question).await? {
                Asked::Pass => {}
                Asked::Answer(answer) => return Ok(answer),
                Asked::Body(body) => {
                    let sent = std::mem::replace(&mut request.body, body);
                    request.sent = Some(sent);
                }
            }
        }
        self.submit(request, false).await
    }

    /// Asks the state what no face offers, on behalf of a caller that was admitted for another
    /// method: the machine answers `method` although it does not list it.
    ///
    /// # Errors
    /// The machine's refusal, or `UNAVAILABLE`.
    pub async fn ask(&self, method: &str, caller: Caller, body: String, call_id: String) -> Answer {
        let method = method.to_owned();
        let request = Forwarded { method, caller, body, trace: None, call_id, sent: None };
        self.submit(request, false).await
    }

    pub(crate) async fn submit(&self, request: Forwarded, forwarded: bool) -> Answer {
        let RequestId { request_id } = read_request(request.body.as_bytes())?;
        // A standby asks again when an answer does not come, so what it sends is idempotent always.
        let request_id =
            parse_request_id(&request_id)?.or_else(|| forwarded.then(|| request.call_id.clone()));
        let hash = hash(&request)?;
        let applied = if request.method == "ApplyConfiguration" {
            let wanted: wire::ApplyConfigurationRequest = read_request(request.body.as_bytes())?;
            let applied = self.lint(&wanted.digest).await?;
            if wanted.validate_only {
                let digest = self.status().configuration;
                let response = wire::ApplyConfigurationResponse { digest };
                return Ok(serde_json::to_string(&response).unwrap_or_default());
            }
            Some(applied)
        } else {
            None
        };
        let (reply, answer) = oneshot::channel();
        let submission = Submission { request, request_id, hash, applied, forwarded, reply };
        let gone = || unavailable("the service is stopping; send the request again");
        let answered = tokio::time::timeout(PATIENCE, async {
            self.submissions.send(submission).await.map_err(|_| gone())?;
            answer.await.map_err(|_| gone())?
        });
        // An instance that folds a long log takes no calls until it knows what is in it.
        answered.await.unwrap_or_else(|_| {
            Err(unavailable(
                "no answer within 10 s; send the request again with the same request_id",
            ))
        })
    }

    async fn lint(&self, digest: &str) -> Result<Arc<Applied>, Refusal> {
        if digest.len() != 64 || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Refusal::field("digest", "must be a SHA-256 in 64 hexadecimal digits"));
        }
        let applied = self
            .configurations
            .get(digest)
            .await
            .map_err(|error| Refusal::field("digest", error.to_string()))?;
        applied.configuration.check()?;
        Ok(applied)
    }

    fn status_response(&self) -> String {
        let status = self.status();
        let response = wire::GetStatusResponse {
            service: self.service.to_owned(),
            writer: status.writer,
            epoch: status.epoch,
            ledger_sequence: status.sequence,
            positions: status
                .positions
                .iter()
                .map(|(stream, position)| wire::StreamPosition {
                    stream: stream.to_owned(),
                    sequence: position.sequence,
                    store_time: Some(mainstem_proto::field::timestamp(
                        mainstem_domain::At::from_millis(position.stored_at / 1_000_000),
                    )),
                })
                .collect(),
            configuration: status.configuration,
            voided: status.voided,
            dead_lettered: status.dead_lettered,
        };
        serde_json::to_string(&response).unwrap_or_default()
    }

    /// Sends a call on to the writer, trying again as long as there is none.
    pub(crate) async fn forward(&self, request: Forwarded) -> Answer {
        let body = serde_json::to_vec(&request).map(Bytes::from).unwrap_or_default();
        let subject = topology::forward_subject(self.service);
        let attempts = async {
            loop {
                let asked = self.bus.client.request(subject.clone(), body.clone()).await;
                if let Ok(message) = asked
                    && let Ok(answer) = serde_json::from_slice::<Answer>(&message.payload)
                    && !matches!(&answer, Err(refusal) if refusal.reason == "NO_WRITER")
                {
                    return answer;
                }
                // A take-over is under way, or the request or its answer got lost. A request with
                // a request_id, and any other by its call id, is decided once.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, attempts).await {
            Ok(answer) => answer,
            Err(_) => Err(unavailable("no instance writes now; send the request again")),
        }
    }
}

/// Tells requests apart: who asks, what, with which body. Spelling of the JSON does not count, nor
/// what was put into it since it was sent.
fn hash(request: &Forwarded) -> Result<String, Refusal> {
    let sent = request.sent.as_ref().unwrap_or(&request.body);
    let _: serde::de::IgnoredAny = read_request(sent.as_bytes())?;
    let body = canonical(&request.method, sent.as_bytes());
    let body = body.as_deref().unwrap_or(sent);
    let mut digest = Sha256::new();
    for part in [&request.caller.name, &request.method, body] {
        digest.update(part.as_bytes());
        digest.update([0]);
    }
    Ok(digest.finalize()[..16].iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}")))
}
