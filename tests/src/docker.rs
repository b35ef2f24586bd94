//! A Docker engine, and the whole of `docker-compose.yml` on it, out of images that are made here.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

use crate::page::{Shell, put};
use crate::tools::{passed_over, runs, workspace};

/// Every program of the image.
const PROGRAMS: [&str; 7] = [
    "mainstem",
    "mainstem-identity-merge",
    "mainstem-routing",
    "mainstem-notification",
    "mainstem-ingress",
    "mainstem-sender",
    "mainstem-line-sandbox",
];

/// An engine that answers: this machine's, or one of the test's own, which ends with it.
pub struct Engine {
    own: Option<(Child, TempDir)>,
}

impl Engine {
    /// The engine that `docker` reaches; else, as root and where `dockerd` is installed, a new one.
    /// `None` when there is neither, and says so.
    ///
    /// # Panics
    /// When no folder can be made.
    #[must_use]
    pub fn find() -> Option<Self> {
        if !runs(Command::new("docker").arg("--version")) {
            return passed_over("docker is not installed");
        }
        let reached = Self { own: None };
        if reached.answers() {
            return Some(reached);
        }
        if !geteuid().is_root() || !runs(Command::new("dockerd").arg("--version")) {
            return passed_over("no Docker engine answers, and none can be started here");
        }
        let folder = TempDir::new().expect("a folder");
        let place = |name: &str| folder.path().join(name);
        let log = fs::File::create(place("log")).expect("a log");
        let daemon = Command::new("dockerd")
            .arg("--host")
            .arg(format!("unix://{}", place("docker.sock").display()))
            .arg("--data-root")
            .arg(place("data"))
            .arg("--exec-root")
            .arg(place("exec"))
            .arg("--pidfile")
            .arg(place("pid"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .ok()?;
        let mut engine = Self { own: Some((daemon, folder)) };
        for _ in 0..150 {
            if engine.answers() {
                return Some(engine);
            }
            let (daemon, _) = engine.own.as_mut()?;
            if daemon.try_wait().ok().flatten().is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        let (_, folder) = engine.own.as_ref()?;
        let log = fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        passed_over(&format!("dockerd does not start: {}", log.lines().last().unwrap_or_default()))
    }

    /// What `docker` is told, so that it reaches this engine.
    #[must_use]
    pub fn environment(&self) -> BTreeMap<String, String> {
        let mut environment = BTreeMap::new();
        if let Some((_, folder)) = &self.own {
            let socket = folder.path().join("docker.sock");
            environment.insert("DOCKER_HOST".to_owned(), format!("unix://{}", socket.display()));
        }
        environment
    }

    fn answers(&self) -> bool {
        runs(Command::new("docker").arg("info").envs(self.environment()))
    }

    /// The ways to run a compose file that are here, as people type them.
    #[must_use]
    pub fn flavours(&self) -> Vec<&'static str> {
        let there = |flavour: &&str| {
            let mut words = flavour.split(' ');
            let mut ask = Command::new(words.next().unwrap_or_default());
            runs(ask.args(words).arg("version").envs(self.environment()))
        };
        ["docker compose", "docker-compose"].into_iter().filter(there).collect()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some((daemon, _)) = &mut self.own {
            // An error means that it has ended by itself.
            let _ = kill_process(Pid::from_child(daemon), Signal::TERM);
            let _ = daemon.wait();
        }
    }
}

/// A copy of the deployment's files, brought up by one flavour of compose. Taken down when dropped,
/// with its volume and its images.
pub struct Project {
    /// Runs the commands of an operator in it.
    pub shell: Shell,
    /// Its name for compose, and of its image.
    pub name: String,
    /// The port of this machine for each service.
    pub ports: BTreeMap<&'static str, u16>,
    folder: TempDir,
}

impl Project {
    /// Copies the files, makes the stand-in images, and prepares a shell in which `docker compose`
    /// is `flavour`. Starts nothing.
    ///
    /// # Panics
    /// When that fails; says at what.
    #[must_use]
    pub fn prepare(engine: &Engine, flavour: &str, programs: &Path, nats_server: &Path) -> Self {
        let folder = TempDir::new().expect("a folder");
        let root = workspace();
        for file in ["docker-compose.yml", ".dockerignore"] {
            fs::copy(root.join(file), folder.path().join(file)).expect("copies");
        }
        copy(&root.join("deploy"), &folder.path().join("deploy"));

        let name = format!("mainstem-test-{}", std::process::id());
        let tools = folder.path().join("programs");
        let mut shell = Shell::new(folder.path(), &tools);
        shell.environment.extend(engine.environment());
        let home = crate::tools::variable("HOME").unwrap_or_default();
        let set = [
            ("COMPOSE_PROJECT_NAME", name.clone()),
            ("COMPOSE_PROFILES", "demo".to_owned()),
            // Plugins of whoever runs the test stay in reach.
            ("DOCKER_CONFIG", format!("{home}/.docker")),
        ];
        shell.environment.extend(set.map(|(key, value)| (key.to_owned(), value)));
        if !runs(Command::new("docker").args(["buildx", "version"])) {
            shell.environment.insert("DOCKER_BUILDKIT".to_owned(), "0".to_owned());
        }
        if flavour == "docker-compose" {
            fs::create_dir_all(&tools).expect("a folder");
            let script = "#!/bin/sh\n[ \"$1\" = compose ] && shift && exec docker-compose \"$@\"\n\
                          PATH=${PATH#*:} exec docker \"$@\"\n";
            fs::write(tools.join("docker"), script).expect("writes");
            let executable = fs::Permissions::from_mode(0o755);
            fs::set_permissions(tools.join("docker"), executable).expect("is executable");
        }
        if let Some(cli) = crate::tools::nats_cli() {
            put(&tools, "nats", &cli).expect("a link");
        }

        let services = ["NATS", "INGRESS", "IDENTITY", "ROUTING", "NOTIFICATION", "SANDBOX"];
        let ports: BTreeMap<_, _> =
            services.into_iter().map(|service| (service, free_port())).collect();
        let mut variables = format!(
            "RUST_IMAGE={name}-rust\nNATS_IMAGE={name}-nats\nMAINSTEM_IMAGE={name}\n\
             LINE_API_URL=http://sandbox:7710\n"
        );
        for (service, port) in &ports {
            variables.extend(["MAINSTEM_", service, "_PORT=", &port.to_string(), "\n"]);
        }
        fs::write(folder.path().join(".env"), variables).expect("writes");
        let port = ports["NATS"];
        shell.environment.insert("MAINSTEM_NATS_PORT".to_owned(), port.to_string());
        shell
            .instead
            .push(("nats://127.0.0.1:4222".to_owned(), format!("nats://127.0.0.1:{port}")));
        shell.instead.push(("mainstem:new".to_owned(), format!("{name}:new")));
        shell
            .instead
            .push(("MAINSTEM_IMAGE=mainstem\n".to_owned(), format!("MAINSTEM_IMAGE={name}\n")));

        let project = Self { shell, name, ports, folder };
        let _ = project.shell.well(&format!(
            "deploy/test/stand-in-images '{}' '{}' {name}-rust {name}-nats",
            nats_server.display(),
            programs.display(),
            name = project.name,
        ));
        project
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What the engine says of each container, by service: `Up 3 seconds (healthy)`.
    #[must_use]
    pub fn states(&self) -> BTreeMap<String, String> {
        let said = self.shell.well(&format!(
            "docker ps --all --filter label=com.docker.compose.project={} \
             --format '{{{{.Label \"com.docker.compose.service\"}}}} {{{{.Status}}}}'",
            self.name
        ));
        said.lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(service, state)| (service.to_owned(), state.to_owned()))
            .collect()
    }

    /// What `docker inspect` says of each container, by service.
    ///
    /// # Panics
    /// When that is no JSON.
    #[must_use]
    pub fn inspect(&self) -> BTreeMap<String, serde_json::Value> {
        let said = self.shell.well(&format!(
            "docker inspect $(docker ps --all --quiet --filter label=com.docker.compose.project={})",
            self.name
        ));
        let containers: Vec<serde_json::Value> = serde_json::from_str(&said).expect("JSON");
        let service = |container: &serde_json::Value| {
            let labels = &container["Config"]["Labels"];
            labels["com.docker.compose.service"].as_str().unwrap_or_default().to_owned()
        };
        containers.into_iter().map(|container| (service(&container), container)).collect()
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let said = self.shell.run("docker compose ps; docker compose logs --tail 20");
            eprintln!("{}", said.text);
        }
        // As much as works: what failed before may have left any part of it.
        let _ = self.shell.run("docker compose down --volumes --remove-orphans");
        let name = &self.name;
        let images = format!("{name}:new {name} {name}-rust {name}-nats");
        let _ = self.shell.run(&format!("docker rmi --force {images}"));
    }
}

/// Builds every program of the image into a folder, without what only a debugger reads. `service`
/// is the test's `env!("CARGO_BIN_EXE_service")`.
///
/// # Panics
/// When that fails.
#[must_use]
pub fn programs(service: &Path) -> TempDir {
    let folder = service.parent().expect("a folder of programs");
    let cargo = crate::tools::variable("CARGO").unwrap_or_else(|| "cargo".to_owned());
    let mut build = Command::new(cargo);
    // Of the whole workspace, as the tests are: nothing is compiled a second time with fewer features.
    build.args(["build", "--workspace"]);
    build.args(PROGRAMS.iter().flat_map(|program| ["--bin", *program]));
    if folder.file_name().is_some_and(|profile| profile == "release") {
        build.arg("--release");
    }
    let status =
        build.current_dir(workspace()).stdin(Stdio::null()).status().expect("cargo starts");
    assert!(status.success(), "the programs are not built");
    let copies = TempDir::new().expect("a folder");
    for program in PROGRAMS {
        let (from, to) = (folder.join(program), copies.path().join(program));
        if !runs(Command::new("strip").arg("-o").arg(&to).arg(&from)) {
            fs::copy(&from, &to).expect("copies");
        }
    }
    copies
}

/// Copies a folder; of secrets, none.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").map_while(Result::ok) {
        let (path, target): (PathBuf, PathBuf) = (entry.path(), to.join(entry.file_name()));
        if !path.is_dir() {
            fs::copy(&path, target).expect("copies");
        } else if entry.file_name() == "secrets" {
            fs::create_dir_all(target).expect("a folder");
        } else {
            copy(&path, &target);
        }
    }
}

/// A port that was free a moment ago: compose wants to be told one.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}
