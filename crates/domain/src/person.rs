//! What a person did on a channel, as the deciders see it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use smol_str::SmolStr;

use crate::configuration::Mode;
use crate::identifier::Identifier;
use crate::{At, AttributeName, BrandId, ChannelId, EventId, Means, Purpose, StoreId};

/// One event of one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelEvent {
    /// The source's id of the event; the same in every delivery of it.
    pub id: EventId,
    /// Where it came in.
    pub channel: ChannelId,
    /// How the channel was run when the event came in; its answers keep to that.
    pub mode: Mode,
    /// The store it happened in: what the event says, else the channel's, if it has one.
    pub store: Option<StoreId>,
    /// The brand it is about: what the event says, else the channel's, if it has one.
    pub brand: Option<BrandId>,
    /// What happened.
    pub act: Act,
    /// Who it was; empty when nobody can be told (groups without consent, account-wide events).
    pub sightings: Vec<Sighting>,
    /// When it happened, by the source's clock.
    pub occurred_at: At,
    /// When ingress took it.
    pub received_at: At,
    /// The right to answer it for free, if it has one.
    pub reply_token: Option<String>,
    /// What it says about the person; each name once.
    pub attributes: Vec<Attribute>,
    /// What the person allowed or refused by it; each channel and purpose once.
    pub consents: Vec<Consent>,
    /// The source's id of the message that was sent or edited, if it was one.
    pub message: Option<Box<str>>,
}

/// Something that an event says about its person.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Attribute {
    /// What it is, e.g. `birth-date`.
    pub name: AttributeName,
    /// Its value as the source wrote it: 1 to 256 characters, none of them a control character.
    pub value: String,
    /// Told by the source that owns attributes of this name; otherwise only asserted.
    pub verified: bool,
}

/// Whether a person wants to hear something somewhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Consent {
    /// By which means, e.g. `line` or `email`.
    pub means: Means,
    /// What for, e.g. `marketing`.
    pub purpose: Purpose,
    /// Yes or no.
    pub answer: Answer,
}

/// What a person answered when asked for a consent. Who never answered is unknown, which is less
/// than either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// Yes.
    Granted,
    /// No. Stricter than yes.
    Refused,
}

/// One identifier that an event carried.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sighting {
    /// The identifier.
    pub identifier: Identifier,
    /// Signed by the source that owns identifiers of this kind; otherwise only asserted.
    pub verified: bool,
}

/// What a thing hangs on: the strongest identifier of the event that it came from, as the first 64
/// bits of the SHA-256 of its text, written as 16 hexadecimal digits.
///
/// When a customer is split, the thing goes where that identifier goes. It tells so without
/// carrying the identifier itself to whoever sees the thing, e.g. an item on a queue; whoever knows
/// an identifier can tell what hangs on it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Carrier(u64);

/// Why a text is no carrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 16 hexadecimal digits in lower case")]
pub struct NoCarrier;

impl Carrier {
    /// What hangs on this identifier.
    #[must_use]
    pub fn of(identifier: &Identifier) -> Self {
        let digest = Sha256::digest(identifier.to_string());
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        Self(u64::from_be_bytes(first))
    }

    /// What comes of this event hangs on its strongest identifier: verified before asserted, then
    /// by rank, then as they stand in the event. Nothing, when it has none.
    #[must_use]
    pub fn of_event(event: &ChannelEvent) -> Option<Self> {
        let strongest = event
            .sightings
            .iter()
            .min_by_key(|sighting| (!sighting.verified, sighting.identifier.kind().rank()));
        strongest.map(|sighting| Self::of(&sighting.identifier))
    }
}

impl fmt::Display for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Carrier {
    type Err = NoCarrier;

    fn from_str(text: &str) -> Result<Self, NoCarrier> {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 16 || !text.bytes().all(digit) {
            return Err(NoCarrier);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| NoCarrier)
    }
}

impl TryFrom<String> for Carrier {
    type Error = NoCarrier;
    fn try_from(text: String) -> Result<Self, NoCarrier> {
        text.parse()
    }
}

impl From<Carrier> for String {
    fn from(carrier: Carrier) -> String {
        carrier.to_string()
    }
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
    /// The person sent a picture, a video, a sound or a file: the name of its content in the object
    /// bucket.
    Media(String),
    /// The person took a message back: the source's id of it.
    Unsend(String),
    /// What a shop, a till, a phone desk or another system tells.
    Business(Business),
    /// Anything else; it is kept and passed on, and decides nothing yet.
    Other,
}

/// What a shop, a till, a phone desk or another system tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Business {
    /// Somebody ordered.
    OrderPlaced,
    /// An order was paid.
    OrderPaid,
    /// An order is under way.
    OrderShipped,
    /// An order was cancelled.
    OrderCancelled,
    /// An order came back.
    OrderReturned,
    /// Somebody looked at a page.
    PageViewed,
    /// Somebody clicked on an item.
    ItemClicked,
    /// Somebody became a member.
    MemberSignedUp,
    /// Something about a member changed, or became known.
    MemberUpdated,
    /// Somebody called the phone desk.
    CallReceived,
    /// Somebody came into a store.
    StoreVisited,
    /// Somebody of the staff wrote.
    StaffMessage,
}

impl Business {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::OrderPlaced,
        Self::OrderPaid,
        Self::OrderShipped,
        Self::OrderCancelled,
        Self::OrderReturned,
        Self::PageViewed,
        Self::ItemClicked,
        Self::MemberSignedUp,
        Self::MemberUpdated,
        Self::CallReceived,
        Self::StoreVisited,
        Self::StaffMessage,
    ];

    /// Its name in `ce-type`, in rules and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OrderPlaced => "order-placed",
            Self::OrderPaid => "order-paid",
            Self::OrderShipped => "order-shipped",
            Self::OrderCancelled => "order-cancelled",
            Self::OrderReturned => "order-returned",
            Self::PageViewed => "page-viewed",
            Self::ItemClicked => "item-clicked",
            Self::MemberSignedUp => "member-signed-up",
            Self::MemberUpdated => "member-updated",
            Self::CallReceived => "call-received",
            Self::StoreVisited => "store-visited",
            Self::StaffMessage => "staff-message",
        }
    }

    /// The one with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether it says that the person bought of the event's brand.
    #[must_use]
    pub fn is_purchase(self) -> bool {
        matches!(self, Self::OrderPlaced | Self::OrderPaid | Self::OrderShipped)
    }
}

impl Act {
    /// Its name in rules and in reports.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Postback(_) => "postback",
            Self::Follow => "follow",
            Self::Unfollow => "unfollow",
            Self::Media(_) => "media",
            Self::Unsend(_) => "unsend",
            Self::Business(kind) => kind.name(),
            Self::Other => "other",
        }
    }
}

/// Where one person can be reached: one user of one channel.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Address {
    /// The channel.
    pub channel: ChannelId,
    /// The user id that the channel's vendor gave.
    pub user: SmolStr,
}

/// The right to answer one delivery of an event, once, for about a minute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplyRight {
    /// LINE's reply token.
    pub token: String,
    /// When ingress took the delivery that carried it.
    pub received_at: At,
}
