//! What customers did, routed again under other rules.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use anyhow::bail;
use mainstem_bus::Machine as _;
use mainstem_bus::engine::kind;
use mainstem_bus::nats::{Bus, Step, walk};
use mainstem_domain::configuration::{Configuration, Rule};
use mainstem_domain::routing::replay::{
    Assumption, Difference, Figures, Habits, Happened, Outcome, Replay, Verdict,
};
use mainstem_domain::routing::{Event, Routing, State};
use mainstem_domain::{At, Decider as _};
use mainstem_routing::RoutingMachine;
use mainstem_runtime::Config;
use serde_json::{Value, json};

use crate::operator::Operator;
use crate::replay::{SHOWN, and_more};
use crate::table::table;
use crate::tree;

/// The part of the past that is lived through again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    /// From then on; none: from the beginning.
    pub since: Option<At>,
    /// Up to then; none: up to now.
    pub until: Option<At>,
}

/// Lives through the past of the configuration's broker again.
pub(crate) async fn run(config: &Config, rules: &Path, window: &Window) -> anyhow::Result<Outcome> {
    let rules = tree::merge(&tree::read(rules)?)?.rules;
    // Codes that customers presented are told by it; without it, they bound nobody.
    mainstem_routing::set_key(config.routing.binding_key.expose());
    let Operator { bus, .. } = Operator::connect(config).await?;
    again(&bus, rules, window).await
}

/// Lives through the past again, under other rules.
///
/// # Errors
/// The rules cannot be applied to the directory that was in force, or a stream cannot be read.
pub async fn again(bus: &Bus, rules: Vec<Rule>, window: &Window) -> anyhow::Result<Outcome> {
    let habits = habits(bus, window).await?;
    let mut habits = Some(habits);
    let (mut state, mut replay, mut wrong) = (State::default(), None::<Replay>, None);
    let mut last = At::default();
    let mut before = Configuration::default();
    walk::<RoutingMachine>(bus, |step| {
        if window.until.is_some_and(|until| step.at > until) {
            return ControlFlow::Break(());
        }
        last = step.at;
        let recorded = recorded(&step);
        if replay.is_none() && window.since.is_some_and(|since| step.at < since) {
            for event in &recorded {
                Routing::evolve(&mut state, event, step.at);
            }
        } else {
            let lived = replay.get_or_insert_with(|| {
                let state = std::mem::take(&mut state);
                let habits = habits.take().unwrap_or_default();
                Replay::new(state, &before, rules.clone(), habits, step.at)
            });
            take(lived, &step, &recorded);
        }
        if step.configured {
            before.clone_from(&step.applied.configuration);
            let tried = Configuration { rules: rules.clone(), ..before.clone() };
            // What was applied later may lack what the rules need.
            wrong = Some(tried.lint()).filter(|problems| !problems.is_empty());
        }
        ControlFlow::Continue(())
    })
    .await?;
    if let Some(problems) = wrong {
        let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
        bail!(
            "the rules do not fit the directory in force:\nerror: {}",
            problems.join("\nerror: ")
        );
    }
    Ok(replay.map(|replay| replay.end(last)).unwrap_or_default())
}

/// How people answered, as it was.
async fn habits(bus: &Bus, window: &Window) -> anyhow::Result<Habits> {
    let (mut habits, mut state) = (Habits::default(), State::default());
    walk::<RoutingMachine>(bus, |step| {
        if window.until.is_some_and(|until| step.at > until) {
            return ControlFlow::Break(());
        }
        for event in recorded(&step) {
            habits.learn(&state, &event, step.at);
            Routing::evolve(&mut state, &event, step.at);
        }
        ControlFlow::Continue(())
    })
    .await?;
    Ok(habits)
}

fn recorded(step: &Step<'_>) -> Vec<Event> {
    // What cannot be read here was read by nobody.
    step.records.iter().filter_map(|message| RoutingMachine::decode(message).ok()).collect()
}

fn take(replay: &mut Replay, step: &Step<'_>, recorded: &[Event]) {
    if let Some((stream, message)) = step.message {
        let own = message.record.kind().starts_with(kind::OWN);
        let input = RoutingMachine::input(stream, message).ok().flatten().filter(|_| !own);
        if let Some(input) = input {
            replay.take(Happened::Input(&input, step.cause), recorded, step.at);
        }
        return;
    }
    let happened = if step.configured {
        Happened::Configured(&step.applied.configuration)
    } else if step.cause == "due" {
        Happened::Due
    } else {
        Happened::Command
    };
    replay.take(happened, recorded, step.at);
}

/// For people.
pub(crate) fn shown(outcome: &Outcome) -> String {
    let Outcome { inputs, differences, was, would, assumptions } = outcome;
    let mut text = format!("{inputs} inputs, {} decided otherwise\n", differences.len());
    if !differences.is_empty() {
        let rows: Vec<_> = differences.iter().take(SHOWN).map(row).collect();
        text += &table(&["input", "time", "was", "would be"], &rows);
        text += &and_more(differences.len());
    }
    text.push('\n');
    let rows: Vec<_> = figures(was)
        .into_iter()
        .zip(figures(would))
        .map(|((name, was), (_, would))| vec![name.to_owned(), was, would])
        .collect();
    text += &table(&["", "was", "would be"], &rows);
    for (title, was, would) in [
        ("cases by queue", &was.by_queue, &would.by_queue),
        ("cases by unit", &was.by_unit, &would.by_unit),
        ("conversations by place", &was.by_place, &would.by_place),
        ("conversations by staff", &was.by_staff, &would.by_staff),
    ] {
        let rows = gains(was, would);
        if !rows.is_empty() {
            let _ = writeln!(text, "\nwho gains and who loses: {title}");
            text += &table(&["", "was", "would be", "more or less"], &rows);
        }
    }
    if !assumptions.is_empty() {
        text += "\nassumed, because it never was:\n";
    }
    for one in assumptions {
        let _ = writeln!(text, "  {}", assumption(one));
    }
    text
}

