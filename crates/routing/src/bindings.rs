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

use crate::machine::page_size;
use crate::{code, picture};

/// How long a code is good for when the caller does not say, in minutes.
const VALID_MINUTES: u64 = 24 * 60;

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
    let size = page_size(request.page_size)?;
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
        Answer::Nothing
        | Answer::Paused(_)
        | Answer::Queue(_)
        | Answer::Case(_)
        | Answer::Existing(_)
        | Answer::Conversation(_)
        | Answer::Staff(..) => return None,
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

#[cfg(test)]
mod tests {
    use mainstem_bus::Machine as _;
    use mainstem_domain::access::{Role, Scope};
    use mainstem_domain::configuration::Handle;
    use mainstem_domain::routing::{
        Binding, Claims, Ended, IssuedCode, Made, Nonce, RefusedWhy, Routing,
    };
    use mainstem_domain::{At, Decider as _};
    use serde_json::{Value, json};

    use super::*;
    use crate::RoutingMachine;

    fn binding(minute: i64, staff: &str, store: &str, brand: Option<&str>) -> Binding {
        Binding {
            bound_at: At::from_millis(minute * 60_000),
            staff: staff.parse().unwrap(),
            brand: brand.map(|brand| brand.parse().unwrap()),
            store: Some(store.parse().unwrap()),
            channel: "line-1".parse().unwrap(),
            made: Made::Code { nonce: Nonce::from_bytes([1; 5]), event: "e1".parse().unwrap() },
            carrier: None,
            ended: None,
        }
    }

    fn issued() -> IssuedCode {
        IssuedCode {
            nonce: Nonce::from_bytes([1; 5]),
            staff: "lin".parse().unwrap(),
            store: Some("taipei-1".parse().unwrap()),
            brand: Some("aurora".parse().unwrap()),
            expires_at: At::from_millis(1_800_000_000_000),
        }
    }

    fn with(events: impl IntoIterator<Item = Event>) -> State {
        let mut state = State::default();
        for event in events {
            Routing::evolve(&mut state, &event, At::default());
        }
        state
    }

    fn bound(customer: u32, binding: Binding) -> Event {
        Event::Bound { customer: CustomerId::derive(&customer.to_string()), binding }
    }

    fn caller(role: Role, stores: &[&str], brands: &[&str]) -> Caller {
        let scope = Scope {
            stores: stores.iter().map(|store| store.parse().unwrap()).collect(),
            brands: brands.iter().map(|brand| brand.parse().unwrap()).collect(),
            ..Scope::default()
        };
        Caller { name: "somebody".to_owned(), role, scope }
    }

    fn everything() -> Caller {
        let scope = Scope { all: true, ..Scope::default() };
        Caller { name: "operator/1".to_owned(), role: Role::Operator, scope }
    }

    fn ask(state: &State, caller: &Caller, method: &str, body: &Value) -> Result<Value, Refusal> {
        let body = body.to_string();
        match RoutingMachine::call(state, method, caller, "r", body.as_bytes())? {
            Call::Read(answer) => Ok(serde_json::from_str(&answer).unwrap()),
            Call::Look(answer) => panic!("{answer}"),
            Call::Command(input) => Ok(json!(format!("{input:?}"))),
        }
    }

    fn field(refusal: Result<Value, Refusal>) -> String {
        let refusal = refusal.unwrap_err();
        let field = refusal.violations.first().map(|violation| violation.field.clone());
        field.unwrap_or(refusal.reason)
    }

    /// Every page of a list: customers' numbers, salespeople, ends.
    fn pages(state: &State, caller: &Caller, mut body: Value, size: i32) -> Vec<String> {
        let mut shown = Vec::new();
        body["pageSize"] = size.into();
        loop {
            let page = ask(state, caller, "ListBindings", &body).unwrap();
            let bindings = page["bindings"].as_array().cloned().unwrap_or_default();
            assert!(bindings.len() <= usize::try_from(size).unwrap());
            shown.extend(bindings.iter().map(|binding| {
                let whose = (0..5_u32).find(|number| {
                    CustomerId::derive(&number.to_string()).as_str() == binding["customer"]
                });
                let end = binding["end"].as_str().unwrap_or_default();
                let text = |name: &str| binding[name].as_str().unwrap_or("-").to_owned();
                format!("{} {} {} {end}", whose.unwrap(), text("staff"), text("brand"))
            }));
            match page["nextPageToken"].as_str() {
                Some(token) => body["pageToken"] = token.into(),
                None => return shown,
            }
        }
    }

