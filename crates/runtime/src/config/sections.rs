//! The sections, as the file of defaults explains them, and what must hold among their values.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use mainstem_bus::topology::LEASE_TTL;
use mainstem_domain::At;
use serde::{Deserialize, Deserializer, de};
use tracing_subscriber::EnvFilter;

use super::{Config, Secret};

/// `[nats]`: the broker.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NatsConfig {
    /// One server, or several with commas between. Carries no user and no password.
    pub url: String,
    /// The CA of the server's certificate.
    #[serde(deserialize_with = "optional_path")]
    pub tls_ca: Option<PathBuf>,
    /// For how long a process that starts tries a broker that is not there.
    #[serde(rename = "connect_timeout_ms", deserialize_with = "millis")]
    pub connect_timeout: Duration,
}

/// `[clock]`: how virtual time comes from real time. Both origins are there, or none.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockConfig {
    /// Virtual time for each real time; above zero.
    pub speed: f64,
    /// The real moment at which the virtual time is `origin_virtual`.
    #[serde(deserialize_with = "optional_moment")]
    pub origin_real: Option<At>,
    /// See `origin_real`.
    #[serde(deserialize_with = "optional_moment")]
    pub origin_virtual: Option<At>,
}

/// `[grpc]`: what all gRPC servers share. Certificate and key are both there, or neither.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrpcConfig {
    /// The server's certificate chain, PEM.
    #[serde(deserialize_with = "optional_path")]
    pub tls_certificate: Option<PathBuf>,
    /// Its key, PEM.
    #[serde(deserialize_with = "optional_path")]
    pub tls_key: Option<PathBuf>,
    /// The CA of client certificates, PEM.
    #[serde(deserialize_with = "optional_path")]
    pub client_ca: Option<PathBuf>,
}

/// `[callers]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallersConfig {
    /// See [`crate::Callers`]. Without it nobody may call.
    #[serde(deserialize_with = "optional_path")]
    pub file: Option<PathBuf>,
}

/// `[telemetry]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TelemetryConfig {
    /// Where traces, metrics and logs go by OTLP/gRPC; empty is off.
    pub otlp_endpoint: String,
    /// How a line on stderr looks.
    pub log_format: LogFormat,
    /// Which lines there are.
    pub log_filter: String,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object on each line.
    Json,
}

/// `[engine]`: the deciders' engine. A `…_every_…` is reached by whichever comes first.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineConfig {
    /// Inputs until a silent decider writes its position.
    pub position_every_inputs: u64,
    /// Time until a silent decider writes its position.
    #[serde(rename = "position_every_ms", deserialize_with = "millis")]
    pub position_every: Duration,
    /// Records until a snapshot.
    pub snapshot_every_records: u64,
    /// Time until a snapshot.
    #[serde(rename = "snapshot_every_ms", deserialize_with = "millis")]
    pub snapshot_every: Duration,
    /// How often the writer's lease is renewed.
    #[serde(rename = "lease_renew_ms", deserialize_with = "millis")]
    pub lease_renew: Duration,
    /// How long tasks may take to finish after a signal.
    #[serde(rename = "drain_ms", deserialize_with = "millis")]
    pub drain: Duration,
}

/// `[identity_merge]`, `[notification]`: processes with a decider. See also [`RoutingConfig`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceConfig {
    /// Where the gRPC server listens.
    pub grpc_listen: SocketAddr,
    /// The broker's user; empty when it has no users.
    pub nats_user: String,
    /// Its password.
    pub nats_password: Secret,
}

/// `[routing]`: a process with a decider, and what seals binding codes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoutingConfig {
    /// Where the gRPC server listens.
    pub grpc_listen: SocketAddr,
    /// The broker's user; empty when it has no users.
    pub nats_user: String,
    /// Its password.
    pub nats_password: Secret,
    /// Seals binding codes: empty, or at least 32 bytes.
    pub binding_key: Secret,
}

impl RoutingConfig {
    /// What it has like the other processes with a decider.
    #[must_use]
    pub fn service(&self) -> ServiceConfig {
        ServiceConfig {
            grpc_listen: self.grpc_listen,
            nats_user: self.nats_user.clone(),
            nats_password: self.nats_password.clone(),
        }
    }
}

