//! The channels file: the credentials of each LINE account and of each other source of events.
//!
//! Invariant: what a channel is, where it belongs and how it is run stands in the applied directory
//! alone, never here.

use std::collections::BTreeMap;
use std::collections::btree_map;

use mainstem_domain::ChannelId;
use mainstem_domain::configuration;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use crate::{ChannelFacts, EventSource, signature};

/// One LINE account.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// The provider inside which the user ids of this channel mean something. LINE never lets a
    /// channel change it.
    pub provider: String,
    /// The account's own user id, which stands in each of its webhooks.
    pub destination: String,
    /// LINE's own number of the channel. With it and the secret, access tokens are asked for as they
    /// are needed.
    pub channel_id: Option<String>,
    /// Signs the webhooks.
    pub secret: SecretString,
    /// The secret before it was reissued. LINE kills the old one at once, but a webhook signed
    /// before that can still be under way.
    pub previous_secret: Option<SecretString>,
    /// The right to call LINE's API for this account, where tokens are not asked for: one that lives
    /// long.
    pub access_token: Option<SecretString>,
}

impl Channel {
    /// Whether the current or the previous secret signed these bytes.
    pub fn signed(&self, body: &[u8], signature: &str) -> bool {
        let verify =
            |secret: &SecretString| signature::verify(secret.expose_secret(), body, signature);
        verify(&self.secret) || self.previous_secret.as_ref().is_some_and(verify)
    }

    /// What every event of this channel carries, by the directory that is in force.
    pub fn facts(&self, id: &ChannelId, directory: &configuration::Channel) -> ChannelFacts {
        ChannelFacts {
            channel: id.clone(),
            store: directory.store.clone(),
            brand: directory.brand.clone(),
            provider: self.provider.clone(),
            mode: directory.mode,
        }
    }
}

/// All LINE accounts and all other sources, by the ids of their channels.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channels {
    #[serde(default)]
    channels: BTreeMap<ChannelId, Channel>,
    #[serde(default)]
    sources: BTreeMap<ChannelId, EventSource>,
}

/// Why a channels file is refused. Never shows a value of the file, which could be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChannelsError {
    /// Not TOML, or not the fields that a channel has.
    #[error("channels file, line {line}: {what}")]
    Format {
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// A field is there and cannot be right.
    #[error("channels file, channel {channel}: {field} {rule}")]
    Field {
        /// The channel.
        channel: ChannelId,
        /// Its field.
        field: &'static str,
        /// What the field must be.
        rule: &'static str,
    },
}

impl Channels {
    /// Reads `[channels.<id>]` and `[sources.<id>]` tables.
    pub fn parse(text: &str) -> Result<Self, ChannelsError> {
        let channels: Self = toml::from_str(text).map_err(|error| format_error(text, &error))?;
        channels.validate()?;
        channels.validate_sources()?;
        Ok(channels)
    }

    /// The LINE account of that channel.
    pub fn get(&self, id: &ChannelId) -> Option<&Channel> {
        self.channels.get(id)
    }

