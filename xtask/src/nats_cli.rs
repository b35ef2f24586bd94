//! Finds the one version of the `nats` command line that the operations page was tried with, or builds it.
//!
//! It is for the tests and for operators; nothing that runs needs it, so a machine without it, and without Go to build it,
//! passes over the tests that use it.

use crate::nats_server::{by_go, on_path};
use crate::process;
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

pub(crate) const VERSION: &str = "0.5.0";

/// Names a command line to use instead of looking for one; the tests read it too.
pub(crate) const VARIABLE: &str = "MAINSTEM_NATS_CLI";

/// The one named by the environment, the workspace's own, or one of the pinned version on `PATH`.
pub(crate) fn present(workspace: &Workspace) -> Option<PathBuf> {
    let named = process::env(VARIABLE).map(PathBuf::from);
    named.or_else(|| {
        let on_path = on_path("nats").into_iter();
        std::iter::once(own(workspace)).chain(on_path).find(|candidate| is_pinned(candidate))
    })
}

/// The same; builds it when it is missing.
pub(crate) fn find(workspace: &Workspace) -> Result<PathBuf> {
    if let Some(present) = present(workspace) {
        return Ok(present);
    }
    let destination = own(workspace);
    let folder = destination.parent().context("its place has no folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    // A folder beside the destination, so that the final rename stays on one file system and is atomic.
    let scratch = TempDir::new_in(folder).context("cannot create a folder to build into")?;
    eprintln!("building the nats command line {VERSION}; this takes a minute or two …");
    let module = format!("github.com/nats-io/natscli/nats@v{VERSION}");
    let built = by_go(scratch.path(), &module, "nats").with_context(|| {
        format!("cannot build it: install Go, or nats {VERSION}, and set {VARIABLE} to its path")
    })?;
    if !is_pinned(&built) {
        bail!("what was built does not say that it is nats {VERSION}");
    }
    fs::rename(&built, &destination)
        .with_context(|| format!("cannot move it to {}", destination.display()))?;
    Ok(destination)
}

fn own(workspace: &Workspace) -> PathBuf {
    workspace.tools().join(format!("natscli-{VERSION}/nats"))
}

fn is_pinned(program: &Path) -> bool {
    let output = Command::new(program).arg("--version").stderr(Stdio::null()).output();
    output.is_ok_and(|output| says_pinned(&output.stdout))
}

/// Reads `v0.5.0`, or `0.5.0` of a release.
fn says_pinned(output: &[u8]) -> bool {
    let text = String::from_utf8_lossy(output);
    text.trim().trim_start_matches('v') == VERSION
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_is_not_taken() {
        assert!(says_pinned(b"v0.5.0\n") && says_pinned(b"0.5.0"));
        assert!(!says_pinned(b"v0.5.1\n") && !says_pinned(b""));
        assert!(!is_pinned(Path::new("/no/such/program")));
    }
}
