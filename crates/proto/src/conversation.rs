//! Conversations and staff: records and answers.

use std::collections::BTreeSet;
use std::time::Duration;

use mainstem_domain::configuration::{Target, Who};
use mainstem_domain::person::ReplyRight;
use mainstem_domain::routing::{
    About, Conversation, ConversationEvent, ConversationView, OfferEnd, PassedOver, Place, Post,
    Standing, Talk, Why,
};
use mainstem_domain::{At, ConversationId, StaffId};

use crate::case::parse_priority;
use crate::error::{DecodeError, FieldError};
use crate::field::{
    parse_all, parse_carrier, parse_channel, parse_customer, parse_id, parse_optional, parse_time,
    text, timestamp,
};
use crate::record::{self, Encoded};
use crate::wire::routing as wire;

/// A conversation begins.
pub const CONVERSATION_OPENED: &str = "mainstem.routing.conversation-opened.v1";
/// The customer wrote while it was open.
pub const CONVERSATION_ACTIVE: &str = "mainstem.routing.conversation-active.v1";
/// A rule marked it.
pub const CONVERSATION_TAGGED: &str = "mainstem.routing.conversation-tagged.v1";
/// It was offered to somebody, or waits in line.
pub const CONVERSATION_OFFERED: &str = "mainstem.routing.conversation-offered.v1";
/// Somebody has it.
pub const CONVERSATION_ACCEPTED: &str = "mainstem.routing.conversation-accepted.v1";
/// Somebody gave it to a person.
pub const CONVERSATION_ASSIGNED: &str = "mainstem.routing.conversation-assigned.v1";
/// Its holder answered.
pub const CONVERSATION_REPLIED: &str = "mainstem.routing.conversation-replied.v1";
/// It is over.
pub const CONVERSATION_CLOSED: &str = "mainstem.routing.conversation-closed.v1";
/// It belongs to a piece of the customer that it belonged to.
pub const CONVERSATION_RESTATED: &str = "mainstem.routing.conversation-restated.v1";
/// Conversations that were closed long ago are remembered no more.
pub const CONVERSATIONS_FORGOTTEN: &str = "mainstem.routing.conversations-forgotten.v1";
/// How a member of staff stands.
pub const STAFF_STANDS: &str = "mainstem.routing.staff-stands.v1";
/// Some of the staff were looked at.
pub const STAFF_REVIEWED: &str = "mainstem.routing.staff-reviewed.v1";
/// Since when everybody is idle.
pub const STAFF_IDLE_RESTATED: &str = "mainstem.routing.staff-idle-restated.v1";

/// The kinds of all these records.
pub const KINDS: [&str; 13] = [
    CONVERSATION_OPENED,
    CONVERSATION_ACTIVE,
    CONVERSATION_TAGGED,
    CONVERSATION_OFFERED,
    CONVERSATION_ACCEPTED,
    CONVERSATION_ASSIGNED,
    CONVERSATION_REPLIED,
    CONVERSATION_CLOSED,
    CONVERSATION_RESTATED,
    CONVERSATIONS_FORGOTTEN,
    STAFF_STANDS,
    STAFF_REVIEWED,
    STAFF_IDLE_RESTATED,
];

