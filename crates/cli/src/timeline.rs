use anyhow::Context as _;
use mainstem_domain::{At, CustomerId};
use mainstem_proto::field::timestamp;
use mainstem_proto::wire::identity::GetTimelineRequest;
use mainstem_runtime::Config;
use serde_json::Value;

use crate::operator::Operator;
use crate::table::table;

/// Entries that one request asks for.
const PAGE: i32 = 500;

/// Characters of a text that the table shows.
const TEXT: usize = 60;

#[derive(clap::Args)]
pub(crate) struct Timeline {
    /// The customer's id, or one that the customer had before a merge
    #[arg(value_parser = customer)]
    customer: CustomerId,
    /// Only what was decided at this time or later, e.g. 2026-11-21T09:00:00Z
    #[arg(long, value_parser = moment)]
    from: Option<At>,
    /// Only so many, the oldest ones
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// One JSON object on each line of standard output, with all that the records say
    #[arg(long)]
    json: bool,
}

fn customer(text: &str) -> Result<CustomerId, String> {
    text.parse().map_err(|error| {
        format!(
            "{error}; whose a number or an address is, svc.identity-merge.resolve-customer says"
        )
    })
}

pub(crate) fn moment(text: &str) -> Result<At, String> {
    At::parse(text).ok_or_else(|| "write a moment in UTC, e.g. 2026-11-21T09:00:00Z".to_owned())
}

impl Timeline {
    /// Prints the whole journey of a customer. Changes nothing.
    pub(crate) async fn run(&self, config: &Config) -> anyhow::Result<()> {
        let operator = Operator::connect(config).await?;
        let mut left = self.limit.unwrap_or(u64::MAX);
        let (mut entries, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = GetTimelineRequest {
                customer: self.customer.to_string(),
                from: self.from.map(timestamp),
                page_size: i32::try_from(left).unwrap_or(PAGE).min(PAGE),
                page_token,
            };
            let mut page: Value = operator.call("identity-merge", "get-timeline", &request).await?;
            let found = page["entries"].as_array_mut().map(std::mem::take).unwrap_or_default();
            left = left.saturating_sub(found.len() as u64);
            for entry in found {
                if self.json {
                    println!("{}", serde_json::to_string(&entry)?);
                } else {
                    let time = when(&entry)?;
                    entries.push((time, row(time, &entry)));
                }
            }
            page_token = page["nextPageToken"].as_str().map(str::to_owned).unwrap_or_default();
            if page_token.is_empty() || left == 0 {
                break;
            }
        }
        if !self.json {
            print!("{}", shown(entries));
            if !page_token.is_empty() {
                println!("and more; without --limit all is shown");
            }
        }
        Ok(())
    }
}

fn when(entry: &Value) -> anyhow::Result<At> {
    let time = entry["time"].as_str().and_then(At::parse);
    time.context("an entry has no time; use the mainstem of the version that the services have")
}

fn shown(mut entries: Vec<(At, Vec<String>)>) -> String {
    if entries.is_empty() {
        return "nothing\n".to_owned();
    }
    // What was moved after a split stands behind what is newer.
    entries.sort_by_key(|(time, _)| *time);
    let rows: Vec<_> = entries.into_iter().map(|(_, row)| row).collect();
    table(&["time", "ledger", "what", "where", "actor", "text"], &rows)
}

fn row(time: At, entry: &Value) -> Vec<String> {
    let field = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    let kind = field("kind");
    let place: Vec<_> = ["channel", "store", "brand"]
        .into_iter()
        .map(field)
        .filter(|name| !name.is_empty())
        .collect();
    vec![
        time.to_string(),
        field("ledger"),
        kind.strip_prefix("mainstem.").unwrap_or(&kind).to_owned(),
        place.join(" "),
        field("actor"),
        text(&entry["body"]),
    ]
}

