//! notification's rules alone: decided and folded in memory, with no broker and no vendor.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use mainstem_cli::tree;
use mainstem_domain::configuration::{ChannelKind, Configuration, Mode};
use mainstem_domain::identifier::Identifier;
use mainstem_domain::notification::{
    Class, Deed, Event, Input, Notification, Outcome, Request, State, Words,
};
use mainstem_domain::person::{Address, Carrier};
use mainstem_domain::{At, ChannelId, CustomerId, Decider as _, ItemId};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::routing::resident;
use crate::start;

#[derive(Args)]
pub(crate) struct NotificationArguments {
    /// People who are known
    #[arg(long, default_value_t = 1_000_000)]
    people: usize,
    /// Decisions to take on any of them
    #[arg(long, default_value_t = 2_000_000)]
    decisions: usize,
    /// Another seed makes other requests
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one JSON object as the last line
    #[arg(long)]
    json: bool,
}

#[derive(serde::Serialize)]
struct Figures {
    decisions_per_s: f64,
    campaign_decisions_per_s: f64,
    rss_mib_people_1m: f64,
    rss_mib_campaign_1m: f64,
}

/// Inputs that are made ahead, so that making them is not measured.
const AHEAD: usize = 4_096;

/// What LINE takes of pushes on one account in a millisecond.
const PUSHES_FOR_A_MILLISECOND: usize = 2;

pub(crate) fn run(arguments: &NotificationArguments) -> anyhow::Result<()> {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/example");
    let configuration = tree::merge(&tree::read(&example)?)?;
    let NotificationArguments { people, decisions, seed, json } = *arguments;
    println!("notification in memory: {people} people");
    let empty = resident()?;
    let mut world = World::new(configuration, seed)?;
    world.meet(people);
    let known = resident()?.saturating_sub(empty);
    let mib = |bytes: usize| {
        #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
        let bytes = bytes as f64;
        bytes / (1_024.0 * 1_024.0)
    };
    println!("  people          {:>10.0} MiB", mib(known));
    let campaign_decisions_per_s = world.campaign(people);
    let campaign = resident()?.saturating_sub(empty);
    println!(
        "  campaign        {campaign_decisions_per_s:>10.0} decisions/s, {:.0} MiB",
        mib(campaign)
    );
    let decisions_per_s = world.any(people, decisions);
    println!("  any requests    {decisions_per_s:>10.0} decisions/s");
    let figures = Figures {
        decisions_per_s,
        campaign_decisions_per_s,
        rss_mib_people_1m: mib(known),
        rss_mib_campaign_1m: mib(campaign),
    };
    if json {
        println!("{}", serde_json::to_string(&figures)?);
    }
    Ok(())
}

struct World {
    configuration: Configuration,
    state: State,
    at: At,
    random: ChaCha8Rng,
    accounts: Vec<ChannelId>,
    /// What senders have in hand, the oldest first.
    queued: std::collections::VecDeque<ItemId>,
    number: usize,
}

impl World {
    fn new(configuration: Configuration, seed: u64) -> anyhow::Result<Self> {
        let live = configuration
            .channels
            .iter()
            .filter(|(_, channel)| channel.kind == ChannelKind::Line && channel.mode == Mode::Live);
        let accounts = live.map(|(id, _)| id.clone()).collect();
        Ok(Self {
            configuration,
            state: State::default(),
            // A Monday morning after quiet hours.
            at: At::parse("2026-11-23T10:00:00+08:00").context("is a time")?,
            random: ChaCha8Rng::seed_from_u64(seed),
            accounts,
            queued: std::collections::VecDeque::new(),
            number: 0,
        })
    }

    fn customer(person: usize) -> CustomerId {
        CustomerId::derive(&person.to_string())
    }

    fn meet(&mut self, people: usize) {
        for person in 0..people {
            let channel = self.accounts[person % self.accounts.len()].clone();
            let user = format!("U{person:032x}");
            let identifier =
                Identifier::Line { provider: "provider".into(), user: user.clone().into() };
            self.take(&Input::Seen {
                customer: Self::customer(person),
                address: Some(Address { channel, user: user.into() }),
                carrier: Some(Carrier::of(&identifier)),
                deed: Deed::Followed,
                occurred_at: self.at,
            });
        }
    }

    /// Everybody once; accounts send as fast as LINE lets them, and report it.
    fn campaign(&mut self, people: usize) -> f64 {
        self.measure(people, |world, person| world.send(person, Class::Marketing))
    }

    /// What a day brings: news, orders and marketing, to people of any kind.
    fn any(&mut self, people: usize, count: usize) -> f64 {
        self.measure(count, |world, _| {
            let person = world.random.random_range(0..people);
            let class = match world.random.random_range(0..10) {
                0..5 => Class::Marketing,
                5..8 => Class::Service,
                _ => Class::Transactional,
            };
            world.send(person, class)
        })
    }

    fn send(&mut self, person: usize, class: Class) -> Input {
        self.number += 1;
        let request = Request {
            customer: Self::customer(person),
            carrier: None,
            class,
            channel: None,
            elsewhere: false,
            mode: Mode::Live,
            brand: None,
            words: Words {
                text: Some("冬季新品到店，歡迎回來看看。".to_owned()),
                ..Words::default()
            },
            reply: None,
            collapse_key: None,
            deadline: None,
            digest: false,
            asked_at: At::default(),
        };
        Input::Send { id: format!("send/campaign/{}", self.number), request: Box::new(request) }
    }

    /// Decides and folds so many inputs, and whatever senders report meanwhile; how many of the
    /// inputs in a second.
    fn measure(&mut self, count: usize, mut make: impl FnMut(&mut Self, usize) -> Input) -> f64 {
        let (mut spent, mut done) = (Duration::ZERO, 0);
        let at_once = PUSHES_FOR_A_MILLISECOND * self.accounts.len();
        while done < count {
            let ahead = AHEAD.min(count - done);
            let inputs: Vec<_> = (done..done + ahead).map(|number| make(self, number)).collect();
            let started = start();
            for batch in inputs.chunks(at_once) {
                self.at = At::from_millis(self.at.as_millis() + 1);
                for input in batch {
                    self.take(input);
                }
            }
            spent += started.elapsed();
            while self.queued.len() > at_once * 100 {
                let Some(item) = self.queued.pop_front() else { break };
                self.take(&Input::Record { item, outcome: Outcome::Sent });
            }
            done += ahead;
        }
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let count = count as f64;
        count / spent.as_secs_f64()
    }

    fn take(&mut self, input: &Input) {
        let decision = Notification::decide(&self.state, &self.configuration, input, self.at);
        for event in &decision.events {
            Notification::evolve(&mut self.state, event, self.at);
            if let Event::Queued { id, .. } = event {
                self.queued.push_back(*id);
            }
        }
    }
}
