//! What a process is told before it starts: one file of defaults, and layers over it.
//!
//! Invariant: a [`Config`] is either whole and valid, or there is none and [`ConfigError`] lists
//! every problem at once. Nothing but this module reads the environment.

mod layers;
mod secret;
mod sections;

use std::ffi::OsString;
use std::fmt;
use std::path::Path;

use serde::Deserialize;

use layers::Layers;
pub use secret::Secret;
pub use sections::{
    CallersConfig, ClockConfig, EngineConfig, ErasureConfig, GrpcConfig, IngressConfig, LogFormat,
    NatsConfig, OperatorConfig, RoutingConfig, SenderConfig, ServiceConfig, TelemetryConfig,
};

/// Every key with its default and what it means.
pub const DEFAULTS: &str = include_str!("mainstem.default.toml");

/// Names the configuration file when the command line does not.
const FILE_VARIABLE: &str = "MAINSTEM_CONFIG";

/// The whole configuration. Each part of a process is given its own section. Printing it, by
/// `Debug` or `Display`, shows `***` for secrets.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The broker.
    pub nats: NatsConfig,
    /// The one clock.
    pub clock: ClockConfig,
    /// What all gRPC servers share.
    pub grpc: GrpcConfig,
    /// Who may call.
    pub callers: CallersConfig,
    /// Logs, traces, metrics.
    pub telemetry: TelemetryConfig,
    /// The deciders' engine.
    pub engine: EngineConfig,
    /// What it takes to forget a customer.
    pub erasure: ErasureConfig,
    /// The identity-merge process.
    pub identity_merge: ServiceConfig,
    /// The routing process.
    pub routing: RoutingConfig,
    /// The notification process.
    pub notification: ServiceConfig,
    /// The ingress process.
    pub ingress: IngressConfig,
    /// The sender process.
    pub sender: SenderConfig,
    /// The command line.
    pub operator: OperatorConfig,
}

impl Config {
    /// Reads and validates all layers. `file` wins over `MAINSTEM_CONFIG` in `environment`.
    pub fn load(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let environment: config::Map<_, _> = environment.collect();
        let named = environment.get(FILE_VARIABLE).filter(|path| !path.is_empty()).map(Path::new);
        let mut layers = Layers::defaults();
        if let Some(file) = file.or(named) {
            layers.add_file(file);
        }
        layers.add_environment(environment);
        layers.finish()
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:#?}")
    }
}

/// The environment of this process, for [`Config::load`]. Unlike `std::env::vars` it does not
/// panic at a value that is no UTF-8.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value): (OsString, OsString)| {
        Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
    })
}

/// One thing that is wrong. Never carries the value of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `section.key`, or the path of a file that cannot be read.
    pub key: String,
    /// Where the value comes from: the defaults, a file, or the environment.
    pub layer: String,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}) {}; {}", self.key, self.layer, self.what, self.remedy)
    }
}

/// Why a process does not start: everything that is wrong with its configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the configuration is refused:{}", lines(problems))]
pub struct ConfigError {
    /// At least one.
    pub problems: Vec<Problem>,
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().flat_map(|problem| ["\n  ".to_owned(), problem.to_string()]).collect()
}

#[cfg(test)]
mod tests;
