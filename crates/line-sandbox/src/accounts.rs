//! What an account is set to, and its figures.

use std::collections::BTreeMap;
use std::time::Duration;

use mainstem_domain::ChannelId;
use serde::{Deserialize, Serialize};

use crate::{Endpoint, Totals};

/// What an account's owner sets at LINE, and what LINE grants it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Shown above the chat, and before each message without a `sender`.
    pub name: String,
    /// Its premium or basic id, with `@`.
    pub basic_id: String,
    /// Whether follower ids are told: LINE does so for verified and premium accounts only.
    pub verified: bool,
    /// Messages a month, counted by recipient; none: no limit.
    pub quota: Option<u64>,
    /// Calls at an endpoint in LINE's own span of time, where they are not LINE's own number.
    pub limits: BTreeMap<Endpoint, u32>,
    /// Where webhooks go; none: nowhere.
    pub webhook: Option<String>,
    /// Whether a webhook that was not answered 2xx is sent again.
    pub redelivery: bool,
    /// The rich menu.
    pub menu: Vec<MenuTab>,
}

/// One tab of the rich menu.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MenuTab {
    /// Shown.
    pub label: String,
    /// The postback's data.
    pub data: String,
    /// What lies under it.
    #[serde(default)]
    pub items: Vec<MenuTab>,
}

impl Settings {
    /// Of an account that nobody has set: a quota without limit, no redelivery, the three-in-one menu.
    pub(crate) fn new(channel: &ChannelId) -> Self {
        let tap = |label: &str, data: &str, items: Vec<MenuTab>| MenuTab {
            label: label.to_owned(),
            data: data.to_owned(),
            items,
        };
        Self {
            name: channel.to_string(),
            basic_id: format!("@{channel}"),
            verified: false,
            quota: None,
            limits: BTreeMap::new(),
            webhook: None,
            redelivery: false,
            menu: vec![
                tap(
                    "門市服務",
                    "menu=store",
                    vec![
                        tap("維修", "menu=store&topic=repair", Vec::new()),
                        tap("預約", "menu=store&topic=booking", Vec::new()),
                        tap("保養", "menu=store&topic=care", Vec::new()),
                    ],
                ),
                tap(
                    "線上商城",
                    "menu=shop",
                    vec![tap("訂單查詢", "menu=shop&topic=orders", Vec::new())],
                ),
                tap(
                    "會員中心",
                    "menu=member",
                    vec![tap("點數", "menu=member&topic=points", Vec::new())],
                ),
            ],
        }
    }
}

/// What an account asked and how it was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Calls by endpoint, however they were answered.
    pub calls: BTreeMap<Endpoint, u64>,
    /// Answers by status; 0 for those that were never given.
    pub statuses: BTreeMap<u16, u64>,
    /// The calls that send.
    pub totals: Totals,
    /// Messages of this month, counted by recipient.
    pub quota_used: u64,
    /// How late answers were, by milliseconds: how many took so long.
    pub latency: Latencies,
}

/// Milliseconds, and how many answers took so long.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latencies(BTreeMap<u32, u64>);

impl Latencies {
    pub(crate) fn note(&mut self, latency: Duration) {
        let ms = u32::try_from(latency.as_millis()).unwrap_or(u32::MAX);
        *self.0.entry(ms).or_default() += 1;
    }

    /// Milliseconds that so many of 1,000 answers took at most; 0 when there was none.
    #[must_use]
    pub fn per_mille(&self, share: u64) -> u32 {
        let all: u64 = self.0.values().sum();
        let rank = (all * share).div_ceil(1_000).max(1);
        let mut counted = 0;
        for (ms, count) in &self.0 {
            counted += count;
            if counted >= rank {
                return *ms;
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_answers_is_told_by_its_latency() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.per_mille(500), 0);
        for ms in 1..=100 {
            latencies.note(Duration::from_millis(ms));
        }
        let shares = [0, 500, 990, 1_000].map(|share| latencies.per_mille(share));
        assert_eq!(shares, [1, 50, 99, 100]);
    }
}
