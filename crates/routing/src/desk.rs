//! Offers and what becomes of conversations, for those who have them, as it happens.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::StreamExt as _;
use mainstem_bus::engine::Applied;
use mainstem_bus::nats::{Configurations, InForce, News, Page, Scene, Thing, show};
use mainstem_bus::record::header;
use mainstem_bus::{Call, Machine as _, Stored, read_request, topology};
use mainstem_domain::access::Caller;
use mainstem_domain::configuration::Configuration;
use mainstem_domain::routing::{
    About, Conversation, ConversationEvent, ConversationView, Event, Input, Place, Post, State,
    Talk, Withdrawn,
};
use mainstem_domain::{BrandId, DeskId, Refusal, RefusalCode, StaffId, StoreId};
use mainstem_proto::field::{parse_optional, timestamp};
use mainstem_proto::watch::{desk_change, present_conversation, present_staff};
use mainstem_proto::wire::routing as wire;
use mainstem_runtime::service::{Told, Watch};
use serde::{Deserialize, Serialize};

use crate::RoutingMachine;
use crate::conversations::reaches_place;
use crate::queue::{HEARTBEAT, PAGE, event_of, no_broker};

/// The method behind the pages, which no face offers.
pub(crate) const METHOD: &str = "ListDesk";

/// Whose conversations a watch shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Lens {
    /// What a member of staff has or is asked about.
    Staff(StaffId),
    /// What those have who work somewhere, and what waits in line there.
    Place {
        /// Where.
        place: Place,
        /// Of a desk: the brands that it speaks for, as far as the caller may see them.
        brands: BTreeSet<BrandId>,
    },
    /// What the caller may see.
    All,
}

/// Whom a conversation concerns before or after a change, or who a member of staff is.
#[derive(Debug, Default, PartialEq, Eq)]
struct Concern {
    store: Option<StoreId>,
    brand: Option<BrandId>,
    waits: bool,
    people: Vec<Person>,
}

#[derive(Debug, PartialEq, Eq)]
struct Person {
    staff: StaffId,
    place: Option<Place>,
    brands: BTreeSet<BrandId>,
}

impl Lens {
    fn of(
        request: &wire::WatchDeskRequest,
        caller: &Caller,
        directory: &Configuration,
    ) -> Result<Self, Refusal> {
        let staff: Option<StaffId> = parse_optional("staff", &request.staff)?;
        let store: Option<StoreId> = parse_optional("store", &request.store)?;
        let desk: Option<DeskId> = parse_optional("desk", &request.desk)?;
        match (staff, store, desk) {
            (None, None, None) => Ok(Self::All),
            (Some(staff), None, None) => {
                let member = directory.staff.get(&staff);
                let member = member.ok_or_else(|| Refusal::not_found("staff", staff.as_str()))?;
                need(directory.is_among(member, caller), "staff", staff.as_str())?;
                Ok(Self::Staff(staff))
            }
            (None, Some(store), None) => {
                need(caller.reaches(Some(&store), None, None), "store", store.as_str())?;
                if !directory.stores.contains_key(&store) {
                    return Err(Refusal::not_found("store", store.as_str()));
                }
                Ok(Self::Place { place: Place::Store(store), brands: BTreeSet::new() })
            }
            (None, None, Some(desk)) => {
                let known = directory.desks.get(&desk);
                let known = known.ok_or_else(|| Refusal::not_found("desk", desk.as_str()))?;
                let reached = known.brands.iter();
                let reached = reached.filter(|brand| caller.reaches(None, None, Some(brand)));
                let brands: BTreeSet<_> = reached.cloned().collect();
                need(caller.scope.all || !brands.is_empty(), "desk", desk.as_str())?;
                Ok(Self::Place { place: Place::at_desk(directory, &desk), brands })
            }
            (Some(_), _, _) | (None, Some(_), Some(_)) => {
                Err(Refusal::field("desk", "give one of staff, store and desk".to_owned()))
            }
        }
    }

    fn name(&self, caller: &Caller) -> String {
        match self {
            Self::Staff(staff) => format!("desk of {staff}"),
            Self::Place { place: Place::Store(store), .. } => format!("store {store}"),
            Self::Place { place: Place::Desk(desk), .. } => format!("desk {desk}"),
            Self::Place { place: Place::Central, .. } => "central desk".to_owned(),
            Self::All => format!("all of {}", caller.name),
        }
    }

    fn shows(&self, caller: &Caller, concern: &Concern) -> bool {
        let Concern { store, brand, waits, people } = concern;
        match self {
            Self::Staff(staff) => people.iter().any(|person| person.staff == *staff),
            Self::Place { place, brands } => {
                let waits_there = match place {
                    Place::Store(there) => store.as_ref() == Some(there),
                    Place::Desk(_) => brand.as_ref().is_some_and(|brand| brands.contains(brand)),
                    Place::Central => true,
                };
                people.iter().any(|person| person.place.as_ref() == Some(place))
                    || (*waits && waits_there)
            }
            Self::All => {
                caller.reaches(store.as_ref(), None, brand.as_ref())
                    || people.iter().any(|person| person.is_reached(caller))
            }
        }
    }
}

