//! Who is there, who has which conversation, and which ones wait.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::ops::Bound::{self, Excluded, Unbounded};
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::conversation::{About, Conversation, ConversationView, REMEMBERED_FOR, Talk};
use super::state::remove;
use crate::configuration::{Configuration, Desk, Priority, StaffMember};
use crate::{At, BrandId, ChannelId, ConversationId, CustomerId, DeskId, StaffId, StoreId};

/// Where a member of staff stands: what the person said, what the directory says, and the shift.
///
/// Somebody is *ready* who said to be there and is on shift. Nobody is there before saying so; it stands
/// until the person says otherwise, over the end of shifts too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Post {
    /// The person said to be there.
    pub available: bool,
    /// How many conversations at once, when the person said another number than the directory.
    pub own_capacity: Option<u32>,
    /// How many conversations at once.
    pub capacity: u32,
    /// Where the person works.
    pub place: Option<Place>,
    /// The brands that the person speaks for, by the person or the desk; empty: all of the place.
    pub brands: BTreeSet<BrandId>,
    /// It is the person's shift.
    pub on_shift: bool,
    /// When that changes; none: never, or it does not matter because the person is away.
    pub until: Option<At>,
}

/// Where somebody works.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Place {
    /// In a store.
    Store(StoreId),
    /// At a desk that speaks for some brands.
    Desk(DeskId),
    /// At a desk that speaks for all.
    Central,
}

impl Place {
    /// Where the directory says that somebody works.
    #[must_use]
    pub fn of(configuration: &Configuration, member: &StaffMember) -> Option<Self> {
        match (&member.store, &member.desk) {
            (Some(store), _) => Some(Self::Store(store.clone())),
            (None, Some(desk)) => Some(Self::at_desk(configuration, desk)),
            (None, None) => None,
        }
    }

    /// The central desk, whatever its name, is one place.
    #[must_use]
    pub fn at_desk(configuration: &Configuration, desk: &DeskId) -> Self {
        let central = configuration.desks.get(desk).is_some_and(Desk::is_central);
        if central { Self::Central } else { Self::Desk(desk.clone()) }
    }
}

impl Post {
    /// The person can be offered something, if there is room.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.available && self.on_shift
    }

    /// Where the person worked, when that is elsewhere now.
    pub(super) fn left_for(&self, next: &Self) -> Option<Place> {
        self.place.clone().filter(|_| self.place != next.place)
    }

    pub(super) fn speaks_for(&self, brand: Option<&BrandId>) -> bool {
        self.brands.is_empty() || brand.is_none_or(|brand| self.brands.contains(brand))
    }

    /// Where somebody stands who says so now; one who is not in the directory is away.
    pub(super) fn new(
        configuration: &Configuration,
        staff: &StaffId,
        available: bool,
        own_capacity: Option<u32>,
        at: At,
    ) -> Self {
        let Some(member) = configuration.staff.get(staff) else {
            return Self {
                available: false,
                own_capacity: None,
                capacity: 0,
                place: None,
                brands: BTreeSet::new(),
                on_shift: false,
                until: None,
            };
        };
        let shift = member.shift.as_ref().and_then(|shift| configuration.calendars.get(shift));
        let (on_shift, until) = shift.map_or((true, None), |shift| shift.standing(at));
        let place = Place::of(configuration, member);
        Self {
            available,
            own_capacity,
            capacity: own_capacity.unwrap_or(member.capacity),
            place,
            brands: configuration.brands_of(member).clone(),
            on_shift,
            until: until.filter(|_| available),
        }
    }
}

/// A member of staff with what the person has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// How the person stands.
    pub post: Post,
    /// Since when nothing was given to the person or taken away.
    pub idle_since: At,
    /// What the person has, or is asked about.
    pub held: OrdSet<ConversationId>,
}

impl Standing {
    /// How many more conversations fit.
    #[must_use]
    pub fn spare(&self) -> u32 {
        let held = u32::try_from(self.held.len()).unwrap_or(u32::MAX);
        self.post.capacity.saturating_sub(held)
    }

    /// Who comes first within a target: most spare capacity, then longest idle, then by id.
    pub(super) fn rank<'a>(&self, staff: &'a StaffId) -> (Reverse<u32>, At, &'a StaffId) {
        (Reverse(self.spare()), self.idle_since, staff)
    }
}

