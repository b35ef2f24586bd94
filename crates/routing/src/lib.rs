//! routing: what a person wants, and who does it.
//!
//! Reads `CUSTOMER`, writes `ROUTING`; the rules are [`mainstem_domain::routing`]. Its queue keeper
//! takes items off `QUEUES`, and is the only part that touches more than the ledgers.

mod bindings;
mod code;
mod conversations;
mod desk;
mod grpc;
mod keeper;
mod machine;
mod picture;
mod queue;
mod start;
mod wish;

pub use machine::RoutingMachine;
pub use start::start;
