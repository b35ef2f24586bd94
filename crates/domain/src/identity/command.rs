//! What people decide about customers.

use std::collections::{BTreeMap, BTreeSet};

use super::rules::Counts;
use super::{Answer, Event, Evidence, Known, Limits, Profile, Rules, State, Token, facts, graph};
use crate::identifier::{Identifier, Kind};
use crate::person::{Answer as Consented, Sighting};
use crate::{
    At, CaseId, CustomerId, Decision, DisputeId, ErasureId, Purpose, Refusal, RefusalCode, SplitId,
    SuggestionId, UnsendId,
};

type Decided = Result<Decision<Event, Answer>, Refusal>;

/// Only this is kept of somebody who is erased: that the person refused it.
const MARKETING: &str = "marketing";

pub(super) fn attach(
    state: &State,
    rules: &Rules,
    customer: CustomerId,
    identifier: &Identifier,
    at: At,
) -> Decided {
    let who = state.known(customer)?;
    let mut profile = state.profile(who);
    match state.owner(identifier) {
        Some(owner) if owner == profile.id => {
            return Ok(Decision::answered(Vec::new(), Answer::Customer(profile)));
        }
        // The owner is not named: the caller may not be allowed to know of that customer.
        Some(_) => {
            return Err(Refusal::new(
                RefusalCode::FailedPrecondition,
                "IDENTIFIER_TAKEN",
                "the identifier belongs to another customer; merge the two if they are one person",
            ));
        }
        None => {}
    }
    if rules.blocks(identifier) {
        return Err(Refusal::field(
            "identifier",
            "stands for nobody: it is a placeholder, or blocked by the configuration \
             (identity.blocked)",
        ));
    }
    if state.review.withdrawn(identifier) {
        return Err(Refusal::new(
            RefusalCode::FailedPrecondition,
            "IDENTIFIER_WITHDRAWN",
            "the identifier is a hub or disputed, and ties nobody; release it, or settle the \
             dispute",
        ));
    }
    room_for(state, &rules.limits, who, identifier.kind(), at)?;
    profile.identifiers.insert(identifier.clone(), Known { verified: false, attached_at: at });
    let sighting = Sighting { identifier: identifier.clone(), verified: false };
    let event = Event::Attached {
        customer: profile.id,
        sightings: vec![sighting],
        evidence: by_person(state, &[who]),
    };
    Ok(Decision::answered(vec![event], Answer::Customer(profile)))
}

/// Where a person decided, the strongest identifier of each.
fn by_person(state: &State, customers: &[graph::Who]) -> Evidence {
    let strongest = customers.iter().filter_map(|who| state.strongest(*who));
    Evidence { source: None, by: strongest.map(|node| state.sighting(node)).collect() }
}

fn room_for(
    state: &State,
    limits: &Limits,
    who: graph::Who,
    kind: Kind,
    at: At,
) -> Result<(), Refusal> {
    let limit = limits.of(kind);
    if Counts::of(&state.graph, who, limits, at).get(kind) < limit.at_most() {
        return Ok(());
    }
    let limit = limit.at_most();
    Err(Refusal::new(
        RefusalCode::ResourceExhausted,
        "TOO_MANY_IDENTIFIERS",
        format!("the customer has {limit} of the kind {kind} or more, and may have no more"),
    )
    .with("kind", &kind)
    .with("limit", &limit))
}

pub(super) fn merge(
    state: &State,
    limits: &Limits,
    (one, other): (CustomerId, CustomerId),
    validate_only: bool,
    at: At,
) -> Decided {
    let (one, other) = (state.known(one)?, state.known(other)?);
    if one == other {
        return Ok(Decision::answered(Vec::new(), Answer::Customer(state.profile(one))));
    }
    let mut union = Counts::of(&state.graph, one, limits, at);
    union.add_all(&Counts::of(&state.graph, other, limits, at));
    if let Some(kind) = union.exceeds(limits) {
        return Err(too_many(kind, union.get(kind), limits.of(kind).at_most()));
    }
    let older = state.age(one) <= state.age(other);
    let (survivor, absorbed) = if older { (one, other) } else { (other, one) };
    let graph = &state.graph;
    let both = || graph.nodes(survivor).chain(graph.nodes(absorbed));
    let aliases = graph.aliases(survivor).chain(graph.aliases(absorbed)).chain([absorbed]);
    let profile = Profile {
        created_at: graph.created_at(survivor),
        seen_at: graph.seen_at(survivor).max(graph.seen_at(absorbed)),
        aliases: aliases.map(|alias| graph.id(alias)).collect(),
        ..state.profile_of(graph.id(survivor), both().map(|node| (graph.identifier(node), node)))
    };
    let event = Event::Merged {
        survivor: profile.id,
        absorbed: graph.id(absorbed),
        evidence: by_person(state, &[survivor, absorbed]),
    };
    let events = if validate_only { Vec::new() } else { vec![event] };
    Ok(Decision::answered(events, Answer::Customer(profile)))
}

