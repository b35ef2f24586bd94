use std::path::PathBuf;

use anyhow::Context as _;
use mainstem_bus::nats::{Bus, Change, provision};
use mainstem_runtime::Config;

use crate::operator::connect;

#[derive(clap::Args)]
pub(crate) struct Provision {
    /// On how many servers of the cluster each stream is kept
    #[arg(long, default_value_t = 1, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=5))]
    replicas: usize,
    /// The NATS user; it needs the rights of `admin`. Else the nats_user of the section operator
    #[arg(long)]
    user: Option<String>,
    /// A file that holds that user's password
    #[arg(long, requires = "user")]
    password_file: Option<PathBuf>,
}

impl Provision {
    pub(crate) async fn run(&self, config: &Config) -> anyhow::Result<()> {
        let password = match &self.password_file {
            Some(file) => std::fs::read_to_string(file)
                .with_context(|| format!("--password-file: cannot read {}", file.display()))?,
            None => config.operator.nats_password.expose().to_owned(),
        };
        let bus = connect(config, self.user.as_deref(), password.trim()).await?;
        for change in run(&bus, self.replicas).await? {
            println!("{change}");
        }
        Ok(())
    }
}

/// Provisions over a connection of the user `admin`.
pub(crate) async fn run(bus: &Bus, replicas: usize) -> anyhow::Result<Vec<Change>> {
    Ok(provision(bus, replicas).await?)
}
