use std::path::PathBuf;

use secrecy::SecretString;
use serde::Deserialize;

/// The credentials of a web shop, a till or a phone desk that posts events.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventSource {
    /// Signs the requests: `whsec_` and base64 (Standard Webhooks), or the shop's own secret when
    /// `mapping` names another scheme.
    pub secret: SecretString,
    /// The secret before it was changed, for as long as the source may still sign with it.
    pub previous_secret: Option<SecretString>,
    /// How the source's own webhooks are read. Without it they are CloudEvents.
    pub mapping: Option<PathBuf>,
}
