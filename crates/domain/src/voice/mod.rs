//! voice: how what a customer is told becomes LINE messages.
//!
//! A [`Template`](crate::configuration::Template) has a text for each brand that speaks in a voice of
//! its own, and in each language. Variables in braces stand for what it is about (`{case}`, `{staff}`),
//! for the retailer (`{link}`, the way to the single entry; `{brand}`), and for what it declares with a
//! [`Type`]. [`render`] makes messages of it, plain or as a [`Card`], with the brand as their sender.
//!
//! Invariants: a [`Message`] is frozen: whoever passes it on passes the same bytes on, because a retry
//! key counts for one body only. What is rendered is within LINE's limits whatever the values are, and
//! what stands in a value is never taken for a variable.

mod card;
mod check;
mod message;
mod pattern;
mod render;
mod value;

use crate::configuration::Zone;
use crate::{BrandId, Language};

pub use card::{Card, CaseNews, OrderNews};
pub(crate) use check::BUILT_IN;
pub use check::check;
pub use message::{Message, MessageError};
pub(crate) use pattern::{Piece, is_name, pieces, units, variables};
pub use render::{Unsaid, render};
pub use value::Type;

/// In whose voice a person is spoken to, and how that person reads.
#[derive(Clone, Copy, Debug)]
pub struct Voice<'a> {
    /// The brand; none, or one that has no text of its own: in the voice of the house.
    pub brand: Option<&'a BrandId>,
    /// The person's language.
    pub language: Language,
    /// Where the person's day begins and ends.
    pub zone: &'a Zone,
}