/// Conversations and staff.
///
/// Invariant: `put` and `take` alone change conversations, `stand` alone posts, so every index says
/// what they say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Floor {
    /// Each customer's, in the order of their ids. They lie with the customer, because almost every
    /// event asks for its customer's.
    conversations: OrdMap<CustomerId, Arc<Held>>,
    whose: OrdMap<ConversationId, CustomerId>,
    deadlines: OrdSet<(At, ConversationId)>,
    /// In line, by brand, in the order in which they are served.
    line: OrdMap<Option<BrandId>, OrdSet<(Priority, At, ConversationId)>>,
    /// By when they were closed.
    closed: OrdSet<(At, ConversationId)>,
    staff: OrdMap<StaffId, Standing>,
    crews: OrdMap<Place, OrdSet<StaffId>>,
    /// When the shift of somebody who said to be there ends or begins.
    shifts: OrdSet<(At, StaffId)>,
    /// They have something and are not ready.
    stranded: OrdSet<StaffId>,
    /// Something concerns all of the staff, and not all of them were looked at.
    pub(super) review: Option<Review>,
}

/// One customer's conversations.
type Held = SmallVec<[(ConversationId, Conversation); 1]>;

/// Who of the staff is still to be looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Review {
    /// All of them.
    All,
    /// Those after this one, in the order of their ids.
    After(StaffId),
}

impl Review {
    /// The last one who was looked at.
    pub(super) fn after(&self) -> Option<&StaffId> {
        match self {
            Self::All => None,
            Self::After(staff) => Some(staff),
        }
    }
}

impl Floor {
    pub(super) fn get(&self, id: ConversationId) -> Option<&Conversation> {
        let customer = self.whose.get(&id)?;
        let mut held = self.of_customer(*customer);
        held.find(|(known, _)| *known == id).map(|(_, one)| one)
    }

    pub(super) fn view(&self, id: ConversationId) -> Option<ConversationView> {
        let conversation = self.get(id)?.clone();
        Some(ConversationView { id, conversation })
    }

    pub(super) fn after(
        &self,
        after: Option<ConversationId>,
    ) -> impl Iterator<Item = (&ConversationId, &Conversation)> {
        let later = self.whose.range((after.map_or(Unbounded, Excluded), Unbounded));
        later.filter_map(|(id, _)| Some((id, self.get(*id)?)))
    }

    pub(super) fn of_customer(
        &self,
        customer: CustomerId,
    ) -> impl Iterator<Item = (ConversationId, &Conversation)> {
        let held = self.conversations.get(&customer).into_iter().flat_map(|held| held.iter());
        held.map(|(id, one)| (*id, one))
    }

    fn ids_of(&self, customer: CustomerId) -> Vec<ConversationId> {
        self.of_customer(customer).map(|(id, _)| id).collect()
    }

    /// A customer's conversation on a channel about a brand: the one that was active last, open ones
    /// first.
    pub(super) fn find(
        &self,
        customer: CustomerId,
        channel: &ChannelId,
        brand: Option<&BrandId>,
    ) -> Option<(ConversationId, &Conversation)> {
        let known = self.of_customer(customer);
        let same = known.filter(|(_, one)| one.channel == *channel && one.brand.as_ref() == brand);
        same.max_by_key(|(id, one)| (!one.stage.is_closed(), one.active_at, *id))
    }

    /// The one that was active last of a customer on a channel, whether open or not.
    pub(super) fn last_active(
        &self,
        customer: CustomerId,
        on: &ChannelId,
    ) -> Option<&Conversation> {
        let of_customer = self.of_customer(customer).map(|(_, one)| one);
        of_customer.filter(|one| one.channel == *on).max_by_key(|one| one.active_at)
    }

    pub(super) fn standing(&self, staff: &StaffId) -> Option<&Standing> {
        self.staff.get(staff)
    }

    pub(super) fn staff_entry(&self, staff: &StaffId) -> Option<(&StaffId, &Standing)> {
        self.staff.get_key_value(staff)
    }

    pub(super) fn staff_after(
        &self,
        after: Option<&StaffId>,
    ) -> impl Iterator<Item = (&StaffId, &Standing)> {
        let from: Bound<&StaffId> = after.map_or(Unbounded, Excluded);
        self.staff.range::<_, StaffId>((from, Unbounded))
    }

