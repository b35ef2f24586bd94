//! One service as a process, by name: what its own `main` does, under a path that tests know. And
//! the stand-in of LINE, which knows the accounts that the sender knows.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::middleware::{self, Next};
use mainstem_line::Channels;
use mainstem_line_sandbox::{Faults, Sandbox};
use mainstem_runtime::config::environment;
use mainstem_runtime::{Config, Process, exit, run};
use tokio::net::TcpListener;

fn main() -> ExitCode {
    let name = std::env::args().nth(1).unwrap_or_default();
    let config = match Config::load(None, environment()) {
        Ok(config) => config,
        Err(error) => return exit(Err(error.into())),
    };
    exit(match name.as_str() {
        "identity-merge" => run("identity-merge", config, async |process| {
            Box::pin(mainstem_identity_merge::start(process)).await?;
            Ok(())
        }),
        "routing" => run("routing", config, async |process| {
            Box::pin(mainstem_routing::start(process)).await?;
            Ok(())
        }),
        "notification" => run("notification", config, async |process| {
            Box::pin(mainstem_notification::start(process)).await?;
            Ok(())
        }),
        "ingress" => run("ingress", config, async |process| {
            mainstem_ingress::start(process).await?;
            Ok(())
        }),
        "sender" => run("sender", config, async |process| mainstem_sender::start(process).await),
        "line-sandbox" => run("line-sandbox", config, async |process| line(process).await),
        other => Err(anyhow::anyhow!("no service is called {other:?}")),
    })
}

/// LINE's answer takes so long after the user sees the message. A sender that is killed has some
/// calls in this place: sent, and unknown to anybody here.
const ANSWER_TAKES: Duration = Duration::from_millis(50);

async fn line(process: &Process) -> anyhow::Result<()> {
    let file = process.config.sender.channels_file.as_deref();
    let channels = Channels::parse(&Process::read("sender.channels_file", file)?)?;
    let (now, speed) = (process.clock.clone(), process.clock.clone());
    let sandbox = Sandbox::new(channels, Faults::default(), Arc::new(move || now.now()))?
        .with_speed(Arc::new(move |span| speed.real_duration(span)));
    let routes = mainstem_line_sandbox::router(Arc::new(sandbox));
    let routes = routes.layer(middleware::from_fn(async |request: Request, next: Next| {
        let answer = next.run(request).await;
        tokio::time::sleep(ANSWER_TAKES).await;
        answer
    }));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let serve = axum::serve(listener, routes)
        .with_graceful_shutdown(process.lifecycle.stopping().cancelled_owned());
    process.lifecycle.spawn("line-sandbox", async move { Ok(serve.await?) });
    tracing::info!(http = %address, "line-sandbox listens");
    Ok(())
}
