//! notification as a process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    mainstem_runtime::main("notification", async |process| {
        Box::pin(mainstem_notification::start(process)).await?;
        Ok(())
    })
}
