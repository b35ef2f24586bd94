//! routing as a process of its own.

use std::process::ExitCode;

use mainstem_routing::RoutingMachine;
use mainstem_runtime::service;

fn main() -> ExitCode {
    mainstem_runtime::main("routing", async |process| {
        service::start::<RoutingMachine>(process, &process.config.routing).await?;
        Ok(())
    })
}
