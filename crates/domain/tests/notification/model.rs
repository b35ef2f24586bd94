//! The rules read once more, as plainly as they can be: lists of what was seen, told, asked and sent,
//! searched from the start, and a clock on the wall. There are no customers here but groups of
//! persons, each named after one of them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use mainstem_domain::configuration::{Configuration, QuietHours};
use mainstem_domain::notification::{
    Class, Consent, Deed, Item, Outcome, Preferences, Request, Trait, Verdict, Wait, Way,
};
use mainstem_domain::person::Answer;
use mainstem_domain::{At, ChannelId, ItemId, Language};

use crate::quiet::{Clock, minutes};
use crate::world::{PEOPLE, line, member};

pub(crate) struct Place {
    pub(crate) channel: ChannelId,
    pub(crate) person: usize,
    /// Every follow and every block that was told, as (when, whether a block).
    follows: Vec<(At, bool)>,
}

/// What one identifier told.
struct Told {
    person: usize,
    what: Trait,
    verified: bool,
    at: At,
}

pub(crate) struct Push {
    item: ItemId,
    /// Through whose account.
    person: usize,
    pub(crate) at: At,
    unanswered: bool,
}

pub(crate) struct Ask {
    pub(crate) id: ItemId,
    pub(crate) request: Request,
    /// With whom it goes when people are split.
    pub(crate) person: usize,
    pub(crate) stand: Stand,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Stand {
    Waits(At, Wait),
    /// With the id of the item that it is or has joined.
    Queued(Arc<Item>, ItemId),
    Ended(Outcome, At),
}

/// What became of which requests, in this order.
pub(crate) type Fates = Vec<(ItemId, Verdict)>;

pub(crate) struct Model {
    /// After whom the group of each person is named.
    pub(crate) named: [usize; PEOPLE],
    pub(crate) places: Vec<Place>,
    told: Vec<Told>,
    /// What stands on each person's own identifiers, and what holds for each group.
    consents: [Option<Consent>; PEOPLE],
    answers: [Option<Consent>; PEOPLE],
    preferences: [Preferences; PEOPLE],
    pub(crate) pushes: Vec<Push>,
    pub(crate) asks: Vec<Ask>,
    holidays: BTreeSet<Date>,
}

impl Place {
    pub(crate) fn is_blocked(&self) -> bool {
        self.follows.iter().max().is_some_and(|(_, blocked)| *blocked)
    }
}

impl Model {
    pub(crate) fn new(config: &Configuration) -> Self {
        let holidays = config.notification.holidays.as_ref();
        let holidays = holidays.map(|name| config.calendars[name].holidays.keys().copied());
        Self {
            named: std::array::from_fn(|person| person),
            places: Vec::new(),
            told: Vec::new(),
            consents: [None; PEOPLE],
            answers: [None; PEOPLE],
            preferences: std::array::from_fn(|_| Preferences::default()),
            pushes: Vec::new(),
            asks: Vec::new(),
            holidays: holidays.into_iter().flatten().collect(),
        }
    }

    pub(crate) fn group(&self, name: usize) -> Vec<usize> {
        (0..PEOPLE).filter(|person| self.named[*person] == name).collect()
    }

    fn is_of(&self, name: usize, person: usize) -> bool {
        self.named[person] == name
    }

    pub(crate) fn places_of(&self, name: usize) -> impl DoubleEndedIterator<Item = &Place> {
        self.places.iter().filter(move |place| self.is_of(name, place.person))
    }

    pub(crate) fn preferences(&self, name: usize) -> &Preferences {
        &self.preferences[name]
    }

    fn trait_of<T>(&self, name: usize, of: impl Fn(&Trait) -> Option<T>) -> Option<T> {
        let told = self.told.iter().filter(|told| self.is_of(name, told.person));
        let told = told.filter_map(|told| Some((told.verified, told.at, of(&told.what)?)));
        told.max_by_key(|(verified, at, _)| (*verified, *at)).map(|(_, _, it)| it)
    }

    pub(crate) fn language(&self, name: usize) -> Option<Language> {
        let language = |what: &Trait| match what {
            Trait::Language(language) => Some(*language),
            Trait::Zone(_) => None,
        };
        self.preferences[name].language.or_else(|| self.trait_of(name, language))
    }

    pub(crate) fn zone(&self, name: usize) -> Option<String> {
        let zone = |what: &Trait| match what {
            Trait::Zone(zone) => Some(zone.to_string()),
            Trait::Language(_) => None,
        };
        let set = self.preferences[name].zone.as_ref().map(ToString::to_string);
        set.or_else(|| self.trait_of(name, zone))
    }

