//! The signature of a webhook: base64 of HMAC-SHA256 over the raw body, keyed with the channel's
//! secret.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// The header that carries it.
pub const HEADER: &str = "x-line-signature";

/// What LINE sends as the signature of these bytes.
pub fn sign(secret: &str, body: &[u8]) -> String {
    keyed(secret, body).map(|mac| STANDARD.encode(mac.finalize().into_bytes())).unwrap_or_default()
}

/// Whether `signature` is that of these bytes; compared in constant time.
pub fn verify(secret: &str, body: &[u8], signature: &str) -> bool {
    let (Ok(signature), Some(mac)) = (STANDARD.decode(signature), keyed(secret, body)) else {
        return false;
    };
    mac.verify_slice(&signature).is_ok()
}

/// `None` never happens, because HMAC takes a key of any length; it then signs and verifies nothing.
fn keyed(secret: &str, body: &[u8]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
    mac.update(body);
    Some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// LINE's own test vector.
    const SECRET: &str = "8c570fa6dd201bb328f1c1eac23a96d8";
    const BODY: &[u8] = br#"{"destination":"U8e742f61d673b39c7fff3cecb7536ef0","events":[]}"#;
    const SIGNATURE: &str = "GhRKmvmHys4Pi8DxkF4+EayaH0OqtJtaZxgTD9fMDLs=";

    #[test]
    fn the_vendors_vector_holds() {
        assert_eq!(sign(SECRET, BODY), SIGNATURE);
        assert!(verify(SECRET, BODY, SIGNATURE));
    }

    #[test]
    fn anything_else_does_not() {
        let shorter = STANDARD.encode(&STANDARD.decode(SIGNATURE).unwrap()[..31]);
        assert!(!verify("another", BODY, SIGNATURE));
        assert!(!verify(SECRET, &BODY[1..], SIGNATURE));
        for bad in ["", "=", "not base64!", &SIGNATURE[..8], &shorter] {
            assert!(!verify(SECRET, BODY, bad), "{bad:?}");
        }
    }
}
