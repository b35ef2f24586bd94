//! What happens to the decider: few identifiers and low limits, so that most of what happens meets
//! what was there before. A case that fails reads as a story.

use std::fmt;
use std::time::Duration;

use mainstem_domain::identity::SEEN_FOR;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Everything that can be seen of anybody.
pub(crate) const IDENTIFIERS: [&str; 20] = [
    "cookie:tablet",
    "cookie:2",
    "cookie:3",
    "cookie:4",
    "external:pos:1",
    "external:pos:2",
    "external:shop:1",
    "line:p:U1",
    "line:p:U2",
    "line:q:U1",
    "email:a@b",
    "email:b@b",
    "email:c@b",
    "phone:+88691234560",
    "phone:+88691234561",
    "phone:+88691234562",
    "member:1",
    "member:2",
    "member:3",
    "member:null",
];

/// One of [`IDENTIFIERS`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name(pub(crate) usize);

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(IDENTIFIERS[self.0])
    }
}

/// One of [`IDENTIFIERS`], verified or not; `?` stands before what is not.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sight(pub(crate) Name, pub(crate) bool);

impl fmt::Debug for Sight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", if self.1 { "" } else { "?" }, self.0)
    }
}

/// A time, as people say it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span(pub(crate) Duration);

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (millis, day) = (self.0.as_millis(), 86_400_000);
        let days = (millis + 1) / day;
        match millis {
            _ if days == 0 => write!(f, "{millis} ms"),
            _ if millis == days * day => write!(f, "{days} d"),
            _ if millis + 1 == days * day => write!(f, "{days} d less 1 ms"),
            _ => write!(f, "{days} d and {} ms", millis - days * day),
        }
    }
}

/// Something that an event says of its person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Named { value: u8, verified: bool },
    Lives { value: u8, verified: bool },
    Grants(&'static str),
    Refuses(&'static str),
}

/// What an event does with messages, of which there are few.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Does {
    Nothing,
    Sends(u8),
    TakesBack(u8),
}

/// An event: its number, its channel, how late it comes, and what it carries.
#[derive(Clone)]
pub(crate) struct Told {
    pub(crate) event: u16,
    pub(crate) channel: u8,
    pub(crate) late: Span,
    pub(crate) carries: Vec<Sight>,
    pub(crate) says: Vec<Word>,
    pub(crate) does: Does,
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "e{} on channel-{}: {:?}", self.event, self.channel, self.carries)?;
        if !self.says.is_empty() {
            write!(f, " says {:?}", self.says)?;
        }
        if self.does != Does::Nothing {
            write!(f, " {:?}", self.does)?;
        }
        if !self.late.0.is_zero() {
            write!(f, ", {:?} late", self.late)?;
        }
        Ok(())
    }
}

/// Customers are picked among all ids ever given out and one that is unknown; whatever waits for
/// people, among what waits.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Tell(Told),
    /// An event comes again, of those told so far, the last one first.
    Again(usize),
    Attach {
        customer: usize,
        identifier: Name,
    },
    Merge {
        customer: usize,
        other: usize,
        validate_only: bool,
    },
    /// Makes the owners of two identifiers one.
    Join(Name, Name),
    /// Takes these off whoever has the first of them; those of others are left out.
    Split {
        off: Vec<Name>,
        validate_only: bool,
    },
    /// Takes these off this customer, whoever has them.
    SplitBlindly {
        customer: usize,
        off: Vec<Name>,
    },
    /// The records of all splits are under their owners.
    Moved,
    /// No record holds the first of the messages that were taken back.
    Hidden,
    Accept(usize),
    Reject(usize),
    Release(usize),
    Settle {
        dispute: usize,
        to: Option<usize>,
    },
    Erase {
        of: Name,
        force: bool,
        case_open: bool,
    },
    Wait(Span),
}

pub(crate) fn name() -> impl Strategy<Value = Name> + Clone {
    (0..IDENTIFIERS.len()).prop_map(Name)
}

pub(crate) fn mostly() -> BoxedStrategy<bool> {
    prop_oneof![1 => Just(false), 3 => Just(true)].boxed()
}

fn late() -> impl Strategy<Value = Span> {
    let day = Duration::from_hours(24);
    prop_oneof![
        6 => Just(Span(Duration::ZERO)),
        2 => select(vec![Span(Duration::from_millis(1)), Span(day), Span(day * 40)]),
        1 => (0..400_000_000_u64).prop_map(|millis| Span(Duration::from_millis(millis))),
    ]
}

