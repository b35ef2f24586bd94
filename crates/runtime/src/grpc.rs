//! What the gRPC servers share: how they are served, who calls, and how a refusal looks on the wire.
//!
//! Names no service of ours: each process adds its own to [`standard_routes`].

mod request;
mod server;
mod status;

pub use request::{caller_from_request, request_trace};
pub use server::{Health, serve, server_tls, standard_routes};
pub use status::{refusal_from, status_from};
