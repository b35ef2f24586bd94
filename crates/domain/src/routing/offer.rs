//! To whom a conversation is offered.
//!
//! Targets are tried in the order of the chain. One where nobody is ready, speaks for the brand, has
//! room and has not passed it a short while ago is skipped. Within a target the one with most spare
//! capacity is asked, then the one who has been idle for longest, then by id. The last target keeps what
//! nobody there can take.

use super::conversation::{Conversation, OFFERED_FOR, PassedOver, Talk, Why};
use super::floor::{Floor, Place, Standing};
use super::state::State;
use crate::configuration::{Configuration, Target, Who};
use crate::{At, StaffId};

/// Who was passed over is told of so many at most.
const TOLD_AT_MOST: usize = 40;

/// What a conversation comes to when it is offered, and who was passed over for that.
pub(super) struct Offer {
    pub(super) talk: Talk,
    pub(super) passed_over: Vec<PassedOver>,
}

/// Offers it to somebody of its chain, from this target on. `target_until`: the first of them has
/// been tried for a while, and has so long.
pub(super) fn offer(
    state: &State,
    configuration: &Configuration,
    one: &Conversation,
    from: usize,
    target_until: Option<At>,
    at: At,
) -> Offer {
    let mut passed_over = Vec::new();
    for (index, target) in one.chain.iter().enumerate().skip(from) {
        let Some(staff) = best(state, configuration, one, target.who, at, &mut passed_over) else {
            continue;
        };
        let going_on = target_until.filter(|_| index == from);
        let target_until = going_on.or_else(|| target.within.map(|within| at.after(within)));
        let last = index + 1 == one.chain.len();
        let until = match target_until {
            Some(until) if !last => until,
            // The last target is never over; only this person's time is.
            _ => at.after(target.within.unwrap_or(OFFERED_FOR)),
        };
        let target_until = target_until.filter(|_| !last);
        let talk = Talk::Offered { staff, target: index, until, target_until };
        return Offer { talk, passed_over };
    }
    Offer { talk: Talk::Waiting, passed_over }
}

/// The last target of a chain.
pub(super) fn last(chain: &[Target]) -> usize {
    chain.len().saturating_sub(1)
}

fn best(
    state: &State,
    configuration: &Configuration,
    one: &Conversation,
    who: Who,
    at: At,
    passed_over: &mut Vec<PassedOver>,
) -> Option<StaffId> {
    let mut look = Look { one, who, at, best: None, passed_over };
    let floor = &state.floor;
    let brand = one.brand.as_ref();
    match who {
        Who::BoundStaff => {
            let Some(bound) = state.bound_staff(one.customer, brand) else {
                look.skip(None, Why::NotBound);
                return None;
            };
            look.person(floor, &bound);
            let member = configuration.staff.get(&bound);
            if let (None, Some(delegate)) =
                (&look.best, member.and_then(|member| member.delegate.as_ref()))
            {
                look.person(floor, delegate);
            }
        }
        Who::StoreOnShift => match state.store_of(one) {
            Some(store) => look.crew(floor, &Place::Store(store)),
            None => look.skip(None, Why::NoStore),
        },
        Who::BrandDesk => match brand {
            Some(brand) => {
                for desk in configuration.desks_of(Some(brand)) {
                    look.crew(floor, &Place::Desk(desk.clone()));
                }
            }
            None => look.skip(None, Why::NoBrand),
        },
        Who::CentralDesk => look.crew(floor, &Place::Central),
    }
    look.best.map(|(staff, _)| staff.clone())
}

/// What is seen of one target.
struct Look<'a, 'b> {
    one: &'b Conversation,
    who: Who,
    at: At,
    best: Option<(&'a StaffId, &'a Standing)>,
    passed_over: &'b mut Vec<PassedOver>,
}

impl<'a> Look<'a, '_> {
    fn crew(&mut self, floor: &'a Floor, place: &Place) {
        let mut somebody = false;
        for (staff, standing) in floor.crew(place) {
            somebody = true;
            self.see(staff, standing);
        }
        if !somebody {
            self.skip(None, Why::Nobody);
        }
    }

    fn person(&mut self, floor: &'a Floor, staff: &StaffId) {
        match floor.staff_entry(staff) {
            Some((staff, standing)) => self.see(staff, standing),
            None => self.skip(Some(staff), Why::Away),
        }
    }

    fn see(&mut self, staff: &'a StaffId, standing: &'a Standing) {
        let post = &standing.post;
        let why = if !post.available {
            Why::Away
        } else if !post.on_shift {
            Why::OffShift
        } else if !post.speaks_for(self.one.brand.as_ref()) {
            Why::OtherBrand
        } else if self.one.was_passed_by(staff, self.at) {
            Why::Passed
        } else if standing.spare() == 0 {
            Why::Full
        } else {
            match self.best.replace((staff, standing)) {
                None => return,
                Some((best, its)) if its.rank(best) < standing.rank(staff) => {
                    self.best = Some((best, its));
                    return self.skip(Some(staff), Why::Behind);
                }
                Some((behind, _)) => return self.skip(Some(behind), Why::Behind),
            }
        };
        self.skip(Some(staff), why);
    }

    fn skip(&mut self, staff: Option<&StaffId>, why: Why) {
        if self.passed_over.len() < TOLD_AT_MOST {
            let who = self.who;
            self.passed_over.push(PassedOver { who, staff: staff.cloned(), why });
        }
    }
}
