//! Who signed a request: by Standard Webhooks, or by a shop's own scheme over the raw body.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use data_encoding::HEXLOWER_PERMISSIVE;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, HeaderName, StatusCode};
use mainstem_domain::At;
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};
use serde::Deserialize;
use sha2::Sha256;

use super::header;
use crate::Refused;

/// How far the sender's clock may be from ours, either way.
const TOLERANCE: Duration = Duration::from_mins(5);

const ID: &str = "webhook-id";
const TIMESTAMP: &str = "webhook-timestamp";
const SIGNATURE: &str = "webhook-signature";

/// What a Standard Webhooks secret starts with.
const PREFIX: &str = "whsec_";

/// Standard Webhooks asks for 24 bytes or more.
const KEY_BYTES_AT_LEAST: usize = 24;

/// How a shop signs that does not sign by Standard Webhooks: HMAC-SHA256 over the raw body.
///
/// Such a signature covers no time, so an old request can be sent again by whoever saw it. It
/// carries the same event with the same id, and is a duplicate.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ShopSignature {
    /// The header that carries it.
    #[serde(deserialize_with = "header_name")]
    pub(super) header: HeaderName,
    /// How it is written there.
    pub(super) encoding: Encoding,
}

/// How a signature is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Encoding {
    /// Base64.
    Base64,
    /// Hexadecimal.
    Hex,
    /// One or the other, for a shop whose documentation says both.
    Either,
}

fn header_name<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<HeaderName, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| serde::de::Error::custom("must be the name of an HTTP header"))
}

/// Verifies one source's requests. Prints no key.
#[derive(Debug)]
pub(super) struct Verifier {
    keys: Vec<SecretSlice<u8>>,
    shop: Option<ShopSignature>,
}

