//! Every stream, subject, source, transform, bucket, endpoint and permission, declared once.
//!
//! `mainstem provision` creates what is here, the README's flow table is printed from it, and the
//! server's user list is generated from it. Nothing else in the workspace writes a subject.

mod subjects;

use std::time::Duration;

use mainstem_domain::{BrandId, ChannelId, StoreId};

use crate::record::header;

pub use subjects::*;

/// Channel events as ingress took them.
pub const INBOUND: &str = "INBOUND";
/// The ledger of identity-merge.
pub const CUSTOMER: &str = "CUSTOMER";
/// The ledger of routing.
pub const ROUTING: &str = "ROUTING";
/// The ledger of notification.
pub const NOTIFICATION: &str = "NOTIFICATION";
/// Cases on offer.
pub const QUEUES: &str = "QUEUES";
/// Items to send.
pub const OUTBOX: &str = "OUTBOX";
/// Deliveries to pass on to an incumbent.
pub const RELAY: &str = "RELAY";
/// What is still to be fetched from vendors.
pub const FETCH: &str = "FETCH";
/// What could not be read.
pub const DEADLETTER: &str = "DEADLETTER";

/// Who may write; one key for each service.
pub const LEASES: &str = "LEASES";
/// Configurations by digest.
pub const CONFIGURATIONS: &str = "CONFIGURATION";
/// Whose profile was fetched lately, by handle.
pub const PROFILES: &str = "PROFILES";
/// Pictures, videos, sounds and files that people sent, by the ids that their events name.
pub const MEDIA: &str = "MEDIA";

/// A writer that does not renew its lease for this long may be replaced.
pub const LEASE_TTL: Duration = Duration::from_secs(3);

/// How long dead letters and inbound events are kept.
pub const KEPT: Duration = Duration::from_hours(30 * 24);

/// A person's profile is fetched again after this long.
pub const PROFILE_KEPT: Duration = Duration::from_hours(30 * 24);

/// How long what people sent is kept.
pub const MEDIA_KEPT: Duration = Duration::from_hours(400 * 24);

/// How long the server remembers ids of inbound events; identity-merge remembers them for longer.
pub const DUPLICATE_WINDOW: Duration = Duration::from_mins(2);

/// The server version that everything here was tried on.
pub const NATS_SERVER_VERSION: &str = "2.15.1";

/// What a ledger subject ends with.
pub const EPOCH: &str = "epoch";
/// See [`EPOCH`].
pub const POSITION: &str = "position";
/// See [`EPOCH`].
pub const CONFIGURATION: &str = "configuration";
/// See [`EPOCH`].
pub const RECEIPT: &str = "receipt";
/// See [`EPOCH`].
pub const ERASED: &str = "erased";
/// See [`EPOCH`].
pub const CUSTODY: &str = "custody";
/// See [`EPOCH`]. What is decided about all of the staff.
pub const STAFF: &str = "staff";
/// See [`EPOCH`]. Binding codes of which nobody can tell whose they were.
pub const CODES: &str = "codes";
/// See [`EPOCH`]. Rules whose condition could not be evaluated.
pub const RULES: &str = "rules";
/// See [`EPOCH`]. Queues that give nothing out for a while.
pub const PAUSES: &str = "pauses";
/// See [`EPOCH`]. What is forgotten with its customer, and somebody may still show.
pub const WITHDRAWN: &str = "withdrawn";

/// How long a stream keeps what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// As long as nobody erases it.
    Ever,
    /// This long.
    For(Duration),
    /// Until somebody takes it.
    UntilTaken,
}

/// One stream.
#[derive(Clone, Debug)]
pub struct StreamSpec {
    /// Its name.
    pub name: &'static str,
    /// What it is for.
    pub description: &'static str,
    /// What is published to it.
    pub subjects: &'static [&'static str],
    /// Who writes it.
    pub writer: &'static str,
    /// Who reads it.
    pub readers: &'static str,
    /// How long.
    pub retention: Retention,
    /// Where the broker copies from.
    pub source: Option<Source>,
    /// Whether it is a ledger: atomic batches, no deduplication, per-message time to live.
    pub ledger: bool,
}

