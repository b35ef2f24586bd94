//! The whole journey of a customer, over all ledgers, in pages.

use futures::future::try_join_all;
use mainstem_bus::nats::{Past, Question, ReadError};
use mainstem_bus::{Stored, need_whole_scope, read_request, topology};
use mainstem_domain::{At, CustomerId, Refusal, RefusalCode};
use mainstem_proto::FieldError;
use mainstem_proto::field::parse_customer;
use mainstem_proto::identity::optional_time;
use mainstem_proto::wire::identity as wire;
use serde_json::{Value, json};

use crate::custody::Says;
use crate::journey::{Ask, Journey};
use crate::{custody, entry, list};

/// Bytes of the bodies on one page. The broker refuses messages above 1 MiB.
const PAGE_BYTES: usize = 512 * 1024;

/// How far each ledger was read.
type Places = [u64; 3];

/// Answers `GetTimeline`.
///
/// The order is that of the decisions: by time, then as a message goes through the ledgers, then by
/// sequence. Records of one ledger never leave the order in which they stand there; one that was
/// moved after a split comes where it stands now, and its time says when it was decided.
pub(crate) async fn page(question: &Question<'_>, ledgers: &[Past; 3]) -> Result<String, Refusal> {
    need_whole_scope(question.caller)?;
    let request: wire::GetTimelineRequest = read_request(question.body.as_bytes())?;
    let customer = parse_customer("customer", &request.customer)?;
    let since = optional_time("from", request.from)?;
    let size = list::page_size(request.page_size)?;
    let given = match request.page_token.as_str() {
        "" => None,
        token => Some(parse_token(customer, token).ok_or_else(strange_token)?),
    };
    let journey = Journey::ask(question, &Ask { customer, doubtful: Vec::new() }).await?;
    let places = match (given, since) {
        (Some(places), _) => places,
        (None, None) => [1; 3],
        (None, Some(since)) => {
            three(ledgers.iter().map(|ledger| ledger.first_since(since))).await?
        }
    };
    let subjects: Vec<_> = journey.ids.iter().map(|id| topology::all_of(*id)).collect();
    let slices =
        ledgers.iter().zip(places).map(|(ledger, from)| ledger.slice(&subjects, from, size + 1));
    let runs = three(slices).await?.map(|slice| Run {
        messages: slice.records,
        next: slice.next,
        more: slice.more,
    });
    let Merged { messages, places, more } = merge(runs, size, PAGE_BYTES);

    let shown = shown(question, customer, &journey, &messages).await?;
    let entries: Vec<_> = messages
        .iter()
        .zip(shown)
        .filter(|((_, message), shown)| {
            *shown && since.is_none_or(|since| message.decided_at() >= since)
        })
        .map(|((ledger, message), _)| to_json(ledgers[*ledger].ledger(), message))
        .collect();
    let next_page_token = if more { token(customer, places) } else { String::new() };
    Ok(json!({ "entries": entries, "nextPageToken": next_page_token }).to_string())
}

/// The same of all three ledgers.
async fn three<T: std::fmt::Debug>(
    reads: impl Iterator<Item = impl Future<Output = Result<T, ReadError>>>,
) -> Result<[T; 3], Refusal> {
    let read = try_join_all(reads).await.map_err(|error| {
        let message = format!("{error}; send the request again");
        Refusal::new(RefusalCode::Unavailable, "NO_BROKER", message)
    })?;
    Ok(read.try_into().expect("there are three ledgers"))
}

/// The body stands there as it was written, unless it is no JSON object, or longer than a page.
fn to_json(ledger: &str, message: &Stored) -> Value {
    let entry = entry::without_body(ledger, message);
    let mut entry = serde_json::to_value(entry).unwrap_or_default();
    let body = Some(&message.record.body).filter(|body| body.len() <= PAGE_BYTES);
    if let (Some(fields), Some(body)) = (entry.as_object_mut(), body)
        && let Ok(body @ Value::Object(_)) = serde_json::from_slice(body)
    {
        fields.insert("body".to_owned(), body);
    }
    entry
}