/// What a body says, in a few words: what was written or tapped, or which case is how.
fn text(body: &Value) -> String {
    let case = &body["case"];
    // A case stands there whole, or by its id.
    let (id, of) = if case.is_object() { (&case["case"], case) } else { (case, body) };
    let words: Vec<_> = [
        &body["text"],
        &body["postback"],
        id,
        &of["queue"],
        &of["holder"],
        &body["state"],
        &body["reason"],
        &body["item"],
        &body["business"],
        &body["survivor"],
        &body["absorbed"],
    ]
    .into_iter()
    .filter_map(Value::as_str)
    .chain(body["templates"].as_array().into_iter().flatten().filter_map(Value::as_str))
    .chain(taken_back(body))
    .chain(identifiers(body))
    .filter(|word| !word.is_empty())
    .map(|word| constant(word).unwrap_or_else(|| word.to_owned()))
    .collect();
    // A message may have lines of its own, and characters that move the cursor.
    let words = words.join(" ").split_whitespace().collect::<Vec<_>>().join(" ");
    let mut text: String = words.chars().filter(|one| !one.is_control()).take(TEXT).collect();
    if words.chars().count() > TEXT {
        text.push('…');
    }
    text
}

/// A message that is not there any more, or the wish that it go.
fn taken_back(body: &Value) -> Option<&'static str> {
    if body["other"] == "unsent" {
        return Some("(taken back)");
    }
    body["unsend"]["message"].is_string().then_some("takes a message back")
}

/// Who somebody is known by from then on; a channel event tells its own elsewhere.
fn identifiers(body: &Value) -> impl Iterator<Item = &str> {
    let sightings = body["identifiers"].as_array().filter(|_| body["id"].is_null());
    let one = body["identifier"].as_str();
    let each = sightings.into_iter().flatten().filter_map(|one| one["identifier"].as_str());
    one.into_iter().chain(each)
}

/// `DELIVERY_STATE_SENT` is `sent` to a reader.
fn constant(word: &str) -> Option<String> {
    let name = ["DELIVERY_STATE_", "CASE_STATE_", "BUSINESS_ACT_"]
        .into_iter()
        .find_map(|prefix| word.strip_prefix(prefix))?;
    Some(name.to_lowercase().replace('_', " "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_body_is_told_in_a_few_words() {
        let cases = [
            (
                json!({"id": "e1", "text": "維修\n\u{1b}[2J 一下", "identifiers": [{"identifier": "phone:+886912345678"}]}),
                "維修 [2J 一下",
            ),
            (json!({"postback": "menu=repair"}), "menu=repair"),
            (json!({"case": {"case": "K1", "queue": "repair"}}), "K1 repair"),
            (json!({"case": "K1", "queue": "repair", "holder": "unit/a"}), "K1 repair unit/a"),
            (json!({"item": "N1", "state": "DELIVERY_STATE_SENT"}), "sent N1"),
            (json!({"business": "BUSINESS_ACT_ORDER_PLACED"}), "order placed"),
            (json!({"survivor": "C1", "absorbed": "C2"}), "C1 C2"),
            (json!({"identifiers": [{"identifier": "member:1"}]}), "member:1"),
            (json!({"templates": ["opened", "closing"]}), "opened closing"),
            (
                json!({"id": "e1", "other": "unsent", "identifiers": [{"identifier": "line:p:U1"}]}),
                "(taken back)",
            ),
            (json!({"id": "e2", "unsend": {"message": "7"}}), "takes a message back"),
            (json!({"other": "beacon"}), ""),
            (Value::Null, ""),
        ];
        for (body, expected) in cases {
            assert_eq!(text(&body), expected, "{body}");
        }
        let long = text(&json!({"text": "長".repeat(100)}));
        assert_eq!(long.chars().count(), TEXT + 1);
    }

    #[test]
    fn what_was_moved_stands_at_its_time() {
        let entry = |time: &str, kind: &str| {
            let entry = json!({"time": time, "ledger": "CUSTOMER", "kind": kind, "store": "s", "brand": "b"});
            {
                let time = when(&entry).unwrap();
                (time, row(time, &entry))
            }
        };
        let text = shown(vec![
            entry("2026-11-21T09:00:01Z", "mainstem.channel.line.message.v1"),
            entry("2026-11-21T09:00:00Z", "mainstem.identity.customer-created.v1"),
        ]);
        let lines: Vec<_> = text.lines().collect();
        assert!(
            lines[1]
                .starts_with("2026-11-21T09:00:00.000Z  CUSTOMER  identity.customer-created.v1")
        );
        assert!(lines[1].ends_with("s b"), "{text}");
        assert_eq!(shown(Vec::new()), "nothing\n");
    }
}
