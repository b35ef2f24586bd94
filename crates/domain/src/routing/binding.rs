//! Which customer is whose: bindings, and the codes by which they are made.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use data_encoding::HEXLOWER_PERMISSIVE;
use serde::{Deserialize, Serialize};

use crate::access::Caller;
use crate::configuration::Handle;
use crate::person::Carrier;
use crate::{At, BrandId, ChannelId, CustomerId, EventId, StaffId, StoreId};

/// The longest that a binding code can be good for.
pub const CODE_VALID_AT_MOST: Duration = Duration::from_hours(366 * 24);

/// A salesperson, and the customer whose they are.
///
/// A customer has one binding in force for each brand, and one for all brands; towards a brand its own
/// counts before that for all. A newer one ends the older one of the same brand without a word in the
/// ledger: of two that were made by different people, who are taken for one and told apart again, each is
/// in force again with its own person. So everything that was ever bound is kept until the customer is
/// erased.
///
/// Equal but for [`ended`](Self::ended): the same one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Binding {
    /// Since when. Later than that of the one that it ends, whatever the clocks say.
    pub bound_at: At,
    /// The salesperson.
    pub staff: StaffId,
    /// For which brand; none: for all of them.
    pub brand: Option<BrandId>,
    /// The store in which the customer is looked after.
    pub store: Option<StoreId>,
    /// Where the customer was then; news about the binding go there.
    pub channel: ChannelId,
    /// How it was made.
    pub made: Made,
    /// What it hangs on; none, when nobody knows.
    pub carrier: Option<Carrier>,
    /// When staff ended it, if they did.
    pub ended: Option<Ended>,
}

/// How a binding was made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Made {
    /// By a code that the customer presented.
    Code {
        /// The code.
        nonce: Nonce,
        /// The event that carried it.
        event: EventId,
    },
    /// By a hand-over.
    HandOver {
        /// Whose the customer was before.
        from: StaffId,
    },
}

/// Staff ended a binding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ended {
    /// When.
    pub at: At,
    /// Who: the caller.
    pub by: String,
}

/// Why a binding is not in force any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedWhy {
    /// The customer bound themselves to somebody else, or once more.
    Replaced,
    /// It was handed over.
    HandedOver,
    /// Staff ended it.
    ByStaff,
}

/// A binding as reads show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindingView {
    /// Whose it is.
    pub customer: CustomerId,
    /// All of it.
    pub binding: Binding,
    /// When it ended and why; none: it is in force.
    pub end: Option<(At, EndedWhy)>,
}

impl BindingView {
    /// Whether it was in force at that moment. One that ends then is not.
    #[must_use]
    pub fn held(&self, at: At) -> bool {
        self.binding.bound_at <= at && self.end.is_none_or(|(end, _)| at < end)
    }
}

impl Binding {
    /// Whether they are the same one, ended or not.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let Self { bound_at, staff, brand, store, channel, made, carrier, ended: _ } = self;
        *bound_at == other.bound_at
            && *staff == other.staff
            && *brand == other.brand
            && *store == other.store
            && *channel == other.channel
            && *made == other.made
            && *carrier == other.carrier
    }
}

/// What tells one code from another: 40 bits, written as 10 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Nonce([u8; Self::LENGTH]);

/// Why a text is no nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 10 hexadecimal digits, as IssueBindingCode answered them")]
pub struct NoNonce;

impl Nonce {
    /// How many bytes it has.
    pub const LENGTH: usize = 5;

    /// Of these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::LENGTH]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn bytes(self) -> [u8; Self::LENGTH] {
        self.0
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER_PERMISSIVE.encode(&self.0))
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Nonce {
    type Err = NoNonce;

    fn from_str(text: &str) -> Result<Self, NoNonce> {
        let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(|_| NoNonce)?;
        bytes.try_into().map(Self).map_err(|_| NoNonce)
    }
}

impl TryFrom<String> for Nonce {
    type Error = NoNonce;
    fn try_from(text: String) -> Result<Self, NoNonce> {
        text.parse()
    }
}

impl From<Nonce> for String {
    fn from(nonce: Nonce) -> String {
        nonce.to_string()
    }
}

/// What a binding code says, once its seal was found to be ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Which code it is.
    pub nonce: Nonce,
    /// The salesperson.
    pub staff: Handle,
    /// The store; none: none.
    pub store: Option<Handle>,
    /// The brand; none: all of them.
    pub brand: Option<Handle>,
    /// From when on it is good no more, in minutes since 1970-01-01T00:00Z.
    pub expires_minute: u32,
}

