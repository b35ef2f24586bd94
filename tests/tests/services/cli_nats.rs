//! The real `nats` command line, as the users that people have: what the operations page tells
//! them to type works, and says what it should.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Stdio};

use mainstem_domain::configuration::Configuration;
use mainstem_tests::deployment::{Deployment, Event, Service, configuration, eventually};
use mainstem_tests::page::{Page, Shell, put};
use mainstem_tests::{tools, users};
use serde_json::json;

const SERVICE: &str = env!("CARGO_BIN_EXE_service");

/// A deployment with users, the page, and a shell in which it can be followed.
struct Desk {
    deployment: Deployment,
    page: Page,
    shell: Shell,
    _services: [Service; 3],
}

/// The example's name for the queue, which the page uses.
fn with_the_queue_of_the_page() -> Configuration {
    let text = serde_json::to_string(&configuration()).unwrap();
    serde_json::from_str(&text.replace("\"repair\"", "\"repair-north\"")).unwrap()
}

impl Desk {
    async fn open() -> Option<Self> {
        let cli = tools::nats_cli()?;
        let deployment = Deployment::start_with_users(SERVICE).await?;
        let services = ["identity-merge", "routing", "notification"];
        let running = services.map(|name| deployment.service(name));
        deployment.apply(&with_the_queue_of_the_page(), &services).await;

        let folder = deployment.folder().join("operator");
        put(&folder.join("programs"), "nats", &cli).unwrap();
        let secrets = folder.join("deploy/secrets");
        std::fs::create_dir_all(&secrets).unwrap();
        for (file, secret) in [
            ("nats_operator", users::password("operator")),
            ("nats_backoffice", users::password("backoffice")),
            ("token_operator", "token-operator".to_owned()),
            ("token_unit_repair-north", "token-unit".to_owned()),
        ] {
            std::fs::write(secrets.join(file), secret).unwrap();
        }
        let mut shell = Shell::new(&folder, &folder.join("programs"));
        shell.instead.push(("nats://127.0.0.1:4222".to_owned(), deployment.server.url()));
        Some(Self { deployment, page: Page::load(), shell, _services: running })
    }

    /// Runs blocks of the page, one after another in the same shell.
    fn blocks(&self, names: &[&str]) -> String {
        let blocks: Vec<_> = names.iter().map(|name| self.page.blocks[*name].as_str()).collect();
        self.shell.well(&blocks.concat())
    }

