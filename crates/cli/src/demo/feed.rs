//! All that the demo sends, planned whole before it starts, and what is asked at its end.

use std::collections::BTreeMap;
use std::path::Path;

use mainstem_domain::ChannelId;
use mainstem_domain::configuration::Configuration;
use serde::Serialize;

use super::bodies::Bodies;
use super::systems::{self, Claim, Invoices, Plan};
use crate::report::Tally;

/// Of 100 events so many are LINE's; the rest is told by the web shop, the tills and the phone desk.
const LINE_PERCENT: u64 = 70;
/// So many events happen in a minute of the clock: about as many as this build goes through on two
/// cores without a queue, so that answers come while they are still replies.
const EVENTS_PER_MINUTE: u64 = if cfg!(debug_assertions) { 120 } else { 400 };

/// What is sent on the day.
pub(super) struct Feed {
    pub(super) seed: u64,
    pub(super) line_events: u64,
    pub(super) minutes: u32,
    pub(super) systems: Plan,
    pub(super) bodies: Bodies,
    invoices: Option<Invoices>,
    retail_claims: Vec<Claim>,
}

/// What came of the invoices, as the streams tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Orders {
    /// Invoices that were fed.
    pub(super) invoices: u64,
    /// Of these, on CUSTOMER.
    pub(super) placed: u64,
    /// Claims on CUSTOMER: a member says that a receipt is theirs.
    pub(super) claimed: u64,
    /// Of these, those whose receipt is that member's now.
    pub(super) attached: u64,
}

/// Folders of real inputs, if any.
#[derive(Clone, Copy, Default)]
pub(super) struct Folders<'a> {
    pub(super) orders: Option<&'a Path>,
    pub(super) webhooks: Option<&'a Path>,
}

impl Feed {
    /// Reads what is to be read and plans the rest.
    ///
    /// # Errors
    /// A folder that cannot be read, by its file.
    pub(super) fn plan(
        seed: u64,
        events: u64,
        folders: Folders<'_>,
        example: &Configuration,
    ) -> anyhow::Result<Self> {
        let invoices = folders.orders.map(Invoices::read).transpose()?;
        let bodies = folders.webhooks.map(Bodies::read).transpose()?.unwrap_or_default();
        let line_events = (events * LINE_PERCENT).div_ceil(100);
        let minutes = u32::try_from(events.div_ceil(EVENTS_PER_MINUTE))?;
        let mut systems = systems::plan(seed, events - line_events, minutes, example)?;
        let mut retail_claims = Vec::new();
        if let Some(invoices) = &invoices {
            let orders = invoices.plan(seed, minutes, example)?;
            retail_claims.clone_from(&orders.claims);
            systems = systems.and(orders);
        }
        Ok(Self { seed, line_events, minutes, systems, bodies, invoices, retail_claims })
    }

    /// How many events and bodies there are, without second ones.
    pub(super) fn count(&self) -> u64 {
        let others = self.systems.events() + self.bodies.len();
        self.line_events + u64::try_from(others).unwrap_or(u64::MAX)
    }

    /// A tally that can tell who owns what was claimed.
    pub(super) fn tally(&self) -> Tally {
        let claims = &self.systems.claims;
        Tally::asking(claims.iter().flat_map(|claim| [claim.member.clone(), claim.receipt.clone()]))
    }

    /// What came of all claims, and of the invoices where they were fed.
    pub(super) fn outcome(&self, tally: &Tally) -> (Orders, Option<Orders>) {
        let shop = systems::SHOP.to_owned();
        let claims = |claims: &[Claim]| {
            let on_customer =
                |claim: &&Claim| tally.is_placed(&(shop.clone(), claim.event.clone()));
            let placed = claims.iter().filter(on_customer);
            let attached =
                placed.clone().filter(|claim| tally.together(&claim.member, &claim.receipt));
            (number(placed.count()), number(attached.count()))
        };
        let (claimed, attached) = claims(&self.systems.claims);
        let all = Orders { invoices: 0, placed: 0, claimed, attached };
        let retail = self.invoices.as_ref().map(|invoices| {
            let (claimed, attached) = claims(&self.retail_claims);
            let on_customer =
                self.invoice_sources().filter(|source| tally.is_placed(source)).count();
            Orders {
                invoices: number(invoices.len()),
                placed: number(on_customer),
                claimed,
                attached,
            }
        });
        (all, retail)
    }

    /// Where each invoice was told, and by which id.
    fn invoice_sources(&self) -> impl Iterator<Item = (String, String)> {
        let told = |(channel, posts): (&ChannelId, &Vec<systems::Post>)| {
            let channel = channel.to_string();
            let ids: Vec<_> =
                posts.iter().flat_map(|post| &post.told).map(|told| told.id.clone()).collect();
            ids.into_iter().map(move |id| (channel.clone(), id))
        };
        let all = self.systems.lanes.iter().flat_map(told);
        all.filter(|(_, id)| id.starts_with(systems::INVOICE))
    }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Keys with which the other systems sign.
pub(super) fn keys(secret: &super::files::Secret, plan: &Plan) -> BTreeMap<ChannelId, String> {
    let key = |channel: &ChannelId| (channel.clone(), super::files::source_key(secret, channel));
    plan.lanes.keys().map(key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_is_as_large_as_asked_and_the_same_for_a_seed() {
        let example = crate::tree::merge(&super::super::stage::example()).unwrap();
        let plan = |seed, events| Feed::plan(seed, events, Folders::default(), &example).unwrap();
        for events in [1, 10, 101, 1_000] {
            assert_eq!(plan(7, events).count(), events);
        }
        assert_eq!(plan(7, 500).systems, plan(7, 500).systems);
        assert!(plan(7, 1_000).line_events >= 700);
        let asked = plan(7, 1_000).systems.claims;
        assert!(!asked.is_empty());
    }
}
