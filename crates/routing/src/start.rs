use std::sync::Arc;

use anyhow::Context as _;
use mainstem_bus::Machine as _;
use mainstem_runtime::service::{self, Started};
use mainstem_runtime::{Process, erasure};

use crate::RoutingMachine;
use crate::code::set_key;
use crate::keeper::Keeper;
use crate::outside::Beyond;

/// Starts routing in this process: its decider with both faces, and the queue keeper and the
/// reporter of erasures, which work while this instance writes.
///
/// # Errors
/// The broker or an address cannot be used; the message names the key to change.
pub async fn start(process: &Process) -> anyhow::Result<Started> {
    set_key(process.config.routing.binding_key.expose());
    let section = &process.config.routing.service();
    let started =
        service::start_with::<RoutingMachine>(process, section, |bus| Arc::new(Beyond::new(bus)))
            .await?;
    let name = "routing queue keeper";
    let bus = process.connect(name, &section.nats_user, &section.nats_password).await?;
    let keeper = Keeper::open(bus, started.handle.clone(), process.clock.clone())
        .await
        .context("routing cannot keep its queues")?;
    process.lifecycle.spawn(name, keeper.run(process.lifecycle.stopping()));
    erasure::start(process, RoutingMachine::SERVICE, section, &started.handle).await?;
    Ok(started)
}