    pub(crate) fn refuses(&self, name: usize) -> bool {
        let set = self.preferences[name].marketing;
        let told = self.answers[name].map(|consent| consent.answer);
        [set, told].contains(&Some(Answer::Refused))
    }

    /// What holds of a person's own identifiers, for whoever takes the customer apart.
    pub(crate) fn consent_on(&self, people: &[usize]) -> Option<Consent> {
        people.iter().filter_map(|person| self.consents[*person]).fold(None, strictest)
    }

    pub(crate) fn pushes_of(&self, name: usize) -> Vec<&Push> {
        let mut pushes: Vec<_> =
            self.pushes.iter().filter(|push| self.is_of(name, push.person)).collect();
        pushes.sort_by_key(|push| (push.at, push.item));
        pushes
    }

    pub(crate) fn is_tired(&self, name: usize) -> bool {
        let pushes = self.pushes_of(name);
        pushes.len() >= 2 && pushes.iter().rev().take(2).all(|push| push.unanswered)
    }

    /// How many marketing messages count, how many may, and in how long a time.
    pub(crate) fn spans(
        &self,
        config: &Configuration,
        name: usize,
        at: At,
    ) -> Vec<(usize, usize, Duration)> {
        let times = if self.is_tired(name) { 2 } else { 1 };
        let pushes = self.pushes_of(name);
        let budgets = config.notification.marketing.iter().map(|budget| {
            let span = budget.within.duration() * times;
            let young = pushes.iter().filter(|push| push.at.after(span) > at);
            (young.count(), usize::from(budget.at_most), span)
        });
        budgets.collect()
    }

    pub(crate) fn has_room(&self, config: &Configuration, name: usize, at: At) -> bool {
        self.spans(config, name, at).iter().all(|(count, at_most, _)| count < at_most)
    }

    /// Room comes when one that counts grows too old to count, and at no other moment.
    pub(crate) fn room_at(&self, config: &Configuration, name: usize, at: At) -> At {
        let spans: Vec<_> = self.spans(config, name, at).iter().map(|(_, _, span)| *span).collect();
        let pushes = self.pushes_of(name);
        let old = pushes.iter().flat_map(|push| spans.iter().map(|span| push.at.after(*span)));
        let moments = old.filter(|old| *old > at).chain([at]);
        moments.filter(|moment| self.has_room(config, name, *moment)).min().unwrap()
    }

    /// When it is no longer quiet for this group and a message of this class.
    pub(crate) fn quiet_until(
        &self,
        config: &Configuration,
        name: usize,
        class: Class,
        at: At,
    ) -> At {
        if matches!(class, Class::Reply | Class::Transactional) {
            return at;
        }
        let zone = self.zone(name).unwrap_or_else(|| "Asia/Taipei".to_owned());
        let set: Option<QuietHours> = self.preferences[name].quiet_hours;
        let (from, until) = minutes(set.or(config.notification.quiet_hours).unwrap());
        let none = BTreeSet::new();
        let holidays = if class == Class::Marketing { &self.holidays } else { &none };
        Clock { zone: TimeZone::get(&zone).unwrap(), from, until, holidays }.quiet_until(at)
    }

    pub(crate) fn waiting(&self, name: usize) -> Vec<(&Ask, At, Wait)> {
        let waits = |ask: &Ask| match ask.stand {
            Stand::Waits(until, wait) => Some((until, wait)),
            Stand::Queued(..) | Stand::Ended(..) => None,
        };
        let mut waiting: Vec<_> = self
            .asks
            .iter()
            .filter(|ask| self.is_of(name, ask.person))
            .filter_map(|ask| waits(ask).map(|(until, wait)| (ask, until, wait)))
            .collect();
        waiting.sort_by_key(|(ask, _, _)| (ask.request.asked_at, ask.id));
        waiting
    }

    /// Writes down what became of it.
    pub(crate) fn apply(&mut self, id: ItemId, verdict: &Verdict, at: At) {
        let mut persons = Vec::new();
        let stand = match verdict {
            Verdict::End(outcome) => Stand::Ended(outcome.clone(), at),
            Verdict::Defer { until, wait } => Stand::Waits(*until, *wait),
            Verdict::Queue(item) => {
                let person = (0..PEOPLE).find(|it| Some(line(*it)) == item.carrier).unwrap();
                if item.class == Class::Marketing {
                    self.pushes.push(Push { item: id, person, at, unanswered: true });
                }
                persons.extend([id].iter().chain(&item.joined).map(|id| (*id, person)));
                Stand::Queued(Arc::clone(item), id)
            }
        };
        let joined = match verdict {
            Verdict::Queue(item) => item.joined.clone(),
            Verdict::Defer { .. } | Verdict::End(_) => Vec::new(),
        };
        for ask in self.asks.iter_mut().filter(|ask| ask.id == id || joined.contains(&ask.id)) {
            ask.stand = stand.clone();
            if let Stand::Waits(..) = stand {
                // A right to reply is stale before anything else happens.
                ask.request.reply = None;
            }
            if let Some((_, person)) = persons.iter().find(|(id, _)| *id == ask.id) {
                ask.person = *person;
            }
        }
    }

