//! One instance of one service: drives the engine as the shell on NATS does, one small step at a
//! time, and dies, sleeps and comes back when the world says so.

use mainstem_bus::engine::{Ask, Command, Engine, FoldError, Folded, Offered, Settings, Snapshot};
use mainstem_bus::{Call as Called, Machine, topology};
use rand::Rng;

use super::calls::{Asked, Call};
use super::check::{Check, Violation};
use super::net::{InstanceId, LineId, Net, Told};

/// A writer that hears nothing of an append for so many of its own steps takes it for lost.
const PATIENCE: u32 = 80;

/// An instance, whatever it decides.
pub trait Node {
    /// The service.
    fn service(&self) -> &'static str;
    /// Does one small thing, or nothing.
    fn step(&mut self, net: &mut Net) -> Result<(), Violation>;
    /// The process is gone, and comes back after so many steps.
    fn crash(&mut self, net: &mut Net, steps: u64);
    /// The process stands still for so many steps, and knows nothing of it.
    fn sleep(&mut self, net: &Net, steps: u64);
    /// One of its upstreams gives nothing for so many steps.
    fn stall(&mut self, net: &mut Net, steps: u64);
    /// Whether it runs.
    fn runs(&self) -> bool;
    /// Its connection as a writer.
    fn line(&self) -> Option<LineId>;
    /// Takes a call; `false` when it does not write, or not now.
    fn take(&mut self, net: &mut Net, call: &Call) -> bool;
    /// Whether it writes, has the lease, and has nothing left to do.
    fn done(&self, net: &Net) -> bool;
}

/// One instance of a service.
pub struct Instance<M: Machine> {
    id: InstanceId,
    settings: Settings,
    /// Records between two snapshots.
    snapshot_every: u64,
    life: Option<Life<M>>,
    /// Down, or asleep, until then.
    until: u64,
    /// For each upstream: gives nothing until then.
    stalled: Vec<u64>,
}

/// From one start to the next.
struct Life<M: Machine> {
    id: InstanceId,
    engine: Engine<M>,
    window: u64,
    leased: bool,
    writer: Option<Writer>,
    /// A snapshot that is being written.
    snapshot: Option<Snapshot<M>>,
}

struct Writer {
    line: LineId,
    /// Whether it decides and takes calls.
    begun: bool,
    sent: u64,
    acknowledged: u64,
    waited: u32,
}

impl<M: Machine> Instance<M> {
    /// One that has not started yet.
    #[must_use]
    pub fn new(id: InstanceId, settings: Settings, snapshot_every: u64) -> Self {
        let stalled = vec![0; M::UPSTREAMS.len()];
        Self { id, settings, snapshot_every, life: None, until: 0, stalled }
    }

    /// From the newest good snapshot, or from nothing.
    fn start(&self, net: &mut Net) -> Life<M> {
        let bucket = topology::snapshots(M::SERVICE);
        let end = net.broker.last_sequence(M::LEDGER);
        let mut good = None;
        let mut passed_over = false;
        for (_, bytes) in net.broker.objects(&bucket).rev() {
            good = Snapshot::<M>::decode(bytes).ok().filter(|found| found.sequence() <= end);
            if good.is_some() {
                break;
            }
            passed_over = true;
        }
        if passed_over {
            net.note("a half snapshot was passed over");
        }
        let engine = match good {
            Some(snapshot) => {
                net.note("an instance began from a snapshot");
                let applied = net.configurations[snapshot.configuration()].clone();
                Engine::restore(self.settings, snapshot.configured(applied))
            }
            None => Engine::new(self.settings),
        };
        Life {
            id: self.id,
            engine,
            window: self.settings.window as u64,
            leased: false,
            writer: None,
            snapshot: None,
        }
    }

    /// Begins anew from the ledger, as after every doubt.
    fn begin_anew(&mut self, net: &mut Net) {
        if let Some(writer) = self.life.take().and_then(|life| life.writer) {
            net.abandon(writer.line);
        }
        if net.lease(M::SERVICE) == Some(self.id) {
            net.end_lease(M::SERVICE);
        }
        self.until = net.step + net.rng.random_range(0..10);
    }
}

