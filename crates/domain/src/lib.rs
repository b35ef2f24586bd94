//! Every rule of Mainstem, and no I/O.
//!
//! Three deciders ([`identity`], [`routing`], [`notification`]) and the words they share. Each is
//! a pure function of state, input and [`At`]; time, ids and randomness are arguments.
//!
//! Invariant: nothing here reads a clock, a file, a socket, the environment or a random source (but
//! for the seed of hash tables whose order nothing can see), and no map is iterated in an order that
//! can differ between two runs.

#![warn(missing_docs)]
#![deny(clippy::iter_over_hash_type)]

pub mod access;
mod at;
pub mod configuration;
pub mod custody;
mod decider;
pub mod identifier;
pub mod identity;
mod ids;
mod language;
pub mod notification;
pub mod person;
mod refusal;
pub mod routing;
mod shelf;
pub mod voice;

pub use at::At;
pub use decider::{Decider, Decision, Wakeup};
pub use ids::{
    AttributeName, BrandId, CalendarId, CaseId, ChannelId, ConflictId, ConversationId, CustomerId,
    DeskId, DisputeId, ErasureId, EventId, IdError, ItemId, Means, Purpose, QueueId, SplitId,
    StaffId, StoreId, SuggestionId, Tag, UnitId, UnsendId, derive_uuid,
};
pub use language::{Language, NoLanguage};
pub use refusal::{Refusal, RefusalCode, Violation};