    pub(super) fn crew(&self, place: &Place) -> impl Iterator<Item = (&StaffId, &Standing)> {
        let crew = self.crews.get(place).into_iter().flatten();
        crew.filter_map(|staff| self.staff.get_key_value(staff))
    }

    /// What somebody at the central desk serves next: the most urgent, of these the one that waits
    /// longest.
    pub(super) fn next_for(&self, staff: &StaffId, at: At) -> Option<ConversationId> {
        let Standing { post, .. } = self.standing(staff)?;
        let lines = self.line.iter().filter(|(brand, _)| post.speaks_for(brand.as_ref()));
        let firsts = lines.filter_map(|(_, line)| {
            let mut takes = line.iter().filter(|(_, _, id)| {
                self.get(*id).is_some_and(|one| !one.was_passed_by(staff, at))
            });
            takes.next()
        });
        firsts.min().map(|(_, _, id)| *id)
    }

    pub(super) fn first_stranded(&self) -> Option<&StaffId> {
        self.stranded.get_min()
    }

    pub(super) fn next_deadline(&self) -> Option<At> {
        // At once: whoever is stranded waits for nothing.
        let now = (!self.stranded.is_empty() || self.review.is_some()).then(At::default);
        let deadline = self.deadlines.get_min().map(|(at, _)| *at);
        let shift = self.shifts.get_min().map(|(at, _)| *at);
        let forgets = self.closed.get_min().map(|(closed_at, _)| forgets_at(*closed_at));
        [now, deadline, shift, forgets].into_iter().flatten().min()
    }

    pub(super) fn due_until(&self, at: At) -> impl Iterator<Item = ConversationId> {
        self.deadlines.iter().take_while(move |(due, _)| *due <= at).map(|(_, id)| *id)
    }

    pub(super) fn shifts_until(&self, at: At) -> impl Iterator<Item = &StaffId> {
        self.shifts.iter().take_while(move |(due, _)| *due <= at).map(|(_, staff)| staff)
    }

    /// What waits in line.
    pub(super) fn in_line(&self) -> impl Iterator<Item = ConversationId> {
        self.line.values().flatten().map(|(_, _, id)| *id)
    }

    /// How many conversations are waiting in line.
    pub(super) fn waiting(&self) -> usize {
        self.line.values().map(OrdSet::len).sum()
    }

    pub(super) fn put(&mut self, id: ConversationId, conversation: Conversation, at: At) {
        self.take(id, at);
        self.deadlines.extend(conversation.deadline().map(|at| (at, id)));
        match &conversation.stage {
            Talk::Waiting => {
                let line = self.line.entry(conversation.brand.clone()).or_default();
                line.insert(place_in_line(id, &conversation));
            }
            Talk::Closed { at, .. } => {
                self.closed.insert((*at, id));
            }
            Talk::Offered { staff, .. } | Talk::InProgress { staff, .. } => {
                self.change(staff, at, |held| held.insert(id).is_none());
            }
        }
        self.whose.insert(id, conversation.customer);
        let held = Arc::make_mut(self.conversations.entry(conversation.customer).or_default());
        let place = held.partition_point(|(known, _)| *known < id);
        held.insert(place, (id, conversation));
    }

    fn take(&mut self, id: ConversationId, at: At) -> Option<Conversation> {
        let customer = self.whose.remove(&id)?;
        let held = Arc::make_mut(self.conversations.get_mut(&customer)?);
        let place = held.iter().position(|(known, _)| *known == id)?;
        let (_, conversation) = held.remove(place);
        if held.is_empty() {
            self.conversations.remove(&customer);
        }
        if let Some(at) = conversation.deadline() {
            self.deadlines.remove(&(at, id));
        }
        match &conversation.stage {
            Talk::Waiting => {
                remove(&mut self.line, &conversation.brand, &place_in_line(id, &conversation));
            }
            Talk::Closed { at, .. } => {
                self.closed.remove(&(*at, id));
            }
            Talk::Offered { staff, .. } | Talk::InProgress { staff, .. } => {
                self.change(staff, at, |held| held.remove(&id).is_some());
            }
        }
        Some(conversation)
    }

    fn change(
        &mut self,
        staff: &StaffId,
        at: At,
        change: impl FnOnce(&mut OrdSet<ConversationId>) -> bool,
    ) {
        if let Some(standing) = self.staff.get_mut(staff) {
            if change(&mut standing.held) {
                standing.idle_since = at;
            }
            self.note_stranded(staff);
        }
    }