    fn bindings_of_three() -> State {
        let aurora = Some("aurora");
        let over = Binding {
            made: Made::HandOver { from: "lin".parse().unwrap() },
            ..binding(3, "wu", "taipei-2", None)
        };
        let ended = Binding {
            ended: Some(Ended { at: At::from_millis(240_000), by: "desk/1".to_owned() }),
            ..binding(1, "lin", "taipei-1", aurora)
        };
        with([
            bound(0, binding(1, "lin", "taipei-1", None)),
            bound(0, binding(2, "lin", "taipei-1", aurora)),
            bound(0, over),
            bound(1, ended),
            bound(2, binding(1, "wu", "taipei-2", Some("borea"))),
        ])
    }

    #[test]
    fn bindings_are_listed_page_by_page_with_those_that_ended_or_without() {
        let state = bindings_of_three();
        let customer = |number: u32| CustomerId::derive(&number.to_string());
        for size in [1, 2, 50] {
            let list = |body: Value| pages(&state, &everything(), body, size);
            let all = list(json!({"customer": customer(0).as_str(), "includeEnded": true}));
            let handed = "0 lin - BINDING_END_HANDED_OVER";
            assert_eq!(all, [handed, "0 lin aurora ", "0 wu - "]);
            let now = list(json!({"customer": customer(0).as_str()}));
            assert_eq!(now, ["0 lin aurora ", "0 wu - "]);
            assert_eq!(list(json!({"staff": "lin"})), ["0 lin aurora "]);
            let mut ever = list(json!({"staff": "lin", "includeEnded": true}));
            ever.sort();
            assert_eq!(ever, [handed, "0 lin aurora ", "1 lin aurora BINDING_END_BY_STAFF"]);
            let at = |time: &str, mut body: Value| {
                body["atTime"] = time.into();
                let mut shown = list(body);
                shown.sort();
                shown
            };
            let then = at("1970-01-01T00:02:59.999Z", json!({"staff": "lin"}));
            assert_eq!(then, [handed, "0 lin aurora ", "1 lin aurora BINDING_END_BY_STAFF"]);
            let then = at("1970-01-01T00:03:00Z", json!({"staff": "lin"}));
            assert_eq!(then, ["0 lin aurora ", "1 lin aurora BINDING_END_BY_STAFF"]);
            let then = at("1970-01-01T00:04:00Z", json!({"staff": "lin"}));
            assert_eq!(then, ["0 lin aurora "]);
            let both = list(json!({"customer": customer(2).as_str(), "staff": "lin"}));
            assert_eq!(both, [""; 0]);
        }
    }

    #[test]
    fn a_caller_sees_and_ends_the_bindings_of_its_stores_and_brands() {
        let state = bindings_of_three();
        let customer = CustomerId::derive("0");
        let list = |caller: Caller| {
            pages(&state, &caller, json!({"customer": customer.as_str(), "includeEnded": true}), 50)
        };
        let handed = "0 lin - BINDING_END_HANDED_OVER";
        assert_eq!(list(caller(Role::Store, &["taipei-1"], &[])), [handed, "0 lin aurora "]);
        assert_eq!(list(caller(Role::Store, &["taipei-2"], &[])), ["0 wu - "]);
        // What is for all brands concerns each of them.
        let desk = || caller(Role::Desk, &[], &["borea"]);
        assert_eq!(list(desk()), [handed, "0 wu - "]);
        assert_eq!(list(caller(Role::Unit, &[], &[])), [""; 0]);
        let end = |caller: Caller, brand: &str| {
            ask(
                &state,
                &caller,
                "EndBinding",
                &json!({"customer": customer.as_str(), "brand": brand}),
            )
        };
        assert!(end(desk(), "").is_ok());
        assert_eq!(field(end(desk(), "aurora")), "NOT_FOUND");
        assert_eq!(field(end(everything(), "borea")), "NOT_FOUND");
    }

    #[test]
    fn what_is_asked_for_wrongly_names_the_field() {
        let state = State::default();
        code::set_key("a binding key of at least thirty-two bytes");
        let ask = |method: &str, body: Value| field(ask(&state, &everything(), method, &body));
        assert_eq!(ask("ListBindings", json!({})), "customer");
        assert_eq!(ask("ListBindings", json!({"staff": "Lin"})), "staff");
        assert_eq!(ask("ListBindings", json!({"staff": "lin", "pageToken": "x"})), "page_token");
        assert_eq!(ask("ListBindings", json!({"staff": "lin", "pageSize": -1})), "page_size");
        assert_eq!(ask("IssueBindingCode", json!({})), "staff");
        let minutes = json!({"staff": "lin", "validMinutes": -1});
        assert_eq!(ask("IssueBindingCode", minutes), "valid_minutes");
        assert_eq!(ask("EndBinding", json!({})), "customer");
        assert_eq!(ask("HandOver", json!({})), "from_staff");
        assert_eq!(ask("HandOver", json!({"fromStaff": "lin"})), "to_staff");
        assert_eq!(ask("RevokeBindingCode", json!({"code": "hello"})), "code");
        let forged = format!("MS-{}", "Z".repeat(47));
        assert_eq!(ask("RevokeBindingCode", json!({"code": forged})), "code");
    }

