//! The broker of the simulation does what nats-server does: the same cases on both.

use async_nats::jetstream::{self, stream};
use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use futures::StreamExt;
use mainstem_bus::{Headers, Record};
use mainstem_tests::nats_server::{self, NatsServer};
use mainstem_tests::sim::broker::{BATCH_AT_MOST, MESSAGE_ID, Reply, SimBroker, code};
use tokio::runtime::Runtime;

const STREAM: &str = "LEDGER";
const SUBJECT: &str = "ledger.test.record";

/// What a writer asks a broker to append.
#[derive(Clone)]
struct Append {
    body: String,
    expect: Option<u64>,
    id: Option<String>,
}

/// One stream on a broker, empty at first.
trait Broker {
    /// Sends all of these, one behind the other without waiting; their replies in order.
    fn pipeline(&mut self, appends: &[Append]) -> Vec<Reply>;
    /// Sends an atomic batch; the first message's expectation is the batch's.
    fn batch(&mut self, messages: &[Append]) -> Reply;
    /// Sends an atomic batch without its end.
    fn half_a_batch(&mut self, messages: &[Append]);
    fn delete(&mut self, sequence: u64);
    fn messages(&mut self) -> Vec<(u64, String)>;
    fn last_sequence(&mut self) -> u64;
    /// Ends without warning and starts again.
    fn restart(&mut self);

    fn append(&mut self, append: Append) -> Reply {
        self.pipeline(&[append]).pop().expect("one reply")
    }
    fn bodies(&mut self) -> Vec<String> {
        self.messages().into_iter().map(|(_, body)| body).collect()
    }
}

