//! What tells one person from another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::AttributeName;

mod email;
mod normal;
mod phone;

pub use normal::{Normal, normalise};

/// How long an identifier may be, in bytes, its kind included.
const AT_MOST: usize = 256;

/// One identifier of a person, written `kind:value` (`line:<provider>:<user>`,
/// `external:<system>:<id>`).
///
/// A LINE user id means something only inside its provider, so the provider is part of it.
/// Cloning copies no text: an event that makes somebody known carries each of them on.
///
/// [`FromStr`] reads what ledgers hold: it is strict about the form and never depends on which
/// numbers a country gives out today. What sources write goes through [`normalise`] first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Identifier {
    /// A LINE user id inside a provider; both opaque.
    Line {
        /// The provider.
        provider: SmolStr,
        /// The user id.
        user: SmolStr,
    },
    /// A phone number in E.164: `+` and 8 to 15 digits.
    Phone(SmolStr),
    /// An e-mail address: one `@` with something on both sides. What [`normalise`] gave has a local
    /// part in lower case and a domain in ASCII; older ledgers hold others.
    Email(SmolStr),
    /// A membership number.
    Member(SmolStr),
    /// A browser cookie.
    Cookie(SmolStr),
    /// An id in another system.
    External {
        /// The system.
        system: SmolStr,
        /// The id there.
        id: SmolStr,
    },
}

/// What sort of identifier it is; strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A membership number.
    Member,
    /// A phone number.
    Phone,
    /// An e-mail address.
    Email,
    /// A LINE user id.
    Line,
    /// An id in another system.
    External,
    /// A browser cookie.
    Cookie,
}

impl Kind {
    /// All of them, strongest first.
    pub const ALL: [Self; 6] =
        [Self::Member, Self::Phone, Self::Email, Self::Line, Self::External, Self::Cookie];

    /// How strongly it tells a person: 1 is strongest.
    #[must_use]
    pub fn rank(self) -> usize {
        self as usize + 1
    }

    /// Its name, as identifiers of it begin.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Phone => "phone",
            Self::Email => "email",
            Self::Line => "line",
            Self::External => "external",
            Self::Cookie => "cookie",
        }
    }

    /// The one with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Identifier {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Line { .. } => Kind::Line,
            Self::Phone(_) => Kind::Phone,
            Self::Email(_) => Kind::Email,
            Self::Member(_) => Kind::Member,
            Self::Cookie(_) => Kind::Cookie,
            Self::External { .. } => Kind::External,
        }
    }

    /// What stands for the person, without the kind, and without the provider or system.
    #[must_use]
    pub fn value(&self) -> &str {
        match self {
            Self::Line { user: value, .. }
            | Self::Phone(value)
            | Self::Email(value)
            | Self::Member(value)
            | Self::Cookie(value)
            | Self::External { id: value, .. } => value,
        }
    }

    /// The provider or system inside which the value means something.
    #[must_use]
    pub fn space(&self) -> Option<&str> {
        match self {
            Self::Line { provider: space, .. } | Self::External { system: space, .. } => {
                Some(space)
            }
            Self::Phone(_) | Self::Email(_) | Self::Member(_) | Self::Cookie(_) => None,
        }
    }

    /// An identifier from what was one: `space` counts only for kinds that have one.
    pub(crate) fn from_parts(kind: Kind, space: SmolStr, value: SmolStr) -> Self {
        match kind {
            Kind::Line => Self::Line { provider: space, user: value },
            Kind::Phone => Self::Phone(value),
            Kind::Email => Self::Email(value),
            Kind::Member => Self::Member(value),
            Kind::Cookie => Self::Cookie(value),
            Kind::External => Self::External { system: space, id: value },
        }
    }

    /// Whether the value is one that systems write when they know nobody: nothing but zeros and
    /// dashes (a phone's `+` aside), `-1`, `null` or `anonymous` in any letter case. It never ties
    /// anybody to anybody.
    #[must_use]
    pub fn is_placeholder(&self) -> bool {
        let value = self.value();
        let value = if self.kind() == Kind::Phone { value.trim_start_matches('+') } else { value };
        value.bytes().all(|byte| matches!(byte, b'0' | b'-'))
            || ["-1", "null", "anonymous"].iter().any(|word| value.eq_ignore_ascii_case(word))
    }
}

/// What a source owns: identifiers of one kind, of `external` those of one system, and attributes
/// of one name.
///
/// Written `member`, `phone`, `email`, `cookie`, `external:<system>` or `attribute:<name>`. What
/// LINE signs it owns without being told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Owned {
    /// Phone numbers.
    Phone,
    /// E-mail addresses.
    Email,
    /// Membership numbers.
    Member,
    /// Browser cookies.
    Cookie,
    /// Ids of one system.
    External(String),
    /// Attributes of one name.
    Attribute(AttributeName),
}

