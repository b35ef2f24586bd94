//! Who may be one person, by what is known of both.
//!
//! Two customers are compared field by field. Each field reaches a [`Level`] of agreement, and
//! each level adds its weight to the sum (Fellegi and Sunter, *A Theory for Record Linkage*,
//! Journal of the American Statistical Association 64, 1969):
//!
//! ```text
//! weight = log2(m / u)        m: how often the level is met between records of one person
//!                             u: how often between records of two people
//! sum    = Σ weights          odds(one person) = prior odds · 2^sum
//! ```
//!
//! Two customers whose sum reaches [`Weights::needed`], which turns the prior round, are suggested
//! for review. Nothing here ever leads to a merge.
//!
//! **Where the default weights come from.** They are estimated from general knowledge of names,
//! birthdays and cities in Taiwan, and rounded; the most important say what they rest on. They
//! were then tried on a public set of 1,000 invented records, whose fields are mangled much more
//! than a shop's are. After a first trial the agreement of given name, whole name, birthday, phone
//! number and address was raised by half a bit to two bits, within what general knowledge allows;
//! no weight was computed from the set. So it shows that the parts work together, a little kinder
//! than records never seen would, and not that the weights are right for anybody. A retailer who
//! has reviewed some hundred suggestions should set weights of its own from them.
//!
//! **What the sum is not.** The formula takes fields to be independent, and they are not: an
//! address often repeats the name, relatives share family name, city, phone and address, and twins
//! the birthday too. So weights of what a household shares are lower than its rarity alone would
//! say, and another given name weighs against. Twins are not suggested for birthday, family name
//! and city; those who share a phone number or an address besides are, and whoever reviews it
//! sees that the given name is another.
//!
//! **Slips of the pen** are counted by optimal string alignment, which takes whole edits only and
//! is the same in both directions, so that the result is exact on every machine. Jaro-Winkler
//! (Winkler 1990) was passed over: it is a fraction to be cut somewhere, and it favours a common
//! beginning, which in Chinese is the family name and in families the first sign of the given
//! name. A name of two or three Chinese signs of which one is another is another name.
//!
//! Invariants: a comparison is the same in both directions and on every run; what is not known of
//! both adds nothing; a sum has at most six weights.

mod text;
mod weights;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;

use crate::AttributeName;
use crate::identifier::Identifier;

use weights::Levels;
pub use weights::{
    BirthDateWeights, Bits, CityWeights, EmailWeights, FamilyNameWeights, GivenNameWeights,
    NameWeights, PhoneWeights, Weight, Weights,
};

/// What is known of a customer and is compared, made comparable by [`Traits::of`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    /// The given name: NFKC, lower case, without accents, punctuation and titles.
    pub given_name: Option<String>,
    /// The family name, likewise.
    pub family_name: Option<String>,
    /// The name as a whole, likewise; only if it is more than one word or one Chinese sign.
    pub name: Option<String>,
    /// The day of birth in ISO 8601.
    pub birth_date: Option<String>,
    /// The city, normalised like a name.
    pub city: Option<String>,
    /// Phone numbers in E.164, sorted, each once.
    pub phones: Vec<String>,
    /// E-mail addresses in NFKC and lower case, sorted, each once.
    pub emails: Vec<String>,
}

impl Traits {
    /// Takes what is compared from a customer's attributes (`given-name`, `family-name`, `name`,
    /// `birth-date`, `city`) and identifiers (phone numbers, e-mail addresses). Of an attribute
    /// that is given twice the last counts. What stands for nothing, such as `null`, a birthday of
    /// 1900-01-01 or a phone number of zeros, is left out.
    #[must_use]
    pub fn of<'a>(
        attributes: impl IntoIterator<Item = (&'a AttributeName, &'a str)>,
        identifiers: impl IntoIterator<Item = &'a Identifier>,
    ) -> Self {
        let mut traits = Self::default();
        for (name, value) in attributes {
            match name.as_str() {
                "given-name" => traits.given_name = text::name(value),
                "family-name" => traits.family_name = text::name(value),
                "name" => traits.name = text::name(value).filter(|name| text::is_whole(name)),
                "birth-date" => traits.birth_date = text::day(value),
                "city" => traits.city = text::words(value),
                _ => {}
            }
        }
        for identifier in identifiers.into_iter().filter(|one| !one.is_placeholder()) {
            match identifier {
                Identifier::Phone(number) => traits.phones.push(number.to_string()),
                Identifier::Email(address) => {
                    let plain: String = address.nfkc().flat_map(char::to_lowercase).collect();
                    traits.emails.push(plain.trim().to_owned());
                }
                Identifier::Line { .. }
                | Identifier::Member(_)
                | Identifier::Cookie(_)
                | Identifier::External { .. } => {}
            }
        }
        for values in [&mut traits.phones, &mut traits.emails] {
            values.sort_unstable();
            values.dedup();
        }
        traits
    }

    /// Given and family name, if both are known.
    fn both_names(&self) -> Option<(&str, &str)> {
        Some((self.given_name.as_deref()?, self.family_name.as_deref()?))
    }

    fn whole_name(&self) -> Option<String> {
        let composed = || self.both_names().map(|(given, family)| text::whole(given, family));
        self.name.clone().or_else(composed)
    }
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Field {
    /// The given name.
    GivenName,
    /// The family name.
    FamilyName,
    /// The name as a whole; stands instead of given and family name.
    Name,
    /// The day of birth.
    BirthDate,
    /// The city.
    City,
    /// The phone numbers.
    Phone,
    /// The e-mail addresses.
    Email,
}

