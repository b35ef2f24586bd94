//! identity-merge: whose event is it? One membership out of many identifiers.
//!
//! Reads `INBOUND`, writes `CUSTOMER`; the rules are [`mainstem_domain::identity`]. What it tells of
//! the other ledgers, and asks of routing, is all in one place that decides nothing.

mod custody;
mod entry;
mod grpc;
mod journey;
mod list;
mod machine;
mod outside;
mod start;
mod timeline;
mod token;
mod watch;

pub use machine::IdentityMachine;
pub use start::start;
pub use token::set_key;