    /// A new request: whatever waits under the same key makes room for what goes out or waits.
    pub(crate) fn ask(
        &mut self,
        config: &Configuration,
        id: ItemId,
        name: usize,
        request: Request,
        at: At,
    ) -> Fates {
        let verdict = self.decide(config, Some(id), name, &request, at);
        let mut fates = Fates::new();
        if !matches!(verdict, Verdict::End(_)) && request.collapse_key.is_some() {
            let waiting = self.waiting(name);
            let same = waiting
                .iter()
                .filter(|(ask, _, _)| ask.request.collapse_key == request.collapse_key);
            fates.extend(same.map(|(ask, _, _)| (ask.id, replaced())));
        }
        let hangs = |person: &usize| {
            [line(*person), member(*person)].into_iter().any(|it| Some(it) == request.carrier)
        };
        let person = (0..PEOPLE).find(hangs).unwrap_or(name);
        self.asks.push(Ask { id, request, person, stand: Stand::Waits(at, Wait::Budget) });
        fates.push((id, verdict));
        for (id, verdict) in &fates {
            self.apply(*id, verdict, at);
        }
        fates
    }

    /// Looks again at what is due, the earliest first.
    pub(crate) fn release(&mut self, config: &Configuration, at: At) -> Fates {
        let mut fates = Fates::new();
        loop {
            let names = 0..PEOPLE;
            let waiting = names.flat_map(|name| self.waiting(name)).filter(|it| it.1 <= at);
            let next = waiting.min_by_key(|(ask, until, _)| (*until, ask.request.asked_at, ask.id));
            let Some(id) = next.map(|(ask, _, _)| ask.id) else { return fates };
            fates.extend(self.again(config, id, at));
        }
    }

    /// Judges one that waits again, in full.
    fn again(&mut self, config: &Configuration, id: ItemId, at: At) -> Option<(ItemId, Verdict)> {
        let ask = self.asks.iter().find(|ask| ask.id == id)?;
        let Stand::Waits(until, wait) = ask.stand else { return None };
        let verdict = self.decide(config, Some(id), self.named[ask.person], &ask.request, at);
        if verdict == (Verdict::Defer { until, wait }) {
            return None;
        }
        self.apply(id, &verdict, at);
        Some((id, verdict))
    }

    pub(crate) fn seen(
        &mut self,
        config: &Configuration,
        person: usize,
        heard: (Option<&ChannelId>, Deed, At),
        at: At,
    ) -> Fates {
        let (channel, deed, occurred_at) = heard;
        let name = self.named[person];
        if let Some(channel) = channel {
            let last = self.places_of(name).rfind(|place| place.channel == *channel);
            if last.is_none_or(|last| last.person != person) {
                let of = |place: &Place| place.person == person && place.channel == *channel;
                let known = self.places.iter().position(of);
                let place = known.map(|known| self.places.remove(known));
                self.places.push(place.unwrap_or_else(|| Place {
                    channel: channel.clone(),
                    person,
                    follows: Vec::new(),
                }));
            }
            let here = |it: &&mut Place| it.person == person && it.channel == *channel;
            let place = self.places.iter_mut().find(here).unwrap();
            match deed {
                Deed::Followed => place.follows.push((occurred_at, false)),
                Deed::Blocked => place.follows.push((occurred_at, true)),
                Deed::Acted | Deed::Nothing => {}
            }
        }
        let named = self.named;
        let mut theirs: Vec<_> =
            self.pushes.iter_mut().filter(|push| named[push.person] == name).collect();
        let unanswered = theirs.iter().any(|push| push.unanswered);
        if !unanswered || !matches!(deed, Deed::Followed | Deed::Acted) {
            return Fates::new();
        }
        for push in &mut theirs {
            push.unanswered = false;
        }
        // Room may come earlier now.
        let waiting = self.waiting(name).into_iter().filter(|it| it.2 == Wait::Budget);
        let waiting: Vec<_> = waiting.map(|(ask, _, _)| ask.id).collect();
        waiting.into_iter().filter_map(|id| self.again(config, id, at)).collect()
    }