fn too_many(kind: Kind, union: usize, limit: usize) -> Refusal {
    Refusal::new(
        RefusalCode::FailedPrecondition,
        "TOO_MANY_IDENTIFIERS",
        format!("together they have {union} of the kind {kind}; a customer may have {limit}"),
    )
    .with("kind", &kind)
    .with("limit", &limit)
}

pub(super) fn accept(state: &State, limits: &Limits, id: SuggestionId, at: At) -> Decided {
    let suggestion =
        state.suggestion(id).ok_or_else(|| Refusal::not_found("suggestion", id.as_str()))?;
    merge(state, limits, (suggestion.customer, suggestion.other), false, at)
}

pub(super) fn reject(state: &State, id: SuggestionId) -> Decided {
    let suggestion =
        state.suggestion(id).ok_or_else(|| Refusal::not_found("suggestion", id.as_str()))?;
    let event = Event::SuggestionRejected { id, customer: suggestion.customer };
    Ok(Decision::answered(vec![event], Answer::Done))
}

pub(super) fn release(state: &State, identifier: &Identifier) -> Decided {
    // The identifier is not repeated: refusals are logged.
    let hub = state
        .review
        .hub(identifier)
        .ok_or_else(|| Refusal::not_found("hub", "with that identifier"))?;
    let event = Event::HubReleased { identifier: identifier.clone(), customer: hub.customer };
    Ok(Decision::answered(vec![event], Answer::Done))
}

pub(super) fn settle(
    state: &State,
    rules: &Rules,
    id: DisputeId,
    customer: Option<CustomerId>,
    at: At,
) -> Decided {
    let dispute =
        state.review.dispute(id).ok_or_else(|| Refusal::not_found("dispute", id.as_str()))?;
    // The id under which the dispute stands, whoever that is now: what says that it is over goes
    // where the dispute goes, and neither is found without the other.
    let first = dispute.claimants.first().copied();
    let claimant = first.unwrap_or_else(|| CustomerId::derive("nobody"));
    let Some(customer) = customer else {
        let event = Event::DisputeSettled { id, claimant, customer: None };
        return Ok(Decision::answered(vec![event], Answer::Done));
    };
    let who = state.known(customer)?;
    let winner = state.graph.id(who);
    if !dispute.claimants.iter().any(|claimant| state.current(*claimant) == winner) {
        return Err(Refusal::field(
            "customer",
            "must be one of the claimants, or empty when nobody has it",
        ));
    }
    room_for(state, &rules.limits, who, dispute.identifier.kind(), at)?;
    let mut profile = state.profile(who);
    let known = Known { verified: true, attached_at: at };
    profile.identifiers.insert(dispute.identifier.clone(), known);
    // On the winner's own record, so that it stays when a claimant is erased.
    let attached = Event::Attached {
        customer: winner,
        sightings: vec![Sighting { identifier: dispute.identifier.clone(), verified: true }],
        evidence: by_person(state, &[who]),
    };
    let settled = Event::DisputeSettled { id, claimant, customer: Some(winner) };
    Ok(Decision::answered(vec![settled, attached], Answer::Customer(profile)))
}

