//! The subjects that records and items stand under, and what is read off them.

use mainstem_domain::configuration::{ChannelKind, Priority};
use mainstem_domain::notification::Class;
use mainstem_domain::{CaseId, ChannelId, CustomerId, QueueId, StaffId};

use super::{NOTIFICATION, OUTBOX};

/// `inbound.<kind>.<channel>.<handle>`.
#[must_use]
pub fn inbound_subject(kind: &str, channel: &ChannelId, handle: &str) -> String {
    format!("inbound.{kind}.{channel}.{handle}")
}

/// Whose a ledger subject is: `customer.<customer>.…`.
#[must_use]
pub fn customer_of(subject: &str) -> Option<CustomerId> {
    subject.strip_prefix("customer.")?.split('.').next()?.parse().ok()
}

/// Everything that is one customer's, in whichever ledger.
#[must_use]
pub fn all_of(customer: CustomerId) -> String {
    format!("customer.{customer}.>")
}

/// The work queue that the broker copies a ledger's items to under the names of their customers, if
/// there is one; an item of `QUEUES` names a case.
#[must_use]
pub fn items_of(ledger: &str) -> Option<&'static str> {
    (ledger == NOTIFICATION).then_some(OUTBOX)
}

/// All items on `OUTBOX`.
pub const OUTBOX_SUBJECTS: &str = "outbox.>";

/// All items of a channel and a class on `OUTBOX`.
#[must_use]
pub fn outbox_filter(channel: &ChannelId, class: Class) -> String {
    format!("outbox.{channel}.{}.*", class.name())
}

/// All items of a customer on `OUTBOX`.
#[must_use]
pub fn items_for(customer: CustomerId) -> String {
    format!("outbox.*.*.{customer}")
}

/// A subject with the customer or the channel left out, for counts that name nobody.
#[must_use]
pub fn place_of(subject: &str) -> String {
    let mut words = subject.split('.');
    let (first, _, third) = (words.next().unwrap_or_default(), words.next(), words.next());
    third.map_or_else(|| format!("{first}.*"), |third| format!("{first}.*.{third}"))
}

/// `ce-type` of a channel event: `mainstem.channel.<kind>.<name>.v1`.
#[must_use]
pub fn inbound_kind(kind: ChannelKind, name: &str) -> String {
    format!("mainstem.channel.{kind}.{name}.v1")
}

/// The name, in `ce-type`, of what came in signed and could not be understood. Its body is whatever
/// came in.
pub const UNREADABLE: &str = "unreadable";

/// Whether `ce-type` says that the body is whatever came in. Who reads `INBOUND` passes over it:
/// ingress has left a dead letter.
#[must_use]
pub fn is_unreadable(kind: &str) -> bool {
    kind.strip_prefix("mainstem.channel.")
        .and_then(|rest| rest.split_once('.'))
        .and_then(|(_, rest)| rest.strip_suffix(".v1"))
        == Some(UNREADABLE)
}

/// What is to be fetched of one person.
#[must_use]
pub fn fetch_subject(channel: &str, handle: &str) -> String {
    format!("fetch.{channel}.{handle}")
}

/// What is to be fetched of whoever an `INBOUND` subject stands for.
#[must_use]
pub fn fetched_for(inbound: &str) -> Option<String> {
    let mut words = inbound.split('.').skip(2);
    Some(fetch_subject(words.next()?, words.next()?))
}

/// What waits for the incumbent of a channel.
#[must_use]
pub fn relay_subject(channel: &ChannelId) -> String {
    format!("relay.{channel}")
}

/// The durable consumer that all relay workers share for one channel, so that a slow incumbent
/// delays no other.
#[must_use]
pub fn relay_durable(channel: &ChannelId) -> String {
    format!("relay-{channel}")
}

/// What a customer does.
#[must_use]
pub fn channels_of(customer: CustomerId) -> String {
    format!("customer.{customer}.channel")
}

/// A channel event of a customer, or of nobody.
#[must_use]
pub fn channel_subject(customer: Option<CustomerId>, channel: &ChannelId) -> String {
    match customer {
        Some(customer) => channels_of(customer),
        None => format!("channel.{channel}"),
    }
}

/// Who everybody is.
pub const ALL_IDENTITIES: &str = "customer.*.identity";

