use data_encoding::HEXLOWER;
use mainstem_domain::person::Act;
use mainstem_domain::{At, ChannelId, EventId, derive_uuid};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

/// One POST of LINE: several events, perhaps of several users. An empty list is the console's
/// check of the URL.
#[derive(Debug, Deserialize)]
pub struct Webhook<'a> {
    /// The user id of the account that the events happened on.
    pub destination: String,
    /// Each event as LINE wrote it.
    #[serde(borrow)]
    pub events: Vec<&'a RawValue>,
}

/// The body is not a webhook.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a webhook of LINE: {what} at line {line}, column {column}")]
pub struct WebhookError {
    what: &'static str,
    line: usize,
    column: usize,
}

impl<'a> Webhook<'a> {
    /// Reads a body. What stands in the events is not looked at.
    pub fn parse(body: &'a [u8]) -> Result<Self, WebhookError> {
        serde_json::from_slice(body).map_err(|error| WebhookError {
            // The parser's own message can show a value.
            what: if error.is_data() { "a field missing or of a wrong kind" } else { "not JSON" },
            line: error.line(),
            column: error.column(),
        })
    }
}

/// One event, as far as it is understood.
#[derive(Debug)]
pub struct LineEvent<'a> {
    /// LINE's own object, byte for byte.
    pub raw: &'a RawValue,
    /// The same in each delivery of the event. Where LINE gives none (old payloads), or none that
    /// fits, it is `derived-` and a hash of the content.
    pub id: EventId,
    /// LINE's `type`, e.g. `message`.
    pub kind: String,
    /// The type of the message, e.g. `image`; only with messages.
    pub message_kind: Option<String>,
    /// When it happened by LINE's clock, if that is a moment between the years 1970 and 9999.
    pub occurred_at: Option<At>,
    /// Where it happened.
    pub source: Source,
    /// The right to answer, if the account has it: another module may hold the chat (`standby`,
    /// or a mode that is new to us), and then we must not answer.
    pub reply_token: Option<String>,
    /// LINE says that it sends this event again. Duplicates also come without.
    pub is_redelivery: bool,
    /// What the person did.
    pub act: Act,
    /// LINE's id of the message that was sent or edited, if it was one.
    pub message: Option<String>,
    /// Of [`Act::Media`], LINE's word for what it is.
    pub media_kind: Option<&'static str>,
}

/// Where an event happened; everything can be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// `user`, `group`, `room` or something new.
    pub kind: Option<String>,
    /// The user.
    pub user: Option<String>,
    /// The group.
    pub group: Option<String>,
    /// The room.
    pub room: Option<String>,
}

impl Source {
    /// The person who spoke to the account alone. Nobody when others could hear it, even if LINE
    /// tells who it was: what is said in a group never enters a person's conversation.
    pub fn person(&self) -> Option<&str> {
        let alone =
            self.kind.as_deref() == Some("user") && self.group.is_none() && self.room.is_none();
        self.user.as_deref().filter(|_| alone)
    }
}

/// This one event is not understood.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// Half a surrogate pair, a number out of range, or nested too deeply.
    #[error("an event that JSON readers do not agree on")]
    Unreadable,
    /// Not a JSON object.
    #[error("an event that is no object")]
    NotAnObject,
    /// LINE's `type` is missing.
    #[error("an event without a type")]
    NoType,
}

impl<'a> LineEvent<'a> {
    /// Reads one event. A field of a wrong kind counts as missing; only `type` must be there.
    pub fn parse(raw: &'a RawValue) -> Result<Self, EventError> {
        let event: Value = serde_json::from_str(raw.get()).map_err(|_| EventError::Unreadable)?;
        if !event.is_object() {
            return Err(EventError::NotAnObject);
        }
        let kind = text(&event, "/type").ok_or(EventError::NoType)?;
        let media_kind = media_kind(&kind, &event);
        let answerable = matches!(text(&event, "/mode").as_deref(), None | Some("active"));
        let is_redelivery =
            event.pointer("/deliveryContext/isRedelivery") == Some(&Value::Bool(true));
        Ok(Self {
            raw,
            message_kind: text(&event, "/message/type").filter(|_| kind == "message"),
            occurred_at: event.get("timestamp").and_then(Value::as_i64).and_then(moment),
            source: Source {
                kind: text(&event, "/source/type"),
                user: text(&event, "/source/userId"),
                group: text(&event, "/source/groupId"),
                room: text(&event, "/source/roomId"),
            },
            reply_token: text(&event, "/replyToken").filter(|_| answerable),
            is_redelivery,
            act: act(&kind, &event, media_kind.is_some()),
            message: text(&event, "/message/id"),
            media_kind,
            kind,
            id: id(event)?,
        })
    }

