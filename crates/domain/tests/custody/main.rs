//! What routing and notification hold of customers who are merged, split and erased, at random.
//!
//! The world has six people, each with identifiers of their own. It does what identity-merge and
//! the custodian do: it merges and splits customers, says whose is what, moves records and deletes
//! them. Whatever happened, then:
//! - no record stands under an id of somebody else, and nothing is held for somebody else;
//! - what is left of the log folds to the same state;
//! - nothing of who was erased is left.

#![expect(clippy::unwrap_used, reason = "a test may stop")]

mod bindings;
mod notification;
mod requests;
mod routing;
mod world;
