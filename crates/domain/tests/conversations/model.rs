//! Conversations and offers as they would be played with paper and pencil: two lists,
//! looked through from the top each time.

use std::collections::BTreeMap;
use std::time::Duration;

use mainstem_domain::configuration::{Configuration, Priority, StaffMember, Target, Who};
use mainstem_domain::custody;
use mainstem_domain::person::{Act, ChannelEvent};
use mainstem_domain::routing::{Actor, ConversationInput, Input, Opened, Talk};
use mainstem_domain::{At, BrandId, ConversationId, CustomerId, StaffId, StoreId, Wakeup};

#[derive(Clone, Debug)]
struct Chat {
    id: ConversationId,
    customer: CustomerId,
    brand: Option<BrandId>,
    store: Option<StoreId>,
    priority: Priority,
    waiting_since: At,
    active_at: At,
    chain: Vec<Target>,
    talk: Talk,
    passed: BTreeMap<StaffId, At>,
}

#[derive(Clone, Debug)]
struct Person {
    available: bool,
    own_capacity: Option<u32>,
    capacity: u32,
    on_shift: bool,
    /// When the shift that was looked up last ends or begins.
    until: Option<At>,
    member: Option<StaffMember>,
    idle_since: At,
    /// How many were assigned beyond the capacity, or were there when it was lowered.
    over: usize,
}

#[derive(Default)]
pub(crate) struct Model {
    chats: Vec<Chat>,
    people: BTreeMap<StaffId, Person>,
    gone: Vec<CustomerId>,
    bound: Vec<(CustomerId, BrandId, StaffId, At)>,
}

const FIVE_MINUTES: Duration = Duration::from_mins(5);

impl Model {
    pub(crate) fn talk(&self, id: ConversationId) -> Option<Talk> {
        self.chats.iter().find(|chat| chat.id == id).map(|chat| chat.talk.clone())
    }

    pub(crate) fn waiting_since(&self, id: ConversationId) -> Option<At> {
        self.chats.iter().find(|chat| chat.id == id).map(|chat| chat.waiting_since)
    }

    pub(crate) fn customer(&self, id: ConversationId) -> Option<CustomerId> {
        self.chats.iter().find(|chat| chat.id == id).map(|chat| chat.customer)
    }

    pub(crate) fn waiting(&self) -> usize {
        self.chats.iter().filter(|chat| chat.talk == Talk::Waiting).count()
    }

    pub(crate) fn load(&self, staff: &StaffId) -> usize {
        self.chats.iter().filter(|chat| chat.talk.staff() == Some(staff)).count()
    }

    pub(crate) fn allowed_over(&self, staff: &StaffId) -> usize {
        self.people.get(staff).map_or(0, |person| person.over)
    }

    /// `opened`: the id that the machine gave the last conversation that it opened.
    pub(crate) fn input(
        &mut self,
        config: &Configuration,
        input: &Input,
        opened: Option<ConversationId>,
        at: At,
    ) {
        match input {
            Input::Channel { customer, code: Some(code), .. } => {
                let Opened::Code(claims) = code.opened else { panic!("no forged codes here") };
                let brand = claims.brand.and_then(|brand| config.brand_of(brand)).unwrap();
                // A code of somebody who has left binds nobody.
                if let Some(staff) = config.staff_of(claims.staff) {
                    self.bound.push((*customer, brand.clone(), staff.clone(), at));
                }
            }
            Input::Channel { customer, event, .. } => {
                self.said(config, *customer, event, opened, at);
            }
            Input::Merged { survivor, absorbed } => {
                let involved = [survivor, absorbed];
                if !self.gone.iter().any(|gone| involved.contains(&gone)) {
                    for chat in self.chats.iter_mut().filter(|chat| chat.customer == *absorbed) {
                        chat.customer = *survivor;
                    }
                    for bound in self.bound.iter_mut().filter(|bound| bound.0 == *absorbed) {
                        bound.0 = *survivor;
                    }
                }
            }
            Input::Custody(custody::Input::Erased { customers, .. }) => {
                self.gone.extend(customers);
                self.bound.retain(|bound| !customers.contains(&bound.0));
                let lost: Vec<_> = self
                    .chats
                    .iter()
                    .filter(|c| customers.contains(&c.customer))
                    .cloned()
                    .collect();
                self.chats.retain(|chat| !customers.contains(&chat.customer));
                let mut free: Vec<_> = lost.iter().filter_map(|chat| chat.talk.staff()).collect();
                free.sort();
                for staff in free {
                    self.settle(config, Some(staff.clone()), at);
                }
            }
            Input::Conversation { wish, .. } => self.command(config, wish, at),
            Input::Wakeup(Wakeup::Due) => {
                self.due(config, at);
                // A month after it was closed, by the full hour.
                let hour = 3_600_000;
                self.chats.retain(|chat| match chat.talk {
                    Talk::Closed { at: closed, .. } => {
                        at.as_millis() / hour <= (closed.as_millis() + 30 * 24 * hour) / hour
                    }
                    _ => true,
                });
            }
            Input::Wakeup(Wakeup::Configured) => {
                for staff in self.people.keys().cloned().collect::<Vec<_>>() {
                    self.look_up(config, &staff, at);
                }
            }
            other => panic!("no operation leads to {other:?}"),
        }
        for person in self.people.keys().cloned().collect::<Vec<_>>() {
            let load = self.load(&person);
            let person = self.people.get_mut(&person).unwrap();
            person.over = person.over.min(load.saturating_sub(person.capacity as usize));
        }
    }

