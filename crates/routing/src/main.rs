//! routing as a process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    mainstem_runtime::main("routing", async |process| {
        Box::pin(mainstem_routing::start(process)).await?;
        Ok(())
    })
}
