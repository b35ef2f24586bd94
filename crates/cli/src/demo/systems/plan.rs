use std::time::Duration;

use mainstem_domain::configuration::{ChannelKind, Configuration};
use mainstem_domain::person::Business;
use mainstem_domain::{BrandId, ChannelId, StoreId};
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::{Claim, Plan, Post, SHOP, Shape, Told};

/// A till sends what it has gathered, at most so many at once.
const TILL_BATCH: usize = 8;

/// A counter and the till that serves it.
struct Counter {
    till: ChannelId,
    store: StoreId,
    brand: Option<BrandId>,
}

struct Planner<'a> {
    draws: ChaCha8Rng,
    shop: ChannelId,
    phones: Vec<&'a ChannelId>,
    counters: Vec<Counter>,
    brands: Vec<&'a BrandId>,
    members: u32,
    /// Orders that were placed and are not yet paid, with their members.
    unpaid: Vec<(String, u32)>,
    /// Receipts that nobody has claimed.
    receipts: Vec<String>,
    made: Plan,
}

/// Plans so many events over so many minutes of the clock, evenly. The same seed gives the same
/// events with the same ids.
pub(in crate::demo) fn plan(
    seed: u64,
    events: u64,
    minutes: u32,
    example: &Configuration,
) -> anyhow::Result<Plan> {
    let of_kind = |kind| {
        let channels = example.channels.iter().filter(move |(_, channel)| channel.kind == kind);
        channels.map(|(id, _)| id)
    };
    let mut planner = Planner {
        draws: ChaCha8Rng::seed_from_u64(seed),
        shop: SHOP.parse()?,
        phones: of_kind(ChannelKind::Phone).collect(),
        counters: counters(example, &of_kind(ChannelKind::Till).collect::<Vec<_>>()),
        brands: example.brands.keys().collect(),
        members: 0,
        unpaid: Vec::new(),
        receipts: Vec::new(),
        made: Plan::default(),
    };
    for number in 0..events {
        let share = at_share(number, events);
        planner.one(number, Duration::from_mins(minutes.into()).mul_f64(share));
    }
    let mut made = planner.made;
    for (channel, posts) in &mut made.lanes {
        match example.channels.get(channel).map(|channel| channel.kind) {
            Some(ChannelKind::Till) => *posts = gathered(std::mem::take(posts)),
            Some(ChannelKind::Phone) => {
                for post in posts.iter_mut() {
                    post.shape = Shape::Binary;
                }
            }
            Some(ChannelKind::Line | ChannelKind::Shop) | None => {}
        }
    }
    Ok(made)
}

/// How far the day is at this event, from 0 to 1.
pub(super) fn at_share(number: u64, of: u64) -> f64 {
    let part = |count: u64| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    part(number) / part(of.max(1))
}

/// Every store with the till of its city: `till-taipei` serves `taipei-01`.
fn counters(example: &Configuration, tills: &[&ChannelId]) -> Vec<Counter> {
    let serves = |store: &StoreId| {
        let (city, _) = store.as_str().rsplit_once('-')?;
        tills.iter().find(|till| till.as_str() == format!("till-{city}"))
    };
    let brand = |store: &StoreId| {
        let counter =
            example.channels.values().find(|channel| channel.store.as_ref() == Some(store));
        counter.and_then(|channel| channel.brand.clone())
    };
    let stores = example.stores.keys().filter_map(|store| {
        let till = (*serves(store)?).clone();
        Some(Counter { till, store: store.clone(), brand: brand(store) })
    });
    stores.collect()
}

