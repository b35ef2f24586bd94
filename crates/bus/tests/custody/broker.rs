//! A real nats-server with the users of a deployment, and a way to it that breaks where it is told.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mainstem_bus::nats::{Bus, Login};
use mainstem_bus::permissions::{self, password_variable};
use mainstem_bus::topology::NATS_SERVER_VERSION;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Killed when dropped.
pub(crate) struct Broker {
    folder: TempDir,
    process: Child,
    pub(crate) port: u16,
}

#[expect(clippy::disallowed_methods, reason = "a test is not configured by the configuration")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn binary() -> Option<PathBuf> {
    if let Some(named) = variable("MAINSTEM_NATS_SERVER") {
        return Some(named.into());
    }
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(format!("../../target/tools/nats-server-{NATS_SERVER_VERSION}/nats-server"));
    if fetched.is_file() {
        return Some(fetched);
    }
    assert!(variable("CI").is_none(), "there is no nats-server; run cargo xtask test");
    eprintln!("passed over: there is no nats-server; run `cargo xtask test`, which fetches it");
    None
}

impl Broker {
    /// `None` when there is no server to test with.
    pub(crate) fn start() -> Option<Self> {
        let binary = binary()?;
        let folder = TempDir::new().unwrap();
        let config = folder.path().join("nats.conf");
        std::fs::write(&config, permissions::server_users()).unwrap();
        let mut command = Command::new(binary);
        for user in permissions::users() {
            command.env(password_variable(user.name), password(user.name));
        }
        let mut process = command
            .args(["-a", "127.0.0.1", "-p", "-1", "-js", "-sd"])
            .arg(folder.path().join("store"))
            .arg("-c")
            .arg(config)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut port = None;
        for line in log.by_ref().map_while(Result::ok) {
            if let Some((_, address)) = line.split_once("client connections on ") {
                port = address.rsplit(':').next().and_then(|port| port.trim().parse().ok());
            }
            if line.contains("Server is ready") {
                break;
            }
        }
        std::thread::spawn(move || log.map_while(Result::ok).for_each(drop));
        Some(Self { folder, process, port: port.unwrap() })
    }

    pub(crate) async fn connect(&self, user: &str) -> Bus {
        connect(self.port, user).await
    }

    /// As a client that knows nothing of Mainstem.
    pub(crate) async fn raw(&self) -> async_nats::jetstream::Context {
        let options = async_nats::ConnectOptions::with_user_and_password(
            "admin".to_owned(),
            password("admin"),
        );
        let address = format!("127.0.0.1:{}", self.port);
        async_nats::jetstream::new(options.connect(address).await.unwrap())
    }

    /// How often these bytes stand in the files of one stream, or of all.
    pub(crate) fn readable(&self, stream: &str, text: &[u8]) -> usize {
        let mut folders = vec![self.folder.path().join("store")];
        let mut found = 0;
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.to_string_lossy().contains(&format!("/streams/{stream}"))
                    && let Ok(bytes) = std::fs::read(&path)
                {
                    found += bytes.windows(text.len()).filter(|window| *window == text).count();
                }
            }
        }
        found
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn password(user: &str) -> String {
    format!("password-of-{user}")
}

pub(crate) async fn connect(port: u16, user: &str) -> Bus {
    let login = Login {
        url: format!("nats://127.0.0.1:{port}"),
        user: user.to_owned(),
        password: password(user),
        tls_ca: None,
        name: "test".to_owned(),
    };
    Bus::connect(&login).await.unwrap()
}

/// What a job tells the broker to change.
const STEPS: [&[u8]; 4] =
    [b"STREAM.MSG.DELETE", b"ce-movedfrom", b".custody ", b"PUB $O.SNAPSHOTS"];

/// A way to the broker that ends with the step of this number: it still arrives, its answer does
/// not come back, and nothing comes after it.
pub(crate) struct Way {
    pub(crate) port: u16,
    pub(crate) broken: CancellationToken,
    _tasks: JoinSet<()>,
}

pub(crate) async fn way(to: &Broker, until: usize) -> Way {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let broken = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let (ended, server_port) = (broken.clone(), to.port);
    tasks.spawn(async move {
        let steps = Arc::new(AtomicUsize::new(0));
        let mut ways = JoinSet::new();
        while let Ok((client, _)) = listener.accept().await {
            if ended.is_cancelled() {
                return;
            }
            let server = TcpStream::connect(("127.0.0.1", server_port)).await.unwrap();
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            ways.spawn(there(from_client, to_server, ended.clone(), Arc::clone(&steps), until));
            ways.spawn(back(from_server, to_client, ended.clone()));
        }
    });
    Way { port, broken, _tasks: tasks }
}

async fn there(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    ended: CancellationToken,
    steps: Arc<AtomicUsize>,
    until: usize,
) {
    let mut buffer = vec![0; 1 << 20];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let count = |step: &[u8]| buffer[..read].windows(step.len()).filter(|w| *w == step).count();
        let seen: usize = STEPS.iter().map(|step| count(step)).sum();
        let before = steps.fetch_add(seen, Ordering::SeqCst);
        if before < until && before + seen >= until {
            ended.cancel();
        }
        if to.write_all(&buffer[..read]).await.is_err() || ended.is_cancelled() {
            return;
        }
    }
}

async fn back(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, ended: CancellationToken) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        tokio::select! {
            () = ended.cancelled() => return,
            read = from.read(&mut buffer) => {
                let Ok(read @ 1..) = read else { return };
                if to.write_all(&buffer[..read]).await.is_err() {
                    return;
                }
            }
        }
    }
}
