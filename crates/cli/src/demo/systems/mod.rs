//! What the web shop, the tills and the phone desk tell.
//!
//! Planned whole before the day starts ([`mod@plan`], [`orders`]), then told over HTTP ([`send`]):
//! CloudEvents, signed by the Standard Webhooks scheme.

mod orders;
mod plan;
mod send;

use std::collections::BTreeMap;
use std::time::Duration;

use mainstem_domain::ChannelId;
use mainstem_domain::person::Business;
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

pub(super) use orders::Invoices;
pub(super) use plan::plan;
pub(super) use send::Teller;

/// What the id of an invoice's event begins with.
pub(super) const INVOICE: &str = "invoice-";

/// The web shop's channel in the example.
pub(super) const SHOP: &str = "shop-web";

/// Everything that other systems tell on a day.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// What each channel tells, in order.
    pub(super) lanes: BTreeMap<ChannelId, Vec<Post>>,
    /// Receipts that a member claims later.
    pub(super) claims: Vec<Claim>,
}

/// One POST.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Post {
    /// When it is sent, counted from the start of the day.
    pub(super) due: Duration,
    pub(super) shape: Shape,
    /// It is sent a second time, under another webhook id.
    pub(super) again: bool,
    pub(super) told: Vec<Told>,
}

/// How CloudEvents stand in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Attributes in headers, data in the body; one event.
    Binary,
    /// All of it in the body; one event.
    Structured,
    /// A list of structured ones.
    Batch,
}

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Told {
    /// The source's own id of it.
    pub(super) id: String,
    pub(super) kind: Business,
    /// When it happened, if not when it is told; RFC 3339.
    pub(super) time: Option<String>,
    pub(super) data: Value,
}

/// A member says that a receipt is theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    /// The id of the event that says so, on the web shop's channel.
    pub(super) event: String,
    pub(super) member: String,
    pub(super) receipt: String,
}

/// Of 100 posts that were taken so many are sent a second time.
const AGAIN_PERCENT: u32 = 5;

impl Plan {
    fn add(&mut self, draws: &mut ChaCha8Rng, channel: &ChannelId, due: Duration, told: Told) {
        let again = draws.random_ratio(AGAIN_PERCENT, 100);
        let post = Post { due, shape: Shape::Structured, again, told: vec![told] };
        self.lanes.entry(channel.clone()).or_default().push(post);
    }

    /// Both together, each channel in the order of time.
    pub(super) fn and(mut self, other: Self) -> Self {
        for (channel, posts) in other.lanes {
            let lane = self.lanes.entry(channel).or_default();
            lane.extend(posts);
            lane.sort_by_key(|post| post.due);
        }
        self.claims.extend(other.claims);
        self
    }

    /// How many events there are, without second ones.
    pub(super) fn events(&self) -> usize {
        self.lanes.values().flatten().map(|post| post.told.len()).sum()
    }
}