    fn note_stranded(&mut self, staff: &StaffId) {
        let strands = |one: &Standing| !one.post.is_ready() && !one.held.is_empty();
        if self.staff.get(staff).is_some_and(strands) {
            self.stranded.insert(staff.clone());
        } else {
            self.stranded.remove(staff);
        }
    }

    pub(super) fn update(
        &mut self,
        id: ConversationId,
        at: At,
        update: impl FnOnce(&mut Conversation),
    ) {
        let Some(mut conversation) = self.get(id).cloned() else { return };
        let before = conversation.stage.staff().cloned();
        let idle_since =
            before.as_ref().and_then(|staff| self.standing(staff)).map(|one| one.idle_since);
        update(&mut conversation);
        let same = conversation.stage.staff() == before.as_ref();
        self.put(id, conversation, at);
        // Nothing was given to the person or taken away.
        if let (true, Some(staff), Some(idle_since)) = (same, before, idle_since)
            && let Some(standing) = self.staff.get_mut(&staff)
        {
            standing.idle_since = idle_since;
        }
    }

    /// The customer wrote, or was answered: no index tells of that.
    pub(super) fn touch(&mut self, about: &About, touch: impl FnOnce(&mut Conversation)) {
        if let Some(held) = self.conversations.get_mut(&about.customer) {
            let mut held = Arc::make_mut(held).iter_mut();
            if let Some((_, one)) = held.find(|(known, _)| *known == about.id) {
                touch(one);
            }
        }
    }

    /// Somebody stands otherwise than before.
    pub(super) fn stand(&mut self, staff: &StaffId, post: Post, at: At) {
        let known = self.staff.remove(staff);
        if let Some(Standing { post, .. }) = &known {
            if let Some(place) = &post.place {
                remove(&mut self.crews, place, staff);
            }
            if let Some(until) = post.until {
                self.shifts.remove(&(until, staff.clone()));
            }
        }
        if let Some(place) = &post.place {
            self.crews.entry(place.clone()).or_default().insert(staff.clone());
        }
        self.shifts.extend(post.until.map(|until| (until, staff.clone())));
        let was_ready = known.as_ref().is_some_and(|known| known.post.is_ready());
        let idle_since = known.as_ref().map_or(at, |known| known.idle_since);
        let idle_since = if post.is_ready() && !was_ready { at } else { idle_since };
        let held = known.map(|known| known.held).unwrap_or_default();
        let gone = post.place.is_none() && held.is_empty();
        if !gone {
            self.staff.insert(staff.clone(), Standing { post, idle_since, held });
        }
        self.note_stranded(staff);
    }

    /// Conversations of one customer become the other's, with everything they have.
    pub(super) fn move_all(&mut self, from: CustomerId, to: CustomerId, at: At) {
        for id in self.ids_of(from) {
            self.update(id, at, |one| one.customer = to);
        }
    }

    /// Forgets the conversations of a customer; whoever had them is free again.
    pub(super) fn forget(&mut self, customer: CustomerId, at: At) {
        for id in self.ids_of(customer) {
            self.take(id, at);
        }
    }

    /// Closed long ago, the first ones first.
    pub(super) fn forgotten_by(&self, at: At) -> impl Iterator<Item = ConversationId> {
        let come =
            self.closed.iter().take_while(move |(closed_at, _)| forgets_at(*closed_at) <= at);
        come.map(|(_, id)| *id)
    }

    /// Forgets these.
    pub(super) fn forget_these(&mut self, ids: &[ConversationId], at: At) {
        for id in ids {
            self.take(*id, at);
        }
    }

    pub(super) fn restate_idle(&mut self, since: &[(StaffId, At)]) {
        for (staff, since) in since {
            if let Some(standing) = self.staff.get_mut(staff) {
                standing.idle_since = *since;
            }
        }
    }
}

/// By the full hour, so that many are forgotten by one record.
fn forgets_at(closed_at: At) -> At {
    const HOUR: i64 = 3_600_000;
    let earliest = closed_at.after(REMEMBERED_FOR).as_millis();
    At::from_millis(earliest.div_euclid(HOUR).saturating_add(1).saturating_mul(HOUR))
}

fn place_in_line(id: ConversationId, one: &Conversation) -> (Priority, At, ConversationId) {
    (one.priority, one.waiting_since, id)
}