fn word() -> impl Strategy<Value = Word> {
    prop_oneof![
        2 => (0..3_u8, any::<bool>()).prop_map(|(value, verified)| Word::Named { value, verified }),
        1 => (0..2_u8, any::<bool>()).prop_map(|(value, verified)| Word::Lives { value, verified }),
        2 => select(vec!["line", "email"]).prop_map(Word::Grants),
        2 => select(vec!["line", "email"]).prop_map(Word::Refuses),
    ]
}

/// Mostly one or two identifiers, so that there are several customers to join; sometimes many.
pub(crate) fn told(events: u16, verified: BoxedStrategy<bool>) -> impl Strategy<Value = Told> {
    let one = (name(), verified).prop_map(|(name, verified)| Sight(name, verified));
    let carries = prop_oneof![
        4 => vec(one.clone(), 1),
        4 => vec(one.clone(), 2),
        3 => vec(one.clone(), 3),
        1 => vec(one, 0..8),
    ];
    let says = prop_oneof![3 => Just(Vec::new()), 1 => vec(word(), 1..3)];
    let does = prop_oneof![
        6 => Just(Does::Nothing),
        2 => (0..4_u8).prop_map(Does::Sends),
        1 => (0..4_u8).prop_map(Does::TakesBack),
    ];
    (0..events, 0..2_u8, late(), carries, says, does).prop_map(
        |(event, channel, late, carries, says, does)| Told {
            event,
            channel,
            late,
            carries,
            says: once(says),
            does,
        },
    )
}

/// Each name, and each means, once.
fn once(words: Vec<Word>) -> Vec<Word> {
    let about = |word: &Word| match word {
        Word::Named { .. } => "name",
        Word::Lives { .. } => "city",
        Word::Grants(means) | Word::Refuses(means) => means,
    };
    let mut once: Vec<Word> = Vec::new();
    for word in words {
        if once.iter().all(|known| about(known) != about(&word)) {
            once.push(word);
        }
    }
    once
}

