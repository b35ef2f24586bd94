//! The generators reach what they are for: else the properties say little.

use std::collections::{BTreeMap, BTreeSet};

use mainstem_domain::identity::{Answer, Event, Input, Unsend};
use proptest::strategy::{Strategy as _, ValueTree as _};

use crate::story::{Op, ops, under};
use crate::world::World;

fn name(event: &Event) -> &'static str {
    match event {
        Event::Created { .. } => "created",
        Event::Attached { .. } => "attached",
        Event::Tied { .. } => "tied",
        Event::Merged { .. } => "merged",
        Event::Described { .. } => "described",
        Event::Consented { .. } => "consented",
        Event::Suggested { .. } => "suggested",
        Event::SuggestionRejected { .. } => "suggestion rejected",
        Event::Conflicted { .. } => "conflicted",
        Event::Carried { .. } => "carried",
        Event::HubFound { .. } => "hub found",
        Event::HubReleased { .. } => "hub released",
        Event::Disputed { .. } => "disputed",
        Event::DisputeSettled { customer: Some(_), .. } => "settled to somebody",
        Event::DisputeSettled { customer: None, .. } => "settled to nobody",
        Event::Split { .. } => "split",
        Event::Restated(_) => "restated",
        Event::Moved { .. } => "moved",
        Event::Erased { .. } => "erased",
        Event::ErasureReported { .. } => "erasure reported",
        Event::Unsent { customers, .. } if customers.is_empty() => "nobody's unsent",
        Event::Unsent { customers, .. } if customers.len() > 1 => "unsent with aliases",
        Event::Unsent { .. } => "unsent",
        Event::Hidden { .. } => "hidden",
        Event::Channel { customer: None, .. } => "nobody's",
        Event::Channel { customer: Some(_), .. } => "somebody's",
    }
}

#[test]
fn the_generators_meet_every_row_and_every_happening() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut met: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..800 {
        let (under, ops) = (under(), ops()).new_tree(&mut runner).unwrap().current();
        let mut world = World::under(under);
        let mut apart: BTreeSet<_> = BTreeSet::new();
        let mut lifted = false;
        for op in &ops {
            let before = world.state.clone();
            let Some((input, decision)) = world.run(op) else { continue };
            let mut count = |what: &str, holds: bool| {
                *met.entry(what.to_owned()).or_default() += usize::from(holds);
            };
            let names: BTreeSet<_> = decision.events.iter().map(name).collect();
            for one in &names {
                count(one, true);
            }
            let has = |what: &str| names.contains(what);
            let is_event = matches!(input, Input::Inbound { .. });
            let merges = decision.events.iter().filter(|event| name(event) == "merged").count();
            count("again", is_event && decision.events.is_empty());
            count("unsent again", is_event && has("unsent") && !has("somebody's"));
            count("again later", is_event && matches!(op, Op::Again(_)) && has("somebody's"));
            count("three merged", merges > 1);
            count("merged after a conflict", has("conflicted") && merges > 0);
            count("suggested after a merge", has("suggested") && merges > 0);
            count("split by a hub or a dispute", has("split") && is_event);
            count("hub of somebody who stays whole", has("hub found") && !has("split") && is_event);
            count("hub said again at an erasure", has("hub found") && has("erased"));
            for event in &decision.events {
                match event {
                    Event::Conflicted { conflict, .. } => {
                        count("kept apart by a cut", conflict.cannot_link);
                        count("kept apart by a limit", !conflict.kinds.is_empty());
                    }
                    Event::Split { customer, pieces, aliases, .. } => {
                        count("split in three", pieces.len() > 2);
                        count("split with aliases", !aliases.is_empty());
                        let back = pieces.iter().filter(|id| before.knows(**id)).count();
                        count("split gives an id back", back > 1);
                        count("split of a split", apart.contains(customer));
                        count("split after a merge lifted a cut", lifted);
                        apart.extend(pieces.iter().copied());
                    }
                    Event::Merged { survivor, absorbed, .. } => {
                        let both = apart.contains(survivor) && apart.contains(absorbed);
                        lifted |= both && !is_event;
                        count("merged after a split", both);
                    }
                    Event::Erased { customers, refused, .. } => {
                        count("erased with aliases", customers.len() > 1);
                        count("erased and refuses", !refused.is_empty());
                        let of =
                            |open: &Unsend| open.customers.iter().any(|id| customers.contains(id));
                        count("erased while unsent", before.unsends().any(|(_, open)| of(open)));
                    }
                    _ => {}
                }
            }
            if let Some(Err(refusal)) = &decision.answer {
                count(&refusal.reason, true);
            }
            count(
                "preview",
                matches!(&decision.answer, Some(Ok(Answer::Pieces(_)))) && !has("split"),
            );
        }
    }
    let wanted = 51;
    assert!(met.len() >= wanted && met.values().all(|times| *times >= 8), "{met:#?}");
}
