use std::borrow::Cow;

use mainstem_bus::record::header;
use mainstem_bus::{
    Call, Chore, Counts, Draft, Gauge, Keeper, Machine, Method, Stored, Unreadable, Upstream,
    need_whole_scope, no_such_method, read_request, topology,
};
use mainstem_domain::access::{Caller, Role};
use mainstem_domain::configuration::{MESSAGES_AT_MOST, Mode, Zone};
use mainstem_domain::custody;
use mainstem_domain::identifier::Kind;
use mainstem_domain::notification::{
    Answer, Class, Consent, Deed, Delivery, Event, Input, Notification, Request, State, Told,
    Trait, Words,
};
use mainstem_domain::person::{Act, Attribute, Business, Carrier, ChannelEvent};
use mainstem_domain::{At, CustomerId, Language, Refusal};
use mainstem_domain::{identity::Event as IdentityEvent, routing::Event as RoutingEvent};
use mainstem_proto::FieldError;
use mainstem_proto::field::{parse_customer, parse_item, parse_optional, parse_time, parse_token};
use mainstem_proto::notification::{parse_class, parse_outcome, parse_preferences};
use mainstem_proto::wire::{channel, notification as wire};
use mainstem_proto::{channel as channel_event, identity, notification, routing};
use mainstem_runtime::erasure;
use serde::Serialize;

/// notification on the bus: reads `CUSTOMER` and `ROUTING`, writes `NOTIFICATION`.
#[derive(Debug)]
pub struct NotificationMachine;

const READERS: &[Role] = &[Role::Desk, Role::Operator, Role::Service];
const SENDERS: &[Role] = &[Role::Operator, Role::Service];
const SETTLERS: &[Role] = &[Role::Service];

impl Machine for NotificationMachine {
    type Decider = Notification;

