//! What clients ask of the services.

use std::sync::Arc;

use mainstem_bus::Machine as _;
use mainstem_bus::engine::{Applied, Ticket};
use mainstem_domain::access::{Caller, Role, Scope};
use mainstem_routing::RoutingMachine;
use serde_json::{Value, json};

/// One request to one service.
#[derive(Clone, Debug)]
pub struct Call {
    /// Another one each time that it is sent.
    pub ticket: Ticket,
    /// Whom it asks.
    pub service: &'static str,
    /// The client's `request_id`, if it has one.
    pub request_id: Option<String>,
    /// What tells it from all others.
    pub id: String,
    /// Who asks.
    pub caller: Caller,
    /// What it asks.
    pub asked: Asked,
}

/// What a call asks.
#[derive(Clone, Debug)]
pub enum Asked {
    /// Take this configuration.
    Configure(Arc<Applied>),
    /// One of the service's methods.
    Method {
        /// Its name.
        method: &'static str,
        /// The request, in JSON.
        body: String,
    },
}

impl Call {
    /// A command with a `request_id`.
    #[must_use]
    pub fn command(service: &'static str, actor: &str, request_id: &str, asked: Asked) -> Self {
        Self {
            request_id: Some(request_id.to_owned()),
            ..Self::once(service, actor, request_id, asked)
        }
    }

    /// A call without a `request_id`.
    #[must_use]
    pub fn once(service: &'static str, actor: &str, id: &str, asked: Asked) -> Self {
        let scope = Scope { all: true, ..Scope::default() };
        let caller = Caller { name: actor.to_owned(), role: Role::Service, scope };
        Self { ticket: 0, service, request_id: None, id: id.to_owned(), caller, asked }
    }

    /// Tells requests under the same `request_id` apart.
    #[must_use]
    pub fn hash(&self) -> String {
        match &self.asked {
            Asked::Configure(applied) => {
                format!("{}/configure/{}", self.caller.name, applied.digest)
            }
            Asked::Method { method, body } => format!("{}/{method}/{body}", self.caller.name),
        }
    }
}

/// A method with its request.
#[must_use]
pub fn method(method: &'static str, body: &Value) -> Asked {
    Asked::Method { method, body: body.to_string() }
}

/// Who works on cases.
pub const WORKER: &str = "unit/repair";

/// The queue whose cases are claimed; those of the others are pulled.
pub const CLAIMED: &str = "advice";

/// What the worker does with a case; follows from its id, so it is the same in every world.
#[must_use]
pub fn resolves_at_once(case: &str) -> bool {
    case.bytes().map(u32::from).sum::<u32>().is_multiple_of(2)
}

/// The worker takes a case.
#[must_use]
pub fn accept(case: &str) -> Call {
    work(&format!("accept/{case}"), "AcceptCase", json!({"case": case}))
}

/// The worker begins with it.
#[must_use]
pub fn start(case: &str) -> Call {
    work(&format!("start/{case}"), "StartCase", json!({"case": case}))
}

/// The worker has done it.
#[must_use]
pub fn resolve(case: &str) -> Call {
    work(&format!("resolve/{case}"), "ResolveCase", json!({"case": case}))
}

/// The worker gives it up.
#[must_use]
pub fn cancel(case: &str) -> Call {
    work(&format!("cancel/{case}"), "CancelCase", json!({"case": case, "reason": "no parts"}))
}

/// The worker takes what is next on a queue.
#[must_use]
pub fn claim(id: &str, queue: &str) -> Call {
    work(id, "ClaimNext", json!({"queue": queue}))
}

fn work(id: &str, name: &'static str, mut body: Value) -> Call {
    body["requestId"] = id.into();
    Call::command(RoutingMachine::SERVICE, WORKER, id, method(name, &body))
}
