//! What can happen, at random: few people, few accounts, and moments that like boundaries.

use mainstem_domain::configuration::Mode;
use mainstem_domain::notification::{Class, Deed, Outcome, Preferences, Trait};
use mainstem_domain::person::{Answer, Carrier};
use mainstem_domain::{At, Language};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::world::{CHANNELS, PEOPLE, STARTS, line};

#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// `age`: how many milliseconds before it is heard of.
    Seen {
        person: usize,
        channel: Option<usize>,
        deed: Deed,
        age: i64,
    },
    Tell {
        person: usize,
        by_member: bool,
        what: Trait,
        verified: bool,
        age: i64,
    },
    Consent {
        person: usize,
        answer: Answer,
        age: i64,
    },
    Prefer {
        person: usize,
        preferences: Preferences,
    },
    Say(Say),
    /// So many of the same at the same moment.
    Send {
        send: Send,
        times: usize,
    },
    /// Requests are picked among all that ever were; beyond them is an unknown one.
    Cancel {
        pick: usize,
    },
    Begin {
        pick: usize,
        attempt: u8,
    },
    Record {
        pick: usize,
        outcome: Outcome,
    },
    Budget {
        person: usize,
    },
    Merge {
        survivor: usize,
        absorbed: usize,
    },
    /// Takes the person out; `parts`: what is known of each piece comes in two parts.
    Split {
        person: usize,
        parts: bool,
    },
    Pass(Step),
}

/// Routing wants somebody told something.
#[derive(Clone, Debug)]
pub(crate) struct Say {
    pub(crate) person: usize,
    pub(crate) channel: usize,
    /// In the words of somebody of the staff.
    pub(crate) text: bool,
    pub(crate) templates: u8,
    pub(crate) case: Option<u8>,
    pub(crate) brand: Option<&'static str>,
    /// The age of the right to reply in milliseconds; negative: from a clock ahead.
    pub(crate) reply_age: Option<i64>,
    pub(crate) mode: Mode,
    /// It hangs on a member number, rather than on a LINE identifier or on nothing.
    pub(crate) by_member: bool,
    pub(crate) by_nothing: bool,
}

impl Say {
    pub(crate) fn carrier(&self, person: usize) -> Option<Carrier> {
        (!self.by_nothing).then(|| line(person))
    }
}

/// A caller wants somebody told something.
#[derive(Clone, Debug)]
pub(crate) struct Send {
    pub(crate) person: usize,
    pub(crate) class: Class,
    pub(crate) channel: Option<usize>,
    pub(crate) elsewhere: bool,
    pub(crate) templates: u8,
    pub(crate) brand: Option<&'static str>,
    pub(crate) key: Option<u8>,
    /// To its deadline.
    pub(crate) minutes: Option<i64>,
    pub(crate) digest: bool,
}

/// How time passes: to a moment that something hangs on, and a millisecond before or after it.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Millis(i64),
    Due(i64),
    /// The end of quiet hours.
    Quiet {
        person: usize,
        by: i64,
    },
    /// So long after the last marketing message.
    Push {
        person: usize,
        hours: u64,
        by: i64,
    },
    Deadline {
        pick: usize,
        by: i64,
    },
}

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

fn person() -> impl Strategy<Value = usize> {
    0..PEOPLE
}

fn age() -> impl Strategy<Value = i64> {
    prop_oneof![3 => Just(0_i64), 2 => 0..100_i64, 2 => 0..3 * 24 * HOUR]
}

fn seen() -> impl Strategy<Value = Op> {
    let deed = prop::sample::select(vec![
        Deed::Followed,
        Deed::Followed,
        Deed::Acted,
        Deed::Acted,
        Deed::Blocked,
        Deed::Nothing,
    ]);
    let channel = prop_oneof![5 => (0..CHANNELS.len()).prop_map(Some), 1 => Just(None)];
    (person(), channel, deed, age()).prop_map(|(person, channel, deed, age)| Op::Seen {
        person,
        channel,
        deed,
        age,
    })
}

fn zone() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "Asia/Taipei",
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
    ])
}

fn language() -> impl Strategy<Value = Language> {
    prop::sample::select(Language::ALL.to_vec())
}

fn tell() -> impl Strategy<Value = Op> {
    let what = prop_oneof![
        language().prop_map(Trait::Language),
        zone().prop_map(|zone| Trait::Zone(zone.parse().unwrap())),
    ];
    (person(), any::<bool>(), what, any::<bool>(), age()).prop_map(
        |(person, by_member, what, verified, age)| Op::Tell {
            person,
            by_member,
            what,
            verified,
            age,
        },
    )
}

fn answer() -> impl Strategy<Value = Answer> {
    prop::sample::select(vec![Answer::Granted, Answer::Refused])
}

fn prefer() -> impl Strategy<Value = Op> {
    let hours = vec!["21:30-09:00", "22:00-02:30", "01:30-09:00", "12:00-14:00", "00:00-23:59"];
    let preferences = (
        prop::option::weighted(0.3, answer()),
        prop::option::of(language()),
        prop::option::of(zone()),
        prop::option::of(prop::sample::select(hours)),
    );
    let preferences = preferences.prop_map(|(marketing, language, zone, hours)| Preferences {
        marketing,
        language,
        zone: zone.map(|zone| zone.parse().unwrap()),
        quiet_hours: hours.map(|hours| hours.parse().unwrap()),
    });
    (person(), preferences).prop_map(|(person, preferences)| Op::Prefer { person, preferences })
}

