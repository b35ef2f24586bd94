//! A whole deployment for a test: nats-server, provisioned, and services as processes of their
//! own. Everything ends with it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_nats::jetstream::{self, consumer};
use bytes::Bytes;
use futures::StreamExt as _;
use mainstem_bus::engine::kind;
use mainstem_bus::nats::{
    Bus, Configurations, Inbound, InboundMessage, Log, Login, Published, ServiceClient, provision,
};
use mainstem_bus::record::header;
use mainstem_bus::topology::OUTBOX;
use mainstem_bus::{Epoch, Position, Stored, TraceContext};
use mainstem_domain::configuration::Configuration;
use mainstem_domain::{At, Refusal, RefusalCode};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::nats_server::NatsServer;
use crate::users;

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// One caller for each role, named by it. The token is `token-<role>`.
pub const ROLES: [&str; 5] = ["store", "desk", "unit", "operator", "service"];

/// What no process may log at any level: who somebody is, what opens something, and whatever a test
/// plants, which has this word in it.
const NEVER_LOGGED: [&str; 11] = [
    "planted",
    "line:p1:",
    "password-of-",
    "token-service",
    "token-operator",
    "secret-1",
    "access-1",
    "whsec_",
    HANDLE_KEY,
    ERASURE_KEY,
    BINDING_KEY,
];
const HANDLE_KEY: &str = "a handle key of at least thirty-two bytes";
const ERASURE_KEY: &str = "an erasure key of at least thirty-two bytes";
const BINDING_KEY: &str = "a binding key of at least thirty-two bytes";

/// A provisioned nats-server and what services need to run on it.
///
/// Its processes log everything that they can; when it is dropped, their logs are searched for what
/// nobody may log.
pub struct Deployment {
    /// The server.
    pub server: NatsServer,
    /// A connection of the test's own.
    pub bus: Bus,
    folder: TempDir,
    binary: PathBuf,
    users: bool,
}

/// The account of the channel `line-2`: the one that the vendor's samples are addressed to.
pub const LINE_2: &str = "Uab012345678901234567890123456789";

/// The secret of the source `till-1`.
pub const TILL_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// One service as a process; killed when dropped.
pub struct Service {
    child: Child,
    log: PathBuf,
}

impl Service {
    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }

    /// Asks it to end, waits, and says whether it ended well.
    pub fn stop(&mut self) -> bool {
        self.signal(Signal::TERM);
        self.child.wait().is_ok_and(|status| status.success())
    }

    /// SIGSTOP.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    /// Waits until it ends by itself, and gives its log.
    pub async fn ended(&mut self) -> (bool, String) {
        let ended = eventually("the process ends", async || {
            self.child.try_wait().ok().flatten().map(|status| status.success())
        });
        (ended.await, self.log())
    }

    /// Where its gRPC server listens, once it says so.
    #[must_use]
    pub fn grpc(&self) -> Option<String> {
        let log = self.log();
        let (_, address) = log.split_once(" grpc=")?;
        address.split_whitespace().next().map(str::to_owned)
    }

    /// Where its HTTP server listens, once it says so.
    #[must_use]
    pub fn http(&self) -> Option<String> {
        let log = self.log();
        let (_, address) = log.split_once(" http=")?;
        address.split_whitespace().next().map(str::to_owned)
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn signal(&self, signal: Signal) {
        // An error means that it has ended by itself, and the test will see that.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.go_on();
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- {}\n{}", self.log.display(), self.log());
        }
    }
}

/// Tries until it gets something, for as long as [`PATIENCE`] lasts.
///
/// # Panics
/// When it never does; says what was waited for.
pub async fn eventually<T>(what: &str, attempt: impl AsyncFnMut() -> Option<T>) -> T {
    eventually_within(PATIENCE, what, attempt).await
}

