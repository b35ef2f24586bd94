use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How far one stream was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The last sequence that was taken; 0 before the first.
    pub sequence: u64,
    /// When the server stored that message, in nanoseconds since 1970. Tells a stream that lost
    /// its tail and grew again from the one that was read.
    pub stored_at: i64,
    /// Of a ledger: the epoch in force there. Of any other stream the default.
    #[serde(default)]
    pub epoch: Epoch,
}

/// Which writer's records of a ledger count.
///
/// A record counts when it carries the newest epoch and no foreign record has come since that
/// epoch began. A foreign record takes the place of one that its writer had in flight; what that
/// writer had sent behind it may still be stored, with a hole before it, so none of it counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epoch {
    /// The newest epoch; 0 before the first.
    pub number: u64,
    /// Whether a foreign record has come since it began.
    pub broken: bool,
}

impl Epoch {
    /// Takes note of the next record of the ledger: the epoch it carries, and whether it is an
    /// epoch record. Does it count?
    #[must_use]
    pub fn admit(&mut self, carried: Option<u64>, opens: bool) -> bool {
        match carried {
            Some(number) if opens && number > self.number => {
                *self = Self { number, broken: false };
                true
            }
            Some(number) if number == self.number && number > 0 && !self.broken => true,
            _ => {
                self.broken = true;
                false
            }
        }
    }
}

/// How far a decider has read all its upstreams: for each stream
/// `<stream>=<sequence>@<nanoseconds>`, of a ledger with `/<epoch>`, and `!` when that is broken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Positions(BTreeMap<String, Position>);

impl Positions {
    /// How far `stream` was read.
    #[must_use]
    pub fn get(&self, stream: &str) -> Position {
        self.0.get(stream).copied().unwrap_or_default()
    }

    /// Takes note that `stream` was read up to `position`; never goes back.
    pub fn advance(&mut self, stream: &str, position: Position) {
        match self.0.get_mut(stream) {
            Some(known) if known.sequence >= position.sequence => {}
            Some(known) => *known = position,
            None => {
                self.0.insert(stream.to_owned(), position);
            }
        }
    }

    /// Every stream that was read, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Position)> {
        self.0.iter().map(|(stream, position)| (stream.as_str(), *position))
    }

    /// Was nothing read yet?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Positions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (stream, position)) in self.0.iter().enumerate() {
            let gap = if index == 0 { "" } else { " " };
            write!(f, "{gap}{stream}={}@{}", position.sequence, position.stored_at)?;
            if position.epoch.number > 0 {
                write!(f, "/{}", position.epoch.number)?;
            }
            if position.epoch.broken {
                f.write_str("!")?;
            }
        }
        Ok(())
    }
}

/// The text is no position vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no list of <stream>=<sequence>@<nanoseconds>[/<epoch>][!]")]
pub struct NoPositions;

impl FromStr for Positions {
    type Err = NoPositions;

    fn from_str(text: &str) -> Result<Self, NoPositions> {
        let one = |part: &str| {
            let (stream, rest) = part.split_once('=')?;
            let (sequence, rest) = rest.split_once('@')?;
            let (rest, broken) = rest.strip_suffix('!').map_or((rest, false), |rest| (rest, true));
            let (stored_at, number) = rest.split_once('/').unwrap_or((rest, "0"));
            let position = Position {
                sequence: sequence.parse().ok()?,
                stored_at: stored_at.parse().ok()?,
                epoch: Epoch { number: number.parse().ok()?, broken },
            };
            (!stream.is_empty()).then(|| (stream.to_owned(), position))
        };
        text.split_ascii_whitespace()
            .map(|part| one(part).ok_or(NoPositions))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_prints() {
        let mut positions = Positions::default();
        assert_eq!("".parse(), Ok(positions.clone()));
        let at = |sequence, number, broken| Position {
            sequence,
            stored_at: 70,
            epoch: Epoch { number, broken },
        };
        positions.advance("ROUTING", at(7, 2, false));
        positions.advance("CUSTOMER", at(12, 3, true));
        positions.advance("INBOUND", at(5, 0, false));
        positions.advance("ROUTING", at(6, 1, false));
        assert_eq!(positions.to_string(), "CUSTOMER=12@70/3! INBOUND=5@70 ROUTING=7@70/2");
        assert_eq!(positions.to_string().parse(), Ok(positions));
        for bad in ["A", "A=1", "A=x@1", "=1@1", "A=1@1,B=2@2"] {
            assert_eq!(bad.parse::<Positions>(), Err(NoPositions), "{bad}");
        }
    }

    #[test]
    fn what_follows_a_foreign_record_waits_for_the_next_epoch() {
        let mut epoch = Epoch::default();
        assert!(!epoch.admit(Some(1), false), "nothing counts before the first epoch");
        assert!(epoch.admit(Some(1), true));
        assert!(epoch.admit(Some(1), true) && epoch.admit(Some(1), false));
        assert!(!epoch.admit(Some(0), false), "an older epoch");
        assert!(!epoch.admit(Some(1), false), "after a foreign record");
        assert!(!epoch.admit(Some(1), true), "an epoch begins once");
        assert!(epoch.admit(Some(2), true) && epoch.admit(Some(2), false));
        assert!(!epoch.admit(None, false), "a stranger");
        assert!(!epoch.admit(Some(2), false));
    }
}
