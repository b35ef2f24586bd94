//! Pages of what identity-merge knows.

use std::fmt;
use std::str::FromStr;

use mainstem_bus::Call;
use mainstem_domain::identifier::{Identifier, Kind};
use mainstem_domain::identity::{Input, Profile, State};
use mainstem_domain::{ConflictId, CustomerId, DisputeId, Refusal, SuggestionId};
use mainstem_proto::FieldError;
use mainstem_proto::field::{parse_customer, parse_stored_identifier};
use mainstem_proto::identity::{
    conflict_to, dispute_to, hub_to, optional_time, suggestion_to, tie_to,
};
use mainstem_proto::wire::identity as wire;
use serde::Serialize;

/// Entries on one page when the caller does not say, and at most.
const PAGE: (usize, usize) = (50, 500);

/// Customers that one request looks at; a filter that few pass gives short pages.
const LOOKED_AT: usize = 20_000;

type Listed = Result<Call<Input>, Refusal>;

/// In the order in which customers came to be known.
pub(crate) fn customers(state: &State, request: &wire::ListCustomersRequest) -> Listed {
    let page = Page::<CustomerId>::of(request.page_size, &request.page_token)?;
    let kind = match request.kind.as_str() {
        "" => None,
        name => Some(Kind::from_name(name).ok_or_else(|| {
            FieldError::new("kind", "must be member, phone, email, line, external or cookie")
        })?),
    };
    let seen_since = optional_time("seen_since", request.seen_since)?;
    let created_since = optional_time("created_since", request.created_since)?;
    let passes = |profile: &Profile| {
        kind.is_none_or(|kind| profile.identifiers.keys().any(|one| one.kind() == kind))
            && seen_since.is_none_or(|since| profile.seen_at >= since)
            && created_since.is_none_or(|since| profile.created_at >= since)
    };
    let mut after = state.customers_after(page.after);
    let (mut customers, mut last) = (Vec::new(), None);
    let mut looked_at = 0;
    while customers.len() < page.size && looked_at < LOOKED_AT {
        let Some(profile) = after.next() else { break };
        looked_at += 1;
        last = Some(profile.id);
        if passes(&profile) {
            customers.push(wire::Customer::from(&profile));
        }
    }
    let next_page_token = token(last, after.next().is_some());
    Ok(answer(&wire::ListCustomersResponse { customers, next_page_token }))
}

/// In the order of the identifiers.
pub(crate) fn evidence(state: &State, request: &wire::ListEvidenceRequest) -> Listed {
    let id = parse_customer("customer", &request.customer)?;
    let page = Page::<usize>::of(request.page_size, &request.page_token)?;
    let evidence = state.evidence(id).ok_or_else(|| Refusal::not_found("customer", id.as_str()))?;
    let from = page.after.map_or(0, |after| after + 1);
    let (evidence, next_page_token) =
        page.take(evidence.iter().enumerate().skip(from), |_, tie| tie_to(tie));
    Ok(answer(&wire::ListEvidenceResponse { evidence, next_page_token }))
}

/// In the order of the ids.
pub(crate) fn conflicts(state: &State, request: &wire::ListConflictsRequest) -> Listed {
    let page = Page::<ConflictId>::of(request.page_size, &request.page_token)?;
    let (conflicts, next_page_token) = page
        .take(state.conflicts_after(page.after), |id, conflict| {
            conflict_to(*id, conflict, |customer| state.current(customer))
        });
    Ok(answer(&wire::ListConflictsResponse { conflicts, next_page_token }))
}

/// In the order of the ids.
pub(crate) fn suggestions(state: &State, request: &wire::ListSuggestionsRequest) -> Listed {
    let page = Page::<SuggestionId>::of(request.page_size, &request.page_token)?;
    let (suggestions, next_page_token) = page
        .take(state.suggestions_after(page.after), |id, suggestion| suggestion_to(*id, suggestion));
    Ok(answer(&wire::ListSuggestionsResponse { suggestions, next_page_token }))
}