/// What the broker copies by itself.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// From this stream.
    pub stream: &'static str,
    /// What matches this.
    pub from: &'static str,
    /// To this subject.
    pub to: &'static str,
}

/// Every stream, in the order in which a message goes through them.
pub const STREAMS: [StreamSpec; 9] = [
    StreamSpec {
        name: INBOUND,
        description: "channel events as ingress took them",
        subjects: &["inbound.*.*.*"],
        writer: "ingress",
        readers: "identity-merge",
        retention: Retention::For(KEPT),
        source: None,
        ledger: false,
    },
    StreamSpec {
        name: CUSTOMER,
        description: "ledger of identity-merge: whose event it is, and who is who",
        subjects: &[
            "customer.*.channel",
            "customer.*.identity",
            "channel.*",
            "ledger.identity-merge.*",
        ],
        writer: "identity-merge",
        readers: "routing, notification, any service",
        retention: Retention::Ever,
        source: None,
        ledger: true,
    },
    StreamSpec {
        name: ROUTING,
        description: "ledger of routing: conversations and cases",
        subjects: &[
            "customer.*.conversation",
            "customer.*.case",
            "customer.*.case.queued.*.*.*",
            "staff.*",
            "ledger.routing.*",
        ],
        writer: "routing",
        readers: "notification, any service",
        retention: Retention::Ever,
        source: None,
        ledger: true,
    },
    StreamSpec {
        name: NOTIFICATION,
        description: "ledger of notification: what people are sent",
        subjects: &[
            "customer.*.notification",
            "customer.*.notification.item",
            "customer.*.notification.send.*.*",
            "batch.*.send",
            "ledger.notification.*",
        ],
        writer: "notification",
        readers: "any service",
        retention: Retention::Ever,
        source: None,
        ledger: true,
    },
    StreamSpec {
        name: QUEUES,
        description: "cases on offer to the back office: queue.<queue>.<priority>.<case>",
        subjects: &[],
        writer: "the broker",
        readers: "back-office people and systems",
        retention: Retention::UntilTaken,
        source: Some(Source {
            stream: ROUTING,
            from: "customer.*.case.queued.*.*.*",
            to: "queue.{{wildcard(2)}}.{{wildcard(3)}}.{{wildcard(4)}}",
        }),
        ledger: false,
    },
    StreamSpec {
        name: OUTBOX,
        description: "items to send: outbox.<channel>.<class>.<customer>",
        subjects: &[],
        writer: "the broker",
        readers: "sender",
        retention: Retention::UntilTaken,
        source: Some(Source {
            stream: NOTIFICATION,
            from: "customer.*.notification.send.*.*",
            to: "outbox.{{wildcard(2)}}.{{wildcard(3)}}.{{wildcard(1)}}",
        }),
        ledger: false,
    },
    StreamSpec {
        name: RELAY,
        description: "deliveries to pass on to an incumbent",
        subjects: &["relay.*"],
        writer: "ingress",
        readers: "relay workers",
        retention: Retention::UntilTaken,
        source: None,
        ledger: false,
    },
    StreamSpec {
        name: FETCH,
        description: "what is to be fetched from vendors: fetch.<channel>.<handle>",
        subjects: &["fetch.*.*"],
        writer: "ingress",
        readers: "ingress",
        retention: Retention::UntilTaken,
        source: None,
        ledger: false,
    },
    StreamSpec {
        name: DEADLETTER,
        description: "what could not be read: origin and reason",
        subjects: &["dead.*"],
        writer: "every service",
        readers: "operators",
        retention: Retention::For(KEPT),
        source: None,
        ledger: false,
    },
];

/// The services with a ledger.
pub const LEDGERS: [(&str, &str); 3] =
    [("identity-merge", CUSTOMER), ("routing", ROUTING), ("notification", NOTIFICATION)];

