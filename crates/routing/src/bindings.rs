//! Methods about bindings and the codes that make them.

use std::time::Duration;

use mainstem_bus::{Call, Draft, Gauge, need_whole_scope, topology};
use mainstem_domain::access::Caller;
use mainstem_domain::routing::{
    Answer, BindingView, CodeAnswer, EndedWhy, Event, HandOver, Input, NewCode, Opened, State,
};
use mainstem_domain::{BrandId, CustomerId, Refusal, StaffId, StoreId};
use mainstem_proto::FieldError;
use mainstem_proto::field::{parse_customer, parse_optional, parse_time};
use mainstem_proto::routing::{self, parse_nonce};
use mainstem_proto::wire::routing as wire;

use crate::{code, picture};

/// How long a code is good for when the caller does not say, in minutes.
const VALID_MINUTES: u64 = 24 * 60;

/// Bindings on one page when the caller does not say, and at most.
const PAGE: (usize, usize) = (50, 500);

type Called = Result<Call<Input>, Refusal>;

/// What is for one brand is the brand's; what is for all brands concerns each of them.
fn reaches(caller: &Caller, store: Option<&StoreId>, brand: Option<&BrandId>) -> bool {
    let of_any_brand = brand.is_none() && !caller.scope.brands.is_empty();
    of_any_brand || caller.reaches(store, None, brand)
}

fn parse_staff(field: &str, text: &str) -> Result<StaffId, Refusal> {
    let missing = || FieldError::new(field, "must be given, as it stands in the directory");
    Ok(parse_optional(field, text)?.ok_or_else(missing)?)
}

pub(crate) fn issue(
    caller: &Caller,
    request_id: &str,
    request: &wire::IssueBindingCodeRequest,
) -> Called {
    code::need_key()?;
    let minutes = u64::try_from(request.valid_minutes)
        .map_err(|_| FieldError::new("valid_minutes", "must not be negative"))?;
    let minutes = if minutes == 0 { VALID_MINUTES } else { minutes };
    Ok(Call::Command(Input::IssueCode(Box::new(NewCode {
        staff: parse_staff("staff", &request.staff)?,
        store: parse_optional("store", &request.store)?,
        brand: parse_optional("brand", &request.brand)?,
        valid_for: Duration::from_mins(minutes),
        caller: caller.clone(),
        request: request_id.to_owned(),
    }))))
}

/// By the text of a code or by its nonce. A code out of the caller's scope does not exist for that
/// caller.
pub(crate) fn revoke(
    state: &State,
    caller: &Caller,
    request: &wire::RevokeBindingCodeRequest,
) -> Called {
    let nonce = match code::open(&request.code) {
        Some(Opened::Code(claims)) => claims.nonce,
        Some(Opened::Forged) => {
            return Err(FieldError::new("code", "is no code of this system; give its nonce").into());
        }
        None => parse_nonce("code", &request.code)?,
    };
    let known = state.issued_code(nonce).map(|(code, _)| code);
    known
        .filter(|code| reaches(caller, code.store.as_ref(), code.brand.as_ref()))
        .ok_or_else(|| Refusal::not_found("binding code", &nonce.to_string()))?;
    Ok(Call::Command(Input::RevokeCode { nonce, by: caller.name.clone() }))
}

pub(crate) fn end(state: &State, caller: &Caller, request: &wire::EndBindingRequest) -> Called {
    let customer = parse_customer("customer", &request.customer)?;
    let brand: Option<BrandId> = parse_optional("brand", &request.brand)?;
    let known = state.binding_for(state.current(customer), brand.as_ref());
    known
        .filter(|known| reaches(caller, known.store.as_ref(), known.brand.as_ref()))
        .ok_or_else(|| Refusal::not_found("binding of", customer.as_str()))?;
    Ok(Call::Command(Input::EndBinding { customer, brand, by: caller.name.clone() }))
}

pub(crate) fn hand_over(caller: &Caller, request: &wire::HandOverRequest) -> Called {
    let wish = HandOver {
        from: parse_staff("from_staff", &request.from_staff)?,
        to: parse_staff("to_staff", &request.to_staff)?,
        store: parse_optional("store", &request.store)?,
        brand: parse_optional("brand", &request.brand)?,
        by: caller.name.clone(),
    };
    if !caller.reaches(wish.store.as_ref(), None, wish.brand.as_ref()) {
        need_whole_scope(caller)?;
    }
    Ok(Call::Command(Input::HandOver(wish)))
}

/// A place in the list: a customer, and how many of theirs came before.
fn parse_page(token: &str) -> Result<Option<(CustomerId, usize)>, FieldError> {
    if token.is_empty() {
        return Ok(None);
    }
    let place = token
        .split_once('.')
        .and_then(|(customer, before)| Some((customer.parse().ok()?, before.parse().ok()?)));
    place.map(Some).ok_or_else(|| {
        FieldError::new("page_token", "is none that this method gave; begin at the first page")
    })
}

