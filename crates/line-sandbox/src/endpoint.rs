use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Way;

/// One kind of call to LINE. Limits, faults and figures are told apart by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    /// Answers an event.
    Reply,
    /// Writes to one person, group or room.
    Push,
    /// Writes to up to 500 people.
    Multicast,
    /// Writes to those who fit a description, in its own time.
    Narrowcast,
    /// Writes to all friends.
    Broadcast,
    /// Checks messages and sends none.
    Validate,
    /// How far a narrowcast is.
    NarrowcastProgress,
    /// The month's quota.
    Quota,
    /// What is used of it.
    QuotaConsumption,
    /// Who a person is.
    Profile,
    /// The ids of all friends.
    Followers,
    /// What a person sent that is no text.
    Content,
    /// Begins the joining of a person with an account of ours.
    LinkToken,
    /// Shows a person that an answer is on its way.
    Loading,
    /// Who the account is.
    BotInfo,
    /// Where the account's webhooks go.
    WebhookEndpoint,
}

impl Endpoint {
    /// Its name in plans and figures.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reply => "reply",
            Self::Push => "push",
            Self::Multicast => "multicast",
            Self::Narrowcast => "narrowcast",
            Self::Broadcast => "broadcast",
            Self::Validate => "validate",
            Self::NarrowcastProgress => "narrowcast_progress",
            Self::Quota => "quota",
            Self::QuotaConsumption => "quota_consumption",
            Self::Profile => "profile",
            Self::Followers => "followers",
            Self::Content => "content",
            Self::LinkToken => "link_token",
            Self::Loading => "loading",
            Self::BotInfo => "bot_info",
            Self::WebhookEndpoint => "webhook_endpoint",
        }
    }

    /// So many calls in such a time are taken of one channel.
    pub(crate) fn limit(self) -> (u32, Duration) {
        match self {
            Self::Multicast => (200, Duration::from_secs(1)),
            Self::Loading => (100, Duration::from_secs(1)),
            Self::Narrowcast | Self::Broadcast => (60, Duration::from_hours(1)),
            Self::Reply
            | Self::Push
            | Self::Validate
            | Self::NarrowcastProgress
            | Self::Quota
            | Self::QuotaConsumption
            | Self::Profile
            | Self::Followers
            | Self::Content
            | Self::LinkToken
            | Self::BotInfo
            | Self::WebhookEndpoint => (2_000, Duration::from_secs(1)),
        }
    }

    /// In which way it sends messages; `None`: it sends none.
    pub(crate) fn way(self) -> Option<Way> {
        match self {
            Self::Reply => Some(Way::Reply),
            Self::Push => Some(Way::Push),
            Self::Multicast => Some(Way::Multicast),
            Self::Narrowcast => Some(Way::Narrowcast),
            Self::Broadcast => Some(Way::Broadcast),
            Self::Validate
            | Self::NarrowcastProgress
            | Self::Quota
            | Self::QuotaConsumption
            | Self::Profile
            | Self::Followers
            | Self::Content
            | Self::LinkToken
            | Self::Loading
            | Self::BotInfo
            | Self::WebhookEndpoint => None,
        }
    }
}