/// The streams that each service with a ledger reads to the end, in order; what it decides stands
/// in its ledger with how far it had read.
pub const UPSTREAMS: [(&str, &[&str]); 3] = [
    ("identity-merge", &[INBOUND]),
    ("routing", &[CUSTOMER]),
    ("notification", &[CUSTOMER, ROUTING]),
];

/// The streams that a service reads to the end.
#[must_use]
pub fn upstreams_of(service: &str) -> &'static [&'static str] {
    UPSTREAMS.iter().find(|(reader, _)| *reader == service).map_or(&[], |(_, streams)| *streams)
}

/// The services that read a stream to the end, each with its ledger.
pub fn readers_of(stream: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    LEDGERS.into_iter().filter(move |(service, _)| upstreams_of(service).contains(&stream))
}

/// The object bucket that a service keeps its snapshots in.
#[must_use]
pub fn snapshots(service: &str) -> String {
    format!("SNAPSHOTS-{service}")
}

/// The stream behind an object bucket.
#[must_use]
pub fn bucket_stream(bucket: &str) -> String {
    format!("OBJ_{bucket}")
}

/// Everything in an object bucket.
#[must_use]
pub fn objects(bucket: &str) -> String {
    format!("$O.{bucket}.>")
}

/// The content of one object, by the id that its entry names.
#[must_use]
pub fn object_chunks(bucket: &str, id: &str) -> String {
    format!("$O.{bucket}.C.{id}")
}

/// The directory attributes that stand in headers.
#[must_use]
pub fn place_headers(
    channel: Option<&ChannelId>,
    store: Option<&StoreId>,
    brand: Option<&BrandId>,
) -> Vec<(&'static str, String)> {
    [
        (header::CHANNEL, channel.map(ToString::to_string)),
        (header::STORE, store.map(ToString::to_string)),
        (header::BRAND, brand.map(ToString::to_string)),
    ]
    .into_iter()
    .filter_map(|(name, value)| value.map(|value| (name, value)))
    .collect()
}

/// The README's flow table.
#[must_use]
pub fn flow_table() -> String {
    use std::fmt::Write as _;
    let mut table = String::from(
        "| stream | subjects | written by | read by | kept |\n|---|---|---|---|---|\n",
    );
    for stream in &STREAMS {
        let subjects: Vec<_> = stream
            .source
            .iter()
            .map(|source| {
                format!("`{}`, sourced from `{}` `{}`", source.to, source.stream, source.from)
            })
            .chain(stream.subjects.iter().map(|subject| format!("`{subject}`")))
            .collect();
        let kept = match stream.retention {
            Retention::Ever => "until erased".to_owned(),
            Retention::For(span) => format!("{} days", span.as_secs() / 86_400),
            Retention::UntilTaken => "until taken".to_owned(),
        };
        let _ = writeln!(
            table,
            "| `{}` | {} | {} | {} | {kept} |",
            stream.name,
            subjects.join(" · "),
            stream.writer,
            stream.readers
        );
    }
    table
}

#[cfg(test)]
mod tests {
    use mainstem_domain::configuration::{ChannelKind, Priority};
    use mainstem_domain::notification::Class;
    use mainstem_domain::{CaseId, CustomerId};

    use super::*;

    fn matches(pattern: &str, subject: &str) -> bool {
        let (pattern, subject): (Vec<_>, Vec<_>) =
            (pattern.split('.').collect(), subject.split('.').collect());
        pattern.len() == subject.len()
            && pattern.iter().zip(&subject).all(|(p, s)| *p == "*" || p == s)
    }

