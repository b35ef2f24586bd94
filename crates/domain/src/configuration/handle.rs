//! What stands in a binding code for a salesperson, a store and a brand.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::num::NonZeroU32;

use sha2::{Digest as _, Sha256};

use super::lint::Findings;
use super::{ChannelKind, Configuration};
use crate::{BrandId, StaffId, StoreId};

/// Four bytes that stand for an id of the directory in a binding code: the first of its SHA-256,
/// and never 0, which stands for none.
///
/// They tell an id only to whoever has the directory. [`Configuration::lint`] refuses two staff,
/// stores or brands with the same handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(NonZeroU32);

impl Handle {
    /// That of an id.
    #[must_use]
    pub fn of(id: &(impl Display + ?Sized)) -> Self {
        let digest = Sha256::digest(id.to_string());
        let mut first = [0; 4];
        first.copy_from_slice(&digest[..4]);
        Self(NonZeroU32::new(u32::from_be_bytes(first)).unwrap_or(NonZeroU32::MIN))
    }

    /// The one in a code; none, when it is 0.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(Self)
    }

    /// As it stands in a code.
    #[must_use]
    pub fn number(self) -> u32 {
        self.0.get()
    }
}

/// The longest basic id of a LINE account, the `@` included.
const BASIC_ID_AT_MOST: usize = 30;

/// Whether it looks like the basic id of a LINE account: `@` and then letters that need no
/// escaping in a link.
fn is_basic_id(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    text.strip_prefix('@').is_some_and(|name| {
        !name.is_empty() && text.len() <= BASIC_ID_AT_MOST && name.bytes().all(plain)
    })
}

impl Configuration {
    /// Who of the staff has that handle.
    #[must_use]
    pub fn staff_of(&self, handle: Handle) -> Option<&StaffId> {
        self.staff.keys().find(|id| Handle::of(*id) == handle)
    }

    /// The store that has that handle.
    #[must_use]
    pub fn store_of(&self, handle: Handle) -> Option<&StoreId> {
        self.stores.keys().find(|id| Handle::of(*id) == handle)
    }

    /// The brand that has that handle.
    #[must_use]
    pub fn brand_of(&self, handle: Handle) -> Option<&BrandId> {
        self.brands.keys().find(|id| Handle::of(*id) == handle)
    }

    /// No two of one kind may stand for each other in a code.
    pub(super) fn lint_handles(&self, findings: &mut Findings) {
        tell_apart("brands", self.brands.keys(), findings);
        tell_apart("stores", self.stores.keys(), findings);
        tell_apart("staff", self.staff.keys(), findings);
    }

    /// The basic ids of LINE accounts, which links of binding codes lead to.
    pub(super) fn lint_basic_ids(&self, findings: &mut Findings) {
        for (id, channel) in &self.channels {
            let Some(basic_id) = &channel.basic_id else { continue };
            let path = format!("channels.{id}.basic_id");
            if channel.kind != ChannelKind::Line {
                findings.add(path, "only a LINE account has one; leave it out");
            } else if !is_basic_id(basic_id) {
                findings.add(
                    path,
                    format!(
                        "is {basic_id:?}; write it as LINE shows it, with its @, e.g. \
                         \"@mainstem-example\""
                    ),
                );
            }
        }
    }
}

fn tell_apart<Id: Display>(section: &str, ids: impl Iterator<Item = Id>, findings: &mut Findings) {
    let mut known = BTreeMap::new();
    for id in ids {
        if let Some(other) = known.insert(Handle::of(&id), id.to_string()) {
            findings.add(
                format!("{section}.{id}"),
                format!("cannot be told from {other} in a binding code; give one another id"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ids_with_one_handle_are_refused() {
        let mut known: BTreeMap<Handle, String> = BTreeMap::new();
        let (one, other) = (0..400_000_u32)
            .find_map(|number| {
                let id = format!("s{number}");
                let other = known.insert(Handle::of(&id), id.clone())?;
                Some((other, id))
            })
            .unwrap();
        let configuration: Configuration = serde_json::from_value(serde_json::json!({
            "stores": {&one: {"name": "One"}, &other: {"name": "Other"}, "third": {"name": "Third"}},
        }))
        .unwrap();
        let problems = configuration.lint();
        let [problem] = &problems[..] else { panic!("{problems:?}") };
        let (second, first) = if one < other { (other, one) } else { (one, other) };
        assert_eq!(problem.path, format!("stores.{second}"));
        assert!(problem.description.contains(&first), "{problem}");
    }

    #[test]
    fn a_handle_leads_back_to_its_id() {
        let configuration: Configuration = serde_json::from_value(serde_json::json!({
            "brands": {"aurora": {"name": "Aurora"}},
            "stores": {"taipei-1": {"name": "Taipei 1"}},
            "staff": {"s-1": {"name": "Lin", "store": "taipei-1"}},
        }))
        .unwrap();
        let handle = Handle::of("s-1");
        assert_eq!(Handle::from_number(handle.number()), Some(handle));
        assert_eq!(configuration.staff_of(handle).map(StaffId::as_str), Some("s-1"));
        assert_eq!(configuration.store_of(handle), None);
        let store = configuration.store_of(Handle::of("taipei-1"));
        assert_eq!(store.map(StoreId::as_str), Some("taipei-1"));
        let brand = configuration.brand_of(Handle::of("aurora"));
        assert_eq!(brand.map(BrandId::as_str), Some("aurora"));
        assert_eq!(Handle::from_number(0), None);
    }

    #[test]
    fn a_basic_id_is_that_of_a_line_account() {
        let paths = |kind: &str, basic_id: &str| -> Vec<String> {
            let configuration: Configuration = serde_json::from_value(serde_json::json!({
                "channels": {"one": {"kind": kind, "basic_id": basic_id}},
            }))
            .unwrap();
            configuration.lint().into_iter().map(|problem| problem.path).collect()
        };
        assert_eq!(paths("line", "@mainstem-example"), [""; 0]);
        for bad in ["mainstem", "@", "@a b", "@a?b", "@曜侖", &format!("@{}", "x".repeat(30))] {
            assert_eq!(paths("line", bad), ["channels.one.basic_id"], "{bad}");
        }
        assert_eq!(paths("shop", "@mainstem-example"), ["channels.one.basic_id"]);
    }
}