/// The record of an event.
#[must_use]
pub fn encode(event: &ConversationEvent) -> Encoded {
    match event {
        ConversationEvent::Opened { id, conversation, again, passed_over } => record::write(
            CONVERSATION_OPENED,
            &wire::ConversationOpened {
                conversation: Some(conversation_to_wire(*id, conversation)),
                again: *again,
                passed_over: passed_over.iter().map(passed_over_to_wire).collect(),
            },
        ),
        ConversationEvent::Restated { id, conversation } => record::write(
            CONVERSATION_RESTATED,
            &wire::ConversationRestated {
                conversation: Some(conversation_to_wire(*id, conversation)),
            },
        ),
        ConversationEvent::Forgotten { ids } => record::write(
            CONVERSATIONS_FORGOTTEN,
            &wire::ConversationsForgotten {
                conversations: ids.iter().map(ToString::to_string).collect(),
            },
        ),
        ConversationEvent::Stands { staff, post, before } => {
            let (previous_store, previous_desk, previous_central) = place_to_wire(before.as_ref());
            let standing = Some(post_to_wire(staff, post));
            record::write(
                STAFF_STANDS,
                &wire::StaffStands { standing, previous_store, previous_desk, previous_central },
            )
        }
        ConversationEvent::Reviewed { up_to, again } => record::write(
            STAFF_REVIEWED,
            &wire::StaffReviewed { up_to: text(up_to.as_ref()), again: *again },
        ),
        ConversationEvent::IdleRestated { since } => {
            let staff = since.iter().map(|(staff, since)| wire::StaffIdle {
                staff: staff.to_string(),
                idle_start_time: Some(timestamp(*since)),
            });
            record::write(STAFF_IDLE_RESTATED, &wire::StaffIdleRestated { staff: staff.collect() })
        }
        ConversationEvent::Active { about, .. }
        | ConversationEvent::Tagged { about, .. }
        | ConversationEvent::Offered { about, .. }
        | ConversationEvent::Accepted { about, .. }
        | ConversationEvent::Assigned { about, .. }
        | ConversationEvent::Replied { about, .. }
        | ConversationEvent::Closed { about, .. } => encode_step(about, event),
    }
}

/// What becomes of one conversation.
#[expect(clippy::too_many_lines, reason = "one arm for each event")]
fn encode_step(about: &About, event: &ConversationEvent) -> Encoded {
    let conversation = about.id.to_string();
    let customer = about.customer.to_string();
    let carrier = text(about.carrier.as_ref());
    let (store, brand) = (text(about.store.as_ref()), text(about.brand.as_ref()));
    let previous_staff = text(about.staff.as_ref());
    match event {
        ConversationEvent::Active { event, rule, reply, .. } => record::write(
            CONVERSATION_ACTIVE,
            &wire::ConversationActive {
                previous_staff,
                conversation,
                customer,
                carrier,
                store,
                brand,
                event: event.to_string(),
                rule: rule.clone().unwrap_or_default(),
                reply_token: reply.as_ref().map(|right| right.token.clone()).unwrap_or_default(),
                reply_receive_time: reply.as_ref().map(|right| timestamp(right.received_at)),
            },
        ),
        ConversationEvent::Tagged { tags, rule, .. } => record::write(
            CONVERSATION_TAGGED,
            &wire::ConversationTagged {
                previous_staff,
                conversation,
                customer,
                carrier,
                store,
                brand,
                tags: tags.iter().map(ToString::to_string).collect(),
                rule: rule.clone(),
            },
        ),
        ConversationEvent::Offered { stage, ended, chain, passed, passed_over, .. } => {
            record::write(
                CONVERSATION_OFFERED,
                &wire::ConversationOffered {
                    conversation,
                    customer,
                    carrier,
                    store,
                    brand,
                    talk: Some(talk_to_wire(stage)),
                    previous_staff,
                    ended: ended.name().to_owned(),
                    targets: chain.iter().flatten().map(target_to_wire).collect(),
                    passed: passed.iter().map(passed_to_wire).collect(),
                    passed_over: passed_over.iter().map(passed_over_to_wire).collect(),
                },
            )
        }
        ConversationEvent::Accepted { staff, .. } => record::write(
            CONVERSATION_ACCEPTED,
            &wire::ConversationAccepted {
                previous_staff,
                conversation,
                customer,
                carrier,
                store,
                brand,
                staff: staff.to_string(),
            },
        ),
        ConversationEvent::Assigned { staff, by, reason, .. } => record::write(
            CONVERSATION_ASSIGNED,
            &wire::ConversationAssigned {
                conversation,
                customer,
                carrier,
                store,
                brand,
                previous_staff,
                staff: staff.to_string(),
                actor: by.clone(),
                reason: reason.clone(),
            },
        ),
        ConversationEvent::Replied { staff, .. } => record::write(
            CONVERSATION_REPLIED,
            &wire::ConversationReplied {
                previous_staff,
                conversation,
                customer,
                carrier,
                store,
                brand,
                staff: staff.to_string(),
            },
        ),
        ConversationEvent::Closed { by, .. } => record::write(
            CONVERSATION_CLOSED,
            &wire::ConversationClosed {
                conversation,
                customer,
                carrier,
                store,
                brand,
                previous_staff,
                actor: by.clone(),
            },
        ),
        ConversationEvent::Opened { .. }
        | ConversationEvent::Restated { .. }
        | ConversationEvent::Forgotten { .. }
        | ConversationEvent::Stands { .. }
        | ConversationEvent::Reviewed { .. }
        | ConversationEvent::IdleRestated { .. } => encode(event),
    }
}

