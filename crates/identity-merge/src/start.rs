use std::sync::Arc;

use mainstem_runtime::Process;
use mainstem_runtime::service::{self, Started};

use crate::outside::Beyond;
use crate::{IdentityMachine, set_key};

/// Starts identity-merge in this process: its decider with both faces, and what its methods ask of
/// the other ledgers and of routing.
///
/// # Errors
/// The broker or an address cannot be used; the message names the key to change.
pub async fn start(process: &Process) -> anyhow::Result<Started> {
    let erasure = &process.config.erasure;
    set_key(erasure.key.expose());
    let token = erasure.token.expose();
    service::start_with::<IdentityMachine>(process, &process.config.identity_merge, |bus| {
        Arc::new(Beyond::new(bus.clone(), token))
    })
    .await
}