impl<M: Machine> Node for Instance<M> {
    fn service(&self) -> &'static str {
        M::SERVICE
    }

    fn step(&mut self, net: &mut Net) -> Result<(), Violation> {
        if net.step < self.until {
            return Ok(());
        }
        let id = self.id;
        if self.life.is_none() {
            self.life = Some(self.start(net));
        }
        let Some(life) = &mut self.life else { return Ok(()) };
        life.keep_snapshot(net, self.snapshot_every);
        if life.writer.is_some() {
            // It learns late that the lease is another's.
            let lost = net.lease(M::SERVICE) != Some(id) && net.rng.random_ratio(1, 40);
            if lost || !life.write(net, &self.stalled) {
                self.begin_anew(net);
            }
            return Ok(());
        }
        life.follow(net)?;
        if !life.leased {
            life.leased = net.rng.random_ratio(1, 4) && net.take_lease(M::SERVICE, id);
        } else if life.catch_up(net)? {
            life.begin(net);
        }
        Ok(())
    }

    fn crash(&mut self, net: &mut Net, steps: u64) {
        let half = self.life.as_mut().and_then(|life| life.snapshot.take());
        if let Some(snapshot) = half {
            // In the middle of writing it.
            let name = format!("{:020}", snapshot.sequence());
            let bucket = topology::snapshots(M::SERVICE);
            let bytes = snapshot.encode().unwrap_or_default();
            if net.broker.objects(&bucket).all(|(known, _)| known != name) {
                let cut = net.rng.random_range(0..bytes.len());
                net.broker.put(&bucket, &name, bytes[..cut].to_vec());
            }
        }
        if let Some(writer) = self.life.take().and_then(|life| life.writer) {
            net.abandon(writer.line);
        }
        self.until = net.step + steps;
    }

    fn sleep(&mut self, net: &Net, steps: u64) {
        self.until = self.until.max(net.step + steps);
    }

    fn stall(&mut self, net: &mut Net, steps: u64) {
        let upstream = net.rng.random_range(0..self.stalled.len());
        self.stalled[upstream] = net.step + steps;
    }

    fn runs(&self) -> bool {
        self.life.is_some()
    }

    fn line(&self) -> Option<LineId> {
        self.life.as_ref()?.writer.as_ref().map(|writer| writer.line)
    }

    fn take(&mut self, net: &mut Net, call: &Call) -> bool {
        if net.step < self.until {
            return false;
        }
        let Some(life) = &mut self.life else { return false };
        life.pump(net);
        if !life.writer.as_ref().is_some_and(|writer| writer.begun) || !life.engine.ready() {
            return false;
        }
        life.take(net, call);
        true
    }

    fn done(&self, net: &Net) -> bool {
        let Some(life) = &self.life else { return false };
        net.lease(M::SERVICE) == Some(self.id)
            && net.step >= self.until
            && life.writer.as_ref().is_some_and(|writer| writer.begun)
            && life.engine.ready()
            && life.engine.settled()
            && M::UPSTREAMS.iter().all(|upstream| {
                let read = life.engine.positions().get(upstream.stream).sequence;
                net.broker.after(upstream.stream, read).is_none()
            })
    }
}

impl<M: Machine> Life<M> {
    /// Folds a few records of the ledger.
    fn follow(&mut self, net: &mut Net) -> Result<(), Violation> {
        for _ in 0..net.rng.random_range(1..=8) {
            if !self.fold_one(net)? {
                break;
            }
        }
        Ok(())
    }

    /// With the lease: folds to what is the end now. Whether it got there.
    fn catch_up(&mut self, net: &mut Net) -> Result<bool, Violation> {
        if net.rng.random_ratio(1, 3) {
            return Ok(false);
        }
        while self.fold_one(net)? {}
        Ok(true)
    }

    fn fold_one(&mut self, net: &mut Net) -> Result<bool, Violation> {
        let Some(message) = net.broker.after(M::LEDGER, self.engine.sequence()).cloned() else {
            return Ok(false);
        };
        loop {
            match self.engine.fold(&message) {
                Ok(Folded::Taken) => return Ok(true),
                Ok(Folded::Void) => {
                    net.note("a reader of its ledger voided a record");
                    return Ok(true);
                }
                Err(FoldError::NeedsConfiguration(digest)) => {
                    self.engine.configure(net.configurations[&digest].clone());
                }
                Err(error @ FoldError::Damaged { .. }) => {
                    return Err(Violation::new(Check::Damaged, error.to_string()));
                }
            }
        }
    }

    fn begin(&mut self, net: &mut Net) {
        self.engine.folded_to(net.broker.last_sequence(M::LEDGER));
        let end = self.engine.sequence();
        self.engine.fence(net.now);
        if self.engine.sequence() > end + 1 + self.window {
            net.note("an input that was cut off was completed");
        }
        let line = net.open_line(M::LEDGER);
        // The shell waits until the epoch is stored; the engine does not need that.
        let begun = net.rng.random_ratio(1, 4);
        self.writer = Some(Writer { line, begun, sent: 0, acknowledged: 0, waited: 0 });
        self.pump(net);
    }

