use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;

/// What ingress counts. No label tells who it was. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Metrics {
    events: Counter<u64>,
    refused: Counter<u64>,
    relay: Counter<u64>,
    media: Counter<u64>,
    profiles: Counter<u64>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let meter = opentelemetry::global::meter("mainstem.ingress");
        Self {
            events: meter
                .u64_counter("mainstem.ingress.events")
                .with_description("events taken, by channel and outcome")
                .build(),
            refused: meter
                .u64_counter("mainstem.ingress.refused")
                .with_description("requests refused, by channel and reason")
                .build(),
            relay: meter
                .u64_counter("mainstem.ingress.relay")
                .with_description("webhooks for incumbents, by channel and outcome")
                .build(),
            media: meter
                .u64_counter("mainstem.ingress.media")
                .with_description("contents of messages fetched or deleted, by channel and outcome")
                .build(),
            profiles: meter
                .u64_counter("mainstem.ingress.profiles")
                .with_description("profiles looked up, by channel and outcome")
                .build(),
        }
    }

    /// `outcome` is `stored`, `duplicate` or `dead_lettered`.
    pub(crate) fn event(&self, channel: &str, outcome: &'static str) {
        let labels =
            [KeyValue::new("channel", channel.to_owned()), KeyValue::new("outcome", outcome)];
        self.events.add(1, &labels);
    }

    /// `channel` is one that exists, or `unknown`: a label must not grow with what strangers send.
    pub(crate) fn refused(&self, channel: &str, reason: &'static str) {
        let labels =
            [KeyValue::new("channel", channel.to_owned()), KeyValue::new("reason", reason)];
        self.refused.add(1, &labels);
    }

    /// `outcome` is `queued`, `refused` or `unanswered` by the work queue; `delivered`, `retried` or
    /// `given_up` by a worker.
    pub(crate) fn relay(&self, channel: &str, outcome: &'static str) {
        let labels =
            [KeyValue::new("channel", channel.to_owned()), KeyValue::new("outcome", outcome)];
        self.relay.add(1, &labels);
    }

    /// `outcome` is `stored`, `known`, `gone`, `unsent`, `unwanted`, `given_back` or `dead_lettered`.
    pub(crate) fn media(&self, channel: &str, outcome: &'static str) {
        let labels =
            [KeyValue::new("channel", channel.to_owned()), KeyValue::new("outcome", outcome)];
        self.media.add(1, &labels);
    }

    /// `outcome` is `found`, `not_found`, `known`, `no_account`, `no_channel` or `failed`.
    pub(crate) fn profile(&self, channel: &str, outcome: &'static str) {
        let labels =
            [KeyValue::new("channel", channel.to_owned()), KeyValue::new("outcome", outcome)];
        self.profiles.add(1, &labels);
    }
}
