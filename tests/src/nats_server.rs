//! A real nats-server for a test: its own folder, a free port, gone when the test ends.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use mainstem_bus::topology::NATS_SERVER_VERSION;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How many lines of the server's log a failure shows.
const LOG_LINES: usize = 40;

/// A running nats-server with JetStream. Killed when dropped.
#[derive(Debug)]
pub struct NatsServer {
    binary: PathBuf,
    extra: Vec<String>,
    folder: TempDir,
    port: Option<u16>,
    process: Option<Child>,
}

/// The server to test with: the one that `MAINSTEM_NATS_SERVER` names, else the one that
/// `cargo xtask test` fetched. When there is none, says why and gives nothing, so that the test
/// can pass over it.
///
/// # Panics
/// When there is none and `CI` is set: there a test that was passed over would go unseen.
#[must_use]
pub fn binary() -> Option<PathBuf> {
    if let Some(named) = variable("MAINSTEM_NATS_SERVER") {
        return Some(PathBuf::from(named));
    }
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(format!("../target/tools/nats-server-{NATS_SERVER_VERSION}/nats-server"));
    if fetched.is_file() {
        return Some(fetched);
    }
    let remedy = "run `cargo xtask test`, which fetches it, or name one by MAINSTEM_NATS_SERVER";
    assert!(variable("CI").is_none(), "there is no nats-server {NATS_SERVER_VERSION}: {remedy}");
    eprintln!("passed over: there is no nats-server {NATS_SERVER_VERSION}; {remedy}");
    None
}

#[expect(clippy::disallowed_methods, reason = "a test is not configured by the configuration")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

impl NatsServer {
    /// Starts one with an empty store; `None` as in [`binary`].
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// Starts one with more arguments, e.g. `-c <file>`.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start_with(extra: &[&str]) -> Option<Self> {
        let mut server = Self {
            binary: binary()?,
            extra: extra.iter().map(ToString::to_string).collect(),
            folder: TempDir::new().expect("a temporary folder"),
            port: None,
            process: None,
        };
        server.run();
        Some(server)
    }

    /// Where clients connect; stays the same across restarts.
    ///
    /// # Panics
    /// Never: a server that was started has a port.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port.expect("it was started"))
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// The folder of its store.
    #[must_use]
    pub fn store(&self) -> &Path {
        self.folder.path()
    }

    /// `kill -9`: nothing is flushed, nobody is told.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.wait();
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        self.wait();
    }

    /// Starts it again after [`kill`](Self::kill) or [`stop`](Self::stop), on the same store and
    /// port.
    ///
    /// # Panics
    /// When it still runs, or does not start.
    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "end it first");
        self.run();
    }

    /// SIGSTOP: it keeps its connections and does nothing.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT, after [`pause`](Self::pause).
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn run(&mut self) {
        let port = self.port.map_or_else(|| "-1".to_owned(), |port| port.to_string());
        let mut process = Command::new(&self.binary)
            .args(["-a", "127.0.0.1", "-p", &port, "-js", "-sd"])
            .arg(self.folder.path())
            .args(&self.extra)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", self.binary.display()));
        let log = process.stderr.take().expect("its log is piped");
        self.process = Some(process);
        self.port = Some(ready(log));
    }

    fn signal(&self, signal: Signal) {
        if let Some(process) = &self.process {
            // An error means that it has ended by itself, and the test will see that.
            let _ = kill_process(Pid::from_child(process), signal);
        }
    }

    fn wait(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.wait();
        }
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        // A paused process takes no other signal.
        self.kill();
    }
}

/// Reads the log until the server takes clients, and gives its port. Goes on reading until the
/// server ends, so that it never waits for somebody to read.
fn ready(log: impl io::Read + Send + 'static) -> u16 {
    let lines = Arc::new(Mutex::new(VecDeque::new()));
    let (tell, told) = std::sync::mpsc::channel();
    let seen = Arc::clone(&lines);
    std::thread::spawn(move || {
        let mut port = None;
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            if let Some((_, address)) = line.split_once("client connections on ") {
                port = address.rsplit(':').next().and_then(|port| port.trim().parse().ok());
            }
            if line.contains("Server is ready")
                && let Some(port) = port
            {
                let _ = tell.send(port);
            }
            let mut lines = seen.lock().unwrap_or_else(PoisonError::into_inner);
            lines.push_back(line);
            if lines.len() > LOG_LINES {
                lines.pop_front();
            }
        }
    });
    told.recv().unwrap_or_else(|_| {
        let lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        panic!("nats-server ended before it was ready:\n{}", lines.join("\n"))
    })
}
