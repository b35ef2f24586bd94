use std::fmt;
use std::time::Duration;

use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, RetentionPolicy, Source as StreamSource, StorageType, SubjectTransform,
};
use async_nats::jetstream::{kv, object_store};

use crate::nats::Bus;
use crate::topology::{
    self, CONFIGURATIONS, DUPLICATE_WINDOW, LEASE_TTL, LEASES, LEDGERS, MEDIA, MEDIA_KEPT,
    PROFILE_KEPT, PROFILES, Retention, STREAMS, StreamSpec,
};

/// What provisioning did to one stream or bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was not there.
    Created(String),
    /// It differed in these points.
    Updated(String, Vec<String>),
    /// It was as declared.
    Unchanged(String),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created(name) => write!(f, "created    {name}"),
            Self::Updated(name, points) => write!(f, "updated    {name}: {}", points.join("; ")),
            Self::Unchanged(name) => write!(f, "unchanged  {name}"),
        }
    }
}

/// Why nothing more was provisioned.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// The change could lose messages.
    #[error(
        "{stream} differs from what is declared in a way that can lose messages, and is left as it \
         is:\n  {}\nMake the change by hand with `nats stream edit {stream}` if the loss is meant",
        .differences.join("\n  ")
    )]
    Lossy {
        /// The stream.
        stream: String,
        /// Each point: there, and declared.
        differences: Vec<String>,
    },
    /// The broker.
    #[error("{name}: {what}")]
    Broker {
        /// The stream or bucket.
        name: String,
        /// Why.
        what: String,
    },
}

fn broker(name: &str, error: impl fmt::Display) -> ProvisionError {
    ProvisionError::Broker { name: name.to_owned(), what: error.to_string() }
}

/// Creates what is missing and updates what differs; deletes nothing.
///
/// Looks at everything before it changes anything, so a refused change leaves all as it is.
///
/// # Errors
/// See [`ProvisionError`].
pub async fn provision(bus: &Bus, replicas: usize) -> Result<Vec<Change>, ProvisionError> {
    let mut plans = Vec::new();
    for spec in &STREAMS {
        plans.push((config(spec, replicas), existing(bus, spec.name).await?));
    }
    for (wanted, found) in &plans {
        if let Some(found) = found {
            let differences = lossy(wanted, found);
            if !differences.is_empty() {
                return Err(ProvisionError::Lossy { stream: wanted.name.clone(), differences });
            }
        }
    }
    let mut changes = Vec::new();
    for (wanted, found) in plans {
        changes.push(apply(bus, wanted, found).await?);
    }
    changes.push(keys(bus, LEASES, "who writes each ledger", LEASE_TTL, replicas).await?);
    let profiles = "whose profile was fetched lately, by handle";
    changes.push(keys(bus, PROFILES, profiles, PROFILE_KEPT, replicas).await?);
    let snapshots = LEDGERS.iter().map(|(service, _)| topology::snapshots(service));
    for bucket in [CONFIGURATIONS.to_owned()].into_iter().chain(snapshots) {
        changes.push(objects(bus, bucket, Duration::ZERO, replicas).await?);
    }
    changes.push(objects(bus, MEDIA.to_owned(), MEDIA_KEPT, replicas).await?);
    Ok(changes)
}

async fn existing(bus: &Bus, name: &str) -> Result<Option<Config>, ProvisionError> {
    match bus.jetstream.get_stream(name).await {
        Ok(stream) => Ok(Some(stream.cached_info().config.clone())),
        Err(error) => {
            if let GetStreamErrorKind::JetStream(inner) = error.kind()
                && inner.code() == 404
            {
                return Ok(None);
            }
            Err(broker(name, error))
        }
    }
}

fn config(spec: &StreamSpec, replicas: usize) -> Config {
    let sources = spec.source.map(|source| {
        vec![StreamSource {
            name: source.stream.to_owned(),
            subject_transforms: vec![SubjectTransform {
                source: source.from.to_owned(),
                destination: source.to.to_owned(),
            }],
            ..StreamSource::default()
        }]
    });
    Config {
        name: spec.name.to_owned(),
        description: Some(spec.description.to_owned()),
        subjects: spec.subjects.iter().map(|subject| (*subject).to_owned()).collect(),
        retention: match spec.retention {
            Retention::UntilTaken => RetentionPolicy::WorkQueue,
            Retention::Ever | Retention::For(_) => RetentionPolicy::Limits,
        },
        max_age: match spec.retention {
            Retention::For(span) => span,
            Retention::Ever | Retention::UntilTaken => Duration::ZERO,
        },
        // A full stream refuses; what waits, waits upstream.
        discard: DiscardPolicy::New,
        storage: StorageType::File,
        num_replicas: replicas,
        duplicate_window: DUPLICATE_WINDOW,
        allow_direct: true,
        allow_atomic_publish: spec.ledger,
        allow_message_ttl: spec.ledger,
        sources,
        max_messages: -1,
        max_bytes: -1,
        max_messages_per_subject: -1,
        max_message_size: -1,
        max_consumers: -1,
        metadata: [("owner", spec.writer), ("readers", spec.readers)]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        ..Config::default()
    }
}

