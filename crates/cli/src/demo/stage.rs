use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Context as _;
use mainstem_domain::At;
use mainstem_domain::configuration::{Channel, ChannelKind, Configuration, Mode};
use mainstem_runtime::Process;
use mainstem_runtime::config::Config;
use mainstem_runtime::service::wall_clock;
use tempfile::TempDir;
use tokio::process::Command;

use super::broker;
use super::child::Program;
use super::feed::Feed;
use super::files::{self, Places, Secret};
use crate::operator::{Operator, connect};
use crate::{provision, tree, up};

/// How long a writer may take until it writes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Everything that the demo plays on.
pub(super) struct Stage {
    pub(super) example: Configuration,
    pub(super) secret: Secret,
    pub(super) process: Process,
    pub(super) running: up::Running,
    pub(super) operator: Operator,
    /// Where the broker is.
    nats: String,
    /// Where the stand-in of LINE is.
    pub(super) line: String,
    programs: Vec<Program>,
    folder: Option<TempDir>,
}

/// The example that `deploy/example` holds, as it was when this was compiled.
pub(super) fn example() -> Vec<tree::File> {
    macro_rules! files {
        ($($name:literal),*) => {
            [$(($name, include_str!(concat!("../../../../deploy/example/", $name)))),*]
        };
    }
    files!(
        "brands.yaml",
        "calendars.yaml",
        "channels.yaml",
        "identity.yaml",
        "policies.yaml",
        "queues.yaml",
        "rules.yaml",
        "stores.yaml",
        "staff.yaml",
        "templates/aurelune.en.yaml",
        "templates/aurelune.zh-TW.yaml",
        "templates/fennorel.en.yaml",
        "templates/fennorel.zh-TW.yaml",
        "templates/house.en.yaml",
        "templates/house.zh-TW.yaml",
        "templates/zephrine.en.yaml",
        "templates/zephrine.zh-TW.yaml",
        "units.yaml",
        "voice.yaml"
    )
    .map(|(name, text)| (format!("deploy/example/{name}"), text.to_owned()))
    .into()
}

/// How many of the example's accounts are being moved on this day.
const IN_SHADOW: usize = 3;

/// The example as the demo applies it: a few accounts are in shadow. Where their incumbents are is
/// known once the stand-in of LINE listens.
pub(super) fn directory() -> anyhow::Result<Configuration> {
    let mut example = tree::merge(&example())?;
    let lives = |channel: &&mut Channel| {
        channel.kind == ChannelKind::Line && channel.mode == Mode::Live && channel.store.is_some()
    };
    for channel in example.channels.values_mut().filter(lives).step_by(25).take(IN_SHADOW) {
        channel.mode = Mode::Shadow;
    }
    Ok(example)
}

fn name_incumbents(example: &mut Configuration, line: &str) {
    for (id, channel) in &mut example.channels {
        if channel.mode == Mode::Shadow {
            channel.incumbent = Some(format!("{line}/sandbox/incumbent/{id}"));
        }
    }
}

