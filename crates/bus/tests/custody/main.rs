//! Records that are moved or deleted: what the engine makes of the ledger then, and what is left
//! on a real server.

#![expect(clippy::unwrap_used, reason = "a test may stop")]

mod broker;
mod engine;
mod machine;
mod server;
