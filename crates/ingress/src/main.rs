//! ingress as a process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    mainstem_runtime::main("ingress", async |process| {
        mainstem_ingress::start(process).await?;
        Ok(())
    })
}
