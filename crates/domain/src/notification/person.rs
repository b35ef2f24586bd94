//! What notification remembers of one person.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use smol_str::SmolStr;

use super::event::Portion;
use crate::configuration::{Budget, QuietHours, Zone};
use crate::person::{Address, Answer, Carrier};
use crate::{At, ChannelId, ItemId, Language};

/// Where somebody can be reached, how, and how much they were disturbed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Person {
    /// The one that was learned last is the last.
    pub(super) places: SmallVec<[Place; 1]>,
    pub(super) consent: Option<Consent>,
    /// By the moment they were decided, then by item.
    pub(super) pushes: SmallVec<[Push; 1]>,
    /// What was asked for and is still remembered, in the order of the ids.
    pub(super) deliveries: SmallVec<[ItemId; 1]>,
    /// Never of one who has none of it.
    rare: Option<Box<Rare>>,
}

/// What is remembered of few: it stands apart, so that a million others need no room for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Rare {
    pub(super) told: Vec<Told>,
    pub(super) preferences: Preferences,
    /// Those of the person's deliveries that are deferred, in the same order.
    pub(super) deferred: Vec<ItemId>,
    /// Some parts of it were read, and more follow.
    pub(super) parted: bool,
}

static NOTHING_RARE: Rare = Rare::NONE;

impl Rare {
    const NONE: Self = Self {
        told: Vec::new(),
        preferences: Preferences { marketing: None, language: None, zone: None, quiet_hours: None },
        deferred: Vec::new(),
        parted: false,
    };

    fn hear(&mut self, told: Told) {
        let of_same = |known: &Told| {
            known.carrier == told.carrier
                && std::mem::discriminant(&known.what) == std::mem::discriminant(&told.what)
        };
        self.told.retain(|known| !of_same(known));
        self.told.push(told);
    }

    fn absorb(&mut self, other: Self) {
        // The survivor's own are the last.
        let own = std::mem::replace(&mut self.told, other.told);
        for told in own {
            self.hear(told);
        }
        let own = std::mem::take(&mut self.preferences);
        self.preferences = Preferences::merged(own, other.preferences);
        self.deferred.extend(other.deferred);
        self.deferred.sort_unstable();
        self.deferred.dedup();
    }
}

/// A user of a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The channel.
    pub channel: ChannelId,
    /// The user id that its vendor gave.
    pub user: SmolStr,
    /// What it hangs on.
    pub carrier: Option<Carrier>,
    /// Whether the person blocked the account.
    pub blocked: bool,
    /// When the person last followed or blocked the account, by the vendor's clock.
    pub followed_at: Option<At>,
}

/// Something that the person's language or zone is known from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// What it hangs on.
    pub carrier: Carrier,
    /// What was told.
    pub what: Trait,
    /// Told by the source that owns it.
    pub verified: bool,
    /// When, by the source's clock.
    pub told_at: At,
}

/// What decides how and when somebody is spoken to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trait {
    /// In this language.
    Language(Language),
    /// It is this late where the person lives.
    Zone(Zone),
}

/// What the person last answered when asked for marketing messages, or said by follow and unfollow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    /// Yes or no.
    pub answer: Answer,
    /// When, by the source's clock.
    pub told_at: At,
}

/// What a person, or somebody for them, set; each is none, where nobody did.
///
/// When two people are merged, a refusal of either stands, and of the rest what the survivor has
/// set. When they are split, each piece has all of it: nobody knows for whom it was set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preferences {
    /// Whether the person wants marketing messages, besides what the consents say.
    pub marketing: Option<Answer>,
    /// In which language.
    pub language: Option<Language>,
    /// In which zone the day is meant.
    pub zone: Option<Zone>,
    /// When it is quiet, in place of the configured hours.
    pub quiet_hours: Option<QuietHours>,
}

/// A marketing message that went out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Push {
    /// When it was decided.
    pub at: At,
    /// The item.
    pub item: ItemId,
    /// What its address hangs on.
    pub carrier: Option<Carrier>,
    /// Whether the person did nothing since.
    pub unanswered: bool,
}

impl Consent {
    /// What holds when both were said by one person: the stricter; of the same, the later.
    #[must_use]
    pub fn strictest(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        let strictness = |consent: &Self| (consent.answer, consent.told_at);
        one.into_iter().chain(other).max_by_key(strictness)
    }

    /// What holds when this is told after what is known: only a later answer changes it; of the same
    /// moment, the stricter.
    #[must_use]
    pub fn news(known: Option<Self>, told: Self) -> bool {
        known.is_none_or(|known| (told.told_at, told.answer) > (known.told_at, known.answer))
    }
}