    const SERVICE: &'static str = "notification";
    const LEDGER: &'static str = topology::NOTIFICATION;
    const UPSTREAMS: &'static [Upstream] = &[
        Upstream { stream: topology::CUSTOMER, ledger: true },
        Upstream { stream: topology::ROUTING, ledger: true },
    ];
    const SNAPSHOT_VERSION: u32 = 7;
    const METHODS: &'static [Method] = &[
        Method { name: "Send", endpoint: "send", roles: SENDERS },
        Method { name: "Preview", endpoint: "preview", roles: SENDERS },
        Method { name: "Cancel", endpoint: "cancel", roles: SENDERS },
        Method { name: "ListDeliveries", endpoint: "list-deliveries", roles: READERS },
        Method { name: "GetPreferences", endpoint: "get-preferences", roles: READERS },
        Method { name: "SetPreferences", endpoint: "set-preferences", roles: SENDERS },
        Method { name: "GetBudget", endpoint: "get-budget", roles: READERS },
        Method { name: "GetDelivery", endpoint: "get-delivery", roles: READERS },
        Method { name: "BeginDelivery", endpoint: "begin-delivery", roles: SETTLERS },
        Method { name: "RecordOutcome", endpoint: "record-outcome", roles: SETTLERS },
    ];

    fn input(upstream: &str, message: &Stored) -> Result<Option<Input>, Unreadable> {
        if upstream == topology::ROUTING { from_routing(message) } else { from_customer(message) }
    }

    fn encode(event: &Event, _cause: Option<&Stored>) -> Draft {
        let encoded = notification::encode(event);
        let channel = match event {
            Event::AddressLearned { address, .. } => Some(&address.channel),
            Event::Followed { channel, .. } => Some(channel),
            Event::Queued { item, .. } | Event::Handed { item, .. } => Some(&item.address.channel),
            Event::Deferred { deferred, .. } => deferred.request.channel.as_ref(),
            Event::Ended { channel, .. } => channel.as_ref(),
            Event::Restated { standing, .. } => standing.channel(),
            Event::Engaged { .. }
            | Event::TraitTold { .. }
            | Event::ConsentTold { .. }
            | Event::PreferencesSet { .. }
            | Event::PersonMoved { .. }
            | Event::PersonRestated { .. }
            | Event::WishesRestated { .. }
            | Event::Released { .. }
            | Event::Begun { .. }
            | Event::Settled { .. }
            | Event::RequestVoided { .. }
            | Event::ItemsVoided { .. }
            | Event::Custody(_) => None,
        };
        let owner = event.owner();
        let subject = match (event, owner) {
            (Event::Queued { item, .. }, _) => topology::notification_item_subject(item.customer),
            (Event::Handed { item, .. }, _) => {
                topology::send_subject(item.customer, &item.address.channel, item.class)
            }
            (_, Some(customer)) => topology::notification_subject(customer),
            // About somebody who was erased: nobody's.
            (_, None) => topology::ledger_subject(Self::SERVICE, topology::ERASED),
        };
        let mut headers = topology::place_headers(channel, None, None);
        headers.extend(owner.map(|customer| (header::CUSTOMER, customer.to_string())));
        Draft { subject, kind: Cow::Borrowed(encoded.kind), body: encoded.body, headers }
    }

    fn decode(message: &Stored) -> Result<Event, Unreadable> {
        notification::decode(message.record.kind(), &message.record.body).map_err(unreadable)
    }

    fn gauges(state: &State) -> Vec<Gauge> {
        let deferred = u64::try_from(state.deferred_count()).unwrap_or(u64::MAX);
        let name = "mainstem.notification.requests_deferred";
        vec![Gauge { name, value: deferred, alert: None }]
    }

    fn chores(state: &State) -> Vec<Chore> {
        state.custody().jobs().into_iter().map(Chore::from).collect()
    }

    fn keeper_of(state: &State, message: &Stored) -> Keeper {
        let Ok(event) = Self::decode(message) else { return Keeper::Stays };
        Keeper::of(state.custody(), &message.record.subject, event.carrier())
    }

    fn chore_done(job: &str, counts: Counts) -> Option<Input> {
        Some(Input::Custody(custody::Input::JobDone { job: job.to_owned(), counts }))
    }

    fn answer(answer: &Answer) -> String {
        match answer {
            Answer::Delivery(delivery) => response(delivery),
            Answer::Preview(verdict) => json(&notification::preview_to(verdict)),
            Answer::Preferences(preferences) => json(&wire::SetPreferencesResponse {
                preferences: Some(notification::preferences_to(preferences)),
            }),
            Answer::Budget(budget) => json(&notification::budget_to(budget)),
        }
    }

    fn call(
        state: &State,
        method: &str,
        caller: &Caller,
        request_id: &str,
        body: &[u8],
    ) -> Result<Call<Input>, Refusal> {
        need_whole_scope(caller)?;
        match method {
            "Send" => {
                let request = asked(read_request(body)?)?;
                let id = format!("send/{}/{request_id}", caller.name);
                Ok(Call::Command(Input::Send { id, request: Box::new(request) }))
            }
            "Preview" => {
                let request: wire::PreviewRequest = read_request(body)?;
                let request = asked(request.request.unwrap_or_default());
                let request = request.map_err(|error| error.within("request"))?;
                Ok(Call::Command(Input::Preview { request: Box::new(request) }))
            }
            "Cancel" => {
                let request: wire::CancelRequest = read_request(body)?;
                Ok(Call::Command(Input::Cancel { item: parse_item("item", &request.item)? }))
            }
            "ListDeliveries" => list(state, &read_request(body)?),
            "GetPreferences" => {
                let request: wire::GetPreferencesRequest = read_request(body)?;
                let customer = parse_customer("customer", &request.customer)?;
                let known = state.person(customer);
                let person =
                    known.ok_or_else(|| Refusal::not_found("customer", customer.as_str()))?;
                Ok(Call::Read(json(&notification::person_to(person))))
            }
            "SetPreferences" => {
                let request: wire::SetPreferencesRequest = read_request(body)?;
                let preferences = request.preferences.as_ref().ok_or_else(|| {
                    FieldError::new("preferences", "is missing; give those that are to be set")
                })?;
                Ok(Call::Command(Input::SetPreferences {
                    customer: parse_customer("customer", &request.customer)?,
                    preferences: parse_preferences(preferences)
                        .map_err(|error| error.within("preferences"))?,
                }))
            }
            "GetBudget" => {
                let request: wire::GetBudgetRequest = read_request(body)?;
                let customer = parse_customer("customer", &request.customer)?;
                Ok(Call::Command(Input::Budget { customer }))
            }
            "GetDelivery" => {
                let request: wire::GetDeliveryRequest = read_request(body)?;
                let id = parse_item("item", &request.item)?;
                let delivery =
                    state.delivery(id).ok_or_else(|| Refusal::not_found("item", id.as_str()))?;
                Ok(Call::Read(response(&delivery)))
            }
            "BeginDelivery" => {
                let request: wire::BeginDeliveryRequest = read_request(body)?;
                Ok(Call::Command(Input::Begin {
                    item: parse_item("item", &request.item)?,
                    attempt: parse_token("attempt", &request.attempt)?,
                }))
            }
            "RecordOutcome" => {
                let request: wire::RecordOutcomeRequest = read_request(body)?;
                Ok(Call::Command(Input::Record {
                    item: parse_item("item", &request.item)?,
                    outcome: parse_outcome(request.state, request.reason)?,
                }))
            }
            erasure::UNREPORTED => Ok(Call::Read(erasure::unreported(state.custody()))),
            erasure::CONFIRM => {
                Ok(Call::Command(Input::Custody(erasure::confirmed(&read_request(body)?)?)))
            }
            _ => Err(no_such_method(Self::SERVICE, method)),
        }
    }
}