    /// One small thing as a writer; `false` when it is time to begin anew.
    fn write(&mut self, net: &mut Net, stalled: &[u64]) -> bool {
        self.pump(net);
        if net.rng.random_ratio(2, 3) && !self.read_acknowledgements(net) {
            return false;
        }
        self.answer(net);
        let Some(writer) = &mut self.writer else { return false };
        writer.begun |= self.engine.settled();
        if writer.begun {
            for _ in 0..net.rng.random_range(1..=3) {
                self.decide_something(net, stalled);
                self.pump(net);
            }
        }
        true
    }

    fn pump(&mut self, net: &mut Net) {
        let Some(writer) = &mut self.writer else { return };
        while let Some(append) = self.engine.next_append() {
            writer.sent += 1;
            net.send(writer.line, writer.sent, append);
        }
    }

    fn read_acknowledgements(&mut self, net: &mut Net) -> bool {
        let Some(writer) = &mut self.writer else { return false };
        writer.waited += 1;
        for _ in 0..net.rng.random_range(1..=4) {
            let Some((number, ack)) = net.receive(writer.line) else { break };
            writer.waited = 0;
            writer.acknowledged += 1;
            if writer.acknowledged != number {
                net.note("a writer saw that an append was lost");
                return false;
            }
            if self.engine.acknowledge(&ack).is_err() {
                net.note(if writer.begun { "a writer was refused" } else { "a fence was refused" });
                return false;
            }
        }
        if writer.sent == writer.acknowledged {
            writer.waited = 0;
        }
        if writer.waited >= PATIENCE {
            net.note("a writer lost its patience");
        }
        writer.waited < PATIENCE
    }

    fn answer(&mut self, net: &mut Net) {
        while let Some((ticket, answer)) = self.engine.next_answer() {
            if !net.mishap(6) {
                net.answers.push_back(Told { ticket, answer, early: false });
            }
        }
    }

    fn decide_something(&mut self, net: &mut Net, stalled: &[u64]) {
        if !self.engine.ready() || self.engine.due(net.now) {
            return;
        }
        self.engine.note_position(net.now);
        self.pump(net);
        if !self.engine.ready() {
            return;
        }
        let index = net.rng.random_range(0..M::UPSTREAMS.len());
        let stream = M::UPSTREAMS[index].stream;
        if net.step < stalled[index] {
            return;
        }
        let read = self.engine.positions().get(stream).sequence;
        let Some(message) = net.broker.after(stream, read).cloned() else { return };
        match self.engine.offer(stream, &message, net.now) {
            Offered::Taken => {}
            Offered::Void => net.note("a reader of an upstream voided a record"),
            Offered::Held { .. } => net.note("an effect waited for its cause"),
            Offered::Unreadable(why) => {
                net.bury(M::SERVICE, &format!("{stream}/{}", message.sequence), &why.0);
                // Else it is too slow: the message comes again.
                if !net.mishap(4) {
                    self.engine.skip(stream, &message, net.now);
                }
            }
        }
    }

    fn take(&mut self, net: &mut Net, call: &Call) {
        if net.lease(M::SERVICE).is_some_and(|holder| holder != self.id) {
            net.note("a writer without the lease was asked");
        }
        let ask = match &call.asked {
            Asked::Configure(applied) => Ask::Configure(applied.clone()),
            Asked::Method { method, body } => {
                let state = self.engine.state();
                let body = body.as_bytes();
                match M::call(state, method, &call.caller, &call.id, body) {
                    Ok(Called::Read(answer) | Called::Look(answer)) => Ask::Read(answer),
                    Ok(Called::Command(input)) => Ask::Decider(input),
                    Err(refusal) => {
                        let told = Told { ticket: call.ticket, answer: Err(refusal), early: true };
                        net.answers.push_back(told);
                        return;
                    }
                }
            }
        };
        let command = Command {
            ticket: call.ticket,
            request_id: call.request_id.clone(),
            id: call.id.clone(),
            hash: call.hash(),
            actor: call.caller.name.clone(),
            trace: None,
            ask,
        };
        self.engine.command(command, net.now);
        self.pump(net);
    }

    /// Writes the snapshot that was taken before, or takes one.
    fn keep_snapshot(&mut self, net: &mut Net, every: u64) {
        if let Some(snapshot) = self.snapshot.take_if(|_| net.rng.random_ratio(1, 3)) {
            let bytes = snapshot.encode().unwrap_or_default();
            let name = format!("{:020}", snapshot.sequence());
            net.broker.put(&topology::snapshots(M::SERVICE), &name, bytes);
        } else if self.snapshot.is_none() && self.engine.records_since_snapshot() >= every {
            self.snapshot = self.engine.snapshot();
        }
    }
}