impl Person {
    fn of(staff: &StaffId, post: &Post) -> Self {
        Self { staff: staff.clone(), place: post.place.clone(), brands: post.brands.clone() }
    }

    /// Where the directory says that somebody works.
    fn in_directory(directory: &Configuration, staff: &StaffId) -> Self {
        let member = directory.staff.get(staff);
        Self {
            staff: staff.clone(),
            place: member.and_then(|member| Place::of(directory, member)),
            brands: member.map(|one| directory.brands_of(one).clone()).unwrap_or_default(),
        }
    }

    fn is_reached(&self, caller: &Caller) -> bool {
        reaches_place(caller, self.place.as_ref(), &self.brands)
    }
}

impl Concern {
    fn now(state: &State, one: &Conversation) -> Self {
        let staff = one.stage.staff();
        let standing = staff.and_then(|staff| Some((staff, state.standing(staff)?)));
        Self {
            store: one.store.clone(),
            brand: one.brand.clone(),
            waits: one.stage == Talk::Waiting,
            people: standing.map(|(id, one)| Person::of(id, &one.post)).into_iter().collect(),
        }
    }

    /// Before or after what a record says; `None`: nobody.
    fn of(directory: &Configuration, event: &Event) -> Option<Self> {
        let person = |staff: &StaffId| Person::in_directory(directory, staff);
        let step = |about: &About, waits: bool, after: Option<&StaffId>| Self {
            store: about.store.clone(),
            brand: about.brand.clone(),
            waits: waits || about.staff.is_none(),
            people: about.staff.iter().chain(after).map(person).collect(),
        };
        let whole = |one: &Conversation| Self {
            store: one.store.clone(),
            brand: one.brand.clone(),
            waits: one.stage == Talk::Waiting,
            people: one.stage.staff().map(person).into_iter().collect(),
        };
        if let Event::Withdrawn(Withdrawn::Conversation { store, brand, staff, .. }) = event {
            return Some(Self {
                store: store.clone(),
                brand: brand.clone(),
                waits: staff.is_none(),
                people: staff.as_ref().map(person).into_iter().collect(),
            });
        }
        let Event::Conversation(event) = event else { return None };
        match event {
            ConversationEvent::Opened { conversation, .. }
            | ConversationEvent::Restated { conversation, .. } => Some(whole(conversation)),
            ConversationEvent::Offered { about, stage, .. } => {
                Some(step(about, *stage == Talk::Waiting, stage.staff()))
            }
            ConversationEvent::Accepted { about, staff }
            | ConversationEvent::Assigned { about, staff, .. } => {
                Some(step(about, false, Some(staff)))
            }
            ConversationEvent::Active { about, .. }
            | ConversationEvent::Tagged { about, .. }
            | ConversationEvent::Replied { about, .. }
            | ConversationEvent::Closed { about, .. } => Some(step(about, false, None)),
            ConversationEvent::Stands { staff, post, before } => {
                let now = Person::of(staff, post);
                let left = before.clone().map(|place| Person {
                    staff: staff.clone(),
                    place: Some(place),
                    brands: post.brands.clone(),
                });
                Some(Self { people: left.into_iter().chain([now]).collect(), ..Self::default() })
            }
            ConversationEvent::Reviewed { .. }
            | ConversationEvent::Forgotten { .. }
            | ConversationEvent::IdleRestated { .. } => None,
        }
    }
}

fn need(reached: bool, what: &str, name: &str) -> Result<(), Refusal> {
    if reached {
        return Ok(());
    }
    let message = format!("{what} {name} is not among the caller's");
    Err(Refusal::new(RefusalCode::PermissionDenied, "OUT_OF_SCOPE", message))
}

#[derive(Serialize, Deserialize)]
struct Ask {
    lens: Lens,
    after: String,
}

struct Desk {
    asked: Watch,
    lens: Lens,
    configurations: Configurations,
    /// What was in force when the last record was decided.
    directory: Arc<Applied>,
}

