//! What conditions look at, by the names at the head of [`condition`](super::condition).

use std::fmt;

use cel::common::types::CelString;
use cel::common::value::CowVal;
use cel::context::VariableResolver;

use super::ChannelKind;
use crate::person::{Act, ChannelEvent};
use crate::{At, BrandId, StaffId, StoreId};

pub(super) const VARIABLES: [&str; 14] = [
    "event.type",
    "event.text",
    "event.postback",
    "event.menu",
    "event.brand",
    "event.store",
    "channel.id",
    "channel.kind",
    "channel.mode",
    "brand",
    "customer.purchase",
    "binding.staff",
    "binding.store",
    "conversation.state",
];

/// What a customer bought. It is looked up when a condition asks for it: few do, and among millions of
/// people a look costs more than most conditions.
pub trait Bought: fmt::Debug + Sync {
    /// The brand that was bought of last.
    fn last(&self) -> Option<&BrandId>;
}

/// What conditions look at.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The event.
    pub event: &'a ChannelEvent,
    /// What its channel is.
    pub kind: ChannelKind,
    /// When it is decided.
    pub at: At,
    /// The brand that it is about.
    pub brand: Option<&'a BrandId>,
    /// The brand that the customer bought of last.
    pub purchase: Option<&'a dyn Bought>,
    /// The salesperson that the customer is bound to.
    pub staff: Option<&'a StaffId>,
    /// Where.
    pub store: Option<&'a StoreId>,
    /// Where the conversation stands; empty when there is none.
    pub conversation: &'static str,
}

impl<'a> Facts<'a> {
    /// An event of somebody of whom nothing is known.
    #[must_use]
    pub fn of(event: &'a ChannelEvent, kind: ChannelKind, at: At) -> Self {
        let (purchase, staff, store) = (None, None, None);
        let brand = event.brand.as_ref();
        Self { event, kind, at, brand, purchase, staff, store, conversation: "" }
    }

    pub(super) fn postback(&self) -> &'a str {
        match &self.event.act {
            Act::Postback(data) => data,
            Act::Text(_)
            | Act::Follow
            | Act::Unfollow
            | Act::Media(_)
            | Act::Unsend(_)
            | Act::Business(_)
            | Act::Other => "",
        }
    }

    /// One of [`VARIABLES`], by its place there.
    pub(super) fn variable(&self, place: usize) -> &'a str {
        match place {
            0 => self.event.act.name(),
            1 => self.text(),
            2 => self.postback(),
            3 => parameter(self.postback(), "menu").unwrap_or_default(),
            4 => self.event.brand.as_ref().map_or("", BrandId::as_str),
            5 => self.event.store.as_ref().map_or("", StoreId::as_str),
            6 => self.event.channel.as_str(),
            7 => self.kind.name(),
            8 => self.event.mode.name(),
            9 => self.brand.map_or("", BrandId::as_str),
            10 => self.purchase.and_then(Bought::last).map_or("", BrandId::as_str),
            11 => self.staff.map_or("", StaffId::as_str),
            12 => self.store.map_or("", StoreId::as_str),
            13 => self.conversation,
            _ => "",
        }
    }

    fn text(&self) -> &'a str {
        match &self.event.act {
            Act::Text(text) => text,
            Act::Postback(_)
            | Act::Follow
            | Act::Unfollow
            | Act::Media(_)
            | Act::Unsend(_)
            | Act::Business(_)
            | Act::Other => "",
        }
    }
}

/// Dotted names are variables of their own: with maps in their place, an expression could see the
/// order of a map, which is not the same on every run.
impl VariableResolver for Facts<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let place = VARIABLES.iter().position(|known| *known == variable)?;
        Some(CowVal::owned(CelString::from(self.variable(place))))
    }
}

/// A parameter of postback data such as `menu=repair&brand=aurora`.
#[must_use]
pub fn parameter<'a>(data: &'a str, name: &str) -> Option<&'a str> {
    data.split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}
