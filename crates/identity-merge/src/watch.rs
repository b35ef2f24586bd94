//! What is decided about customers, as it happens.

use std::time::Duration;

use futures::StreamExt as _;
use futures::future::ready;
use mainstem_bus::nats::{Follower, News, watch};
use mainstem_bus::{Machine as _, need_whole_scope, topology};
use mainstem_domain::Refusal;
use mainstem_proto::field::parse_customer;
use mainstem_proto::wire::identity as wire;
use mainstem_runtime::service::{Told, Watch};

use crate::journey::{Ask, Journey};
use crate::{IdentityMachine, entry, journey};

/// In real time: for clients that ask themselves whether anybody is there.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Opens `WatchIdentity`.
///
/// A record that was moved after a split is no news, and is passed over.
pub(crate) async fn open(
    asked: Watch,
    request: wire::WatchIdentityRequest,
) -> Result<Told<wire::WatchIdentityResponse>, Refusal> {
    need_whole_scope(&asked.caller)?;
    let subjects = match request.customer.as_str() {
        "" => vec![topology::ALL_IDENTITIES.to_owned()],
        customer => {
            let customer = parse_customer("customer", customer)?;
            let journey = of(&asked, customer).await?;
            journey.ids.into_iter().map(topology::identity_subject).collect()
        }
    };
    let (service, ledger) = (IdentityMachine::SERVICE, IdentityMachine::LEDGER);
    let token = &request.resume_token;
    let follower = Follower::open(&asked.bus, service, ledger, subjects, token).await?;
    let told = watch(follower, HEARTBEAT, asked.stop).filter(|news| ready(!is_moved(news)));
    Ok(told.map(|news| news.map(|news| response(&news))).boxed())
}

async fn of(asked: &Watch, customer: mainstem_domain::CustomerId) -> Result<Journey, Refusal> {
    let ask = serde_json::to_string(&Ask { customer, doubtful: Vec::new() }).unwrap_or_default();
    let caller = asked.caller.clone();
    let answer = asked.handle.ask(journey::METHOD, caller, ask, asked.call_id.clone()).await?;
    mainstem_bus::read_request(answer.as_bytes())
}

fn is_moved(news: &Result<News, Refusal>) -> bool {
    let record = news.as_ref().ok().and_then(|news| news.record.as_ref());
    record.is_some_and(|message| message.record.is_moved())
}

fn response(news: &News) -> wire::WatchIdentityResponse {
    let record = news.record.as_ref();
    wire::WatchIdentityResponse {
        resume_token: news.resume_token.clone(),
        record: record.map(|message| entry::whole(IdentityMachine::LEDGER, message)),
    }
}