impl Planner<'_> {
    fn one(&mut self, number: u64, due: Duration) {
        match self.draws.random_range(0..100) {
            0..14 => self.sign_up(number, due),
            14..36 => self.order(number, due),
            36..46 => self.pay(number, due),
            46..72 => self.till(number, due),
            72..80 => self.claim(number, due),
            80..90 => self.visit(number, due),
            _ => self.call(number, due),
        }
    }

    fn shop(&mut self, due: Duration, id: String, kind: Business, data: Value) {
        let shop = self.shop.clone();
        self.made.add(&mut self.draws, &shop, due, Told { id, kind, time: None, data });
    }

    fn brand(&mut self) -> &str {
        self.brands.choose(&mut self.draws).map_or("", |brand| brand.as_str())
    }

    /// Somebody who has signed up already, if anybody has.
    fn member(&mut self) -> Option<u32> {
        (self.members > 0).then(|| self.draws.random_range(0..self.members))
    }

    fn sign_up(&mut self, number: u64, due: Duration) {
        let member = self.members;
        self.members += 1;
        let mut identifiers = vec![membership(member), email(member)];
        if self.draws.random_ratio(1, 2) {
            identifiers.push(phone(member));
        }
        let data = json!({"identifiers": identifiers, "language": "zh-Hant"});
        self.shop(due, format!("sign-up-{number}"), Business::MemberSignedUp, data);
    }

    fn order(&mut self, number: u64, due: Duration) {
        let order = format!("W{number:07}");
        let member = self.member().filter(|_| self.draws.random_ratio(4, 5));
        let identifiers = match member {
            Some(member) => vec![membership(member), email(member)],
            None => vec![format!("cookie:web-{number:07}")],
        };
        if let Some(member) = member {
            self.unpaid.push((order.clone(), member));
        }
        let total = self.draws.random_range(8..400) * 100;
        let data = json!({
            "identifiers": identifiers, "brand": self.brand(),
            "order": order, "total": total, "currency": "TWD",
        });
        self.shop(due, format!("order-{number}"), Business::OrderPlaced, data);
    }

    fn pay(&mut self, number: u64, due: Duration) {
        if self.unpaid.is_empty() {
            return self.order(number, due);
        }
        let index = self.draws.random_range(0..self.unpaid.len());
        let (order, member) = self.unpaid.swap_remove(index);
        let kind = match self.draws.random_range(0..10) {
            0 => Business::OrderCancelled,
            1 => Business::OrderReturned,
            _ => Business::OrderPaid,
        };
        let data = json!({"identifiers": [membership(member)], "order": order});
        self.shop(due, format!("order-news-{number}"), kind, data);
    }

    fn till(&mut self, number: u64, due: Duration) {
        let receipt = format!("R{number:07}");
        let member = self.member().filter(|_| self.draws.random_ratio(2, 5));
        let identifier = if let Some(member) = member {
            membership(member)
        } else {
            self.receipts.push(receipt.clone());
            format!("external:receipt:{receipt}")
        };
        let total = self.draws.random_range(3..900) * 100;
        let Some(counter) = self.counters.choose(&mut self.draws) else { return };
        let data = json!({
            "identifiers": [identifier], "brand": counter.brand, "store": counter.store,
            "receipt": receipt, "total": total, "currency": "TWD",
        });
        let id = format!("sale-{number}");
        let told = Told { id, kind: Business::OrderPlaced, time: None, data };
        self.made.add(&mut self.draws, &counter.till, due, told);
    }

    /// A member types in the number of a receipt.
    fn claim(&mut self, number: u64, due: Duration) {
        let Some(member) = self.member().filter(|_| !self.receipts.is_empty()) else {
            return self.till(number, due);
        };
        let index = self.draws.random_range(0..self.receipts.len());
        let receipt = format!("external:receipt:{}", self.receipts.swap_remove(index));
        let (event, member) = (format!("claim-{number}"), membership(member));
        let data = json!({"identifiers": [member, receipt]});
        self.shop(due, event.clone(), Business::MemberUpdated, data);
        self.made.claims.push(Claim { event, member, receipt });
    }

    fn visit(&mut self, number: u64, due: Duration) {
        let Some(member) = self.member() else { return self.sign_up(number, due) };
        let Some(counter) = self.counters.choose(&mut self.draws) else { return };
        let data = json!({
            "identifiers": [membership(member)], "brand": counter.brand, "store": counter.store,
        });
        let id = format!("visit-{number}");
        let told = Told { id, kind: Business::StoreVisited, time: None, data };
        self.made.add(&mut self.draws, &counter.till, due, told);
    }

    fn call(&mut self, number: u64, due: Duration) {
        let caller = self.draws.random_range(0..=self.members.saturating_mul(2));
        let Some(desk) = self.phones.choose(&mut self.draws) else { return };
        let data =
            json!({"identifiers": [phone(caller)], "brand": null, "seconds": 60 + number % 300});
        let id = format!("call-{number}");
        let told = Told { id, kind: Business::CallReceived, time: None, data };
        self.made.add(&mut self.draws, desk, due, told);
    }
}

