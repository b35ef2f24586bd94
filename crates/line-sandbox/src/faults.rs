//! What goes wrong on purpose.
//!
//! Invariant: what the nth call of a channel at an endpoint meets follows from the plan alone, however
//! the calls of other channels fall between.

use std::collections::BTreeMap;
use std::time::Duration;

use mainstem_domain::{ChannelId, derive_uuid};
use serde::{Deserialize, Serialize};

use crate::Endpoint;

/// A plan: rules, each of which can hit a call.
///
/// As a file it is TOML:
///
/// ```toml
/// seed = 7
///
/// [[rules]]              # one push of five is answered by a reset, and its user saw the message
/// endpoint = "push"
/// percent = 20
/// fault.answer_lost = "reset"
///
/// [[rules]]              # one account is slow
/// channel = "line-07"
/// fault.latency = { p50_ms = 3000, p99_ms = 3000 }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Faults {
    /// Seeds the draws.
    #[serde(default)]
    pub seed: u64,
    /// Of the rules that hit a call, the first decides what becomes of it, and all that are about
    /// time add up.
    #[serde(default)]
    pub rules: Vec<FaultRule>,
}

/// Which calls meet which fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// Of this channel alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<ChannelId>,
    /// At this endpoint alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Endpoint>,
    /// So many calls of a channel at an endpoint are left in peace first, counted from when the plan
    /// was set.
    #[serde(default)]
    pub after: u64,
    /// Only the next so many calls after those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls: Option<u64>,
    /// Of 100 such calls so many, drawn by the seed.
    #[serde(default = "all")]
    pub percent: f64,
    /// What they meet.
    pub fault: Fault,
}

fn all() -> f64 {
    100.0
}

/// What a call meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// It is answered 500, and nothing is stored.
    Failed,
    /// It is accepted and its users see it, and the answer is lost.
    AnswerLost(Lost),
    /// It is accepted, and answered 200 with a body that breaks off in the middle of its JSON.
    Malformed,
    /// Its answer comes late, after it was accepted: log-normal, with this median and 99th
    /// percentile.
    Latency {
        /// Milliseconds that half of the calls take at most.
        p50_ms: u32,
        /// Milliseconds that 99 of 100 calls take at most.
        p99_ms: u32,
    },
    /// The answer's head comes at once, and its body drop by drop over so many milliseconds.
    SlowBody {
        /// From the first byte to the last.
        ms: u32,
    },
}

/// How an answer is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lost {
    /// 500 in place of it.
    Status500,
    /// Nothing comes, for ten minutes.
    Hang,
    /// The connection is reset.
    Reset,
}

/// What one call meets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Met {
    pub(crate) fault: Option<Fault>,
    pub(crate) latency: Duration,
    pub(crate) slow_body: Duration,
}

/// A plan that is wrong; says where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanError(pub String);

impl std::fmt::Display for PlanError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PlanError {}

impl Faults {
    /// Reads a plan's file.
    ///
    /// # Errors
    /// Not TOML, a field that is unknown or missing, or a percentage that is none.
    pub fn parse(text: &str) -> Result<Self, PlanError> {
        let plan: Self = toml::from_str(text).map_err(|error| PlanError(error.to_string()))?;
        plan.check()?;
        Ok(plan)
    }

    /// Whether every percentage is one.
    ///
    /// # Errors
    /// The first that is not.
    pub fn check(&self) -> Result<(), PlanError> {
        for (index, rule) in self.rules.iter().enumerate() {
            if !(0.0..=100.0).contains(&rule.percent) {
                return Err(PlanError(format!("rules[{index}].percent must be 0 to 100")));
            }
        }
        Ok(())
    }
}

/// A plan at work.
#[derive(Debug, Default)]
pub(crate) struct Injector {
    plan: Faults,
    calls: BTreeMap<(ChannelId, Endpoint), u64>,
}

impl Injector {
    pub(crate) fn new(plan: Faults) -> Self {
        Self { plan, calls: BTreeMap::new() }
    }

    pub(crate) fn plan(&self) -> &Faults {
        &self.plan
    }

    /// What the next call of that channel at that endpoint meets.
    pub(crate) fn next(&mut self, channel: &ChannelId, endpoint: Endpoint) -> Met {
        let mut met = Met::default();
        if self.plan.rules.is_empty() {
            return met;
        }
        let calls = self.calls.entry((channel.clone(), endpoint)).or_default();
        let call = *calls;
        *calls += 1;
        for (index, rule) in self.plan.rules.iter().enumerate() {
            let here = rule.channel.as_ref().is_none_or(|only| only == channel)
                && rule.endpoint.is_none_or(|only| only == endpoint);
            let now =
                call >= rule.after && rule.calls.is_none_or(|calls| call - rule.after < calls);
            if !here || !now {
                continue;
            }
            let draw = |what: &str| {
                let seed = self.plan.seed;
                let endpoint = endpoint.name();
                unit(&format!(
                    "line-sandbox fault {seed} {index} {channel} {endpoint} {call} {what}"
                ))
            };
            if draw("hit") * 100.0 >= rule.percent {
                continue;
            }
            match rule.fault {
                Fault::Latency { p50_ms, p99_ms } => {
                    met.latency += log_normal(p50_ms, p99_ms, draw("radius"), draw("angle"));
                }
                Fault::SlowBody { ms } => met.slow_body += Duration::from_millis(ms.into()),
                fault @ (Fault::Failed | Fault::AnswerLost(_) | Fault::Malformed) => {
                    met.fault = met.fault.or(Some(fault));
                }
            }
        }
        met
    }
}

