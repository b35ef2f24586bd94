//! What is known of people.

use mainstem_domain::configuration::{QuietHours, Zone};
use mainstem_domain::notification::{
    Consent, Person, Place, Portion, Preferences, Push, Told, Trait,
};
use mainstem_domain::person::{Answer, Carrier};
use mainstem_domain::{CustomerId, Language};

use super::delivery::optional_time;
use crate::channel::{answer_from, answer_to};
use crate::error::FieldError;
use crate::field::{
    parse_carrier, parse_channel, parse_customer, parse_item, parse_time, text, timestamp,
};
use crate::wire::channel::ConsentAnswer;
use crate::wire::notification as wire;

fn parse_answer(field: &str, answer: i32) -> Result<Option<Answer>, FieldError> {
    let answer = ConsentAnswer::try_from(answer)
        .map_err(|_| FieldError::new(field, "must be GRANTED or REFUSED, or not set"))?;
    Ok(answer_from(answer))
}

fn answer_to_wire(answer: Option<Answer>) -> i32 {
    answer.map_or(ConsentAnswer::Unspecified, answer_to).into()
}

fn parse_words<T: std::str::FromStr<Err: std::fmt::Display>>(
    field: &str,
    text: &str,
) -> Result<Option<T>, FieldError> {
    let parse = |text: &str| {
        text.parse().map_err(|error: T::Err| FieldError::new(field, error.to_string()))
    };
    Some(text).filter(|text| !text.is_empty()).map(parse).transpose()
}

/// What was set, or is to be set.
pub fn parse_preferences(preferences: &wire::Preferences) -> Result<Preferences, FieldError> {
    Ok(Preferences {
        marketing: parse_answer("marketing", preferences.marketing)?,
        language: parse_words::<Language>("language", &preferences.language)?,
        zone: parse_words::<Zone>("time_zone", &preferences.time_zone)?,
        quiet_hours: parse_words::<QuietHours>("quiet_hours", &preferences.quiet_hours)?,
    })
}

/// What was set.
#[must_use]
pub fn preferences_to(preferences: &Preferences) -> wire::Preferences {
    wire::Preferences {
        marketing: answer_to_wire(preferences.marketing),
        language: text(preferences.language.as_ref()),
        time_zone: text(preferences.zone.as_ref()),
        quiet_hours: text(preferences.quiet_hours.as_ref()),
    }
}

/// How a person is reached, and what was set.
#[must_use]
pub fn person_to(person: &Person) -> wire::GetPreferencesResponse {
    let account = |place: &Place| wire::Account {
        channel: place.channel.to_string(),
        blocked: place.blocked,
    };
    wire::GetPreferencesResponse {
        preferences: Some(preferences_to(person.preferences())),
        language: text(person.language().as_ref()),
        time_zone: text(person.zone()),
        marketing_consent: answer_to_wire(person.consent().map(|consent| consent.answer)),
        accounts: person.places().iter().map(account).collect(),
    }
}

pub(super) fn consent_to_wire(consent: Consent) -> wire::MarketingConsent {
    wire::MarketingConsent {
        answer: answer_to(consent.answer).into(),
        tell_time: Some(timestamp(consent.told_at)),
    }
}

pub(super) fn consent_from_wire(consent: wire::MarketingConsent) -> Result<Consent, FieldError> {
    let answer = parse_answer("answer", consent.answer)?
        .ok_or_else(|| FieldError::new("answer", "must be GRANTED or REFUSED"))?;
    Ok(Consent { answer, told_at: parse_time("tell_time", consent.tell_time)? })
}

pub(super) fn trait_to_wire(told: &Told) -> wire::Trait {
    let (language, time_zone) = match &told.what {
        Trait::Language(language) => (language.to_string(), String::new()),
        Trait::Zone(zone) => (String::new(), zone.to_string()),
    };
    wire::Trait {
        carrier: told.carrier.to_string(),
        verified: told.verified,
        tell_time: Some(timestamp(told.told_at)),
        language,
        time_zone,
    }
}

fn some_carrier(carrier: &str) -> Result<Carrier, FieldError> {
    parse_carrier("carrier", carrier)?.ok_or_else(|| FieldError::new("carrier", "is missing"))
}

pub(super) fn trait_from_wire(told: &wire::Trait) -> Result<Told, FieldError> {
    let language = parse_words::<Language>("language", &told.language)?.map(Trait::Language);
    let zone = parse_words::<Zone>("time_zone", &told.time_zone)?.map(Trait::Zone);
    Ok(Told {
        carrier: some_carrier(&told.carrier)?,
        what: language
            .or(zone)
            .ok_or_else(|| FieldError::new("language", "or time_zone must be set"))?,
        verified: told.verified,
        told_at: parse_time("tell_time", told.tell_time)?,
    })
}

pub(super) fn restated_to_wire(
    customer: CustomerId,
    carrier: Carrier,
    portion: &Portion,
) -> wire::CustomerRestated {
    let place = |place: &Place| wire::Place {
        channel: place.channel.to_string(),
        user: place.user.to_string(),
        carrier: text(place.carrier.as_ref()),
        blocked: place.blocked,
        follow_time: place.followed_at.map(timestamp),
    };
    let push = |push: &Push| wire::MarketingPush {
        item: push.item.to_string(),
        create_time: Some(timestamp(push.at)),
        carrier: text(push.carrier.as_ref()),
        unanswered: push.unanswered,
    };
    wire::CustomerRestated {
        customer: customer.to_string(),
        places: portion.places.iter().map(place).collect(),
        traits: portion.told.iter().map(trait_to_wire).collect(),
        pushes: portion.pushes.iter().map(push).collect(),
        carrier: carrier.to_string(),
    }
}

pub(super) fn restated_from_wire(
    record: wire::CustomerRestated,
) -> Result<(CustomerId, Carrier, Portion), FieldError> {
    let place = |place: wire::Place| {
        Ok(Place {
            channel: parse_channel("channel", &place.channel)?,
            user: place.user.into(),
            carrier: parse_carrier("carrier", &place.carrier)?,
            blocked: place.blocked,
            followed_at: optional_time("follow_time", place.follow_time)?,
        })
    };
    let push = |push: wire::MarketingPush| {
        Ok(Push {
            at: parse_time("create_time", push.create_time)?,
            item: parse_item("item", &push.item)?,
            carrier: parse_carrier("carrier", &push.carrier)?,
            unanswered: push.unanswered,
        })
    };
    let within = |field: &'static str| move |error: FieldError| error.within(field);
    let places: Result<_, _> = record.places.into_iter().map(place).collect();
    let pushes: Result<_, _> = record.pushes.into_iter().map(push).collect();
    let traits: Result<_, _> = record.traits.iter().map(trait_from_wire).collect();
    let portion = Portion {
        places: places.map_err(within("places"))?,
        told: traits.map_err(within("traits"))?,
        pushes: pushes.map_err(within("pushes"))?,
    };
    Ok((parse_customer("customer", &record.customer)?, some_carrier(&record.carrier)?, portion))
}