/// What every record about one conversation says alike.
macro_rules! about {
    ($record:ident) => {
        about([
            &$record.conversation,
            &$record.customer,
            &$record.carrier,
            &$record.store,
            &$record.brand,
            &$record.previous_staff,
        ])
    };
}

fn about(
    [conversation, customer, carrier, store, brand, staff]: [&str; 6],
) -> Result<About, FieldError> {
    Ok(About {
        id: parse_id("conversation", conversation)?,
        customer: parse_customer("customer", customer)?,
        carrier: parse_carrier("carrier", carrier)?,
        store: parse_optional("store", store)?,
        brand: parse_optional("brand", brand)?,
        staff: parse_optional("previous_staff", staff)?,
    })
}

/// The event of a record that [`encode`] made.
pub fn decode(kind: &str, body: &[u8]) -> Result<ConversationEvent, DecodeError> {
    match kind {
        CONVERSATION_OPENED => {
            let record: wire::ConversationOpened = record::read(body)?;
            let ConversationView { id, conversation } = held(record.conversation)?;
            let passed_over = all(&record.passed_over, passed_over_from)?;
            Ok(ConversationEvent::Opened { id, conversation, again: record.again, passed_over })
        }
        CONVERSATION_RESTATED => {
            let record: wire::ConversationRestated = record::read(body)?;
            let ConversationView { id, conversation } = held(record.conversation)?;
            Ok(ConversationEvent::Restated { id, conversation })
        }
        CONVERSATION_ACTIVE => {
            let record: wire::ConversationActive = record::read(body)?;
            Ok(ConversationEvent::Active {
                about: about!(record)?,
                event: parse_id("event", &record.event)?,
                rule: (!record.rule.is_empty()).then_some(record.rule),
                reply: reply_from(record.reply_token, record.reply_receive_time)?,
            })
        }
        CONVERSATION_TAGGED => {
            let record: wire::ConversationTagged = record::read(body)?;
            Ok(ConversationEvent::Tagged {
                about: about!(record)?,
                tags: parse_all("tags", &record.tags)?,
                rule: record.rule,
            })
        }
        CONVERSATION_OFFERED => {
            let record: wire::ConversationOffered = record::read(body)?;
            let chain = all(&record.targets, target_from)?;
            let ended = OfferEnd::from_name(&record.ended)
                .ok_or_else(|| FieldError::new("ended", "is no way in which an offer ends"))?;
            Ok(ConversationEvent::Offered {
                about: about!(record)?,
                stage: talk_from(record.talk)?,
                ended,
                chain: (!chain.is_empty()).then_some(chain),
                passed: all(&record.passed, passed_from)?,
                passed_over: all(&record.passed_over, passed_over_from)?,
            })
        }
        CONVERSATION_ACCEPTED => {
            let record: wire::ConversationAccepted = record::read(body)?;
            Ok(ConversationEvent::Accepted {
                about: about!(record)?,
                staff: parse_id("staff", &record.staff)?,
            })
        }
        CONVERSATION_ASSIGNED => {
            let record: wire::ConversationAssigned = record::read(body)?;
            Ok(ConversationEvent::Assigned {
                about: about!(record)?,
                staff: parse_id("staff", &record.staff)?,
                by: record.actor,
                reason: record.reason,
            })
        }
        CONVERSATION_REPLIED => {
            let record: wire::ConversationReplied = record::read(body)?;
            Ok(ConversationEvent::Replied {
                about: about!(record)?,
                staff: parse_id("staff", &record.staff)?,
            })
        }
        CONVERSATION_CLOSED => {
            let record: wire::ConversationClosed = record::read(body)?;
            Ok(ConversationEvent::Closed { about: about!(record)?, by: record.actor })
        }
        _ => decode_staff(kind, body),
    }
}

