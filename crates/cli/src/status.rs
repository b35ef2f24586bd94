use mainstem_proto::wire::engine::{GetStatusRequest, GetStatusResponse};
use mainstem_runtime::Config;

use crate::operator::{Operator, SERVICES};
use crate::table::table;

/// Shows what one instance of each service says; which one, the broker chooses.
pub(crate) async fn run(config: &Config) -> anyhow::Result<()> {
    let operator = Operator::connect(config).await?;
    let (mut rows, mut silent) = (Vec::new(), Vec::new());
    for service in SERVICES {
        match operator.call(service, "get-status", &GetStatusRequest {}).await {
            Ok(status) => rows.push(row(&status)),
            Err(error) => silent.push(error),
        }
    }
    let head =
        ["service", "role", "epoch", "sequence", "has read", "configuration", "voided", "dead"];
    print!("{}", table(&head, &rows));
    match silent.into_iter().reduce(|all, next| anyhow::anyhow!("{all:#}\nerror: {next:#}")) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

fn row(status: &GetStatusResponse) -> Vec<String> {
    let read = status
        .positions
        .iter()
        .map(|position| format!("{} to {}", position.stream, position.sequence));
    let configuration = match status.configuration.get(..12) {
        Some(start) => start.to_owned(),
        None => "none".to_owned(),
    };
    vec![
        status.service.clone(),
        if status.writer { "writer" } else { "standby" }.to_owned(),
        status.epoch.to_string(),
        status.ledger_sequence.to_string(),
        read.collect::<Vec<_>>().join(", "),
        configuration,
        status.voided.to_string(),
        status.dead_lettered.to_string(),
    ]
}