impl Owned {
    /// Whether this identifier is one of them.
    #[must_use]
    pub fn covers(&self, identifier: &Identifier) -> bool {
        match (self, identifier) {
            (Self::Phone, Identifier::Phone(_))
            | (Self::Email, Identifier::Email(_))
            | (Self::Member, Identifier::Member(_))
            | (Self::Cookie, Identifier::Cookie(_)) => true,
            (Self::External(own), Identifier::External { system, .. }) => own == system,
            _ => false,
        }
    }

    /// Whether attributes of this name are among it.
    #[must_use]
    pub fn covers_attribute(&self, name: &AttributeName) -> bool {
        matches!(self, Self::Attribute(own) if own == name)
    }
}

impl TryFrom<String> for Owned {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let rule = "must be phone, email, member, cookie, external:<system> or attribute:<name>";
        match text.split_once(':') {
            None => match text.as_str() {
                "phone" => Ok(Self::Phone),
                "email" => Ok(Self::Email),
                "member" => Ok(Self::Member),
                "cookie" => Ok(Self::Cookie),
                _ => Err(rule),
            },
            Some(("external", system)) if !system.is_empty() && !system.contains(':') => {
                Ok(Self::External(system.to_owned()))
            }
            Some(("attribute", name)) => name.parse().map(Self::Attribute).map_err(|_| rule),
            Some(_) => Err(rule),
        }
    }
}

impl From<Owned> for String {
    fn from(owned: Owned) -> String {
        match owned {
            Owned::Phone => "phone".to_owned(),
            Owned::Email => "email".to_owned(),
            Owned::Member => "member".to_owned(),
            Owned::Cookie => "cookie".to_owned(),
            Owned::External(system) => format!("external:{system}"),
            Owned::Attribute(name) => format!("attribute:{name}"),
        }
    }
}

/// Why a text is no identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentifierError {
    /// Not one of the kinds.
    #[error("must start with line:, phone:, email:, member:, cookie: or external:")]
    Kind,
    /// Nothing stands where a value should.
    #[error(
        "has an empty part; write kind:value, line:<provider>:<user> or external:<system>:<id>"
    )]
    Empty,
    /// Longer than 256 bytes.
    #[error("is longer than 256 bytes")]
    Long,
    /// A control character or a blank at an end.
    #[error("has a control character, or a blank at its start or end")]
    Characters,
    /// A phone number that is not in E.164.
    #[error("is no phone number; write phone:+ and 8 to 15 digits with the country code")]
    Phone,
    /// A phone number that a service, and no person, answers: toll-free, premium rate, shared cost.
    #[error("is the number of a service that anybody may call; it tells no person")]
    Service,
    /// An e-mail address that is none.
    #[error("is no e-mail address; write one @ with something on both sides")]
    Email,
}

impl IdentifierError {
    /// Whether it was the source that wrote nonsense (nothing, far too much, control characters),
    /// so that it has to be told. Of all else people make mistakes that no source can know of, and
    /// kinds will be added: such an identifier ties nobody, and its event stands.
    #[must_use]
    pub fn is_malformed(&self) -> bool {
        match self {
            Self::Empty | Self::Long | Self::Characters => true,
            Self::Kind | Self::Phone | Self::Service | Self::Email => false,
        }
    }
}

impl FromStr for Identifier {
    type Err = IdentifierError;

    fn from_str(text: &str) -> Result<Self, IdentifierError> {
        if text.len() > AT_MOST {
            return Err(IdentifierError::Long);
        }
        let (kind, value) = text.split_once(':').ok_or(IdentifierError::Kind)?;
        let whole = |value: &str| {
            if value.is_empty() {
                Err(IdentifierError::Empty)
            } else if value.chars().any(char::is_control) || value.trim() != value {
                Err(IdentifierError::Characters)
            } else {
                Ok(SmolStr::new(value))
            }
        };
        let pair = |value: &str| {
            let (left, right) = value.split_once(':').ok_or(IdentifierError::Empty)?;
            Ok((whole(left)?, whole(right)?))
        };
        match kind {
            "line" => pair(value).map(|(provider, user)| Self::Line { provider, user }),
            "phone" => phone(whole(value)?).map(Self::Phone),
            "email" => email(whole(value)?).map(Self::Email),
            "member" => whole(value).map(Self::Member),
            "cookie" => whole(value).map(Self::Cookie),
            "external" => pair(value).map(|(system, id)| Self::External { system, id }),
            _ => Err(IdentifierError::Kind),
        }
    }
}