/// What names no customer.
fn decode_staff(kind: &str, body: &[u8]) -> Result<ConversationEvent, DecodeError> {
    match kind {
        CONVERSATIONS_FORGOTTEN => {
            let record: wire::ConversationsForgotten = record::read(body)?;
            let ids = all(&record.conversations, |id| parse_id("conversations", id))?;
            Ok(ConversationEvent::Forgotten { ids })
        }
        STAFF_STANDS => {
            let record: wire::StaffStands = record::read(body)?;
            let (staff, post) = post_from(record.standing)?;
            let store = parse_optional("previous_store", &record.previous_store)?.map(Place::Store);
            let desk = parse_optional("previous_desk", &record.previous_desk)?.map(Place::Desk);
            let before = store.or(desk).or(record.previous_central.then_some(Place::Central));
            Ok(ConversationEvent::Stands { staff, post, before })
        }
        STAFF_REVIEWED => {
            let record: wire::StaffReviewed = record::read(body)?;
            let up_to = parse_optional("up_to", &record.up_to)?;
            Ok(ConversationEvent::Reviewed { up_to, again: record.again })
        }
        STAFF_IDLE_RESTATED => {
            let record: wire::StaffIdleRestated = record::read(body)?;
            let since = all(&record.staff, |one| {
                let staff = parse_id("staff", &one.staff)?;
                Ok((staff, parse_time("idle_start_time", one.idle_start_time)?))
            })?;
            Ok(ConversationEvent::IdleRestated { since })
        }
        _ => Err(DecodeError::UnknownKind(kind.to_owned())),
    }
}

fn all<T, U>(from: &[T], read: impl Fn(&T) -> Result<U, FieldError>) -> Result<Vec<U>, FieldError> {
    from.iter().map(read).collect()
}

fn held(conversation: Option<wire::Conversation>) -> Result<ConversationView, FieldError> {
    let conversation = conversation.ok_or_else(|| FieldError::new("conversation", "is missing"))?;
    ConversationView::try_from(conversation).map_err(|error| error.within("conversation"))
}

fn conversation_to_wire(id: ConversationId, one: &Conversation) -> wire::Conversation {
    wire::Conversation {
        conversation: id.to_string(),
        customer: one.customer.to_string(),
        channel: one.channel.to_string(),
        brand: text(one.brand.as_ref()),
        store: text(one.store.as_ref()),
        rule: one.rule.clone(),
        opening_event: one.event.to_string(),
        carrier: text(one.carrier.as_ref()),
        priority: one.priority.to_string(),
        wait_start_time: Some(timestamp(one.waiting_since)),
        active_time: Some(timestamp(one.active_at)),
        targets: one.chain.iter().map(target_to_wire).collect(),
        talk: Some(talk_to_wire(&one.stage)),
        passed: one.passed.iter().map(passed_to_wire).collect(),
        reply_token: one.reply.as_ref().map(|right| right.token.clone()).unwrap_or_default(),
        reply_receive_time: one.reply.as_ref().map(|right| timestamp(right.received_at)),
        tags: one.tags.iter().map(ToString::to_string).collect(),
    }
}

impl From<&ConversationView> for wire::Conversation {
    /// As a caller sees it: without the right to reply, which is notification's to use.
    fn from(view: &ConversationView) -> Self {
        let whole = conversation_to_wire(view.id, &view.conversation);
        Self { reply_token: String::new(), reply_receive_time: None, ..whole }
    }
}

impl TryFrom<wire::Conversation> for ConversationView {
    type Error = FieldError;

