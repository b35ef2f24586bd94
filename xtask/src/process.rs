//! Running other programs, with errors that say which one and how it ended.

use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// An environment variable of the person who runs the task.
#[expect(clippy::disallowed_methods, reason = "a tool for developers has no configuration file")]
pub(crate) fn env(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The cargo that runs this task, so that a nested call uses the same toolchain.
pub(crate) fn cargo() -> Command {
    Command::new(env("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs a command in sight of the person, and fails when it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", describe(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", describe(command));
    }
    Ok(())
}

/// Like [`run`], for a program whose output must not mix with a result on stdout.
pub(crate) fn run_on_stderr(command: &mut Command) -> Result<()> {
    run(command.stdin(Stdio::null()).stdout(std::io::stderr()))
}

/// Runs a command and gives back what it printed on stdout; its stderr goes to the person.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {}", describe(command)))?;
    if !output.status.success() {
        bail!("{} ended with {}", describe(command), output.status);
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("{} printed something that is not UTF-8", describe(command)))
}

/// Becomes the command: its signals and its exit code are then this task's own. Returns only when it cannot start.
pub(crate) fn become_command(command: &mut Command) -> Result<()> {
    let error = command.exec();
    Err(error).with_context(|| format!("cannot start {}", describe(command)))
}

fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let line = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    format!("`{line}`")
}
