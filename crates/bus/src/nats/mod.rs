//! The engine's shell on the real broker, and everything else that touches NATS.

mod append;
mod connect;
mod dead;
mod doctor;
mod endpoints;
mod follow;
mod handle;
mod host;
mod inbound;
mod lease;
mod outbox;
mod provision;
mod queue;
mod read;
mod relay;
mod replay;
mod store;
mod wire;
mod writer;

pub use append::Appender;
pub(crate) use connect::inbox_prefix;
pub use connect::{Bus, ConnectError, Login};
pub use doctor::{Diagnosis, diagnose};
pub use endpoints::{Authenticate, ServiceClient, serve_endpoints};
pub use follow::InForce;
pub use handle::{Handle, Status};
pub use host::{Counted, Host, HostError, Instance, Surroundings};
pub use inbound::{Inbound, InboundMessage, PublishError, Published, UnreadableBody};
pub use outbox::{Outbox, OutboxItem};
pub use provision::{Change, ProvisionError, provision};
pub use queue::{CaseNews, CaseQueue, OnOffer, QueuedCase, case_of};
pub use read::{Log, ReadError};
pub use relay::{Relay, RelayItem, RelayLane, RelayMessage};
pub use replay::{Difference, Replayed, replay};
pub use store::{Configurations, StoreError};