impl Verifier {
    /// `shop` is the scheme that the source's mapping names; Standard Webhooks without.
    pub(super) fn new<'a>(
        secrets: impl Iterator<Item = &'a SecretString>,
        shop: Option<ShopSignature>,
    ) -> Result<Self, &'static str> {
        let key = |secret: &SecretString| -> Result<SecretSlice<u8>, &'static str> {
            let secret = secret.expose_secret();
            if shop.is_some() {
                return Ok(SecretSlice::from(secret.as_bytes().to_vec()));
            }
            let bytes = secret.strip_prefix(PREFIX).and_then(|text| STANDARD.decode(text).ok());
            match bytes {
                Some(bytes) if bytes.len() >= KEY_BYTES_AT_LEAST => Ok(SecretSlice::from(bytes)),
                _ => Err("must be whsec_ and the base64 of 24 random bytes or more"),
            }
        };
        let keys = secrets.map(key).collect::<Result<_, _>>()?;
        Ok(Self { keys, shop })
    }

    /// Refuses what none of the keys signed, and what was signed at another time.
    pub(super) fn verify(&self, headers: &HeaderMap, body: &[u8], now: At) -> Result<(), Refused> {
        match &self.shop {
            Some(shop) => self.verify_shop(shop, headers, body),
            None => self.verify_standard(headers, body, now),
        }
    }

    fn verify_shop(
        &self,
        shop: &ShopSignature,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<(), Refused> {
        let base64 = |text: &str| STANDARD.decode(text).ok();
        let hex = |text: &str| HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok();
        let signature =
            header(headers, shop.header.as_str()).and_then(|text| match shop.encoding {
                Encoding::Base64 => base64(text),
                Encoding::Hex => hex(text),
                // 64 digits are never the base64 of 32 bytes.
                Encoding::Either => {
                    hex(text).filter(|bytes| bytes.len() == 32).or_else(|| base64(text))
                }
            });
        let signed = signature.is_some_and(|signature| self.made(&[body], &signature));
        if signed {
            return Ok(());
        }
        Err(Refused::new(
            StatusCode::UNAUTHORIZED,
            "bad_signature",
            "the header that the source's mapping names is missing or was not made with its secret",
        ))
    }

    fn verify_standard(&self, headers: &HeaderMap, body: &[u8], now: At) -> Result<(), Refused> {
        let bad = || {
            Refused::new(
                StatusCode::UNAUTHORIZED,
                "bad_signature",
                "webhook-id, webhook-timestamp or webhook-signature is missing, or no v1 signature \
                 there was made with this source's secret",
            )
        };
        let id = header(headers, ID).filter(|id| !id.is_empty()).ok_or_else(bad)?;
        let timestamp = header(headers, TIMESTAMP).ok_or_else(bad)?;
        let content = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
        // Several, separated by blanks, while the sender changes its secret.
        let signed = headers
            .get_all(SIGNATURE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(' '))
            .filter_map(|signature| STANDARD.decode(signature.strip_prefix("v1,")?).ok())
            .any(|signature| self.made(&content, &signature));
        if !signed {
            return Err(bad());
        }
        let sent_at = timestamp.parse::<i64>().ok().and_then(|seconds| seconds.checked_mul(1_000));
        let fresh = sent_at.is_some_and(|millis| {
            u128::from(millis.abs_diff(now.as_millis())) <= TOLERANCE.as_millis()
        });
        if fresh {
            return Ok(());
        }
        Err(Refused::new(
            StatusCode::UNAUTHORIZED,
            "stale_timestamp",
            "webhook-timestamp is not within 5 minutes of this clock; set the sender's clock, and sign \
             anew what is sent again",
        ))
    }

    /// Compared in constant time.
    fn made(&self, content: &[&[u8]], signature: &[u8]) -> bool {
        self.keys.iter().any(|key| {
            // HMAC takes a key of any length, so there always is one.
            let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.expose_secret()) else {
                return false;
            };
            for part in content {
                mac.update(part);
            }
            mac.verify_slice(signature).is_ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// The vector of the Standard Webhooks libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const MESSAGE: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const MADE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    const SENT: i64 = 1_614_265_330;

    fn verifier(secrets: &[&str], shop: Option<ShopSignature>) -> Verifier {
        let secrets: Vec<SecretString> = secrets.iter().map(|secret| (*secret).into()).collect();
        Verifier::new(secrets.iter(), shop).unwrap()
    }

    fn headers(values: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in values {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn code(verifier: &Verifier, signature: &str, body: &[u8], now: i64) -> &'static str {
        let time = SENT.to_string();
        let headers = headers(&[(ID, MESSAGE), (TIMESTAMP, &time), (SIGNATURE, signature)]);
        let now = At::from_millis(now * 1_000);
        verifier.verify(&headers, body, now).map_or_else(|refused| refused.code, |()| "ok")
    }

    #[test]
    fn the_standards_vector_holds_for_five_minutes_either_way() {
        let verifier = verifier(&[SECRET], None);
        for away in [0, 300, -300] {
            assert_eq!(code(&verifier, MADE, BODY, SENT + away), "ok");
        }
        for away in [301, -301] {
            assert_eq!(code(&verifier, MADE, BODY, SENT + away), "stale_timestamp");
        }
        assert_eq!(code(&verifier, MADE, &BODY[1..], SENT), "bad_signature");
    }

    #[test]
    fn any_of_several_signatures_and_either_secret_will_do() {
        let another = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSx";
        let both = verifier(&[another, SECRET], None);
        assert_eq!(code(&both, MADE, BODY, SENT), "ok");
        assert_eq!(code(&verifier(&[another], None), MADE, BODY, SENT), "bad_signature");
        let several = format!("v1,bm8= v2,x {MADE}");
        assert_eq!(code(&both, &several, BODY, SENT), "ok");
        for bad in ["", "v1,", "v1", &MADE[3..], &MADE.replace("v1,", "v1a,"), &MADE[..20]] {
            assert_eq!(code(&both, bad, BODY, SENT), "bad_signature", "{bad}");
        }
    }

    #[test]
    fn what_is_missing_or_no_number_is_refused() {
        let verifier = verifier(&[SECRET], None);
        let time = SENT.to_string();
        let all = [(ID, MESSAGE), (TIMESTAMP, time.as_str()), (SIGNATURE, MADE)];
        for left_out in 0..3 {
            let mut some = all.to_vec();
            some.remove(left_out);
            let refused =
                verifier.verify(&headers(&some), BODY, At::from_millis(SENT * 1_000)).unwrap_err();
            assert_eq!((refused.status, refused.code), (StatusCode::UNAUTHORIZED, "bad_signature"));
        }
    }

    #[test]
    fn a_shop_signs_the_raw_body_in_its_own_way() {
        let scheme = |encoding| ShopSignature {
            header: HeaderName::from_static("x-shop-hmac-sha256"),
            encoding,
        };
        let mut mac = Hmac::<Sha256>::new_from_slice(b"shop secret").unwrap();
        mac.update(BODY);
        let made = mac.finalize().into_bytes();
        let (base64, hex) = (STANDARD.encode(made), HEXLOWER_PERMISSIVE.encode(&made));
        let signed = |encoding, value: &str, body: &[u8]| {
            let verifier = verifier(&["another", "shop secret"], Some(scheme(encoding)));
            let headers = headers(&[("x-shop-hmac-sha256", value)]);
            verifier.verify(&headers, body, At::from_millis(0)).is_ok()
        };
        for (encoding, base64_is, hex_is) in [
            (Encoding::Base64, true, false),
            (Encoding::Hex, false, true),
            (Encoding::Either, true, true),
        ] {
            assert_eq!(signed(encoding, &base64, BODY), base64_is);
            assert_eq!(signed(encoding, &hex, BODY), hex_is);
            assert!(!signed(encoding, &hex, &BODY[1..]));
            assert!(!signed(encoding, "", BODY));
        }
    }

    #[test]
    fn a_secret_that_is_none_is_refused() {
        for bad in ["plain", "whsec_", "whsec_c2hvcnQ=", "whsec_!"] {
            let secret = SecretString::from(bad);
            let error = Verifier::new([&secret].into_iter(), None).unwrap_err();
            assert!(error.contains("whsec_"), "{error}");
        }
        let printed = format!("{:?}", verifier(&[SECRET], None));
        assert!(!printed.contains("49"), "{printed}");
    }
}
