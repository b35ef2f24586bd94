use mainstem_bus::Machine as _;
use mainstem_runtime::service::{self, Started};
use mainstem_runtime::{Process, erasure};

use crate::NotificationMachine;

/// Starts notification in this process: its decider with both faces, and the reporter of erasures,
/// which works while this instance writes.
///
/// # Errors
/// The broker or an address cannot be used; the message names the key to change.
pub async fn start(process: &Process) -> anyhow::Result<Started> {
    let section = &process.config.notification;
    let started = service::start::<NotificationMachine>(process, section).await?;
    erasure::start(process, NotificationMachine::SERVICE, section, &started.handle).await?;
    Ok(started)
}
