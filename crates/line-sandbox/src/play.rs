//! `mainstem-line-sandbox play`: asks a stand-in that runs elsewhere to play a day.

use anyhow::{Context as _, bail};
use mainstem_line_sandbox::{PlayRequest, Progress};

#[derive(clap::Args)]
pub(crate) struct Play {
    /// Where the stand-in is, e.g. http://sandbox:7710.
    #[arg(long)]
    sandbox: String,
    /// Where ingress is, as the stand-in reaches it.
    #[arg(long)]
    webhooks: String,
    /// How many events happen.
    #[arg(long, default_value_t = 300)]
    events: usize,
    /// Another seed is another day.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl Play {
    /// Prints what became of the day, as JSON.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let request: PlayRequest = serde_json::from_value(serde_json::json!({
            "webhook_base": self.webhooks,
            "events": self.events,
            "users": (self.events / 5).max(1),
            "seed": self.seed,
        }))?;
        let url = format!("{}/sandbox/play", self.sandbox.trim_end_matches('/'));
        let client = reqwest::Client::builder().no_proxy().build()?;
        let answer = client.post(&url).json(&request).send().await;
        let answer = answer.with_context(|| format!("{url} does not answer"))?;
        if !answer.status().is_success() {
            bail!("{url} answers {}: {}", answer.status(), answer.text().await?);
        }
        let played: Progress = answer.json().await?;
        println!("{}", serde_json::to_string(&played)?);
        if played.failed > 0 {
            bail!("{} of {} deliveries were not taken", played.failed, played.deliveries);
        }
        Ok(())
    }
}
