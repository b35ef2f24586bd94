//! identity-merge as a process of its own.

use std::process::ExitCode;

use mainstem_identity_merge::IdentityMachine;
use mainstem_runtime::service;

fn main() -> ExitCode {
    mainstem_runtime::main("identity-merge", async |process| {
        service::start::<IdentityMachine>(process, &process.config.identity_merge).await?;
        Ok(())
    })
}