type Point = (&'static str, String, String);

fn points(wanted: &Config, found: &Config) -> Vec<Point> {
    let sources = |config: &Config| {
        let sources = config.sources.iter().flatten();
        let shown: Vec<_> = sources
            .flat_map(|source| {
                source.subject_transforms.iter().map(|transform| {
                    format!("{} {} -> {}", source.name, transform.source, transform.destination)
                })
            })
            .collect();
        shown.join(", ")
    };
    let mut points: Vec<Point> = vec![
        ("subjects", found.subjects.join(" "), wanted.subjects.join(" ")),
        ("retention", format!("{:?}", found.retention), format!("{:?}", wanted.retention)),
        ("storage", format!("{:?}", found.storage), format!("{:?}", wanted.storage)),
        ("max_age", format!("{:?}", found.max_age), format!("{:?}", wanted.max_age)),
        ("discard", format!("{:?}", found.discard), format!("{:?}", wanted.discard)),
        ("max_messages", limit(found.max_messages), limit(wanted.max_messages)),
        ("max_bytes", limit(found.max_bytes), limit(wanted.max_bytes)),
        ("sources", sources(found), sources(wanted)),
        ("replicas", found.num_replicas.to_string(), wanted.num_replicas.to_string()),
        (
            "atomic batches",
            found.allow_atomic_publish.to_string(),
            wanted.allow_atomic_publish.to_string(),
        ),
        (
            "message time to live",
            found.allow_message_ttl.to_string(),
            wanted.allow_message_ttl.to_string(),
        ),
        (
            "description",
            found.description.clone().unwrap_or_default(),
            wanted.description.clone().unwrap_or_default(),
        ),
    ];
    points.retain(|(_, found, wanted)| found != wanted);
    points
}

fn limit(value: i64) -> String {
    if value <= 0 { "none".to_owned() } else { value.to_string() }
}

/// Differences whose removal could lose messages, or let them be lost later.
fn lossy(wanted: &Config, found: &Config) -> Vec<String> {
    let losing = |name: &str| match name {
        "subjects" => found.subjects.iter().any(|subject| !wanted.subjects.contains(subject)),
        "retention" | "storage" | "sources" => true,
        "max_age" => {
            !wanted.max_age.is_zero() && (found.max_age.is_zero() || wanted.max_age < found.max_age)
        }
        "replicas" => wanted.num_replicas < found.num_replicas,
        _ => false,
    };
    points(wanted, found)
        .into_iter()
        .filter(|(name, ..)| losing(name))
        .map(|(name, found, wanted)| format!("{name}: there {found:?}, declared {wanted:?}"))
        .collect()
}

async fn apply(bus: &Bus, wanted: Config, found: Option<Config>) -> Result<Change, ProvisionError> {
    let name = wanted.name.clone();
    let Some(found) = found else {
        bus.jetstream.create_stream(wanted).await.map_err(|error| broker(&name, error))?;
        return Ok(Change::Created(name));
    };
    let points: Vec<_> = points(&wanted, &found)
        .into_iter()
        .map(|(point, found, wanted)| format!("{point}: {found:?} is now {wanted:?}"))
        .collect();
    if points.is_empty() {
        return Ok(Change::Unchanged(name));
    }
    bus.jetstream.update_stream(wanted).await.map_err(|error| broker(&name, error))?;
    Ok(Change::Updated(name, points))
}

async fn keys(
    bus: &Bus,
    bucket: &str,
    description: &str,
    max_age: Duration,
    replicas: usize,
) -> Result<Change, ProvisionError> {
    if existing(bus, &format!("KV_{bucket}")).await?.is_some() {
        return Ok(Change::Unchanged(bucket.to_owned()));
    }
    let config = kv::Config {
        bucket: bucket.to_owned(),
        description: description.to_owned(),
        history: 1,
        max_age,
        num_replicas: replicas,
        ..kv::Config::default()
    };
    bus.jetstream.create_key_value(config).await.map_err(|error| broker(bucket, error))?;
    Ok(Change::Created(bucket.to_owned()))
}

async fn objects(
    bus: &Bus,
    bucket: String,
    max_age: Duration,
    replicas: usize,
) -> Result<Change, ProvisionError> {
    if existing(bus, &format!("OBJ_{bucket}")).await?.is_some() {
        return Ok(Change::Unchanged(bucket));
    }
    let config = object_store::Config {
        bucket: bucket.clone(),
        max_age,
        num_replicas: replicas,
        ..object_store::Config::default()
    };
    bus.jetstream.create_object_store(config).await.map_err(|error| broker(&bucket, error))?;
    Ok(Change::Created(bucket))
}
