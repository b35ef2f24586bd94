//! Everything a change must pass, in the order in which failures are cheapest to find.

use crate::workspace::Workspace;
use crate::{launch, process, tidy};
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const CARGO_DENY: &str = "0.20.2";

type Step = (&'static str, fn(&Workspace) -> Result<()>);

const STEPS: &[Step] = &[
    ("fmt", |workspace| cargo(workspace, &["fmt", "--all", "--check"])),
    ("clippy", |workspace| {
        cargo(workspace, &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])
    }),
    ("tidy", tidy::run),
    ("doc", doc),
    ("deny", deny),
    ("test", |workspace| launch::Test::default().run(workspace)),
];

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let mut taken = Vec::new();
    let mut outcome = Ok(());
    for (name, step) in STEPS {
        eprintln!("── {name}");
        let watch = stopwatch();
        outcome = step(workspace).with_context(|| format!("ci stopped at {name}"));
        taken.push((*name, watch.elapsed()));
        if outcome.is_err() {
            break;
        }
        eprintln!("── {name}: {:.1} s", watch.elapsed().as_secs_f64());
    }
    eprint!("{}", summary(&taken, outcome.is_ok()));
    outcome
}

fn cargo(workspace: &Workspace, arguments: &[&str]) -> Result<()> {
    process::run(process::cargo().args(arguments).current_dir(&workspace.root))
}

fn doc(workspace: &Workspace) -> Result<()> {
    let mut doc = process::cargo();
    doc.args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
    process::run(doc.current_dir(&workspace.root))
}

fn deny(workspace: &Workspace) -> Result<()> {
    let mut deny = Command::new(cargo_deny(workspace)?);
    deny.args(["check", "bans", "licenses", "sources"]);
    process::run(deny.current_dir(&workspace.root))
}

/// The pinned cargo-deny: the person's own when it is that version, else one that this workspace builds for itself.
fn cargo_deny(workspace: &Workspace) -> Result<PathBuf> {
    let own = workspace.tools().join("bin/cargo-deny");
    for candidate in [PathBuf::from("cargo-deny"), own.clone()] {
        if is_pinned_cargo_deny(&candidate) {
            return Ok(candidate);
        }
    }
    eprintln!(
        "cargo-deny {CARGO_DENY} is not here; building it into {}",
        workspace.tools().display()
    );
    let watch = stopwatch();
    let mut install = process::cargo();
    install.args([
        "install",
        "cargo-deny",
        "--version",
        CARGO_DENY,
        "--locked",
        "--debug",
        "--config",
        "profile.dev.debug=false",
        "--root",
    ]);
    process::run(install.arg(workspace.tools()))?;
    eprintln!("cargo-deny took {:.0} s to build", watch.elapsed().as_secs_f64());
    Ok(own)
}

fn is_pinned_cargo_deny(program: &PathBuf) -> bool {
    let output = Command::new(program).arg("--version").stderr(Stdio::null()).output();
    output.is_ok_and(|output| {
        output.stdout.trim_ascii() == format!("cargo-deny {CARGO_DENY}").as_bytes()
    })
}

#[expect(clippy::disallowed_methods, reason = "durations are shown to a person and decide nothing")]
fn stopwatch() -> Instant {
    Instant::now()
}

fn summary(taken: &[(&str, Duration)], passed: bool) -> String {
    let row =
        |name: &str, duration: Duration| format!("{name:<8}{:>8.1} s", duration.as_secs_f64());
    let mut rows: Vec<String> = taken.iter().map(|(name, duration)| row(name, *duration)).collect();
    if let (false, Some(last)) = (passed, rows.last_mut()) {
        last.push_str("  FAILED");
    }
    rows.extend(STEPS[taken.len()..].iter().map(|(name, _)| format!("{name:<8} not run")));
    rows.push(row("total", taken.iter().map(|(_, duration)| *duration).sum()));
    format!("\n{}\n", rows.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_marks_the_step_that_failed_and_names_those_not_run() {
        let taken = [("fmt", Duration::from_millis(1500)), ("clippy", Duration::from_secs(2))];
        let failed = summary(&taken, false);
        assert!(failed.contains("fmt          1.5 s\n"), "{failed}");
        assert!(failed.contains("clippy       2.0 s  FAILED\n"), "{failed}");
        assert!(failed.contains("tidy     not run\n"), "{failed}");
        assert!(failed.contains("total        3.5 s\n"), "{failed}");
        assert!(!summary(&taken, true).contains("FAILED"));
    }
}