    fn try_from(one: wire::Conversation) -> Result<Self, FieldError> {
        Ok(Self {
            id: parse_id("conversation", &one.conversation)?,
            conversation: Conversation {
                customer: parse_customer("customer", &one.customer)?,
                channel: parse_channel("channel", &one.channel)?,
                brand: parse_optional("brand", &one.brand)?,
                store: parse_optional("store", &one.store)?,
                rule: one.rule,
                event: parse_id("opening_event", &one.opening_event)?,
                carrier: parse_carrier("carrier", &one.carrier)?,
                priority: parse_priority("priority", &one.priority)?,
                waiting_since: parse_time("wait_start_time", one.wait_start_time)?,
                active_at: parse_time("active_time", one.active_time)?,
                chain: all(&one.targets, target_from)?,
                stage: talk_from(one.talk)?,
                tags: parse_all("tags", &one.tags)?,
                passed: all(&one.passed, passed_from)?,
                reply: reply_from(one.reply_token, one.reply_receive_time)?,
            },
        })
    }
}

fn reply_from(
    token: String,
    received: Option<pbjson_types::Timestamp>,
) -> Result<Option<ReplyRight>, FieldError> {
    if token.is_empty() {
        return Ok(None);
    }
    let received_at = parse_time("reply_receive_time", received)?;
    Ok(Some(ReplyRight { token, received_at }))
}

pub(crate) fn target_to_wire(target: &Target) -> wire::Target {
    let within = target.within.map_or(0, |within| within.as_millis());
    wire::Target {
        target: target.who.name().to_owned(),
        within_ms: i64::try_from(within).unwrap_or(i64::MAX),
    }
}

fn target_from(target: &wire::Target) -> Result<Target, FieldError> {
    let within = u64::try_from(target.within_ms)
        .map_err(|_| FieldError::new("within_ms", "must not be negative"))?;
    let within = (within > 0).then(|| Duration::from_millis(within));
    Ok(Target { who: parse_target("target", &target.target)?, within })
}

/// Reads whom a conversation can be handed to.
pub fn parse_target(field: &str, name: &str) -> Result<Who, FieldError> {
    Who::from_name(name).ok_or_else(|| {
        let rule = "must be bound_staff, store_on_shift, brand_desk or central_desk";
        FieldError::new(field, rule)
    })
}

/// Where a conversation stands, by its name alone.
#[must_use]
pub fn state_of(talk: &Talk) -> wire::ConversationState {
    match talk {
        Talk::Waiting => wire::ConversationState::Waiting,
        Talk::Offered { .. } => wire::ConversationState::Offered,
        Talk::InProgress { .. } => wire::ConversationState::InProgress,
        Talk::Closed { .. } => wire::ConversationState::Closed,
    }
}

pub(crate) fn talk_to_wire(talk: &Talk) -> wire::Talk {
    let none = wire::Talk { state: state_of(talk).into(), ..wire::Talk::default() };
    match talk {
        Talk::Waiting => none,
        Talk::Offered { staff, target, until, target_until } => wire::Talk {
            staff: staff.to_string(),
            target: u32::try_from(*target).unwrap_or(u32::MAX),
            offer_end_time: Some(timestamp(*until)),
            target_end_time: target_until.map(timestamp),
            ..none
        },
        Talk::InProgress { staff, at } => {
            wire::Talk { staff: staff.to_string(), state_time: Some(timestamp(*at)), ..none }
        }
        Talk::Closed { by, at } => {
            wire::Talk { actor: by.clone(), state_time: Some(timestamp(*at)), ..none }
        }
    }
}

