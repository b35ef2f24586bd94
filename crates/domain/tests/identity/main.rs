//! identity-merge against a naive model, its properties, and its table row by row.

#![expect(clippy::unwrap_used, reason = "a test may stop")]

mod model;
mod properties;
mod rows;
mod world;