impl Preferences {
    pub(super) fn merged(survivor: Self, absorbed: Self) -> Self {
        Self {
            marketing: survivor.marketing.max(absorbed.marketing),
            language: survivor.language.or(absorbed.language),
            zone: survivor.zone.or(absorbed.zone),
            quiet_hours: survivor.quiet_hours.or(absorbed.quiet_hours),
        }
    }
}

impl Person {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn rare(&self) -> &Rare {
        self.rare.as_deref().unwrap_or(&NOTHING_RARE)
    }

    pub(super) fn change_rare(&mut self, change: impl FnOnce(&mut Rare)) {
        let mut rare = self.rare.take().unwrap_or_else(|| Box::new(Rare::NONE));
        change(&mut rare);
        self.rare = Some(rare).filter(|rare| **rare != Rare::NONE);
    }

    /// Where the person was seen last on a channel; one that is not blocked before those that are.
    #[must_use]
    pub fn place(&self, channel: &ChannelId) -> Option<&Place> {
        let there = || self.places.iter().filter(|place| place.channel == *channel);
        there().rfind(|place| !place.blocked).or_else(|| there().next_back())
    }

    /// All places, the one that was learned last being the last.
    #[must_use]
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// What was answered when asked for marketing messages.
    #[must_use]
    pub fn consent(&self) -> Option<Consent> {
        self.consent
    }

    /// What was set.
    #[must_use]
    pub fn preferences(&self) -> &Preferences {
        &self.rare().preferences
    }

    /// The person's language: what was set, else what was told; the verified, then the newest.
    #[must_use]
    pub fn language(&self) -> Option<Language> {
        let told = |told: &Told| match &told.what {
            Trait::Language(language) => Some(*language),
            Trait::Zone(_) => None,
        };
        self.rare().preferences.language.or_else(|| self.latest(told))
    }

    /// The person's zone, found likewise.
    #[must_use]
    pub fn zone(&self) -> Option<&Zone> {
        let told = |told: &'_ Told| matches!(told.what, Trait::Zone(_));
        let latest = self.rare().told.iter().filter(|one| told(one));
        let latest = latest.max_by_key(|told| (told.verified, told.told_at));
        let latest = latest.and_then(|told| match &told.what {
            Trait::Zone(zone) => Some(zone),
            Trait::Language(_) => None,
        });
        self.rare().preferences.zone.as_ref().or(latest)
    }

    fn latest<T>(&self, of: impl Fn(&Told) -> Option<T>) -> Option<T> {
        let told = self.rare().told.iter();
        let told = told.filter_map(|told| Some((told.verified, told.told_at, of(told)?)));
        told.max_by_key(|(verified, told_at, _)| (*verified, *told_at)).map(|(_, _, it)| it)
    }

    /// Whether the person refuses marketing messages.
    #[must_use]
    pub fn refuses_marketing(&self) -> bool {
        let refused = |answer: Option<Answer>| answer == Some(Answer::Refused);
        refused(self.rare().preferences.marketing)
            || refused(self.consent.map(|consent| consent.answer))
    }

    /// Whether the last two marketing messages both found no answer: then every span of the budget
    /// is twice as long.
    #[must_use]
    pub fn is_tired(&self) -> bool {
        matches!(&self.pushes[..], [.., one, two] if one.unanswered && two.unanswered)
    }

    /// How many marketing messages count in a span that ends now; one of exactly that age does not.
    #[must_use]
    pub fn pushes_within(&self, span: Duration, at: At) -> usize {
        self.pushes.iter().rev().take_while(|push| at.since(push.at) < span).count()
    }

    /// When the budget has room for one more: `at` itself, when it has now.
    #[must_use]
    pub fn room_at(&self, budgets: &[Budget], at: At) -> At {
        let rooms = budgets.iter().filter_map(|budget| {
            let span = self.span(budget);
            let over = self.pushes_within(span, at).checked_sub(usize::from(budget.at_most))?;
            // When the oldest of those that are too many has left the span.
            let counted = self.pushes.len() - self.pushes_within(span, at);
            self.pushes.get(counted + over).map(|push| push.at.after(span))
        });
        rooms.max().map_or(at, |room| room.max(at))
    }

    /// How long a span of the budget is for this person now.
    #[must_use]
    pub fn span(&self, budget: &Budget) -> Duration {
        budget.within.duration() * if self.is_tired() { 2 } else { 1 }
    }

