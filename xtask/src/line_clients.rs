//! Finds the pinned official LINE clients that the stand-in is tried with, or installs them.
//!
//! They are for tests alone: what others wrote against LINE itself judges whether the stand-in answers and sends as LINE
//! does. A machine without them, or without Python and Node to install them, passes over those tests.

use crate::process;
use crate::workspace::Workspace;
use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// `line-bot-sdk` on PyPI.
pub(crate) const PYTHON: &str = "3.27.0";
/// `@line/bot-sdk` on npm.
pub(crate) const NODE: &str = "11.0.0";

/// Names a folder to use instead of looking for one; the tests read it too.
pub(crate) const VARIABLE: &str = "MAINSTEM_LINE_CLIENTS";

/// The folder named by the environment, or the workspace's own: `python/` is a virtual environment, and `node/` holds
/// `node_modules`.
pub(crate) fn present(workspace: &Workspace) -> Option<PathBuf> {
    let named = process::env(VARIABLE).map(PathBuf::from);
    named.or_else(|| Some(own(workspace)).filter(|folder| folder.is_dir()))
}

/// The same; installs them when they are missing.
pub(crate) fn find(workspace: &Workspace) -> Result<PathBuf> {
    if let Some(present) = present(workspace) {
        return Ok(present);
    }
    let destination = own(workspace);
    let folder = destination.parent().context("its place has no folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    // Taken away again unless both are there: half of them would pass for all.
    let scratch = TempDir::with_prefix_in("line-clients-draft-", folder);
    let scratch = scratch.context("cannot create a folder to install into")?;
    eprintln!("installing line-bot-sdk {PYTHON} and @line/bot-sdk {NODE}; this takes a minute …");
    let (python, node) = (scratch.path().join("python"), scratch.path().join("node"));
    let install = || {
        process::run_on_stderr(Command::new("python3").args(["-m", "venv"]).arg(&python))?;
        let mut pip = Command::new(python.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        process::run_on_stderr(pip.arg(format!("line-bot-sdk=={PYTHON}")))?;
        let mut npm = Command::new("npm");
        npm.args([
            "install",
            "--silent",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            "--prefix",
        ]);
        process::run_on_stderr(npm.arg(&node).arg(format!("@line/bot-sdk@{NODE}")))
    };
    install().with_context(|| {
        format!(
            "cannot install them: install Python 3 with venv, Node 20 and npm, or set {VARIABLE}"
        )
    })?;
    // A virtual environment may be moved as long as its Python is called by its path.
    fs::rename(scratch.keep(), &destination)
        .with_context(|| format!("cannot move them to {}", destination.display()))?;
    Ok(destination)
}

fn own(workspace: &Workspace) -> PathBuf {
    workspace.tools().join(format!("line-clients-{PYTHON}-{NODE}"))
}
