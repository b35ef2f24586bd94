//! What `deploy/OPERATIONS.md` tells an operator, as far as it goes without Docker: the scripts, on
//! real files and a real broker. `compose.rs` runs the page's blocks as they are.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use mainstem_line::{Channels, signature};
use mainstem_runtime::Callers;
use mainstem_tests::deployment::{Deployment, Event, configuration, eventually};
use mainstem_tests::page::{Page, Shell, put};
use mainstem_tests::{tools, users};
use serde_json::{Value, json};
use tempfile::TempDir;

const SERVICE: &str = env!("CARGO_BIN_EXE_service");

/// The scripts of `deploy/`, beside secrets that were made for this test.
struct Files {
    folder: TempDir,
    shell: Shell,
}

/// A folder with all that is in it.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

impl Files {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let from = tools::workspace().join("deploy");
        let to = folder.path().join("deploy");
        std::fs::create_dir_all(to.join("secrets")).unwrap();
        for file in ["make-secrets", "rotate", "backup", "restore", "broker-env"] {
            std::fs::copy(from.join(file), to.join(file)).unwrap();
        }
        copy(&from.join("example"), &to.join("example"));
        let shell = Shell::new(folder.path(), &folder.path().join("programs"));
        let _ = shell.well("deploy/make-secrets");
        Self { folder, shell }
    }

    fn secret(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("deploy/secrets").join(name)
    }

    fn caller(&self, token: &str) -> Option<String> {
        let callers = Callers::load(Some(&self.path("callers.toml"))).unwrap();
        callers.authenticate_bearer(token).ok().map(|caller| caller.name.clone())
    }

    fn signs(&self, channel: &str, secret: &str) -> bool {
        let channels = Channels::parse(&self.secret("channels.toml")).unwrap();
        let (_, channel) =
            channels.iter().find(|(id, _)| id.as_str() == channel).expect("the channel");
        channel.signed(b"body", &signature::sign(secret, b"body"))
    }
}

#[test]
fn every_block_of_the_page_is_run_by_a_test() {
    let run: Vec<_> = Page::load().blocks.into_keys().collect();
    let mut tests = String::new();
    for test in ["services/cli_nats.rs", "compose.rs"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(test);
        tests += &std::fs::read_to_string(path).unwrap();
    }
    assert!(run.len() > 10, "the page has only {run:?}");
    for block in run {
        assert!(tests.contains(&format!("\"{block}\"")), "no test runs the block {block}");
    }
}

#[test]
fn secrets_are_made_once_and_kept() {
    let files = Files::new();
    let before = files.secret("channels.toml");
    let _ = files.shell.well("deploy/make-secrets");
    assert_eq!(files.secret("channels.toml"), before);
    assert_eq!(files.caller(&files.secret("token_operator")).as_deref(), Some("operator/compose"));
}

#[test]
fn a_line_secret_is_rotated_without_a_gap() {
    let files = Files::new();
    let channel = "line-taipei-01";
    let channels: toml::Table = files.secret("channels.toml").parse().unwrap();
    let secret = |name: &str| channels["channels"][name]["secret"].as_str().unwrap().to_owned();
    let (old, neighbour) = (secret(channel), secret("line-taipei-02"));
    let rotate = Page::load().blocks["line-secret"].lines().next().unwrap().to_owned();
    let _ = files.shell.well(&format!("NEW_SECRET=0123456789abcdef\n{rotate}"));
    assert!(files.signs(channel, &old) && files.signs(channel, "0123456789abcdef"));
    let _ = files.shell.well(&format!("deploy/rotate line-done {channel}"));
    assert!(!files.signs(channel, &old) && files.signs(channel, "0123456789abcdef"));
    assert!(files.signs("line-taipei-02", &neighbour));

    for (command, what) in [
        ("printf x | deploy/rotate line line-nowhere", "has no [channels.line-nowhere]"),
        ("printf 'a\"b' | deploy/rotate line line-taipei-01", "letters and digits"),
        ("deploy/rotate line line-taipei-01", "standard input"),
        ("deploy/rotate nats nobody", "there is no nats_nobody"),
        ("deploy/rotate everything now", "is not known"),
    ] {
        let said = files.shell.run(command);
        assert!(!said.well && said.text.contains(what), "{command}: {}", said.text);
    }
    assert!(files.signs(channel, "0123456789abcdef"), "a refusal changes nothing");
}

