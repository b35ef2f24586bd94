//! What LINE sends: planned days, what single people do, and bodies that somebody else wrote.

mod act;
mod plan;
mod player;
mod post;
mod record;
mod strange;
mod style;
mod talk;

pub use act::{Act, ActError, ActRequest, Acted};
pub use plan::PlayRequest;
pub use player::{PlayError, Progress};
pub use post::DeliverRequest;
pub(crate) use record::Record;