/// `[erasure]`: what identity-merge, routing and notification need to forget a customer together.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErasureConfig {
    /// Keys the hash of identifiers by which a refusal outlives an erasure: empty, or at least 32
    /// bytes.
    pub key: Secret,
    /// Proves these services to each other: of a caller with the role service and every scope.
    pub token: Secret,
}

/// `[ingress]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IngressConfig {
    /// Where webhooks and events come in.
    pub http_listen: SocketAddr,
    /// Where the gRPC server listens.
    pub grpc_listen: SocketAddr,
    /// The broker's user; empty when it has no users.
    pub nats_user: String,
    /// Its password.
    pub nats_password: Secret,
    /// The credentials of the channels and of the other sources.
    #[serde(deserialize_with = "optional_path")]
    pub channels_file: Option<PathBuf>,
    /// Keys the hash of senders' ids: empty, or at least 32 bytes.
    pub handle_key: Secret,
    /// LINE's API, or a stand-in for it.
    pub line_api_url: String,
    /// Where LINE answers with the contents of messages, or a stand-in.
    pub line_data_url: String,
    /// A content that is larger is not fetched. A few of them are in memory at once.
    pub media_bytes_at_most: usize,
}

/// `[sender]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SenderConfig {
    /// The broker's user; empty when it has no users.
    pub nats_user: String,
    /// Its password.
    pub nats_password: Secret,
    /// LINE's API, or a stand-in for it.
    pub line_api_url: String,
    /// Proves the sender to notification.
    pub token: Secret,
    /// Sends in flight on each account.
    pub concurrency: usize,
    /// Where `GET /healthz` is answered; nowhere without one.
    #[serde(deserialize_with = "optional_address")]
    pub health_listen: Option<SocketAddr>,
    /// The channels with their credentials.
    #[serde(deserialize_with = "optional_path")]
    pub channels_file: Option<PathBuf>,
}

/// `[operator]`: the command line.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorConfig {
    /// The broker's user; empty when it has no users.
    pub nats_user: String,
    /// Its password.
    pub nats_password: Secret,
    /// Proves the operator to the services.
    pub token: Secret,
}

/// Key, what is wrong, remedy.
type Finding = (&'static str, String, &'static str);

const LINE_API: &str = "write https://api.line.me, or the address of a stand-in";
const LINE_DATA: &str = "write https://api-data.line.me, or the address of a stand-in";

const DAY: Duration = Duration::from_hours(24);

