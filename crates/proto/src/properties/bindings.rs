//! What routing decides of bindings.

use mainstem_domain::StaffId;
use mainstem_domain::routing::{
    Binding, BindingView, Ended, EndedWhy, HandOver, IssuedCode, Made, Nonce, RefusedWhy,
};

use super::*;

prop_compose! {
    pub(super) fn staff()(text in slug()) -> StaffId { text.parse().unwrap() }
}
prop_compose! {
    fn nonce()(bytes in any::<[u8; Nonce::LENGTH]>()) -> Nonce { Nonce::from_bytes(bytes) }
}

prop_compose! {
    fn code()(
        (nonce, staff, expires_at) in (nonce(), staff(), at()),
        (store, brand) in (option::of(store()), option::of(brand())),
    ) -> IssuedCode {
        IssuedCode { nonce, staff, store, brand, expires_at }
    }
}

fn made() -> impl Strategy<Value = Made> {
    prop_oneof![
        (nonce(), event_id()).prop_map(|(nonce, event)| Made::Code { nonce, event }),
        staff().prop_map(|from| Made::HandOver { from }),
    ]
}

prop_compose! {
    fn binding()(
        (bound_at, staff, channel) in (at(), staff(), channel_id()),
        (brand, store) in (option::of(brand()), option::of(store())),
        (made, carrier) in (made(), carrier()),
        ended in option::of((at(), any_text())),
    ) -> Binding {
        let ended = ended.map(|(at, by)| Ended { at, by });
        Binding { bound_at, staff, brand, store, channel, made, carrier, ended }
    }
}

prop_compose! {
    fn hand_over()(
        (from, to, by) in (staff(), staff(), any_text()),
        (store, brand) in (option::of(store()), option::of(brand())),
    ) -> HandOver {
        HandOver { from, to, store, brand, by }
    }
}

/// Boxed: all strategies of a service's events together are too much for the stack of a test.
pub(super) fn binding_event() -> BoxedStrategy<route::Event> {
    let why =
        prop::sample::select(vec![RefusedWhy::Expired, RefusedWhy::Revoked, RefusedWhy::Forged]);
    let bound = || (customer(), binding());
    Union::new([
        (code(), any_text()).prop_map(|(code, by)| route::Event::CodeIssued { code, by }).boxed(),
        (nonce(), staff(), any_text())
            .prop_map(|(nonce, staff, by)| route::Event::CodeRevoked { nonce, staff, by })
            .boxed(),
        (why, option::of(staff()), channel_id())
            .prop_map(|(why, staff, channel)| route::Event::CodeRefused { why, staff, channel })
            .boxed(),
        bound().prop_map(|(customer, binding)| route::Event::Bound { customer, binding }).boxed(),
        bound()
            .prop_map(|(customer, binding)| route::Event::BindingEnded { customer, binding })
            .boxed(),
        bound()
            .prop_map(|(customer, binding)| route::Event::BindingRestated { customer, binding })
            .boxed(),
        hand_over().prop_map(route::Event::HandOverBegun).boxed(),
        (staff(), staff()).prop_map(|(from, to)| route::Event::HandOverDone { from, to }).boxed(),
    ])
    .boxed()
}

proptest! {
    /// What a read shows is what is in force, and otherwise when and why it ended.
    #[test]
    fn a_shown_binding_says_when_and_why_it_ended(
        (customer, binding) in (customer(), binding()),
        end in option::of((at(), prop::sample::select(vec![
            (EndedWhy::Replaced, wire::routing::BindingEnd::Replaced),
            (EndedWhy::HandedOver, wire::routing::BindingEnd::HandedOver),
            (EndedWhy::ByStaff, wire::routing::BindingEnd::ByStaff),
        ]))),
    ) {
        let view = BindingView {
            customer,
            binding,
            end: end.map(|(at, (why, _))| (at, why)),
        };
        let shown = wire::routing::Binding::from(&view);
        let wanted = end.map(|(at, _)| field::timestamp(at));
        let why = end.map_or(wire::routing::BindingEnd::Unspecified, |(_, (_, why))| why);
        prop_assert_eq!((&shown.end_time, shown.end()), (&wanted, why));
        prop_assert_eq!(shown.staff, view.binding.staff.to_string());
    }
}
