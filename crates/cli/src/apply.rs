use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use mainstem_bus::nats::{Configurations, InForce};
use mainstem_bus::topology;
use mainstem_domain::configuration::Configuration;
use mainstem_proto::wire::engine::{ApplyConfigurationRequest, ApplyConfigurationResponse};
use mainstem_runtime::Config;

use serde::Serialize;

use crate::difference::{Difference, differences, shown};
use crate::operator::{Operator, SERVICES};
use crate::tree;

#[derive(clap::Args)]
pub(crate) struct Apply {
    /// A YAML file, or a folder whose *.yaml files are read together
    #[arg(short, long)]
    file: PathBuf,
    /// Change nothing: lint, and show what differs from what is in force
    #[arg(long)]
    dry_run: bool,
    /// With --dry-run: one JSON object on standard output
    #[arg(long, requires = "dry_run")]
    json: bool,
}

impl Apply {
    pub(crate) async fn run(&self, config: &Config) -> anyhow::Result<()> {
        let configuration = tree::merge(&tree::read(&self.file)?)?;
        check(&configuration)?;
        if self.dry_run {
            let try_it = self.try_it(config, &configuration);
            return try_it
                .await
                .context("nothing is wrong with it; what would change is not known");
        }
        let operator = Operator::connect(config).await?;
        println!("{}", apply(&operator, &configuration).await?);
        Ok(())
    }
}

/// What `--dry-run` says.
#[derive(Serialize)]
struct Trial {
    /// The digest that is in force; empty when none is.
    in_force: String,
    /// Services that have another one in force, and which.
    behind: BTreeMap<String, String>,
    /// What would change.
    differences: Vec<Difference>,
}

impl Apply {
    /// Compares it to what identity-merge has in force, which takes it first.
    async fn try_it(&self, config: &Config, configuration: &Configuration) -> anyhow::Result<()> {
        let Operator { bus, .. } = Operator::connect(config).await?;
        let mut in_force = Vec::new();
        for (service, ledger) in topology::LEDGERS {
            let applied = InForce::of(bus.clone(), service, ledger).other_than(None).await?;
            in_force.push((service, applied.unwrap_or_default()));
        }
        let first = in_force.first().map(|(_, applied)| applied.clone()).unwrap_or_default();
        let behind = in_force.iter().filter(|(_, applied)| applied.digest != first.digest);
        let trial = Trial {
            in_force: first.digest.clone(),
            behind: behind
                .map(|(service, applied)| ((*service).to_owned(), applied.digest.clone()))
                .collect(),
            differences: differences(&first.configuration, configuration),
        };
        if self.json {
            println!("{}", serde_json::to_string(&trial)?);
            return Ok(());
        }
        println!("nothing is wrong with it; compared to {}", named(&trial.in_force));
        for (service, digest) in &trial.behind {
            println!("{service} is behind, with {}; apply it to all again", named(digest));
        }
        print!("{}", shown(&trial.differences));
        Ok(())
    }
}

fn named(digest: &str) -> &str {
    if digest.is_empty() { "nothing, as none was applied" } else { digest }
}

/// Refuses a configuration with every problem that it has.
fn check(configuration: &Configuration) -> anyhow::Result<()> {
    let problems: Vec<_> = configuration.lint().iter().map(ToString::to_string).collect();
    if !problems.is_empty() {
        bail!(problems.join("\nerror: "));
    }
    Ok(())
}

/// Puts a configuration in force in all services, and says its digest. When one of them says no,
/// none has taken it.
///
/// A service that stops answering between the two rounds is behind the others until the same
/// configuration is applied again: that changes nothing where it is in force already. For the same
/// reason the requests have no `request_id`: with one made of the digest, going back to yesterday's
/// configuration would be answered like yesterday's request, and change nothing.
pub(crate) async fn apply(
    operator: &Operator,
    configuration: &Configuration,
) -> anyhow::Result<String> {
    check(configuration)?;
    let digest = Configurations::open(&operator.bus)
        .await
        .context("has mainstem provision been run?")?
        .put(configuration)
        .await?;
    for validate_only in [true, false] {
        for service in SERVICES {
            let request = ApplyConfigurationRequest {
                request_id: String::new(),
                digest: digest.clone(),
                validate_only,
            };
            let _: ApplyConfigurationResponse =
                operator.call(service, "apply-configuration", &request).await?;
        }
    }
    Ok(digest)
}