    /// Opens cases, and waits until they are on offer.
    async fn cases(&self, numbers: std::ops::RangeInclusive<usize>) {
        let many = *numbers.end();
        for number in numbers {
            let event = Event::repair(&format!("e-{number}"), &format!("U{number}"));
            self.deployment.publish(&event).await;
        }
        eventually("the cases are on offer", async || {
            (self.deployment.subjects("QUEUES", "queue.>").await.len() >= many).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_sees_streams_services_and_answers() {
    let Some(desk) = Desk::open().await else { return };
    desk.cases(1..=1).await;
    let said = desk.blocks(&["nats"]);
    for expected in
        ["CUSTOMER", "QUEUES", "identity-merge", "notification", "accept-case", "CASE_STATE_OPEN"]
    {
        assert!(said.contains(expected), "{expected} is missing in:\n{said}");
    }
    assert!(!said.contains("ermissions violation"), "{said}");

    let info = desk.shell.well("nats micro info routing; nats account info; nats consumer ls ROUTING; nats stream info QUEUES");
    assert!(info.contains("svc.routing.accept-case"), "{info}");
    assert!(info.contains("mainstem.routing.v1.RoutingService"), "{info}");
    assert!(!info.contains("ermissions violation"), "{info}");

    // Counted by the service, seen by the command line.
    let stats = desk.shell.well("nats micro stats routing --json");
    assert!(stats.contains("\"num_requests\""), "{stats}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_comes_out_with_code_and_text() {
    let Some(desk) = Desk::open().await else { return };
    let _ = desk.blocks(&["nats"]);
    let token = "-H 'Authorization:Bearer token-operator'";
    for (request, code, text) in [
        (
            format!("svc.routing.get-case '{{\"case\":\"x\"}}' {token}"),
            "400",
            "case: must be K and",
        ),
        (format!("svc.routing.list-cases '{{\"pageSize\":' {token}"), "400", "is no JSON object"),
        (
            format!("svc.routing.get-case '{{\"case\":\"K0000000000000000\"}}' {token}"),
            "404",
            "K0000000000000000",
        ),
        ("svc.routing.list-cases '{}'".to_owned(), "401", "Authorization: Bearer"),
        (
            "svc.routing.list-cases '{}' -H 'Authorization:Bearer wrong'".to_owned(),
            "401",
            "callers file",
        ),
        (
            "svc.identity-merge.merge-customers '{}' -H 'Authorization:Bearer token-unit'"
                .to_owned(),
            "403",
            "is for the roles operator",
        ),
    ] {
        let said = desk.shell.well(&format!("nats req {request}"));
        assert!(said.contains(&format!("Nats-Service-Error-Code: {code}")), "{request}:\n{said}");
        let error = said.lines().find(|line| line.contains("Nats-Service-Error: "));
        let error = error.unwrap_or_else(|| panic!("{request} has no text:\n{said}"));
        assert!(error.contains(text), "{request}: {error}");
        assert!(!said.contains("wrong\""), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_customers_stream_can_be_read_as_it_happens() {
    let Some(desk) = Desk::open().await else { return };
    let _ = desk.blocks(&["nats"]);
    let mut sub = Command::new("bash");
    sub.args(["-c", "exec nats sub 'customer.>' --count 2 --wait 50s 2>&1"]);
    sub.current_dir(&desk.shell.folder).envs(&desk.shell.environment);
    let mut sub = sub.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut number = 0;
    // One event after another, because nobody is told when it listens.
    eventually("the command line has seen two records", async || {
        number += 1;
        desk.deployment.publish(&Event::repair(&format!("e-{number}"), "U1")).await;
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        sub.try_wait().unwrap()
    })
    .await;
    let said = String::from_utf8(sub.wait_with_output().unwrap().stdout).unwrap();
    assert!(said.contains("Received on \"customer.C"), "{said}");
    assert!(said.contains("ce-type: mainstem."), "{said}");
    assert!(said.contains("\n{\""), "a body is JSON on one line: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_case_is_taken_by_hand_and_a_second_taker_is_told_who_has_it() {
    let Some(desk) = Desk::open().await else { return };
    desk.cases(1..=2).await;
    let said = desk.blocks(&["case"]);
    assert!(said.contains("CASE_STATE_ACCEPTED") && said.contains("unit/test"), "{said}");

    let cases = desk.deployment.call("operator", "routing", "list-cases", json!({})).await.unwrap();
    let cases = cases["cases"].as_array().unwrap().clone();
    let taken = cases.iter().find(|case| case["state"] == "CASE_STATE_ACCEPTED").unwrap();
    // First in, first out.
    let opened = |case: &serde_json::Value| case["openTime"].as_str().unwrap().to_owned();
    assert!(cases.iter().all(|case| opened(taken) <= opened(case)), "{cases:?}");

    let case = taken["case"].as_str().unwrap();
    let second = desk.shell.well(&format!(
        "nats --context backoffice req svc.routing.accept-case '{{\"case\":\"{case}\"}}' \
         -H 'Authorization:Bearer token-operator'"
    ));
    assert!(second.contains("Nats-Service-Error-Code: 409"), "{second}");
    assert!(second.contains("unit/test"), "{second}");

    let resolved = desk.blocks(&["nats", "case", "why", "resolve"]);
    assert!(resolved.contains("CASE_STATE_RESOLVED"), "{resolved}");
    for expected in ["\"rule\":\"menu-repair\"", "\"caseOpened\":true", "\"configuration\":\""] {
        assert!(resolved.contains(expected), "{expected} is missing in:\n{resolved}");
    }
    let empty = desk
        .shell
        .run("nats --context backoffice consumer next QUEUES queue-repair-north-p2 --wait 1s");
    assert!(!empty.well, "both were taken: {}", empty.text);
    // The back office looks at its queues, and at nothing else.
    let looked = desk.shell.well("nats --context backoffice consumer ls QUEUES --names");
    assert!(looked.contains("queue-repair-north-p2"), "{looked}");
    let refused = desk.shell.run("nats --context backoffice --timeout 2s stream get CUSTOMER 1");
    assert!(!refused.well, "{}", refused.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_is_looked_at_paused_and_resumed_and_nothing_is_lost() {
    let Some(desk) = Desk::open().await else { return };
    desk.cases(1..=2).await;
    let said = desk.blocks(&["nats", "queue"]);
    assert!(said.contains("\"queue\":\"repair-north\",\"open\":2"), "{said}");
    // The context of the back office.
    let context: Vec<_> = desk.page.blocks["case"].lines().take(2).collect();
    let _ = desk.shell.well(&context.join("\n"));
    let paused = desk.blocks(&["pause"]);
    assert_eq!(paused.matches("\"reason\":\"stocktaking\"").count(), 2, "{paused}");
    assert!(!paused.contains("CASE_STATE"), "nothing is given out: {paused}");
    eventually("its items are off the queue", async || {
        desk.deployment.subjects("QUEUES", "queue.>").await.is_empty().then_some(())
    })
    .await;
    let cases = desk.deployment.call("operator", "routing", "list-cases", json!({})).await.unwrap();
    let case = cases["cases"][0]["case"].as_str().unwrap();
    let refused = desk.shell.well(&format!(
        "nats --context backoffice req svc.routing.accept-case '{{\"case\":\"{case}\"}}' \
         -H 'Authorization:Bearer token-unit'"
    ));
    assert!(refused.contains("is paused by unit/test"), "{refused}");
    let resumed = desk.blocks(&["resume"]);
    assert!(resumed.contains("CASE_STATE_ACCEPTED"), "{resumed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_is_spoken_with_by_hand() {
    let Some(desk) = Desk::open().await else { return };
    let mut directory = serde_json::to_value(with_the_queue_of_the_page()).unwrap();
    directory["staff"] = json!({
        "taipei-01-a": {"name": "Lin", "store": "taipei-1"},
        "s-002": {"name": "Chen", "desk": "central"},
    });
    directory["desks"] = json!({"central": {"name": "Central"}});
    let talk = json!({
        "name": "talk", "when": "event.menu == 'talk'",
        "targets": ["store_on_shift 180s", "central_desk"],
    });
    directory["rules"].as_array_mut().unwrap().push(talk);
    let directory = serde_json::from_value(directory).unwrap();
    desk.deployment.apply(&directory, &["identity-merge", "routing", "notification"]).await;
    let there = desk.blocks(&["nats", "presence"]);
    assert!(there.contains("\"available\":true"), "{there}");
    let postback = "menu=talk".to_owned();
    desk.deployment.publish(&Event { postback, ..Event::repair("e-1", "U1") }).await;
    eventually("somebody is asked", async || {
        let body = json!({"state": "CONVERSATION_STATE_OFFERED"});
        let listed = desk.deployment.call("operator", "routing", "list-conversations", body).await;
        listed.unwrap()["conversations"].is_array().then_some(())
    })
    .await;
    let said = desk.blocks(&["talk"]);
    for expected in ["CONVERSATION_STATE_IN_PROGRESS", "CONVERSATION_STATE_CLOSED"] {
        assert!(said.contains(expected), "{said}");
    }
    assert!(!said.contains("Nats-Service-Error"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_is_looked_up_and_erased_as_the_page_says() {
    let Some(desk) = Desk::open().await else { return };
    let _ = desk.blocks(&["nats"]);
    for user in ["U1", "U2"] {
        desk.deployment.publish(&Event::repair(&format!("e-{user}"), user)).await;
    }
    let customers = eventually("both are known", async || {
        let listed =
            desk.deployment.call("operator", "identity-merge", "list-customers", json!({}));
        let customers = listed.await.unwrap()["customers"].take();
        (customers.as_array().map_or(0, Vec::len) == 2).then_some(customers)
    })
    .await;
    let [customer, other] = [0, 1].map(|at| customers[at]["customer"].as_str().unwrap());
    let identifier = customers[1]["identifiers"][0].as_str().unwrap();
    let both = json!({"requestId": "both", "customer": customer, "other": other});
    let merged = desk.deployment.call("operator", "identity-merge", "merge-customers", both).await;
    let customer = merged.unwrap()["customer"]["customer"].as_str().unwrap().to_owned();
    let given = format!("CUSTOMER={customer}\nIDENTIFIER='{identifier}'\n");

    eventually("notification knows the customer", async || {
        let body = json!({"customer": customer});
        desk.deployment.call("operator", "notification", "get-preferences", body).await.ok()
    })
    .await;
    let told = desk.shell.well(&format!("{given}{}", desk.page.blocks["tell"]));
    for expected in [
        "\"atMost\":3",
        "\"state\":\"DELIVERY_STATE_WAITING\"",
        "Your payment has arrived.",
        "\"marketing\":\"CONSENT_ANSWER_REFUSED\"",
        "\"quietHours\":\"20:00-10:00\"",
        "\"accounts\":[{\"channel\":\"line-1\"",
    ] {
        assert!(told.contains(expected), "{expected} is missing in:\n{told}");
    }
    assert!(!told.contains("Nats-Service-Error"), "{told}");
    let said = desk.shell.well(&format!("{given}{}", desk.page.blocks["who"]));
    assert!(said.contains(&customer) && !said.contains("Nats-Service-Error"), "{said}");
    let refused = desk.shell.run(&format!("{given}{}", desk.page.blocks["erase"])).text;
    assert!(refused.contains("CASES_OPEN"), "{refused}");
    let said = desk.shell.well(&format!("{given}FORCE=true\n{}", desk.page.blocks["erase"]));
    assert!(said.contains("\"createTime\""), "{said}");
}

#[test]
fn the_page_names_files_that_are_there() {
    let page = Page::load();
    for script in ["make-secrets", "backup", "restore", "rotate"] {
        assert!(tools::workspace().join("deploy").join(script).is_file(), "{script}");
        let named = page.blocks.values().any(|block| block.contains(&format!("deploy/{script}")));
        assert!(named, "the page does not name deploy/{script}");
    }
    assert!(Path::new(SERVICE).is_file());
}
