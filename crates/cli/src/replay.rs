use std::path::PathBuf;

use mainstem_bus::Machine;
use mainstem_bus::nats::{Bus, Difference, Replayed, replay};
use mainstem_domain::At;
use mainstem_identity_merge::IdentityMachine;
use mainstem_notification::NotificationMachine;
use mainstem_routing::RoutingMachine;
use mainstem_runtime::Config;

use crate::operator::Operator;
use crate::timeline::moment;
use crate::{table, what_if};

/// Differences that the table shows; `--json` has them all.
pub(crate) const SHOWN: usize = 50;

#[derive(clap::Args)]
pub(crate) struct Replay {
    /// Decide what customers did again under the rules of this YAML file or folder, and show who would
    /// have gone where. Of the folder the rules alone count; the directory is the one that was in force
    #[arg(long)]
    rules: Option<PathBuf>,
    /// With --rules: from this time on, e.g. 2026-11-21T09:00:00Z; without it, from the beginning
    #[arg(long, requires = "rules", value_parser = moment)]
    since: Option<At>,
    /// With --rules: up to this time; without it, up to now
    #[arg(long, requires = "rules", value_parser = moment)]
    until: Option<At>,
    /// Without --rules: decide the past of this service again under what was in force, and show what
    /// this program decides otherwise than the one that decided it
    #[arg(
        long, conflicts_with = "rules",
        value_parser = ["identity-merge", "routing", "notification"], default_value = "routing"
    )]
    service: String,
    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
}

impl Replay {
    /// Decides the past again and prints what would differ. Changes nothing.
    pub(crate) async fn run(&self, config: &Config) -> anyhow::Result<()> {
        if let Some(path) = &self.rules {
            let window = what_if::Window { since: self.since, until: self.until };
            let outcome = what_if::run(config, path, &window).await?;
            print!(
                "{}",
                if self.json { what_if::json(&outcome) } else { what_if::shown(&outcome) }
            );
            return Ok(());
        }
        let Operator { bus, .. } = Operator::connect(config).await?;
        let replayed = match self.service.as_str() {
            "identity-merge" => past::<IdentityMachine>(&bus).await?,
            "notification" => past::<NotificationMachine>(&bus).await?,
            _ => past::<RoutingMachine>(&bus).await?,
        };
        if self.json {
            println!("{}", serde_json::to_string(&replayed)?);
        } else {
            print!("{}", shown(&self.service, &replayed));
        }
        Ok(())
    }
}

async fn past<M: Machine>(bus: &Bus) -> anyhow::Result<Replayed> {
    Ok(replay::<M>(bus, None).await?)
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
    let table = table::table(&["input", "recorded", "replayed"], &rows);
    format!("{head}{table}{}", and_more(differences.len()))
}

/// What is said below a table that does not show all of these.
pub(crate) fn and_more(all: usize) -> String {
    let more = all.saturating_sub(SHOWN);
    if more > 0 { format!("and {more} more; --json shows all\n") } else { String::new() }
}
