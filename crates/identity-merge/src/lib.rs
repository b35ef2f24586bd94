//! identity-merge: whose event is it? One membership out of many identifiers.
//!
//! Reads `INBOUND`, writes `CUSTOMER`; the rules are [`mainstem_domain::identity`].

mod grpc;
mod list;
mod machine;

pub use machine::IdentityMachine;