fn membership(number: u32) -> String {
    format!("member:M{number:06}")
}

fn email(number: u32) -> String {
    format!("email:member{number}@example.com")
}

fn phone(number: u32) -> String {
    format!("phone:+88691{number:07}")
}

/// Neighbours in one POST, sent when the last of them has happened.
fn gathered(posts: Vec<Post>) -> Vec<Post> {
    let mut gathered: Vec<Post> = Vec::new();
    for (number, post) in posts.into_iter().enumerate() {
        match gathered.last_mut().filter(|_| !number.is_multiple_of(TILL_BATCH)) {
            Some(last) => {
                last.due = post.due;
                last.told.extend(post.told);
            }
            None => gathered.push(Post { shape: Shape::Batch, ..post }),
        }
    }
    gathered
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn example() -> Configuration {
        crate::tree::merge(&crate::demo::stage::example()).unwrap()
    }

    #[test]
    fn a_seed_is_a_day_of_all_systems() {
        let example = example();
        let day = plan(7, 1_000, 10, &example).unwrap();
        assert_eq!(day, plan(7, 1_000, 10, &example).unwrap());
        assert_ne!(day, plan(8, 1_000, 10, &example).unwrap());
        assert_eq!(day.events(), 1_000);
        let channels: Vec<_> = day.lanes.keys().map(ChannelId::as_str).collect();
        assert_eq!(channels.len(), 10, "{channels:?}");
        let told: Vec<_> = day.lanes.values().flatten().flat_map(|post| &post.told).collect();
        assert_eq!(told.iter().map(|told| &told.id).collect::<BTreeSet<_>>().len(), 1_000);
        let kinds: BTreeSet<_> = told.iter().map(|told| told.kind.name()).collect();
        for kind in [
            "order-placed",
            "order-paid",
            "member-signed-up",
            "member-updated",
            "store-visited",
            "call-received",
            "order-cancelled",
            "order-returned",
        ] {
            assert!(kinds.contains(kind), "{kind}");
        }
        let shapes: Vec<_> = day.lanes.values().flatten().map(|post| post.shape).collect();
        for shape in [Shape::Binary, Shape::Structured, Shape::Batch] {
            assert!(shapes.contains(&shape), "{shape:?}");
        }
        assert!(day.lanes.values().flatten().any(|post| post.again));
    }

    #[test]
    fn every_channel_tells_in_the_order_of_time_and_only_what_it_may_say_for_sure() {
        let day = plan(7, 1_000, 10, &example()).unwrap();
        for (channel, posts) in &day.lanes {
            assert!(posts.is_sorted_by_key(|post| post.due), "{channel}");
            assert!(posts.iter().all(|post| post.due < Duration::from_mins(10)));
            assert!(posts.iter().all(|post| {
                (1..=TILL_BATCH).contains(&post.told.len())
                    && (post.told.len() == 1 || post.shape == Shape::Batch)
            }));
        }
    }

    #[test]
    fn a_receipt_is_claimed_once_by_a_member_and_was_somebodys() {
        let day = plan(7, 1_000, 10, &example()).unwrap();
        assert!(day.claims.len() > 30);
        let receipts: BTreeSet<_> = day.claims.iter().map(|claim| &claim.receipt).collect();
        assert_eq!(receipts.len(), day.claims.len());
        let told: Vec<_> = day.lanes.values().flatten().flat_map(|post| &post.told).collect();
        for claim in &day.claims {
            let carries = |told: &&&Told| {
                told.data["identifiers"].as_array().unwrap().contains(&json!(claim.receipt))
            };
            let by: Vec<_> = told.iter().filter(carries).map(|told| told.kind).collect();
            assert_eq!(by.len(), 2, "{claim:?}");
            assert!(by.contains(&Business::OrderPlaced) && by.contains(&Business::MemberUpdated));
        }
    }
}
