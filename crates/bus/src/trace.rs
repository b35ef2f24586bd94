use std::fmt;

use sha2::{Digest, Sha256};

/// W3C trace context: the value of a `traceparent` header.
///
/// Span ids are derived, not drawn: the span that processes an input has an id that follows from
/// the service and the input, so records are the same on every run and the exported spans still
/// join up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: [u8; 16],
    /// The span that is the parent of whatever comes next.
    pub span_id: [u8; 8],
    /// Whether the trace is recorded.
    pub sampled: bool,
}

impl TraceContext {
    /// Reads a header value; `None` when it is not version 00 of the W3C format.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, span, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let hex = |text: &str| {
            text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        };
        let shaped = version == "00"
            && (trace.len(), span.len(), flags.len()) == (32, 16, 2)
            && [trace, span, flags].into_iter().all(hex)
            && parts.next().is_none();
        if !shaped {
            return None;
        }
        let trace_id = u128::from_str_radix(trace, 16).ok().filter(|id| *id != 0)?;
        let span_id = u64::from_str_radix(span, 16).ok().filter(|id| *id != 0)?;
        let flags = u8::from_str_radix(flags, 16).ok()?;
        Some(Self {
            trace_id: trace_id.to_be_bytes(),
            span_id: span_id.to_be_bytes(),
            sampled: flags & 1 == 1,
        })
    }

    /// The start of a new trace, told from others by `seed`.
    #[must_use]
    pub fn root(seed: &str) -> Self {
        let digest = Sha256::new().chain_update("trace").chain_update(seed).finalize();
        let mut trace_id = [0; 16];
        trace_id.copy_from_slice(&digest[..16]);
        let mut span_id = [0; 8];
        span_id.copy_from_slice(&digest[16..24]);
        Self { trace_id, span_id, sampled: true }
    }

    /// The same trace, one span further down; `seed` tells siblings apart.
    #[must_use]
    pub fn child(&self, seed: &str) -> Self {
        let digest = Sha256::new()
            .chain_update("span")
            .chain_update(self.trace_id)
            .chain_update(self.span_id)
            .chain_update(seed)
            .finalize();
        let mut span_id = [0; 8];
        span_id.copy_from_slice(&digest[..8]);
        Self { span_id, ..*self }
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "00-{:032x}-{:016x}-{:02x}",
            u128::from_be_bytes(self.trace_id),
            u64::from_be_bytes(self.span_id),
            u8::from(self.sampled)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_prints_and_nothing_else() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(TraceContext::parse(text).unwrap().to_string(), text);
        let root = TraceContext::root("x");
        assert_eq!(TraceContext::parse(&root.to_string()), Some(root));
        assert_eq!(root.child("a").trace_id, root.trace_id);
        assert_ne!(root.child("a").span_id, root.child("b").span_id);
        for bad in [
            "",
            "00-0-0-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceContext::parse(bad), None, "{bad}");
        }
    }
}
