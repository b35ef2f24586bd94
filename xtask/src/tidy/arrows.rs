//! Which crate may depend on which. The tables say it once; a new crate needs a line here.

use super::{Finding, line_of, read};
use crate::workspace::{Package, Workspace};
use anyhow::Result;
use std::path::Path;

enum Allowed {
    /// Only these crates of the workspace, by their names without `mainstem-`.
    Only(&'static [&'static str]),
    /// Everything but these: for crates at the top, that nobody depends on.
    AllBut(&'static [&'static str]),
}

/// Services never depend on each other: what one needs from another it reads from its stream or asks its API.
const SERVICE: Allowed =
    Allowed::Only(&["domain", "proto", "bus", "runtime", "line", "line-client"]);

const ARROWS: &[(&str, Allowed)] = &[
    ("bus", Allowed::Only(&["domain", "proto"])),
    ("cli", Allowed::AllBut(&["tests", "xtask"])),
    ("domain", Allowed::Only(&[])),
    ("identity-merge", SERVICE),
    ("ingress", SERVICE),
    ("line", Allowed::Only(&["domain"])),
    ("line-client", Allowed::Only(&["domain", "line"])),
    ("line-sandbox", Allowed::Only(&["domain", "line", "runtime"])),
    ("notification", SERVICE),
    ("proto", Allowed::Only(&["domain"])),
    ("routing", SERVICE),
    ("runtime", Allowed::Only(&["domain", "proto", "bus"])),
    ("sender", SERVICE),
    ("tests", Allowed::AllBut(&[])),
    ("xtask", Allowed::Only(&[])),
];

/// Crates from outside that only some of ours may name.
const RESERVED: &[(&str, &[&str])] = &[("async-nats", &["bus", "tests"])];

/// Crates from outside that do I/O, which the domain never does.
const NOT_IN_DOMAIN: &[&str] = &["tokio", "async-nats", "tonic", "axum", "reqwest"];

const THIS_FILE: &str = "xtask/src/tidy/arrows.rs";

pub(super) fn check(workspace: &Workspace) -> Result<Vec<Finding>> {
    let crates: Vec<&str> = workspace.packages.iter().map(|package| short(&package.name)).collect();
    let mut findings = Vec::new();
    for package in &workspace.packages {
        let manifest = read(&package.manifest_path)?;
        let file = workspace.relative(&package.manifest_path);
        findings.extend(check_package(package, file, &manifest, &crates));
    }
    Ok(findings)
}

fn check_package(package: &Package, file: &Path, manifest: &str, crates: &[&str]) -> Vec<Finding> {
    let name = short(&package.name);
    let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| *known == name) else {
        let what = format!("{name} is a new crate");
        let remedy = format!("add a line for it to ARROWS in {THIS_FILE}");
        return vec![Finding::failure(file, 1, what, remedy)];
    };
    let forbidden = package.dependencies.iter().filter_map(|dependency| {
        let remedy = refusal(name, allowed, short(&dependency.name), crates)?;
        let what = format!("{name} depends on {}", dependency.name);
        Some(Finding::failure(file, line_of(manifest, &dependency.name), what, remedy))
    });
    forbidden.collect()
}

/// What to do instead, when `name` must not depend on `dependency`.
fn refusal(name: &str, allowed: &Allowed, dependency: &str, crates: &[&str]) -> Option<String> {
    if crates.contains(&dependency) {
        let (fits, rule) = match allowed {
            Allowed::Only([]) => (false, "no crate of the workspace".to_owned()),
            Allowed::Only(names) => {
                (names.contains(&dependency), format!("only {}", names.join(", ")))
            }
            Allowed::AllBut(names) => {
                (!names.contains(&dependency), format!("all but {}", names.join(", ")))
            }
        };
        return (!fits)
            .then(|| format!("it may use {rule}; move the shared piece down to one of those"));
    }
    if name == "domain" && NOT_IN_DOMAIN.contains(&dependency) {
        return Some("the domain does no I/O; take what is needed as an argument".to_owned());
    }
    let (_, holders) = RESERVED.iter().find(|(reserved, _)| *reserved == dependency)?;
    (!holders.contains(&name))
        .then(|| format!("only {} may name it; use what they offer", holders.join(", ")))
}

fn short(package: &str) -> &str {
    package.strip_prefix("mainstem-").unwrap_or(package)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CRATES: &[&str] = &["bus", "cli", "domain", "routing", "sender", "tests", "xtask"];

    fn findings(name: &str, dependencies: &[&str]) -> Vec<String> {
        let package = serde_json::json!({
            "name": name,
            "manifest_path": "Cargo.toml",
            "dependencies": dependencies.iter().map(|name| serde_json::json!({"name": name})).collect::<Vec<_>>(),
        });
        let package = serde_json::from_value(package).unwrap();
        let manifest = "[dependencies]\nmainstem-sender.workspace = true\n";
        let findings = check_package(&package, Path::new("Cargo.toml"), manifest, CRATES);
        findings.iter().map(Finding::to_string).collect()
    }

    #[test]
    fn arrows_of_the_design_pass() {
        assert!(
            findings("mainstem-routing", &["mainstem-bus", "mainstem-domain", "tokio"]).is_empty()
        );
        assert!(findings("mainstem-cli", &["mainstem-sender"]).is_empty());
        assert!(findings("mainstem-tests", &["mainstem-cli", "async-nats"]).is_empty());
    }

    #[test]
    fn a_service_that_depends_on_another_fails_at_its_line() {
        assert_eq!(
            findings("mainstem-routing", &["mainstem-sender"]),
            [
                "Cargo.toml:2: routing depends on mainstem-sender – it may use only domain, proto, bus, runtime, line, line-client; \
              move the shared piece down to one of those"
            ]
        );
        assert_eq!(findings("mainstem-cli", &["mainstem-tests"]).len(), 1);
        assert_eq!(findings("xtask", &["mainstem-bus"]).len(), 1);
    }

    #[test]
    fn outside_crates_that_are_reserved_fail() {
        assert!(findings("mainstem-bus", &["async-nats"]).is_empty());
        assert_eq!(findings("mainstem-routing", &["async-nats"]).len(), 1);
        assert_eq!(findings("mainstem-domain", &["tokio"]).len(), 1);
    }

    #[test]
    fn an_unknown_crate_asks_for_a_line_in_the_table() {
        let found = findings("mainstem-surprise", &[]);
        assert!(found[0].contains("add a line"), "{found:?}");
    }
}
