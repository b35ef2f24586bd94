use std::path::Path;

use anyhow::Context as _;
use mainstem_bus::permissions::{self, password_variable};
use tokio::process::Command;

use super::child::Program;
use super::files::Secret;

/// Starts a nats-server on a free port of this machine, with the users of the topology, and says
/// its URL.
pub(super) async fn start(
    server: &Path,
    folder: &Path,
    secret: &Secret,
) -> anyhow::Result<(Program, String)> {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    write("nats-users.conf", &permissions::server_users())?;
    let store = folder.join("jetstream");
    let store = store.to_string_lossy();
    write(
        "nats.conf",
        &format!(
            "listen: \"127.0.0.1:-1\"\nmax_payload: 4MB\njetstream {{ store_dir: {store:?} }}\n\
             include \"nats-users.conf\"\n"
        ),
    )?;
    let mut command = Command::new(server);
    command.arg("--config").arg(folder.join("nats.conf"));
    command.arg("--ports_file_dir").arg(folder);
    command.env_clear();
    for user in permissions::users() {
        command.env(password_variable(user.name), secret.of(user.name));
    }
    let mut program = Program::start("nats-server", command, &folder.join("nats-server.log"))?;
    let program_id = program.id().unwrap_or_default();
    let name = server.file_name().unwrap_or_default().to_string_lossy();
    let ports = folder.join(format!("{name}_{program_id}.ports"));
    let url = program.wait(|| port(&ports)).await?;
    Ok((program, url))
}

/// Reads `{"nats":["nats://127.0.0.1:4222"]}`, once it is whole.
fn port(file: &Path) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let ports: serde_json::Value = serde_json::from_str(&text).ok()?;
    Some(ports["nats"][0].as_str()?.to_owned())
}