fn row(difference: &Difference) -> Vec<String> {
    let Difference { input, at, was, would } = difference;
    vec![input.clone(), at.to_string(), verdict(was), verdict(would)]
}

fn verdict(verdict: &Verdict) -> String {
    let Verdict { rule, queue, offered, templates, closed } = verdict;
    let told = (!templates.is_empty()).then(|| format!("says {}", templates.join(", ")));
    let parts: Vec<_> = [
        rule.clone(),
        queue.as_ref().map(|queue| format!("case on {queue}")),
        offered.as_ref().map(|offered| format!("to {offered}")),
        closed.then(|| "closes".to_owned()),
        told,
    ]
    .into_iter()
    .flatten()
    .collect();
    if parts.is_empty() { "nothing".to_owned() } else { parts.join("; ") }
}

fn figures(figures: &Figures) -> Vec<(&'static str, String)> {
    let span = |span: Option<Duration>| span.map_or_else(|| "–".to_owned(), human);
    vec![
        ("conversations begun", figures.begun.to_string()),
        ("taken by somebody", figures.taken.to_string()),
        ("waiting at the end", figures.left.to_string()),
        ("customers waited, median", span(figures.waited.percentile(50))),
        ("customers waited, nine of ten", span(figures.waited.percentile(90))),
        ("times nobody was free", figures.in_line.to_string()),
        ("longest line", figures.line.to_string()),
        ("cases waited, median", span(figures.case_waited.percentile(50))),
        ("cases waited, nine of ten", span(figures.case_waited.percentile(90))),
        ("cases late", figures.late.to_string()),
    ]
}

fn gains(was: &BTreeMap<String, u64>, would: &BTreeMap<String, u64>) -> Vec<Vec<String>> {
    let names: BTreeSet<&String> = was.keys().chain(would.keys()).collect();
    let count = |of: &BTreeMap<String, u64>, name: &String| of.get(name).copied().unwrap_or(0);
    names
        .into_iter()
        .filter_map(|name| {
            let (was, would) = (count(was, name), count(would, name));
            let change = i128::from(would) - i128::from(was);
            (change != 0).then(|| {
                vec![name.clone(), was.to_string(), would.to_string(), format!("{change:+}")]
            })
        })
        .collect()
}

fn assumption(one: &Assumption) -> String {
    let Assumption { place, times, taken_after, done_after, seen } = one;
    let Some(taken) = taken_after else {
        return format!(
            "{place}: asked {times} times; nobody there ever took anything, so nobody does"
        );
    };
    let basis = if *seen == 0 {
        "the medians of all places, as nothing was taken there".to_owned()
    } else {
        format!("its medians, of {seen}")
    };
    let done = done_after
        .map_or_else(|| "never over".to_owned(), |done| format!("over {} later", human(done)));
    format!("{place}: {times} times; taken after {}, {done}: {basis}", human(*taken))
}

fn human(span: Duration) -> String {
    let seconds = span.as_secs();
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m {seconds}s"),
        (hours, minutes, _) => format!("{hours}h {minutes}m"),
    }
}

/// One JSON object.
pub(crate) fn json(outcome: &Outcome) -> String {
    let differences: Vec<_> = outcome
        .differences
        .iter()
        .map(|Difference { input, at, was, would }| {
            json!({
                "input": input, "time": at.to_string(),
                "was": verdict_json(was), "would": verdict_json(would),
            })
        })
        .collect();
    let assumptions: Vec<_> = outcome
        .assumptions
        .iter()
        .map(|one| {
            json!({
                "place": one.place, "times": one.times, "takenAfterSeconds": seconds(one.taken_after),
                "doneAfterSeconds": seconds(one.done_after), "seen": one.seen,
            })
        })
        .collect();
    let whole = json!({
        "inputs": outcome.inputs, "differences": differences, "was": figures_json(&outcome.was),
        "would": figures_json(&outcome.would), "assumptions": assumptions,
    });
    format!("{whole}\n")
}

fn seconds(span: Option<Duration>) -> Value {
    span.map_or(Value::Null, |span| json!(span.as_secs_f64()))
}

fn verdict_json(verdict: &Verdict) -> Value {
    json!({
        "rule": verdict.rule, "queue": verdict.queue, "offered": verdict.offered,
        "templates": verdict.templates, "closed": verdict.closed,
    })
}

fn figures_json(figures: &Figures) -> Value {
    json!({
        "begun": figures.begun, "taken": figures.taken, "left": figures.left,
        "waitedMedianSeconds": seconds(figures.waited.percentile(50)),
        "waited90Seconds": seconds(figures.waited.percentile(90)),
        "inLine": figures.in_line, "line": figures.line,
        "byStaff": figures.by_staff, "byPlace": figures.by_place, "byQueue": figures.by_queue,
        "byUnit": figures.by_unit,
        "caseWaitedMedianSeconds": seconds(figures.case_waited.percentile(50)),
        "caseWaited90Seconds": seconds(figures.case_waited.percentile(90)),
        "late": figures.late,
    })
}
