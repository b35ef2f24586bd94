//! Every NATS user and what it may do. The server's user list is generated from this.

use std::fmt::Write as _;

use crate::topology::{
    self, CONFIGURATIONS, FETCH, INBOUND, LEASES, LEDGERS, MEDIA, OUTBOX, PROFILES, QUEUES, RELAY,
    ROUTING,
};

/// One NATS user: what it may publish, and what it may subscribe to. Answering requests is always
/// allowed; everything else is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The user's name.
    pub name: &'static str,
    /// Subjects it may publish to.
    pub publish: Vec<String>,
    /// Subjects it may subscribe to.
    pub subscribe: Vec<String>,
}

/// What the `nats` command line asks before it shows who it is, or which consumers there are.
const COMMAND_LINE: [&str; 2] = ["$JS.API.INFO", "$SYS.REQ.USER.INFO"];

/// The user that `mainstem provision` needs.
pub const ADMIN: &str = "admin";

/// Every user.
#[must_use]
pub fn users() -> Vec<User> {
    let mut users =
        vec![User { name: ADMIN, publish: vec![">".to_owned()], subscribe: vec![">".to_owned()] }];
    for (service, ledger) in LEDGERS {
        users.push(decider(service, ledger));
    }
    let mut ingress = user("ingress");
    ingress.publish.extend(["inbound.>", "relay.*", "fetch.*.*"].map(str::to_owned));
    ingress.publish.push(topology::dead_subject("ingress"));
    ingress.read(RELAY);
    // What is fetched is taken off by overwriting, as is what a person took back.
    ingress.read(FETCH);
    ingress.remove(FETCH);
    ingress.publish.extend([format!("$O.{MEDIA}.>"), format!("$KV.{PROFILES}.>")]);
    ingress.remove_objects(MEDIA);
    ingress.api(&format!("KV_{PROFILES}"), &["STREAM.INFO", "DIRECT.GET"]);
    // Of the ledger of identity-merge nothing but which configuration is in force.
    let in_force = topology::ledger_subject("identity-merge", topology::CONFIGURATION);
    ingress.publish.push(format!("$JS.API.DIRECT.GET.{}.{in_force}", topology::CUSTOMER));
    ingress.read_bucket(CONFIGURATIONS);
    users.push(ingress);

    let mut sender = user("sender");
    sender.read(OUTBOX);
    sender.publish.extend([
        topology::endpoint_subject("notification", "begin-delivery"),
        topology::endpoint_subject("notification", "record-outcome"),
        topology::dead_subject("sender"),
    ]);
    users.push(sender);

    let mut backoffice = user("backoffice");
    backoffice.read(QUEUES);
    backoffice.publish.extend([topology::endpoint_subject("routing", "*"), "$SRV.>".to_owned()]);
    backoffice.publish.extend(COMMAND_LINE.map(str::to_owned));
    backoffice
        .publish
        .extend(["LIST", "NAMES"].map(|all| format!("$JS.API.CONSUMER.{all}.{QUEUES}")));
    users.push(backoffice);

    let mut operator = user("operator");
    for stream in &topology::STREAMS {
        operator.look(stream.name);
    }
    operator.publish.extend(
        ["svc.>", "$SRV.>", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST"].map(str::to_owned),
    );
    operator.publish.extend(COMMAND_LINE.map(str::to_owned));
    operator
        .publish
        .extend(["$JS.API.CONSUMER.LIST.*", "$JS.API.CONSUMER.NAMES.*"].map(str::to_owned));
    operator.subscribe.extend(
        ["customer.>", "channel.>", "inbound.>", "queue.>", "outbox.>", "ledger.>", "dead.>"]
            .map(str::to_owned),
    );
    operator.subscribe.push("staff.>".to_owned());
    operator.write_bucket(CONFIGURATIONS);
    operator.read_bucket(MEDIA);
    for (service, _) in LEDGERS {
        operator.read_bucket(&topology::snapshots(service));
    }
    users.push(operator);
    users
}

fn user(name: &'static str) -> User {
    let inbox = format!("{}.>", crate::nats::inbox_prefix(name));
    User { name, publish: Vec::new(), subscribe: vec![inbox] }
}

fn decider(service: &'static str, ledger: &str) -> User {
    let mut user = user(service);
    let spec = topology::STREAMS.iter().find(|stream| stream.name == ledger);
    user.publish.extend(
        spec.into_iter().flat_map(|spec| spec.subjects).map(|subject| (*subject).to_owned()),
    );
    user.look(ledger);
    for upstream in topology::upstreams_of(service) {
        user.look(upstream);
    }
    if service == "identity-merge" {
        // It tells a customer's whole journey, and asks for open cases before it forgets somebody.
        for ledger in [ROUTING, topology::NOTIFICATION] {
            user.api(ledger, &["STREAM.INFO", "DIRECT.GET"]);
        }
        user.publish.push(topology::endpoint_subject("routing", "list-cases"));
    }
    if service != "identity-merge" {
        // It says when it has forgotten somebody.
        user.publish.push(topology::endpoint_subject("identity-merge", "report-erasure"));
    }
    if service == "routing" {
        // Its queue keeper sees what is on offer, and takes off what is not on offer any more.
        user.api(QUEUES, &["STREAM.INFO", "STREAM.PURGE"]);
        user.subscribe.push(topology::ALL_CASES.to_owned());
        user.subscribe.push(topology::ledger_subject(service, topology::PAUSES));
    }
    // Its custodian deletes what stands under the wrong customer, or of one who is forgotten.
    // It moves nothing that a service downstream has not read, which the newest record there tells.
    for (_, downstream) in topology::readers_of(ledger) {
        user.publish.push(format!("$JS.API.STREAM.MSG.GET.{downstream}"));
    }
    let snapshots = topology::snapshots(service);
    user.remove(ledger);
    user.remove(&topology::bucket_stream(&snapshots));
    if service == "identity-merge" {
        user.remove(INBOUND);
        // And what the customer sent, there or on its way there.
        user.remove_objects(MEDIA);
        user.publish.push(format!("$JS.API.STREAM.MSG.GET.{FETCH}"));
        user.remove(FETCH);
    }
    if let Some(items) = topology::items_of(ledger) {
        user.publish.push(format!("$JS.API.STREAM.MSG.GET.{items}"));
        user.remove(items);
    }
    user.publish.push(topology::dead_subject(service));
    let forward = topology::forward_subject(service);
    user.publish.push(forward.clone());
    user.subscribe.extend([forward, topology::endpoint_subject(service, "*"), "$SRV.>".to_owned()]);
    user.publish.push(format!("$KV.{LEASES}.{service}"));
    user.api(&format!("KV_{LEASES}"), &["STREAM.INFO", "STREAM.MSG.GET", "DIRECT.GET"]);
    user.read_bucket(CONFIGURATIONS);
    user.write_bucket(&snapshots);
    user
}

impl User {
    fn api(&mut self, stream: &str, calls: &[&str]) {
        for call in calls {
            self.publish.push(format!("$JS.API.{call}.{stream}"));
            if *call != "STREAM.INFO" && *call != "STREAM.PURGE" {
                self.publish.push(format!("$JS.API.{call}.{stream}.>"));
            }
        }
    }

    /// Reads a stream by consumers that acknowledge nothing.
    fn look(&mut self, stream: &str) {
        self.api(
            stream,
            &[
                "STREAM.INFO",
                "STREAM.MSG.GET",
                "DIRECT.GET",
                "CONSUMER.CREATE",
                "CONSUMER.INFO",
                "CONSUMER.MSG.NEXT",
                "CONSUMER.DELETE",
            ],
        );
    }

    /// Overwrites single messages of a stream.
    fn remove(&mut self, stream: &str) {
        self.publish.push(format!("$JS.API.STREAM.MSG.DELETE.{stream}"));
    }

    /// Reads a stream by consumers that take messages off.
    fn read(&mut self, stream: &str) {
        self.look(stream);
        self.api(stream, &["CONSUMER.DURABLE.CREATE"]);
        // Two forms of the acknowledgement subject are in use; the second names domain and account.
        self.publish.push(format!("$JS.ACK.{stream}.>"));
        self.publish.push(format!("$JS.ACK.*.*.{stream}.>"));
    }

    /// Finds single objects of a bucket and overwrites them.
    fn remove_objects(&mut self, bucket: &str) {
        let stream = topology::bucket_stream(bucket);
        self.publish.push(format!("$JS.API.STREAM.MSG.GET.{stream}"));
        self.remove(&stream);
    }

    fn read_bucket(&mut self, bucket: &str) {
        self.look(&format!("OBJ_{bucket}"));
        self.publish.push(format!("$JS.FC.OBJ_{bucket}.>"));
    }

    fn write_bucket(&mut self, bucket: &str) {
        self.read_bucket(bucket);
        self.publish.push(format!("$O.{bucket}.>"));
        self.api(&format!("OBJ_{bucket}"), &["STREAM.PURGE"]);
    }
}

/// The variable that holds a user's password in the server's environment.
#[must_use]
pub fn password_variable(user: &str) -> String {
    format!("NATS_{}_PASSWORD", user.replace('-', "_").to_uppercase())
}

/// The `authorization` block of the server's configuration. Passwords are read from the server's
/// environment, by [`password_variable`].
#[must_use]
pub fn server_users() -> String {
    let mut config = String::from(
        "# Generated by `mainstem server-users` from the topology; change it there.\n\
         authorization {\n  users: [\n",
    );
    let list = |subjects: &[String]| {
        let quoted: Vec<_> = subjects.iter().map(|subject| format!("\"{subject}\"")).collect();
        quoted.join(", ")
    };
    for user in users() {
        let _ = writeln!(
            config,
            "    {{ user: \"{}\", password: ${}, permissions: {{\n      \
             publish: {{ allow: [{}] }}\n      \
             subscribe: {{ allow: [{}] }}\n      allow_responses: true\n    }} }}",
            user.name,
            password_variable(user.name),
            list(&user.publish),
            list(&user.subscribe),
        );
    }
    config.push_str("  ]\n}\n");
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ingress_reads_nothing_of_customers() {
        let ingress = users().into_iter().find(|user| user.name == "ingress").unwrap();
        let of_customers: Vec<_> =
            ingress.publish.iter().filter(|subject| subject.contains("CUSTOMER")).collect();
        assert_eq!(
            of_customers,
            ["$JS.API.DIRECT.GET.CUSTOMER.ledger.identity-merge.configuration"]
        );
        assert!(!ingress.publish.iter().any(|subject| subject.contains(INBOUND)));
        // Nor can it read through what they sent: it finds single objects by their names.
        assert!(
            !ingress.publish.iter().any(|subject| subject.contains("CONSUMER.CREATE.OBJ_MEDIA"))
        );
    }

    #[test]
    fn a_ledger_has_one_writer_and_a_notification_item_none_but_the_broker() {
        let writers = |subject: &str| -> Vec<_> {
            users()
                .iter()
                .filter(|user| user.name != ADMIN)
                .filter(|user| user.publish.iter().any(|allowed| allowed == subject))
                .map(|user| user.name)
                .collect()
        };
        assert_eq!(writers("customer.*.case"), ["routing"]);
        assert_eq!(writers("customer.*.identity"), ["identity-merge"]);
        assert_eq!(writers("customer.*.notification.send.*.*"), ["notification"]);
        assert_eq!(writers("forward.routing"), ["routing"]);
        assert_eq!(writers("$JS.API.STREAM.PURGE.QUEUES"), ["routing"]);
        let may_delete = |stream: &str| writers(&format!("$JS.API.STREAM.MSG.DELETE.{stream}"));
        for (service, ledger) in LEDGERS {
            assert_eq!(may_delete(ledger), [service]);
            assert_eq!(may_delete(&format!("OBJ_{}", topology::snapshots(service))), [service]);
        }
        assert_eq!(may_delete(INBOUND), ["identity-merge"]);
        assert_eq!(may_delete(OUTBOX), ["notification"]);
        assert_eq!(may_delete(FETCH), ["identity-merge", "ingress"]);
        assert_eq!(may_delete("OBJ_MEDIA"), ["identity-merge", "ingress"]);
        for (service, ledger) in LEDGERS {
            for (_, downstream) in topology::readers_of(ledger) {
                assert!(
                    writers(&format!("$JS.API.STREAM.MSG.GET.{downstream}")).contains(&service)
                );
            }
        }
        let deletes = |user: &User| {
            user.publish.iter().filter(|subject| subject.contains("MSG.DELETE")).count()
        };
        assert_eq!(users().iter().map(deletes).sum::<usize>(), 12);
        for user in users().iter().filter(|user| user.name != ADMIN) {
            assert!(
                user.publish
                    .iter()
                    .all(|subject| subject != ">" && !subject.starts_with("$JS.API.>")),
                "{} may do everything",
                user.name
            );
            assert!(!user.subscribe.contains(&"_INBOX.>".to_owned()), "{}", user.name);
        }
    }
}
