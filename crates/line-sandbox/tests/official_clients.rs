//! What others wrote against LINE judges the stand-in: the official clients for Python and Node drive
//! it, and read what its webhook sender sends. `cargo xtask line-clients` installs them; without them
//! the tests say so and are passed over.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use mainstem_domain::{At, ChannelId};
use mainstem_line::Channels;
use mainstem_line_sandbox::{Act, ActRequest, Faults, PlayRequest, Sandbox, Settings, run};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdout, Command};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const USER: &str = "U00000000000000000000000000000001";
const DESTINATION: &str = "U8e742f61d673b39c7fff3cecb7536ef0";
const SECRET: &str = "8c570fa6dd201bb328f1c1eac23a96d8";
const REPLY_TOKEN: &str = "0f3779fba3b349968c5d07db31eab56f";
const PICTURE: &[u8] = b"\x89PNG no more than that";

/// The folder that holds both clients.
#[expect(clippy::disallowed_methods, reason = "a test is not configured by the configuration")]
fn clients() -> Option<PathBuf> {
    let named = std::env::var("MAINSTEM_LINE_CLIENTS").ok().filter(|value| !value.is_empty());
    let tools = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/tools");
    let is_installed = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("line-clients-") && !name.contains("draft")
    };
    let installed = || {
        let entries = std::fs::read_dir(tools).ok()?;
        entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).filter(is_installed).max()
    };
    let folder = named.map(PathBuf::from).or_else(installed);
    if folder.is_none() {
        eprintln!("passed over: LINE's own clients are not here; run `cargo xtask line-clients`");
    }
    folder
}

/// A program that was told where the stand-in is, and said where it listens.
struct Driver {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Driver {
    fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    async fn says(&mut self) -> Value {
        let line = self.lines.next_line().await.unwrap().expect("the client ended early");
        serde_json::from_str(&line).unwrap()
    }

    /// What came until now.
    async fn so_far(&mut self) -> Value {
        self.child.stdin.as_mut().unwrap().write_all(b"\n").await.unwrap();
        self.says().await
    }

    /// Nothing more happens: what came of it all.
    async fn end(mut self) -> Value {
        drop(self.child.stdin.take());
        let said = self.says().await;
        assert!(self.child.wait().await.unwrap().success());
        said
    }
}

async fn judge(command: impl FnOnce(&str) -> Command) {
    let channels = format!(
        "[channels.line-07]\nprovider = \"p1\"\ndestination = \"{DESTINATION}\"\n\
         channel_id = \"1654321\"\nsecret = \"{SECRET}\"\naccess_token = \"long-lived\"\n"
    );
    let now = Arc::new(|| At::parse("2026-11-21T09:00:00Z").unwrap());
    let channels = Channels::parse(&channels).unwrap();
    let sandbox = Arc::new(Sandbox::new(channels, Faults::default(), now).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    tasks.spawn(run(Arc::clone(&sandbox), listener, stop.clone()));

    let channel: ChannelId = "line-07".parse().unwrap();
    {
        let mut platform = sandbox.platform();
        let settings = platform.settings(&channel).unwrap().clone();
        platform.change(&channel, Settings { quota: Some(500), ..settings });
        platform.befriend(&channel, USER, true);
        platform.issue_reply_token(REPLY_TOKEN, &channel, USER, sandbox.now());
    }
    let act = Act::Send { media_type: "image/png".to_owned(), data: base64(PICTURE), name: None };
    let acted = sandbox.act(ActRequest { channel, user: USER.to_owned(), act }).await.unwrap();

    let wanted = json!({"base": base, "channel": "1654321", "secret": SECRET, "user": USER,
        "reply_token": REPLY_TOKEN, "message": acted.message});
    let mut driver = Driver::start(command(&wanted.to_string()));
    let webhooks = driver.says().await["webhooks"].as_str().unwrap().to_owned();
    let play = async |events: u64, strange: u8| {
        let day: PlayRequest = serde_json::from_value(json!({
            "webhook_base": webhooks, "seed": strange, "events": events, "users": 40,
            "redeliver_percent": 10, "strange_percent": strange, "reorder_percent": strange,
        }))
        .unwrap();
        let played = sandbox.play(&day).await.unwrap();
        assert_eq!((played.events_delivered, played.failed), (events, 0));
        played.sent
    };
    let mut posts = play(300, 0).await;
    let plain = driver.so_far().await;
    assert_eq!((&plain["posts"], &plain["unreadable"]), (&json!(posts), &json!(0)));
    // Every kind of event that LINE names, values that it does not, and every way of writing them: a
    // client may not know them all, but the signature is right over the bytes.
    posts += play(2_000, 20).await;
    let said = driver.end().await;
    assert_eq!((&said["posts"], &said["unsigned"]), (&json!(posts), &json!(0)));
    assert!(said["redelivered"].as_u64().unwrap() > 0, "{said}");
    for kind in
        ["message", "follow", "unfollow", "postback", "unsend", "join", "beacon", "hologram"]
    {
        assert!(said["kinds"][kind].as_u64().unwrap() > 0, "{kind}: {said}");
    }
    let expected = json!({
        "expires_in": 899, "sent": 5, "again": [409, true], "replied": 1,
        "reply_again": [400, "Invalid reply token"],
        "invalid": [400, "messages[0].text"],
        "profile": [USER, sandbox_name(&base).await], "bot": DESTINATION, "link_token": 32,
        "content": hex(PICTURE),
    });
    for (step, expected) in expected.as_object().unwrap() {
        assert_eq!(&said[step], expected, "{step}");
    }
    // A push, a multicast of which one exists, and a broadcast to all who follow.
    let ledger = sandbox.ledger();
    let used = ledger.messages.iter().filter(|seen| seen.reply_token.is_none()).count();
    assert_eq!(said["quota"], json!(["limited", 500, used]));
    assert_eq!((ledger.doubled, ledger.totals.accepted), (0, 4));
    stop.cancel();
    tasks.close();
    tasks.wait().await;
}

async fn sandbox_name(base: &str) -> String {
    let person = reqwest::get(format!("{base}/sandbox/people/{USER}")).await.unwrap();
    person.json::<Value>().await.unwrap()["name"].as_str().unwrap().to_owned()
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn script(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_client_takes_it_for_line() {
    let Some(clients) = clients() else { return };
    judge(|wanted| {
        let mut python = Command::new(clients.join("python/bin/python"));
        python.arg(script("drive.py")).arg(wanted);
        python
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_client_takes_it_for_line() {
    let Some(clients) = clients() else { return };
    judge(|wanted| {
        let mut node = Command::new("node");
        node.arg(script("drive.mjs")).arg(clients.join("node")).arg(wanted);
        node
    })
    .await;
}