fn unreadable(error: impl std::fmt::Display) -> Unreadable {
    Unreadable(error.to_string())
}

fn from_routing(message: &Stored) -> Result<Option<Input>, Unreadable> {
    let record = &message.record;
    if ![routing::MESSAGE_REQUESTED, routing::RECORDS_MOVED].contains(&record.kind()) {
        return Ok(None);
    }
    let event = routing::decode(record.kind(), &record.body).map_err(unreadable)?;
    if let RoutingEvent::Custody(custody::Event::RecordsMoved { split, customer, .. }) = event {
        return Ok(Some(Input::Custody(custody::Input::UpstreamMoved { split, customer })));
    }
    let RoutingEvent::MessageRequested(request) = event else { return Ok(None) };
    let id = record
        .header(header::ID)
        .ok_or_else(|| Unreadable(format!("{} is missing", header::ID)))?;
    Ok(Some(Input::Requested { id: id.to_owned(), request }))
}

fn from_customer(message: &Stored) -> Result<Option<Input>, Unreadable> {
    let record = &message.record;
    if record.kind().starts_with("mainstem.identity.") {
        let event = identity::decode(record.kind(), &record.body).map_err(unreadable)?;
        return Ok(from_identity(event));
    }
    let Some(customer) = record.header(header::CUSTOMER) else { return Ok(None) };
    let customer: CustomerId =
        customer.parse().map_err(|_| Unreadable("ce-customer is malformed".to_owned()))?;
    let event: channel::ChannelEvent = serde_json::from_slice(&record.body)
        .map_err(|_| Unreadable("the body is no channel event".to_owned()))?;
    let event = channel_event::decode(event).map_err(unreadable)?.event;
    let (address, deed) = (channel_event::address_of(&event), deed(&event.act));
    let says_something = address.is_some() || deed != Deed::Nothing;
    Ok(says_something.then(|| Input::Seen {
        customer,
        address,
        carrier: line_carrier(&event),
        deed,
        occurred_at: event.occurred_at,
    }))
}

