use std::borrow::Cow;
use std::collections::BTreeSet;

use bytes::Bytes;
use mainstem_bus::custody::Message;
use mainstem_bus::record::header;
use mainstem_bus::{
    Call, Chore, Counts, Draft, Gauge, Keeper, Machine, Method, Record, Stored, Unreadable,
    Upstream, need_whole_scope, no_such_method, read_request, topology,
};
use mainstem_domain::access::{Caller, Role};
use mainstem_domain::identity::{Answer, Event, Identity, Input, Profile, State};
use mainstem_domain::{ChannelId, CustomerId, EventId, Refusal};
use mainstem_proto::field::{
    parse_case, parse_customer, parse_dispute, parse_erasure, parse_identifier, parse_suggestion,
};
use mainstem_proto::identity::erasure_to;
use mainstem_proto::wire::{channel, identity as wire};
use mainstem_proto::{channel as channel_event, identity};
use serde::Serialize;

use crate::{custody, journey, list, token};

/// Every service that holds records of customers and must report that it has forgotten one.
const ERASING: [&str; 3] = ["identity-merge", "routing", "notification"];

/// identity-merge on the bus: reads `INBOUND`, writes `CUSTOMER`.
#[derive(Debug)]
pub struct IdentityMachine;

pub(crate) const READERS: &[Role] = &[Role::Desk, Role::Operator, Role::Service];
const WRITERS: &[Role] = &[Role::Operator, Role::Service];
const SERVICES: &[Role] = &[Role::Service];

impl Machine for IdentityMachine {
    type Decider = Identity;

