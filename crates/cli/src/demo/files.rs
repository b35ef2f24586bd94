//! The files that a deployment has, for one day on one machine.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mainstem_bus::sha256_hex;
use mainstem_domain::configuration::{ChannelKind, Configuration};
use mainstem_domain::{At, ChannelId};

/// Everything secret in one run follows from this, so nothing secret is ever the same twice.
pub(super) struct Secret(String);

impl Secret {
    pub(super) fn new() -> anyhow::Result<Self> {
        let mut bytes = [0; 32];
        std::fs::File::open("/dev/urandom")
            .and_then(|mut file| file.read_exact(&mut bytes))
            .context("cannot read random bytes from /dev/urandom")?;
        Ok(Self(sha256_hex(&bytes)))
    }

    /// The password or token of one name. Starts with a letter: nats-server takes a variable that
    /// starts with a digit for a number.
    pub(super) fn of(&self, name: &str) -> String {
        format!("s{}", &sha256_hex(format!("{} {name}", self.0).as_bytes())[..40])
    }
}

/// A minute of the demo is an hour of the day, which begins when the shops open.
const SPEED: u32 = 60;
const OPENING: &str = "2026-11-21T02:00:00Z";

pub(super) fn clock(now: At) -> String {
    format!("[clock]\nspeed = {SPEED}.0\norigin_real = \"{now}\"\norigin_virtual = \"{OPENING}\"\n")
}

/// Who may call: the operator, the sender, the desks, and one unit for each queue.
pub(super) fn callers(secret: &Secret, example: &Configuration) -> String {
    let mut text = String::new();
    let mut caller = |name: &str, role: &str, scope: &str| {
        let hash = sha256_hex(secret.of(name).as_bytes());
        let _ = writeln!(
            text,
            "[[caller]]\nname = \"{name}\"\nrole = \"{role}\"\ntoken_sha256 = \"{hash}\"\nscope = {{ {scope} }}\n"
        );
    };
    caller("operator/demo", "operator", "all = true");
    caller("service/sender", "service", "all = true");
    caller("desk/demo", "desk", "all = true");
    for queue in example.queues.keys() {
        caller(&format!("unit/{queue}"), "unit", &format!("queues = [\"{queue}\"]"));
    }
    text
}

/// The key with which a shop, a till or a phone desk signs.
pub(super) fn source_key(secret: &Secret, id: &ChannelId) -> String {
    secret.of(&format!("{id}/secret"))
}

/// The credentials of every channel. Each third brand has a LINE provider of its own; shops, tills and
/// phone desks sign by Standard Webhooks. `destinations` are the accounts' own ids where they are
/// given: whose bodies were recorded elsewhere has to be who they name.
pub(super) fn channels(
    secret: &Secret,
    example: &Configuration,
    destinations: &BTreeMap<ChannelId, String>,
) -> String {
    let mut text = String::new();
    for (id, channel) in &example.channels {
        if channel.kind != ChannelKind::Line {
            let key = STANDARD.encode(source_key(secret, id));
            let _ = writeln!(text, "[sources.{id}]\nsecret = \"whsec_{key}\"\n");
            continue;
        }
        let number = example
            .brands
            .keys()
            .position(|brand| Some(brand) == channel.brand.as_ref())
            .unwrap_or(0);
        let made = format!("U{}", &sha256_hex(id.as_str().as_bytes())[..32]);
        let account = destinations.get(id).unwrap_or(&made);
        let _ = writeln!(
            text,
            "[channels.{id}]\nprovider = \"provider-{}\"\ndestination = {account:?}\n\
             channel_id = \"{id}\"\nsecret = \"{}\"\n",
            number % 3,
            secret.of(&format!("{id}/secret")),
        );
    }
    text
}

/// Where things are that the configuration names.
pub(super) struct Places<'a> {
    pub(super) nats: &'a str,
    pub(super) line: &'a str,
    pub(super) callers: &'a std::path::Path,
    pub(super) channels: &'a std::path::Path,
}

/// Mainstem's configuration: every service on a free port of this machine.
pub(super) fn config(secret: &Secret, clock: &str, places: &Places<'_>) -> String {
    let Places { nats, line, callers, channels } = places;
    let (callers, channels) = (callers.to_string_lossy(), channels.to_string_lossy());
    let user =
        |name: &str| format!("nats_user = \"{name}\"\nnats_password = \"{}\"", secret.of(name));
    // Snapshots often enough to see some, and to let `mainstem doctor` compare with them.
    let mut text = format!(
        "{clock}\n[nats]\nurl = \"{nats}\"\n\n[callers]\nfile = {callers:?}\n\
         \n[engine]\nsnapshot_every_records = 200\n"
    );
    for (section, name) in [
        ("identity_merge", "identity-merge"),
        ("routing", "routing"),
        ("notification", "notification"),
    ] {
        let _ = write!(text, "\n[{section}]\ngrpc_listen = \"127.0.0.1:0\"\n{}\n", user(name));
        if section == "routing" {
            let _ = writeln!(text, "binding_key = \"{}\"", secret.of("bindings"));
        }
    }
    let _ = write!(
        text,
        "\n[ingress]\nhttp_listen = \"127.0.0.1:0\"\ngrpc_listen = \"127.0.0.1:0\"\n{}\nchannels_file = {channels:?}\nhandle_key = \"{}\"\n\
         line_api_url = \"{line}\"\nline_data_url = \"{line}\"\n\
         \n[sender]\n{}\nchannels_file = {channels:?}\nline_api_url = \"{line}\"\ntoken = \"{}\"\n\
         \n[operator]\n{}\ntoken = \"{}\"\n",
        user("ingress"),
        secret.of("handles"),
        user("sender"),
        secret.of("service/sender"),
        user("operator"),
        secret.of("operator/demo"),
    );
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use mainstem_line::Channels;
    use mainstem_runtime::{Callers, Config};

    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let secret = Secret("x".to_owned());
        let example = crate::tree::merge(&super::super::stage::example()).unwrap();
        Callers::parse(&callers(&secret, &example)).unwrap();
        let account = ("line-entry".parse().unwrap(), "Uab01".to_owned());
        let channels = channels(&secret, &example, &[account].into());
        let read = Channels::parse(&channels).unwrap();
        assert_eq!(read.iter().count() + read.sources().count(), example.channels.len());
        assert!(channels.contains("[channels.line-entry]"), "{channels}");
        assert!(channels.contains("destination = \"Uab01\""), "{channels}");
        assert!(channels.contains("[sources.shop-web]\nsecret = \"whsec_"), "{channels}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a \"b\".toml");
        let places = Places {
            nats: "nats://127.0.0.1:1",
            line: "http://127.0.0.1:2",
            callers: Path::new("c"),
            channels: Path::new("d"),
        };
        std::fs::write(&path, config(&secret, &clock(At::from_millis(0)), &places)).unwrap();
        let config = Config::load(Some(&path), std::iter::empty()).unwrap();
        assert_eq!(config.sender.line_api_url, "http://127.0.0.1:2");
        assert_eq!(config.clock.origin_virtual, At::parse(OPENING));
    }
}
