use std::collections::VecDeque;
use std::time::Duration;

use imbl::{OrdMap, Vector};
use mainstem_domain::At;
use serde::{Deserialize, Serialize};

use crate::engine::Answer;
use crate::positions::{Epoch, Positions};
use crate::record::{Record, Unreadable, carried, header};

/// How long the same request gets the same answer.
pub const RECEIPTS_FOR: Duration = Duration::from_hours(24);

/// How many receipts are remembered at most; the oldest goes first.
pub const RECEIPTS_AT_MOST: usize = 1_000_000;

/// Everything that is folded from a ledger: the decider's state, and what the engine itself
/// remembers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Memory<State> {
    pub(crate) sequence: u64,
    pub(crate) epoch: Epoch,
    pub(crate) positions: Positions,
    /// The newest moment that was decided at; time never goes back behind it.
    pub(crate) at: At,
    /// The configuration in force.
    pub(crate) configuration: String,
    /// The decider's records so far; tells wake-ups with the same deadline apart.
    pub(crate) decided: u64,
    pub(crate) receipts: OrdMap<String, Receipt>,
    receipt_order: Vector<(At, String)>,
    /// Records of an input that was cut off, still to come. Never in a snapshot.
    #[serde(skip)]
    pub(crate) rest: VecDeque<Record>,
    pub(crate) state: State,
}

/// What a command was answered, so that it can be answered so again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Receipt {
    #[serde(rename = "requestId")]
    pub(crate) request_id: String,
    pub(crate) hash: String,
    pub(crate) answer: Answer,
}

/// What every record says of its input.
pub(crate) struct Stamp {
    pub(crate) at: At,
    pub(crate) positions: Positions,
    receipt: Option<Receipt>,
    rest: Option<Vec<Record>>,
}

impl Stamp {
    pub(crate) fn new(at: At, positions: Positions, receipt: Option<Receipt>) -> Self {
        Self { at, positions, receipt, rest: None }
    }

    pub(crate) fn read(record: &Record) -> Result<Self, Unreadable> {
        let missing = |name: &str| Unreadable(format!("{name} is missing or malformed"));
        let header = |name: &'static str| record.header(name);
        let at = header(header::RECORDED_TIME)
            .and_then(At::parse)
            .ok_or_else(|| missing(header::RECORDED_TIME))?;
        let positions = header(header::POSITIONS)
            .unwrap_or_default()
            .parse()
            .map_err(|_| missing(header::POSITIONS))?;
        let receipt = if record.kind() == super::kind::RECEIPT {
            std::str::from_utf8(&record.body).ok()
        } else {
            header(header::RECEIPT)
        };
        let receipt = receipt
            .map(|text| serde_json::from_str(text).map_err(|_| missing(header::RECEIPT)))
            .transpose()?;
        let rest = header(header::REST).map(carried).transpose()?;
        Ok(Self { at, positions, receipt, rest })
    }
}

/// The digest that a configuration record names.
pub(crate) fn configuration_digest(record: &Record) -> Result<String, Unreadable> {
    let body: ConfigurationBody =
        serde_json::from_slice(&record.body).map_err(|error| Unreadable(error.to_string()))?;
    Ok(body.digest)
}

#[derive(Serialize, Deserialize)]
pub(crate) struct ConfigurationBody {
    pub(crate) digest: String,
}

impl<State: PartialEq> Memory<State> {
    /// Do both come from the same records? One of them may have read its upstreams further, which
    /// an input that decided nothing does without leaving a record.
    pub(crate) fn same_fold(&self, other: &Self) -> bool {
        (self.sequence, self.epoch, self.at, self.decided)
            == (other.sequence, other.epoch, other.at, other.decided)
            && self.configuration == other.configuration
            && self.receipts == other.receipts
            && self.state == other.state
    }
}

impl<State> Memory<State> {
    /// Is this the record that has to come next, when an input was cut off?
    pub(crate) fn check_rest(&mut self, record: &Record) -> Result<(), Unreadable> {
        match self.rest.front() {
            None => Ok(()),
            Some(next)
                if next.subject == record.subject
                    && next.header(header::ID) == record.header(header::ID) =>
            {
                self.rest.pop_front();
                Ok(())
            }
            Some(_) => Err(Unreadable("the rest of the input before it is missing".to_owned())),
        }
    }

    /// Takes what a record that counts says of its input.
    pub(crate) fn take(&mut self, stamp: Stamp) {
        self.at = self.at.max(stamp.at);
        self.positions = stamp.positions;
        if let Some(rest) = stamp.rest {
            self.rest = rest.into();
        }
        if let Some(receipt) = stamp.receipt {
            self.receipt_order.push_back((stamp.at, receipt.request_id.clone()));
            self.receipts.insert(receipt.request_id.clone(), receipt);
        }
        while let Some((since, _)) = self.receipt_order.front()
            && (self.at.since(*since) > RECEIPTS_FOR || self.receipts.len() > RECEIPTS_AT_MOST)
            && let Some((_, request_id)) = self.receipt_order.pop_front()
        {
            self.receipts.remove(&request_id);
        }
    }
}
