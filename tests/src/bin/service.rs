//! One service as a process, by name: what its own `main` does, under a path that tests know.

use std::process::ExitCode;

use mainstem_identity_merge::IdentityMachine;
use mainstem_notification::NotificationMachine;
use mainstem_runtime::config::environment;
use mainstem_runtime::{Config, exit, run, service};

fn main() -> ExitCode {
    let name = std::env::args().nth(1).unwrap_or_default();
    let config = match Config::load(None, environment()) {
        Ok(config) => config,
        Err(error) => return exit(Err(error.into())),
    };
    exit(match name.as_str() {
        "identity-merge" => run("identity-merge", config, async |process| {
            service::start::<IdentityMachine>(process, &process.config.identity_merge).await?;
            Ok(())
        }),
        "routing" => run("routing", config, async |process| {
            Box::pin(mainstem_routing::start(process)).await?;
            Ok(())
        }),
        "notification" => run("notification", config, async |process| {
            service::start::<NotificationMachine>(process, &process.config.notification).await?;
            Ok(())
        }),
        "ingress" => run("ingress", config, async |process| {
            mainstem_ingress::start(process).await?;
            Ok(())
        }),
        "sender" => run("sender", config, async |process| mainstem_sender::start(process).await),
        other => Err(anyhow::anyhow!("no service is called {other:?}")),
    })
}