    /// LINE's name for the event, e.g. `beacon` or `message.image`.
    pub fn name(&self) -> String {
        match &self.message_kind {
            Some(message) => format!("{}.{message}", self.kind),
            None => self.kind.clone(),
        }
    }
}

/// The name in the object bucket of what LINE holds under that message's id. It follows from the
/// channel and the id alone, so it is known before the content is there.
pub fn media_id(channel: &ChannelId, message: &str) -> String {
    derive_uuid(&format!("media {channel} {message}")).to_string()
}

/// What LINE holds for the account, if it is such a message. What lies elsewhere is not fetched.
fn media_kind(kind: &str, event: &Value) -> Option<&'static str> {
    let message = event.get("message").filter(|_| kind == "message")?;
    let held = match message.pointer("/contentProvider/type").and_then(Value::as_str) {
        Some(provider) => provider == "line",
        None => true,
    };
    let known = ["image", "video", "audio", "file"];
    let kind = known.into_iter().find(|known| message["type"] == **known)?;
    (held && text(message, "/id").is_some()).then_some(kind)
}

fn act(kind: &str, event: &Value, media: bool) -> Act {
    let whole = |path| event.pointer(path).and_then(Value::as_str).map(str::to_owned);
    let understood = match kind {
        // Which object it is, only whoever knows the channel can tell.
        "message" if media => Some(Act::Media(String::new())),
        "unsend" => text(event, "/unsend/messageId").map(Act::Unsend),
        "message" if event.pointer("/message/type").is_some_and(|kind| kind == "text") => {
            whole("/message/text").map(Act::Text)
        }
        "postback" => whole("/postback/data").map(Act::Postback),
        "follow" => Some(Act::Follow),
        "unfollow" => Some(Act::Unfollow),
        _ => None,
    };
    understood.unwrap_or(Act::Other)
}

