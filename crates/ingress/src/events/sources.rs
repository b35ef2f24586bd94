use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use http::HeaderMap;
use mainstem_domain::{At, ChannelId};
use mainstem_line::{Channels, EventSource};

use super::mapping::{Mapping, MappingError};
use super::signature::Verifier;
use crate::Refused;

/// A source of events: how its requests are verified and read.
#[derive(Debug)]
pub struct Source {
    verifier: Verifier,
    mapping: Option<Mapping>,
}

impl Source {
    /// Refuses what the source did not sign, or signed at another time.
    pub(super) fn verify(&self, headers: &HeaderMap, body: &[u8], now: At) -> Result<(), Refused> {
        self.verifier.verify(headers, body, now)
    }

    /// How its own webhooks are read, if they are no CloudEvents.
    pub(super) fn mapping(&self) -> Option<&Mapping> {
        self.mapping.as_ref()
    }
}

/// All sources, by their channels.
#[derive(Debug, Default)]
pub struct Sources(BTreeMap<ChannelId, Source>);

/// Why a source cannot be used. Never shows a secret.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The mapping file cannot be read.
    #[error("channels file, source {channel}: mapping {path}: {source}", path = path.display())]
    Unreadable {
        /// The channel.
        channel: ChannelId,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The mapping file is none.
    #[error("channels file, source {channel}: mapping {path}: {source}", path = path.display())]
    Mapping {
        /// The channel.
        channel: ChannelId,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: MappingError,
    },
    /// A secret that cannot be one.
    #[error("channels file, source {channel}: secret {rule}")]
    Secret {
        /// The channel.
        channel: ChannelId,
        /// What it must be.
        rule: &'static str,
    },
}

impl Sources {
    /// Makes all sources of a channels file; `read` reads the mapping files.
    pub fn load(
        channels: &Channels,
        read: impl Fn(&Path) -> std::io::Result<String>,
    ) -> Result<Self, SourceError> {
        let source = |(id, credentials): (&ChannelId, &EventSource)| {
            Ok((id.clone(), make(id, credentials, &read)?))
        };
        channels.sources().map(source).collect::<Result<_, _>>().map(Self)
    }

    /// The source of that channel.
    pub fn get(&self, id: &ChannelId) -> Option<&Source> {
        self.0.get(id)
    }
}

fn make(
    id: &ChannelId,
    credentials: &EventSource,
    read: impl Fn(&Path) -> std::io::Result<String>,
) -> Result<Source, SourceError> {
    let mapping = match &credentials.mapping {
        Some(path) => {
            let text = read(path).map_err(|source| SourceError::Unreadable {
                channel: id.clone(),
                path: path.clone(),
                source,
            })?;
            let mapping = Mapping::parse(&text).map_err(|source| SourceError::Mapping {
                channel: id.clone(),
                path: path.clone(),
                source,
            })?;
            Some(mapping)
        }
        None => None,
    };
    let secrets = [Some(&credentials.secret), credentials.previous_secret.as_ref()];
    let shop = mapping.as_ref().and_then(|mapping| mapping.signature.clone());
    let verifier = Verifier::new(secrets.into_iter().flatten(), shop)
        .map_err(|rule| SourceError::Secret { channel: id.clone(), rule })?;
    Ok(Source { verifier, mapping })
}