fn brand() -> impl Strategy<Value = Option<&'static str>> {
    prop::option::of(prop::sample::select(vec!["aurora", "borea"]))
}

fn say() -> impl Strategy<Value = Op> {
    let reply = prop_oneof![
        2 => prop::sample::select(vec![49_999, 50_000, 50_001, 0, -1, i64::MAX]),
        1 => 0..100_000_i64,
    ];
    let mode = prop::sample::select(vec![Mode::Live, Mode::Live, Mode::Retired, Mode::Shadow]);
    let text = prop::bool::weighted(0.25);
    let templates = prop_oneof![6 => 1..3_u8, 1 => Just(0_u8), 1 => 5..8_u8];
    let words = (text, templates, prop::option::of(0..2_u8), brand());
    let how = (prop::option::of(reply), mode, any::<bool>(), prop::bool::weighted(0.2));
    (person(), 0..CHANNELS.len(), words, how).prop_map(|(person, channel, words, how)| {
        let (text, templates, case, brand) = words;
        let (reply_age, mode, by_member, by_nothing) = how;
        Op::Say(Say {
            person,
            channel,
            text,
            templates,
            case,
            brand,
            reply_age,
            mode,
            by_member: by_member && !by_nothing,
            by_nothing,
        })
    })
}

fn send() -> impl Strategy<Value = Op> {
    let class = prop_oneof![
        6 => Just(Class::Marketing),
        1 => Just(Class::Reply),
        2 => Just(Class::Service),
        1 => Just(Class::Transactional),
    ];
    let channel = prop::option::of(0..CHANNELS.len());
    let minutes = prop_oneof![
        4 => Just(None),
        2 => prop::sample::select(vec![-1, 0, 1, 60, 24 * 60, 48 * 60]).prop_map(Some),
        3 => (0..20 * 24 * 60_i64).prop_map(Some),
    ];
    let key = prop::option::weighted(0.4, 0..2_u8);
    let what = (1..4_u8, brand(), key, minutes, prop::bool::weighted(0.7));
    let times = prop_oneof![6 => Just(1_usize), 1 => Just(3), 1 => Just(20)];
    (person(), class, channel, any::<bool>(), what, times).prop_map(
        |(person, class, channel, elsewhere, what, times)| {
            let (templates, brand, key, minutes, digest) = what;
            let send =
                Send { person, class, channel, elsewhere, templates, brand, key, minutes, digest };
            Op::Send { send, times }
        },
    )
}

fn pass() -> impl Strategy<Value = Op> {
    let by = || -1..2_i64;
    let hours = prop::sample::select(vec![24_u64, 48, 7 * 24, 14 * 24]);
    let step = prop_oneof![
        2 => Just(Step::Millis(1)),
        2 => (0..3 * HOUR).prop_map(Step::Millis),
        1 => prop::sample::select(vec![50_000, 12 * HOUR, 72 * HOUR]).prop_map(Step::Millis),
        5 => by().prop_map(Step::Due),
        3 => (person(), by()).prop_map(|(person, by)| Step::Quiet { person, by }),
        4 => (person(), hours, by())
            .prop_map(|(person, hours, by)| Step::Push { person, hours, by }),
        1 => (0..12_usize, by()).prop_map(|(pick, by)| Step::Deadline { pick, by }),
    ];
    step.prop_map(Op::Pass)
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        4 => Just(Outcome::Sent),
        1 => "[ab]".prop_map(|it| Outcome::Failed { reason: it.into() }),
        1 => "[ab]".prop_map(|it| Outcome::Expired { reason: it.into() }),
        1 => "[ab]".prop_map(|it| Outcome::Suppressed { reason: it.into() }),
    ]
}

/// When it begins, and what happens.
pub(crate) fn story() -> impl Strategy<Value = (&'static str, Vec<Op>)> {
    let pick = || prop_oneof![3 => 0..12_usize, 1 => 0..60_usize];
    let op = prop_oneof![
        8 => seen(),
        2 => tell(),
        2 => (person(), answer(), age())
            .prop_map(|(person, answer, age)| Op::Consent { person, answer, age }),
        2 => prefer(),
        5 => say(),
        10 => send(),
        1 => pick().prop_map(|pick| Op::Cancel { pick }),
        2 => (pick(), 0..2_u8).prop_map(|(pick, attempt)| Op::Begin { pick, attempt }),
        4 => (pick(), outcome()).prop_map(|(pick, outcome)| Op::Record { pick, outcome }),
        1 => person().prop_map(|person| Op::Budget { person }),
        3 => (person(), person())
            .prop_map(|(survivor, absorbed)| Op::Merge { survivor, absorbed }),
        3 => (person(), any::<bool>()).prop_map(|(person, parts)| Op::Split { person, parts }),
        12 => pass(),
    ];
    (prop::sample::select(STARTS.to_vec()), vec(op, 1..60))
}

/// The same moment on another day.
pub(crate) fn at(text: &str) -> At {
    At::parse(text).unwrap()
}
