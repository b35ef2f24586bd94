use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge};

use crate::decide::Way;

/// What the sender counts. No label tells who it was.
pub(crate) struct Metrics {
    items: Counter<u64>,
    calls: Counter<u64>,
    quota: Gauge<u64>,
    quota_left: Gauge<u64>,
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
        let quota = meter
            .u64_gauge("mainstem.sender.quota")
            .with_description("pushes that an account may make in a month, by channel")
            .build();
        let quota_left = meter
            .u64_gauge("mainstem.sender.quota_left")
            .with_description("pushes that are left of them, as LINE says, by channel")
            .build();
        Self { items, calls, quota, quota_left }
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

    pub(crate) fn quota(&self, channel: &str, limit: u64, left: u64) {
        let labels = [KeyValue::new("channel", channel.to_owned())];
        self.quota.record(limit, &labels);
        self.quota_left.record(left, &labels);
    }
}