/// The same for as long as this patience lasts, where things rest for longer than a minute.
///
/// # Panics
/// As [`eventually`] does.
pub async fn eventually_within<T>(
    patience: Duration,
    what: &str,
    mut attempt: impl AsyncFnMut() -> Option<T>,
) -> T {
    let tries = async {
        loop {
            if let Some(value) = attempt().await {
                return value;
            }
            // Not to synchronise: what is waited for is asked again until it is there.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let Ok(value) = tokio::time::timeout(patience, tries).await else {
        panic!("waited in vain for: {what}")
    };
    value
}

/// The records of a ledger that count, and how many do not. Copies of moved ones are neither: the
/// original was counted, or deleted.
#[must_use]
pub fn counted(messages: Vec<Stored>) -> (Vec<Stored>, usize) {
    let all = messages.len();
    let mut epoch = Epoch::default();
    let mut counted: Vec<_> = messages
        .into_iter()
        .filter(|message| {
            let record = &message.record;
            let carried = record.header(header::EPOCH).and_then(|text| text.parse().ok());
            epoch.admit(carried, record.kind() == kind::EPOCH)
        })
        .collect();
    let void = all - counted.len();
    counted.retain(|message| !message.record.is_moved());
    (counted, void)
}

impl Deployment {
    /// Starts a server and provisions it; `None` as in [`crate::nats_server::binary`]. `binary` is
    /// the test's `env!("CARGO_BIN_EXE_service")`.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn start(binary: &str) -> Option<Self> {
        Self::start_on(binary, false, "").await
    }

    /// The same on a server with the users of the topology: every process is its own user, and
    /// the test's connection is the admin's.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn start_with_users(binary: &str) -> Option<Self> {
        Self::start_on(binary, true, "").await
    }

    /// With users or without, and more of nats-server's configuration.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn start_on(binary: &str, users: bool, more: &str) -> Option<Self> {
        let folder = TempDir::new().expect("a temporary folder");
        let config = folder.path().join("nats.conf").display().to_string();
        users::write(Path::new(&config), users, more).expect("writes");
        let server = NatsServer::start_with(&["-c", &config])?;
        let bus = connect(&server, users).await;
        provision(&bus, 1).await.expect("provisions");
        std::fs::write(folder.path().join("callers.toml"), callers()).expect("writes");
        std::fs::write(folder.path().join("channels.toml"), channels()).expect("writes");
        Some(Self { server, bus, folder, binary: PathBuf::from(binary), users })
    }

    /// What a service is told.
    #[must_use]
    pub fn environment(&self) -> BTreeMap<String, String> {
        let file = |name: &str| self.folder.path().join(name).display().to_string();
        let any = "127.0.0.1:0".to_owned();
        [
            ("TELEMETRY__LOG_FILTER", "trace".to_owned()),
            ("NATS__URL", self.server.url()),
            ("CALLERS__FILE", file("callers.toml")),
            ("IDENTITY_MERGE__GRPC_LISTEN", any.clone()),
            ("ROUTING__GRPC_LISTEN", any.clone()),
            ("NOTIFICATION__GRPC_LISTEN", any.clone()),
            ("INGRESS__HTTP_LISTEN", any.clone()),
            ("INGRESS__GRPC_LISTEN", any),
            ("INGRESS__CHANNELS_FILE", file("channels.toml")),
            ("INGRESS__HANDLE_KEY", HANDLE_KEY.to_owned()),
            // Nobody listens there.
            ("INGRESS__LINE_API_URL", "http://127.0.0.1:9".to_owned()),
            ("INGRESS__LINE_DATA_URL", "http://127.0.0.1:9".to_owned()),
            ("ERASURE__KEY", ERASURE_KEY.to_owned()),
            ("ROUTING__BINDING_KEY", BINDING_KEY.to_owned()),
            ("ERASURE__TOKEN", "token-service".to_owned()),
            ("SENDER__CHANNELS_FILE", file("channels.toml")),
            ("SENDER__TOKEN", "token-service".to_owned()),
        ]
        .map(|(key, value)| (format!("MAINSTEM__{key}"), value))
        .into_iter()
        .chain(self.users.then(users::environment).into_iter().flatten())
        .collect()
    }

    /// Lets more callers in, each `(name, role, scope)` with the token `token-<name>`, and the scope as
    /// the callers file has it. For services that are started after that.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn let_in(&self, more: &[(&str, &str, &str)]) {
        let more = more.iter().map(|(name, role, scope)| caller(name, name, role, scope));
        let text = more.fold(callers(), |text, caller| text + &caller);
        std::fs::write(self.folder.path().join("callers.toml"), text).expect("writes");
    }

    /// Starts a service.
    #[must_use]
    pub fn service(&self, name: &str) -> Service {
        self.service_with(name, &[])
    }

    /// Starts a service with more configuration.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn service_with(&self, name: &str, more: &[(&str, &str)]) -> Service {
        let number = std::fs::read_dir(self.folder.path()).map_or(0, Iterator::count);
        let log = self.folder.path().join(format!("{name}-{number}.log"));
        let file = std::fs::File::create(&log).expect("a log file");
        let child = Command::new(&self.binary)
            .arg(name)
            .env_clear()
            .envs(self.environment())
            .envs(more.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .expect("starts");
        Service { child, log }
    }

    /// The folder of callers, channels and logs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A client that calls as this role.
    #[must_use]
    pub fn client(&self, role: &str) -> ServiceClient {
        ServiceClient::new(self.bus.clone(), &format!("token-{role}"))
    }

    /// Calls a method, again as long as nobody can take it.
    ///
    /// # Errors
    /// The refusal.
    pub async fn call(
        &self,
        role: &str,
        service: &str,
        endpoint: &str,
        body: Value,
    ) -> Result<Value, Refusal> {
        let client = self.client(role);
        let body = Bytes::from(body.to_string());
        eventually("an answer", async || {
            let trace = TraceContext::root("test");
            match client.call(service, endpoint, body.clone(), &trace).await {
                Err(refusal) if refusal.code == RefusalCode::Unavailable => None,
                Ok(answer) => Some(Ok(serde_json::from_slice(&answer).unwrap_or(Value::Null))),
                Err(refusal) => Some(Err(refusal)),
            }
        })
        .await
    }

    /// Applies a configuration at these services.
    ///
    /// # Panics
    /// When one refuses it.
    pub async fn apply(&self, configuration: &Configuration, services: &[&str]) {
        let store = Configurations::open(&self.bus).await.expect("the bucket");
        let digest = store.put(configuration).await.expect("is stored");
        for service in services {
            let body = json!({ "digest": digest });
            let applied = self.call("operator", service, "apply-configuration", body).await;
            applied.expect("is applied");
        }
    }

    /// Publishes a channel event as ingress does, until it is stored.
    pub async fn publish(&self, event: &Event) -> Published {
        let inbound = Inbound::new(self.bus.clone());
        eventually("an event is stored", async || inbound.publish(event.message()).await.ok()).await
    }

    /// What a sender had in hand when it was killed comes back after a minute. A test has no
    /// minute: 5 s are enough for those that hold something now. Less, and what LINE takes 3 s for is
    /// handed out again and again meanwhile; and the more often an item was, the longer it rests when
    /// it fails.
    ///
    /// # Panics
    /// When the broker does not take it.
    pub async fn hand_out_again_soon(&self) {
        let options = async_nats::ConnectOptions::new()
            .user_and_password(users::TEST.to_owned(), users::password(users::TEST));
        let client = options.connect(self.server.url()).await.expect("connects");
        let jetstream = jetstream::new(client);
        // A broker that has much to do may not answer at once.
        eventually("every consumer of OUTBOX is changed", async || {
            let outbox = jetstream.get_stream(OUTBOX).await.ok()?;
            let mut names = outbox.consumer_names();
            while let Some(name) = names.next().await {
                let consumer = outbox.get_consumer::<consumer::pull::Config>(&name.ok()?).await;
                let mut config = consumer.ok()?.cached_info().config.clone();
                config.ack_wait = Duration::from_secs(5);
                outbox.update_consumer(config).await.ok()?;
            }
            Some(())
        })
        .await;
    }

    /// A connection of the admin's that knows nothing of Mainstem.
    ///
    /// # Panics
    /// When the server does not answer.
    pub async fn admin(&self) -> async_nats::Client {
        let mut options = async_nats::ConnectOptions::new();
        if self.users {
            let (user, password) = (users::TEST.to_owned(), users::password(users::TEST));
            options = options.user_and_password(user, password);
        }
        options.connect(self.server.url()).await.expect("connects")
    }

    /// Everything that a stream holds now.
    ///
    /// # Panics
    /// When it cannot be read.
    pub async fn read(&self, stream: &'static str) -> Vec<Stored> {
        let mut log = Log::open(&self.bus, stream, Position::default()).await.expect("opens");
        let (_, present) = log.end().await.expect("ends");
        let mut messages: Vec<Stored> = Vec::new();
        while messages.last().map_or(0, |last| last.sequence) < present {
            messages.push(log.next().await.expect("reads"));
        }
        messages
    }

    /// How many messages a stream holds for each subject that matches, without reading them.
    ///
    /// # Panics
    /// When the server does not answer.
    pub async fn subjects(&self, stream: &str, filter: &str) -> BTreeMap<String, usize> {
        let client = self.admin().await;
        let stream = jetstream::new(client).get_stream(stream).await.expect("is there");
        let mut subjects = stream.info_with_subjects(filter).await.expect("is told");
        let mut found = BTreeMap::new();
        while let Some(subject) = subjects.next().await {
            let (subject, times) = subject.expect("is told");
            found.insert(subject, times);
        }
        found
    }

    /// How many messages a stream holds.
    ///
    /// # Panics
    /// When there is no such stream.
    pub async fn count(&self, stream: &str) -> usize {
        let client = self.admin().await;
        let stream = jetstream::new(client).get_stream(stream).await.expect("is there");
        usize::try_from(stream.cached_info().state.messages).expect("a number")
    }

    /// Deletes all snapshots of a service: whoever starts next folds the log alone.
    ///
    /// # Panics
    /// When the server does not answer.
    pub async fn forget_snapshots(&self, service: &str) {
        let client = self.admin().await;
        let bucket =
            mainstem_bus::topology::bucket_stream(&mainstem_bus::topology::snapshots(service));
        let stream = jetstream::new(client).get_stream(bucket).await.expect("is there");
        stream.purge().await.expect("is purged");
    }

    /// Waits until a service has taken everything that an upstream holds, and stored what came of
    /// it.
    pub async fn caught_up(&self, service: &str, upstream: &'static str) {
        eventually(&format!("{service} has read {upstream}"), async || {
            let mut log = Log::open(&self.bus, upstream, Position::default()).await.ok()?;
            let (last, _) = log.end().await.ok()?;
            // A read is answered after everything that it saw is stored.
            let status = self.call("operator", service, "get-status", json!({})).await.ok()?;
            let read = status["positions"].as_array()?.iter().find_map(|position| {
                (position["stream"] == upstream).then(|| position["sequence"].as_str())?
            });
            let read: u64 = read.unwrap_or("0").parse().ok()?;
            (status["writer"] == true && read >= last).then_some(())
        })
        .await;
    }

    /// A new connection, after the server was started again on its old port.
    pub async fn reconnect(&mut self) {
        self.bus = connect(&self.server, self.users).await;
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let files = std::fs::read_dir(self.folder.path()).into_iter().flatten().flatten();
        let logs = files.map(|file| file.path());
        for log in logs.filter(|path| path.extension().is_some_and(|end| end == "log")) {
            let text =
                String::from_utf8_lossy(&std::fs::read(&log).unwrap_or_default()).into_owned();
            for line in text.lines() {
                let told = NEVER_LOGGED.iter().find(|never| line.contains(**never));
                assert!(told.is_none(), "{told:?} stands in {}: {line}", log.display());
            }
        }
    }
}

