use std::fmt::Write as _;

use mainstem_domain::{At, CustomerId};
use mainstem_proto::field::{Timestamp, parse_time};
use mainstem_proto::wire::routing::{
    ConversationExplained, ConversationPart, ConversationState, ConversationStep,
    ExplainDecisionRequest, ExplainDecisionResponse, Talk, Target,
};
use mainstem_runtime::Config;

use crate::operator::Operator;
use crate::table::table;

#[derive(clap::Args)]
pub(crate) struct Explain {
    /// The event's id, as it stands in ce-id and in the timeline; or CUSTOMER=<sequence>, as it stands
    /// in ce-cause
    event: String,
    /// Whose event it is; not needed with CUSTOMER=<sequence>
    #[arg(long)]
    customer: Option<CustomerId>,
    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
}

impl Explain {
    /// Prints why an inbound event went where it went. Changes nothing.
    pub(crate) async fn run(&self, config: &Config) -> anyhow::Result<()> {
        let operator = Operator::connect(config).await?;
        let request = ExplainDecisionRequest {
            event: self.event.clone(),
            customer: self.customer.map(|customer| customer.to_string()).unwrap_or_default(),
        };
        let explained: ExplainDecisionResponse =
            operator.call("routing", "explain-decision", &request).await?;
        if self.json {
            println!("{}", serde_json::to_string(&explained)?);
        } else {
            print!("{}", shown(&explained));
        }
        Ok(())
    }
}

fn shown(explained: &ExplainDecisionResponse) -> String {
    let ExplainDecisionResponse { event, customer, channel, sequence, .. } = explained;
    let mut text = format!("event          {event} (CUSTOMER={sequence})\n");
    let mut line = |name: &str, what: &str| {
        if !what.is_empty() {
            let _ = writeln!(text, "{name:<15}{what}");
        }
    };
    line("customer", customer);
    let place = [channel.as_str(), explained.store.as_str(), explained.brand.as_str()];
    line("where", &place.into_iter().filter(|name| !name.is_empty()).collect::<Vec<_>>().join(" "));
    line("received", &time(explained.receive_time));
    if explained.pending {
        line("decided", "not yet; ask again");
        return text;
    }
    let decided = time(explained.decide_time);
    line("decided", if decided.is_empty() { "nothing came of it" } else { &decided });
    line("configuration", &explained.configuration);
    for failed in &explained.failed_rules {
        line("no match", &format!("{}: its condition {}", failed.rule, failed.reason));
    }
    let rule = if explained.rule.is_empty() { "none matched" } else { &explained.rule };
    line("rule", rule);
    let opened = if explained.case_opened { "opened" } else { "was there already" };
    if !explained.case.is_empty() {
        line("case", &format!("{} {opened}", explained.case));
    }
    for message in &explained.messages {
        let way = if message.reply { "by reply or push" } else { "by push" };
        let what = if message.templates.is_empty() {
            "in somebody's own words".to_owned()
        } else {
            message.templates.join(", ")
        };
        line("message", &format!("{what} {way}"));
    }
    if let Some(one) = &explained.conversation {
        line("conversation", &format!("{} {}", one.conversation, part(one)));
        line("chain", &chain(&one.targets));
        line("stands", &one.talk.as_ref().map(stands).unwrap_or_default());
        text.push('\n');
        text += &steps(one);
    }
    text
}

fn part(one: &ConversationExplained) -> String {
    let opening = &one.opening_event;
    match one.part() {
        ConversationPart::Unspecified => String::new(),
        ConversationPart::Began => "began".to_owned(),
        ConversationPart::BeganAnew => "began anew".to_owned(),
        ConversationPart::WentOn => format!("went on; it began with {opening}"),
        ConversationPart::Closed => format!("was closed; it began with {opening}"),
    }
}

fn chain(targets: &[Target]) -> String {
    let target = |one: &Target| match one.within_ms {
        0 => one.target.clone(),
        within => format!("{} {}s", one.target, within / 1_000),
    };
    targets.iter().map(target).collect::<Vec<_>>().join(", ")
}

fn steps(one: &ConversationExplained) -> String {
    let mut targets = &one.targets;
    let mut rows = Vec::new();
    for step in &one.steps {
        if !step.targets.is_empty() {
            targets = &step.targets;
        }
        rows.push(row(step, targets));
        for passed in &step.passed_over {
            let who = if passed.staff.is_empty() { "all" } else { &passed.staff };
            let over = format!("  passed over {who}: {}", passed.reason);
            rows.push(vec![String::new(), over, passed.target.clone()]);
        }
    }
    let more = if one.more_steps { "and more steps\n" } else { "" };
    table(&["time", "what", "target", "until", "before"], &rows) + more
}