/// Who a customer is.
#[must_use]
pub fn identity_subject(customer: CustomerId) -> String {
    format!("customer.{customer}.identity")
}

/// What is said to and by a customer.
#[must_use]
pub fn conversation_subject(customer: CustomerId) -> String {
    format!("customer.{customer}.conversation")
}

/// A customer's cases.
#[must_use]
pub fn case_subject(customer: CustomerId) -> String {
    format!("customer.{customer}.case")
}

/// A case on offer; sourced to `queue.<queue>.<priority>.<case>`.
#[must_use]
pub fn queued_subject(
    customer: CustomerId,
    queue: &QueueId,
    priority: Priority,
    case: CaseId,
) -> String {
    let priority = priority.to_string().to_lowercase();
    format!("customer.{customer}.case.queued.{queue}.{priority}.{case}")
}

/// The item of a case on offer, where [`queued_subject`] is sourced to.
#[must_use]
pub fn item_subject(queue: &QueueId, priority: Priority, case: CaseId) -> String {
    let priority = priority.to_string().to_lowercase();
    format!("queue.{queue}.{priority}.{case}")
}

/// All cases on offer on one queue.
#[must_use]
pub fn items_on(queue: &QueueId) -> String {
    format!("queue.{queue}.>")
}

/// The queue that an item is on.
#[must_use]
pub fn queue_of(item: &str) -> Option<QueueId> {
    item.strip_prefix("queue.")?.split('.').next()?.parse().ok()
}

/// All cases on offer on one queue with one priority.
#[must_use]
pub fn queue_items(queue: &QueueId, priority: Priority) -> String {
    let priority = priority.to_string().to_lowercase();
    format!("queue.{queue}.{priority}.*")
}

/// The durable that shares the cases on offer on one queue with one priority among its workers.
#[must_use]
pub fn queue_durable(queue: &QueueId, priority: Priority) -> String {
    format!("queue-{queue}-{}", priority.to_string().to_lowercase())
}

/// All cases that were ever put on a queue, of all customers.
#[must_use]
pub fn queued_on(queue: &QueueId) -> String {
    format!("customer.*.case.queued.{queue}.>")
}

/// Every item of every queue.
pub const ALL_ITEMS: &str = "queue.>";

/// What all customers do.
pub const ALL_CHANNELS: &str = "customer.*.channel";

/// What becomes of the cases of all customers.
pub const ALL_CASES: &str = "customer.*.case";

/// What is said to and by all customers.
pub const ALL_CONVERSATIONS: &str = "customer.*.conversation";
/// What is decided about each of the staff.
pub const ALL_STAFF: &str = "staff.*";

/// What a customer is sent.
#[must_use]
pub fn notification_subject(customer: CustomerId) -> String {
    format!("customer.{customer}.notification")
}

/// An item to send, with all that it says.
#[must_use]
pub fn notification_item_subject(customer: CustomerId) -> String {
    format!("customer.{customer}.notification.item")
}

/// That there is an item to send; sourced to `outbox.<channel>.<class>.<customer>`.
#[must_use]
pub fn send_subject(customer: CustomerId, channel: &ChannelId, class: Class) -> String {
    format!("customer.{customer}.notification.send.{channel}.{}", class.name())
}

/// What is decided about a salesperson, or somebody at a desk.
#[must_use]
pub fn staff_subject(staff: &StaffId) -> String {
    format!("staff.{staff}")
}

/// A record of the engine.
#[must_use]
pub fn ledger_subject(service: &str, what: &str) -> String {
    format!("ledger.{service}.{what}")
}

/// A service's dead letters.
#[must_use]
pub fn dead_subject(service: &str) -> String {
    format!("dead.{service}")
}

/// Where the server gives messages of a stream without a consumer.
#[must_use]
pub(crate) fn direct_get_subject(stream: &str) -> String {
    format!("$JS.API.DIRECT.GET.{stream}")
}

/// A method of a service, as a NATS service endpoint.
#[must_use]
pub fn endpoint_subject(service: &str, endpoint: &str) -> String {
    format!("svc.{service}.{endpoint}")
}

/// From a standby to the writer of its service, and from nobody else.
#[must_use]
pub fn forward_subject(service: &str) -> String {
    format!("forward.{service}")
}
