//! Who may call what: callers, their roles and scopes. Refused by default.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{BrandId, QueueId, Refusal, RefusalCode, StoreId};

/// What a caller is. A method lists the roles that may call it; there is no order among roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Staff in a store; scoped by store.
    Store,
    /// A brand's or the central service desk; scoped by brand.
    Desk,
    /// A back-office unit; scoped by queue.
    Unit,
    /// Runs the system: applies configuration, looks at everything.
    Operator,
    /// Another service of Mainstem or of the retailer.
    Service,
}

impl Role {
    /// Every role, for tests and help texts.
    pub const ALL: [Self; 5] = [Self::Store, Self::Desk, Self::Unit, Self::Operator, Self::Service];
}

/// Somebody who proved who they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Caller {
    /// The name that stands in records as `ce-actor`, e.g. `unit/repair-taipei`. No personal data.
    pub name: String,
    /// The role.
    pub role: Role,
    /// What of it: see [`Scope`].
    #[serde(default)]
    pub scope: Scope,
}

/// The part of the retailer that a caller may see and change. An empty set is nothing, not
/// everything; `all` is everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scope {
    /// No limit.
    pub all: bool,
    /// These stores.
    pub stores: BTreeSet<StoreId>,
    /// These queues.
    pub queues: BTreeSet<QueueId>,
    /// These brands.
    pub brands: BTreeSet<BrandId>,
}

impl Caller {
    /// May the caller call a method that these roles may call?
    ///
    /// # Errors
    /// `PERMISSION_DENIED` with the reason `ROLE_NOT_ALLOWED`, naming the method and the roles.
    pub fn admit(&self, method: &str, roles: &[Role]) -> Result<(), Refusal> {
        if roles.contains(&self.role) {
            return Ok(());
        }
        let allowed: Vec<_> = roles.iter().map(|role| format!("{role:?}").to_lowercase()).collect();
        Err(Refusal::new(
            RefusalCode::PermissionDenied,
            "ROLE_NOT_ALLOWED",
            format!("{method} is for the roles {}", allowed.join(", ")),
        ))
    }

    /// Does the scope hold this thing? One match is enough: a store's staff see their store's
    /// cases on whatever queue, a unit sees its queue's cases from whatever store.
    #[must_use]
    pub fn reaches(
        &self,
        store: Option<&StoreId>,
        queue: Option<&QueueId>,
        brand: Option<&BrandId>,
    ) -> bool {
        self.scope.all
            || store.is_some_and(|store| self.scope.stores.contains(store))
            || queue.is_some_and(|queue| self.scope.queues.contains(queue))
            || brand.is_some_and(|brand| self.scope.brands.contains(brand))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_scope_reaches_nothing() {
        let mut caller =
            Caller { name: "unit/x".to_owned(), role: Role::Unit, scope: Scope::default() };
        let queue: QueueId = "repair".parse().unwrap();
        assert!(!caller.reaches(None, Some(&queue), None));
        caller.scope.queues.insert(queue.clone());
        assert!(caller.reaches(None, Some(&queue), None));
        assert!(!caller.reaches(None, None, None));
        assert!(caller.admit("AcceptCase", &[Role::Operator]).is_err());
        assert!(caller.admit("AcceptCase", &[Role::Unit]).is_ok());
    }
}
