use std::collections::BTreeMap;
use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor};

use crate::DESCRIPTORS;

/// The request of each method; `None` where two services have a method of that name.
static REQUESTS: LazyLock<BTreeMap<String, Option<MessageDescriptor>>> = LazyLock::new(|| {
    let mut requests = BTreeMap::new();
    // The descriptors were compiled with this program; without them nothing is canonical, and
    // requests are told apart by their spelling.
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap_or_default();
    for service in pool.services() {
        for method in service.methods() {
            requests
                .entry(method.name().to_owned())
                .and_modify(|known| *known = None)
                .or_insert_with(|| Some(method.input()));
        }
    }
    requests
});

/// A request in the one spelling that all that mean the same have: field names, defaults that are
/// written out, enum values by number, order and blanks do not count. `None` when the method is not
/// known, or the body is no request of it.
#[must_use]
pub fn canonical(method: &str, body: &[u8]) -> Option<String> {
    let request = REQUESTS.get(method)?.clone()?;
    let mut reader = serde_json::Deserializer::from_slice(body);
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    let message = DynamicMessage::deserialize_with_options(request, &mut reader, &options).ok()?;
    reader.end().ok()?;
    serde_json::to_string(&message).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_does_not_count_and_meaning_does() {
        let one = |body: &str| canonical("ListCases", body.as_bytes()).unwrap();
        let same = one(r#"{"queue":"repair","pageSize":5,"state":"CASE_STATE_OPEN"}"#);
        for other in [
            r#"{"state":1,"page_size":5, "queue":"repair"}"#,
            r#"{"queue":"repair","pageSize":5,"state":"CASE_STATE_OPEN","pageToken":""}"#,
            r#"{"queue":"repair","pageSize":5,"state":1,"later":true}"#,
        ] {
            assert_eq!(one(other), same, "{other}");
        }
        assert_ne!(one(r#"{"queue":"repair","pageSize":6,"state":1}"#), same);
        assert_eq!(canonical("ListCases", b"{"), None);
        assert_eq!(canonical("ListCases", br#"{"queue":7}"#), None);
        assert_eq!(canonical("NoMethod", b"{}"), None);
    }
}
