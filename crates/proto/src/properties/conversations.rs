//! Conversations and staff.

use std::collections::BTreeSet;
use std::time::Duration;

use mainstem_domain::configuration::{Target, Who};
use mainstem_domain::routing::{
    About, Conversation, ConversationEvent, OfferEnd, PassedOver, Place, Post, Talk, Why, Withdrawn,
};
use mainstem_domain::{ConversationId, StaffId};

use super::cases::priority;
use super::*;

fn id() -> impl Strategy<Value = ConversationId> {
    any::<u64>().prop_map(|origin| ConversationId::derive(&origin.to_string()))
}

fn staff() -> impl Strategy<Value = StaffId> {
    slug().prop_map(|text| text.parse().unwrap())
}

fn who() -> impl Strategy<Value = Who> {
    prop::sample::select(Who::ALL.to_vec())
}

fn target() -> impl Strategy<Value = Target> {
    let within = option::of((1..90_000_u64).prop_map(Duration::from_secs));
    (who(), within).prop_map(|(who, within)| Target { who, within })
}

fn talk() -> impl Strategy<Value = Talk> {
    prop_oneof![
        Just(Talk::Waiting),
        (staff(), 0..9_usize, at(), option::of(at())).prop_map(
            |(staff, target, until, target_until)| Talk::Offered {
                staff,
                target,
                until,
                target_until
            }
        ),
        (staff(), at()).prop_map(|(staff, at)| Talk::InProgress { staff, at }),
        (any_text(), at()).prop_map(|(by, at)| Talk::Closed { by, at }),
    ]
}

fn right() -> impl Strategy<Value = Option<ReplyRight>> {
    let right = (token(), at()).prop_map(|(token, received_at)| ReplyRight { token, received_at });
    option::of(right)
}

fn passed_over() -> impl Strategy<Value = Vec<PassedOver>> {
    let why = prop::sample::select(Why::ALL.to_vec());
    let one = (who(), option::of(staff()), why);
    vec(one.prop_map(|(who, staff, why)| PassedOver { who, staff, why }), 0..3)
}

prop_compose! {
    fn conversation()(
        (customer, channel, brand, store) in
            (customer(), channel_id(), option::of(brand()), option::of(store())),
        (rule, event, carrier, priority) in (any_text(), event_id(), carrier(), priority()),
        (waiting_since, active_at, stage, reply) in (at(), at(), talk(), right()),
        (chain, passed, tags) in (vec(target(), 0..4), vec((staff(), at()), 0..3), tags()),
    ) -> Conversation {
        Conversation {
            customer, channel, brand, store, rule, event, carrier, priority, waiting_since,
            active_at, chain, stage, tags, passed, reply,
        }
    }
}

prop_compose! {
    fn about()(
        (id, customer, carrier) in (id(), customer(), carrier()),
        (store, brand, staff) in (option::of(store()), option::of(brand()), option::of(staff())),
    ) -> About {
        About { id, customer, carrier, store, brand, staff }
    }
}

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![
        store().prop_map(Place::Store),
        slug().prop_map(|text| Place::Desk(text.parse().unwrap())),
        Just(Place::Central),
    ]
}

prop_compose! {
    fn post()(
        (available, on_shift, until) in (any::<bool>(), any::<bool>(), option::of(at())),
        (own_capacity, capacity) in (option::of(1..=u32::MAX), any::<u32>()),
        place in option::of(place()),
        brands in vec(brand(), 0..3),
    ) -> Post {
        let brands: BTreeSet<_> = brands.into_iter().collect();
        Post { available, own_capacity, capacity, place, brands, on_shift, until }
    }
}

pub(super) fn conversation_event() -> BoxedStrategy<ConversationEvent> {
    prop_oneof![6 => step(), 4 => whole()].boxed()
}

fn step() -> BoxedStrategy<ConversationEvent> {
    let ended = prop::sample::select(OfferEnd::ALL.to_vec());
    let chain = option::of(vec(target(), 1..4)).boxed();
    let offered = (about(), talk().boxed(), ended, chain);
    let passed = (vec((staff(), at()), 0..3), passed_over());
    prop_oneof![
        (about(), event_id(), option::of(token()), right())
            .prop_map(|(about, event, rule, reply)| ConversationEvent::Active {
                about,
                event,
                rule,
                reply
            })
            .boxed(),
        (about(), tags(), any_text())
            .prop_map(|(about, tags, rule)| ConversationEvent::Tagged { about, tags, rule })
            .boxed(),
        (offered, passed)
            .prop_map(|((about, stage, ended, chain), (passed, passed_over))| {
                ConversationEvent::Offered { about, stage, ended, chain, passed, passed_over }
            })
            .boxed(),
        (about(), staff())
            .prop_map(|(about, staff)| ConversationEvent::Accepted { about, staff })
            .boxed(),
        (about(), staff(), any_text(), any_text())
            .prop_map(|(about, staff, by, reason)| ConversationEvent::Assigned {
                about,
                staff,
                by,
                reason
            })
            .boxed(),
        (about(), staff())
            .prop_map(|(about, staff)| ConversationEvent::Replied { about, staff })
            .boxed(),
        (about(), any_text())
            .prop_map(|(about, by)| ConversationEvent::Closed { about, by })
            .boxed(),
    ]
    .boxed()
}

fn whole() -> BoxedStrategy<ConversationEvent> {
    prop_oneof![
        (id(), conversation().boxed(), any::<bool>(), passed_over())
            .prop_map(|(id, conversation, again, passed_over)| ConversationEvent::Opened {
                id,
                conversation,
                again,
                passed_over
            })
            .boxed(),
        (id(), conversation().boxed())
            .prop_map(|(id, conversation)| ConversationEvent::Restated { id, conversation })
            .boxed(),
        vec(id(), 0..3).prop_map(|ids| ConversationEvent::Forgotten { ids }).boxed(),
        (staff(), post().boxed(), option::of(place().boxed()))
            .prop_map(|(staff, post, before)| ConversationEvent::Stands { staff, post, before })
            .boxed(),
        (option::of(staff()), any::<bool>())
            .prop_map(|(up_to, again)| ConversationEvent::Reviewed { up_to, again })
            .boxed(),
        vec((staff(), at()), 0..3)
            .prop_map(|since| ConversationEvent::IdleRestated { since })
            .boxed(),
    ]
    .boxed()
}

pub(super) fn withdrawn() -> BoxedStrategy<Withdrawn> {
    let place = (option::of(store()), option::of(brand()), option::of(staff()));
    let conversation = (id(), place).prop_map(|(id, (store, brand, staff))| {
        Withdrawn::Conversation { id, store, brand, staff }
    });
    let case = (case_id(), queue()).prop_map(|(id, queue)| Withdrawn::Case { id, queue });
    prop_oneof![conversation, case].boxed()
}
