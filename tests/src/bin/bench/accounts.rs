//! One slow account among many: what it costs the others.

use std::ops::Range;
use std::time::Duration;

use clap::Args;
use mainstem_bus::topology::OUTBOX;
use mainstem_tests::deployment::eventually;
use serde::Serialize;

use crate::path::{Running, post, service};
use crate::traffic::{CHANNELS, Webhook};
use crate::{Sync, rate, start};

#[derive(Args)]
pub(crate) struct AccountsArguments {
    /// Items that wait for each account when the sender starts
    #[arg(long, default_value_t = 150)]
    items: usize,
    /// How long the slow account takes for each answer, in milliseconds
    #[arg(long, default_value_t = 3_000)]
    slow_ms: u64,
    /// Print one JSON object as the last line
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Figures {
    accounts: usize,
    items_of_each: usize,
    slow_ms: u64,
    /// Of the accounts but the slow one, when none is slow.
    others_per_s_before: f64,
    /// The same, when one is.
    others_per_s_with_one_slow: f64,
}

/// What waits is sent by one sender, first with every account at full speed, then with one that is
/// slow: how fast the others' items arrive.
pub(crate) async fn run(arguments: &AccountsArguments) -> anyhow::Result<()> {
    let AccountsArguments { items, slow_ms, json } = *arguments;
    let taps = CHANNELS * items;
    let others = (CHANNELS - 1) * items;
    let mut running = Running::start(&service()?, Sync::Default).await?;
    // The first ones find no connections and no token; nobody counts them.
    let warm_up = 2 * CHANNELS;
    post(&running.poster, &Webhook::all(0..warm_up, 1)).await?;
    running.line.answered(warm_up).await?;

    let before = round(&mut running, warm_up..warm_up + taps, warm_up + taps).await?;
    running.line.slow_down(Duration::from_millis(slow_ms));
    let end = warm_up + taps;
    let with_one_slow = round(&mut running, end..end + taps, end + others).await?;
    let figures = Figures {
        accounts: CHANNELS,
        items_of_each: items,
        slow_ms,
        others_per_s_before: before,
        others_per_s_with_one_slow: with_one_slow,
    };
    println!("{CHANNELS} accounts, {items} items of each");
    println!("  none slow                   {before:>10.0} items/s");
    println!("  one takes {slow_ms} ms, the others {with_one_slow:>10.0} items/s");
    if json {
        println!("{}", serde_json::to_string(&figures)?);
    }
    Ok(())
}

/// Lets these taps wait as items, starts a sender, and waits until LINE has so many answers; the rate at
/// which they came.
async fn round(running: &mut Running, taps: Range<usize>, until: usize) -> anyhow::Result<f64> {
    running.stop_sender()?;
    let (count, answered) = (taps.len(), until - taps.start);
    eprintln!("{count} items are made");
    post(&running.poster, &Webhook::all(taps, 1)).await?;
    eventually("all wait", async || {
        let waiting = running.deployment.count(OUTBOX).await;
        (waiting == count).then_some(())
    })
    .await;
    let started = start();
    running.start_sender();
    running.line.answered(until).await?;
    Ok(rate(answered, started))
}
