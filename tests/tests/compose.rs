//! `docker-compose.yml` as it is, on a Docker engine, out of images that are made on this machine:
//! brought up by each flavour of compose that is here, and operated as `deploy/OPERATIONS.md` says.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::Path;

use mainstem_line::signature;
use mainstem_tests::deployment::eventually;
use mainstem_tests::docker::{Engine, Project, programs};
use mainstem_tests::page::Page;
use mainstem_tests::{nats_server, tools};
use reqwest::StatusCode;
use serde_json::{Value, json};

const SERVICE: &str = env!("CARGO_BIN_EXE_service");

/// What runs, as long as nobody stops it.
const RUNNING: [&str; 7] =
    ["identity-merge", "ingress", "nats", "notification", "routing", "sandbox", "sender"];

/// The account that the page speaks of.
const CHANNEL: &str = "line-taipei-01";

struct Operator {
    project: Project,
    page: Page,
    http: reqwest::Client,
}

#[tokio::test(flavor = "multi_thread")]
async fn compose_brings_everything_up_and_the_page_operates_it() {
    let Some(engine) = Engine::find() else { return };
    let Some(nats_server) = nats_server::binary() else { return };
    let flavours = engine.flavours();
    if flavours.is_empty() {
        eprintln!("passed over: neither docker compose nor docker-compose is installed");
        return;
    }
    let cli = tools::nats_cli().is_some();
    let programs = programs(Path::new(SERVICE));
    for (number, flavour) in flavours.into_iter().enumerate() {
        eprintln!("with {flavour}");
        let project = Project::prepare(&engine, flavour, programs.path(), &nats_server);
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let operator = Operator { project, page: Page::load(), http };
        operator.starts().await;
        operator.is_locked_up();
        operator.answers_customers().await;
        operator.looks().await;
        if cli {
            operator.takes_a_case().await;
        }
        // Once is enough: these say nothing about the flavour.
        if number == 0 {
            operator.rotates_a_line_secret().await;
            operator.upgrades_and_rolls_back().await;
            operator.moves_an_account();
            if cli {
                operator.rotates_a_password_and_a_token().await;
                operator.restores().await;
            }
        }
    }
    if !cli {
        eprintln!("without the `nats` command line, no case was taken and no backup restored");
    }
}

impl Operator {
    /// Runs blocks of the page, one after another in the same shell.
    fn blocks(&self, names: &[&str]) -> String {
        let blocks: Vec<_> = names.iter().map(|name| self.page.blocks[*name].as_str()).collect();
        self.project.shell.well(&blocks.concat())
    }

    fn secret(&self, file: &str) -> String {
        let path = self.project.folder().join("deploy/secrets").join(file);
        std::fs::read_to_string(path).unwrap()
    }

    async fn starts(&self) {
        let _ = self.blocks(&["start"]);
        self.is_healthy().await;
        eventually("the configuration is applied and the demo's traffic sent", async || {
            let states = self.project.states();
            ["apply-example", "demo-traffic", "provision"]
                .into_iter()
                .all(|once| states.get(once).is_some_and(|state| state.starts_with("Exited (0)")))
                .then_some(())
        })
        .await;
    }

    async fn is_healthy(&self) {
        eventually("every container is healthy", async || {
            let states = self.project.states();
            RUNNING
                .into_iter()
                .all(|service| states.get(service).is_some_and(|is| is.contains("(healthy)")))
                .then_some(())
        })
        .await;
    }

