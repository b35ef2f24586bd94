use serde::{Deserialize, Serialize};

use crate::person::{Answer, Attribute, Consent};
use crate::{At, AttributeName, Means, Purpose};

/// What was told of a person by events that one identifier led.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Facts {
    /// Each name once, in their order.
    pub attributes: Vec<Fact>,
    /// Each means and purpose once, in their order.
    pub consents: Vec<Told>,
}

/// An attribute of a person, and since when it is known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Fact {
    /// The attribute.
    pub attribute: Attribute,
    /// When it was told, by its source's clock but not later than it was taken.
    pub told_at: At,
}

/// A consent that was given or refused, and when.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Told {
    /// The consent.
    pub consent: Consent,
    /// When it was told, by its source's clock but not later than it was taken.
    pub told_at: At,
}

impl Fact {
    /// Whether it counts more than another of the same name: the verified, then the newest. Of two
    /// of the same moment the same one does in every order.
    pub(super) fn counts_more(&self, other: &Self) -> bool {
        self.weight() > other.weight()
    }

    fn weight(&self) -> (bool, At, &str) {
        (self.attribute.verified, self.told_at, &self.attribute.value)
    }
}

impl Facts {
    pub(super) fn attribute(&self, name: &AttributeName) -> Option<&Fact> {
        self.attributes.iter().find(|fact| fact.attribute.name == *name)
    }

    pub(super) fn consent(&self, means: &Means, purpose: &Purpose) -> Option<&Told> {
        let is = |told: &&Told| told.consent.means == *means && told.consent.purpose == *purpose;
        self.consents.iter().find(is)
    }

    /// Takes what was told, unless what is known counts more.
    pub(super) fn describe(&mut self, fact: Fact) {
        match self
            .attributes
            .binary_search_by(|known| known.attribute.name.cmp(&fact.attribute.name))
        {
            Ok(place) if fact.counts_more(&self.attributes[place]) => {
                self.attributes[place] = fact;
            }
            Ok(_) => {}
            Err(place) => self.attributes.insert(place, fact),
        }
    }

    pub(super) fn refuse_something(&self) -> bool {
        self.consents.iter().any(|told| told.consent.answer == Answer::Refused)
    }

    /// Refuses what another identifier of the same customer refuses, whatever was answered here: of
    /// the two, the stricter counts.
    pub(super) fn refuse_as(&mut self, other: &Self) {
        for told in other.consents.iter().filter(|told| told.consent.answer == Answer::Refused) {
            let Consent { means, purpose, .. } = &told.consent;
            if self.consent(means, purpose).is_none_or(|own| own.consent.answer < Answer::Refused) {
                let is =
                    |own: &Told| (&own.consent.means, &own.consent.purpose) == (means, purpose);
                self.consents.retain(|own| !is(own));
                self.answer(told.clone());
            }
        }
    }

    /// Takes an answer, unless a later one is known. Of two of the same moment the stricter stays.
    pub(super) fn answer(&mut self, told: Told) {
        let key = |told: &Told| (told.consent.means.clone(), told.consent.purpose.clone());
        match self.consents.binary_search_by_key(&key(&told), key) {
            Ok(place) => {
                let known = &self.consents[place];
                if (told.told_at, told.consent.answer) > (known.told_at, known.consent.answer) {
                    self.consents[place] = told;
                }
            }
            Err(place) => self.consents.insert(place, told),
        }
    }
}

/// Of each attribute the verified, then the newest value; of consents the strictest.
#[derive(Clone, Debug, Default)]
pub(super) struct Effective(Facts);

impl Effective {
    pub(super) fn add(&mut self, facts: &Facts) {
        for fact in &facts.attributes {
            match self.0.attribute(&fact.attribute.name) {
                Some(known) if !fact.counts_more(known) => {}
                _ => {
                    let name = fact.attribute.name.clone();
                    self.0.attributes.retain(|known| known.attribute.name != name);
                    self.0.describe(fact.clone());
                }
            }
        }
        for told in &facts.consents {
            let Consent { means, purpose, answer } = &told.consent;
            match self.0.consent(means, purpose) {
                // The first moment since which it is so.
                Some(known) if known.consent.answer > *answer => {}
                Some(known) if known.consent.answer == *answer && known.told_at <= told.told_at => {
                }
                _ => {
                    let (means, purpose) = (means.clone(), purpose.clone());
                    self.0.consents.retain(|known| {
                        (&known.consent.means, &known.consent.purpose) != (&means, &purpose)
                    });
                    self.0.answer(told.clone());
                }
            }
        }
    }

    pub(super) fn into_facts(self) -> Facts {
        self.0
    }
}
