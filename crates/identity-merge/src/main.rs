//! identity-merge as a process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    mainstem_runtime::without_huge_pages();
    mainstem_runtime::main("identity-merge", async |process| {
        Box::pin(mainstem_identity_merge::start(process)).await?;
        Ok(())
    })
}
