//! One world: a broker, one or two instances of each service, the clients, and what goes wrong.

use mainstem_bus::Record;
use mainstem_bus::engine::{BrokenPromise, Settings};
use mainstem_bus::record::header;
use mainstem_bus::topology::{self, CUSTOMER, INBOUND, NOTIFICATION, ROUTING};
use mainstem_identity_merge::IdentityMachine;
use mainstem_notification::NotificationMachine;
use mainstem_routing::RoutingMachine;
use rand::Rng;

use super::calls::Call;
use super::check::{self, Check, Violation};
use super::clients::Clients;
use super::instance::{Instance, Node};
use super::net::{LineId, Net};
use super::workload::{Phase, Workload};

/// More than any phase needs; after so many steps it will never be quiet.
const STEPS_AT_MOST: u64 = 20_000;

/// The ledgers.
pub const LEDGERS: [&str; 3] = [CUSTOMER, ROUTING, NOTIFICATION];

/// One world and everything in it.
pub struct World {
    /// What the instances share.
    pub net: Net,
    /// Everybody outside.
    pub clients: Clients,
    nodes: Vec<Box<dyn Node>>,
    /// How often each kind of fault comes; some seeds know few kinds.
    faults: [u32; FAULTS.len()],
    faults_left: u32,
    /// Crashes to come: at which step, of whom.
    crashes: Vec<(u64, usize)>,
}

type Fault = fn(&mut World);

const FAULTS: [Fault; 12] = [
    World::crash,
    World::crash_inside_a_window,
    World::oversleep,
    World::delay_appends,
    World::lose_the_head,
    World::fill_the_slot,
    World::lose_replies,
    World::write_as_a_stranger,
    World::end_a_lease,
    World::give_a_lease_twice,
    World::stall_a_reader,
    World::restart_the_broker,
];

impl World {
    /// A world in which nothing goes wrong.
    #[must_use]
    pub fn calm(seed: u64) -> Self {
        Self::with(Net::new(seed, true), settings(None), [0; FAULTS.len()])
    }

    /// A world in which everything goes wrong.
    #[must_use]
    pub fn rough(seed: u64, broken: Option<BrokenPromise>) -> Self {
        let mut net = Net::new(seed, false);
        let mut faults = [0; FAULTS.len()];
        for weight in &mut faults {
            *weight = [0, 1, 1, 4][net.rng.random_range(0..4)];
        }
        Self::with(net, settings(broken), faults)
    }

    fn with(mut net: Net, settings: Settings, faults: [u32; FAULTS.len()]) -> Self {
        let mut nodes: Vec<Box<dyn Node>> = Vec::new();
        for service in 0..3 {
            let instances = if net.calm { 1 } else { net.rng.random_range(1..=2) };
            for _ in 0..instances {
                let (id, every) = (nodes.len(), net.rng.random_range(1..30));
                nodes.push(match service {
                    0 => Box::new(Instance::<IdentityMachine>::new(id, settings, every)),
                    1 => Box::new(Instance::<RoutingMachine>::new(id, settings, every)),
                    _ => Box::new(Instance::<NotificationMachine>::new(id, settings, every)),
                });
            }
        }
        Self {
            net,
            clients: Clients::default(),
            nodes,
            faults,
            faults_left: 0,
            crashes: Vec::new(),
        }
    }

    /// Lives through all phases, each until everything is quiet.
    pub fn live(&mut self, workload: &Workload) -> Result<(), Violation> {
        for applied in workload.configurations() {
            self.net.configurations.insert(applied.digest.clone(), applied.clone());
        }
        for phase in &workload.phases {
            self.live_through(phase)?;
            self.note_positions(phase)?;
        }
        // What was delayed longest arrives.
        self.nodes.clear();
        while !self.net.silent() {
            self.net.step += 1;
            self.net.deliver();
        }
        Ok(())
    }

    fn live_through(&mut self, phase: &Phase) -> Result<(), Violation> {
        self.net.set_time(phase.at);
        self.faults_left = if self.net.calm { 0 } else { self.net.rng.random_range(0..12) };
        self.until_quiet(&phase.inbound, &phase.calls)
    }

    /// Goes on until the ledgers say how far everything was read. An input that decides nothing
    /// leaves no trace before; it is decided again after a crash, and perhaps under the rules of
    /// the next phase.
    fn note_positions(&mut self, phase: &Phase) -> Result<(), Violation> {
        let settings = settings(None);
        for times in 1..=4 {
            self.net.set_time(phase.at.after(settings.position_every * times));
            for _ in 0..40 {
                for _ in 0..32 {
                    self.step()?;
                }
                if self.quiet() && check::positions_noted(&self.net.broker).is_ok() {
                    return Ok(());
                }
            }
        }
        // It never will be; the end of the world tells.
        Ok(())
    }