    fn said(
        &mut self,
        config: &Configuration,
        customer: CustomerId,
        event: &ChannelEvent,
        opened: Option<ConversationId>,
        at: At,
    ) {
        let menu = match &event.act {
            Act::Postback(data) => Some(data.as_str()),
            _ => None,
        };
        let mut brand = event.brand.clone();
        if menu.is_none() && brand.is_none() {
            let own = self.chats.iter().filter(|chat| chat.customer == customer);
            // Of two of the same moment the one with the later id.
            let mut own: Vec<_> = own.collect();
            own.sort_by_key(|chat| (chat.active_at, chat.id));
            brand = own.last().and_then(|chat| chat.brand.clone());
        }
        let mut same: Vec<usize> = (0..self.chats.len())
            .filter(|at| self.chats[*at].customer == customer && self.chats[*at].brand == brand)
            .collect();
        same.sort_by_key(|at| {
            let chat = &self.chats[*at];
            (!chat.talk.is_closed(), chat.active_at, chat.id)
        });
        let known = same.last().copied();
        let open = known.filter(|index| !self.chats[*index].talk.is_closed());
        let rule = menu.and_then(|menu| match menu {
            "menu=m0" => Some(&config.rules[0]),
            "menu=m1" => Some(&config.rules[1]),
            _ => None,
        });
        if menu == Some("menu=m3") {
            if let Some(index) = open {
                let had = self.has(index);
                self.free(index, Talk::Closed { by: "r3".to_owned(), at }, at);
                self.settle(config, had, at);
            }
            return;
        }
        if let Some(index) = open {
            if menu.is_none() || rule.is_some() {
                self.chats[index].active_at = at;
            }
            return;
        }
        let Some(rule) = rule else { return };
        let index = known.unwrap_or_else(|| {
            self.chats.push(Chat {
                id: opened.unwrap(),
                customer,
                brand,
                store: None,
                priority: Priority::P3,
                waiting_since: at,
                active_at: at,
                chain: Vec::new(),
                talk: Talk::Waiting,
                passed: BTreeMap::new(),
            });
            self.chats.len() - 1
        });
        let chat = &mut self.chats[index];
        chat.store = event.store.clone().or(chat.store.take());
        chat.priority = rule.priority;
        chat.waiting_since = at;
        chat.active_at = at;
        chat.chain.clone_from(&rule.targets);
        chat.passed.clear();
        self.offer(config, index, 0, None, at);
    }

