use crate::engine::{Engine, FoldError, Folded, Settings, Snapshot};
use crate::machine::Machine;
use crate::nats::store::{Configurations, Snapshots};
use crate::nats::{Bus, HostError, Log, ReadError};
use crate::positions::Position;

/// What the doctor found in one ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// The service.
    pub service: &'static str,
    /// The ledger's last sequence.
    pub sequence: u64,
    /// Records that count.
    pub records: u64,
    /// Records that do not count: of older epochs, or strangers'.
    pub voided: u64,
    /// Sequences with nothing in them: erased, or expired.
    pub missing: u64,
    /// The sequence of the newest good snapshot, if there is one.
    pub snapshot: Option<u64>,
    /// Newer snapshots that cannot be read, or are of another ledger than the one that is there.
    pub bad_snapshots: usize,
    /// Whether the state from the log alone equals that snapshot and its tail.
    pub equal: bool,
}

/// Folds a ledger from its start, and again from the newest snapshot, and compares.
///
/// # Errors
/// When the ledger or an upstream position cannot be read; see [`HostError`].
pub async fn diagnose<M: Machine>(bus: &Bus) -> Result<Diagnosis, HostError> {
    let setup = |error: &dyn std::fmt::Display| HostError::Setup(error.to_string());
    let configurations = Configurations::open(bus).await.map_err(|error| setup(&error))?;
    let snapshots = Snapshots::open(bus, M::SERVICE).await.map_err(|error| setup(&error))?;
    let start = Log::open(bus, M::LEDGER, Position::default()).await;
    let mut log = start.map_err(HostError::Upstream)?;
    let (last, present) = log.end().await.map_err(HostError::Upstream)?;
    let found = snapshots.newest::<M>(&mut log).await.map_err(|error| setup(&error))?;
    let bad_snapshots = found.unreadable + found.strange.len();
    let newest = found.snapshot;
    let snapshot = newest.as_ref().map(Snapshot::sequence);

    let mut whole = Engine::<M>::new(Settings::default());
    let mut tail = match newest {
        Some(newest) => {
            let applied = configurations.get(newest.configuration()).await;
            let applied = applied.map_err(|error| setup(&error))?;
            Some(Engine::restore(Settings::default(), newest.configured(applied)))
        }
        None => None,
    };
    let (mut records, mut voided) = (0, 0);
    while whole.sequence() < present {
        let message = match log.next().await {
            Ok(message) => message,
            Err(ReadError::Broker { .. }) => continue,
            Err(error) => return Err(HostError::Upstream(error)),
        };
        let folded = fold(&mut whole, &message, &configurations).await?;
        match folded {
            Folded::Taken => records += 1,
            Folded::Void => voided += 1,
        }
        if let Some(tail) = tail.as_mut().filter(|tail| tail.sequence() < message.sequence) {
            fold(tail, &message, &configurations).await?;
        }
    }
    whole.folded_to(last);
    let equal = match &mut tail {
        None => true,
        Some(tail) => {
            tail.folded_to(last);
            whole.same_fold(tail)
        }
    };
    for upstream in M::UPSTREAMS {
        let position = whole.positions().get(upstream.stream);
        Log::open(bus, upstream.stream, position).await.map_err(HostError::Upstream)?;
    }
    Ok(Diagnosis {
        service: M::SERVICE,
        sequence: last,
        records,
        voided,
        missing: last - records - voided,
        snapshot,
        bad_snapshots,
        equal,
    })
}

async fn fold<M: Machine>(
    engine: &mut Engine<M>,
    message: &crate::Stored,
    configurations: &Configurations,
) -> Result<Folded, HostError> {
    loop {
        match engine.fold(message) {
            Ok(folded) => return Ok(folded),
            Err(FoldError::NeedsConfiguration(digest)) => {
                let applied = configurations.get(&digest).await;
                engine.configure(applied.map_err(|error| HostError::Setup(error.to_string()))?);
            }
            Err(error) => return Err(HostError::Ledger(error)),
        }
    }
}