impl Config {
    pub(super) fn validate(&self) -> Vec<Finding> {
        let mut findings = self.ranges();
        let mut require = |holds: bool, key, what: &str, remedy| {
            if !holds {
                findings.push((key, what.to_owned(), remedy));
            }
        };
        let nats = self.nats.url.split(',').all(|url| {
            ["nats://", "tls://"]
                .iter()
                .any(|scheme| url.len() > scheme.len() && url.starts_with(scheme))
        });
        require(
            nats,
            "nats.url",
            "is no NATS address",
            "write nats://host:port or tls://host:port",
        );
        require(
            !self.nats.url.contains('@'),
            "nats.url",
            "carries a user or a password",
            "move them to nats_user and nats_password of the process's section",
        );
        let clock = &self.clock;
        require(
            clock.speed.is_finite() && clock.speed > 0.0 && clock.speed <= 86_400.0,
            "clock.speed",
            "is not above 0 and at most 86400",
            "write 1.0 for real time",
        );
        require(
            clock.origin_real.is_some() == clock.origin_virtual.is_some(),
            "clock.origin_real",
            "and clock.origin_virtual are not both given",
            "give both moments or none",
        );
        #[expect(clippy::float_cmp, reason = "only the literal 1.0 is real time")]
        let real_time = clock.speed == 1.0;
        require(
            real_time || clock.origin_real.is_some(),
            "clock.origin_real",
            "is empty while clock.speed is not 1.0",
            "give clock.origin_real and clock.origin_virtual, the same in all processes",
        );
        let grpc = &self.grpc;
        require(
            grpc.tls_certificate.is_some() == grpc.tls_key.is_some(),
            "grpc.tls_certificate",
            "and grpc.tls_key are not both given",
            "give both files or none",
        );
        require(
            grpc.client_ca.is_none() || grpc.tls_certificate.is_some(),
            "grpc.client_ca",
            "is given without grpc.tls_certificate",
            "give the server's certificate and key too: client certificates need TLS",
        );
        let telemetry = &self.telemetry;
        require(
            telemetry.otlp_endpoint.is_empty() || is_http(&telemetry.otlp_endpoint),
            "telemetry.otlp_endpoint",
            "is no http:// address",
            "write http://host:4317, or nothing",
        );
        require(
            EnvFilter::try_new(&telemetry.log_filter).is_ok(),
            "telemetry.log_filter",
            "is no filter",
            "write a level (error, warn, info, debug, trace) or `info,mainstem_bus=debug`",
        );
        let key = self.ingress.handle_key.expose().len();
        require(
            key == 0 || key >= 32,
            "ingress.handle_key",
            "is shorter than 32 bytes",
            "write 32 random bytes or more, e.g. as 64 hexadecimal digits",
        );
        let key = self.erasure.key.expose().len();
        require(
            key == 0 || key >= 32,
            "erasure.key",
            "is shorter than 32 bytes",
            "write 32 random bytes or more, e.g. as 64 hexadecimal digits",
        );
        let key = self.routing.binding_key.expose().len();
        require(
            key == 0 || key >= 32,
            "routing.binding_key",
            "is shorter than 32 bytes",
            "write 32 random bytes or more, e.g. as 64 hexadecimal digits",
        );
        for (key, url, host) in [
            ("sender.line_api_url", &self.sender.line_api_url, LINE_API),
            ("ingress.line_api_url", &self.ingress.line_api_url, LINE_API),
            ("ingress.line_data_url", &self.ingress.line_data_url, LINE_DATA),
        ] {
            require(is_http(url), key, "is no http:// or https:// address", host);
        }
        findings
    }

    fn ranges(&self) -> Vec<Finding> {
        const REMEDY: &str = "write a number in the range";
        let engine = &self.engine;
        let numbers = [
            ("engine.position_every_inputs", engine.position_every_inputs, 1, 1_000_000),
            ("engine.snapshot_every_records", engine.snapshot_every_records, 100, 100_000_000),
            ("sender.concurrency", self.sender.concurrency as u64, 1, 1024),
            (
                "ingress.media_bytes_at_most",
                self.ingress.media_bytes_at_most as u64,
                1024,
                512 * 1024 * 1024,
            ),
        ];
        let second = Duration::from_secs(1);
        let spans = [
            ("nats.connect_timeout_ms", self.nats.connect_timeout, second / 10, 60 * second),
            ("engine.position_every_ms", engine.position_every, second / 10, DAY),
            ("engine.snapshot_every_ms", engine.snapshot_every, second, DAY),
            ("engine.lease_renew_ms", engine.lease_renew, second / 10, LEASE_TTL / 2),
            ("engine.drain_ms", engine.drain, second / 10, 600 * second),
        ];
        let numbers = numbers
            .into_iter()
            .filter(|(_, value, least, most)| !(least..=most).contains(&value))
            .map(|(key, _, least, most)| (key, format!("is not {least} to {most}"), REMEDY));
        let spans = spans
            .into_iter()
            .filter(|(_, value, least, most)| !(least..=most).contains(&value))
            .map(|(key, _, least, most)| {
                (key, format!("is not {} to {}", least.as_millis(), most.as_millis()), REMEDY)
            });
        numbers.chain(spans).collect()
    }
}

fn is_http(url: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| url.len() > scheme.len() && url.starts_with(scheme))
}

fn millis<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_millis)
}

fn optional_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let text = String::deserialize(deserializer)?;
    Ok((!text.is_empty()).then(|| text.into()))
}

fn optional_address<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| de::Error::custom("no address, e.g. 127.0.0.1:7705"))
}

fn optional_moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<At>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    At::parse(&text)
        .map(Some)
        .ok_or_else(|| de::Error::custom("no RFC 3339 moment in UTC, e.g. 2026-11-21T09:00:00Z"))
}
