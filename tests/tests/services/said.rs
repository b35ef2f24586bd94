//! What customers were told.

use mainstem_bus::topology;
use mainstem_proto::notification::DELIVERY_QUEUED;
use mainstem_tests::deployment::Deployment;

/// How often somebody is told this.
pub(crate) async fn said(deployment: &Deployment, text: &str) -> usize {
    deployment.caught_up("notification", topology::ROUTING).await;
    let records = deployment.read(topology::NOTIFICATION).await;
    let queued = records.iter().filter(|one| one.record.kind() == DELIVERY_QUEUED);
    queued.filter(|one| String::from_utf8_lossy(&one.record.body).contains(text)).count()
}
