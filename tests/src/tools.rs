//! Programs that some tests need and not every machine has: the `nats` command line, and Python
//! with a gRPC client. A test whose program is missing says so and is passed over.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The folder that holds the workspace.
#[must_use]
pub fn workspace() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_owned()
}

/// A variable of whoever runs the tests.
#[expect(clippy::disallowed_methods, reason = "a test is not configured by the configuration")]
#[must_use]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The `nats` command line: the one that `MAINSTEM_NATS_CLI` names, else the one that
/// `cargo xtask nats-cli` built.
#[must_use]
pub fn nats_cli() -> Option<PathBuf> {
    if let Some(named) = variable("MAINSTEM_NATS_CLI") {
        return Some(PathBuf::from(named));
    }
    let built = newest(&workspace().join("target/tools"), "natscli-").map(|of| of.join("nats"));
    if let Some(built) = built.filter(|built| built.is_file()) {
        return Some(built);
    }
    passed_over("there is no `nats` command line; run `cargo xtask nats-cli`")
}

/// A Python with grpcio and its reflection: the one that `MAINSTEM_PYTHON` names, else that of the
/// environment which `.ci/run` makes, else `python3`.
#[must_use]
pub fn python_with_grpc() -> Option<PathBuf> {
    let own = workspace().join("target/tools/python/bin/python");
    let candidates = [variable("MAINSTEM_PYTHON").map(PathBuf::from), Some(own)];
    let candidates = candidates.into_iter().flatten().chain([PathBuf::from("python3")]);
    for python in candidates {
        let mut import = Command::new(&python);
        import.args([
            "-c",
            "import grpc, grpc_reflection, grpc_health, google.rpc.error_details_pb2",
        ]);
        if runs(&mut import) {
            return Some(python);
        }
    }
    passed_over("no Python here has the packages of tests/python/requirements.txt")
}

/// Whether a program starts and ends well; what it prints is not shown.
pub fn runs(command: &mut Command) -> bool {
    let silent = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    silent.status().is_ok_and(|status| status.success())
}

/// Says that a test is passed over, and why.
#[must_use]
pub fn passed_over<T>(why: &str) -> Option<T> {
    eprintln!("passed over: {why}");
    None
}

fn newest(folder: &Path, prefix: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?;
    let named = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix))
    };
    entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).filter(named).max()
}
