use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;

use crate::decide::Way;

/// What the sender counts. No label tells who it was.
pub(crate) struct Metrics {
    items: Counter<u64>,
    calls: Counter<u64>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let meter = opentelemetry::global::meter("mainstem.sender");
        let items = meter
            .u64_counter("mainstem.sender.items")
            .with_description("items handled, by channel and outcome")
            .build();
        let calls = meter
            .u64_counter("mainstem.sender.calls")
            .with_description("calls to LINE, by channel, way and answer")
            .build();
        Self { items, calls }
    }

    /// `outcome` is `sent`, `failed`, `settled_before`, `given_back`, `rejected`, `erased` or
    /// `held_too_long`.
    pub(crate) fn item(&self, channel: &str, outcome: &'static str) {
        let labels =
            [KeyValue::new("channel", channel.to_owned()), KeyValue::new("outcome", outcome)];
        self.items.add(1, &labels);
    }

    pub(crate) fn call(&self, channel: &str, way: Way, answer: &'static str) {
        let way = match way {
            Way::Reply => "reply",
            Way::Push => "push",
        };
        let labels = [
            KeyValue::new("channel", channel.to_owned()),
            KeyValue::new("way", way),
            KeyValue::new("answer", answer),
        ];
        self.calls.add(1, &labels);
    }
}
