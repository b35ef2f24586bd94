//! routing's rules alone, with the example's directory and rules: decided and folded in memory.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use mainstem_cli::tree;
use mainstem_domain::access::{Caller, Role, Scope};
use mainstem_domain::configuration::{ChannelKind, Configuration, Mode};
use mainstem_domain::identifier::Identifier;
use mainstem_domain::person::{Act, Address, Business, ChannelEvent, Sighting};
use mainstem_domain::routing::{ConversationInput, Input, Routing, State, Talk};
use mainstem_domain::{At, BrandId, ChannelId, CustomerId, Decider as _, StoreId};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::start;

#[derive(Args)]
pub(crate) struct RoutingArguments {
    /// Conversations to open
    #[arg(long, default_value_t = 1_000_000)]
    conversations: usize,
    /// Cases to open
    #[arg(long, default_value_t = 200_000)]
    cases: usize,
    /// Events to route when all of these are open
    #[arg(long, default_value_t = 2_000_000)]
    events: usize,
    /// Another seed makes other traffic
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one JSON object as the last line
    #[arg(long)]
    json: bool,
}

/// Events that are made ahead, so that making them is not measured.
const AHEAD: usize = 4_096;

/// Milliseconds between two events.
const PACE: i64 = 1;

#[derive(serde::Serialize)]
struct Figures {
    opened_conversations_per_s: f64,
    opened_cases_per_s: f64,
    routed_events_per_s: f64,
    gib_at_1m_open: f64,
}

pub(crate) fn run(arguments: &RoutingArguments) -> anyhow::Result<()> {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/example");
    let configuration = tree::merge(&tree::read(&example)?)?;
    let RoutingArguments { conversations, cases, events, seed, json } = *arguments;
    println!("routing in memory: {conversations} conversations and {cases} cases open");
    let empty = resident()?;
    let mut world = World::new(configuration, seed)?;
    world.staff();
    let opened_conversations_per_s = world.route(conversations, World::question);
    let opened_cases_per_s =
        world.route(cases, |world, number| world.repair(conversations + number));
    let bytes = resident()?.saturating_sub(empty);
    let open = world.open();
    anyhow::ensure!(open == (conversations, cases), "not all are open: {open:?}");
    println!(
        "  opened          {opened_conversations_per_s:>10.0} conversations/s, {opened_cases_per_s:.0} cases/s"
    );
    #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
    let gib = bytes as f64 / (1_024.0 * 1_024.0 * 1_024.0);
    println!("  memory          {gib:>10.2} GiB");
    let routed_events_per_s = world.route(events, |world, _| world.any(conversations + cases));
    println!("  routed events   {routed_events_per_s:>10.0}/s");
    let figures = Figures {
        opened_conversations_per_s,
        opened_cases_per_s,
        routed_events_per_s,
        gib_at_1m_open: gib,
    };
    if json {
        println!("{}", serde_json::to_string(&figures)?);
    }
    Ok(())
}

/// Bytes of memory that the process holds.
pub(crate) fn resident() -> anyhow::Result<usize> {
    let statm = std::fs::read_to_string("/proc/self/statm").context("needs Linux's /proc")?;
    let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok());
    Ok(pages.context("/proc/self/statm has another shape")? * rustix::param::page_size())
}

struct World {
    configuration: Configuration,
    state: State,
    at: At,
    random: ChaCha8Rng,
    /// The accounts of counters.
    accounts: Vec<(ChannelId, Option<BrandId>, Option<StoreId>)>,
    number: usize,
}

impl World {
    fn new(configuration: Configuration, seed: u64) -> anyhow::Result<Self> {
        let live = configuration
            .channels
            .iter()
            .filter(|(_, channel)| channel.kind == ChannelKind::Line && channel.mode == Mode::Live);
        let accounts = live.map(|(id, c)| (id.clone(), c.brand.clone(), c.store.clone())).collect();
        Ok(Self {
            configuration,
            state: State::default(),
            // A Monday in the afternoon, when counters and desks are open.
            at: At::parse("2026-11-23T15:00:00+08:00").context("is a time")?,
            random: ChaCha8Rng::seed_from_u64(seed),
            accounts,
            number: 0,
        })
    }

    /// Everybody says to be there; those whose shift it is are.
    fn staff(&mut self) {
        let scope = Scope { all: true, ..Scope::default() };
        let caller = Caller { name: "desk/bench".to_owned(), role: Role::Desk, scope };
        for staff in self.configuration.staff.keys().cloned().collect::<Vec<_>>() {
            let wish = ConversationInput::Presence { staff, available: true, capacity: None };
            self.decide(&Input::Conversation { wish, caller: Box::new(caller.clone()) });
        }
    }

    /// Decides and folds so many inputs; how many of them in a second.
    fn route(&mut self, count: usize, mut make: impl FnMut(&mut Self, usize) -> Input) -> f64 {
        let mut spent = Duration::ZERO;
        let mut done = 0;
        while done < count {
            let ahead = AHEAD.min(count - done);
            let inputs: Vec<_> = (done..done + ahead).map(|number| make(self, number)).collect();
            let started = start();
            for input in &inputs {
                self.at = At::from_millis(self.at.as_millis() + PACE);
                self.decide(input);
            }
            spent += started.elapsed();
            done += ahead;
        }
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let count = count as f64;
        count / spent.as_secs_f64()
    }

    fn decide(&mut self, input: &Input) {
        let decision = Routing::decide(&self.state, &self.configuration, input, self.at);
        for event in &decision.events {
            Routing::evolve(&mut self.state, event, self.at);
        }
    }

    fn event(&mut self, person: usize, act: Act) -> Input {
        self.number += 1;
        let (channel, brand, store) = self.accounts[person % self.accounts.len()].clone();
        let user = format!("U{person:032x}");
        let identifier =
            Identifier::Line { provider: "provider".into(), user: user.clone().into() };
        let address = Address { channel: channel.clone(), user: user.into() };
        let event = ChannelEvent {
            id: format!("{:026}", self.number).parse().unwrap_or_else(|_| unreachable!("an id")),
            channel,
            mode: Mode::Live,
            store,
            brand,
            act,
            sightings: vec![Sighting { identifier, verified: true }],
            occurred_at: self.at,
            received_at: self.at,
            reply_token: Some(format!("{:032}", self.number)),
            attributes: Vec::new(),
            consents: Vec::new(),
            message: None,
        };
        let customer = CustomerId::derive(&person.to_string());
        Input::Channel { customer, event: Box::new(event), address: Some(address), code: None }
    }

    fn question(&mut self, person: usize) -> Input {
        self.event(person, Act::Text("請問這支手錶還有貨嗎？".to_owned()))
    }

    fn repair(&mut self, person: usize) -> Input {
        self.event(person, Act::Postback("menu=store&topic=repair".to_owned()))
    }

    /// What people do who are known: they write, tap, buy and come back.
    fn any(&mut self, people: usize) -> Input {
        let person = self.random.random_range(0..people);
        let act = match self.random.random_range(0..10) {
            0..5 => Act::Text("好的，那我下午過去看看".to_owned()),
            5 => Act::Text("請問幾點開門？".to_owned()),
            6 => Act::Postback("menu=shop".to_owned()),
            7 => Act::Postback("menu=member".to_owned()),
            8 => Act::Follow,
            _ => Act::Business(Business::OrderPaid),
        };
        self.event(person, act)
    }

    fn open(&self) -> (usize, usize) {
        let talks = self.state.conversations_after(None);
        let open = talks.filter(|(_, one)| !matches!(one.stage, Talk::Closed { .. })).count();
        (open, self.state.unfinished_after(None).count())
    }
}
