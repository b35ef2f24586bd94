//! A proto file's folder is its package, so that either tells where the other is.

use super::{Finding, files, line_of, read};
use crate::workspace::Workspace;
use anyhow::Result;
use std::path::Path;

pub(super) fn check(workspace: &Workspace) -> Result<Vec<Finding>> {
    let protos = workspace.root.join("proto");
    let mut findings = Vec::new();
    for path in files(&protos.join("mainstem"), "proto")? {
        let inside = path.strip_prefix(&protos).unwrap_or(&path);
        findings.extend(check_file(workspace.relative(&path), inside, &read(&path)?));
    }
    Ok(findings)
}

/// `inside` is the path below `proto/`.
fn check_file(file: &Path, inside: &Path, text: &str) -> Option<Finding> {
    let folders: Vec<_> = inside.iter().map(|part| part.to_string_lossy()).collect();
    let [root, area, version, _name] = &folders[..] else {
        let what = "this is not in an area's version folder";
        return Some(Finding::failure(file, 1, what, "move it to proto/mainstem/<area>/v1/"));
    };
    let expected = format!("package {root}.{area}.{version};");
    if text.lines().any(|line| line.trim() == expected) {
        return None;
    }
    let what = "the package is not the folder";
    Some(Finding::failure(file, line_of(text, "package "), what, format!("write `{expected}`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(path: &str, text: &str) -> Option<String> {
        check_file(Path::new(path), Path::new(path), text).map(|finding| finding.to_string())
    }

    #[test]
    fn a_package_that_is_its_folder_passes() {
        let text = "syntax = \"proto3\";\npackage mainstem.routing.v1;\n";
        assert_eq!(finding("mainstem/routing/v1/case.proto", text), None);
    }

    #[test]
    fn a_package_of_another_folder_fails_at_its_line() {
        let text = "syntax = \"proto3\";\npackage mainstem.identity.v1;\n";
        assert_eq!(
            finding("mainstem/routing/v1/case.proto", text).unwrap(),
            "mainstem/routing/v1/case.proto:2: the package is not the folder – write `package mainstem.routing.v1;`"
        );
        assert!(finding("mainstem/case.proto", text).unwrap().contains("move it"));
    }
}
