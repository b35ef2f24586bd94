//! The flow table: who writes and who reads which stream. The topology declares it, the README shows it.

use crate::process;
use crate::workspace::Workspace;
use anyhow::{Context, Result};
use std::ops::Range;
use std::process::Command;

pub(crate) const BEGIN: &str = "<!-- flow:begin -->";
pub(crate) const END: &str = "<!-- flow:end -->";

pub(crate) fn run(workspace: &Workspace, write: bool) -> Result<()> {
    let table = table(workspace)?;
    print!("{table}");
    if write {
        let path = workspace.root.join("README.md");
        let readme = std::fs::read_to_string(&path).context("cannot read README.md")?;
        std::fs::write(&path, replaced(&readme, &table)?).context("cannot write README.md")?;
        eprintln!("README.md holds this table now");
    }
    Ok(())
}

/// The table as the `mainstem` binary prints it.
pub(crate) fn table(workspace: &Workspace) -> Result<String> {
    workspace.build(&["mainstem"], "debug")?;
    process::capture(Command::new(workspace.binary("mainstem", "debug")).arg("flow"))
}

/// The part of the README that the table owns, or `None` when the markers are missing or in the wrong order.
pub(crate) fn marked(readme: &str) -> Option<Range<usize>> {
    let start = readme.find(BEGIN)? + BEGIN.len();
    let length = readme[start..].find(END)?;
    Some(start..start + length)
}

fn replaced(readme: &str, table: &str) -> Result<String> {
    let marked = marked(readme).with_context(|| {
        format!("README.md has no `{BEGIN}` … `{END}`; write both where the table shall stand")
    })?;
    // Markdown reads a table only when a blank line parts it from the marker, which is HTML.
    Ok(format!("{}\n\n{}\n\n{}", &readme[..marked.start], table.trim(), &readme[marked.end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_marked_part_is_replaced() {
        let readme = format!("# Title\n{BEGIN}\nold\n{END}\nrest\n");
        let once = replaced(&readme, "| a |\n").unwrap();
        assert_eq!(once, format!("# Title\n{BEGIN}\n\n| a |\n\n{END}\nrest\n"));
        assert_eq!(replaced(&once, "| a |\n").unwrap(), once);
    }

    #[test]
    fn a_readme_without_markers_is_refused() {
        assert!(replaced("# Title\n", "| a |\n").is_err());
        assert!(replaced(&format!("{END}{BEGIN}"), "| a |\n").is_err());
    }
}