/// From 0 up to, and without, 1; the same for the same name.
fn unit(name: &str) -> f64 {
    // 32 bits are exact in a float.
    let (bits, _) = derive_uuid(name).as_u64_pair();
    f64::from(u32::try_from(bits >> 32).unwrap_or_default()) / (f64::from(u32::MAX) + 1.0)
}

/// By two even draws (Box and Muller).
fn log_normal(p50_ms: u32, p99_ms: u32, radius: f64, angle: f64) -> Duration {
    /// How many standard deviations the 99th percentile is above the median.
    const P99: f64 = 2.326_347_874;
    let normal = (-2.0 * (1.0 - radius).ln()).sqrt() * (std::f64::consts::TAU * angle).cos();
    let (p50, p99) = (f64::from(p50_ms.max(1)), f64::from(p99_ms.max(p50_ms).max(1)));
    let ms = p50 * (normal * (p99 / p50).ln() / P99).exp();
    Duration::from_secs_f64(ms.min(600_000.0) / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(fault: Fault) -> FaultRule {
        FaultRule { channel: None, endpoint: None, after: 0, calls: None, percent: 100.0, fault }
    }

    fn channel(id: &str) -> ChannelId {
        id.parse().unwrap()
    }

    #[test]
    fn a_plan_is_read_and_a_wrong_one_says_where() {
        let plan = Faults::parse(
            "seed = 7\n[[rules]]\nendpoint = \"push\"\npercent = 0.5\nfault.answer_lost = \"reset\"\n\
             [[rules]]\nchannel = \"line-07\"\nfault = \"failed\"\nafter = 2\ncalls = 1\n\
             [[rules]]\nfault.latency = { p50_ms = 20, p99_ms = 400 }\n",
        )
        .unwrap();
        assert_eq!((plan.seed, plan.rules.len()), (7, 3));
        assert_eq!(plan.rules[0].fault, Fault::AnswerLost(Lost::Reset));
        let json = serde_json::to_value(&plan).unwrap();
        assert_eq!(serde_json::from_value::<Faults>(json).unwrap(), plan);
        for (text, place) in [
            ("[[rules]]\nfault = \"failed\"\npercent = 101", "rules[0].percent"),
            ("[[rules]]\nfault = \"gone\"", "gone"),
            ("[[rules]]\npercent = 1", "fault"),
            ("sead = 7", "sead"),
        ] {
            let error = Faults::parse(text).unwrap_err().to_string();
            assert!(error.contains(place), "{text}: {error}");
        }
    }

    #[test]
    fn what_a_call_meets_does_not_hang_on_other_channels() {
        let plan =
            Faults { seed: 7, rules: vec![FaultRule { percent: 30.0, ..rule(Fault::Failed) }] };
        let run = |others: bool| {
            let mut injector = Injector::new(plan.clone());
            let mut met = Vec::new();
            for _ in 0..200 {
                met.push(injector.next(&channel("a"), Endpoint::Push).fault.is_some());
                if others {
                    injector.next(&channel("b"), Endpoint::Push);
                    injector.next(&channel("a"), Endpoint::Reply);
                }
            }
            met
        };
        assert_eq!(run(false), run(true));
        let hits = run(false).into_iter().filter(|hit| *hit).count();
        assert!((40..80).contains(&hits), "{hits}");
        let other = Injector::new(Faults { seed: 8, ..plan.clone() });
        let mut other = other;
        let others: Vec<_> =
            (0..200).map(|_| other.next(&channel("a"), Endpoint::Push).fault.is_some()).collect();
        assert_ne!(run(false), others);
    }

    #[test]
    fn a_rule_is_for_its_calls_alone_and_times_add_up() {
        let slow = Fault::Latency { p50_ms: 100, p99_ms: 100 };
        let plan = Faults {
            seed: 0,
            rules: vec![
                FaultRule { after: 1, calls: Some(2), ..rule(Fault::Failed) },
                FaultRule { endpoint: Some(Endpoint::Push), ..rule(Fault::Malformed) },
                rule(slow),
                FaultRule { channel: Some(channel("a")), ..rule(slow) },
            ],
        };
        let mut injector = Injector::new(plan);
        let mut next = |id: &str, endpoint| injector.next(&channel(id), endpoint);
        let pushes: Vec<_> = (0..4).map(|_| next("a", Endpoint::Push)).collect();
        let faults: Vec<_> = pushes.iter().map(|met| met.fault).collect();
        let (failed, malformed) = (Some(Fault::Failed), Some(Fault::Malformed));
        assert_eq!(faults, [malformed, failed, failed, malformed]);
        assert_eq!(pushes[0].latency.as_millis(), 200);
        assert_eq!(next("b", Endpoint::Reply).latency.as_millis(), 100);
        assert_eq!(next("b", Endpoint::Reply).fault, failed);
    }

    #[test]
    fn latency_has_its_median_and_its_99th_percentile() {
        let plan =
            Faults { seed: 1, rules: vec![rule(Fault::Latency { p50_ms: 20, p99_ms: 400 })] };
        let mut injector = Injector::new(plan);
        let mut all: Vec<_> = (0..4_000)
            .map(|_| injector.next(&channel("a"), Endpoint::Push).latency.as_millis())
            .collect();
        all.sort_unstable();
        assert!((17..24).contains(&all[2_000]), "{}", all[2_000]);
        assert!((250..650).contains(&all[3_960]), "{}", all[3_960]);
    }
}
