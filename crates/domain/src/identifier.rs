//! What tells one person from another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One identifier of a person, written `kind:value` (`line:<provider>:<user>`,
/// `external:<system>:<id>`).
///
/// A LINE user id means something only inside its provider, so the provider is part of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Identifier {
    /// A LINE user id inside a provider; both opaque.
    Line {
        /// The provider.
        provider: String,
        /// The user id.
        user: String,
    },
    /// A phone number in E.164.
    Phone(String),
    /// An e-mail address.
    Email(String),
    /// A membership number.
    Member(String),
    /// A browser cookie.
    Cookie(String),
    /// An id in another system.
    External {
        /// The system.
        system: String,
        /// The id there.
        id: String,
    },
}

/// Which identifiers a source owns: all of one kind, of `external` those of one system.
///
/// Written `member`, `phone`, `email`, `cookie` or `external:<system>`. What LINE signs it owns
/// without being told.
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
}

impl TryFrom<String> for Owned {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.split_once(':') {
            None => match text.as_str() {
                "phone" => Ok(Self::Phone),
                "email" => Ok(Self::Email),
                "member" => Ok(Self::Member),
                "cookie" => Ok(Self::Cookie),
                _ => Err("must be phone, email, member, cookie or external:<system>"),
            },
            Some(("external", system)) if !system.is_empty() && !system.contains(':') => {
                Ok(Self::External(system.to_owned()))
            }
            Some(_) => Err("must be phone, email, member, cookie or external:<system>"),
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
}

impl FromStr for Identifier {
    type Err = IdentifierError;

    fn from_str(text: &str) -> Result<Self, IdentifierError> {
        if text.len() > 256 {
            return Err(IdentifierError::Long);
        }
        let (kind, value) = text.split_once(':').ok_or(IdentifierError::Kind)?;
        let whole = |value: &str| {
            if value.is_empty() {
                Err(IdentifierError::Empty)
            } else if value.chars().any(char::is_control) || value.trim() != value {
                Err(IdentifierError::Characters)
            } else {
                Ok(value.to_owned())
            }
        };
        let pair = |value: &str| {
            let (left, right) = value.split_once(':').ok_or(IdentifierError::Empty)?;
            Ok((whole(left)?, whole(right)?))
        };
        match kind {
            "line" => pair(value).map(|(provider, user)| Self::Line { provider, user }),
            "phone" => whole(value).map(Self::Phone),
            "email" => whole(value).map(Self::Email),
            "member" => whole(value).map(Self::Member),
            "cookie" => whole(value).map(Self::Cookie),
            "external" => pair(value).map(|(system, id)| Self::External { system, id }),
            _ => Err(IdentifierError::Kind),
        }
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

    proptest! {
        #[test]
        fn any_text_is_an_identifier_that_prints_the_same_or_an_error(text in "(line:|member:|external:|phone:)?.{0,300}") {
            if let Ok(identifier) = text.parse::<Identifier>() {
                prop_assert_eq!(identifier.to_string(), text);
            }
        }
    }
}
