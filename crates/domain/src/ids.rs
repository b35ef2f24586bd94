use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use smol_str::SmolStr;
use uuid::Uuid;

use crate::shelf::Derived;

/// Why a text is no id. Names the rule and, through `kind`, the field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {rule}")]
pub struct IdError {
    /// Which id was asked for, e.g. `channel`.
    pub kind: &'static str,
    /// The rule that the text breaks.
    pub rule: &'static str,
}

/// Ids that people choose in the directory. They stand in NATS subjects and metric labels, so
/// only characters that need no escaping there are let in.
macro_rules! slug {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        ///
        /// 1 to 64 characters of `a-z`, `0-9` and `-`, not starting or ending with `-`.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(SmolStr);

        impl $name {
            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
                let fits = (1..=64).contains(&text.len())
                    && text.bytes().all(|byte| plain(byte) || byte == b'-')
                    && !text.starts_with('-')
                    && !text.ends_with('-');
                if fits {
                    Ok(Self(text.into()))
                } else {
                    Err(IdError {
                        kind: $kind,
                        rule: "must be 1 to 64 of a-z, 0-9 and '-', not starting or ending with '-'",
                    })
                }
            }
        }

        id_conversions!($name);
    };
}

macro_rules! id_conversions {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

slug!(
    /// One LINE account, web shop, till or phone desk.
    ChannelId,
    "channel"
);
slug!(
    /// A brand of the retailer.
    BrandId,
    "brand"
);
slug!(
    /// A store (counter).
    StoreId,
    "store"
);
slug!(
    /// A back-office queue.
    QueueId,
    "queue"
);
slug!(
    /// A back-office unit: who works on some queues.
    UnitId,
    "unit"
);
slug!(
    /// Opening hours and holidays.
    CalendarId,
    "calendar"
);
slug!(
    /// A salesperson, or somebody at a desk. Stands for a person, so it holds no name.
    StaffId,
    "staff"
);
slug!(
    /// A brand's service desk, or the central one.
    DeskId,
    "desk"
);

slug!(
    /// What a rule marks a case or a conversation with, e.g. `complaint`.
    Tag,
    "tag"
);

slug!(
    /// What an attribute of a person says, e.g. `name`, `given-name`, `family-name`,
    /// `birth-date`, `city`, `language`.
    AttributeName,
    "attribute"
);
slug!(
    /// By which means somebody can be told something, e.g. `line`, `email`, `sms`, `phone`.
    Means,
    "means"
);
slug!(
    /// What somebody may be told something for, e.g. `marketing`.
    Purpose,
    "purpose"
);

/// Ids that deciders derive: a letter for the kind and 16 characters of Crockford base 32, which
/// is 80 bits of a SHA-256 over what the id stands for. The same input gives the same id on every
/// run, so a crash between deciding and storing cannot give one thing two ids.
macro_rules! derived {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $letter:literal, $name_of_letter:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; 17]);

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                order_of(&self.0).cmp(&order_of(&other.0))
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Derived for $name {
            fn as_bytes(&self) -> &[u8; 17] {
                &self.0
            }
        }

        impl $name {
            /// Derives the id of the thing that `origin` tells apart from all others of its kind.
            #[must_use]
            pub fn derive(origin: &str) -> Self {
                Self(derive_id($letter, $kind, origin))
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                std::str::from_utf8(&self.0).unwrap_or_default()
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let bytes: Option<[u8; 17]> = text.as_bytes().try_into().ok();
                bytes
                    .filter(|bytes| {
                        bytes[0] == $letter && bytes[1..].iter().all(|byte| IS_CROCKFORD[usize::from(*byte)])
                    })
                    .map(Self)
                    .ok_or(IdError {
                        kind: $kind,
                        rule: concat!("must be ", $name_of_letter, " and 16 characters of Crockford base 32"),
                    })
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        id_conversions!($name);
    };
}

const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Whether a byte is one of [`CROCKFORD`].
const IS_CROCKFORD: [bool; 256] = {
    let mut is = [false; 256];
    let mut at = 0;
    while at < CROCKFORD.len() {
        is[CROCKFORD[at] as usize] = true;
        at += 1;
    }
    is
};

/// Ids are in the order of their texts. Compared as numbers: maps of millions of them are looked
/// through all the time, and a call for each pair of ids was a quarter of routing's work.
fn order_of(id: &[u8; 17]) -> (u128, u8) {
    let mut first = [0; 16];
    first.copy_from_slice(&id[..16]);
    (u128::from_be_bytes(first), id[16])
}

