use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::{ConfigError, Problem};

/// A text that must not be seen: prints as `***`, is wiped when dropped, and has no comparison.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Secret(SecretString);

impl Secret {
    /// The text, for the call that needs it. Never keep, log or print it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Is it not set? Defaults are empty: a password may stay so, a key may not.
    pub fn is_empty(&self) -> bool {
        self.expose().is_empty()
    }

    /// The text, for a process that cannot run without it. `key` is `section.key`, for the error.
    pub fn required(&self, key: &str) -> Result<&str, ConfigError> {
        if !self.is_empty() {
            return Ok(self.expose());
        }
        let variable = key.to_uppercase().replace('.', "__");
        Err(ConfigError {
            problems: vec![Problem {
                key: key.to_owned(),
                layer: "defaults".to_owned(),
                what: "is empty".to_owned(),
                remedy: format!("name a file with the secret in MAINSTEM__{variable}_FILE"),
            }],
        })
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
