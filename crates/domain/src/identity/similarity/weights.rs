use std::fmt;
use std::ops::{Add, AddAssign};

use serde::{Deserialize, Deserializer, Serialize, de};

use super::Level;

/// An amount of evidence: the logarithm to base 2 of a likelihood ratio, in hundredths of a bit.
///
/// Ten bits make two customers a thousand times likelier to be one person; bits below zero make it
/// less likely. Whole hundredths, so that the same sum comes out on every machine; stored and sent
/// as that number (`1250` is 12.5 bits).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bits(i32);

impl Bits {
    /// So many hundredths of a bit.
    #[must_use]
    pub const fn from_hundredths(hundredths: i32) -> Self {
        Self(hundredths)
    }

    /// In hundredths of a bit.
    #[must_use]
    pub const fn hundredths(self) -> i32 {
        self.0
    }
}

impl Add for Bits {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Bits {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl std::iter::Sum for Bits {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}

/// With two decimals, as in `12.50` or `-0.40`.
impl fmt::Display for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let size = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:02}", size / 100, size % 100)
    }
}

/// What an operator writes for an amount of evidence: bits from -40 to 40, with two decimals at
/// most (`12.5`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Weight(Bits);

impl Weight {
    /// The amount.
    #[must_use]
    pub const fn bits(self) -> Bits {
        self.0
    }
}

impl TryFrom<f64> for Weight {
    type Error = &'static str;

    fn try_from(bits: f64) -> Result<Self, Self::Error> {
        let hundredths = (bits * 100.0).round();
        if !(-4_000.0..=4_000.0).contains(&hundredths) {
            return Err("a weight must be -40 to 40 bits");
        }
        if (bits * 100.0 - hundredths).abs() > 1e-6 {
            return Err("a weight must have two decimals at most");
        }
        #[expect(clippy::cast_possible_truncation, reason = "a whole number of -4,000 to 4,000")]
        let hundredths = hundredths as i32;
        Ok(Self(Bits(hundredths)))
    }
}

impl From<Weight> for f64 {
    fn from(weight: Weight) -> f64 {
        f64::from(weight.0.0) / 100.0
    }
}

/// The weights of one field's levels.
pub(super) trait Levels {
    /// The weight of a level. One that the field does not have counts as different.
    fn weight(&self, level: Level) -> Weight;

    /// Whether no level that says less weighs more than one that says more.
    fn falls(&self) -> bool;
}