/// Opens `WatchDesk`.
///
/// Who works where is taken from the directory that was in force when a record was decided, so whoever
/// comes later is told the same. A record that was moved after a split is no news, and is passed over:
/// the conversation was said again of the customer whose it is.
pub(crate) async fn open(
    asked: Watch,
    request: wire::WatchDeskRequest,
) -> Result<Told<wire::WatchDeskResponse>, Refusal> {
    let (service, ledger) = (RoutingMachine::SERVICE, RoutingMachine::LEDGER);
    let directory = InForce::of(asked.bus.clone(), service, ledger).other_than(None).await;
    let directory = directory.map_err(|error| no_broker(&error))?.unwrap_or_default();
    let lens = Lens::of(&request, &asked.caller, &directory.configuration)?;
    let configurations = Configurations::open(&asked.bus).await;
    let configurations = configurations.map_err(|error| no_broker(&error))?;
    let (bus, stop) = (asked.bus.clone(), asked.stop.clone());
    let scene = Desk { asked, lens, configurations, directory };
    let told = show::<RoutingMachine, _>(&bus, scene, &request.resume_token, HEARTBEAT, stop);
    Ok(told.await?.map(|news| news.map(response)).boxed())
}

fn response(news: News<wire::WatchDeskResponse>) -> wire::WatchDeskResponse {
    let News { resume_token, record } = news;
    wire::WatchDeskResponse { resume_token, ..record.unwrap_or_default() }
}

impl Scene for Desk {
    type Told = wire::WatchDeskResponse;

    fn name(&self) -> String {
        self.lens.name(&self.asked.caller)
    }

    fn subjects(&self) -> Vec<String> {
        let staff = match &self.lens {
            Lens::Staff(staff) => topology::staff_subject(staff),
            Lens::Place { .. } | Lens::All => topology::ALL_STAFF.to_owned(),
        };
        vec![
            topology::ALL_CONVERSATIONS.to_owned(),
            staff,
            topology::ledger_subject(RoutingMachine::SERVICE, topology::WITHDRAWN),
        ]
    }

    async fn page(&self, after: &str) -> Result<String, Refusal> {
        let ask = Ask { lens: self.lens.clone(), after: after.to_owned() };
        let body = serde_json::to_string(&ask).unwrap_or_default();
        let Watch { handle, caller, call_id, .. } = &self.asked;
        handle.ask(METHOD, caller.clone(), body, format!("{call_id}/{after}")).await
    }

    async fn read(
        &mut self,
        message: &Stored,
    ) -> Result<Option<Thing<wire::WatchDeskResponse>>, Refusal> {
        let Some(event) = event_of(message)? else { return Ok(None) };
        let Some(told) = desk_change(&event) else { return Ok(None) };
        let digest = message.record.header(header::CONFIGURATION).unwrap_or_default();
        if self.directory.digest != digest {
            let directory = self.configurations.get(digest).await;
            self.directory = directory.map_err(|error| no_broker(&error))?;
        }
        let concern = Concern::of(&self.directory.configuration, &event);
        if !concern.is_some_and(|concern| self.lens.shows(&self.asked.caller, &concern)) {
            return Ok(None);
        }
        let key = match told.conversation.as_str() {
            "" => staff_key(&told.staff),
            conversation => conversation_key(conversation),
        };
        let told = wire::WatchDeskResponse {
            time: Some(timestamp(message.decided_at())),
            sequence: message.sequence,
            ..told
        };
        Ok(Some(Thing { key, told }))
    }
}

fn conversation_key(conversation: &str) -> String {
    format!("conversation/{conversation}")
}

fn staff_key(staff: &str) -> String {
    format!("staff/{staff}")
}

/// Open conversations, then staff. Looks at what is open alone, however much was closed.
pub(crate) fn list(state: &State, caller: &Caller, body: &[u8]) -> Result<Call<Input>, Refusal> {
    let Ask { lens, after } = read_request(body)?;
    let mut open: Vec<_> = match &lens {
        Lens::Staff(staff) => {
            let standing = state.standing(staff).into_iter();
            standing.flat_map(|one| state.these_conversations(&one.held)).collect()
        }
        Lens::Place { .. } | Lens::All => state.held().chain(state.in_line()).collect(),
    };
    open.retain(|(id, one)| {
        conversation_key(id.as_str()) > after && lens.shows(caller, &Concern::now(state, one))
    });
    open.sort_by_key(|(id, _)| *id);
    let staff = state.staff_after(None).filter(|(staff, standing)| {
        let people = vec![Person::of(staff, &standing.post)];
        staff_key(staff.as_str()) > after
            && lens.shows(caller, &Concern { people, ..Concern::default() })
    });
    let conversations = open.into_iter().map(|(id, one)| Thing {
        key: conversation_key(id.as_str()),
        told: present_conversation(&ConversationView { id, conversation: one.clone() }),
    });
    let staff = staff.map(|(staff, standing)| Thing {
        key: staff_key(staff.as_str()),
        told: present_staff(staff, standing),
    });
    let things: Vec<_> = conversations.chain(staff).take(PAGE).collect();
    let more = things.len() == PAGE;
    Ok(Call::Look(serde_json::to_string(&Page { things, more }).unwrap_or_default()))
}
