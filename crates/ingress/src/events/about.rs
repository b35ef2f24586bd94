//! What an event says about its person: who it is, what is known of them, what they allowed.

use std::collections::BTreeMap;

use mainstem_domain::identifier::{Normal, normalise};
use mainstem_domain::person::Answer;
use mainstem_domain::{AttributeName, Means, Purpose};
use mainstem_proto::FieldError;
use mainstem_proto::channel::ATTRIBUTE_AT_MOST as VALUE_AT_MOST;
use mainstem_proto::field::identifier_error;

/// How many identifiers of one event count. Nobody has more; a list of everybody would tie all of
/// them together.
const IDENTIFIERS_AT_MOST: usize = 32;

/// How many attributes an event may have.
pub(super) const ATTRIBUTES_AT_MOST: usize = 32;

/// How many consents an event may have.
pub(super) const CONSENTS_AT_MOST: usize = 16;

/// Everything checked and in its normal form: each once.
#[derive(Clone, Debug, Default)]
pub(crate) struct About {
    /// In the order in which they were told.
    pub(crate) identifiers: Vec<Normal>,
    /// As the source wrote them.
    pub(crate) attributes: BTreeMap<AttributeName, String>,
    /// Of several answers the strictest.
    pub(crate) consents: BTreeMap<(Means, Purpose), Answer>,
}

impl About {
    /// `kind:value`. Of an unknown kind, or no number or address, it ties nobody and stands in the
    /// event's `raw` alone; one that only a broken source writes is an error in `field`.
    pub(crate) fn identifier(
        &mut self,
        field: impl FnOnce() -> String,
        text: &str,
    ) -> Result<(), FieldError> {
        match normalise(text) {
            Ok(normal) => {
                let known = self.identifiers.iter().any(|one| one.identifier == normal.identifier);
                if !known && self.identifiers.len() < IDENTIFIERS_AT_MOST {
                    self.identifiers.push(normal);
                }
                Ok(())
            }
            Err(error) if error.is_malformed() => Err(identifier_error(&field(), &error)),
            Err(_) => Ok(()),
        }
    }

    /// An attribute in the map at `field`; a blank one says nothing, and of two with one name the
    /// first counts.
    pub(crate) fn attribute(
        &mut self,
        field: &str,
        name: &str,
        value: &str,
    ) -> Result<(), FieldError> {
        // A name that is none may be anything, so it is not repeated.
        let name: AttributeName = name.parse().map_err(|_| {
            FieldError::new(field, "has a name that is not 1 to 64 of a-z, 0-9 and -")
        })?;
        self.named_attribute(|| format!("{field}[\"{name}\"]"), &name, value)?;
        if self.attributes.len() > ATTRIBUTES_AT_MOST {
            return Err(FieldError::new(field, format!("are more than {ATTRIBUTES_AT_MOST}")));
        }
        Ok(())
    }

    /// The same, with a name that was checked before.
    pub(crate) fn named_attribute(
        &mut self,
        field: impl FnOnce() -> String,
        name: &AttributeName,
        value: &str,
    ) -> Result<(), FieldError> {
        let rule = if value.chars().count() > VALUE_AT_MOST {
            format!("is longer than {VALUE_AT_MOST} characters")
        } else if value.chars().any(char::is_control) {
            "has a control character".to_owned()
        } else {
            if !value.trim().is_empty() && !self.attributes.contains_key(name) {
                self.attributes.insert(name.clone(), value.to_owned());
            }
            return Ok(());
        };
        Err(FieldError::new(&field(), rule))
    }

    /// A consent at `field`, one of `field`'s list.
    pub(crate) fn consent(
        &mut self,
        field: &str,
        (means, purpose): (&str, &str),
        answer: Option<Answer>,
    ) -> Result<(), FieldError> {
        let wrong = |what: &str, rule: &str| FieldError::new(what, rule).within(field);
        let means = means.parse().map_err(|_| wrong("means", SLUG))?;
        let purpose = purpose.parse().map_err(|_| wrong("purpose", SLUG))?;
        let answer = answer.ok_or_else(|| {
            wrong("answer", "must be granted or refused; leave out who never answered")
        })?;
        self.answered(means, purpose, answer);
        Ok(())
    }

    /// The same, checked before.
    pub(crate) fn answered(&mut self, means: Means, purpose: Purpose, answer: Answer) {
        let known = self.consents.entry((means, purpose)).or_insert(answer);
        *known = answer.max(*known);
    }
}

/// The consents of a list, before they are read.
pub(crate) fn check_consents(field: &str, count: usize) -> Result<(), FieldError> {
    if count > CONSENTS_AT_MOST {
        return Err(FieldError::new(field, format!("are more than {CONSENTS_AT_MOST}")));
    }
    Ok(())
}

const SLUG: &str = "must be 1 to 64 of a-z, 0-9 and '-', not starting or ending with '-'";
