//! notification: what a person is sent, at most once.
//!
//! Reads `CUSTOMER` and `ROUTING`, writes `NOTIFICATION`; the rules are
//! [`mainstem_domain::notification`].

mod grpc;
mod machine;
mod start;

pub use machine::NotificationMachine;
pub use start::start;