    fn until_quiet(&mut self, inbound: &[Record], calls: &[Vec<Call>]) -> Result<(), Violation> {
        let mut inbound = inbound.iter().peekable();
        let mut calls = calls.iter().peekable();
        let end = self.net.step + STEPS_AT_MOST;
        loop {
            if self.net.rng.random_ratio(1, 3)
                && let Some(record) = inbound.next()
            {
                self.net.broker.append(INBOUND, record, None);
            }
            if self.net.rng.random_ratio(1, 4)
                && let Some(calls) = calls.next()
            {
                self.clients.ask(calls.clone());
            }
            self.step()?;
            let all_begun = inbound.peek().is_none() && calls.peek().is_none();
            if all_begun
                && self.net.step.is_multiple_of(8)
                && self.faults_left == 0
                && self.crashes.is_empty()
                && self.quiet()
            {
                if !self.clients.doubtful() {
                    return Ok(());
                }
                self.clients.ask_a_last_time();
            }
            if self.net.step > end {
                return Err(Violation::new(Check::Quiet, "it never becomes quiet"));
            }
        }
    }

    fn step(&mut self) -> Result<(), Violation> {
        self.net.step += 1;
        if self.faults_left > 0 && self.net.rng.random_ratio(1, 25) {
            self.faults_left -= 1;
            self.go_wrong();
        }
        let now = self.net.step;
        for (_, id) in self.crashes.extract_if(.., |(step, _)| *step <= now) {
            self.nodes[id].crash(&mut self.net, 0);
        }
        match self.net.rng.random_range(0..10) {
            0..4 => {
                self.net.deliver();
            }
            4..9 => {
                let id = self.net.rng.random_range(0..self.nodes.len());
                self.nodes[id].step(&mut self.net)?;
            }
            _ => {
                self.clients.step(&mut self.net, &mut self.nodes)?;
                self.free_leases();
            }
        }
        Ok(())
    }

    /// The lease of one that is gone runs out.
    fn free_leases(&mut self) {
        for (service, _) in topology::LEDGERS {
            if let Some(holder) = self.net.lease(service)
                && !self.nodes[holder].runs()
                && self.net.rng.random_ratio(1, 3)
            {
                self.net.end_lease(service);
            }
        }
    }

    fn quiet(&self) -> bool {
        self.clients.quiet(&self.net)
            && self.net.answers.is_empty()
            && topology::LEDGERS.iter().all(|(service, _)| {
                self.nodes.iter().any(|node| node.service() == *service && node.done(&self.net))
            })
    }

    fn go_wrong(&mut self) {
        let all: u32 = self.faults.iter().sum();
        if all == 0 {
            return;
        }
        let mut chosen = self.net.rng.random_range(0..all);
        for (fault, weight) in FAULTS.iter().zip(self.faults) {
            if chosen < weight {
                return fault(self);
            }
            chosen -= weight;
        }
    }

    fn any_node(&mut self) -> usize {
        self.net.rng.random_range(0..self.nodes.len())
    }

    /// A line with appends on its way, if any.
    fn busy_line(&mut self) -> Option<LineId> {
        let lines = self.net.busy_lines();
        self.net.pick(&lines)
    }

    /// What it had sent still arrives, now or long after.
    fn crash(&mut self) {
        self.net.note("a crash");
        let id = self.any_node();
        let line = self.nodes[id].line();
        let down = self.net.rng.random_range(0..60);
        self.nodes[id].crash(&mut self.net, down);
        if let Some(line) = line
            && self.net.rng.random()
        {
            let steps = self.net.rng.random_range(0..600);
            self.net.stall(line, steps);
        }
    }

    /// What it had sent arrives in part; whoever comes after it does not live long either.
    fn crash_inside_a_window(&mut self) {
        let id = self.any_node();
        if let Some(line) = self.nodes[id].line() {
            self.net.note("a crash with a part of the window on its way");
            let kept = self.net.rng.random_range(0..3);
            self.net.lose_tail(line, kept);
        }
        self.nodes[id].crash(&mut self.net, 0);
        self.clients.crash_one(&mut self.net);
        let service = self.nodes[id].service();
        for id in (0..self.nodes.len()).filter(|id| self.nodes[*id].service() == service) {
            let step = self.net.step + self.net.rng.random_range(1..100);
            self.crashes.push((step, id));
        }
    }

