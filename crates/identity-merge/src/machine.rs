use std::borrow::Cow;

use mainstem_bus::record::header;
use mainstem_bus::{
    Call, Draft, Machine, Method, Stored, Unreadable, Upstream, need_whole_scope, no_such_method,
    read_request, topology,
};
use mainstem_domain::access::{Caller, Role};
use mainstem_domain::identity::{Event, Identity, Input, Profile, State};
use mainstem_domain::{ChannelId, CustomerId, EventId, Refusal};
use mainstem_proto::field::{parse_customer, parse_identifier};
use mainstem_proto::wire::{channel, identity as wire};
use mainstem_proto::{channel as channel_event, identity};

use crate::list;

/// identity-merge on the bus: reads `INBOUND`, writes `CUSTOMER`.
#[derive(Debug)]
pub struct IdentityMachine;

const READERS: &[Role] = &[Role::Desk, Role::Operator, Role::Service];
const WRITERS: &[Role] = &[Role::Operator, Role::Service];

impl Machine for IdentityMachine {
    type Decider = Identity;

    const SERVICE: &'static str = "identity-merge";
    const LEDGER: &'static str = topology::CUSTOMER;
    const UPSTREAMS: &'static [Upstream] = &[Upstream { stream: topology::INBOUND, ledger: false }];
    const SNAPSHOT_VERSION: u32 = 2;
    const METHODS: &'static [Method] = &[
        Method { name: "GetCustomer", endpoint: "get-customer", roles: READERS },
        Method { name: "ResolveCustomer", endpoint: "resolve-customer", roles: READERS },
        Method { name: "ListCustomers", endpoint: "list-customers", roles: READERS },
        Method { name: "AttachIdentifier", endpoint: "attach-identifier", roles: WRITERS },
        Method { name: "MergeCustomers", endpoint: "merge-customers", roles: WRITERS },
        Method { name: "ListConflicts", endpoint: "list-conflicts", roles: READERS },
        Method { name: "ListSuggestions", endpoint: "list-suggestions", roles: READERS },
    ];

    fn input(_upstream: &str, message: &Stored) -> Result<Option<Input>, Unreadable> {
        // Ingress has left a dead letter for it.
        if topology::is_unreadable(message.record.kind()) {
            return Ok(None);
        }
        let event: channel::ChannelEvent =
            serde_json::from_slice(&message.record.body).map_err(|error| {
                Unreadable(format!(
                    "the body is no channel event (line {}, column {})",
                    error.line(),
                    error.column()
                ))
            })?;
        let read = channel_event::decode(event).map_err(|error| Unreadable(error.to_string()))?;
        Ok(Some(Input::Inbound(read.event)))
    }

    fn encode(event: &Event, cause: Option<&Stored>) -> Draft {
        if let Some(encoded) = identity::encode(event) {
            let customer = owner(event);
            return Draft {
                subject: topology::identity_subject(customer),
                kind: Cow::Borrowed(encoded.kind),
                body: encoded.body,
                headers: vec![(header::CUSTOMER, customer.to_string())],
            };
        }
        let Event::Channel { customer, channel, event } = event else {
            unreachable!("identity::encode takes every other event")
        };
        // Passed on as it is: the event keeps its id, source, name and time.
        let inherited = [header::SOURCE, header::TIME, header::STORE, header::BRAND];
        let mut headers: Vec<_> = cause
            .into_iter()
            .flat_map(|cause| {
                inherited.iter().filter_map(|name| Some((*name, cause.record.header(name)?)))
            })
            .map(|(name, value)| (name, value.to_owned()))
            .collect();
        headers.push((header::ID, event.to_string()));
        headers.push((header::CHANNEL, channel.to_string()));
        headers.extend(customer.map(|customer| (header::CUSTOMER, customer.to_string())));
        Draft {
            subject: topology::channel_subject(*customer, channel),
            kind: Cow::Owned(cause.map_or_else(String::new, |c| c.record.kind().to_owned())),
            body: cause.map(|cause| cause.record.body.clone()).unwrap_or_default(),
            headers,
        }
    }

    fn decode(message: &Stored) -> Result<Event, Unreadable> {
        let record = &message.record;
        if record.kind().starts_with("mainstem.identity.") {
            return identity::decode(record.kind(), &record.body)
                .map_err(|error| Unreadable(error.to_string()));
        }
        let wrong = |name: &str| Unreadable(format!("{name} is missing or malformed"));
        let customer = record
            .header(header::CUSTOMER)
            .map(|text| text.parse::<CustomerId>().map_err(|_| wrong(header::CUSTOMER)))
            .transpose()?;
        let channel: ChannelId = record
            .header(header::CHANNEL)
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| wrong(header::CHANNEL))?;
        let event: EventId = record
            .header(header::ID)
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| wrong(header::ID))?;
        Ok(Event::Channel { customer, channel, event })
    }

    fn answer(answer: &Profile) -> String {
        response(answer)
    }

    fn call(
        state: &State,
        method: &str,
        caller: &Caller,
        _request_id: &str,
        body: &[u8],
    ) -> Result<Call<Input>, Refusal> {
        need_whole_scope(caller)?;
        match method {
            "GetCustomer" => {
                let request: wire::GetCustomerRequest = read_request(body)?;
                let id = parse_customer("customer", &request.customer)?;
                found(state, id)
            }
            "ResolveCustomer" => {
                let request: wire::ResolveCustomerRequest = read_request(body)?;
                let identifier = parse_identifier("identifier", &request.identifier)?;
                // The identifier is not repeated: refusals are logged.
                let owner = state
                    .owner(&identifier)
                    .ok_or_else(|| Refusal::not_found("customer", "with that identifier"))?;
                found(state, owner)
            }
            "AttachIdentifier" => {
                let request: wire::AttachIdentifierRequest = read_request(body)?;
                Ok(Call::Command(Input::Attach {
                    customer: parse_customer("customer", &request.customer)?,
                    identifier: parse_identifier("identifier", &request.identifier)?,
                }))
            }
            "MergeCustomers" => {
                let request: wire::MergeCustomersRequest = read_request(body)?;
                Ok(Call::Command(Input::Merge {
                    customer: parse_customer("customer", &request.customer)?,
                    other: parse_customer("other", &request.other)?,
                    validate_only: request.validate_only,
                }))
            }
            "ListCustomers" => list::customers(state, &read_request(body)?),
            "ListConflicts" => list::conflicts(state, &read_request(body)?),
            "ListSuggestions" => list::suggestions(state, &read_request(body)?),
            _ => Err(no_such_method(Self::SERVICE, method)),
        }
    }
}

fn owner(event: &Event) -> CustomerId {
    match event {
        Event::Created { customer, .. }
        | Event::Attached { customer, .. }
        | Event::Suggested { customer, .. }
        | Event::Conflicted { customer, .. } => *customer,
        Event::Merged { survivor, .. } => *survivor,
        Event::Channel { .. } => unreachable!("a channel event has a subject of its own"),
    }
}

fn found(state: &State, id: CustomerId) -> Result<Call<Input>, Refusal> {
    let profile = state.customer(id).ok_or_else(|| Refusal::not_found("customer", id.as_str()))?;
    Ok(Call::Read(response(&profile)))
}

/// Every method about one customer answers with `{"customer": …}`.
fn response(profile: &Profile) -> String {
    let customer = Some(wire::Customer::from(profile));
    serde_json::to_string(&wire::GetCustomerResponse { customer }).unwrap_or_default()
}
