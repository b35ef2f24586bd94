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
}

/// One declared dependency of any kind: normal, build or dev.
#[derive(Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
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

    /// Builds these binaries, with the features that the whole workspace has: with those of their own packages alone, half
    /// of it would be compiled a second time for the tests.
    pub(crate) fn build(&self, binaries: &[&str], profile: &str) -> Result<()> {
        let mut build = process::cargo();
        build.args(["build", "--workspace"]);
        build.args(binaries.iter().flat_map(|binary| ["--bin", *binary]));
        if profile == "release" {
            build.arg("--release");
        }
        process::run_on_stderr(build.current_dir(&self.root))
    }

    /// Where cargo puts a binary.
    pub(crate) fn binary(&self, name: &str, profile: &str) -> PathBuf {
        self.target_directory.join(profile).join(name)
    }

    /// A path as people write it: relative to the root.
    pub(crate) fn relative<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.root).unwrap_or(path)
    }
}
