//! What is kept of the identifiers of people who were erased.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit as _, Mac as _};
use mainstem_domain::identifier::Identifier;
use mainstem_domain::identity::{Profile, Token};
use mainstem_domain::person::ChannelEvent;
use sha2::Sha256;

/// Set once, before anything is read; the same in every process of this service.
static KEY: OnceLock<Vec<u8>> = OnceLock::new();

/// Says by which key the identifiers of people who are erased are hashed. Another key forgets what
/// they had refused.
pub fn set_key(key: &str) {
    if !key.is_empty() {
        let _ = KEY.set(key.as_bytes().to_vec());
    }
}

/// One for each sighting; none without a key.
pub(crate) fn of_event(event: &ChannelEvent) -> Vec<Token> {
    let tokens = event.sightings.iter().map(|sighting| of(&sighting.identifier));
    tokens.collect::<Option<_>>().unwrap_or_default()
}

/// One for each identifier; none without a key.
pub(crate) fn of_profile(profile: &Profile) -> BTreeMap<Identifier, Token> {
    let tokens = profile.identifiers.keys().map(|one| Some((one.clone(), of(one)?)));
    tokens.collect::<Option<_>>().unwrap_or_default()
}

/// 128 bits of a keyed hash.
fn of(identifier: &Identifier) -> Option<Token> {
    let mac = Hmac::<Sha256>::new_from_slice(KEY.get()?).ok()?;
    let digest = mac.chain_update(identifier.to_string()).finalize().into_bytes();
    Some(HEXLOWER.encode(&digest[..16]))
}
