//! LINE's platform as data: what it sends, what it is sent, and what it answers.
//!
//! Pure: no socket, file or clock. Reading is lenient, because LINE adds fields, values and event
//! types without notice; what is not understood is kept, and harms nothing beside it.
//!
//! Invariant: no error of this crate shows a byte of a body, a secret or a user id.

pub mod api;
mod channel_event;
mod channels;
pub mod signature;
mod source;
mod webhook;

pub use channel_event::{ChannelFacts, to_channel_event};
pub use channels::{Channel, Channels, ChannelsError};
pub use source::EventSource;
pub use webhook::media_id;
pub use webhook::{EventError, LineEvent, Source, Webhook, WebhookError};
