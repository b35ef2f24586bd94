//! routing: what a person wants, and who does it.
//!
//! Reads `CUSTOMER`, writes `ROUTING`; the rules are [`mainstem_domain::routing`].

mod grpc;
mod machine;

pub use machine::RoutingMachine;
