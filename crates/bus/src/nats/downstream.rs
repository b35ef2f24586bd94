//! How far the services downstream have read a ledger, for good.
//!
//! Every record carries how far its writer had read. The append is the commit, and a ledger is
//! written in order, so what a service has read by its newest record is decided and will not be
//! asked for again, whoever restarts it. That record is there whether or not anybody runs, and
//! needs nobody to keep it up to date; what a running writer says of itself would vanish with a
//! clean stop, and could be ahead of what it stored. A silent decider leaves a position record, so
//! the word is never old for long.
//!
//! The newest record counts when it carries the epoch that the newest epoch record opened. One of
//! an older epoch was read for nothing: then nothing is known, until the writer goes on. As in
//! [`Past`](crate::nats::Past), a stranger's record, which nobody may write, could hide that those
//! behind it do not count; only until its writer, which it stops, begins its next epoch.
//!
//! Both records come from the stream's leader. A service that has never written has read nothing.

use async_nats::jetstream::stream::{LastRawMessageErrorKind, Stream};

use crate::nats::wire::record;
use crate::nats::{Bus, ReadError};
use crate::positions::Positions;
use crate::record::{Record, header};
use crate::topology;

/// The ledgers of those who read one ledger.
pub(crate) struct Downstream {
    of: &'static str,
    readers: Vec<Reader>,
}

struct Reader {
    service: &'static str,
    ledger: &'static str,
    stream: Stream<()>,
}

/// The service that has read least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slowest {
    pub(crate) service: &'static str,
    /// The last sequence it has read for good.
    pub(crate) read: u64,
}

impl Downstream {
    pub(crate) async fn open(bus: &Bus, of: &'static str) -> Result<Self, ReadError> {
        let mut readers = Vec::new();
        for (service, ledger) in topology::readers_of(of) {
            let stream = bus.jetstream.get_stream_no_info(ledger).await;
            let stream = stream.map_err(|error| broker(ledger, &error))?;
            readers.push(Reader { service, ledger, stream });
        }
        Ok(Self { of, readers })
    }

    /// Who has read least, and how far; `None` when nobody reads the ledger.
    pub(crate) async fn slowest(&self) -> Result<Option<Slowest>, ReadError> {
        let mut slowest: Option<Slowest> = None;
        for reader in &self.readers {
            let read = reader.read(self.of).await?;
            if slowest.is_none_or(|known| read < known.read) {
                slowest = Some(Slowest { service: reader.service, read });
            }
        }
        Ok(slowest)
    }
}

impl Reader {
    async fn read(&self, stream: &str) -> Result<u64, ReadError> {
        // In this order: an epoch that voids the newest record was there before it.
        let Some(newest) = self.newest(">").await? else { return Ok(0) };
        let opened = topology::ledger_subject(self.service, topology::EPOCH);
        let Some(opened) = self.newest(&opened).await? else { return Ok(0) };
        Ok(read_by(&newest, &opened, stream))
    }

    async fn newest(&self, subject: &str) -> Result<Option<Record>, ReadError> {
        match self.stream.get_last_raw_message_by_subject(subject).await {
            Ok(message) => {
                Ok(Some(record(&message.subject, Some(&message.headers), message.payload)))
            }
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(broker(self.ledger, &error)),
        }
    }
}

fn broker(stream: &'static str, what: &dyn std::fmt::Display) -> ReadError {
    ReadError::Broker { stream, what: what.to_string() }
}

/// How far the writer of the newest record of a ledger had read a stream, if that record is of the
/// epoch that the newest epoch record opened; else nothing is known of it.
fn read_by(newest: &Record, opened: &Record, stream: &str) -> u64 {
    let epoch = |record: &Record| record.header(header::EPOCH)?.parse::<u64>().ok();
    if epoch(newest).is_none() || epoch(newest) != epoch(opened) {
        return 0;
    }
    let positions = newest.header(header::POSITIONS).and_then(|text| text.parse().ok());
    positions.map_or(0, |positions: Positions| positions.get(stream).sequence)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Headers;

    fn record(headers: &[(&'static str, &str)]) -> Record {
        let mut all = Headers::default();
        for (name, value) in headers {
            all.set(*name, *value);
        }
        Record { subject: "a".to_owned(), headers: all, body: bytes::Bytes::new() }
    }

    #[test]
    fn only_a_record_of_the_newest_epoch_says_what_was_read() {
        let positions = (header::POSITIONS, "CUSTOMER=7@1/2 ROUTING=9@1/1");
        let of = |epoch| record(&[(header::EPOCH, epoch), positions]);
        assert_eq!(read_by(&of("3"), &of("3"), "CUSTOMER"), 7);
        assert_eq!(read_by(&of("3"), &of("3"), "ROUTING"), 9);
        assert_eq!(read_by(&of("3"), &of("3"), "INBOUND"), 0, "never read");
        assert_eq!(read_by(&of("2"), &of("3"), "CUSTOMER"), 0, "void");
        assert_eq!(read_by(&of("x"), &of("x"), "CUSTOMER"), 0, "no epoch");
        assert_eq!(read_by(&record(&[positions]), &of("3"), "CUSTOMER"), 0, "a stranger's");
        let nowhere = record(&[(header::EPOCH, "3")]);
        assert_eq!(read_by(&nowhere, &of("3"), "CUSTOMER"), 0);
        let garbled = record(&[(header::EPOCH, "3"), (header::POSITIONS, "CUSTOMER")]);
        assert_eq!(read_by(&garbled, &of("3"), "CUSTOMER"), 0);
    }
}
