//! Pages of what identity-merge knows, each in the order of the ids.

use std::str::FromStr;

use mainstem_bus::Call;
use mainstem_domain::identity::{Input, Profile, State};
use mainstem_domain::{ConflictId, CustomerId, Refusal, SuggestionId};
use mainstem_proto::FieldError;
use mainstem_proto::identity::{conflict_to, suggestion_to};
use mainstem_proto::wire::identity as wire;
use serde::Serialize;

/// Entries on one page when the caller does not say, and at most.
const PAGE: (usize, usize) = (50, 500);

pub(crate) fn customers(
    state: &State,
    request: &wire::ListCustomersRequest,
) -> Result<Call<Input>, Refusal> {
    let page = Page::<CustomerId>::of(request.page_size, &request.page_token)?;
    let (customers, next_page_token) = page
        .take(state.customers_after(page.after), |id, customer| {
            wire::Customer::from(&Profile { id: *id, customer: customer.clone() })
        });
    Ok(answer(&wire::ListCustomersResponse { customers, next_page_token }))
}

pub(crate) fn conflicts(
    state: &State,
    request: &wire::ListConflictsRequest,
) -> Result<Call<Input>, Refusal> {
    let page = Page::<ConflictId>::of(request.page_size, &request.page_token)?;
    let (conflicts, next_page_token) = page
        .take(state.conflicts_after(page.after), |id, conflict| {
            conflict_to(*id, conflict, |customer| state.current(customer))
        });
    Ok(answer(&wire::ListConflictsResponse { conflicts, next_page_token }))
}

pub(crate) fn suggestions(
    state: &State,
    request: &wire::ListSuggestionsRequest,
) -> Result<Call<Input>, Refusal> {
    let page = Page::<SuggestionId>::of(request.page_size, &request.page_token)?;
    let (suggestions, next_page_token) = page
        .take(state.suggestions_after(page.after), |id, suggestion| suggestion_to(*id, suggestion));
    Ok(answer(&wire::ListSuggestionsResponse { suggestions, next_page_token }))
}

fn answer(response: &impl Serialize) -> Call<Input> {
    Call::Read(serde_json::to_string(response).unwrap_or_default())
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
            token => Some(token.parse().map_err(|_| {
                let what = "is none that this method gave; begin at the first page";
                FieldError::new("page_token", what)
            })?),
        };
        let size = usize::try_from(size)
            .map_err(|_| FieldError::new("page_size", "must not be negative"))?;
        Ok(Self { size: if size == 0 { PAGE.0 } else { size.min(PAGE.1) }, after })
    }

    /// The entries of the page, and the token of the next one.
    fn take<'a, T: 'a, W>(
        &self,
        mut entries: impl Iterator<Item = (&'a Id, &'a T)>,
        to: impl Fn(&Id, &T) -> W,
    ) -> (Vec<W>, String)
    where
        Id: 'a,
    {
        let (mut page, mut last) = (Vec::new(), None);
        for (id, entry) in entries.by_ref().take(self.size) {
            page.push(to(id, entry));
            last = Some(id);
        }
        let token = last.filter(|_| entries.next().is_some()).map(Id::to_string);
        (page, token.unwrap_or_default())
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
                let (part, next) = page.take(rest.map(|id| (id, &())), |id, ()| *id);
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
