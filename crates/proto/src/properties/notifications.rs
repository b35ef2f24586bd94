//! What notification decides.

use std::sync::Arc;

use mainstem_domain::Language;

use super::*;

fn outcome() -> impl Strategy<Value = note::Outcome> {
    prop_oneof![Just(note::Outcome::Sent), ended()]
}

/// Ends without an item.
fn ended() -> impl Strategy<Value = note::Outcome> {
    prop_oneof![
        any_text().prop_map(|reason| note::Outcome::Suppressed { reason: reason.into() }),
        any_text().prop_map(|reason| note::Outcome::Expired { reason: reason.into() }),
        any_text().prop_map(|reason| note::Outcome::Failed { reason: reason.into() }),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    let flex = any_text().prop_map(|text| {
        let contents = serde_json::json!({"type": "bubble"});
        let flex = serde_json::json!({"type": "flex", "altText": text, "contents": contents});
        flex.to_string().parse().unwrap()
    });
    prop_oneof![any_text().prop_map(|text| Message::text(&text)), flex]
}

fn class() -> impl Strategy<Value = note::Class> {
    prop::sample::select(note::Class::ALL.to_vec())
}

fn mode() -> impl Strategy<Value = Mode> {
    prop::sample::select(vec![Mode::Live, Mode::Shadow, Mode::Retired])
}

prop_compose! {
    fn item()(
        (customer, carrier, class) in (customer(), carrier(), class()),
        address in address(),
        token in option::of(token()),
        messages in vec(message(), 1..4),
        (asked_at, deadline) in (at(), option::of(at())),
        joined in vec(item_id(), 0..3),
        attempts in vec("[!-~]{1,64}", 0..3),
    ) -> note::Item {
        let way = token.map_or(note::Way::Push, |token| note::Way::Reply { token });
        note::Item {
            customer, carrier, class, address, way, messages, asked_at, deadline, joined, attempts,
        }
    }
}

prop_compose! {
    fn words()(
        templates in vec(any_text(), 0..3),
        text in option::of(token()),
        variables in prop::collection::btree_map(any_text(), any_text(), 0..3),
        (case, staff) in (option::of(case_id()), option::of(staff())),
    ) -> note::Words {
        note::Words { templates, text, variables, case, staff }
    }
}

prop_compose! {
    fn deferred()(
        (customer, carrier, class) in (customer(), carrier(), class()),
        (channel, elsewhere, mode) in (option::of(channel_id()), any::<bool>(), mode()),
        (brand, words) in (option::of(brand()), words()),
        (collapse_key, deadline, digest) in (option::of(token()), option::of(at()), any::<bool>()),
        (asked_at, until) in (at(), at()),
        wait in prop::sample::select(vec![note::Wait::QuietHours, note::Wait::Budget]),
    ) -> note::Deferred {
        let request = note::Request {
            customer, carrier, class, channel, elsewhere, mode, brand, words,
            // It does not live until then.
            reply: None,
            collapse_key, deadline, digest, asked_at,
        };
        note::Deferred { request, until, wait }
    }
}

fn standing() -> impl Strategy<Value = note::Standing> {
    let over = (customer(), carrier(), class(), option::of(channel_id()), at(), at(), outcome());
    let over = over.prop_map(|(customer, carrier, class, channel, asked_at, ended_at, outcome)| {
        note::Ended { customer, carrier, class, channel, asked_at, ended_at, outcome }
    });
    prop_oneof![
        deferred().prop_map(|deferred| note::Standing::Deferred(Arc::new(deferred))),
        item().prop_map(|item| note::Standing::Queued(Arc::new(item))),
        over.prop_map(|ended| note::Standing::Ended(Arc::new(ended))),
    ]
}

/// One that is on its way or has ended.
pub(super) fn delivery() -> impl Strategy<Value = note::Delivery> {
    (item_id(), standing())
        .prop_filter("has no item yet", |(_, standing)| {
            !matches!(standing, note::Standing::Deferred(_))
        })
        .prop_map(|(id, standing)| note::Delivery { id, standing })
}

fn zone() -> impl Strategy<Value = mainstem_domain::configuration::Zone> {
    prop::sample::select(vec!["Asia/Taipei", "Europe/Berlin", "UTC"])
        .prop_map(|name| name.parse().unwrap())
}

fn language() -> impl Strategy<Value = Language> {
    prop::sample::select(Language::ALL.to_vec())
}

fn answer() -> impl Strategy<Value = Answer> {
    prop::sample::select(vec![Answer::Granted, Answer::Refused])
}

prop_compose! {
    fn told()(
        identifier in identifier(),
        what in prop_oneof![
            language().prop_map(note::Trait::Language),
            zone().prop_map(note::Trait::Zone),
        ],
        (verified, told_at) in (any::<bool>(), at()),
    ) -> note::Told {
        note::Told { carrier: Carrier::of(&identifier), what, verified, told_at }
    }
}

prop_compose! {
    fn marketing()(answer in answer(), told_at in at()) -> note::Consent {
        note::Consent { answer, told_at }
    }
}

prop_compose! {
    fn preferences()(
        (marketing, language) in (option::of(answer()), option::of(language())),
        (zone, quiet) in (option::of(zone()), any::<bool>()),
    ) -> note::Preferences {
        let quiet_hours = quiet.then(|| "22:00-07:05".parse().unwrap());
        note::Preferences { marketing, language, zone, quiet_hours }
    }
}

prop_compose! {
    fn place()(
        (channel, user, carrier) in (channel_id(), any_text(), carrier()),
        (blocked, followed_at) in (any::<bool>(), option::of(at())),
    ) -> note::Place {
        note::Place { channel, user: user.into(), carrier, blocked, followed_at }
    }
}

prop_compose! {
    fn push()(
        (at, item, carrier) in (at(), item_id(), carrier()),
        unanswered in any::<bool>(),
    ) -> note::Push {
        note::Push { at, item, carrier, unanswered }
    }
}

prop_compose! {
    fn portion()(
        places in vec(place(), 0..3),
        told in vec(told(), 0..3),
        pushes in vec(push(), 0..3),
    ) -> note::Portion {
        note::Portion { places, told, pushes }
    }
}

fn of_a_person() -> impl Strategy<Value = note::Event> {
    prop_oneof![
        (customer(), address(), carrier()).prop_map(|(customer, address, carrier)| {
            note::Event::AddressLearned { customer, address, carrier }
        }),
        (customer(), channel_id(), carrier(), any::<bool>(), at()).prop_map(
            |(customer, channel, carrier, blocked, told_at)| note::Event::Followed {
                customer,
                channel,
                carrier,
                blocked,
                told_at
            }
        ),
        customer().prop_map(|customer| note::Event::Engaged { customer }),
        (customer(), told()).prop_map(|(customer, told)| note::Event::TraitTold { customer, told }),
        (customer(), marketing())
            .prop_map(|(customer, consent)| note::Event::ConsentTold { customer, consent }),
        (customer(), preferences()).prop_map(|(customer, preferences)| {
            note::Event::PreferencesSet { customer, preferences }
        }),
        (customer(), customer()).prop_map(|(from, to)| note::Event::PersonMoved { from, to }),
        (customer(), identifier(), portion()).prop_map(|(customer, identifier, portion)| {
            let carrier = Carrier::of(&identifier);
            note::Event::PersonRestated { customer, carrier, portion }
        }),
        (customer(), option::of(marketing()), preferences(), any::<bool>()).prop_map(
            |(customer, consent, preferences, last)| note::Event::WishesRestated {
                customer,
                consent,
                preferences,
                last
            }
        ),
    ]
}

pub(super) fn notification_event() -> impl Strategy<Value = note::Event> {
    let ended =
        (item_id(), customer(), carrier(), class(), option::of(channel_id()), at(), ended());
    let ended = ended.prop_map(|(id, customer, carrier, class, channel, asked_at, outcome)| {
        note::Event::Ended { id, customer, carrier, class, channel, asked_at, outcome }
    });
    let of_a_request = prop_oneof![
        (item_id(), deferred().prop_map(Arc::new))
            .prop_map(|(id, deferred)| note::Event::Deferred { id, deferred })
            .boxed(),
        (item_id(), item().prop_map(Arc::new))
            .prop_map(|(id, item)| note::Event::Queued { id, item })
            .boxed(),
        (item_id(), item().prop_map(Arc::new))
            .prop_map(|(id, item)| note::Event::Handed { id, item })
            .boxed(),
        ended.boxed(),
        (item_id(), standing())
            .prop_map(|(id, standing)| note::Event::Restated { id, standing })
            .boxed(),
        (item_id(), customer(), carrier())
            .prop_map(|(id, customer, carrier)| note::Event::Released { id, customer, carrier })
            .boxed(),
        item_id().prop_map(|id| note::Event::RequestVoided { id }).boxed(),
        vec(item_id(), 0..3).prop_map(|items| note::Event::ItemsVoided { items }).boxed(),
        (item_id(), customer(), "[!-~]{1,64}", carrier())
            .prop_map(|(id, customer, attempt, carrier)| {
                note::Event::Begun { id, customer, attempt, carrier }
            })
            .boxed(),
        (item_id(), customer(), outcome(), carrier())
            .prop_map(|(id, customer, outcome, carrier)| {
                note::Event::Settled { id, customer, outcome, carrier }
            })
            .boxed(),
    ];
    prop_oneof![
        of_a_person().boxed(),
        of_a_request.boxed(),
        custody_event().prop_map(note::Event::Custody).boxed(),
    ]
}