    /// Nothing that runs is root, writes to its own files, has a capability, or sees a secret of
    /// another.
    fn is_locked_up(&self) {
        let containers = self.project.inspect();
        for service in RUNNING {
            let container = &containers[service];
            let (config, host) = (&container["Config"], &container["HostConfig"]);
            let user = config["User"].as_str().unwrap();
            assert!(!user.is_empty() && !user.starts_with('0'), "{service} is {user:?}");
            assert_eq!(host["ReadonlyRootfs"], true, "{service}");
            assert_eq!(host["CapDrop"], json!(["ALL"]), "{service}");
            assert_eq!(host["CapAdd"], Value::Null, "{service}");
            assert_eq!(host["SecurityOpt"], json!(["no-new-privileges:true"]), "{service}");
            assert_eq!(host["Privileged"], false, "{service}");
            for (_, bound) in host["PortBindings"].as_object().into_iter().flatten() {
                assert_eq!(bound[0]["HostIp"], "127.0.0.1", "{service}");
            }
            let mounts = container["Mounts"].as_array().unwrap();
            let secrets: BTreeSet<_> = mounts
                .iter()
                .filter_map(|mount| mount["Destination"].as_str()?.strip_prefix("/run/secrets/"))
                .collect();
            let expected: &[&str] = match service {
                "ingress" => &["channels", "handle_key", "nats_ingress"],
                "sender" => &["channels", "nats_sender", "token_sender"],
                "sandbox" => &["channels"],
                "identity-merge" => {
                    &["callers", "erasure_key", "nats_identity-merge", "token_erasure"]
                }
                "routing" => &["binding_key", "callers", "nats_routing", "token_erasure"],
                "notification" => &["callers", "nats_notification", "token_erasure"],
                _ => continue,
            };
            for own in expected {
                assert!(secrets.contains(own), "{service} lacks {own}");
            }
            let foreign = |secret: &&str| {
                let kind = ["nats_", "token_"].iter().any(|kind| secret.starts_with(kind));
                kind && !expected.contains(secret)
            };
            assert_eq!(secrets.iter().find(|secret| foreign(secret)), None, "{service}");
        }
        let once = &containers["own-data"]["HostConfig"];
        assert_eq!(once["NetworkMode"], "none");
        // CAP_CHOWN or CHOWN, as the client writes it.
        let capabilities = once["CapAdd"].as_array().unwrap();
        assert!(capabilities.len() == 1 && capabilities[0].as_str().unwrap().ends_with("CHOWN"));
    }

    async fn ledger(&self) -> Value {
        let url = format!("http://127.0.0.1:{}/sandbox/ledger", self.project.ports["SANDBOX"]);
        eventually("the sandbox answers", async || {
            self.http.get(&url).send().await.ok()?.json().await.ok()
        })
        .await
    }

    /// Waits until users have seen at least so many messages; none twice.
    async fn seen(&self, least: u64) -> u64 {
        eventually(&format!("users have seen {least} messages"), async || {
            let ledger = self.ledger().await;
            assert_eq!((&ledger["doubled"], &ledger["doubled_by_trace"]), (&json!(0), &json!(0)));
            let seen = ledger["totals"]["accepted"].as_u64()?;
            (seen >= least).then_some(seen)
        })
        .await
    }

    /// The demo's traffic came through ingress and all ledgers, and its answers came out.
    async fn answers_customers(&self) {
        self.seen(1).await;
    }

    async fn looks(&self) {
        let applied = self.blocks(&["apply"]);
        assert!(!applied.is_empty());
        let tried = self.blocks(&["try"]);
        assert!(tried.contains("nothing would change"), "{tried}");
        assert!(tried.contains(", 0 decided otherwise"), "{tried}");
        let said = eventually("nothing is lost", async || {
            let said = self.blocks(&["look"]);
            let count = |name: &str| {
                let line = said.lines().find(|line| line.trim_start().starts_with(name));
                line.and_then(|line| line.split_whitespace().last()?.parse::<u64>().ok())
            };
            // What is under way when it is counted is not there yet.
            (count("lost") == Some(0)).then_some(())?;
            assert_eq!((count("doubled"), count("voided records")), (Some(0), Some(0)), "{said}");
            Some(said)
        })
        .await;
        assert_eq!(said.matches(" writer ").count(), 3, "{said}");
    }

    async fn takes_a_case(&self) {
        let looked = self.blocks(&["nats"]);
        assert!(!looked.contains("ermissions violation"), "{looked}");
        assert!(looked.contains("CASE_STATE_OPEN"), "{looked}");
        let before = self.seen(1).await;
        let said = self.blocks(&["case", "resolve"]);
        assert!(said.contains("unit/repair-north"), "{said}");
        assert!(said.contains("CASE_STATE_RESOLVED"), "{said}");
        // The customer is told.
        self.seen(before + 1).await;
    }

