use anyhow::bail;
use mainstem_bus::Machine;
use mainstem_bus::nats::{Bus, Diagnosis, diagnose};
use mainstem_identity_merge::IdentityMachine;
use mainstem_notification::NotificationMachine;
use mainstem_routing::RoutingMachine;
use mainstem_runtime::Config;

use crate::operator::Operator;
use crate::table::table;

const VOIDED: &str = "
Voided records are stored and count for nobody: a writer that had been replaced, or a stranger,
wrote them. A few after a take-over are the fence at work. More of them, or any without a take-over:
look which NATS user wrote (`nats stream view` shows ce-epoch), and change its password.";

/// Examines every ledger; the remedy stands in the error.
pub(crate) async fn run(config: &Config) -> anyhow::Result<()> {
    let Operator { bus, .. } = Operator::connect(config).await?;
    let mut examined = Vec::new();
    let mut problems = Vec::new();
    for (service, found) in [
        Box::pin(examine::<IdentityMachine>(&bus)).await,
        Box::pin(examine::<RoutingMachine>(&bus)).await,
        examine::<NotificationMachine>(&bus).await,
    ] {
        match found {
            Ok(diagnosis) => examined.push(diagnosis),
            Err(error) => problems.push(format!("{service}: {error:#}")),
        }
    }
    print!("{}", shown(&examined));
    if examined.iter().any(|diagnosis| diagnosis.voided > 0) {
        println!("{VOIDED}");
    }
    problems.extend(examined.iter().filter(|diagnosis| !diagnosis.equal).map(|diagnosis| {
        let Diagnosis { service, .. } = diagnosis;
        format!(
            "{service}: the log alone gives another state than the newest snapshot and the records \
             behind it. The log is right. Stop {service}, take the objects out of its bucket of \
             snapshots (`nats object ls SNAPSHOTS-{service}`, `nats object del`), start it again, \
             and report this: a rule is not deterministic, or a snapshot of another version was \
             taken for one of this"
        )
    }));
    problems.extend(examined.iter().filter(|diagnosis| diagnosis.bad_snapshots > 0).map(|diagnosis| {
        let Diagnosis { service, bad_snapshots, .. } = diagnosis;
        format!(
            "{service}: {bad_snapshots} snapshots cannot be used: cut off, of another version, or of a \
             ledger that was restored since. A restart passes over them and folds more of the log; \
             they go away with the next snapshots"
        )
    }));
    if !problems.is_empty() {
        bail!(problems.join("\nerror: "));
    }
    Ok(())
}

async fn examine<M: Machine>(bus: &Bus) -> (&'static str, anyhow::Result<Diagnosis>) {
    (M::SERVICE, diagnose::<M>(bus).await.map_err(Into::into))
}

fn shown(diagnoses: &[Diagnosis]) -> String {
    let rows: Vec<_> = diagnoses
        .iter()
        .map(|diagnosis| {
            let verdict = match (diagnosis.snapshot, diagnosis.equal) {
                (None, _) => "no snapshot yet",
                (Some(_), true) => "equal",
                (Some(_), false) => "NOT EQUAL",
            };
            vec![
                diagnosis.service.to_owned(),
                diagnosis.sequence.to_string(),
                diagnosis.records.to_string(),
                diagnosis.voided.to_string(),
                diagnosis.missing.to_string(),
                diagnosis.snapshot.map_or_else(|| "-".to_owned(), |sequence| sequence.to_string()),
                verdict.to_owned(),
            ]
        })
        .collect();
    let head =
        ["service", "sequence", "records", "voided", "missing", "snapshot at", "log and snapshot"];
    table(&head, &rows)
}