fn phone(value: SmolStr) -> Result<SmolStr, IdentifierError> {
    let digits = value.strip_prefix('+').ok_or(IdentifierError::Phone)?;
    let fits = (8..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    if fits { Ok(value) } else { Err(IdentifierError::Phone) }
}

fn email(value: SmolStr) -> Result<SmolStr, IdentifierError> {
    match value.split_once('@') {
        Some((local, domain))
            if !local.is_empty() && !domain.is_empty() && !domain.contains('@') =>
        {
            Ok(value)
        }
        Some(_) | None => Err(IdentifierError::Email),
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { provider, user } => write!(f, "line:{provider}:{user}"),
            Self::Phone(value) => write!(f, "phone:{value}"),
            Self::Email(value) => write!(f, "email:{value}"),
            Self::Member(value) => write!(f, "member:{value}"),
            Self::Cookie(value) => write!(f, "cookie:{value}"),
            Self::External { system, id } => write!(f, "external:{system}:{id}"),
        }
    }
}

impl TryFrom<String> for Identifier {
    type Error = IdentifierError;
    fn try_from(text: String) -> Result<Self, IdentifierError> {
        text.parse()
    }
}

impl From<Identifier> for String {
    fn from(identifier: Identifier) -> String {
        identifier.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn errors_say_what_is_wrong() {
        let error = |text: &str| text.parse::<Identifier>().unwrap_err();
        assert_eq!(error("U123"), IdentifierError::Kind);
        assert_eq!(error("fax:1"), IdentifierError::Kind);
        assert_eq!(error("member:"), IdentifierError::Empty);
        assert_eq!(error("line:U1"), IdentifierError::Empty);
        assert_eq!(error("member: 1"), IdentifierError::Characters);
        assert_eq!(error("member:a\nb"), IdentifierError::Characters);
        assert_eq!(error(&format!("member:{}", "x".repeat(256))), IdentifierError::Long);
    }

    #[test]
    fn a_phone_number_is_e164_and_an_address_has_one_at() {
        let error = |text: &str| text.parse::<Identifier>().err();
        for good in ["phone:+12345678", "phone:+886912345678", "phone:+123456789012345"] {
            assert_eq!(error(good), None, "{good}");
        }
        for bad in ["+1234567", "+1234567890123456", "0912345678", "+886-912345678", "+"] {
            assert_eq!(error(&format!("phone:{bad}")), Some(IdentifierError::Phone), "{bad}");
        }
        // Digits of other scripts are not E.164 before they are normalised.
        assert_eq!(error("phone:+\u{ff18}\u{ff18}\u{ff16}912345678"), Some(IdentifierError::Phone));
        assert_eq!(error("email:a@b"), None);
        for bad in ["a", "@b", "a@", "@", "a@b@c"] {
            assert_eq!(error(&format!("email:{bad}")), Some(IdentifierError::Email), "{bad}");
        }
    }

    #[test]
    fn a_placeholder_is_known_by_its_value() {
        let placeholder = |text: &str| text.parse::<Identifier>().unwrap().is_placeholder();
        for text in [
            "member:0",
            "member:-",
            "cookie:000-000",
            "external:pos:-1",
            "line:p:NULL",
            "member:Anonymous",
            "phone:+00000000",
        ] {
            assert!(placeholder(text), "{text}");
        }
        for text in [
            "member:10",
            "member:-2",
            "external:null:7",
            "email:null@b.example",
            "member:nullable",
            "phone:+10000000",
            "line:0:U1",
        ] {
            assert!(!placeholder(text), "{text}");
        }
    }

    #[test]
    fn a_source_owns_identifiers_or_attributes() {
        for text in ["phone", "external:pos", "attribute:birth-date"] {
            assert_eq!(String::from(Owned::try_from(text.to_owned()).unwrap()), text);
        }
        for text in ["attribute", "attribute:", "attribute:Birth Date", "external:", "line", ""] {
            assert!(Owned::try_from(text.to_owned()).unwrap_err().contains("attribute:<name>"));
        }
        let city = Owned::try_from("attribute:city".to_owned()).unwrap();
        assert!(city.covers_attribute(&"city".parse().unwrap()));
        assert!(!city.covers_attribute(&"language".parse().unwrap()));
        assert!(!city.covers(&Identifier::Member("city".into())));
        assert!(!Owned::Phone.covers_attribute(&"phone".parse().unwrap()));
    }

    #[test]
    fn kinds_go_by_rank() {
        let ranks: Vec<_> = Kind::ALL.into_iter().map(Kind::rank).collect();
        assert_eq!(ranks, [1, 2, 3, 4, 5, 6]);
        for kind in Kind::ALL {
            assert_eq!(Kind::from_name(kind.name()), Some(kind));
        }
    }

    proptest! {
        #[test]
        fn any_text_is_an_identifier_that_prints_the_same_or_an_error(text in "(line:|member:|external:|phone:\\+?|email:)?([0-9@]{0,20}|.{0,300})") {
            if let Ok(identifier) = text.parse::<Identifier>() {
                prop_assert_eq!(identifier.to_string(), text);
            }
        }
    }
}