pub(super) fn erase(
    state: &State,
    customer: CustomerId,
    force: bool,
    open_cases: &[CaseId],
    tokens: &BTreeMap<Identifier, Token>,
    origin: &str,
) -> Decided {
    let who = state.known(customer)?;
    let graph = &state.graph;
    let id = graph.id(who);
    if !force && !open_cases.is_empty() {
        let cases: Vec<_> = open_cases.iter().map(ToString::to_string).collect();
        return Err(Refusal::new(
            RefusalCode::FailedPrecondition,
            "CASES_OPEN",
            format!(
                "the customer has open cases ({}); close or cancel them first, or force it",
                cases.join(", ")
            ),
        )
        .with("cases", &cases.join(",")));
    }
    let mut aliases: Vec<_> = graph.aliases(who).map(|alias| graph.id(alias)).collect();
    aliases.sort_unstable();
    let customers: Vec<_> = std::iter::once(id).chain(aliases).collect();
    if state.is_moving(id) {
        return Err(Refusal::new(
            RefusalCode::FailedPrecondition,
            "SPLIT_UNDERWAY",
            "records of the customer are still being moved after a split; try again in a moment",
        ));
    }
    let mut known = facts::Effective::default();
    for facts in graph.nodes(who).filter_map(|node| graph.facts(node)) {
        known.add(facts);
    }
    let refused: BTreeSet<_> = known
        .into_facts()
        .consents
        .into_iter()
        .map(|told| told.consent)
        .filter(|consent| consent.answer == Consented::Refused && is_marketing(&consent.purpose))
        .map(|consent| (consent.means, consent.purpose))
        .collect();
    if !refused.is_empty() && tokens.is_empty() {
        return Err(Refusal::new(
            RefusalCode::FailedPrecondition,
            "NO_ERASURE_KEY",
            "the customer has refused marketing, and without a key nothing can keep that; give              identity-merge one (erasure.key)",
        ));
    }
    let refused = if refused.is_empty() {
        BTreeMap::new()
    } else {
        let identifiers = graph.nodes(who).map(|node| graph.identifier(node));
        let tokens = identifiers.filter_map(|identifier| tokens.get(&identifier).cloned());
        tokens.map(|token| (token, refused.clone())).collect()
    };
    let erasure = super::resolve::unused(format!("{origin}/{id}"), ErasureId::derive, |id| {
        state.erasures.contains_key(id)
    });
    let mut events = vec![Event::Erased { id: erasure, customers: customers.clone(), refused }];
    // A hub and a dispute are other people's, too.
    let gone = |id: &CustomerId| customers.contains(id);
    for (identifier, hub) in
        state.hubs_after(None).filter(|(_, hub)| gone(&state.current(hub.customer)))
    {
        let mut carriers = hub.carriers.clone();
        carriers.retain(|carrier| !gone(&state.current(*carrier)));
        if let Some(first) = carriers.first().copied() {
            let identifier = identifier.clone();
            events.push(Event::HubFound { identifier, customer: state.current(first), carriers });
        }
    }
    for (id, dispute) in state.disputes_after(None) {
        if dispute.claimants.iter().any(|claimant| gone(&state.current(*claimant))) {
            let mut claimants = dispute.claimants.clone();
            claimants.retain(|claimant| !gone(&state.current(*claimant)));
            if !claimants.is_empty() {
                let (identifier, source) = (dispute.identifier.clone(), dispute.source.clone());
                events.push(Event::Disputed { id: *id, identifier, claimants, source });
            }
        }
    }
    Ok(Decision::answered(events, Answer::Erasure(erasure)))
}

fn is_marketing(purpose: &Purpose) -> bool {
    purpose.as_str() == MARKETING
}

pub(super) fn report_erasure(
    state: &State,
    id: ErasureId,
    service: &str,
    counts: &BTreeMap<String, u64>,
) -> Decided {
    let erasure = state.erasure(id).ok_or_else(|| Refusal::not_found("erasure", id.as_str()))?;
    let events = if erasure.reports.contains_key(service) {
        Vec::new()
    } else {
        vec![Event::ErasureReported { id, service: service.to_owned(), counts: counts.clone() }]
    };
    Ok(Decision::answered(events, Answer::Done))
}

pub(super) fn moved(
    state: &State,
    id: SplitId,
    counts: &BTreeMap<String, u64>,
) -> Decision<Event, Answer> {
    let events = match state.splits.get(&id).filter(|splitting| !splitting.moved) {
        None => Vec::new(),
        Some(splitting) => {
            let customer = splitting.customer;
            vec![Event::Moved { split: id, customer, counts: counts.clone() }]
        }
    };
    Decision::answered(events, Answer::Done)
}

pub(super) fn hidden(
    state: &State,
    id: UnsendId,
    counts: &BTreeMap<String, u64>,
) -> Decision<Event, Answer> {
    let events = match state.unsends.get(&id) {
        None => Vec::new(),
        Some(unsend) => vec![Event::Hidden {
            unsend: id,
            customer: unsend.customers.first().copied(),
            channel: unsend.channel.clone(),
            counts: counts.clone(),
        }],
    };
    Decision::answered(events, Answer::Done)
}
