//! What people decide about customers.

use super::rules::Counts;
use super::{Event, Identity, Limits, Profile, Rules, State};
use crate::identifier::{Identifier, Kind};
use crate::person::Sighting;
use crate::{At, CustomerId, Decider as _, Decision, Refusal, RefusalCode};

pub(super) fn attach(
    state: &State,
    rules: &Rules,
    customer: CustomerId,
    identifier: &Identifier,
) -> Result<Decision<Event, Profile>, Refusal> {
    let mut profile = state.known(customer)?;
    match state.owner(identifier) {
        Some(owner) if owner == profile.id => {
            return Ok(Decision::answered(Vec::new(), profile));
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
    let kind = identifier.kind();
    let limit = rules.limits.of(kind);
    if Counts::of(&profile.customer).get(kind) >= limit {
        return Err(Refusal::new(
            RefusalCode::ResourceExhausted,
            "TOO_MANY_IDENTIFIERS",
            format!("the customer has {limit} of the kind {kind} or more, and may have no more"),
        )
        .with("kind", &kind)
        .with("limit", &limit));
    }
    profile.customer.identifiers.insert(identifier.clone());
    let sighting = Sighting { identifier: identifier.clone(), verified: false };
    let event = Event::Attached { customer: profile.id, sighting, evidence: None };
    Ok(Decision::answered(vec![event], profile))
}

pub(super) fn merge(
    state: &State,
    limits: &Limits,
    (one, other): (CustomerId, CustomerId),
    validate_only: bool,
    at: At,
) -> Result<Decision<Event, Profile>, Refusal> {
    let (one, other) = (state.known(one)?, state.known(other)?);
    if one.id == other.id {
        return Ok(Decision::answered(Vec::new(), one));
    }
    let mut union = Counts::of(&one.customer);
    union.add_all(&Counts::of(&other.customer));
    if let Some(kind) = union.exceeds(limits) {
        return Err(too_many(kind, union.get(kind), limits.of(kind)));
    }
    let older = state.age(one.id) <= state.age(other.id);
    let (survivor, absorbed) = if older { (one, other) } else { (other, one) };
    let event = Event::Merged { survivor: survivor.id, absorbed: absorbed.id, evidence: None };
    let mut merged = state.clone();
    Identity::evolve(&mut merged, &event, at);
    let profile = merged.customer(survivor.id).unwrap_or(survivor);
    let events = if validate_only { Vec::new() } else { vec![event] };
    Ok(Decision::answered(events, profile))
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
