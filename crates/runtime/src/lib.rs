//! The process: what every service's `main` is made of.
//!
//! ```text
//! config ─► telemetry ─► clock, callers ─► lifecycle ─► tasks: engine, grpc::serve, …
//! ```
//!
//! Knows no service and no rule. Invariant: everything here is made in `main` and passed down;
//! only telemetry, of which a process has one, is global.

pub mod callers;
pub mod clock;
pub mod config;
pub mod grpc;
pub mod lifecycle;
mod main_entry;
pub mod service;
pub mod telemetry;

pub use callers::Callers;
pub use clock::Clock;
pub use config::Config;
pub use lifecycle::Lifecycle;
pub use main_entry::{exit, main, run};
pub use service::Process;
pub use telemetry::Telemetry;