pub(crate) fn list(state: &State, caller: &Caller, request: &wire::ListBindingsRequest) -> Called {
    let staff: Option<StaffId> = parse_optional("staff", &request.staff)?;
    let begin = parse_page(&request.page_token)?;
    let first = begin.map(|(customer, _)| customer);
    let customers: Box<dyn Iterator<Item = CustomerId>> = match (&staff, &*request.customer) {
        (None, "") => {
            let rule = "must be given, or staff";
            return Err(FieldError::new("customer", rule).into());
        }
        (Some(staff), "") if request.at_time.is_none() && !request.include_ended => {
            Box::new(state.bound_to(staff, first))
        }
        (Some(staff), "") => Box::new(state.ever_bound_to(staff, first)),
        (_, customer) => {
            let customer = state.current(parse_customer("customer", customer)?);
            Box::new(std::iter::once(customer))
        }
    };
    let moment = match request.at_time {
        None => None,
        at_time => Some(parse_time("at_time", at_time)?),
    };
    let size = usize::try_from(request.page_size)
        .map_err(|_| FieldError::new("page_size", "must not be negative"))?;
    let size = if size == 0 { PAGE.0 } else { size.min(PAGE.1) };
    let shown = |view: &BindingView| {
        let when = match moment {
            Some(moment) => view.held(moment),
            None => request.include_ended || view.end.is_none(),
        };
        when && staff.as_ref().is_none_or(|staff| *staff == view.binding.staff)
            && reaches(caller, view.binding.store.as_ref(), view.binding.brand.as_ref())
    };
    let before = |customer| match begin {
        Some((first, before)) if first == customer => before,
        Some(_) | None => 0,
    };
    let mut found = customers
        .flat_map(|customer| state.bindings_of(customer).enumerate().skip(before(customer)))
        .filter(|(_, view)| shown(view));
    let page: Vec<_> = found.by_ref().take(size).collect();
    let next_page_token = match page.last().filter(|_| found.next().is_some()) {
        Some((index, last)) => format!("{}.{}", last.customer, index + 1),
        None => String::new(),
    };
    let bindings = page.iter().map(|(_, view)| wire::Binding::from(view)).collect();
    let response = wire::ListBindingsResponse { bindings, next_page_token };
    Ok(Call::Read(serde_json::to_string(&response).unwrap_or_default()))
}

/// The answer to a command about bindings; none to one about cases.
pub(crate) fn answer(answer: &Answer) -> Option<String> {
    let body = match answer {
        Answer::Nothing | Answer::Case(_) | Answer::Existing(_) => return None,
        Answer::Code(answer) => serde_json::to_string(&issued(answer)),
        Answer::Revoked(code) => serde_json::to_string(&wire::RevokeBindingCodeResponse {
            binding_code: Some(code.into()),
        }),
        Answer::Ended { customer, binding } => {
            let end = binding.ended.as_ref().map(|ended| (ended.at, EndedWhy::ByStaff));
            let view = BindingView { customer: *customer, binding: binding.clone(), end };
            serde_json::to_string(&wire::EndBindingResponse { binding: Some((&view).into()) })
        }
        Answer::HandedOver { bindings, left } => {
            let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
            let (bindings, left) = (count(*bindings), count(*left));
            serde_json::to_string(&wire::HandOverResponse { bindings, left })
        }
    };
    Some(body.unwrap_or_default())
}

/// The code as staff show it. That there is a key was seen when it was asked for.
fn issued(answer: &CodeAnswer) -> wire::IssueBindingCodeResponse {
    let code = code::seal(&answer.claims).unwrap_or_default();
    // Nothing in a code, and in a basic id but its @, has to be escaped.
    let link = answer.account.as_ref().map(|account| {
        let account = account.replace('@', "%40");
        format!("https://line.me/R/oaMessage/{account}/?{code}")
    });
    let link = link.unwrap_or_default();
    let drawn = picture::draw(if link.is_empty() { &code } else { &link });
    let (qr_svg, qr_png) = drawn.unwrap_or_default();
    wire::IssueBindingCodeResponse {
        binding_code: Some((&answer.code).into()),
        code,
        link,
        qr_svg,
        qr_png: qr_png.into(),
    }
}

/// How many presented codes bound nobody.
pub(crate) fn gauges(state: &State) -> Vec<Gauge> {
    let refused = state.refused_codes();
    let gauge = |name, value, alert| Gauge { name, value, alert };
    vec![
        gauge("mainstem.routing.binding_codes_expired", refused.expired, None),
        gauge("mainstem.routing.binding_codes_revoked", refused.revoked, None),
        gauge(
            "mainstem.routing.binding_codes_forged",
            refused.forged,
            Some(
                "a binding code came in that is none of ours: somebody mistyped one or tries to \
                 forge it, or routing.binding_key was changed",
            ),
        ),
    ]
}

/// Where what happens to a code or in a hand-over stands: with the salesperson, or with nobody. None of
/// these names a customer.
pub(crate) fn staff_draft(event: &Event, staff: Option<&StaffId>) -> Draft {
    let subject = staff.map_or_else(
        || topology::ledger_subject("routing", topology::CODES),
        topology::staff_subject,
    );
    let encoded = routing::encode(event);
    Draft { subject, kind: encoded.kind.into(), body: encoded.body, headers: Vec::new() }
}
