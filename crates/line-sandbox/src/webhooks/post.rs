//! One webhook on its way.

use mainstem_domain::ChannelId;
use mainstem_line::{Channel, LineEvent, Webhook, signature};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};

use crate::Sandbox;

/// One body that somebody else wrote, sent byte for byte and signed for a channel.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeliverRequest {
    /// Where ingress is, e.g. `http://127.0.0.1:7700`.
    pub webhook_base: String,
    /// Whose webhook it is; its `destination` stands in the body.
    pub channel: ChannelId,
    /// The body.
    pub body: String,
}

impl Sandbox {
    /// Sends one body as it is, once; says how it was answered, 0 for not at all.
    ///
    /// # Errors
    /// The channel is not in the channels file.
    pub async fn deliver_body(&self, request: &DeliverRequest) -> Result<u16, String> {
        let DeliverRequest { webhook_base, channel: id, body } = request;
        let Some(channel) = self.channels.get(id) else {
            return Err(format!("channel: {id} is not in the channels file"));
        };
        self.set_webhook_base(webhook_base);
        let url = url(webhook_base, id);
        self.witness(id, body);
        let status = self.post(&url, id, channel, body.clone()).await;
        Ok(status)
    }

    /// What happened is so before anybody is told of it.
    pub(super) fn witness(&self, id: &ChannelId, body: &str) {
        let (at, mut platform) = (self.now(), self.platform());
        for event in events(body) {
            platform.witness(id, &event, at);
        }
        drop(platform);
        self.tell_change();
    }

    /// The status, or 0 when there was no answer within two seconds. An answer of 2xx goes into the
    /// ledger.
    pub(super) async fn post(
        &self,
        url: &str,
        id: &ChannelId,
        channel: &Channel,
        body: String,
    ) -> u16 {
        let signature = signature::sign(channel.secret.expose_secret(), body.as_bytes());
        self.record().sends(id, &signature);
        let request = self.http.post(url).header(signature::HEADER, &signature);
        let request = request.header("content-type", "application/json; charset=utf-8");
        let request = request.header("user-agent", "LineBotWebhook/2.0");
        let answer = request.body(body.clone()).send().await;
        let status = answer.map_or(0, |answer| answer.status().as_u16());
        if is_taken(status) {
            let ids: Vec<_> = events(&body).map(|event| event.id.to_string()).collect();
            self.record().took(id, &signature, ids.iter().map(String::as_str));
        }
        status
    }
}

/// Whether LINE takes that status for delivered.
pub(super) fn is_taken(status: u16) -> bool {
    (200..300).contains(&status)
}

/// Where ingress takes the webhooks of a channel.
pub(super) fn url(base: &str, id: &ChannelId) -> String {
    format!("{}/webhooks/line/{id}", base.trim_end_matches('/'))
}

/// The events of a body as ingress reads them. What nobody understands has no id to follow it by.
fn events(body: &str) -> impl Iterator<Item = LineEvent<'_>> {
    let webhook = Webhook::parse(body.as_bytes()).ok();
    let events = webhook.into_iter().flat_map(|webhook| webhook.events);
    events.filter_map(|raw| LineEvent::parse(raw).ok())
}