fn row(step: &ConversationStep, targets: &[Target]) -> Vec<String> {
    let talk = step.talk.clone().unwrap_or_default();
    let target = targets.get(talk.target as usize).map(|target| target.target.clone());
    let is_offer = talk.state() == ConversationState::Offered;
    let before: Vec<_> = [&step.previous_staff, &step.ended, &step.reason]
        .into_iter()
        .filter(|text| !text.is_empty())
        .cloned()
        .collect();
    vec![
        time(step.time),
        stands(&talk),
        target.filter(|_| is_offer).unwrap_or_default(),
        deadlines(&talk),
        before.join(" "),
    ]
}

/// Until when the offer stands, and its target is tried.
fn deadlines(talk: &Talk) -> String {
    let (offer, target) = (time(talk.offer_end_time), time(talk.target_end_time));
    if target.is_empty() || target == offer { offer } else { format!("{offer}, target {target}") }
}

fn stands(talk: &Talk) -> String {
    match talk.state() {
        ConversationState::Unspecified => String::new(),
        ConversationState::Waiting => "waits in line".to_owned(),
        ConversationState::Offered => format!("offered to {}", talk.staff),
        ConversationState::InProgress => format!("{} has it", talk.staff),
        ConversationState::Closed => format!("closed by {}", talk.actor),
    }
}

fn time(time: Option<Timestamp>) -> String {
    parse_time("time", time).as_ref().map(At::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use mainstem_proto::field::timestamp;
    use mainstem_proto::wire::routing::{FailedRule, MessageExplained, PassedOver};

    use super::*;

    fn explained() -> ExplainDecisionResponse {
        let offered = Talk {
            state: ConversationState::Offered.into(),
            staff: "s-002".to_owned(),
            target: 1,
            offer_end_time: Some(timestamp(At::from_millis(180_000))),
            ..Talk::default()
        };
        let target = |name: &str, within_ms| Target { target: name.to_owned(), within_ms };
        let passed = |staff: &str, reason: &str| PassedOver {
            target: "bound_staff".to_owned(),
            staff: staff.to_owned(),
            reason: reason.to_owned(),
        };
        let step = ConversationStep {
            time: Some(timestamp(At::default())),
            talk: Some(offered.clone()),
            passed_over: vec![passed("s-001", "away")],
            ..ConversationStep::default()
        };
        ExplainDecisionResponse {
            event: "e1".to_owned(),
            customer: CustomerId::derive("1").to_string(),
            channel: "line-1".to_owned(),
            brand: "aurora".to_owned(),
            sequence: 7,
            receive_time: Some(timestamp(At::default())),
            decide_time: Some(timestamp(At::default())),
            configuration: "abc".to_owned(),
            rule: "question".to_owned(),
            failed_rules: vec![FailedRule {
                rule: "vip".to_owned(),
                reason: "fails on some events".to_owned(),
            }],
            conversation: Some(ConversationExplained {
                conversation: "V1".to_owned(),
                part: ConversationPart::Began.into(),
                targets: vec![target("bound_staff", 120_000), target("central_desk", 0)],
                opening_event: "e1".to_owned(),
                steps: vec![step],
                talk: Some(offered),
                ..ConversationExplained::default()
            }),
            messages: vec![MessageExplained {
                templates: vec!["question".to_owned()],
                reply: true,
                ..MessageExplained::default()
            }],
            ..ExplainDecisionResponse::default()
        }
    }

    #[test]
    fn an_explanation_reads_from_the_event_to_its_offers() {
        let text = shown(&explained());
        for line in [
            "event          e1 (CUSTOMER=7)",
            "where          line-1 aurora",
            "no match       vip: its condition fails on some events",
            "rule           question",
            "message        question by reply or push",
            "conversation   V1 began",
            "chain          bound_staff 120s, central_desk",
            "stands         offered to s-002",
        ] {
            assert!(text.lines().any(|known| known == line), "{line}\n{text}");
        }
        let offer = text.lines().find(|line| line.starts_with("1970-01-01T00:00:00.000Z")).unwrap();
        let cells = offer.split("  ").map(str::trim).filter(|cell| !cell.is_empty());
        let cells: Vec<_> = cells.collect();
        assert_eq!(cells[1..], ["offered to s-002", "central_desk", "1970-01-01T00:03:00.000Z"]);
        assert!(text.contains("passed over s-001: away"), "{text}");
    }

    #[test]
    fn what_nothing_came_of_says_so() {
        let nothing = ExplainDecisionResponse {
            decide_time: None,
            rule: String::new(),
            conversation: None,
            messages: Vec::new(),
            ..explained()
        };
        let text = shown(&nothing);
        assert!(text.contains("nothing came of it") && text.contains("none matched"), "{text}");
        let pending = ExplainDecisionResponse { pending: true, ..explained() };
        assert!(shown(&pending).ends_with("decided        not yet; ask again\n"));
    }
}
