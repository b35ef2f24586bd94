//! The bus: the only crate that names the NATS client or writes a subject.
//!
//! [`topology`] declares every stream, subject and permission. [`engine`] is one decider over one
//! ledger, without I/O.
//!
//! Invariant: a rule about what may be sent, merged or routed never stands here.

#![warn(missing_docs)]

pub mod engine;
mod machine;
pub mod nats;
pub mod permissions;
mod positions;

pub mod record;
pub mod topology;
mod trace;

pub use machine::{
    Call, Draft, EventOf, InputOf, Machine, Method, StateOf, Upstream, need_whole_scope,
    no_such_method, read_request,
};
pub use positions::{Epoch, NoPositions, Position, Positions};
pub use record::{Headers, Record, Stored, Unreadable};
pub use trace::TraceContext;
