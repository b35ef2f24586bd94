//! The rules of this repository that no compiler knows. Every check runs, and all that is wrong is shown at once.

mod arrows;
mod graph;
mod protos;
mod readme;
mod source;

use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use std::fmt;
use std::path::{Path, PathBuf};

/// Something that breaks a rule, where it stands, and what to do about it.
#[derive(Debug, PartialEq)]
struct Finding {
    file: PathBuf,
    line: usize,
    what: String,
    remedy: String,
    weight: Weight,
}

#[derive(Debug, PartialEq)]
enum Weight {
    Failure,
    Warning,
}

impl Finding {
    fn failure(
        file: &Path,
        line: usize,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let file = file.to_owned();
        Self { file, line, what: what.into(), remedy: remedy.into(), weight: Weight::Failure }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = match self.weight {
            Weight::Failure => "",
            Weight::Warning => "warning: ",
        };
        let Self { file, line, what, remedy, .. } = self;
        write!(f, "{prefix}{}:{line}: {what} – {remedy}", file.display())
    }
}

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let mut findings = arrows::check(workspace)?;
    findings.extend(graph::check(workspace)?);
    findings.extend(source::check(workspace)?);
    findings.extend(protos::check(workspace)?);
    findings.extend(readme::check(workspace)?);

    for finding in &findings {
        eprintln!("{finding}");
    }
    match findings.iter().filter(|finding| finding.weight == Weight::Failure).count() {
        0 => Ok(()),
        1 => bail!("tidy found 1 failure"),
        count => bail!("tidy found {count} failures"),
    }
}

/// Every file under `folder` with this extension, in a fixed order; none when there is no such folder.
fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        if !folder.is_dir() {
            continue;
        }
        let entries = std::fs::read_dir(&folder)
            .with_context(|| format!("cannot read {}", folder.display()))?;
        for entry in entries {
            let path = entry.with_context(|| format!("cannot read {}", folder.display()))?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The number of the first line that starts with `start`, or 1 when there is none.
fn line_of(text: &str, start: &str) -> usize {
    text.lines().position(|line| line.trim_start().starts_with(start)).map_or(1, |index| index + 1)
}