#[test]
fn a_token_is_rotated_without_a_gap() {
    let files = Files::new();
    let old = files.secret("token_unit_repair-north");
    let _ = files.shell.well("deploy/rotate token unit_repair-north");
    let new = files.secret("token_unit_repair-north");
    let unit = Some("unit/repair-north".to_owned());
    assert_ne!(old, new);
    assert_eq!((files.caller(&old), files.caller(&new)), (unit.clone(), unit.clone()));
    let _ = files.shell.well("deploy/rotate token-done unit_repair-north");
    assert_eq!((files.caller(&old), files.caller(&new)), (None, unit));
    assert!(files.caller(&files.secret("token_operator")).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_gives_back_what_was_there_and_a_part_of_it_is_refused() {
    let Some(cli) = tools::nats_cli() else { return };
    let Some(deployment) = Deployment::start_with_users(SERVICE).await else { return };
    let files = Files::new();
    put(&files.folder.path().join("programs"), "nats", &cli).unwrap();
    std::fs::remove_file(files.path("nats_admin")).unwrap();
    std::fs::write(files.path("nats_admin"), users::password(users::TEST)).unwrap();
    let mut shell = files.shell;
    shell.environment.insert("NATS_URL".to_owned(), deployment.server.url());
    let admin = "cd deploy && . ./broker-env && nats_admin";

    let names = ["identity-merge", "routing", "notification"];
    let cases = async |deployment: &Deployment| -> Option<Vec<Value>> {
        let cases = deployment.call("operator", "routing", "list-cases", json!({})).await.ok()?;
        Some(cases["cases"].as_array().cloned().unwrap_or_default())
    };
    let mut services = names.map(|name| deployment.service(name));
    deployment.apply(&configuration(), &names).await;
    for number in 1..=3 {
        let event = Event::repair(&format!("e-{number}"), &format!("U{number}"));
        deployment.publish(&event).await;
    }
    let opened = eventually("three cases are open", async || {
        cases(&deployment).await.filter(|cases| cases.len() == 3)
    })
    .await;

    // While everything runs.
    let _ = shell.well("deploy/backup backup");
    deployment.publish(&Event::repair("e-4", "U4")).await;
    eventually("a fourth case is open", async || {
        cases(&deployment).await.filter(|cases| cases.len() == 4)
    })
    .await;
    for service in &mut services {
        assert!(service.stop(), "{}", service.log());
    }

    // A part of it: refused by whoever has read more.
    let _ = shell.well(&format!("({admin} stream rm CUSTOMER --force)"));
    let _ = shell.well("deploy/restore backup CUSTOMER");
    let (well, log) = deployment.service("routing").ended().await;
    assert!(!well && log.contains("CUSTOMER lost its tail"), "{log}");
    let refused = shell.run("deploy/restore backup CUSTOMER");
    assert!(!refused.well, "a stream that is there is not overwritten: {}", refused.text);

    // All of it, where nothing is.
    let _ = shell.well(&format!(
        "cd backup && for stream in */ QUEUES OUTBOX KV_LEASES \
         OBJ_SNAPSHOTS-identity-merge OBJ_SNAPSHOTS-routing OBJ_SNAPSHOTS-notification; do \
         (cd .. && {admin} stream rm \"${{stream%/}}\" --force); done"
    ));
    let _ = shell.well("deploy/restore backup");
    mainstem_bus::nats::provision(&deployment.bus, 1).await.unwrap();
    let _services = names.map(|name| deployment.service(name));
    let restored = eventually("the cases are there", async || {
        cases(&deployment).await.filter(|cases| !cases.is_empty())
    })
    .await;
    assert_eq!(restored, opened);
    eventually("the broker offers them again", async || {
        let items = deployment.subjects("QUEUES", "queue.>").await;
        (items.len() >= opened.len()).then_some(())
    })
    .await;
    // And it goes on.
    deployment.publish(&Event::repair("e-5", "U5")).await;
    eventually("the next case is open", async || {
        cases(&deployment).await.filter(|cases| cases.len() == 4)
    })
    .await;
    let half = shell.run("rm backup/complete; deploy/restore backup");
    assert!(!half.well && half.text.contains("no complete backup"), "{}", half.text);
}