    fn command(&mut self, config: &Configuration, input: &ConversationInput, at: At) {
        let find = |model: &Self, id| model.chats.iter().position(|chat| chat.id == id);
        let may = |talk: &Talk, actor: &Actor| {
            actor.overrules || (talk.holder().is_some() && talk.holder() == actor.staff.as_ref())
        };
        match input {
            ConversationInput::Presence { staff, available, capacity } => {
                if !config.staff.contains_key(staff) {
                    return;
                }
                let person = self.people.entry(staff.clone()).or_insert(Person {
                    available: false,
                    own_capacity: None,
                    capacity: 0,
                    on_shift: false,
                    until: None,
                    member: None,
                    idle_since: at,
                    over: 0,
                });
                let ready = person.available && person.on_shift;
                person.available = *available;
                person.own_capacity = *capacity;
                self.look_up_from(config, staff, ready, at);
            }
            ConversationInput::Accept { conversation, staff } => {
                let Some(index) = find(self, *conversation) else { return };
                let fits = match &self.chats[index].talk {
                    Talk::Offered { staff: asked, .. } => asked == staff,
                    Talk::Waiting => self.ready(staff) && self.spare(staff) > 0,
                    Talk::InProgress { .. } | Talk::Closed { .. } => false,
                };
                if fits {
                    self.give(index, Talk::InProgress { staff: staff.clone(), at }, at);
                }
            }
            ConversationInput::Reject { conversation, staff } => {
                let Some(index) = find(self, *conversation) else { return };
                if let Talk::Offered { staff: asked, .. } = &self.chats[index].talk
                    && asked == staff
                {
                    let had = self.has(index);
                    self.next(config, index, true, at);
                    self.settle(config, had, at);
                }
            }
            ConversationInput::Assign { conversation, to, actor, .. } => {
                let Some(index) = find(self, *conversation) else { return };
                let talk = &self.chats[index].talk;
                if talk.is_closed()
                    || !may(talk, actor)
                    || talk.holder() == Some(to)
                    || !self.ready(to)
                {
                    return;
                }
                let had = self.has(index);
                self.give(index, Talk::InProgress { staff: to.clone(), at }, at);
                let load = self.load(to);
                let person = self.people.get_mut(to).unwrap();
                person.over = load.saturating_sub(person.capacity as usize);
                self.settle(config, had, at);
            }
            ConversationInput::Transfer { conversation, to, actor } => {
                let Some(index) = find(self, *conversation) else { return };
                let talk = self.chats[index].talk.clone();
                if talk.is_closed() || !may(&talk, actor) {
                    return;
                }
                let chat = &mut self.chats[index];
                let named = |who: Who| chat.chain.iter().find(|target| target.who == who).copied();
                let three = Some(Duration::from_mins(3));
                let first =
                    Target { who: *to, within: named(*to).and_then(|t| t.within).or(three) };
                let central = Target { who: Who::CentralDesk, within: None };
                let central = named(Who::CentralDesk).unwrap_or(central);
                let first = (*to != Who::CentralDesk).then_some(first);
                chat.chain = first.into_iter().chain([central]).collect();
                chat.passed.retain(|_, when| at.since(*when) < FIVE_MINUTES);
                if let Some(staff) = talk.staff() {
                    chat.passed.insert(staff.clone(), at);
                }
                let had = self.has(index);
                self.offer(config, index, 0, None, at);
                self.settle(config, had, at);
            }
            ConversationInput::Reply { .. } => {}
            ConversationInput::Close { conversation, actor } => {
                let Some(index) = find(self, *conversation) else { return };
                let talk = &self.chats[index].talk;
                if talk.is_closed() || !may(talk, actor) {
                    return;
                }
                let had = self.has(index);
                self.free(index, Talk::Closed { by: actor.by.clone(), at }, at);
                self.settle(config, had, at);
            }
        }
    }

    fn due(&mut self, config: &Configuration, at: At) {
        let shifts =
            self.people.iter().filter_map(|(staff, one)| Some((one.until?, staff.clone())));
        let mut shifts: Vec<_> = shifts.filter(|(until, _)| *until <= at).collect();
        shifts.sort();
        for (_, staff) in shifts {
            self.look_up(config, &staff, at);
        }
        loop {
            let lost = self.chats.iter().enumerate().filter_map(|(index, chat)| {
                let staff = chat.talk.staff().filter(|staff| !self.ready(staff))?;
                Some((staff.clone(), chat.id, index))
            });
            let Some((_, _, index)) = lost.min() else { break };
            let had = self.has(index);
            self.next(config, index, false, at);
            self.settle(config, had, at);
        }
        let offered = |chat: &&Chat| chat.talk != Talk::Waiting;
        let times = self.chats.iter().filter(offered);
        let times = times.filter_map(|chat| Some((Self::deadline(chat)?, chat.id)));
        let mut times: Vec<_> = times.filter(|(time, _)| *time <= at).collect();
        times.sort();
        for (_, id) in times {
            let index = self.chats.iter().position(|chat| chat.id == id).unwrap();
            if Self::deadline(&self.chats[index]).is_some_and(|time| time <= at) {
                let had = self.has(index);
                self.next(config, index, true, at);
                self.settle(config, had, at);
            }
        }
        // Whoever passed something long enough ago can be asked again.
        let waits = |chat: &&Chat| chat.talk == Talk::Waiting;
        let mut waiting: Vec<_> = self.chats.iter().filter(waits).cloned().collect();
        waiting.retain(|chat| Self::deadline(chat).is_some_and(|time| time <= at));
        waiting.sort_by_key(|chat| (chat.priority, chat.waiting_since, chat.id));
        for Chat { id, .. } in waiting {
            let index = self.chats.iter().position(|chat| chat.id == id).unwrap();
            if self.chats[index].talk == Talk::Waiting {
                self.next(config, index, false, at);
            }
        }
    }