fn from_identity(event: IdentityEvent) -> Option<Input> {
    if let IdentityEvent::Restated(restated) = &event
        && let Some(custody::Input::Part(part)) = custody::Input::of_identity(&event)
    {
        let answers = restated.identifiers.iter().flat_map(|kept| &kept.facts.consents);
        let answers = answers.filter_map(|told| marketing(&told.consent, told.told_at));
        let consent = answers.map(Some).fold(None, Consent::strictest);
        return Some(Input::Part { part, consent });
    }
    if let Some(input) = custody::Input::of_identity(&event) {
        return Some(Input::Custody(input));
    }
    match event {
        IdentityEvent::Merged { survivor, absorbed, .. } => {
            Some(Input::Merged { survivor, absorbed })
        }
        IdentityEvent::Consented { customer, consents, told_at, .. } => {
            let answers = consents.iter().filter_map(|consent| marketing(consent, told_at));
            let consent = answers.map(Some).fold(None, Consent::strictest)?;
            Some(Input::Consented { customer, consent })
        }
        IdentityEvent::Described { customer, identifier, attributes, told_at, .. } => {
            let carrier = Carrier::of(&identifier);
            let told = attributes.iter().filter_map(|attribute| {
                let (what, verified) = (trait_of(attribute)?, attribute.verified);
                Some(Told { carrier, what, verified, told_at })
            });
            let told: Vec<_> = told.collect();
            (!told.is_empty()).then_some(Input::Told { customer, told })
        }
        IdentityEvent::Created { .. }
        | IdentityEvent::Attached { .. }
        | IdentityEvent::Tied { .. }
        | IdentityEvent::Suggested { .. }
        | IdentityEvent::SuggestionRejected { .. }
        | IdentityEvent::Conflicted { .. }
        | IdentityEvent::Carried { .. }
        | IdentityEvent::HubFound { .. }
        | IdentityEvent::HubReleased { .. }
        | IdentityEvent::Disputed { .. }
        | IdentityEvent::DisputeSettled { .. }
        | IdentityEvent::Split { .. }
        | IdentityEvent::Restated(_)
        | IdentityEvent::Moved { .. }
        | IdentityEvent::Unsent { .. }
        | IdentityEvent::Hidden { .. }
        | IdentityEvent::Erased { .. }
        | IdentityEvent::ErasureReported { .. }
        | IdentityEvent::Channel { .. } => None,
    }
}

/// What a consent says about marketing messages on LINE.
fn marketing(consent: &mainstem_domain::person::Consent, told_at: At) -> Option<Consent> {
    let is = consent.means.as_str() == "line" && consent.purpose.as_str() == "marketing";
    is.then_some(Consent { answer: consent.answer, told_at })
}

/// What an attribute says about how and when the person is spoken to, if anything. What a source
/// wrote that nobody understands says nothing.
fn trait_of(attribute: &Attribute) -> Option<Trait> {
    match attribute.name.as_str() {
        "language" => Language::nearest(&attribute.value).map(Trait::Language),
        "time-zone" => attribute.value.parse::<Zone>().ok().map(Trait::Zone),
        _ => None,
    }
}

/// What the person did by it. What a system or somebody of the staff did is no sign of the person.
fn deed(act: &Act) -> Deed {
    match act {
        Act::Follow => Deed::Followed,
        Act::Unfollow => Deed::Blocked,
        Act::Text(_) | Act::Media(_) | Act::Postback(_) | Act::Unsend(_) | Act::Other => {
            Deed::Acted
        }
        Act::Business(kind) => match kind {
            Business::OrderPlaced
            | Business::OrderPaid
            | Business::OrderCancelled
            | Business::OrderReturned
            | Business::PageViewed
            | Business::ItemClicked
            | Business::MemberSignedUp
            | Business::CallReceived
            | Business::StoreVisited => Deed::Acted,
            Business::OrderShipped | Business::MemberUpdated | Business::StaffMessage => {
                Deed::Nothing
            }
        },
    }
}

