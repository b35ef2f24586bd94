//! Crates that must not be compiled into anything here, however deep they hide.

use super::{Finding, line_of, read};
use crate::process;
use crate::workspace::Workspace;
use anyhow::Result;
use std::path::Path;

const BANNED: &[&str] = &["ring", "openssl-sys"];

/// Asks cargo for the graph rather than reading Cargo.lock, which also lists crates behind features that nobody turns on.
pub(super) fn check(workspace: &Workspace) -> Result<Vec<Finding>> {
    let mut tree = process::cargo();
    tree.args(["tree", "--quiet", "--workspace", "--target", "all", "--edges", "all"]);
    tree.args(["--prefix", "none", "--format", "{p}"]);
    let compiled = process::capture(tree.current_dir(&workspace.root))?;
    let lock = read(&workspace.root.join("Cargo.lock"))?;
    Ok(banned(&compiled, &lock))
}

/// `compiled` has one `name vX.Y.Z` per line.
fn banned(compiled: &str, lock: &str) -> Vec<Finding> {
    let present =
        |name: &&&str| compiled.lines().any(|line| line.split(' ').next() == Some(**name));
    let found = BANNED.iter().filter(present).map(|name| {
        let line = line_of(lock, &format!("name = \"{name}\""));
        let remedy = format!(
            "TLS is rustls with aws-lc-rs, and a second provider makes it panic; `cargo tree --target all -i {name}` \
             shows who brings it: choose that crate's features"
        );
        Finding::failure(Path::new("Cargo.lock"), line, format!("{name} is compiled in"), remedy)
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graph_without_banned_crates_passes() {
        assert!(banned("rustls v0.23.0\nstring v1.0.0\nopenssl-probe v0.2.0", "").is_empty());
    }

    #[test]
    fn a_banned_crate_is_shown_at_its_line_of_the_lock_file() {
        let found = banned("rustls v0.23.0\nring v0.17.0", "[[package]]\nname = \"ring\"\n");
        assert_eq!(found.len(), 1);
        assert!(found[0].to_string().starts_with("Cargo.lock:2: ring is compiled in – "));
    }
}