/// In the order of the identifiers.
pub(crate) fn hubs(state: &State, request: &wire::ListHubsRequest) -> Listed {
    let page = Page::<HubToken>::of(request.page_size, &request.page_token)?;
    let after = page.after.as_ref().map(|HubToken(identifier)| identifier);
    let entries = state.hubs_after(after);
    let (mut hubs, mut last) = (Vec::new(), None);
    let mut entries = entries.into_iter();
    for (identifier, hub) in entries.by_ref().take(page.size) {
        hubs.push(hub_to(identifier, hub, |customer| state.current(customer)));
        last = Some(HubToken(identifier.clone()));
    }
    let next_page_token = token(last, entries.next().is_some());
    Ok(answer(&wire::ListHubsResponse { hubs, next_page_token }))
}

/// In the order of the ids.
pub(crate) fn disputes(state: &State, request: &wire::ListDisputesRequest) -> Listed {
    let page = Page::<DisputeId>::of(request.page_size, &request.page_token)?;
    let (disputes, next_page_token) = page.take(state.disputes_after(page.after), |id, dispute| {
        dispute_to(*id, dispute, |customer| state.current(customer))
    });
    Ok(answer(&wire::ListDisputesResponse { disputes, next_page_token }))
}

fn answer(response: &impl Serialize) -> Call<Input> {
    Call::Read(serde_json::to_string(response).unwrap_or_default())
}

fn token<Id: ToString>(last: Option<Id>, more: bool) -> String {
    last.filter(|_| more).map(|id| id.to_string()).unwrap_or_default()
}

/// How many entries a page may have.
pub(crate) fn page_size(size: i32) -> Result<usize, FieldError> {
    let size =
        usize::try_from(size).map_err(|_| FieldError::new("page_size", "must not be negative"))?;
    Ok(if size == 0 { PAGE.0 } else { size.min(PAGE.1) })
}

/// What is wrong with a page token.
pub(crate) fn strange_token() -> FieldError {
    FieldError::new("page_token", "is none that this method gave; begin at the first page")
}

/// An identifier as a page token.
struct HubToken(Identifier);

impl FromStr for HubToken {
    type Err = FieldError;
    fn from_str(text: &str) -> Result<Self, FieldError> {
        parse_stored_identifier("page_token", text).map(Self)
    }
}

impl fmt::Display for HubToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which part of a list is asked for.
struct Page<Id> {
    size: usize,
    after: Option<Id>,
}

impl<Id: FromStr + ToString> Page<Id> {
    fn of(size: i32, token: &str) -> Result<Self, FieldError> {
        let after = match token {
            "" => None,
            token => Some(token.parse().map_err(|_| strange_token())?),
        };
        Ok(Self { size: page_size(size)?, after })
    }

    /// The entries of the page, and the token of the next one.
    fn take<K: std::borrow::Borrow<Id>, T, W>(
        &self,
        mut entries: impl Iterator<Item = (K, T)>,
        to: impl Fn(&Id, T) -> W,
    ) -> (Vec<W>, String) {
        let (mut page, mut last) = (Vec::new(), None);
        for (id, entry) in entries.by_ref().take(self.size) {
            page.push(to(id.borrow(), entry));
            last = Some(id);
        }
        let token = last.filter(|_| entries.next().is_some());
        (page, token.map(|id| id.borrow().to_string()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_on_one_page() {
        let mut ids: Vec<_> = (0..7).map(|n| CustomerId::derive(&n.to_string())).collect();
        ids.sort_unstable();
        for size in 1..9 {
            let (mut seen, mut token, mut pages) = (Vec::new(), String::new(), 0);
            loop {
                let page = Page::<CustomerId>::of(size, &token).unwrap();
                let rest = ids.iter().filter(|id| page.after.is_none_or(|after| **id > after));
                let (part, next) = page.take(rest.map(|id| (id, ())), |id, ()| *id);
                assert!(!part.is_empty());
                seen.extend(part);
                pages += 1;
                token = next;
                if token.is_empty() {
                    break;
                }
            }
            assert_eq!(seen, ids);
            assert_eq!(pages, 7_usize.div_ceil(usize::try_from(size).unwrap()));
        }
    }

    #[test]
    fn a_page_that_makes_no_sense_is_refused_by_its_field() {
        let field = |size, token| Page::<CustomerId>::of(size, token).err().map(|e| e.field);
        assert_eq!(field(-1, ""), Some("page_size".to_owned()));
        assert_eq!(field(0, "x"), Some("page_token".to_owned()));
        assert_eq!(Page::<CustomerId>::of(0, "").unwrap().size, 50);
        assert_eq!(Page::<CustomerId>::of(9_999, "").unwrap().size, 500);
    }
}
