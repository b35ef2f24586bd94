//! What a person did on a channel, as the deciders see it.

use serde::{Deserialize, Serialize};

use crate::identifier::Identifier;
use crate::{At, BrandId, ChannelId, EventId, StoreId};

/// One event of one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelEvent {
    /// The source's id of the event; the same in every delivery of it.
    pub id: EventId,
    /// Where it came in.
    pub channel: ChannelId,
    /// The channel's store, if it has one.
    pub store: Option<StoreId>,
    /// The channel's brand, if it has one.
    pub brand: Option<BrandId>,
    /// What happened.
    pub act: Act,
    /// Who it was; empty when nobody can be told (groups without consent, account-wide events).
    pub identifiers: Vec<Identifier>,
    /// When it happened, by the source's clock.
    pub occurred_at: At,
    /// When ingress took it.
    pub received_at: At,
    /// The right to answer it for free, if it has one.
    pub reply_token: Option<String>,
}

/// What happened on the channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// The person wrote.
    Text(String),
    /// The person tapped a menu or a button; the data that the tap carries.
    Postback(String),
    /// The person became a friend of the account.
    Follow,
    /// The person blocked the account.
    Unfollow,
    /// Anything else; it is kept and passed on, and decides nothing yet.
    Other,
}

/// Where one person can be reached: one user of one channel.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Address {
    /// The channel.
    pub channel: ChannelId,
    /// The user id that the channel's vendor gave.
    pub user: String,
}

/// The right to answer one delivery of an event, once, for about a minute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplyRight {
    /// LINE's reply token.
    pub token: String,
    /// When ingress took the delivery that carried it.
    pub received_at: At,
}