const MINUTE_MILLIS: i64 = 60_000;

impl Claims {
    /// From this moment on the code is good no more.
    #[must_use]
    pub fn expires_at(&self) -> At {
        At::from_millis(i64::from(self.expires_minute) * MINUTE_MILLIS)
    }

    /// What a code says that was issued.
    #[must_use]
    pub fn of(code: &IssuedCode) -> Self {
        let minute = code.expires_at.as_millis().div_euclid(MINUTE_MILLIS);
        Self {
            nonce: code.nonce,
            staff: Handle::of(&code.staff),
            store: code.store.as_ref().map(Handle::of),
            brand: code.brand.as_ref().map(Handle::of),
            expires_minute: u32::try_from(minute.max(0)).unwrap_or(u32::MAX),
        }
    }
}

/// The first full minute at which so much time has gone by.
pub(super) fn full_minute(at: At, valid_for: Duration) -> At {
    let millis = at.after(valid_for).as_millis();
    let minutes = millis.div_euclid(MINUTE_MILLIS) + i64::from(millis % MINUTE_MILLIS != 0);
    At::from_millis(minutes.clamp(0, i64::from(u32::MAX)) * MINUTE_MILLIS)
}

/// A binding code that stood in a text or in the data of a tap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presented {
    /// What it says.
    pub opened: Opened,
    /// Whether nothing else was said: then it is no wish that a rule has to look at.
    pub alone: bool,
}

/// A code, looked at with the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// It looks like one of ours and is none.
    Forged,
    /// It is ours, whatever became of it since.
    Code(Claims),
}

/// A code that was issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedCode {
    /// What tells it from others.
    pub nonce: Nonce,
    /// Whose customers it makes.
    pub staff: StaffId,
    /// Where.
    pub store: Option<StoreId>,
    /// For which brand; none: for all of them.
    pub brand: Option<BrandId>,
    /// From this full minute on it is good no more.
    pub expires_at: At,
}

/// A code as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCode {
    /// Whose customers it makes.
    pub staff: StaffId,
    /// Where; none: in the store that the person works in, if in one.
    pub store: Option<StoreId>,
    /// For which brand; none: for all of them.
    pub brand: Option<BrandId>,
    /// For how long, rounded up to a full minute; at most [`CODE_VALID_AT_MOST`].
    pub valid_for: Duration,
    /// Who asks.
    pub caller: Caller,
    /// Which request it is.
    pub request: String,
}

/// What a code is answered with when it is issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeAnswer {
    /// The code.
    pub code: IssuedCode,
    /// What has to be sealed.
    pub claims: Claims,
    /// The basic id of the account that its link leads to; none: it has no link.
    pub account: Option<String>,
}

/// Why a presented code binds nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefusedWhy {
    /// Its time was up. Counts before the next one.
    Expired,
    /// Staff revoked it, or it names somebody or something that is not in the directory any more.
    Revoked,
    /// It is none of ours.
    Forged,
}

/// All customers of one salesperson, or some of them, become another's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandOver {
    /// Whose they are.
    pub from: StaffId,
    /// Whose they become.
    pub to: StaffId,
    /// Only those of this store.
    pub store: Option<StoreId>,
    /// Only those bindings that are for this brand.
    pub brand: Option<BrandId>,
    /// Who says so: the caller.
    pub by: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_reads_back_and_nothing_else_is_one() {
        let nonce = Nonce::from_bytes([0, 1, 0xab, 0xcd, 0xff]);
        assert_eq!(nonce.to_string(), "0001abcdff");
        assert_eq!("0001ABCDFF".parse(), Ok(nonce));
        for bad in ["", "0001abcdf", "0001abcdfff", "0001abcdfg", "MS-0001abcdff"] {
            assert_eq!(bad.parse::<Nonce>(), Err(NoNonce), "{bad}");
        }
    }

    #[test]
    fn a_code_is_good_for_at_least_as_long_as_was_asked_for() {
        let minute = |millis, seconds| {
            full_minute(At::from_millis(millis), Duration::from_secs(seconds)).as_millis() / 60_000
        };
        assert_eq!(minute(0, 60), 1);
        assert_eq!(minute(1, 60), 2);
        assert_eq!(minute(59_999, 60), 2);
        assert_eq!(minute(60_000, 61), 3);
        assert_eq!(minute(i64::MAX, 60), i64::from(u32::MAX));
    }
}