    fn deadline(chat: &Chat) -> Option<At> {
        match &chat.talk {
            Talk::Offered { until, .. } => Some(*until),
            Talk::Waiting => chat.passed.values().map(|when| when.after(FIVE_MINUTES)).min(),
            Talk::InProgress { .. } | Talk::Closed { .. } => None,
        }
    }

    /// Whoever has it loses it, and the next one is asked.
    fn next(&mut self, config: &Configuration, index: usize, passes: bool, at: At) {
        let chat = &mut self.chats[index];
        chat.passed.retain(|_, when| at.since(*when) < FIVE_MINUTES);
        let (from, until) = match &chat.talk {
            Talk::Offered { staff, target, target_until, .. } => {
                if passes {
                    chat.passed.insert(staff.clone(), at);
                }
                match target_until {
                    Some(until) if *until <= at => (target + 1, None),
                    until => (*target, *until),
                }
            }
            Talk::Waiting => (chat.chain.len() - 1, None),
            Talk::InProgress { .. } | Talk::Closed { .. } => (0, None),
        };
        self.offer(config, index, from, until, at);
    }

    fn offer(
        &mut self,
        config: &Configuration,
        index: usize,
        from: usize,
        until: Option<At>,
        at: At,
    ) {
        // Whoever has it now gives it back first.
        let chat = self.chats[index].clone();
        for (number, target) in chat.chain.iter().enumerate().skip(from) {
            let Some(staff) = self.best(config, &chat, target.who, at) else { continue };
            let last = number + 1 == chat.chain.len();
            let kept = until.filter(|_| number == from);
            let target_until =
                kept.or(target.within.map(|within| at.after(within))).filter(|_| !last);
            let until =
                target_until.unwrap_or(at.after(target.within.unwrap_or(Duration::from_mins(3))));
            let talk = Talk::Offered { staff, target: number, until, target_until };
            return self.give(index, talk, at);
        }
        self.free(index, Talk::Waiting, at);
    }

    fn best(&self, config: &Configuration, chat: &Chat, who: Who, at: At) -> Option<StaffId> {
        if who == Who::BoundStaff {
            let theirs = self.bound.iter().filter(|(customer, brand, ..)| {
                *customer == chat.customer && Some(brand) == chat.brand.as_ref()
            });
            let (_, _, bound, _) = theirs.max_by_key(|(.., at)| *at)?;
            let delegate = config.staff.get(bound).and_then(|member| member.delegate.clone());
            let one_of_two = [Some(bound.clone()), delegate];
            let free = self.free_at(config, chat, who, at);
            return one_of_two.into_iter().flatten().find(|staff| free.contains(staff));
        }
        self.free_at(config, chat, who, at).first().cloned()
    }

    fn free_at(&self, config: &Configuration, chat: &Chat, who: Who, at: At) -> Vec<StaffId> {
        let works = |member: &StaffMember| match who {
            Who::BoundStaff => true,
            Who::StoreOnShift => chat.store.is_some() && member.store == chat.store,
            Who::BrandDesk => {
                let desk = member.desk.as_ref().and_then(|desk| config.desks.get(desk));
                desk.is_some_and(|desk| {
                    chat.brand.as_ref().is_some_and(|b| desk.brands.contains(b))
                })
            }
            Who::CentralDesk => {
                let desk = member.desk.as_ref().and_then(|desk| config.desks.get(desk));
                desk.is_some_and(|desk| desk.brands.is_empty())
            }
        };
        let free = self.people.iter().filter(|(staff, person)| {
            let passed = chat.passed.get(*staff).is_some_and(|w| at.since(*w) < FIVE_MINUTES);
            self.ready(staff)
                && self.spare(staff) > 0
                && !passed
                && person.member.as_ref().is_some_and(|member| {
                    let desk = member.desk.as_ref().and_then(|desk| config.desks.get(desk));
                    let of_desk = desk.map(|desk| desk.brands.clone()).unwrap_or_default();
                    let own = if member.brands.is_empty() { &of_desk } else { &member.brands };
                    works(member)
                        && (own.is_empty()
                            || chat.brand.as_ref().is_none_or(|brand| own.contains(brand)))
                })
        });
        let mut free: Vec<_> = free.map(|(staff, _)| staff).collect();
        free.sort_by_key(|staff| {
            let spare = i64::try_from(self.spare(staff)).unwrap();
            (-spare, self.people[*staff].idle_since, (*staff).clone())
        });
        free.into_iter().cloned().collect()
    }