/// Which of these are shown: all, unless the customer was split and records are still being moved.
async fn shown(
    question: &Question<'_>,
    customer: CustomerId,
    journey: &Journey,
    messages: &[(usize, Stored)],
) -> Result<Vec<bool>, Refusal> {
    let Some(apart_since) = journey.apart_since else { return Ok(vec![true; messages.len()]) };
    // What the other ledgers hold does not say whose it is.
    let mut doubtful = Vec::new();
    let in_doubt: Vec<_> = messages
        .iter()
        .map(|(ledger, message)| {
            let customer = topology::customer_of(&message.record.subject)?;
            (*ledger == 0).then(|| doubtful.push((customer, Says::of(message))))
        })
        .collect();
    let own = Journey::ask(question, &Ask { customer, doubtful }).await?.own;
    let mut own = own.into_iter();
    let shown = |((_, message), in_doubt): (&(usize, Stored), Option<()>)| {
        let own = in_doubt.is_some() && own.next().unwrap_or(false);
        is_shown(apart_since, message, own)
    };
    Ok(messages.iter().zip(in_doubt).map(shown).collect())
}

/// Whether a record is in a customer's journey while records are being moved after a split at
/// `apart_since`. `own` says that it is of `CUSTOMER`, and will stay where it stands.
///
/// What was decided since stands under its owner, and what was moved does again. Of what was decided
/// before, the other ledgers do not say whose it is, so it is not shown. A person's chat is never
/// shown under somebody else. What is left of a message that was taken back stands where the message
/// stood, so it is shown like that.
fn is_shown(apart_since: At, message: &Stored, own: bool) -> bool {
    let moved = message.record.is_moved() && !custody::is_hidden(&message.record);
    own || moved || message.decided_at() >= apart_since
}

fn strange_token() -> FieldError {
    FieldError::new(
        "page_token",
        "is none that this method gave for this customer; begin at the first page",
    )
}

fn token(customer: CustomerId, [one, two, three]: Places) -> String {
    let text = format!("{customer} {one} {two} {three}");
    data_encoding::BASE64URL_NOPAD.encode(text.as_bytes())
}

fn parse_token(customer: CustomerId, token: &str) -> Option<Places> {
    let bytes = data_encoding::BASE64URL_NOPAD.decode(token.as_bytes()).ok()?;
    let mut parts = std::str::from_utf8(&bytes).ok()?.split(' ');
    if parts.next()? != customer.as_str() {
        return None;
    }
    let places: Vec<u64> = parts.map(|part| part.parse().ok()).collect::<Option<_>>()?;
    places.try_into().ok()
}

/// What was read of one ledger.
#[derive(Clone, Debug)]
struct Run {
    messages: Vec<Stored>,
    /// The first sequence that was not looked at.
    next: u64,
    /// Whether there may be more from there on.
    more: bool,
}

/// One page of all ledgers.
#[derive(Debug)]
struct Merged {
    /// Each with the place of its ledger.
    messages: Vec<(usize, Stored)>,
    /// Where the next page begins.
    places: Places,
    /// Whether there is one.
    more: bool,
}

/// Merges what was read by time, each run in its own order, until there are `size`, or the bodies are
/// longer than `bytes`, or a run ends that has more.
fn merge(runs: [Run; 3], size: usize, bytes: usize) -> Merged {
    let mut places = runs.each_ref().map(|run| run.next);
    let mut unfinished = runs.each_ref().map(|run| run.more);
    let mut runs = runs.map(|run| run.messages.into_iter().peekable());
    let (mut messages, mut length) = (Vec::new(), 0);
    while messages.len() < size {
        let heads = runs.each_mut().map(|run| run.peek().map(Stored::decided_at));
        // What comes next there is not known, and may be the oldest.
        if heads.iter().zip(unfinished).any(|(head, more)| head.is_none() && more) {
            break;
        }
        let heads = heads.iter().enumerate().filter_map(|(ledger, head)| Some(((*head)?, ledger)));
        let Some((_, ledger)) = heads.min() else { break };
        let fits =
            |message: &Stored| messages.is_empty() || length + message.record.body.len() <= bytes;
        let Some(message) = runs[ledger].next_if(fits) else { break };
        length += message.record.body.len();
        messages.push((ledger, message));
    }
    for ((run, place), more) in runs.iter_mut().zip(&mut places).zip(&mut unfinished) {
        if let Some(first) = run.peek() {
            (*place, *more) = (first.sequence, true);
        }
    }
    Merged { messages, places, more: unfinished.contains(&true) }
}

#[cfg(test)]
mod tests;