    /// Posts an event of a person to the page's account as LINE does.
    async fn webhook(&self, secret: &str, id: u64, text: &str) -> u16 {
        let channels: toml::Table = self.secret("channels.toml").parse().unwrap();
        let body = json!({
            "destination": channels["channels"][CHANNEL]["destination"].as_str().unwrap(),
            "events": [{
                "type": "message",
                "message": {"id": id.to_string(), "type": "text", "quoteToken": "q", "text": text},
                "mode": "active",
                "timestamp": 1_795_000_000_000_u64 + id,
                "source": {"type": "user", "userId": format!("U{:032x}", 7)},
                "webhookEventId": format!("01TEST{id:020}"),
                "deliveryContext": {"isRedelivery": false},
                "replyToken": format!("{id:032x}"),
            }],
        })
        .to_string();
        let port = self.project.ports["INGRESS"];
        let url = format!("http://127.0.0.1:{port}/webhooks/line/{CHANNEL}");
        let signature = signature::sign(secret, body.as_bytes());
        let request = self.http.post(url).header(signature::HEADER, signature).body(body);
        request.send().await.map_or(0, |answer| answer.status().as_u16())
    }

    async fn rotates_a_line_secret(&self) {
        let channels: toml::Table = self.secret("channels.toml").parse().unwrap();
        let old = channels["channels"][CHANNEL]["secret"].as_str().unwrap().to_owned();
        let new = "0123456789abcdef0123456789abcdef";
        assert_eq!(self.webhook(&old, 1, "hello").await, 200);
        assert_eq!(self.webhook(new, 2, "hello").await, 401);
        let _ = self.blocks_with(&format!("NEW_SECRET={new}\n"), &["line-secret"]);
        self.is_healthy().await;
        assert_eq!(self.webhook(&old, 3, "hello").await, 200);
        assert_eq!(self.webhook(new, 4, "hello").await, 200);
        let _ = self.blocks(&["line-secret-done"]);
        self.is_healthy().await;
        assert_eq!(self.webhook(&old, 5, "hello").await, 401);
        assert_eq!(self.webhook(new, 6, "hello").await, 200);
    }

    fn blocks_with(&self, before: &str, names: &[&str]) -> String {
        let blocks: Vec<_> = names.iter().map(|name| self.page.blocks[*name].as_str()).collect();
        self.project.shell.well(&format!("{before}{}", blocks.concat()))
    }

    async fn upgrades_and_rolls_back(&self) {
        for (block, image) in [
            ("upgrade", format!("{}:new", self.project.name)),
            ("roll-back", self.project.name.clone()),
        ] {
            let said = self.blocks(&[block]);
            assert_eq!(said.matches(" writer ").count(), 3, "{said}");
            self.is_healthy().await;
            let containers = self.project.inspect();
            assert_eq!(containers["routing"]["Config"]["Image"], image);
        }
    }

    /// The three lines of the page, one after another, each taken without a restart.
    fn moves_an_account(&self) {
        let folder = self.project.folder().join("deploy/example");
        let file = folder.join("channels.yaml");
        let example = std::fs::read_to_string(&file).unwrap();
        let has_entry = std::fs::read_dir(&folder).unwrap().any(|found| {
            let text = std::fs::read_to_string(found.unwrap().path()).unwrap_or_default();
            text.lines().any(|line| line.starts_with("entry:"))
        });
        if !has_entry {
            let entry = "entry: { channel: line-taipei-02, link: \"https://lin.ee/test\" }\n";
            std::fs::write(folder.join("entry.yaml"), entry).unwrap();
        }
        let mut digests = BTreeSet::new();
        for mode in ["shadow", "live", "retired"] {
            let said = self.page.lines[mode].trim_end();
            let lines = example
                .lines()
                .map(|line| if line.starts_with(&format!("  {CHANNEL}:")) { said } else { line });
            std::fs::write(&file, lines.collect::<Vec<_>>().join("\n") + "\n").unwrap();
            let _ = self.blocks(&["apply"]);
            let status = self.blocks(&["look"]);
            let digest = |service: &str| {
                let line = status
                    .lines()
                    .find(|line| line.starts_with(service) && line.contains(" writer "));
                let words: Vec<_> = line.unwrap().split_whitespace().collect();
                words[words.len() - 3].to_owned()
            };
            let digest_of_one = digest("routing");
            assert_eq!(digest_of_one, digest("identity-merge"), "{status}");
            assert_eq!(digest_of_one, digest("notification"), "{status}");
            assert!(digests.insert(digest_of_one), "{mode} changed nothing: {status}");
        }
        std::fs::write(&file, example).unwrap();
        let _ = self.blocks(&["apply"]);
    }

