//! What a request says about itself besides its body.

use std::sync::Arc;

use mainstem_domain::Refusal;
use mainstem_domain::access::Caller;
use tonic::metadata::MetadataMap;
use tonic::transport::CertificateDer;

use crate::callers::{Callers, unauthenticated};

/// Who calls: by `authorization: Bearer …`, else by client certificate. `peer_certs` is what
/// `tonic::Request::peer_certs` gives.
///
/// A token that is wrong refuses the request, whatever the certificate says.
///
/// # Errors
/// `UNAUTHENTICATED`, with what to do.
#[expect(clippy::needless_pass_by_value, reason = "as `tonic::Request::peer_certs` gives it")]
pub fn caller_from_request(
    callers: &Callers,
    metadata: &MetadataMap,
    peer_certs: Option<Arc<Vec<CertificateDer<'static>>>>,
) -> Result<Caller, Refusal> {
    if let Some(authorization) = metadata.get("authorization") {
        let token = authorization.to_str().ok().and_then(bearer).ok_or_else(|| {
            unauthenticated("NO_BEARER_TOKEN", "authorization must be `Bearer` and a token")
        })?;
        return callers.authenticate_bearer(token).cloned();
    }
    // The first is the caller's own; those after it only lead to the CA.
    match peer_certs.as_ref().and_then(|chain| chain.first()) {
        Some(certificate) => callers.authenticate_certificate(certificate).cloned(),
        None => Err(unauthenticated(
            "NO_CREDENTIALS",
            "send `authorization: Bearer` and a token, or connect with a client certificate",
        )),
    }
}

fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// The caller's W3C `traceparent`; `None` when there is none, or it is no valid one of version 00.
pub fn request_trace(metadata: &MetadataMap) -> Option<String> {
    let text = metadata.get("traceparent")?.to_str().ok()?;
    let mut parts = text.split('-');
    let mut part = |length: usize| {
        let part = parts.next()?;
        let hex = part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (part.len() == length && hex).then_some(part)
    };
    let (version, trace, span, _flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
    let known = |id: &str| id.bytes().any(|byte| byte != b'0');
    let valid = parts.next().is_none() && version == "00" && known(trace) && known(span);
    valid.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use mainstem_domain::RefusalCode;
    use sha2::{Digest as _, Sha256};

    use super::*;

    fn metadata(key: &'static str, value: &str) -> MetadataMap {
        let mut metadata = MetadataMap::new();
        metadata.insert(key, value.parse().unwrap());
        metadata
    }

    fn callers() -> Callers {
        let hash = |of: &str| HEXLOWER.encode(&Sha256::digest(of));
        let (token, certificate) = (hash("alpha"), hash("der"));
        Callers::parse(&format!(
            "[[caller]]\nname = \"a\"\nrole = \"operator\"\ntoken_sha256 = \"{token}\"\n\
             [[caller]]\nname = \"b\"\nrole = \"store\"\ncertificate_sha256 = \"{certificate}\"\n"
        ))
        .unwrap()
    }

    fn chain() -> Arc<Vec<CertificateDer<'static>>> {
        Arc::new(vec![b"der".to_vec().into(), b"ca".to_vec().into()])
    }

    #[test]
    fn a_token_wins_over_a_certificate() {
        let callers = callers();
        for authorization in ["Bearer alpha", "bearer  alpha"] {
            let metadata = metadata("authorization", authorization);
            assert_eq!(caller_from_request(&callers, &metadata, Some(chain())).unwrap().name, "a");
        }
        let caller = caller_from_request(&callers, &MetadataMap::new(), Some(chain()));
        assert_eq!(caller.unwrap().name, "b");
    }

    #[test]
    fn everybody_else_is_refused() {
        let callers = callers();
        for (authorization, reason) in [
            ("Bearer beta", "UNKNOWN_TOKEN"),
            ("Bearer ", "NO_BEARER_TOKEN"),
            ("Basic alpha", "NO_BEARER_TOKEN"),
            ("alpha", "NO_BEARER_TOKEN"),
        ] {
            let metadata = metadata("authorization", authorization);
            let refusal = caller_from_request(&callers, &metadata, Some(chain())).unwrap_err();
            assert_eq!((refusal.code, &*refusal.reason), (RefusalCode::Unauthenticated, reason));
        }
        let nothing = caller_from_request(&callers, &MetadataMap::new(), None).unwrap_err();
        assert_eq!(nothing.reason, "NO_CREDENTIALS");
        let stranger = Some(Arc::new(vec![b"other".to_vec().into()]));
        let refusal = caller_from_request(&callers, &MetadataMap::new(), stranger).unwrap_err();
        assert_eq!(refusal.reason, "UNKNOWN_CERTIFICATE");
    }

    #[test]
    fn only_a_valid_traceparent_is_taken_over() {
        let valid = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(request_trace(&metadata("traceparent", valid)).as_deref(), Some(valid));
        assert_eq!(request_trace(&MetadataMap::new()), None);
        for wrong in [
            "",
            "00",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
        ] {
            assert_eq!(request_trace(&metadata("traceparent", wrong)), None, "{wrong}");
        }
    }
}