    pub(crate) fn tell(&mut self, person: usize, what: Trait, verified: bool, at: At) {
        self.told.push(Told { person, what, verified, at });
    }

    pub(crate) fn consent(&mut self, person: usize, told: Consent) {
        let name = self.named[person];
        let news = |known: Consent| (told.told_at, told.answer) > (known.told_at, known.answer);
        if self.answers[name].is_none_or(news) {
            self.answers[name] = Some(told);
            // It was one person who said so, whoever it turns out to be.
            for person in self.group(name) {
                self.consents[person] = Some(told);
            }
        }
    }

    pub(crate) fn prefer(&mut self, name: usize, preferences: Preferences) {
        self.preferences[name] = preferences;
    }

    pub(crate) fn merge(&mut self, survivor: usize, absorbed: usize, at: At) -> Fates {
        let (theirs, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.places)
            .into_iter()
            .partition(|place| self.named[place.person] == survivor);
        self.places = kept;
        self.places.extend(theirs);
        for named in self.named.iter_mut().filter(|named| **named == absorbed) {
            *named = survivor;
        }
        let other = self.answers[absorbed].take();
        self.answers[survivor] =
            other.map_or(self.answers[survivor], |other| strictest(self.answers[survivor], other));
        let other = std::mem::take(&mut self.preferences[absorbed]);
        let own = &mut self.preferences[survivor];
        if other.marketing == Some(Answer::Refused) || own.marketing.is_none() {
            own.marketing = other.marketing;
        }
        own.language = own.language.or(other.language);
        own.zone = own.zone.take().or(other.zone);
        own.quiet_hours = own.quiet_hours.or(other.quiet_hours);
        // Of those under one key the newest waits on.
        let waiting = self.waiting(survivor);
        let later = |index: usize| {
            let key = &waiting[index].0.request.collapse_key;
            let newer = &waiting[index + 1..];
            key.is_some() && newer.iter().any(|(ask, _, _)| ask.request.collapse_key == *key)
        };
        let old = (0..waiting.len()).filter(|index| later(*index));
        let fates: Fates = old.map(|index| (waiting[index].0.id, replaced())).collect();
        for (id, verdict) in &fates {
            self.apply(*id, verdict, at);
        }
        fates
    }

    /// The pieces, as (name, people).
    pub(crate) fn split(&mut self, pieces: &[(usize, Vec<usize>)]) {
        let preferences = self.preferences[self.named[pieces[0].1[0]]].clone();
        for (name, people) in pieces {
            for person in people {
                self.named[*person] = *name;
            }
            self.answers[*name] = self.consent_on(people);
            self.preferences[*name] = preferences.clone();
        }
    }

    /// How many requests are on their way by push.
    pub(crate) fn on_their_way(&self, channel: &ChannelId) -> u64 {
        let on = |ask: &&Ask| {
            matches!(&ask.stand, Stand::Queued(item, _)
                if item.way == Way::Push && item.address.channel == *channel)
        };
        self.asks.iter().filter(on).count().try_into().unwrap()
    }

    pub(crate) fn find(&self, id: ItemId) -> Option<&Ask> {
        self.asks.iter().find(|ask| ask.id == id)
    }

    /// An item is over; what was never tried disturbed nobody.
    pub(crate) fn settle(&mut self, id: ItemId, outcome: &Outcome, at: At) {
        if matches!(outcome, Outcome::Expired { .. } | Outcome::Suppressed { .. }) {
            self.pushes.retain(|push| push.item != id);
        }
        for ask in &mut self.asks {
            if matches!(&ask.stand, Stand::Queued(_, item) if *item == id) {
                ask.stand = Stand::Ended(outcome.clone(), at);
            }
        }
    }

    /// Writes an attempt to reply down, unless it is known.
    pub(crate) fn begin(&mut self, id: ItemId, attempt: &str) {
        for ask in self.asks.iter_mut().filter(|ask| ask.id == id) {
            let Stand::Queued(item, _) = &mut ask.stand else { continue };
            let known = item.attempts.iter().any(|known| known == attempt);
            let told = match item.way {
                Way::Reply { .. } => !known,
                // Once it is known that it was tried, the rest is its retry key's business.
                Way::Push => item.deadline.is_some() && item.attempts.is_empty(),
            };
            if told {
                Arc::make_mut(item).attempts.push(attempt.to_owned());
            }
        }
    }
}

fn strictest(one: Option<Consent>, other: Consent) -> Option<Consent> {
    one.into_iter().chain([other]).max_by_key(|told| (told.answer, told.told_at))
}

fn replaced() -> Verdict {
    Verdict::End(Outcome::Suppressed { reason: "replaced by a newer one".into() })
}
