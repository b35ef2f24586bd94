use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use mainstem_bus::engine::Applied;
use mainstem_bus::nats::{InForce, StoreError};
use mainstem_domain::ChannelId;
use tokio_util::sync::CancellationToken;

/// How often it is asked whether another configuration is in force.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long the first look may take before requests are taken without it.
const FIRST_LOOK: Duration = Duration::from_secs(2);

/// The configuration in force, as far as ingress knows: none before the first `mainstem apply`, and
/// the last good one while the broker is away.
#[derive(Default)]
pub struct Directory(RwLock<Option<Arc<Applied>>>);

impl Directory {
    /// The configuration in force.
    pub fn current(&self) -> Option<Arc<Applied>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// This one is in force from now on.
    pub fn set(&self, applied: Arc<Applied>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(applied);
    }

    /// Where the incumbent of a channel is now.
    pub(crate) fn incumbent(&self, channel: &ChannelId) -> Option<String> {
        self.current()?.configuration.channels.get(channel)?.incumbent.clone()
    }

    async fn look(&self, in_force: &mut InForce) -> Result<(), StoreError> {
        let known = self.current();
        let known = known.as_ref().map(|applied| applied.digest.as_str());
        if let Some(applied) = in_force.other_than(known).await? {
            tracing::info!(configuration = applied.digest, "another configuration is in force");
            self.set(applied);
        }
        Ok(())
    }
}

/// Looks once, so that a restart refuses nothing for want of a directory.
pub(crate) async fn first_look(directory: &Directory, in_force: &mut InForce) {
    match tokio::time::timeout(FIRST_LOOK, directory.look(in_force)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "cannot look which configuration is in force"),
        Err(_) => tracing::warn!("cannot look in time which configuration is in force"),
    }
    if directory.current().is_none() {
        tracing::warn!(
            "no configuration is in force; every request is refused until mainstem apply"
        );
    }
}

/// Follows the configuration in force until `stop`.
pub(crate) async fn follow(
    directory: Arc<Directory>,
    mut in_force: InForce,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut failing = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        match directory.look(&mut in_force).await {
            Ok(()) => failing = false,
            // Said once: it goes on for as long as the broker is away.
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(%error, "cannot look which configuration is in force; keeping the last");
            }
            Err(_) => {}
        }
    }
}
