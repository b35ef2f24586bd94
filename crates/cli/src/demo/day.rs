use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use mainstem_line_sandbox::{PlayRequest, Progress as Played};
use mainstem_proto::wire::identity::identity_service_client::IdentityServiceClient;
use mainstem_proto::wire::identity::{AttachIdentifierRequest, MergeCustomersRequest};
use mainstem_proto::wire::routing::ListCasesRequest;
use mainstem_proto::wire::routing::routing_service_client::RoutingServiceClient;
use tonic::transport::{Channel, Endpoint};

use super::feed::Feed;
use super::progress::Progress;
use super::stage::Stage;
use super::systems::Teller;
use crate::report;

/// Of 100 deliveries so many come a second time.
const REDELIVER_PERCENT: u8 = 5;
/// Customers that the desk works on; the first two pairs turn out to be one person each.
const DESK: usize = 6;
const MERGED: usize = 2;
/// On a shorter day so many customers with a case may never come, and the desk stays closed.
const DESK_OPENS_AT: u64 = 100;
const PATIENCE: Duration = Duration::from_secs(30);

/// What customers do, what other systems tell, and what a person at the central desk does meanwhile.
pub(super) struct Day<'a> {
    stage: &'a Stage,
    feed: &'a Feed,
    pub(super) teller: Teller,
}

impl<'a> Day<'a> {
    pub(super) fn new(stage: &'a Stage, feed: &'a Feed) -> anyhow::Result<Self> {
        let base = format!("http://{}", stage.running.webhooks);
        let keys = super::feed::keys(&stage.secret, &feed.systems);
        let teller = Teller::new(base, stage.process.clock.clone(), keys)?;
        Ok(Self { stage, feed, teller })
    }

    /// Sends all of the day, and tells how far it is.
    pub(super) async fn play(&self, progress: &Progress) -> anyhow::Result<()> {
        let all = async {
            tokio::try_join!(self.chats(), self.teller.tell(&self.feed.systems), async {
                let sent = self.feed.bodies.send(self.stage).await;
                sent.context("the recorded webhooks are not taken")
            })
        };
        let watch = async {
            loop {
                tokio::time::sleep(Duration::from_millis(200)).await;
                if let Ok(played) = report::get::<Played>(&self.stage.line, "progress").await {
                    let taken = played.events_delivered + self.teller.told();
                    progress.say(&format!("{taken} of {} events taken", self.feed.count()));
                }
            }
        };
        tokio::select! {
            played = all => played.map(|_| ()),
            () = watch => Ok(()),
        }
    }

    /// Lets the stand-in of LINE send what people do there.
    async fn chats(&self) -> anyhow::Result<()> {
        let Feed { seed, line_events, minutes, .. } = *self.feed;
        let events = usize::try_from(line_events)?;
        let example = &self.stage.example;
        let request = PlayRequest {
            webhook_base: format!("http://{}", self.stage.running.webhooks),
            seed,
            events,
            users: (events / 5).max(1),
            redeliver_percent: REDELIVER_PERCENT,
            minutes,
            entry: example.entry.as_ref().map(|entry| entry.channel.clone()),
            brands: example.brands.keys().map(ToString::to_string).collect(),
            strange_percent: 0,
            reorder_percent: 0,
        };
        let play = async {
            let client = reqwest::Client::builder().no_proxy().build()?;
            let url = format!("{}/sandbox/play", self.stage.line);
            let answer = client.post(&url).json(&request).send().await?.error_for_status()?;
            anyhow::Ok(answer.json::<Played>().await?)
        };
        let played = play.await.context("the stand-in of LINE cannot play the day")?;
        if played.failed > 0 {
            bail!("ingress did not take {} of {} deliveries", played.failed, played.deliveries);
        }
        Ok(())
    }

    /// Gives some customers a phone number and finds out that some are the same person, over gRPC.
    pub(super) async fn desk(&self) -> anyhow::Result<()> {
        let stage = self.stage;
        if self.feed.line_events < DESK_OPENS_AT {
            return Ok(());
        }
        let mut routing = RoutingServiceClient::new(channel(stage.running.routing.grpc).await?);
        let mut identity =
            IdentityServiceClient::new(channel(stage.running.identity_merge.grpc).await?);
        let customers = async {
            loop {
                let page = ListCasesRequest { page_size: 100, ..ListCasesRequest::default() };
                let cases = routing.list_cases(as_operator(stage, page)?).await?.into_inner().cases;
                let customers: BTreeSet<_> = cases.into_iter().map(|case| case.customer).collect();
                if customers.len() >= DESK {
                    return anyhow::Ok(customers.into_iter().take(DESK).collect::<Vec<_>>());
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        let customers = tokio::time::timeout(PATIENCE, customers)
            .await
            .map_err(|_| anyhow!("fewer than {DESK} customers have a case"))
            .flatten()
            .context("the desk looks for customers")?;
        for (number, customer) in customers.iter().enumerate() {
            let request = AttachIdentifierRequest {
                request_id: format!("desk-phone-{number}"),
                customer: customer.clone(),
                identifier: format!("phone:+8869000000{number:02}"),
            };
            let asked = identity.attach_identifier(as_operator(stage, request)?).await;
            asked.context("the desk notes a phone number")?;
        }
        for (number, pair) in customers.chunks_exact(2).take(MERGED).enumerate() {
            let request = MergeCustomersRequest {
                request_id: format!("desk-merge-{number}"),
                customer: pair[0].clone(),
                other: pair[1].clone(),
                validate_only: false,
            };
            let asked = identity.merge_customers(as_operator(stage, request)?).await;
            asked.context("the desk merges two customers")?;
        }
        Ok(())
    }
}

async fn channel(address: std::net::SocketAddr) -> anyhow::Result<Channel> {
    Ok(Endpoint::from_shared(format!("http://{address}"))?.connect().await?)
}

fn as_operator<T>(stage: &Stage, message: T) -> anyhow::Result<tonic::Request<T>> {
    let mut request = tonic::Request::new(message);
    let token = stage.secret.of("operator/demo");
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse()?);
    Ok(request)
}
