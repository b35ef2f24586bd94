//! identity-merge against a naive model, its properties, and its table row by row.

#![expect(clippy::unwrap_used, reason = "a test may stop")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks at what it is about")]

mod answers;
mod deletion;
mod met;
mod model;
mod moving;
mod properties;
mod rows;
mod rows_apart;
mod seven;
mod sizes;
mod story;
mod unsend;
mod world;