async fn connect(server: &NatsServer, users: bool) -> Bus {
    let mut login = Login { url: server.url(), name: "test".to_owned(), ..Login::default() };
    if users {
        (login.user, login.password) = (users::TEST.to_owned(), users::password(users::TEST));
    }
    eventually("a connection", async || Bus::connect(&login).await.ok()).await
}

fn callers() -> String {
    ROLES.map(|role| caller(&format!("{role}/test"), role, role, "all = true")).concat()
}

fn caller(name: &str, token: &str, role: &str, scope: &str) -> String {
    let digest = mainstem_bus::sha256_hex(format!("token-{token}").as_bytes());
    format!(
        "[[caller]]\nname = \"{name}\"\nrole = \"{role}\"\ntoken_sha256 = \"{digest}\"\n\
         scope = {{ {scope} }}\n\n"
    )
}

fn channels() -> String {
    let account = |number: u8, destination: &str| {
        format!(
            "[channels.line-{number}]\nprovider = \"p1\"\ndestination = \"{destination}\"\n\
             secret = \"secret-{number}\"\naccess_token = \"access-{number}\"\n"
        )
    };
    [
        account(1, &format!("U{}", "1".repeat(32))),
        account(2, LINE_2),
        format!("[sources.till-1]\nsecret = \"{TILL_SECRET}\"\n"),
    ]
    .concat()
}