/// The moments just before, at and after which something is forgotten.
fn span() -> impl Strategy<Value = Span> {
    let millis = Duration::from_millis;
    let day = Duration::from_hours(24);
    let edges = select(vec![SEEN_FOR, day * 7, day * 30, day * 365]);
    let around = (edges, 0..3_u64)
        .prop_map(move |(edge, more)| Span((edge + millis(more)).saturating_sub(millis(1))));
    prop_oneof![
        5 => Just(Span(millis(1))),
        3 => around,
        1 => (0..100_000_000_u64).prop_map(move |span| Span(millis(span))),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let pick = 0..64_usize;
    prop_oneof![
        24 => told(60, mostly()).prop_map(Op::Tell),
        3 => (0..8_usize).prop_map(Op::Again),
        1 => (pick.clone(), name())
            .prop_map(|(customer, identifier)| Op::Attach { customer, identifier }),
        1 => (pick.clone(), pick.clone(), any::<bool>()).prop_map(
            |(customer, other, validate_only)| Op::Merge { customer, other, validate_only }
        ),
        2 => (name(), name()).prop_map(|(one, other)| Op::Join(one, other)),
        5 => (vec(name(), 1..8), prop_oneof![4 => Just(false), 1 => Just(true)])
            .prop_map(|(off, validate_only)| Op::Split { off, validate_only }),
        1 => (pick, vec(name(), 0..3))
            .prop_map(|(customer, off)| Op::SplitBlindly { customer, off }),
        3 => Just(Op::Moved),
        2 => Just(Op::Hidden),
        2 => (0..4_usize).prop_map(Op::Accept),
        2 => (0..4_usize).prop_map(Op::Reject),
        3 => (0..4_usize).prop_map(Op::Release),
        2 => (0..4_usize, proptest::option::of(0..3_usize))
            .prop_map(|(dispute, to)| Op::Settle { dispute, to }),
        4 => (name(), mostly(), any::<bool>())
            .prop_map(|(of, force, case_open)| Op::Erase { of, force, case_open }),
        10 => span().prop_map(Op::Wait),
    ]
}

pub(crate) fn tell(event: u16, carries: &[(usize, bool)]) -> Op {
    Op::Tell(Told {
        event,
        channel: 2,
        late: Span(Duration::ZERO),
        carries: carries.iter().map(|(name, verified)| Sight(Name(*name), *verified)).collect(),
        says: Vec::new(),
        does: Does::Nothing,
    })
}

/// What happens in a shop: several people at one tablet, a number that somebody else has now, a
/// family with one phone, a customer who is taken apart twice.
fn scene() -> impl Strategy<Value = Vec<Op>> {
    let (tablet, phone, email, line) = (0, 13, 10, 7);
    let member = |number: usize| 16 + number % 3;
    let numbers = 100..160_u16;
    prop_oneof![
        // Each at the tablet has an own member id or phone; the tablet is only asserted.
        (
            numbers.clone(),
            mostly(),
            vec(select(vec![4, 5, 6, 8, 9, 11, 14, 16, 17]), 3..7),
            0..4_u8
        )
            .prop_map(move |(event, verified, people, then)| {
                let mut ops = vec![tell(event, &[(tablet, verified), (18, true)])];
                for (person, number) in people.iter().zip(1..) {
                    ops.push(tell(event + number + 100, &[(*person, true)]));
                    ops.push(tell(event + number, &[(*person, true), (tablet, false)]));
                }
                match then {
                    0 => ops.push(Op::Erase { of: Name(18), force: true, case_open: false }),
                    1 => ops.push(Op::Attach { customer: 0, identifier: Name(tablet) }),
                    2 => ops.push(Op::Release(0)),
                    _ => {}
                }
                ops
            }),
        // Verified for one member, later for another.
        (numbers.clone(), 0..3_usize, 1..3_usize, any::<bool>(), 0..9_usize).prop_map(
            move |(event, one, next, by_mail, also)| {
                let recycled = if by_mail { email } else { phone };
                vec![
                    tell(event, &[(member(one), true), (recycled, true), (also, true)]),
                    tell(event + 1, &[(member(one + next), true), (recycled, true)]),
                ]
            }
        ),
        // A family: everybody's own LINE account, one phone.
        (numbers.clone(), any::<bool>()).prop_map(move |(event, verified)| {
            let one = |number: usize| (line + number, true);
            (0_u16..3)
                .map(|number| tell(event + number, &[one(usize::from(number)), (phone, verified)]))
                .collect()
        }),
        // Two who are one later; what one of them sends is taken back before it comes, and after.
        (numbers.clone(), 0..4_u8, vec(name(), 2), 0..4_u8).prop_map(
            move |(event, message, people, then)| {
                let of = |number: u16, person: Option<&Name>, does| {
                    let Op::Tell(told) = tell(event + number, &[]) else { return Op::Moved };
                    let carries = person.map(|name| Sight(*name, true)).into_iter().collect();
                    Op::Tell(Told { carries, does, ..told })
                };
                let one = (then > 0).then_some(&people[0]);
                let mut ops = vec![
                    of(0, one, Does::Sends(message)),
                    of(1, Some(&people[1]), Does::Nothing),
                    Op::Join(people[0], people[1]),
                    of(2, one, Does::TakesBack(message)),
                    Op::Again(0),
                ];
                match then {
                    1 => ops.push(Op::Erase { of: people[0], force: true, case_open: false }),
                    2 => ops.push(Op::Hidden),
                    _ => {}
                }
                ops.extend([Op::Again(2), of(3, one, Does::Sends(message))]);
                ops
            }
        ),
        // Who is taken apart, and then again.
        (numbers, vec(name(), 4), vec(name(), 4), any::<bool>()).prop_map(
            move |(event, all, off, again)| {
                let carries: Vec<_> = all.iter().map(|name| (name.0, true)).collect();
                let mut ops = vec![tell(event, &carries[..2]), tell(event + 1, &carries[1..])];
                ops.push(Op::Split { off: vec![all[1], off[0]], validate_only: false });
                ops.push(Op::Moved);
                ops.push(Op::Split { off: vec![all[2], all[3], off[1]], validate_only: false });
                if again {
                    ops.push(Op::Join(all[1], all[2]));
                    ops.push(Op::Moved);
                    ops.push(Op::Split { off: vec![all[2], off[2]], validate_only: false });
                }
                ops.extend([Op::Wait(Span(SEEN_FOR * 2)), Op::Again(0), Op::Again(1)]);
                ops
            }
        ),
    ]
}

pub(crate) fn ops() -> impl Strategy<Value = Vec<Op>> {
    let some = prop_oneof![6 => op().prop_map(|op| vec![op]), 1 => scene()];
    vec(some, 1..40).prop_map(|all| all.into_iter().flatten().collect())
}

/// The limits that a story is told under.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Under {
    /// Limits that a few events reach exactly.
    Narrow,
    /// The same, counted over a week, a month or a year.
    Windows,
    /// Limits that nothing here reaches.
    Wide,
}

pub(crate) fn under() -> impl Strategy<Value = Under> {
    select(vec![Under::Narrow, Under::Windows, Under::Wide])
}