/// How far a field agrees; which levels a field has, and what they mean there, is documented with
/// its weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// The same, as far as it is compared.
    Exact,
    /// Given and family name changed places.
    Swapped,
    /// The same local part of an e-mail address, not the same address.
    SameLocalPart,
    /// The same but for slips of the pen.
    Close,
    /// Known of both, and not the same.
    Different,
}

impl Field {
    const ALL: [Self; 7] = [
        Self::GivenName,
        Self::FamilyName,
        Self::Name,
        Self::BirthDate,
        Self::City,
        Self::Phone,
        Self::Email,
    ];

    /// Its name, as in messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::GivenName => "given-name",
            Self::FamilyName => "family-name",
            Self::Name => "name",
            Self::BirthDate => "birth-date",
            Self::City => "city",
            Self::Phone => "phone",
            Self::Email => "email",
        }
    }

    /// The one with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.name() == name)
    }
}

impl Level {
    const ALL: [Self; 5] =
        [Self::Exact, Self::Swapped, Self::SameLocalPart, Self::Close, Self::Different];

    /// Its name, as in messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Swapped => "swapped",
            Self::SameLocalPart => "same-local-part",
            Self::Close => "close",
            Self::Different => "different",
        }
    }

    /// The one with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }
}

/// What one field says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldScore {
    /// The field.
    pub field: Field,
    /// How far it agrees.
    pub level: Level,
    /// What that adds to the sum, in hundredths of a bit.
    pub bits: Bits,
}

/// How much speaks for two customers being one person, and what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Score {
    /// The sum over the fields, in hundredths of a bit.
    pub bits: Bits,
    /// Fields that are known of both, in the order of [`Field`]; each once.
    pub fields: Vec<FieldScore>,
}

impl Score {
    /// Whether it is enough to suggest the two for review, when there are so many customers.
    #[must_use]
    pub fn suggests(&self, weights: &Weights, customers: usize) -> bool {
        self.bits >= weights.needed(customers)
    }
}

/// Compares two customers. The same in both directions.
///
/// Of several phone numbers or addresses, those two count that agree best. Names are compared in
/// one of three ways: given and family name each for itself, where both customers have both; else
/// the whole names, where both have one, in one piece or two; else the part that both have.
#[must_use]
pub fn compare(one: &Traits, other: &Traits, weights: &Weights) -> Score {
    let fields: Vec<FieldScore> = names(one, other, weights)
        .into_iter()
        .chain(score(Field::BirthDate, days(one, other), &weights.birth_date))
        .chain(score(Field::City, cities(one, other), &weights.city))
        .chain(score(Field::Phone, best(&one.phones, &other.phones, phones), &weights.phone))
        .chain(score(Field::Email, best(&one.emails, &other.emails, addresses), &weights.email))
        .collect();
    Score { bits: fields.iter().map(|field| field.bits).sum(), fields }
}

fn score(field: Field, level: Option<Level>, weights: &impl Levels) -> Option<FieldScore> {
    level.map(|level| FieldScore { field, level, bits: weights.weight(level).bits() })
}

fn names(one: &Traits, other: &Traits, weights: &Weights) -> Vec<FieldScore> {
    let whole_name = match (one.both_names(), other.both_names()) {
        (Some(one), Some(other)) => are_swapped(one, other).then_some(Level::Swapped),
        (None, _) | (_, None) => match (one.whole_name(), other.whole_name()) {
            (Some(one), Some(other)) => Some(whole(&one, &other)),
            (None, _) | (_, None) => None,
        },
    };
    if whole_name.is_some() {
        return score(Field::Name, whole_name, &weights.name).into_iter().collect();
    }
    let part_of_both = |one: &Option<String>, other: &Option<String>| {
        Some(part(one.as_deref()?, other.as_deref()?))
    };
    let given = part_of_both(&one.given_name, &other.given_name);
    let family = part_of_both(&one.family_name, &other.family_name);
    score(Field::GivenName, given, &weights.given_name)
        .into_iter()
        .chain(score(Field::FamilyName, family, &weights.family_name))
        .collect()
}