    /// Remembers the last two, and whatever is younger than any span of a budget can be.
    pub(super) fn push(&mut self, push: Push) {
        let now = push.at;
        let place =
            self.pushes.partition_point(|known| (known.at, known.item) < (push.at, push.item));
        if self.pushes.get(place).is_some_and(|known| known.item == push.item) {
            self.pushes.remove(place);
        }
        self.pushes.insert(place, push);
        let old = self.pushes.len().saturating_sub(2);
        let old = self.pushes[..old].partition_point(|push| now.since(push.at) >= PUSHES_FOR);
        self.pushes.drain(..old);
    }

    /// Behind all others; what hung on the same is replaced.
    pub(super) fn learn(&mut self, place: Place) {
        self.places
            .retain(|known| (&known.channel, known.carrier) != (&place.channel, place.carrier));
        self.places.push(place);
    }

    /// Whether they blocked the account stays as it was known.
    pub(super) fn learn_address(&mut self, address: &Address, carrier: Option<Carrier>) {
        let Address { channel, user } = address.clone();
        let same = |place: &&Place| {
            (&place.channel, &place.user, place.carrier) == (&channel, &user, carrier)
        };
        let known = self.places.iter().find(same).cloned();
        let new = || Place { channel, user, carrier, blocked: false, followed_at: None };
        self.learn(known.unwrap_or_else(new));
    }

    pub(super) fn hear(&mut self, told: Told) {
        self.change_rare(|rare| rare.hear(told));
    }

    /// Forgets what hangs on one of these.
    pub(super) fn unlearn(&mut self, carriers: &[Carrier]) {
        let stays = |carrier: Option<Carrier>| carrier.is_none_or(|one| !carriers.contains(&one));
        self.places.retain(|place| stays(place.carrier));
        self.change_rare(|rare| rare.told.retain(|told| stays(Some(told.carrier))));
        self.pushes.retain(|push| stays(push.carrier));
    }

    /// What hangs on one of these, each for itself; places in their order, which tells the last one.
    pub(super) fn portions(&self, carriers: &[Carrier]) -> Vec<(Carrier, Portion)> {
        let theirs = |carrier: Option<Carrier>| carrier.filter(|one| carriers.contains(one));
        let places = self.places.chunk_by(|one, other| one.carrier == other.carrier);
        let places = places.filter_map(|places| {
            let carrier = theirs(places.first()?.carrier)?;
            Some((carrier, Portion { places: places.to_vec(), ..Portion::default() }))
        });
        let others = carriers.iter().map(|carrier| {
            let told = self.rare().told.iter().filter(|told| told.carrier == *carrier).cloned();
            let pushes = self.pushes.iter().filter(|push| push.carrier == Some(*carrier)).cloned();
            let (told, pushes) = (told.collect(), pushes.collect());
            (*carrier, Portion { places: Vec::new(), told, pushes })
        });
        let others = others.filter(|(_, portion)| *portion != Portion::default());
        places.chain(others).collect()
    }

    /// Lists a request once, as one that is deferred or not.
    pub(super) fn list(&mut self, id: ItemId, waits: bool) {
        insert(&mut self.deliveries, id);
        if waits || self.rare.is_some() {
            self.change_rare(|rare| {
                rare.deferred.retain(|known| *known != id);
                if waits {
                    let place = rare.deferred.partition_point(|known| *known < id);
                    rare.deferred.insert(place, id);
                }
            });
        }
    }

    pub(super) fn unlist(&mut self, id: ItemId) {
        self.deliveries.retain(|known| *known != id);
        self.change_rare(|rare| rare.deferred.retain(|known| *known != id));
    }

    /// Takes over everything of a customer that was absorbed.
    pub(super) fn absorb(&mut self, other: Self) {
        // The survivor's own are the last.
        let own = std::mem::replace(&mut self.places, other.places);
        for place in own {
            self.learn(place);
        }
        if let Some(theirs) = other.rare {
            self.change_rare(|own| own.absorb(*theirs));
        }
        self.consent = Consent::strictest(self.consent, other.consent);
        other.pushes.into_iter().for_each(|push| self.push(push));
        other.deliveries.into_iter().for_each(|id| insert(&mut self.deliveries, id));
    }
}

/// Twice the longest span that a budget can have.
const PUSHES_FOR: Duration = Duration::from_hours(2 * 30 * 24);

/// Into a list without doubles that is in order.
pub(super) fn insert(list: &mut SmallVec<[ItemId; 1]>, id: ItemId) {
    if let Err(place) = list.binary_search(&id) {
        list.insert(place, id);
    }
}
