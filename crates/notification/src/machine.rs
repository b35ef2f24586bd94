use std::borrow::Cow;

use mainstem_bus::record::header;
use mainstem_bus::{
    Call, Chore, Counts, Draft, Keeper, Machine, Method, Stored, Unreadable, Upstream,
    need_whole_scope, no_such_method, read_request, topology,
};
use mainstem_domain::access::{Caller, Role};
use mainstem_domain::custody;
use mainstem_domain::identifier::Kind;
use mainstem_domain::notification::{Delivery, Event, Input, Notification, State};
use mainstem_domain::person::{Carrier, ChannelEvent};
use mainstem_domain::{ChannelId, CustomerId, Refusal};
use mainstem_domain::{identity::Event as IdentityEvent, routing::Event as RoutingEvent};
use mainstem_proto::Encoded;
use mainstem_proto::field::{parse_channel, parse_customer, parse_item, parse_token};
use mainstem_proto::notification::parse_outcome;
use mainstem_proto::wire::{channel, notification as wire};
use mainstem_proto::{channel as channel_event, identity, notification, routing};
use mainstem_runtime::erasure;

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
    const SNAPSHOT_VERSION: u32 = 5;
    const METHODS: &'static [Method] = &[
        Method { name: "Send", endpoint: "send", roles: SENDERS },
        Method { name: "GetDelivery", endpoint: "get-delivery", roles: READERS },
        Method { name: "BeginDelivery", endpoint: "begin-delivery", roles: SETTLERS },
        Method { name: "RecordOutcome", endpoint: "record-outcome", roles: SETTLERS },
    ];

    fn input(upstream: &str, message: &Stored) -> Result<Option<Input>, Unreadable> {
        if upstream == topology::ROUTING { from_routing(message) } else { from_customer(message) }
    }

    fn encode(event: &Event, _cause: Option<&Stored>) -> Draft {
        let (customer, channel, subject) = match event {
            Event::Custody(event) => {
                return own_draft(
                    event.owner(),
                    &notification::encode(&Event::Custody(event.clone())),
                );
            }
            Event::RequestVoided { .. } | Event::ItemsVoided { .. } => {
                return own_draft(None, &notification::encode(event));
            }
            Event::ItemRestated { item, .. } => {
                let subject = topology::notification_subject(item.customer);
                (item.customer, Some(&item.address.channel), subject)
            }
            Event::AddressLearned { customer, address, .. } => {
                (*customer, Some(&address.channel), topology::notification_subject(*customer))
            }
            Event::AddressesMoved { to, .. } => (*to, None, topology::notification_subject(*to)),
            Event::Queued { item, .. } => {
                let channel: &ChannelId = &item.address.channel;
                (item.customer, Some(channel), topology::send_subject(item.customer, channel))
            }
            Event::Suppressed { customer, channel, .. }
            | Event::Failed { customer, channel, .. } => {
                (*customer, Some(channel), topology::notification_subject(*customer))
            }
            Event::Begun { customer, .. } | Event::Settled { customer, .. } => {
                (*customer, None, topology::notification_subject(*customer))
            }
        };
        let encoded = notification::encode(event);
        let mut headers = topology::place_headers(channel, None, None);
        headers.push((header::CUSTOMER, customer.to_string()));
        Draft { subject, kind: Cow::Borrowed(encoded.kind), body: encoded.body, headers }
    }

    fn decode(message: &Stored) -> Result<Event, Unreadable> {
        notification::decode(message.record.kind(), &message.record.body).map_err(unreadable)
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

    fn answer(answer: &Delivery) -> String {
        response(answer)
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
                let request: wire::SendRequest = read_request(body)?;
                Ok(Call::Command(Input::Send {
                    id: format!("send/{}/{request_id}", caller.name),
                    customer: parse_customer("customer", &request.customer)?,
                    channel: parse_channel("channel", &request.channel)?,
                    text: request.text,
                }))
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
        if let Some(input) = custody::Input::of_identity(&event) {
            return Ok(Some(Input::Custody(input)));
        }
        let IdentityEvent::Merged { survivor, absorbed, .. } = event else { return Ok(None) };
        return Ok(Some(Input::Merged { survivor, absorbed }));
    }
    let Some(customer) = record.header(header::CUSTOMER) else { return Ok(None) };
    let customer: CustomerId =
        customer.parse().map_err(|_| Unreadable("ce-customer is malformed".to_owned()))?;
    let event: channel::ChannelEvent = serde_json::from_slice(&record.body)
        .map_err(|_| Unreadable("the body is no channel event".to_owned()))?;
    let event = channel_event::decode(event).map_err(unreadable)?.event;
    let carrier = line_carrier(&event);
    Ok(channel_event::address_of(&event).map(|address| Input::Seen { customer, address, carrier }))
}

/// What an address hangs on: the LINE identifier that the event was seen with.
fn line_carrier(event: &ChannelEvent) -> Option<Carrier> {
    let mut identifiers = event.sightings.iter().map(|sighting| &sighting.identifier);
    identifiers.find(|identifier| identifier.kind() == Kind::Line).map(Carrier::of)
}

/// Whose records are whose: under a customer's notifications, or nobody's.
fn own_draft(customer: Option<CustomerId>, encoded: &Encoded) -> Draft {
    let headers = customer.map(|customer| (header::CUSTOMER, customer.to_string()));
    Draft {
        subject: customer.map_or_else(
            || topology::ledger_subject(NotificationMachine::SERVICE, topology::ERASED),
            topology::notification_subject,
        ),
        kind: Cow::Borrowed(encoded.kind),
        body: encoded.body.clone(),
        headers: headers.into_iter().collect(),
    }
}

/// Every method answers with `{"delivery": …}`.
fn response(delivery: &Delivery) -> String {
    let delivery = Some(wire::Delivery::from(delivery));
    serde_json::to_string(&wire::GetDeliveryResponse { delivery }).unwrap_or_default()
}
