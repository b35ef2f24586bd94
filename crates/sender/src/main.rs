//! sender as a process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    mainstem_runtime::main("sender", async |process| mainstem_sender::start(process).await)
}
