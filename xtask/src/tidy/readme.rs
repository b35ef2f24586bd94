//! The README's flow table is the one that the topology declares.

use super::{Finding, line_of, read};
use crate::flow;
use crate::workspace::Workspace;
use anyhow::Result;
use std::path::Path;

pub(super) fn check(workspace: &Workspace) -> Result<Option<Finding>> {
    let path = workspace.root.join("README.md");
    let readme = if path.exists() { read(&path)? } else { String::new() };
    Ok(compare(&readme, || flow::table(workspace)))
}

/// Asks for the table, which takes a build, only when the README has a place for it.
fn compare(readme: &str, table: impl FnOnce() -> Result<String>) -> Option<Finding> {
    let failure = |line, what: &str, remedy: &str| {
        Some(Finding::failure(Path::new("README.md"), line, what, remedy))
    };
    let Some(marked) = flow::marked(readme) else {
        let remedy = format!(
            "write `{}` and `{}` where it shall stand, then run `cargo xtask flow --write`",
            flow::BEGIN,
            flow::END
        );
        return failure(1, "there is no place for the flow table", &remedy);
    };
    let line = line_of(readme, flow::BEGIN);
    match table() {
        Ok(table) if table.trim().is_empty() => {
            failure(line, "`mainstem flow` printed nothing", "repair that command first")
        }
        Ok(table) if readme[marked].trim() == table.trim() => None,
        Ok(_) => {
            let what = "the flow table is not the one that the topology declares";
            failure(line, what, "run `cargo xtask flow --write`")
        }
        Err(error) => {
            let what = format!("the flow table cannot be checked: {error:#}");
            failure(line, &what, "repair that command first")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const README: &str = "# Title\n<!-- flow:begin -->\n\n| a |\n\n<!-- flow:end -->\n";

    #[test]
    fn the_same_table_passes() {
        assert_eq!(compare(README, || Ok("| a |\n".to_owned())), None);
    }

    #[test]
    fn another_table_no_table_and_no_markers_fail() {
        let stale = compare(README, || Ok("| b |\n".to_owned())).unwrap();
        assert_eq!(stale.line, 2);
        assert!(stale.remedy.contains("--write"));
        assert!(compare(README, || Ok(String::new())).is_some());
        assert!(compare(README, || anyhow::bail!("it does not build")).is_some());
        let unmarked = compare("# Title\n", || panic!("the table is not needed")).unwrap();
        assert!(unmarked.remedy.contains("flow:begin"));
    }
}