    /// As long as somebody at the central desk who was freed has room for somebody in line.
    fn settle(&mut self, config: &Configuration, freed: Option<StaffId>, at: At) {
        let Some(freed) = freed else { return };
        loop {
            let mut line: Vec<_> = (0..self.chats.len())
                .filter(|index| self.chats[*index].talk == Talk::Waiting)
                .collect();
            line.sort_by_key(|index| {
                let chat = &self.chats[*index];
                (chat.priority, chat.waiting_since, chat.id)
            });
            let served = line.into_iter().find(|index| {
                let free = self.free_at(config, &self.chats[*index], Who::CentralDesk, at);
                free.contains(&freed)
            });
            let Some(index) = served else { return };
            self.next(config, index, false, at);
        }
    }

    fn has(&self, index: usize) -> Option<StaffId> {
        self.chats[index].talk.staff().cloned()
    }

    fn ready(&self, staff: &StaffId) -> bool {
        self.people.get(staff).is_some_and(|person| person.available && person.on_shift)
    }

    fn spare(&self, staff: &StaffId) -> usize {
        (self.people[staff].capacity as usize).saturating_sub(self.load(staff))
    }

    fn give(&mut self, index: usize, talk: Talk, at: At) {
        let before = self.chats[index].talk.staff().cloned();
        let after = talk.staff().cloned();
        if matches!(talk, Talk::InProgress { .. }) {
            self.chats[index].passed.clear();
        }
        self.chats[index].talk = talk;
        if before != after {
            self.touch(before.as_ref(), at);
            self.touch(after.as_ref(), at);
        }
    }

    fn free(&mut self, index: usize, talk: Talk, at: At) {
        let before = self.chats[index].talk.staff().cloned();
        if talk.is_closed() {
            self.chats[index].passed.clear();
        }
        self.chats[index].talk = talk;
        self.touch(before.as_ref(), at);
    }

    fn touch(&mut self, staff: Option<&StaffId>, at: At) {
        if let Some(person) = staff.and_then(|staff| self.people.get_mut(staff)) {
            person.idle_since = at;
        }
    }

    fn look_up(&mut self, config: &Configuration, staff: &StaffId, at: At) {
        let ready = self.ready(staff);
        self.look_up_from(config, staff, ready, at);
    }

    fn look_up_from(&mut self, config: &Configuration, staff: &StaffId, was_ready: bool, at: At) {
        let load = self.load(staff);
        let person = self.people.get_mut(staff).unwrap();
        person.member = config.staff.get(staff).cloned();
        if let Some(member) = &person.member {
            let shift = member.shift.as_ref().map(|shift| &config.calendars[shift]);
            // Open in the millisecond that begins now.
            person.on_shift = shift.is_none_or(|shift| {
                !shift.open_between(at, At::from_millis(at.as_millis() + 1)).is_zero()
            });
            person.until = shift
                .filter(|_| person.available)
                .map(|shift| if person.on_shift { end_of(shift, at) } else { begin_of(shift, at) });
            person.capacity = person.own_capacity.unwrap_or(member.capacity);
        } else {
            person.available = false;
            person.own_capacity = None;
            person.on_shift = false;
            person.until = None;
            person.capacity = 0;
        }
        person.over = person.over.max(load.saturating_sub(person.capacity as usize));
        if person.available && person.on_shift && !was_ready {
            person.idle_since = at;
        }
        let gone = person.member.is_none();
        if gone && load == 0 {
            self.people.remove(staff);
        }
        self.settle(config, Some(staff.clone()), at);
    }
}

/// Minute by minute, as somebody with a calendar on the wall would.
fn begin_of(calendar: &mainstem_domain::configuration::Calendar, at: At) -> At {
    let minute = Duration::from_mins(1);
    let mut from = At::from_millis(at.as_millis() / 60_000 * 60_000);
    while calendar.open_between(from, from.after(minute)).is_zero() || from <= at {
        from = from.after(minute);
    }
    from
}

fn end_of(calendar: &mainstem_domain::configuration::Calendar, at: At) -> At {
    let minute = Duration::from_mins(1);
    let midnight = |at: At| (at.as_millis() + 8 * 3_600_000) % 86_400_000 == 0;
    let mut from = At::from_millis(at.as_millis() / 60_000 * 60_000);
    // Hours of two days that touch at midnight are two.
    loop {
        from = from.after(minute);
        if calendar.open_between(from, from.after(minute)).is_zero() || midnight(from) {
            return from;
        }
    }
}