/// What an address hangs on: the LINE identifier that the event was seen with.
fn line_carrier(event: &ChannelEvent) -> Option<Carrier> {
    let mut identifiers = event.sightings.iter().map(|sighting| &sighting.identifier);
    identifiers.find(|identifier| identifier.kind() == Kind::Line).map(Carrier::of)
}

/// What a caller asks for.
fn asked(request: wire::SendRequest) -> Result<Request, FieldError> {
    let templates = request.templates;
    let text = Some(request.text).filter(|text| !text.is_empty());
    if text.is_some() != templates.is_empty() {
        return Err(FieldError::new("text", "or templates must be set, and not both"));
    }
    if templates.len() > MESSAGES_AT_MOST {
        let limit = format!("are {}; LINE takes 1 to {MESSAGES_AT_MOST}", templates.len());
        return Err(FieldError::new("templates", limit));
    }
    let collapse_key = match request.collapse_key.as_str() {
        "" => None,
        key => Some(parse_token("collapse_key", key)?),
    };
    let deadline = request.expire_time.map(|time| parse_time("expire_time", Some(time)));
    let class = parse_class("class", request.class)?;
    if request.digest && class != Class::Marketing {
        return Err(FieldError::new("digest", "is for class MARKETING alone; leave it out"));
    }
    Ok(Request {
        customer: parse_customer("customer", &request.customer)?,
        carrier: None,
        class,
        channel: parse_optional("channel", &request.channel)?,
        elsewhere: false,
        mode: Mode::Live,
        brand: parse_optional("brand", &request.brand)?,
        words: Words {
            templates,
            text,
            variables: request.variables.into_iter().collect(),
            case: None,
            staff: None,
        },
        reply: None,
        collapse_key,
        deadline: deadline.transpose()?,
        digest: request.digest,
        asked_at: At::default(),
    })
}

/// A page of a customer's deliveries. The token is the last item of the page before.
fn list(state: &State, request: &wire::ListDeliveriesRequest) -> Result<Call<Input>, Refusal> {
    let customer = parse_customer("customer", &request.customer)?;
    let size = page_size(request.page_size)?;
    let after = match request.page_token.as_str() {
        "" => None,
        token => Some(parse_item("page_token", token).map_err(|_| {
            FieldError::new("page_token", "is none that this method gave; begin at the first page")
        })?),
    };
    let deliveries = state.deliveries_of(customer);
    let from = match after {
        None => 0,
        Some(item) => {
            let place = deliveries.iter().position(|delivery| delivery.id == item);
            place.map_or(deliveries.len(), |place| place + 1)
        }
    };
    let page: Vec<_> = deliveries[from..].iter().take(size).collect();
    let more = from + page.len() < deliveries.len();
    let last = page.last().filter(|_| more).map(|delivery| delivery.id.to_string());
    Ok(Call::Read(json(&wire::ListDeliveriesResponse {
        deliveries: page.into_iter().map(wire::Delivery::from).collect(),
        next_page_token: last.unwrap_or_default(),
    })))
}

const PAGE_SIZE: usize = 50;
const PAGE_SIZE_AT_MOST: usize = 100;

fn page_size(asked: i32) -> Result<usize, FieldError> {
    let asked =
        usize::try_from(asked).map_err(|_| FieldError::new("page_size", "must not be negative"))?;
    Ok(if asked == 0 { PAGE_SIZE } else { asked.min(PAGE_SIZE_AT_MOST) })
}

fn json(response: &impl Serialize) -> String {
    serde_json::to_string(response).unwrap_or_default()
}

/// What is said of a delivery is `{"delivery": …}` in every answer.
fn response(delivery: &Delivery) -> String {
    json(&wire::GetDeliveryResponse { delivery: Some(wire::Delivery::from(delivery)) })
}