    #[test]
    fn every_subject_lands_in_its_stream_and_in_no_other() {
        let customer = CustomerId::derive("x");
        let channel: ChannelId = "line-1".parse().unwrap();
        let case = CaseId::derive("x");
        let queue = "repair".parse().unwrap();
        let cases = [
            (inbound_subject("line", &channel, "h"), INBOUND),
            (channel_subject(Some(customer), &channel), CUSTOMER),
            (channel_subject(None, &channel), CUSTOMER),
            (identity_subject(customer), CUSTOMER),
            (conversation_subject(customer), ROUTING),
            (case_subject(customer), ROUTING),
            (queued_subject(customer, &queue, Priority::P1, case), ROUTING),
            (notification_subject(customer), NOTIFICATION),
            (notification_item_subject(customer), NOTIFICATION),
            (send_subject(customer, &channel, Class::Service), NOTIFICATION),
            (ledger_subject("routing", EPOCH), ROUTING),
            (staff_subject(&"s-1".parse().unwrap()), ROUTING),
            (ledger_subject("identity-merge", RECEIPT), CUSTOMER),
            (relay_subject(&channel), RELAY),
            (fetch_subject(channel.as_str(), "h1"), FETCH),
            (dead_subject("ingress"), DEADLETTER),
        ];
        for (subject, stream) in cases {
            let homes: Vec<_> = STREAMS
                .iter()
                .filter(|spec| spec.subjects.iter().any(|pattern| matches(pattern, &subject)))
                .map(|spec| spec.name)
                .collect();
            assert_eq!(homes, [stream], "{subject}");
        }
    }

    #[test]
    fn whoever_reads_a_stream_is_named_with_it() {
        for spec in &STREAMS {
            for (service, _) in readers_of(spec.name) {
                assert!(spec.readers.contains(service), "{service} reads {}", spec.name);
            }
        }
        let downstream: Vec<_> = readers_of(CUSTOMER).collect();
        assert_eq!(downstream, [("routing", ROUTING), ("notification", NOTIFICATION)]);
        assert_eq!(readers_of(NOTIFICATION).count(), 0);
        assert!(upstreams_of("sender").is_empty());
    }

    #[test]
    fn what_cannot_be_read_is_known_by_its_kind() {
        for kind in [ChannelKind::Line, ChannelKind::Shop, ChannelKind::Till, ChannelKind::Phone] {
            assert!(is_unreadable(&inbound_kind(kind, UNREADABLE)));
            assert!(!is_unreadable(&inbound_kind(kind, "message")));
        }
        for kind in ["", "unreadable", "mainstem.channel.unreadable.v1", "mainstem.identity.x.v1"] {
            assert!(!is_unreadable(kind), "{kind}");
        }
    }

    #[test]
    fn a_source_takes_what_its_stream_holds() {
        for source in STREAMS.iter().filter_map(|spec| spec.source) {
            let origin = STREAMS.iter().find(|spec| spec.name == source.stream).unwrap();
            assert!(origin.subjects.contains(&source.from), "{}", source.from);
        }
    }

    #[test]
    fn the_keeper_and_the_workers_look_where_the_broker_copies_to() {
        let (queue, case) = ("repair".parse().unwrap(), CaseId::derive("x"));
        let queued = queued_subject(CustomerId::derive("x"), &queue, Priority::P2, case);
        let parts: Vec<_> = queued.split('.').collect();
        let item = item_subject(&queue, Priority::P2, case);
        assert_eq!(item, ["queue", parts[4], parts[5], parts[6]].join("."));
        assert!(matches(&queue_items(&queue, Priority::P2), &item));
        assert!(!matches(&queue_items(&queue, Priority::P1), &item));
        assert_eq!(crate::nats::case_of(&item), Some(case));

        let (customer, channel) = (CustomerId::derive("x"), "line-1".parse().unwrap());
        for class in Class::ALL {
            let send = send_subject(customer, &channel, class);
            let parts: Vec<_> = send.split('.').collect();
            assert!(matches("customer.*.notification.send.*.*", &send));
            let item = ["outbox", parts[4], parts[5], parts[1]].join(".");
            assert!(matches(&items_for(customer), &item));
            let lanes = Class::ALL.map(|of| matches(&outbox_filter(&channel, of), &item));
            assert_eq!(lanes, Class::ALL.map(|of| of == class));
        }
    }
}
