//! The process: what every service's `main` is made of.
//!
//! ```text
//! config ─► telemetry ─► clock, callers ─► lifecycle ─► tasks: engine, grpc::serve, …
//! ```
//!
//! Knows no service and no rule. Invariant: everything here is made in `main` and passed down;
//! only telemetry and the allocator, of which a process has one each, are global.

pub mod callers;
pub mod clock;
pub mod config;
pub mod erasure;
pub mod grpc;
pub mod lifecycle;
mod main_entry;
pub mod service;
pub mod telemetry;

/// A record is some forty small allocations on its way through a service. The memory lies in huge pages
/// where the system lets it: a sixth more events are decided each second (measured).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Gives up huge pages, for a process that must not stop: while a snapshot of 10,000,000 identifiers was
/// taken, the kernel stopped a writer for up to 22 ms to clear one, and for 3 ms without them (measured).
/// Where it cannot be done, nothing is lost but that.
pub fn without_huge_pages() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages stay");
    }
}

pub use callers::Callers;
pub use clock::Clock;
pub use config::Config;
pub use lifecycle::Lifecycle;
pub use main_entry::{exit, main, run};
pub use service::Process;
pub use telemetry::Telemetry;
