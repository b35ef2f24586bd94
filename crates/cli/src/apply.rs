use std::path::PathBuf;

use anyhow::{Context as _, bail};
use mainstem_bus::nats::Configurations;
use mainstem_domain::configuration::Configuration;
use mainstem_proto::wire::engine::{ApplyConfigurationRequest, ApplyConfigurationResponse};
use mainstem_runtime::Config;

use crate::operator::{Operator, SERVICES};
use crate::tree;

#[derive(clap::Args)]
pub(crate) struct Apply {
    /// A YAML file, or a folder whose *.yaml files are read together
    #[arg(short, long)]
    file: PathBuf,
    /// Lint only, without asking anybody
    #[arg(long)]
    dry_run: bool,
}

impl Apply {
    pub(crate) async fn run(&self, config: &Config) -> anyhow::Result<()> {
        let configuration = tree::merge(&tree::read(&self.file)?)?;
        check(&configuration)?;
        if self.dry_run {
            println!("nothing is wrong with it; nothing is changed");
            return Ok(());
        }
        let operator = Operator::connect(config).await?;
        println!("{}", apply(&operator, &configuration).await?);
        Ok(())
    }
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