    async fn rotates_a_password_and_a_token(&self) {
        let old = self.secret("nats_sender");
        let _ = self.blocks(&["nats-password"]);
        assert_ne!(old, self.secret("nats_sender"));
        self.is_healthy().await;
        // The sender sends, as who it is now.
        let before = self.seen(0).await;
        self.traffic(21, 60).await;
        self.seen(before + 10).await;

        let old = self.secret("token_unit_repair-north");
        let list = |token: &str| {
            let ask = "nats --context backoffice req svc.routing.list-cases '{\"pageSize\":1}'";
            let said = self.project.shell.well(&format!("{ask} -H 'Authorization:Bearer {token}'"));
            !said.contains("Nats-Service-Error")
        };
        let _ = self.blocks(&["token"]);
        self.is_healthy().await;
        let new = self.secret("token_unit_repair-north");
        assert_ne!(old, new);
        assert!(list(&old) && list(&new), "both are good");
        let _ = self.blocks(&["token-done"]);
        self.is_healthy().await;
        assert!(list(&new) && !list(&old), "only the new one is good");
    }

    /// Lets the sandbox send a day, once it sends no other one: it plays the demo's traffic again
    /// whenever everything is started.
    async fn traffic(&self, seed: u64, events: u64) {
        let url = format!("http://127.0.0.1:{}/sandbox/play", self.project.ports["SANDBOX"]);
        let day = json!({
            "webhook_base": "http://ingress:7700", "seed": seed, "events": events, "users": 20,
        });
        let answer = eventually("the sandbox sends no other day", async || {
            let answer = self.http.post(&url).json(&day).send().await.unwrap();
            (answer.status() != StatusCode::CONFLICT).then_some(answer)
        })
        .await;
        let played: Value = answer.error_for_status().unwrap().json().await.unwrap();
        assert_eq!(played["failed"], 0, "{played}");
    }

    /// Streams and how much they hold, as the admin sees it.
    fn held(&self, stream: &str) -> u64 {
        let said = self.project.shell.well(&format!(
            "cd deploy && . ./broker-env && nats_admin stream info {stream} --json"
        ));
        let info: Value = serde_json::from_str(said.trim()).unwrap();
        info["state"]["messages"].as_u64().unwrap()
    }

    async fn restores(&self) {
        let _ = self.blocks_with("", &["backup"]);
        let backup = self.project.shell.well("ls -d backup/*").trim().to_owned();
        let again = self.project.shell.run(&format!("deploy/backup '{backup}'"));
        assert!(!again.well && again.text.contains("name a new folder"), "{}", again.text);
        let backed_up = self.held("ROUTING");
        self.traffic(22, 60).await;
        eventually("routing has read more", async || {
            (self.held("ROUTING") > backed_up + 20).then_some(())
        })
        .await;

        // A part of the backup, beside what is newer: refused, and said how to go on.
        let _ = self.project.shell.well(&format!(
            "docker compose stop sender routing notification identity-merge ingress\n\
             (cd deploy && . ./broker-env && nats_admin stream rm CUSTOMER --force)\n\
             deploy/restore '{backup}' CUSTOMER\n\
             docker compose start routing"
        ));
        eventually("routing says what happened", async || {
            let log = self.project.shell.run("docker compose logs --tail 5 routing").text;
            log.contains("CUSTOMER lost its tail").then_some(())
        })
        .await;

        let _ = self.blocks_with(&format!("BACKUP='{backup}'\n"), &["restore"]);
        self.is_healthy().await;
        // The demo's traffic came a second time, and the broker filled the work queue again: nothing
        // of it was sent a second time.
        eventually("what was sent before is taken off", async || {
            (self.held("OUTBOX") == 0).then_some(())
        })
        .await;
        let ledger = self.ledger().await;
        assert_eq!(ledger["totals"]["accepted"], 0, "somebody saw a message again");
        self.traffic(23, 60).await;
        self.seen(1).await;
    }
}