fn derive_id(letter: u8, kind: &str, origin: &str) -> [u8; 17] {
    let digest = Sha256::new().chain_update(kind).chain_update([0]).chain_update(origin).finalize();
    let mut id = [letter; 17];
    for (index, slot) in id[1..].iter_mut().enumerate() {
        let bit = index * 5;
        let pair = u16::from_be_bytes([digest[bit / 8], digest[bit / 8 + 1]]);
        *slot = CROCKFORD[usize::from(pair >> (11 - bit % 8)) & 31];
    }
    id
}

derived!(
    /// One customer. Stays valid for ever: after a merge it is an alias of the survivor.
    CustomerId,
    "customer",
    b'C',
    "C"
);
derived!(
    /// Something about identities that was set aside, for somebody to look at.
    ConflictId,
    "conflict",
    b'X',
    "X"
);
derived!(
    /// A proposal that two customers are one person.
    SuggestionId,
    "suggestion",
    b'S',
    "S"
);
derived!(
    /// An identifier that two customers claim.
    DisputeId,
    "dispute",
    b'D',
    "D"
);
derived!(
    /// One customer that was taken apart.
    SplitId,
    "split",
    b'P',
    "P"
);
derived!(
    /// One customer whose data goes everywhere.
    ErasureId,
    "erasure",
    b'E',
    "E"
);
derived!(
    /// One message that its person took back.
    UnsendId,
    "unsend",
    b'U',
    "U"
);
derived!(
    /// One case on one back-office queue.
    CaseId,
    "case",
    b'K',
    "K"
);
derived!(
    /// What a customer and the retailer say to each other on one channel about one brand.
    ConversationId,
    "conversation",
    b'V',
    "V"
);
derived!(
    /// One send item: one call to a vendor's sending API.
    ItemId,
    "item",
    b'N',
    "N"
);

/// The id of an event as its source gave it (CloudEvents `id`): 1 to 128 printable ASCII
/// characters without blanks, so that it fits a header.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EventId(SmolStr);

impl EventId {
    /// One that was an id before, so that nothing is looked at again.
    pub(crate) fn known(text: SmolStr) -> Self {
        Self(text)
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EventId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        if (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(text.into()))
        } else {
            Err(IdError {
                kind: "event id",
                rule: "must be 1 to 128 printable ASCII characters without blanks",
            })
        }
    }
}

impl ChannelId {
    /// One that was an id before, so that nothing is looked at again.
    pub(crate) fn known(text: &str) -> Self {
        Self(text.into())
    }
}

impl CustomerId {
    /// Less than every id, and none.
    pub(crate) const LEAST: Self = Self([0; 17]);
}

impl CaseId {
    /// Less than every id, and none.
    pub(crate) const LEAST: Self = Self([0; 17]);
}

id_conversions!(EventId);

/// The UUIDv5 of `name` in Mainstem's namespace: the same name gives the same UUID on every run.
#[must_use]
pub fn derive_uuid(name: &str) -> Uuid {
    const NAMESPACE: Uuid = Uuid::from_u128(0x8f3c_2b0e_6d4a_5c91_9a57_0c4f_1d2e_7b63);
    Uuid::new_v5(&NAMESPACE, name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_slug_names_the_rule_it_breaks() {
        assert!("store-07".parse::<StoreId>().is_ok());
        for bad in ["", "-a", "a-", "A", "a.b", "a b", "a*", &"x".repeat(65)] {
            let error = bad.parse::<StoreId>().unwrap_err();
            assert!(error.to_string().starts_with("store: must be 1 to 64"), "{bad:?}: {error}");
        }
    }

    #[test]
    fn kinds_never_share_an_id() {
        let (customer, case) = (CustomerId::derive("x"), CaseId::derive("x"));
        assert_ne!(customer.as_str()[1..], case.as_str()[1..]);
        assert!(customer.as_str().starts_with('C') && case.as_str().starts_with('K'));
        assert!(case.as_str().parse::<CustomerId>().is_err());
    }

    proptest! {
        #[test]
        fn ids_are_in_the_order_of_their_texts(one in ".{0,9}", other in ".{0,9}") {
            let (one, other) = (CaseId::derive(&one), CaseId::derive(&other));
            prop_assert_eq!(one.cmp(&other), one.as_str().cmp(other.as_str()));
            prop_assert_eq!(one.cmp(&one), Ordering::Equal);
        }

        #[test]
        fn a_derived_id_reads_back(origin in ".{0,40}") {
            let id = CustomerId::derive(&origin);
            prop_assert_eq!(id.as_str().parse::<CustomerId>(), Ok(id));
            prop_assert_eq!(CustomerId::derive(&origin), id);
        }
    }
}