    /// A writer stands still with its window on the way, and wakes up late.
    fn oversleep(&mut self) {
        self.net.note("a writer stood still");
        let id = self.any_node();
        let steps = self.net.rng.random_range(50..500);
        self.nodes[id].sleep(&self.net, steps);
        if let Some(line) = self.nodes[id].line() {
            self.net.stall(line, steps);
        }
        if self.net.rng.random() {
            self.net.end_lease(self.nodes[id].service());
        }
    }

    fn delay_appends(&mut self) {
        if let Some(line) = self.busy_line() {
            self.net.note("appends were delayed");
            let steps = self.net.rng.random_range(10..300);
            self.net.stall(line, steps);
        }
    }

    /// As on a reconnect: the first are gone, the others come, perhaps when another writes.
    fn lose_the_head(&mut self) {
        let Some(line) = self.busy_line() else { return };
        self.net.note("the head of a window was lost");
        let count = self.net.rng.random_range(1..3);
        self.net.lose_head(line, count);
        if self.net.rng.random() {
            let steps = self.net.rng.random_range(50..300);
            self.net.stall(line, steps);
            if let Some(id) = self.nodes.iter().position(|node| node.line() == Some(line)) {
                self.nodes[id].crash(&mut self.net, 0);
            }
        }
    }

    /// A stranger's record takes the place of the first append on the way.
    fn fill_the_slot(&mut self) {
        let Some(line) = self.busy_line() else { return };
        let Some(stream) = self.net.stream_of(line) else { return };
        self.net.note("a stranger filled a slot");
        self.net.lose_head(line, 1);
        self.write_on(stream);
    }

    fn lose_replies(&mut self) {
        let lines = self.net.lines();
        if let Some(line) = self.net.pick(&lines) {
            self.net.note("acknowledgements were lost");
            self.net.lose_replies(line);
        }
    }

    fn write_as_a_stranger(&mut self) {
        self.net.note("a stranger wrote");
        let stream = self.net.pick(&LEDGERS).unwrap_or(CUSTOMER);
        self.write_on(stream);
    }

    /// An old record again, or nonsense; without an epoch.
    fn write_on(&mut self, stream: &str) {
        let known: Vec<u64> =
            self.net.broker.messages(stream).map(|message| message.sequence).collect();
        let old = self.net.pick(&known).filter(|_| self.net.rng.random());
        let mut record = old
            .and_then(|sequence| self.net.broker.get(stream, sequence))
            .map_or_else(nonsense, |message| message.record.clone());
        record.headers.remove(header::EPOCH);
        record.headers.remove(super::broker::MESSAGE_ID);
        self.net.write_as_stranger(stream, &record);
    }

    /// Another may take it while its holder still writes.
    fn end_a_lease(&mut self) {
        self.net.note("a lease ran out");
        let id = self.any_node();
        self.net.end_lease(self.nodes[id].service());
    }

    /// All instances start at once, and each has the lease.
    fn give_a_lease_twice(&mut self) {
        self.net.note("a lease was given twice");
        let id = self.any_node();
        let service = self.nodes[id].service();
        for node in self.nodes.iter_mut().filter(|node| node.service() == service) {
            node.crash(&mut self.net, 0);
        }
        self.net.give_lease_to_all(service, 80);
    }

    fn stall_a_reader(&mut self) {
        self.net.note("a reader stalled");
        let (id, steps) = (self.any_node(), self.net.rng.random_range(20..400));
        self.nodes[id].stall(&mut self.net, steps);
    }

    /// Every connection is cut, with some of what was on the way.
    fn restart_the_broker(&mut self) {
        self.net.note("the broker was restarted");
        self.net.broker.restart(false);
        for line in self.net.lines() {
            self.net.lose_replies(line);
            match self.net.rng.random_range(0..3) {
                0 => self.net.lose_head(line, 2),
                1 => self.net.lose_tail(line, 1),
                _ => {}
            }
        }
    }
}

fn settings(broken: Option<BrokenPromise>) -> Settings {
    Settings { window: 4, position_every_inputs: 12, broken, ..Settings::default() }
}

fn nonsense() -> Record {
    Record {
        subject: "customer.X.case".to_owned(),
        headers: mainstem_bus::Headers::default(),
        body: "nonsense".into(),
    }
}