/// A small configuration: one channel, one queue, a repair menu.
///
/// # Panics
/// Never.
#[must_use]
pub fn configuration() -> Configuration {
    serde_json::from_value(json!({
        "brands": {"aurora": {"name": "Aurora"}},
        "stores": {"taipei-1": {"name": "Taipei 1"}},
        "channels": {"line-1": {"brand": "aurora", "store": "taipei-1"}},
        "queues": {"repair": {"name": "Repair"}},
        "rules": [
            {"name": "menu-repair", "when": "event.menu == 'repair'", "open": {"queue": "repair", "priority": "P2"}, "reply": "opened"},
        ],
        // A test says the same at every time of the day.
        "notification": {"quiet_hours": null},
        "templates": {
            "opened": {"house": "Case {case} is open."},
            "case-resolved": {"house": "Case {case} is done."}
        }
    }))
    .expect("is a configuration")
}

/// A channel event of a person.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its id.
    pub id: String,
    /// Who.
    pub user: String,
    /// Where.
    pub channel: String,
    /// Postback data.
    pub postback: String,
    /// Its trace.
    pub trace: TraceContext,
}

impl Event {
    /// A tap on the repair menu.
    #[must_use]
    pub fn repair(id: &str, user: &str) -> Self {
        Self {
            id: id.to_owned(),
            user: user.to_owned(),
            channel: "line-1".to_owned(),
            postback: "menu=repair".to_owned(),
            trace: TraceContext::root(id),
        }
    }

    fn message(&self) -> InboundMessage {
        let now = "2026-11-21T09:00:00.000Z";
        let body = json!({
            "id": self.id,
            "channel": self.channel,
            "store": "taipei-1",
            "brand": "aurora",
            "postback": self.postback,
            "identifiers": [{"identifier": format!("line:p1:{}", self.user), "verified": true}],
            "occurTime": now,
            "receiveTime": now,
            "replyToken": format!("reply-{}", self.id),
            "raw": {"type": "postback"},
        });
        InboundMessage {
            kind: "mainstem.channel.line.postback.v1".to_owned(),
            id: self.id.parse().expect("an event id"),
            channel: self.channel.parse().expect("a channel"),
            handle: format!("h{}", self.user),
            store: "taipei-1".parse().ok(),
            brand: "aurora".parse().ok(),
            occurred_at: At::parse(now).expect("a time"),
            media: None,
            trace: self.trace,
            body: body.to_string().into(),
        }
    }
}
