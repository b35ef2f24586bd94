//! The bus: the only crate that names the NATS client or writes a subject.
//!
//! [`topology`] declares every stream, subject and permission. [`engine`] is one decider over one
//! ledger, without I/O.
//!
//! Invariant: a rule about what may be sent, merged or routed never stands here.

#![warn(missing_docs)]

pub mod custody;
pub mod engine;
mod machine;
pub mod nats;
pub mod permissions;
mod positions;

pub mod record;
pub mod topology;
mod trace;

pub use custody::{Chore, Counts, Keeper};
pub use machine::{
    Call, Draft, EventOf, Gauge, InputOf, Looked, Machine, Method, StateOf, Upstream,
    need_whole_scope, no_such_method, read_request,
};
pub use positions::{Epoch, NoPositions, Position, Positions};
pub use record::{Headers, Record, Stored, Unreadable};
pub use trace::TraceContext;

/// SHA-256 in lower-case hexadecimal.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
