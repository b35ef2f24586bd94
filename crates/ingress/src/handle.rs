use data_encoding::BASE32_NOPAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

/// Turns the ids of people, groups and rooms into handles: what stands for them in subjects, the
/// same for the same id, and of no use to whoever lacks the key.
pub struct Handles {
    key: SecretString,
}

impl Handles {
    /// Another key gives everybody another handle.
    pub fn new(key: SecretString) -> Self {
        Self { key }
    }

    /// 26 characters of `a-z` and `2-7`: 128 bits of a keyed hash.
    pub fn of(&self, id: &str) -> String {
        // HMAC takes a key of any length, so there always is one.
        let mac = Hmac::<Sha256>::new_from_slice(self.key.expose_secret().as_bytes());
        let digest =
            mac.map(|mac| mac.chain_update(id).finalize().into_bytes()).unwrap_or_default();
        BASE32_NOPAD.encode(&digest[..16]).to_ascii_lowercase()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_follows_from_key_and_id_and_shows_neither() {
        let handles = Handles::new("key".into());
        let handle = handles.of("U206d25c2ea6bd87c17655609a1c37cb8");
        assert_eq!(handle.len(), 26);
        assert!(
            handle.bytes().all(|byte| byte.is_ascii_lowercase() || (b'2'..=b'7').contains(&byte))
        );
        assert_eq!(handle, handles.of("U206d25c2ea6bd87c17655609a1c37cb8"));
        assert_ne!(handle, handles.of("U206d25c2ea6bd87c17655609a1c37cb9"));
        assert_ne!(handle, Handles::new("another".into()).of("U206d25c2ea6bd87c17655609a1c37cb8"));
    }
}
