//! What `cargo metadata` knows about this workspace.

use crate::process;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
pub(crate) struct Workspace {
    #[serde(rename = "workspace_root")]
    pub(crate) root: PathBuf,
    target_directory: PathBuf,
    pub(crate) packages: Vec<Package>,
}

#[derive(Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) manifest_path: PathBuf,
    pub(crate) dependencies: Vec<Dependency>,
    targets: Vec<Target>,
}

/// One declared dependency of any kind: normal, build or dev.
#[derive(Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

impl Workspace {
    pub(crate) fn load() -> Result<Self> {
        let mut metadata = process::cargo();
        metadata.args(["metadata", "--no-deps", "--format-version", "1"]);
        serde_json::from_str(&process::capture(&mut metadata)?)
            .context("`cargo metadata` printed something unexpected")
    }

    /// Programs that this workspace fetched for itself; `cargo clean` removes them.
    pub(crate) fn tools(&self) -> PathBuf {
        self.target_directory.join("tools")
    }

    /// Where cargo puts the binary of this name.
    pub(crate) fn binary_named(&self, name: &str, profile: &str) -> PathBuf {
        self.target_directory.join(profile).join(name)
    }

    /// Where cargo puts the binary of a package that has exactly one.
    pub(crate) fn binary(&self, package: &str, profile: &str) -> Result<PathBuf> {
        let target = self
            .packages
            .iter()
            .filter(|candidate| candidate.name == package)
            .flat_map(|package| &package.targets)
            .find(|target| target.kind.iter().any(|kind| kind == "bin"))
            .with_context(|| {
                format!("package {package} has no binary; add a `[[bin]]` to its Cargo.toml")
            })?;
        Ok(self.binary_named(&target.name, profile))
    }

    /// A path as people write it: relative to the root.
    pub(crate) fn relative<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.root).unwrap_or(path)
    }
}
