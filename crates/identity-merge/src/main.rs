//! identity-merge as a process of its own.

use std::process::ExitCode;

use mainstem_runtime::service;
use mainstem_identity_merge::IdentityMachine;

fn main() -> ExitCode {
    mainstem_runtime::main("identity-merge", async |process| {
        service::start::<IdentityMachine>(process, &process.config.identity_merge).await?;
        Ok(())
    })
}