type Case = (&'static str, fn(&mut dyn Broker));

const CASES: [Case; 11] = [
    ("all after a refused append are refused", all_after_a_refused_append_are_refused),
    ("a stranger in the slot of a lost append", a_stranger_in_the_slot_of_a_lost_append),
    ("an old window meets an epoch", an_old_window_meets_an_epoch),
    ("a batch is stored whole", a_batch_is_stored_whole),
    ("a batch that expects wrongly", a_batch_that_expects_wrongly_stores_nothing),
    ("a batch without an end", a_batch_without_an_end_stores_nothing),
    ("a batch of too many", a_batch_of_too_many_stores_nothing),
    ("the last sequence outlives its record", the_last_sequence_outlives_its_record),
    ("a duplicate", a_duplicate_is_a_success_that_stores_nothing),
    ("a duplicate in a batch", a_duplicate_in_a_batch_refuses_all_of_it),
    ("a restart", a_restart_keeps_what_was_acknowledged),
];

#[test]
fn the_simulated_broker_keeps_the_contract() {
    for (name, case) in CASES {
        eprintln!("{name}");
        case(&mut SimBroker::default());
    }
}

#[test]
fn the_real_broker_keeps_the_contract() {
    if nats_server::binary().is_none() {
        return;
    }
    for (name, case) in CASES {
        eprintln!("{name}");
        case(&mut Real::start());
    }
}

fn after(expect: u64, body: &str) -> Append {
    Append { body: body.to_owned(), expect: Some(expect), id: None }
}

fn anywhere(body: &str) -> Append {
    Append { body: body.to_owned(), expect: None, id: None }
}

fn with_id(append: Append, id: &str) -> Append {
    Append { id: Some(id.to_owned()), ..append }
}

/// `count` records in a row, the first after `expect`.
fn window(expect: u64, count: u64, name: &str) -> Vec<Append> {
    (0..count).map(|index| after(expect + index, &format!("{name}{index}"))).collect()
}

/// A batch of `count`, after `expect`.
fn batch_of(count: usize, expect: u64, name: &str) -> Vec<Append> {
    let mut batch: Vec<_> = (0..count).map(|index| anywhere(&format!("{name}{index}"))).collect();
    batch[0].expect = Some(expect);
    batch
}

fn stored(sequence: u64) -> Reply {
    Reply::Stored { sequence, duplicate: false }
}

fn duplicate(sequence: u64) -> Reply {
    Reply::Stored { sequence, duplicate: true }
}

fn wrong(last: u64) -> Reply {
    let reason = format!("wrong last sequence: {last}");
    Reply::Refused { code: code::WRONG_LAST_SEQUENCE, reason }
}

fn refused_for(reply: &Reply) -> u64 {
    match reply {
        Reply::Refused { code, .. } => *code,
        Reply::Stored { .. } => panic!("{reply:?}"),
    }
}

fn all_after_a_refused_append_are_refused(broker: &mut dyn Broker) {
    assert_eq!(broker.append(after(0, "a")), stored(1));
    assert_eq!(broker.append(anywhere("stranger")), stored(2));
    assert_eq!(broker.append(anywhere("stranger")), stored(3));
    // Expects 1, 2, 3, 4 where 3 is last: the one that fits is in the middle of the window.
    let replies = broker.pipeline(&window(0, 3, "old"));
    assert_eq!(replies, [wrong(3), wrong(3), wrong(3)]);
    let replies = broker.pipeline(&window(4, 3, "ahead"));
    assert_eq!(replies, [wrong(3), wrong(3), wrong(3)]);
    assert_eq!(broker.bodies(), ["a", "stranger", "stranger"]);
}

fn a_stranger_in_the_slot_of_a_lost_append(broker: &mut dyn Broker) {
    assert_eq!(broker.append(after(0, "a")), stored(1));
    // The append that expects 1 is lost on its way.
    let in_flight = window(1, 4, "w");
    assert_eq!(broker.append(anywhere("stranger")), stored(2));
    assert_eq!(broker.pipeline(&in_flight[1..]), [stored(3), stored(4), stored(5)]);
    assert_eq!(broker.bodies(), ["a", "stranger", "w1", "w2", "w3"]);
}

fn an_old_window_meets_an_epoch(broker: &mut dyn Broker) {
    const WINDOW: u64 = 4;
    assert_eq!(broker.append(after(0, "a")), stored(1));
    let in_flight = window(1, WINDOW, "old");
    let epoch = batch_of(5, 1, "epoch");
    assert_eq!(broker.batch(&epoch), stored(6));
    for lost in 0..in_flight.len() {
        let replies = broker.pipeline(&in_flight[lost..]);
        assert!(replies.iter().all(|reply| *reply == wrong(6)), "{replies:?}");
    }
    assert_eq!(broker.last_sequence(), 6);
}

fn a_batch_is_stored_whole(broker: &mut dyn Broker) {
    assert_eq!(broker.append(anywhere("a")), stored(1));
    assert_eq!(broker.batch(&batch_of(3, 1, "b")), stored(4));
    assert_eq!(broker.batch(&batch_of(1, 4, "c")), stored(5));
    assert_eq!(broker.append(after(5, "d")), stored(6));
    assert_eq!(broker.bodies(), ["a", "b0", "b1", "b2", "c0", "d"]);
    assert_eq!(broker.batch(&batch_of(BATCH_AT_MOST, 6, "e")), stored(1_006));
}

fn a_batch_that_expects_wrongly_stores_nothing(broker: &mut dyn Broker) {
    assert_eq!(broker.append(anywhere("a")), stored(1));
    assert_eq!(broker.batch(&batch_of(3, 0, "b")), wrong(1));
    assert_eq!(broker.batch(&batch_of(3, 2, "b")), wrong(1));
    assert_eq!(broker.append(after(1, "c")), stored(2));
    assert_eq!(broker.bodies(), ["a", "c"]);
}

fn a_batch_without_an_end_stores_nothing(broker: &mut dyn Broker) {
    assert_eq!(broker.append(anywhere("a")), stored(1));
    broker.half_a_batch(&batch_of(3, 1, "b"));
    assert_eq!(broker.append(after(1, "c")), stored(2));
    broker.half_a_batch(&batch_of(3, 2, "d"));
    broker.restart();
    assert_eq!(broker.append(after(2, "e")), stored(3));
    assert_eq!(broker.bodies(), ["a", "c", "e"]);
}

fn a_batch_of_too_many_stores_nothing(broker: &mut dyn Broker) {
    let reply = broker.batch(&batch_of(BATCH_AT_MOST + 1, 0, "b"));
    assert_eq!(refused_for(&reply), code::BATCH_TOO_LARGE);
    assert_eq!(broker.append(after(0, "a")), stored(1));
}

fn the_last_sequence_outlives_its_record(broker: &mut dyn Broker) {
    assert_eq!(broker.pipeline(&window(0, 3, "a")), [stored(1), stored(2), stored(3)]);
    broker.delete(3);
    assert_eq!(broker.bodies(), ["a0", "a1"]);
    assert_eq!(broker.last_sequence(), 3);
    assert_eq!(broker.append(after(2, "b")), wrong(3));
    broker.restart();
    assert_eq!(broker.last_sequence(), 3);
    assert_eq!(broker.append(after(2, "b")), wrong(3));
    assert_eq!(broker.append(after(3, "b")), stored(4));
    assert_eq!(broker.batch(&batch_of(2, 4, "c")), stored(6));
    assert_eq!(
        broker.messages().into_iter().map(|(sequence, _)| sequence).collect::<Vec<_>>(),
        [1, 2, 4, 5, 6]
    );
}

fn a_duplicate_is_a_success_that_stores_nothing(broker: &mut dyn Broker) {
    // An append that is refused leaves no id behind.
    assert_eq!(broker.append(with_id(after(7, "a"), "1")), wrong(0));
    assert_eq!(broker.append(with_id(after(0, "a"), "1")), stored(1));
    assert_eq!(broker.append(after(1, "b")), stored(2));
    assert_eq!(broker.append(with_id(anywhere("c"), "1")), duplicate(1));
    // The expected sequence is looked at before the id.
    assert_eq!(broker.append(with_id(after(2, "c"), "1")), duplicate(1));
    assert_eq!(broker.append(with_id(after(0, "c"), "1")), wrong(2));
    let twice = [with_id(after(2, "d"), "2"), with_id(after(3, "d"), "2")];
    assert_eq!(broker.pipeline(&twice), [stored(3), duplicate(3)]);
    broker.restart();
    assert_eq!(broker.append(with_id(after(3, "c"), "1")), duplicate(1));
    assert_eq!(broker.bodies(), ["a", "b", "d"]);
    // A record that is deleted is remembered until the next restart.
    broker.delete(3);
    assert_eq!(broker.append(with_id(after(3, "d"), "2")), duplicate(3));
    broker.restart();
    assert_eq!(broker.append(with_id(after(3, "d"), "2")), stored(4));
}

fn a_duplicate_in_a_batch_refuses_all_of_it(broker: &mut dyn Broker) {
    assert_eq!(broker.append(with_id(anywhere("a"), "1")), stored(1));
    let mut batch = batch_of(3, 1, "b");
    batch[1].id = Some("1".to_owned());
    assert_eq!(refused_for(&broker.batch(&batch)), code::DUPLICATE_IN_BATCH);
    batch[1].id = Some("2".to_owned());
    batch[2].id = Some("2".to_owned());
    assert_eq!(refused_for(&broker.batch(&batch)), code::DUPLICATE_IN_BATCH);
    batch[2].id = Some("3".to_owned());
    assert_eq!(broker.batch(&batch), stored(4));
    assert_eq!(broker.append(with_id(after(4, "c"), "3")), duplicate(4));
    assert_eq!(broker.bodies(), ["a", "b0", "b1", "b2"]);
}

fn a_restart_keeps_what_was_acknowledged(broker: &mut dyn Broker) {
    assert_eq!(broker.pipeline(&window(0, 64, "a")).last(), Some(&stored(64)));
    assert_eq!(broker.batch(&batch_of(65, 64, "b")), stored(129));
    let before = broker.messages();
    broker.restart();
    assert_eq!(broker.messages(), before);
    assert_eq!(broker.last_sequence(), 129);
    assert_eq!(broker.append(after(128, "c")), wrong(129));
    assert_eq!(broker.append(after(129, "c")), stored(130));
}

fn record(append: &Append) -> Record {
    let mut headers = Headers::default();
    if let Some(id) = &append.id {
        headers.set(MESSAGE_ID, id.as_str());
    }
    Record { subject: SUBJECT.to_owned(), headers, body: Bytes::from(append.body.clone()) }
}

impl Broker for SimBroker {
    fn pipeline(&mut self, appends: &[Append]) -> Vec<Reply> {
        let one = |append: &Append| SimBroker::append(self, STREAM, &record(append), append.expect);
        appends.iter().map(one).collect()
    }

    fn batch(&mut self, messages: &[Append]) -> Reply {
        let records: Vec<_> = messages.iter().map(record).collect();
        self.append_batch(STREAM, &records, messages[0].expect)
    }

    // Here a batch comes whole or not at all.
    fn half_a_batch(&mut self, _messages: &[Append]) {}

    fn delete(&mut self, sequence: u64) {
        assert!(SimBroker::delete(self, STREAM, sequence));
    }

    fn messages(&mut self) -> Vec<(u64, String)> {
        SimBroker::messages(self, STREAM)
            .map(|message| (message.sequence, text(&message.record.body)))
            .collect()
    }

    fn last_sequence(&mut self) -> u64 {
        SimBroker::last_sequence(self, STREAM)
    }

    fn restart(&mut self) {
        SimBroker::restart(self, false);
    }
}

/// A stream on a server of its own.
struct Real {
    runtime: Runtime,
    server: NatsServer,
    connection: Connection,
}

struct Connection {
    client: Client,
    stream: stream::Stream,
    batches: usize,
}

/// A message's place in an atomic batch.
struct Place {
    batch: String,
    index: usize,
    last: bool,
}

impl Real {
    fn start() -> Self {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let server = NatsServer::start().expect("a server was found");
        let connection = runtime.block_on(Connection::open(&server.url()));
        Self { runtime, server, connection }
    }
}

impl Connection {
    async fn open(url: &str) -> Self {
        let client = async_nats::connect(url).await.expect("the server takes clients");
        let config = stream::Config {
            name: STREAM.to_owned(),
            subjects: vec!["ledger.>".to_owned()],
            allow_atomic_publish: true,
            ..stream::Config::default()
        };
        let stream =
            jetstream::new(client.clone()).get_or_create_stream(config).await.expect("a stream");
        Self { client, stream, batches: 0 }
    }

    async fn send(&self, append: &Append, inbox: Option<String>, place: Option<Place>) {
        let mut headers = HeaderMap::new();
        if let Some(id) = &append.id {
            headers.insert(MESSAGE_ID, id.as_str());
        }
        if let Some(expect) = append.expect {
            headers.insert("Nats-Expected-Last-Sequence", expect.to_string());
        }
        if let Some(Place { batch, index, last }) = place {
            headers.insert("Nats-Batch-Id", batch);
            headers.insert("Nats-Batch-Sequence", (index + 1).to_string());
            if last {
                headers.insert("Nats-Batch-Commit", "1");
            }
        }
        let body = append.body.clone().into();
        let sent = match inbox {
            Some(inbox) => {
                self.client.publish_with_reply_and_headers(SUBJECT, inbox, headers, body).await
            }
            None => self.client.publish_with_headers(SUBJECT, headers, body).await,
        };
        sent.expect("the connection stands");
    }

    /// Sends without waiting; the replies come to one inbox, in the order in which the server took
    /// the messages.
    async fn pipeline(&self, appends: &[Append]) -> Vec<Reply> {
        let inbox = self.client.new_inbox();
        let mut replies = self.client.subscribe(inbox.clone()).await.expect("an inbox");
        for append in appends {
            self.send(append, Some(inbox.clone()), None).await;
        }
        let replies = replies.by_ref().take(appends.len());
        replies.map(|message| read_reply(&message.payload)).collect().await
    }

    async fn batch(&mut self, messages: &[Append], end: bool) -> Option<Reply> {
        self.batches += 1;
        let inbox = self.client.new_inbox();
        let mut replies = self.client.subscribe(inbox.clone()).await.expect("an inbox");
        for (index, message) in messages.iter().enumerate() {
            let last = end && index + 1 == messages.len();
            let place = Place { batch: format!("batch-{}", self.batches), index, last };
            // Only the last asks for a reply, which is about all of them.
            self.send(message, last.then(|| inbox.clone()), Some(place)).await;
        }
        self.client.flush().await.expect("the connection stands");
        if !end {
            return None;
        }
        let reply = replies.next().await.expect("a reply");
        Some(read_reply(&reply.payload))
    }

    async fn messages(&self) -> Vec<(u64, String)> {
        let mut messages = Vec::new();
        for sequence in 1..=self.last_sequence().await {
            if let Ok(message) = self.stream.get_raw_message(sequence).await {
                messages.push((message.sequence, text(&message.payload)));
            }
        }
        messages
    }

    async fn last_sequence(&self) -> u64 {
        self.stream.get_info().await.expect("the stream's state").state.last_sequence
    }
}

impl Broker for Real {
    fn pipeline(&mut self, appends: &[Append]) -> Vec<Reply> {
        self.runtime.block_on(self.connection.pipeline(appends))
    }

    fn batch(&mut self, messages: &[Append]) -> Reply {
        self.runtime.block_on(self.connection.batch(messages, true)).expect("a reply")
    }

    fn half_a_batch(&mut self, messages: &[Append]) {
        self.runtime.block_on(self.connection.batch(messages, false));
    }

    fn delete(&mut self, sequence: u64) {
        let deleted = self.connection.stream.delete_message(sequence);
        assert!(self.runtime.block_on(deleted).expect("it is deleted"));
    }

    fn messages(&mut self) -> Vec<(u64, String)> {
        self.runtime.block_on(self.connection.messages())
    }

    fn last_sequence(&mut self) -> u64 {
        self.runtime.block_on(self.connection.last_sequence())
    }

    fn restart(&mut self) {
        self.server.kill();
        self.server.start_again();
        self.connection = self.runtime.block_on(Connection::open(&self.server.url()));
    }
}

/// `{"stream","seq","duplicate"}` or `{"error":{"err_code","description"}}`.
fn read_reply(payload: &[u8]) -> Reply {
    let reply: serde_json::Value = serde_json::from_slice(payload).expect("a reply is JSON");
    if let Some(error) = reply.get("error") {
        let reason = error["description"].as_str().unwrap_or_default().to_owned();
        return Reply::Refused { code: error["err_code"].as_u64().unwrap_or_default(), reason };
    }
    Reply::Stored {
        sequence: reply["seq"].as_u64().expect("a sequence"),
        duplicate: reply["duplicate"].as_bool().unwrap_or_default(),
    }
}

fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(body).into_owned()
}