/// Whether given and family name agree crosswise, and not as they stand.
fn are_swapped((given, family): (&str, &str), (other_given, other_family): (&str, &str)) -> bool {
    let straight = [part(given, other_given), part(family, other_family)];
    let crossed = [part(given, other_family), part(family, other_given)];
    straight.contains(&Level::Different) && !crossed.contains(&Level::Different)
}

fn level(exact: bool, close: bool) -> Level {
    match (exact, close) {
        (true, _) => Level::Exact,
        (false, true) => Level::Close,
        (false, false) => Level::Different,
    }
}

/// Two given names, or two family names.
fn part(one: &str, other: &str) -> Level {
    level(one == other, text::is_slip(one, other) || text::is_part(one, other, 1))
}

fn whole(one: &str, other: &str) -> Level {
    let (ones, others) = (text::parts(one), text::parts(other));
    let close = text::is_part(one, other, 2)
        || text::is_slip(one, other)
        || text::is_slip(&ones.concat(), &others.concat());
    level(ones == others, close)
}

fn days(one: &Traits, other: &Traits) -> Option<Level> {
    let (one, other) = (one.birth_date.as_ref()?, other.birth_date.as_ref()?);
    Some(level(one == other, text::is_day_slip(one, other)))
}

fn cities(one: &Traits, other: &Traits) -> Option<Level> {
    let (one, other) = (one.city.as_ref()?, other.city.as_ref()?);
    let close =
        text::is_slip(one, other) || text::is_part(one, other, 1) || text::is_start(one, other);
    Some(level(one == other, close))
}

fn phones(one: &str, other: &str) -> Level {
    level(one == other, false)
}

fn addresses(one: &str, other: &str) -> Level {
    if one == other {
        return Level::Exact;
    }
    match (text::telling_local_part(one), text::telling_local_part(other)) {
        (Some(one), Some(other)) if one == other => Level::SameLocalPart,
        (Some(one), Some(other)) if text::is_local_part_slip(&one, &other) => Level::Close,
        (_, _) => Level::Different,
    }
}

fn best(ones: &[String], others: &[String], grade: fn(&str, &str) -> Level) -> Option<Level> {
    ones.iter().flat_map(|one| others.iter().map(move |other| grade(one, other))).min()
}

/// Keys under which possible partners of a customer are looked up: only customers who share one
/// are worth comparing. Sorted, each once; the same on every run and machine (the first 8 bytes of
/// a SHA-256 over the key's name and its value).
///
/// | key | how many share it, in a million customers |
/// |---|---|
/// | day of birth | 65 |
/// | all words of the name, in any order | 1; of the most frequent names some hundred |
/// | local part of an address, if it tells somebody; else the address | few |
/// | phone number | few |
/// | given name, year of birth | some ten; of the most frequent names some hundred |
///
/// There are at most three keys and one for each phone number and address. No city, given name or
/// family name alone: half a shop would share them. Family name and year of birth was tried: it
/// finds one pair more in a hundred, and two thousand people in a million share the most frequent.
#[must_use]
pub fn blocks(traits: &Traits) -> Vec<u64> {
    let mut keys = Vec::new();
    let mut add = |name: &str, values: &[&str]| keys.push(key(name, values));
    if let Some(day) = &traits.birth_date {
        add("birth-date", &[day]);
        let year = day.get(..4).unwrap_or(day);
        if let Some(given) = &traits.given_name {
            add("given-name-year", &[given, year]);
        }
    }
    if let Some(name) = traits.whole_name() {
        add("name", &text::parts(&name));
    }
    for number in &traits.phones {
        add("phone", &[number]);
    }
    for address in &traits.emails {
        match text::telling_local_part(address) {
            Some(local_part) => add("local-part", &[&local_part]),
            None => add("email", &[address]),
        }
    }
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn key(name: &str, values: &[&str]) -> u64 {
    let mut hash = Sha256::new_with_prefix(name);
    for value in values {
        hash.update([0]);
        hash.update(value);
    }
    let digest = hash.finalize();
    digest.iter().take(8).fold(0, |key, byte| key << 8 | u64::from(*byte))
}