    /// All LINE accounts, in the order of their ids.
    pub fn iter(&self) -> btree_map::Iter<'_, ChannelId, Channel> {
        self.channels.iter()
    }

    /// All other sources, in the order of their ids.
    pub fn sources(&self) -> btree_map::Iter<'_, ChannelId, EventSource> {
        self.sources.iter()
    }

    fn validate_sources(&self) -> Result<(), ChannelsError> {
        for (id, source) in &self.sources {
            let secrets = [Some(&source.secret), source.previous_secret.as_ref()];
            if secrets.into_iter().flatten().any(|secret| secret.expose_secret().is_empty()) {
                return Err(ChannelsError::Field {
                    channel: id.clone(),
                    field: "secret",
                    rule: "must not be empty; anybody could sign with that",
                });
            }
        }
        Ok(())
    }

    fn validate(&self) -> Result<(), ChannelsError> {
        let mut destinations = BTreeMap::new();
        for (id, channel) in self {
            let refuse =
                |field, rule| Err(ChannelsError::Field { channel: id.clone(), field, rule });
            let provider = &channel.provider;
            let plain = |byte: u8| byte.is_ascii_graphic() && byte != b':';
            // The provider is the first part of each person's identifier.
            if !(1..=64).contains(&provider.len()) || !provider.bytes().all(plain) {
                return refuse(
                    "provider",
                    "must be 1 to 64 printable ASCII characters without ':'",
                );
            }
            if channel.destination.is_empty() {
                return refuse("destination", "must be the account's own user id");
            }
            if destinations.insert(&channel.destination, id).is_some() {
                return refuse("destination", "is another channel's too; each account has its own");
            }
            let secrets = [Some(&channel.secret), channel.previous_secret.as_ref()];
            if secrets.into_iter().flatten().any(|secret| secret.expose_secret().is_empty()) {
                return refuse("secret", "must not be empty; anybody could sign with that");
            }
            let graphic =
                |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
            if !channel.channel_id.as_deref().is_none_or(graphic) {
                return refuse("channel_id", "must be LINE's number of the channel");
            }
            match &channel.access_token {
                Some(token) if !graphic(token.expose_secret()) => {
                    return refuse("access_token", "must be printable ASCII without blanks");
                }
                None if channel.channel_id.is_none() => {
                    return refuse(
                        "channel_id",
                        "must be there, so that access tokens can be asked for; or else access_token",
                    );
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl<'a> IntoIterator for &'a Channels {
    type Item = (&'a ChannelId, &'a Channel);
    type IntoIter = btree_map::Iter<'a, ChannelId, Channel>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The parser's own text shows the line, and its message can show the value: both could be a
/// secret. Only messages about names are passed on.
fn format_error(text: &str, error: &toml::de::Error) -> ChannelsError {
    let start = error.span().map_or(0, |span| span.start);
    let line = text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1;
    let message = error.message();
    let about_names = ["unknown field", "missing field", "channel:"];
    let what = if about_names.iter().any(|start| message.starts_with(start)) {
        message.to_owned()
    } else {
        "not the TOML expected; text values stand in double quotes".to_owned()
    };
    ChannelsError::Format { line, what }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
[channels.line-07]
provider = "p1"
destination = "U8e742f61d673b39c7fff3cecb7536ef0"
secret = "new"
previous_secret = "old"
access_token = "token"

[sources.shop-1]
secret = "whsec_bmV3"
previous_secret = "whsec_b2xk"
mapping = "shop.yaml"
"#;

    fn error(text: &str) -> String {
        Channels::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn both_secrets_sign_and_neither_is_printed() {
        let channels = Channels::parse(FILE).unwrap();
        let (_, channel) = channels.iter().next().unwrap();
        for secret in ["new", "old"] {
            assert!(channel.signed(b"body", &signature::sign(secret, b"body")));
        }
        assert!(!channel.signed(b"body", &signature::sign("other", b"body")));
        let printed = format!("{channels:?}");
        for secret in ["\"new\"", "\"token\"", "whsec_"] {
            assert!(!printed.contains(secret), "{printed}");
        }
        let (id, source) = channels.sources().next().unwrap();
        assert_eq!((id.as_str(), source.secret.expose_secret()), ("shop-1", "whsec_bmV3"));
        assert_eq!(source.mapping.as_deref(), Some(std::path::Path::new("shop.yaml")));
    }

    #[test]
    fn where_a_channel_belongs_comes_from_the_directory() {
        let channels = Channels::parse(FILE).unwrap();
        let (id, channel) = channels.iter().next().unwrap();
        let directory = configuration::Channel {
            store: Some("store-07".parse().unwrap()),
            mode: configuration::Mode::Shadow,
            ..configuration::Channel::default()
        };
        let facts = channel.facts(id, &directory);
        assert_eq!(facts.store, directory.store);
        assert_eq!((facts.brand, facts.mode), (None, configuration::Mode::Shadow));
        assert_eq!((facts.channel, facts.provider.as_str()), (id.clone(), "p1"));
    }

    #[test]
    fn errors_name_the_place_and_show_no_value() {
        assert_eq!(
            error(&FILE.replace("access_token =", "store =")),
            "channels file, line 7: unknown field `store`, expected one of `provider`, \
             `destination`, `channel_id`, `secret`, `previous_secret`, `access_token`"
        );
        assert!(error(&FILE.replace("mapping =", "brand =")).contains("unknown field `brand`"));
        assert!(error(&FILE.replace("secret = \"new\"", "")).contains("missing field `secret`"));
        assert!(error(&FILE.replace("line-07", "LINE")).contains("must be 1 to 64 of a-z"));
        for hidden in ["12345678", "[\"12345678\"]", "\"12345678"] {
            let text = error(&FILE.replace("\"new\"", hidden));
            assert!(text.starts_with("channels file, line 5: not the TOML"), "{text}");
        }
    }

    #[test]
    fn values_that_cannot_be_right_are_refused() {
        assert!(error(&FILE.replace("\"p1\"", "\"p:1\"")).contains("line-07: provider must be"));
        assert!(error(&FILE.replace("\"old\"", "\"\"")).contains("secret must not be empty"));
        assert!(error(&FILE.replace("\"token\"", "\"a b\"")).contains("access_token must be"));
        assert!(
            error(&FILE.replace("access_token = \"token\"", ""))
                .contains("channel_id must be there")
        );
        let number = FILE.replace("access_token = \"token\"", "channel_id = \"1654321\"");
        assert!(Channels::parse(&number).is_ok());
        assert!(
            error(&number.replace("1654321", "165 4321")).contains("channel_id must be LINE's")
        );
        assert!(
            error(&FILE.replace("whsec_b2xk", "")).contains("shop-1: secret must not be empty")
        );
        let again = FILE.replace("line-07", "line-08").replace("shop-1", "shop-2");
        let twice = format!("{FILE}{again}");
        assert!(error(&twice).contains("line-08: destination is another channel's too"));
    }
}