impl Stage {
    /// Starts the broker, the stand-in of LINE, and every service.
    pub(super) async fn set(
        nats_server: &Path,
        sandbox: &Path,
        example: Configuration,
        feed: &Feed,
    ) -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix("mainstem-demo-").context("cannot make a folder")?;
        log_to(&folder.path().join("services.log"))?;
        match Box::pin(Self::set_in(&folder, nats_server, sandbox, example, feed)).await {
            Ok(stage) => Ok(Self { folder: Some(folder), ..stage }),
            Err(error) => {
                keep_logs(folder);
                Err(error)
            }
        }
    }

    async fn set_in(
        folder: &TempDir,
        nats_server: &Path,
        sandbox: &Path,
        mut example: Configuration,
        feed: &Feed,
    ) -> anyhow::Result<Self> {
        let folder = folder.path();
        let write = |name: &str, text: &str| -> anyhow::Result<PathBuf> {
            let path = folder.join(name);
            std::fs::write(&path, text)
                .with_context(|| format!("cannot write {}", path.display()))?;
            Ok(path)
        };
        feed.bodies.add_channels(&mut example);
        let secret = Secret::new()?;
        let clock = files::clock(now());
        let destinations = &feed.bodies.destinations;
        let channels = write("channels.toml", &files::channels(&secret, &example, destinations))?;
        let callers = write("callers.toml", &files::callers(&secret, &example))?;
        let clock_file = write("clock.toml", &clock)?;

        let (broker, nats) = broker::start(nats_server, folder, &secret).await?;
        let (platform, line) = platform(sandbox, folder, &channels, &clock_file, feed.seed).await?;
        name_incumbents(&mut example, &line);
        let places = Places { nats: &nats, line: &line, callers: &callers, channels: &channels };
        let config = write("mainstem.toml", &files::config(&secret, &clock, &places))?;
        let config = Config::load(Some(&config), std::iter::empty())?;

        let admin = connect(&config, Some("admin"), &secret.of("admin")).await?;
        for change in provision::run(&admin, 1).await? {
            tracing::info!(%change, "provisioned");
        }
        let operator = Operator::connect(&config).await?;
        let process = Process::new(config)?;
        let running = Box::pin(up::start(&process)).await?;
        let programs = vec![platform, broker];
        Ok(Self { example, secret, process, running, operator, nats, line, programs, folder: None })
    }

    /// Waits until every ledger has its writer.
    pub(super) async fn ready(&self) -> anyhow::Result<()> {
        let up::Running { identity_merge, routing, notification, .. } = &self.running;
        for started in [identity_merge, routing, notification] {
            let writes = started.handle.wait_until(|status| status.writer);
            tokio::time::timeout(PATIENCE, writes)
                .await
                .context("a service does not become the writer of its ledger")?;
        }
        Ok(())
    }

    /// Waits until ingress works by this configuration: it looks once a second.
    pub(super) async fn follows(&self, digest: &str) -> anyhow::Result<()> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let url = format!("http://{}/healthz", self.running.webhooks);
        let followed = async {
            loop {
                let health: serde_json::Value = client.get(&url).send().await?.json().await?;
                if health["configuration"] == digest {
                    return anyhow::Ok(());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, followed)
            .await
            .context("ingress does not follow the configuration")?
    }

    /// Ends what was started, and tells where the logs are when they are needed.
    pub(super) async fn strike(self, failed: bool) {
        for program in self.programs {
            program.end().await;
        }
        if let Some(folder) = self.folder.filter(|_| failed) {
            keep_logs(folder);
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.as_ref().map(|folder| folder.path().join(name)).unwrap_or_default()
    }

    /// What to look at while it runs.
    pub(super) fn guide(&self) -> String {
        let up::Running { identity_merge, routing, notification, webhooks } = &self.running;
        let (nats, line) = (&self.nats, &self.line);
        let token = self.secret.of("operator/demo");
        let password = self.secret.of("operator");
        let config = self.path("mainstem.toml");
        format!(
            "\neverything runs until Ctrl-C\n\
             \n  webhooks        http://{webhooks}/webhooks/line/<channel>\
             \n  identity-merge  {}  (gRPC with reflection)\
             \n  routing         {}\
             \n  notification    {}\
             \n  other systems   http://{webhooks}/events/<channel>\
             \n  chats           {line}/  (as people see them)\
             \n  stand-in LINE   {line}/sandbox/ledger\
             \n  configuration   mainstem --config {} status\
             \n  log             {}\n\
             \n  nats context add mainstem-demo --server {nats} --user operator --password {password} --inbox-prefix _INBOX_operator\
             \n  nats --context mainstem-demo sub 'customer.>'\
             \n  nats --context mainstem-demo micro ls\
             \n  nats --context mainstem-demo req svc.routing.list-cases '{{\"pageSize\":1}}' -H 'Authorization:Bearer {token}'\n\n",
            identity_merge.grpc,
            routing.grpc,
            notification.grpc,
            config.display(),
            self.path("services.log").display(),
        )
    }
}

async fn platform(
    sandbox: &Path,
    folder: &Path,
    channels: &Path,
    clock: &Path,
    seed: u64,
) -> anyhow::Result<(Program, String)> {
    let port_file = folder.join("line.port");
    let mut command = Command::new(sandbox);
    command.args(["serve", "--listen", "127.0.0.1:0"]);
    command.arg("--channels").arg(channels).arg("--config").arg(clock);
    command.arg("--port-file").arg(&port_file).arg("--seed").arg(seed.to_string());
    command.env_clear();
    let mut program = Program::start("sandbox", command, &folder.join("line-sandbox.log"))?;
    let port = program.wait(|| std::fs::read_to_string(&port_file).ok()).await?;
    Ok((program, format!("http://127.0.0.1:{}", port.trim())))
}

fn now() -> At {
    let since = wall_clock().duration_since(UNIX_EPOCH).unwrap_or_default();
    At::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The services' log goes to a file: the terminal is for the demo.
fn log_to(file: &Path) -> anyhow::Result<()> {
    let file =
        std::fs::File::create(file).with_context(|| format!("cannot write {}", file.display()))?;
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_ansi(false)
        .with_writer(Mutex::new(file))
        .init();
    Ok(())
}

fn keep_logs(folder: TempDir) {
    let folder = folder.keep();
    eprintln!("the logs are in {}", folder.display());
}