    const SERVICE: &'static str = mainstem_domain::identity::SERVICE;
    const LEDGER: &'static str = topology::CUSTOMER;
    const UPSTREAMS: &'static [Upstream] = &[Upstream { stream: topology::INBOUND, ledger: false }];
    const SNAPSHOT_VERSION: u32 = 8;
    const METHODS: &'static [Method] = &[
        Method { name: "GetCustomer", endpoint: "get-customer", roles: READERS },
        Method { name: "ResolveCustomer", endpoint: "resolve-customer", roles: READERS },
        Method { name: "ListCustomers", endpoint: "list-customers", roles: READERS },
        Method { name: "ListEvidence", endpoint: "list-evidence", roles: READERS },
        Method { name: "AttachIdentifier", endpoint: "attach-identifier", roles: WRITERS },
        Method { name: "MergeCustomers", endpoint: "merge-customers", roles: WRITERS },
        Method { name: "SplitCustomer", endpoint: "split-customer", roles: WRITERS },
        Method { name: "ListConflicts", endpoint: "list-conflicts", roles: READERS },
        Method { name: "ListSuggestions", endpoint: "list-suggestions", roles: READERS },
        Method { name: "AcceptSuggestion", endpoint: "accept-suggestion", roles: WRITERS },
        Method { name: "RejectSuggestion", endpoint: "reject-suggestion", roles: WRITERS },
        Method { name: "ListHubs", endpoint: "list-hubs", roles: READERS },
        Method { name: "ReleaseHub", endpoint: "release-hub", roles: WRITERS },
        Method { name: "ListDisputes", endpoint: "list-disputes", roles: READERS },
        Method { name: "SettleDispute", endpoint: "settle-dispute", roles: WRITERS },
        Method { name: "EraseCustomer", endpoint: "erase-customer", roles: WRITERS },
        Method { name: "GetErasure", endpoint: "get-erasure", roles: READERS },
        Method { name: "ReportErasure", endpoint: "report-erasure", roles: SERVICES },
        Method { name: "GetTimeline", endpoint: "get-timeline", roles: READERS },
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
        let tokens = token::of_event(&read.event);
        Ok(Some(Input::Inbound { event: read.event, tokens }))
    }

    fn encode(event: &Event, cause: Option<&Stored>) -> Draft {
        if let Some(encoded) = identity::encode(event) {
            let customer = event.owner();
            return Draft {
                subject: match (customer, event) {
                    (Some(customer), _) => topology::identity_subject(customer),
                    (None, Event::Unsent { channel, .. } | Event::Hidden { channel, .. }) => {
                        topology::channel_subject(None, channel)
                    }
                    (None, _) => topology::ledger_subject(Self::SERVICE, topology::ERASED),
                },
                kind: Cow::Borrowed(encoded.kind),
                body: encoded.body,
                headers: customer
                    .map(|customer| (header::CUSTOMER, customer.to_string()))
                    .into_iter()
                    .collect(),
            };
        }
        let Event::Channel { customer, channel, event } = event else {
            unreachable!("identity::encode takes every other event")
        };
        // Passed on as it is: the event keeps its id, source, name and time.
        let inherited = [header::SOURCE, header::TIME, header::STORE, header::BRAND, header::MEDIA];
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

    fn gauges(state: &State) -> Vec<Gauge> {
        let gauge = |name, value, alert| Gauge { name, value, alert };
        vec![
            gauge("mainstem.identity.customers", state.customers() as u64, None),
            gauge("mainstem.identity.identifiers", state.identifiers() as u64, None),
            gauge(
                "mainstem.identity.seen_forgotten_early",
                state.forgotten_early(),
                Some(
                    "events are forgotten before 3 days are over, because there are so many; one \
                     that is delivered again that late would count twice",
                ),
            ),
        ]
    }

    fn chores(state: &State) -> Vec<Chore> {
        custody::chores(state)
    }

    fn keeper_of(state: &State, message: &Stored) -> Keeper {
        custody::keeper_of(state, message)
    }

    fn without(message: &Message, record: &Record) -> Option<Bytes> {
        custody::without(message, record)
    }

    fn stands_alone(event: &Event, cause: Option<&Stored>) -> bool {
        matches!(event, Event::Channel { .. })
            && cause.is_some_and(|cause| custody::is_message(&cause.record))
    }

    fn moved(message: &Stored) -> Result<Option<Event>, Unreadable> {
        // Only channel events are moved or hidden, and taking one again changes nothing.
        Self::decode(message).map(Some)
    }

    fn chore_done(job: &str, counts: Counts) -> Option<Input> {
        custody::chore_done(job, counts)
    }

    fn answer(answer: &Answer) -> String {
        match answer {
            Answer::Customer(profile) => response(profile),
            Answer::Pieces(pieces) => json(&wire::SplitCustomerResponse {
                customers: pieces.iter().map(wire::Customer::from).collect(),
            }),
            Answer::Erasure(erasure) => {
                json(&wire::EraseCustomerResponse { erasure: erasure.to_string() })
            }
            Answer::Done => "{}".to_owned(),
        }
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each method")]
    fn call(
        state: &State,
        method: &str,
        caller: &Caller,
        request_id: &str,
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
            "SplitCustomer" => {
                let request: wire::SplitCustomerRequest = read_request(body)?;
                let mut identifiers = BTreeSet::new();
                for (place, text) in request.identifiers.iter().enumerate() {
                    identifiers.insert(parse_identifier(&format!("identifiers[{place}]"), text)?);
                }
                Ok(Call::Command(Input::Split {
                    customer: parse_customer("customer", &request.customer)?,
                    identifiers,
                    origin: request_id.to_owned(),
                    validate_only: request.validate_only,
                }))
            }
            "AcceptSuggestion" => {
                let request: wire::AcceptSuggestionRequest = read_request(body)?;
                let id = parse_suggestion("suggestion", &request.suggestion)?;
                Ok(Call::Command(Input::AcceptSuggestion(id)))
            }
            "RejectSuggestion" => {
                let request: wire::RejectSuggestionRequest = read_request(body)?;
                let id = parse_suggestion("suggestion", &request.suggestion)?;
                Ok(Call::Command(Input::RejectSuggestion(id)))
            }
            "ReleaseHub" => {
                let request: wire::ReleaseHubRequest = read_request(body)?;
                let identifier = parse_identifier("identifier", &request.identifier)?;
                Ok(Call::Command(Input::ReleaseHub(identifier)))
            }
            "SettleDispute" => {
                let request: wire::SettleDisputeRequest = read_request(body)?;
                let customer = Some(&request.customer).filter(|customer| !customer.is_empty());
                Ok(Call::Command(Input::SettleDispute {
                    dispute: parse_dispute("dispute", &request.dispute)?,
                    customer: customer.map(|id| parse_customer("customer", id)).transpose()?,
                }))
            }
            "EraseCustomer" => {
                let request: wire::EraseCustomerRequest = read_request(body)?;
                let customer = parse_customer("customer", &request.customer)?;
                let cases = request.open_cases.iter();
                let known = state.customer(customer);
                Ok(Call::Command(Input::Erase {
                    customer,
                    force: request.force,
                    open_cases: cases
                        .map(|case| parse_case("open_cases", case))
                        .collect::<Result<_, _>>()?,
                    tokens: known.map(|profile| token::of_profile(&profile)).unwrap_or_default(),
                    origin: request_id.to_owned(),
                }))
            }
            "GetErasure" => {
                let request: wire::GetErasureRequest = read_request(body)?;
                let id = parse_erasure("erasure", &request.erasure)?;
                let erasure =
                    state.erasure(id).ok_or_else(|| Refusal::not_found("erasure", id.as_str()))?;
                let erasure = Some(erasure_to(id, erasure, &ERASING));
                Ok(Call::Read(json(&wire::GetErasureResponse { erasure })))
            }
            "ReportErasure" => {
                let request: wire::ReportErasureRequest = read_request(body)?;
                if !ERASING.contains(&request.service.as_str()) {
                    let known = format!("must be one of {}", ERASING.join(", "));
                    return Err(Refusal::field("service", known));
                }
                Ok(Call::Command(Input::ReportErasure {
                    erasure: parse_erasure("erasure", &request.erasure)?,
                    service: request.service,
                    counts: request.counts.into_iter().collect(),
                }))
            }
            journey::METHOD => {
                let answer = journey::answer(state, &read_request(body)?)?;
                Ok(Call::Read(json(&answer)))
            }
            "ListCustomers" => list::customers(state, &read_request(body)?),
            "ListEvidence" => list::evidence(state, &read_request(body)?),
            "ListConflicts" => list::conflicts(state, &read_request(body)?),
            "ListSuggestions" => list::suggestions(state, &read_request(body)?),
            "ListHubs" => list::hubs(state, &read_request(body)?),
            "ListDisputes" => list::disputes(state, &read_request(body)?),
            _ => Err(no_such_method(Self::SERVICE, method)),
        }
    }
}

fn found(state: &State, id: CustomerId) -> Result<Call<Input>, Refusal> {
    let profile = state.customer(id).ok_or_else(|| Refusal::not_found("customer", id.as_str()))?;
    Ok(Call::Read(response(&profile)))
}

/// Every method about one customer answers with `{"customer": …}`.
fn response(profile: &Profile) -> String {
    json(&wire::GetCustomerResponse { customer: Some(wire::Customer::from(profile)) })
}

fn json(response: &impl Serialize) -> String {
    serde_json::to_string(response).unwrap_or_default()
}