    #[test]
    fn a_hand_over_needs_its_store_or_brand_in_the_scope_or_everything() {
        let mut caller = caller(Role::Operator, &["taipei-1"], &[]);
        let ask = |caller: &Caller, more: &[(&str, &str)]| {
            let mut body = json!({"fromStaff": "lin", "toStaff": "wu"});
            for (name, value) in more {
                body[*name] = (*value).into();
            }
            super::tests::ask(&State::default(), caller, "HandOver", &body)
        };
        assert_eq!(field(ask(&caller, &[])), "OUT_OF_SCOPE");
        assert_eq!(field(ask(&caller, &[("store", "taipei-2")])), "OUT_OF_SCOPE");
        assert!(ask(&caller, &[("store", "taipei-1")]).is_ok());
        caller.scope.all = true;
        assert!(ask(&caller, &[]).is_ok());
    }

    #[test]
    fn a_code_is_answered_with_its_text_its_link_and_two_pictures_and_revoked_by_either_name() {
        code::set_key("a binding key of at least thirty-two bytes");
        let code = issued();
        let answer = |account: Option<&str>| -> Value {
            let account = account.map(str::to_owned);
            let claims = Claims::of(&code);
            let answer = CodeAnswer { claims, account, code: code.clone() };
            let text = RoutingMachine::answer(&Answer::Code(Box::new(answer)));
            serde_json::from_str(&text).unwrap()
        };
        let shown = answer(Some("@mainstem-example"));
        let text = shown["code"].as_str().unwrap();
        assert_eq!(
            shown["link"],
            format!("https://line.me/R/oaMessage/%40mainstem-example/?{text}")
        );
        assert!(shown["qrSvg"].as_str().unwrap().starts_with("<svg "));
        // The beginning of every PNG, as proto3 JSON writes bytes.
        assert!(shown["qrPng"].as_str().unwrap().starts_with("iVBORw0KGgo"));
        assert_eq!(shown["bindingCode"]["nonce"], "0101010101");
        assert_eq!(shown["bindingCode"]["expireTime"], "2027-01-15T08:00:00+00:00");
        let Some(Opened::Code(claims)) = code::open(text) else { panic!("{text}") };
        assert_eq!(claims.staff, Handle::of("lin"));
        assert_eq!(claims.expires_at(), code.expires_at);
        // Without an account there is no link, and the pictures show the code.
        let bare = answer(None);
        assert_eq!(bare["link"], Value::Null);
        assert!(bare["qrSvg"].as_str().unwrap().len() < shown["qrSvg"].as_str().unwrap().len());

        let state = with([Event::CodeIssued { code, by: "store/1".to_owned() }]);
        let revoke = |caller: &Caller, code: &str| {
            ask(&state, caller, "RevokeBindingCode", &json!({"code": code}))
        };
        let store = caller(Role::Store, &["taipei-1"], &[]);
        assert!(revoke(&store, text).is_ok() && revoke(&store, "0101010101").is_ok());
        assert_eq!(field(revoke(&caller(Role::Store, &["taipei-2"], &[]), text)), "NOT_FOUND");
        assert_eq!(field(revoke(&store, "0202020202")), "NOT_FOUND");
    }

    #[test]
    fn what_is_said_of_codes_stands_with_staff_and_bindings_with_their_customers() {
        let subject = |event: &Event| RoutingMachine::encode(event, None).subject;
        let code = issued();
        let issued = Event::CodeIssued { code, by: "store/1".to_owned() };
        assert_eq!(subject(&issued), "staff.lin");
        let refused = |staff: Option<&str>| Event::CodeRefused {
            why: RefusedWhy::Expired,
            staff: staff.map(|staff| staff.parse().unwrap()),
            channel: "line-1".parse().unwrap(),
        };
        assert_eq!(subject(&refused(Some("lin"))), "staff.lin");
        assert_eq!(subject(&refused(None)), "ledger.routing.codes");
        let bound = bound(1, binding(1, "lin", "taipei-1", None));
        let customer = CustomerId::derive("1");
        assert_eq!(subject(&bound), topology::conversation_subject(customer));
        let state = with([refused(None), refused(Some("lin"))]);
        let gauges = RoutingMachine::gauges(&state);
        let expired = gauges.iter().find(|one| one.name.ends_with("expired")).unwrap();
        assert_eq!(expired.value, 2);
    }
}