fn talk_from(talk: Option<wire::Talk>) -> Result<Talk, FieldError> {
    let talk = talk.ok_or_else(|| FieldError::new("talk", "is missing"))?;
    match talk.state() {
        wire::ConversationState::Unspecified => {
            Err(FieldError::new("talk.state", "is no state of a conversation"))
        }
        wire::ConversationState::Waiting => Ok(Talk::Waiting),
        wire::ConversationState::Offered => Ok(Talk::Offered {
            staff: parse_id("talk.staff", &talk.staff)?,
            target: usize::try_from(talk.target).unwrap_or(usize::MAX),
            until: parse_time("talk.offer_end_time", talk.offer_end_time)?,
            target_until: talk
                .target_end_time
                .map(|time| parse_time("talk.target_end_time", Some(time)))
                .transpose()?,
        }),
        wire::ConversationState::InProgress => Ok(Talk::InProgress {
            staff: parse_id("talk.staff", &talk.staff)?,
            at: parse_time("talk.state_time", talk.state_time)?,
        }),
        wire::ConversationState::Closed => {
            Ok(Talk::Closed { by: talk.actor, at: parse_time("talk.state_time", talk.state_time)? })
        }
    }
}

fn passed_to_wire((staff, at): &(StaffId, At)) -> wire::Passed {
    wire::Passed { staff: staff.to_string(), time: Some(timestamp(*at)) }
}

fn passed_from(passed: &wire::Passed) -> Result<(StaffId, At), FieldError> {
    Ok((parse_id("passed.staff", &passed.staff)?, parse_time("passed.time", passed.time)?))
}

pub(crate) fn passed_over_to_wire(passed: &PassedOver) -> wire::PassedOver {
    wire::PassedOver {
        target: passed.who.name().to_owned(),
        staff: text(passed.staff.as_ref()),
        reason: passed.why.name().to_owned(),
    }
}

fn passed_over_from(passed: &wire::PassedOver) -> Result<PassedOver, FieldError> {
    Ok(PassedOver {
        who: parse_target("passed_over.target", &passed.target)?,
        staff: parse_optional("passed_over.staff", &passed.staff)?,
        why: Why::from_name(&passed.reason)
            .ok_or_else(|| FieldError::new("passed_over.reason", "is no such reason"))?,
    })
}

fn place_to_wire(place: Option<&Place>) -> (String, String, bool) {
    match place {
        Some(Place::Store(store)) => (store.to_string(), String::new(), false),
        Some(Place::Desk(desk)) => (String::new(), desk.to_string(), false),
        Some(Place::Central) => (String::new(), String::new(), true),
        None => (String::new(), String::new(), false),
    }
}

pub(crate) fn post_to_wire(staff: &StaffId, post: &Post) -> wire::StaffStanding {
    let (store, desk, central) = place_to_wire(post.place.as_ref());
    wire::StaffStanding {
        staff: staff.to_string(),
        available: post.available,
        on_shift: post.on_shift,
        shift_change_time: post.until.map(timestamp),
        capacity: post.capacity,
        own_capacity: post.own_capacity.unwrap_or_default(),
        store,
        desk,
        central,
        brands: post.brands.iter().map(ToString::to_string).collect(),
        conversations: Vec::new(),
        idle_start_time: None,
    }
}

/// How a member of staff stands, as a caller sees it.
#[must_use]
pub fn standing_to_wire(staff: &StaffId, standing: &Standing) -> wire::StaffStanding {
    wire::StaffStanding {
        conversations: standing.held.iter().map(ToString::to_string).collect(),
        idle_start_time: Some(timestamp(standing.idle_since)),
        ..post_to_wire(staff, &standing.post)
    }
}

fn post_from(standing: Option<wire::StaffStanding>) -> Result<(StaffId, Post), FieldError> {
    let one = standing.ok_or_else(|| FieldError::new("standing", "is missing"))?;
    let store = parse_optional("standing.store", &one.store)?.map(Place::Store);
    let desk = parse_optional("standing.desk", &one.desk)?.map(Place::Desk);
    let brands: BTreeSet<_> =
        all(&one.brands, |brand| parse_id("standing.brands", brand))?.into_iter().collect();
    let post = Post {
        available: one.available,
        own_capacity: (one.own_capacity > 0).then_some(one.own_capacity),
        capacity: one.capacity,
        place: store.or(desk).or(one.central.then_some(Place::Central)),
        brands,
        on_shift: one.on_shift,
        until: one
            .shift_change_time
            .map(|time| parse_time("standing.shift_change_time", Some(time)))
            .transpose()?,
    };
    Ok((parse_id("standing.staff", &one.staff)?, post))
}
