use std::path::PathBuf;
use std::sync::Arc;

use mainstem_bus::Machine;
use mainstem_bus::engine::Applied;
use mainstem_bus::nats::{Bus, Difference, Replayed, replay};
use mainstem_identity_merge::IdentityMachine;
use mainstem_notification::NotificationMachine;
use mainstem_routing::RoutingMachine;
use mainstem_runtime::Config;

use crate::operator::Operator;
use crate::{table, tree};

/// Differences that the table shows; `--json` has them all.
const SHOWN: usize = 50;

#[derive(clap::Args)]
pub(crate) struct Replay {
    /// Whose past
    #[arg(long, value_parser = ["identity-merge", "routing", "notification"], default_value = "routing")]
    service: String,
    /// Decide under this configuration, a YAML file or folder; else under those that were in force
    #[arg(short = 'f', long)]
    file: Option<PathBuf>,
    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
}

impl Replay {
    /// Decides the past again and prints what would differ. Changes nothing.
    pub(crate) async fn run(&self, config: &Config) -> anyhow::Result<()> {
        let applied = match &self.file {
            Some(path) => {
                let configuration = tree::merge(&tree::read(path)?)?;
                Some(Arc::new(Applied { digest: "the replayed one".to_owned(), configuration }))
            }
            None => None,
        };
        let Operator { bus, .. } = Operator::connect(config).await?;
        let replayed = match self.service.as_str() {
            "identity-merge" => past::<IdentityMachine>(&bus, applied).await?,
            "notification" => past::<NotificationMachine>(&bus, applied).await?,
            _ => past::<RoutingMachine>(&bus, applied).await?,
        };
        if self.json {
            println!("{}", serde_json::to_string(&replayed)?);
        } else {
            print!("{}", shown(&self.service, &replayed));
        }
        Ok(())
    }
}

async fn past<M: Machine>(bus: &Bus, applied: Option<Arc<Applied>>) -> anyhow::Result<Replayed> {
    Ok(replay::<M>(bus, applied).await?)
}

fn shown(service: &str, replayed: &Replayed) -> String {
    let Replayed { inputs, differences } = replayed;
    let head = format!("{service}: {inputs} inputs, {} decided otherwise\n", differences.len());
    if differences.is_empty() {
        return head;
    }
    let none = |records: &[String]| {
        if records.is_empty() { "nothing".to_owned() } else { records.join("; ") }
    };
    let rows: Vec<_> = differences
        .iter()
        .take(SHOWN)
        .map(|Difference { input, recorded, replayed }| {
            vec![input.clone(), none(recorded), none(replayed)]
        })
        .collect();
    let more = differences.len().saturating_sub(SHOWN);
    let rest =
        if more > 0 { format!("and {more} more; --json shows all\n") } else { String::new() };
    format!("{head}{}{rest}", table::table(&["input", "recorded", "replayed"], &rows))
}