macro_rules! weights_of_levels {
    (
        $(#[$doc:meta])* $name:ident
        { $($(#[$level_doc:meta])* $level:ident, $Level:ident: $hundredths:literal;)+ }
    ) => {
        $(#[$doc])*
        ///
        /// The weights must not rise from one level to the next.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
        pub struct $name {
            $(
                $(#[$level_doc])*
                #[doc = concat!(" Default: ", stringify!($hundredths), " hundredths of a bit.")]
                pub $level: Weight,
            )+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($level: Weight(Bits($hundredths)),)+ }
            }
        }

        impl Levels for $name {
            fn weight(&self, level: Level) -> Weight {
                let mut weights = [$((Level::$Level, self.$level)),+].into_iter();
                weights.find(|(own, _)| *own == level).map_or(self.different, |(_, weight)| weight)
            }

            fn falls(&self) -> bool {
                [$(self.$level),+].is_sorted_by(|more, less| more >= less)
            }
        }
    };
}

weights_of_levels!(
    /// Of the given name, where both customers have it apart from the family name.
    GivenNameWeights {
        /// The same. One in 300 shares it by chance: of Chinese given names fewer, of English ones
        /// (Amy, Kevin) more.
        exact, Exact: 800;
        /// The same but for a slip of the pen, or a second name that only one has.
        close, Close: 400;
        /// Another one.
        different, Different: -350;
    }
);
weights_of_levels!(
    /// Of the family name, where both customers have it apart from the given name.
    FamilyNameWeights {
        /// The same. In Taiwan one in thirty shares it by chance (陳 alone is one in nine).
        exact, Exact: 500;
        /// The same but for a slip of the pen.
        close, Close: 300;
        /// Another one.
        different, Different: -450;
    }
);
weights_of_levels!(
    /// Of the name as a whole, where one customer has it in one piece only, or where given and
    /// family name changed places.
    NameWeights {
        /// The same words, or the same signs, in any order.
        exact, Exact: 1300;
        /// One's given name is the other's family name, and the other way round.
        swapped, Swapped: 1100;
        /// The same but for a slip of the pen, or a word that only one has.
        close, Close: 700;
        /// Another one.
        different, Different: -400;
    }
);
weights_of_levels!(
    /// Of the day of birth.
    BirthDateWeights {
        /// The same day. One in some 13,000 shares it by chance.
        exact, Exact: 1350;
        /// One digit off or two neighbouring digits exchanged, day and month exchanged, or the
        /// day before or after.
        close, Close: 450;
        /// Another day.
        different, Different: -400;
    }
);
weights_of_levels!(
    /// Of the city.
    CityWeights {
        /// The same. In Taiwan one in eleven shares it by chance.
        exact, Exact: 300;
        /// The same but for a slip of the pen, or for what follows (`台北` and `台北市信義區`).
        close, Close: 150;
        /// Another one. People move, and order to where they work.
        different, Different: -200;
    }
);
weights_of_levels!(
    /// Of the phone numbers.
    PhoneWeights {
        /// One number in common. Less than its rarity says, as households share numbers.
        exact, Exact: 1300;
        /// None in common.
        different, Different: -100;
    }
);
weights_of_levels!(
    /// Of the e-mail addresses.
    EmailWeights {
        /// One address in common. Less than its rarity says, as households share addresses.
        exact, Exact: 1600;
        /// The same local part at another domain, or but for dots and what follows a plus.
        same_local_part, SameLocalPart: 1000;
        /// A local part with the same digits that is the same but for a slip of the pen.
        close, Close: 500;
        /// None of these.
        different, Different: -100;
    }
);

/// The section `identity.similarity` of the configuration: what each level of agreement says, and
/// from how much on two customers are suggested for review.
///
/// A weight is `log2(m / u)` in bits (Fellegi and Sunter 1969): of `m`, how often the level is met
/// between two records of one person, and `u`, how often between records of two people. Something
/// that is not known of both customers weighs nothing.
///
/// The defaults are estimates from general knowledge of Taiwan, rounded, and not counts of any
/// shop. Who has reviewed some hundred suggestions should set weights of its own from them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Weights {
    /// How many bits the sum must lie above the logarithm of the number of customers; from -10 to
    /// 40. Default: 0. See [`needed`](Self::needed).
    #[serde(deserialize_with = "from_minus_ten")]
    pub suggest_at: Weight,
    /// Of the given name.
    #[serde(deserialize_with = "falling")]
    pub given_name: GivenNameWeights,
    /// Of the family name.
    #[serde(deserialize_with = "falling")]
    pub family_name: FamilyNameWeights,
    /// Of the name as a whole.
    #[serde(deserialize_with = "falling")]
    pub name: NameWeights,
    /// Of the day of birth.
    #[serde(deserialize_with = "falling")]
    pub birth_date: BirthDateWeights,
    /// Of the city.
    #[serde(deserialize_with = "falling")]
    pub city: CityWeights,
    /// Of the phone numbers.
    #[serde(deserialize_with = "falling")]
    pub phone: PhoneWeights,
    /// Of the e-mail addresses.
    #[serde(deserialize_with = "falling")]
    pub email: EmailWeights,
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            suggest_at: Weight(Bits(0)),
            given_name: GivenNameWeights::default(),
            family_name: FamilyNameWeights::default(),
            name: NameWeights::default(),
            birth_date: BirthDateWeights::default(),
            city: CityWeights::default(),
            phone: PhoneWeights::default(),
            email: EmailWeights::default(),
        }
    }
}

/// Fewer customers than this count as so many, as a shop that begins is about to grow.
const CUSTOMERS_AT_LEAST: u64 = 1_000;

impl Weights {
    /// From which sum on two customers are suggested, when there are so many customers.
    ///
    /// It is the prior of the formula turned round. Let a customer have about one further record:
    /// then another customer taken at random is that one with odds of one to the number of
    /// customers, and it takes `log2` of that number, rounded up to whole bits, until "one person"
    /// is as likely as not: 10 bits in a thousand, 20 in a million. `suggest_at` is added. Each
    /// bit more about halves what is suggested wrongly, and costs some of what is right: at -3,
    /// one in nine of those that just reach it is right, at 3 it is eight in nine.
    ///
    /// A shop of less than 1,000 customers is taken for one of 1,000. Never less than 0.
    #[must_use]
    pub fn needed(&self, customers: usize) -> Bits {
        let customers = u64::try_from(customers).unwrap_or(u64::MAX).max(CUSTOMERS_AT_LEAST);
        let whole_bits = u64::BITS - (customers - 1).leading_zeros();
        Bits(i32::try_from(whole_bits).unwrap_or(64) * 100) + self.suggest_at.bits()
    }
}

fn from_minus_ten<'de, D: Deserializer<'de>>(from: D) -> Result<Weight, D::Error> {
    let weight = Weight::deserialize(from)?;
    if weight.0 >= Bits(-1_000) {
        Ok(weight)
    } else {
        Err(de::Error::custom("must be -10 to 40 bits"))
    }
}

fn falling<'de, D: Deserializer<'de>, W: Deserialize<'de> + Levels>(
    from: D,
) -> Result<W, D::Error> {
    let weights = W::deserialize(from)?;
    if weights.falls() {
        Ok(weights)
    } else {
        Err(de::Error::custom("a level that says less must not weigh more than one that says more"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_not_said_is_the_default() {
        let weights: Weights = serde_json::from_value(
            json!({"suggest-at": 1.5, "birth-date": {"exact": 12.25}, "email": {"same-local-part": 5}}),
        )
        .unwrap();
        let weight = |hundredths| Weight(Bits(hundredths));
        let expected = Weights {
            suggest_at: weight(150),
            birth_date: BirthDateWeights { exact: weight(1_225), ..BirthDateWeights::default() },
            email: EmailWeights { same_local_part: weight(500), ..EmailWeights::default() },
            ..Weights::default()
        };
        assert_eq!(weights, expected);
        assert_eq!(serde_json::from_value::<Weights>(json!({})).unwrap(), Weights::default());
    }

    #[test]
    fn defaults_keep_the_rules_and_come_back_as_written() {
        let written = serde_json::to_value(Weights::default()).unwrap();
        assert_eq!(written["given-name"]["different"], json!(-3.5));
        assert_eq!(serde_json::from_value::<Weights>(written).unwrap(), Weights::default());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (wrong, why) in [
            (json!({"suggest-at": -10.01}), "-10 to 40"),
            (json!({"suggest-at": 40.01}), "-40 to 40"),
            (json!({"city": {"exact": 1.001}}), "two decimals"),
            (json!({"city": {"exact": 1.0}}), "must not weigh more"),
            (json!({"phone": {"exact": -2}}), "must not weigh more"),
            (json!({"town": {}}), "unknown field"),
            (json!({"city": {"near": 1}}), "unknown field"),
        ] {
            let error = serde_json::from_value::<Weights>(wrong).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX] {
            Weight::try_from(odd).unwrap_err();
        }
    }

    #[test]
    fn more_is_needed_among_more_customers() {
        let mut weights = Weights::default();
        let needed = |weights: &Weights, customers| {
            f64::from(weights.needed(customers).hundredths()) / 100.0
        };
        for (customers, bits) in
            [(0, 10.0), (1_024, 10.0), (1_025, 11.0), (1_000_000, 20.0), (usize::MAX, 64.0)]
        {
            assert!((needed(&weights, customers) - bits).abs() < 1e-9, "{customers}");
        }
        weights.suggest_at = Weight(Bits(-250));
        assert!((needed(&weights, 1_000_000) - 17.5).abs() < 1e-9);
        weights.suggest_at = Weight(Bits(-1_000));
        assert_eq!(weights.needed(0), Bits(0));
    }

    #[test]
    fn bits_are_shown_with_their_sign() {
        for (hundredths, shown) in [(0, "0.00"), (1_250, "12.50"), (-40, "-0.40"), (7, "0.07")] {
            assert_eq!(Bits(hundredths).to_string(), shown);
        }
    }
}
