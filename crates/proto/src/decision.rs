//! What the rules came to, and why something went where it went.

use mainstem_domain::configuration::RuleFailure;
use mainstem_domain::routing::{ConversationEvent, Event, RulesTried, Talk};

use crate::conversation::{passed_over_to_wire, talk_to_wire, target_to_wire};
use crate::error::DecodeError;
use crate::field::{parse_carrier, parse_channel, parse_customer, parse_id, text};
use crate::record::{self, Encoded};
use crate::routing::{RULE_FAILED, RULES_TRIED};
use crate::wire::routing as wire;

pub(crate) fn tried(tried: &RulesTried) -> Encoded {
    record::write(
        RULES_TRIED,
        &wire::RulesTried {
            customer: tried.customer.to_string(),
            channel: tried.channel.to_string(),
            event: tried.event.to_string(),
            carrier: text(tried.carrier.as_ref()),
            rule: tried.rule.clone().unwrap_or_default(),
            failed: tried.failed.iter().map(failure_to_wire).collect(),
        },
    )
}

pub(crate) fn failed(failure: &RuleFailure) -> Encoded {
    record::write(RULE_FAILED, &wire::RuleFailed { failure: Some(failure_to_wire(failure)) })
}

pub(crate) fn decode(kind: &str, body: &[u8]) -> Result<Event, DecodeError> {
    if kind == RULE_FAILED {
        let record: wire::RuleFailed = record::read(body)?;
        return Ok(Event::RuleFailed(failure_from(record.failure.unwrap_or_default())));
    }
    let record: wire::RulesTried = record::read(body)?;
    Ok(Event::RulesTried(RulesTried {
        customer: parse_customer("customer", &record.customer)?,
        channel: parse_channel("channel", &record.channel)?,
        event: parse_id("event", &record.event)?,
        carrier: parse_carrier("carrier", &record.carrier)?,
        rule: (!record.rule.is_empty()).then_some(record.rule),
        failed: record.failed.into_iter().map(failure_from).collect(),
    }))
}

/// What a record says of the way of a conversation, without its time and place; `None`: nothing.
#[must_use]
pub fn step(event: &ConversationEvent) -> Option<wire::ConversationStep> {
    let none = wire::ConversationStep::default();
    match event {
        ConversationEvent::Opened { conversation, passed_over, .. } => {
            Some(wire::ConversationStep {
                talk: Some(talk_to_wire(&conversation.stage)),
                passed_over: passed_over.iter().map(passed_over_to_wire).collect(),
                targets: conversation.chain.iter().map(target_to_wire).collect(),
                ..none
            })
        }
        ConversationEvent::Offered { about, stage, ended, chain, passed_over, .. } => {
            Some(wire::ConversationStep {
                talk: Some(talk_to_wire(stage)),
                previous_staff: text(about.staff.as_ref()),
                ended: ended.name().to_owned(),
                passed_over: passed_over.iter().map(passed_over_to_wire).collect(),
                targets: chain.iter().flatten().map(target_to_wire).collect(),
                ..none
            })
        }
        ConversationEvent::Accepted { about, staff } => Some(wire::ConversationStep {
            talk: Some(held(staff)),
            previous_staff: text(about.staff.as_ref()),
            ..none
        }),
        ConversationEvent::Assigned { about, staff, by, reason } => Some(wire::ConversationStep {
            talk: Some(held(staff)),
            previous_staff: text(about.staff.as_ref()),
            actor: by.clone(),
            reason: reason.clone(),
            ..none
        }),
        ConversationEvent::Closed { about, by } => Some(wire::ConversationStep {
            talk: Some(wire::Talk {
                state: wire::ConversationState::Closed.into(),
                actor: by.clone(),
                ..wire::Talk::default()
            }),
            previous_staff: text(about.staff.as_ref()),
            actor: by.clone(),
            ..none
        }),
        ConversationEvent::Active { .. }
        | ConversationEvent::Tagged { .. }
        | ConversationEvent::Replied { .. }
        | ConversationEvent::Restated { .. }
        | ConversationEvent::Stands { .. }
        | ConversationEvent::Reviewed { .. }
        | ConversationEvent::Forgotten { .. }
        | ConversationEvent::IdleRestated { .. } => None,
    }
}

/// Where a conversation stands, as a caller sees it.
#[must_use]
pub fn talk(stage: &Talk) -> wire::Talk {
    talk_to_wire(stage)
}

/// The chain that a record gives a conversation, if it gives one.
#[must_use]
pub fn chain(event: &ConversationEvent) -> Option<Vec<wire::Target>> {
    step(event).map(|step| step.targets).filter(|targets| !targets.is_empty())
}

/// Why a rule was passed over.
#[must_use]
pub fn failures(tried: &RulesTried) -> Vec<wire::FailedRule> {
    tried.failed.iter().map(failure_to_wire).collect()
}

fn held(staff: &impl ToString) -> wire::Talk {
    wire::Talk {
        state: wire::ConversationState::InProgress.into(),
        staff: staff.to_string(),
        ..wire::Talk::default()
    }
}

fn failure_to_wire(failure: &RuleFailure) -> wire::FailedRule {
    wire::FailedRule { rule: failure.rule.clone(), reason: failure.why.clone() }
}

fn failure_from(failure: wire::FailedRule) -> RuleFailure {
    RuleFailure { rule: failure.rule, why: failure.reason }
}
