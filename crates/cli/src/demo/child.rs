use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::process::{Child, Command};

/// How long a program may take until it listens.
const PATIENCE: Duration = Duration::from_secs(20);
const LOG_LINES: usize = 10;

/// A program that the demo started: killed when dropped, and not reached by the terminal's Ctrl-C,
/// so that it never ends before those that use it.
pub(super) struct Program {
    name: &'static str,
    child: Child,
    log: std::path::PathBuf,
}

impl Program {
    /// Starts a program with the arguments and the environment of `command` and nothing else.
    pub(super) fn start(
        name: &'static str,
        mut command: Command,
        log: &Path,
    ) -> anyhow::Result<Self> {
        let file = std::fs::File::create(log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        let program = command.as_std().get_program().to_owned();
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| {
                format!("cannot start {}; name another {name} by --{name}", program.display())
            })?;
        Ok(Self { name, child, log: log.to_owned() })
    }

    /// Waits until `ready` gives something.
    pub(super) async fn wait<T>(&mut self, ready: impl Fn() -> Option<T>) -> anyhow::Result<T> {
        let attempts = async {
            loop {
                if let Some(value) = ready() {
                    return Ok(value);
                }
                if let Some(status) = self.child.try_wait()? {
                    bail!("{} ended before it listened ({status}){}", self.name, self.last_words());
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, attempts).await {
            Ok(value) => value,
            Err(_) => bail!(
                "{} does not listen after {} s{}",
                self.name,
                PATIENCE.as_secs(),
                self.last_words()
            ),
        }
    }

    /// The end of its log, each line on its own.
    fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        let last = &lines[lines.len().saturating_sub(LOG_LINES)..];
        last.iter().flat_map(|line| ["\n  ", line]).collect()
    }

    pub(super) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Kills it and waits until it is gone.
    pub(super) async fn end(mut self) {
        if let Err(error) = self.child.kill().await {
            tracing::warn!(name = self.name, %error, "it could not be ended");
        }
    }
}
