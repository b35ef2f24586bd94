use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::try_join_all;
use mainstem_bus::nats::Outbox;
use mainstem_domain::ChannelId;
use tokio_util::sync::CancellationToken;

use crate::Sender;
use crate::lane::{self, Lanes};

/// How often it is looked at what waits for accounts that nobody has the credentials of.
const LOOK_EVERY: Duration = Duration::from_mins(1);

/// Opens the lanes of every account that there are credentials of.
pub(crate) async fn open(sender: &Sender, outbox: &Outbox) -> anyhow::Result<Vec<Lanes>> {
    let lanes = sender.channels.iter().map(|(channel, _)| Lanes::open(channel, outbox));
    try_join_all(lanes).await
}

/// Sends until `shutdown`; then takes no new item and returns when those in hand are let go. Who
/// drops it before that leaves them to the broker, which hands them out again.
pub(crate) async fn run(
    sender: Sender,
    outbox: Outbox,
    lanes: Vec<Lanes>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let accounts: BTreeSet<_> = lanes.iter().map(|lanes| lanes.prompt.channel.clone()).collect();
    let lanes = lanes.into_iter().map(|lanes| lane::run(&sender, lanes, &shutdown));
    let mut lanes = std::pin::pin!(try_join_all(lanes));
    let watch = look_for_strangers(&outbox, &accounts, &shutdown);
    tokio::select! {
        ended = &mut lanes => return ended.map(drop),
        () = watch => {}
    }
    lanes.await.map(drop)
}

/// Says which accounts items wait for that are not in the channels file: nothing is lost of them, and
/// nobody sends them.
async fn look_for_strangers(
    outbox: &Outbox,
    accounts: &BTreeSet<ChannelId>,
    shutdown: &CancellationToken,
) {
    let mut look = tokio::time::interval(LOOK_EVERY);
    while shutdown.run_until_cancelled(look.tick()).await.is_some() {
        match outbox.waiting().await {
            Ok(waiting) => {
                let strange = waiting.iter().filter(|(channel, _)| !accounts.contains(*channel));
                for (channel, items) in strange {
                    tracing::error!(%channel, items, "the channels file lacks this channel");
                }
            }
            Err(error) => tracing::warn!(%error, "cannot see what waits on OUTBOX"),
        }
    }
}