/// The text there; an empty one counts as missing.
fn text(event: &Value, path: &str) -> Option<String> {
    event.pointer(path).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Moments that RFC 3339 can write with four digits for the year.
fn moment(millis: i64) -> Option<At> {
    const YEAR_9999: i64 = 253_370_764_800_000;
    (0..YEAR_9999).contains(&millis).then(|| At::from_millis(millis))
}

fn id(mut event: Value) -> Result<EventId, EventError> {
    if let Some(id) = text(&event, "/webhookEventId").and_then(|id| id.parse().ok()) {
        return Ok(id);
    }
    // What differs between two deliveries of one event, or could, must not count.
    if let Some(fields) = event.as_object_mut() {
        fields.remove("deliveryContext");
    }
    event.sort_all_objects();
    let digest = HEXLOWER.encode(&Sha256::digest(event.to_string()));
    format!("derived-{digest}").parse().map_err(|_| EventError::Unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use EventError::{NoType, NotAnObject, Unreadable};
    use proptest::prelude::*;

    fn parse(json: &str) -> Result<LineEvent<'_>, EventError> {
        LineEvent::parse(serde_json::from_str(json).unwrap())
    }

    #[test]
    fn a_message_is_read_and_its_bytes_stay() {
        let json = r#"{ "type" : "message","mode":"active","timestamp":1462629479859,
            "source":{"type":"user","userId":"U1"},"webhookEventId":"01G2KZKG2DS765NMRH3GZFD8AP",
            "deliveryContext":{"isRedelivery":true},"replyToken":"r1",
            "message":{"id":"1","type":"text","text":"包包壞了 🧵"}}"#;
        let event = parse(json).unwrap();
        assert_eq!(event.raw.get(), json);
        assert_eq!(event.id.as_str(), "01G2KZKG2DS765NMRH3GZFD8AP");
        assert_eq!(event.occurred_at, Some(At::from_millis(1_462_629_479_859)));
        assert_eq!(event.source.person(), Some("U1"));
        assert_eq!(event.reply_token.as_deref(), Some("r1"));
        assert!(event.is_redelivery);
        assert_eq!(event.act, Act::Text("包包壞了 🧵".to_owned()));
        assert_eq!(event.name(), "message.text");
    }

    #[test]
    fn what_people_do_is_told_apart() {
        let act = |json: &str| parse(json).unwrap().act;
        assert_eq!(
            act(r#"{"type":"postback","postback":{"data":"menu=repair"}}"#),
            Act::Postback("menu=repair".to_owned())
        );
        assert_eq!(act(r#"{"type":"follow"}"#), Act::Follow);
        assert_eq!(act(r#"{"type":"unfollow"}"#), Act::Unfollow);
        for other in [
            r#"{"type":"greatNewFeature"}"#,
            r#"{"type":"postback","postback":7}"#,
            r#"{"type":"message"}"#,
            r#"{"type":"message","message":{"type":"text","text":7}}"#,
            r#"{"type":"messageEdited","message":{"type":"text","text":"edited"}}"#,
        ] {
            assert_eq!(act(other), Act::Other, "{other}");
        }
    }

    #[test]
    fn nobody_is_told_in_a_group() {
        for source in [
            r#"{"type":"group","groupId":"G1","userId":"U1"}"#,
            r#"{"type":"room","roomId":"R1","userId":"U1"}"#,
            r#"{"type":"user","groupId":"G1","userId":"U1"}"#,
            r#"{"type":"something new","userId":"U1"}"#,
            r#"{"userId":"U1"}"#,
            "7",
        ] {
            let json = format!(r#"{{"type":"message","source":{source}}}"#);
            assert_eq!(parse(&json).unwrap().source.person(), None, "{source}");
        }
    }

    #[test]
    fn whoever_does_not_hold_the_chat_cannot_answer() {
        let token = |mode: &str| {
            let json = format!(r#"{{"type":"follow","replyToken":"r1"{mode}}}"#);
            parse(&json).unwrap().reply_token
        };
        assert_eq!(token("").as_deref(), Some("r1"));
        assert_eq!(token(r#","mode":"active""#).as_deref(), Some("r1"));
        assert_eq!(token(r#","mode":"standby""#), None);
        assert_eq!(token(r#","mode":"something new""#), None);
    }

    #[test]
    fn a_derived_id_follows_from_the_content_alone() {
        let id = |json: &str| parse(json).unwrap().id;
        let first =
            id(r#"{"type":"follow","timestamp":1,"deliveryContext":{"isRedelivery":false}}"#);
        let again =
            id(r#"{"timestamp": 1, "deliveryContext":{"isRedelivery":true}, "type":"follow"}"#);
        assert_eq!(first, again);
        assert!(first.as_str().starts_with("derived-") && first.as_str().len() == 8 + 64);
        assert_ne!(first, id(r#"{"type":"follow","timestamp":2}"#));
        assert!(
            id(r#"{"type":"follow","webhookEventId":"has a blank"}"#)
                .as_str()
                .starts_with("derived-")
        );
    }

    #[test]
    fn moments_that_cannot_be_written_count_as_missing() {
        for timestamp in ["-1", "9223372036854775807", "253370764800000", "1.5", "\"1\"", "null"] {
            let json = format!(r#"{{"type":"follow","timestamp":{timestamp}}}"#);
            assert_eq!(parse(&json).unwrap().occurred_at, None, "{timestamp}");
        }
    }

    #[test]
    fn one_strange_event_leaves_its_neighbours() {
        let deep = format!("{}{}", "[".repeat(300), "]".repeat(300));
        let body = format!(
            r#"{{"destination":"U1","events":[7,{{"x":1}},{{"type":"a","x":{deep}}},
                {{"type":"a","x":"\ud83d"}},{{"type":""}},{{"type":"follow"}}]}}"#
        );
        let webhook = Webhook::parse(body.as_bytes()).unwrap();
        let read = webhook.events.iter().map(|raw| LineEvent::parse(raw).map(|event| event.kind));
        assert_eq!(
            read.collect::<Vec<_>>(),
            [
                Err(NotAnObject),
                Err(NoType),
                Err(Unreadable),
                Err(Unreadable),
                Err(NoType),
                Ok("follow".to_owned())
            ]
        );
    }

    #[test]
    fn what_is_no_webhook_says_where_and_shows_nothing() {
        let error = |body: &[u8]| Webhook::parse(body).unwrap_err().to_string();
        assert_eq!(error(b"{"), "not a webhook of LINE: not JSON at line 1, column 1");
        let text = error(br#"{"destination":"U1","events":"private"}"#);
        assert!(text.contains("wrong kind") && !text.contains("private"), "{text}");
        assert!(error(b"{}").contains("missing"));
        assert!(error(b"\xff").contains("not JSON"));
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
            "(message|text|follow|postback|user|group|standby)".prop_map(Value::from),
        ];
        let name = "(type|mode|timestamp|source|userId|groupId|webhookEventId|deliveryContext|\
                    isRedelivery|replyToken|message|text|postback|data|.{0,4})";
        leaf.prop_recursive(4, 24, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((name, inner), 0..8)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_webhook_or_an_error(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Webhook::parse(&body);
        }

        #[test]
        fn any_json_is_an_event_or_an_error(events in prop::collection::vec(json(), 0..4)) {
            let body = serde_json::json!({"destination": "U1", "events": events}).to_string();
            let webhook = Webhook::parse(body.as_bytes()).unwrap();
            prop_assert_eq!(webhook.events.len(), events.len());
            for (raw, event) in webhook.events.iter().zip(&events) {
                let typed = event.get("type").and_then(Value::as_str).is_some_and(|kind| !kind.is_empty());
                prop_assert_eq!(LineEvent::parse(raw).is_ok(), typed);
            }
        }
    }
}
