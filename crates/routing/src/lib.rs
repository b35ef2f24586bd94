//! routing: what a person wants, and who does it.
//!
//! Reads `CUSTOMER`, writes `ROUTING`; the rules are [`mainstem_domain::routing`]. Its queue keeper
//! takes items off `QUEUES`, and is the only part that touches more than the ledgers. What it tells
//! of the ledgers, why something went where it went, decides nothing.

mod bindings;
mod code;
mod conversations;
mod desk;
mod explain;
mod grpc;
mod keeper;
mod machine;
mod outside;
mod picture;
mod queue;
mod start;
mod trail;
mod wish;

pub use code::set_key;
pub use machine::RoutingMachine;
pub use start::start;
