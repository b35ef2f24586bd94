//! What a person is told, from the texts of templates and what they are about.

use super::card;
use super::message::Message;
use super::pattern::{cut, fill};
use super::value::readable;
use super::{Type, Voice};
use crate::Language;
use crate::configuration::{
    Brand, CARD_TEXT_AT_MOST, Configuration, MESSAGES_AT_MOST, TEXT_AT_MOST, TITLE_AT_MOST,
    Template, Text,
};
use crate::notification::Words;

/// Why nothing can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsaid {
    /// There is no template with the name.
    #[error("there is no such template")]
    NoTemplate,
    /// There are no words, or only blanks.
    #[error("there is nothing to say")]
    Nothing,
}

/// The messages that say these words, at most 5, each within LINE's limits whatever the values are:
/// values that are too long are cut. Each carries the brand's sender.
///
/// A value that is missing or of another type is left out. Requests of callers were
/// [checked](super::check), and what routing asks for by [lint](Configuration::lint); but a deferred
/// request may be older than the template that it meets, and a salesperson may have left.
///
/// # Errors
/// When a template is missing, or says nothing: then nothing is told at all.
pub fn render(
    configuration: &Configuration,
    words: &Words,
    voice: Voice<'_>,
) -> Result<Vec<Message>, Unsaid> {
    let speech = Speech { configuration, words, voice };
    if let Some(text) = &words.text {
        return Ok(vec![speech.plain(&cut(text, TEXT_AT_MOST))?]);
    }
    if words.templates.is_empty() {
        return Err(Unsaid::Nothing);
    }
    let names = words.templates.iter().take(MESSAGES_AT_MOST);
    names
        .map(|name| {
            let template = configuration.templates.get(name).ok_or(Unsaid::NoTemplate)?;
            let text = template.text(voice.brand, voice.language).ok_or(Unsaid::Nothing)?;
            speech.message(template, text)
        })
        .collect()
}

/// What is said by whom to whom.
#[derive(Clone, Copy)]
pub(super) struct Speech<'a> {
    pub(super) configuration: &'a Configuration,
    pub(super) words: &'a Words,
    pub(super) voice: Voice<'a>,
}

impl<'a> Speech<'a> {
    /// The brand, else the house.
    pub(super) fn speaker(&self) -> Option<&'a Brand> {
        let brand = self.voice.brand.and_then(|brand| self.configuration.brands.get(brand));
        brand.or(self.configuration.house.as_ref())
    }

    /// The speaker's name, as the person reads it.
    fn name(&self) -> String {
        let name = self.speaker().map(|speaker| speaker.name_in(self.voice.language));
        readable(&name.unwrap_or_default())
    }

    fn plain(&self, text: &str) -> Result<Message, Unsaid> {
        if text.trim().is_empty() {
            return Err(Unsaid::Nothing);
        }
        Ok(Message::said(text, self.speaker().and_then(|speaker| speaker.sender.as_ref())))
    }

    fn message(&self, template: &Template, text: &Text) -> Result<Message, Unsaid> {
        let filled = |text: &str, at_most| fill(text, |name| self.value(template, name), at_most);
        let Some(card) = template.card else {
            return self.plain(&filled(&text.text, TEXT_AT_MOST));
        };
        let title = filled(text.title.as_deref().unwrap_or_default(), TITLE_AT_MOST);
        let words = filled(&text.text, CARD_TEXT_AT_MOST);
        let rows = card.rows(self.voice.language).iter().map(|(name, label)| {
            (*label, cut(&self.value(template, name), TITLE_AT_MOST).into_owned())
        });
        let shown = card::Shown {
            speaker: cut(&self.name(), TITLE_AT_MOST).into_owned(),
            title: title.replace('\n', " "),
            text: words,
            rows: rows.filter(|(_, value)| !value.trim().is_empty()).collect(),
            look: card.look(),
        };
        shown
            .message(self.speaker().and_then(|speaker| speaker.sender.as_ref()))
            .ok_or(Unsaid::Nothing)
    }

    /// What a variable of the template stands for; empty, when nobody knows.
    fn value(&self, template: &Template, name: &str) -> String {
        let Words { variables, case, staff, .. } = self.words;
        let given = |of: Type| {
            let value = variables.get(name)?;
            of.show(value, self.configuration, self.voice)
        };
        let value = match name {
            "case" => case.map(|case| case.to_string()).or_else(|| given(Type::Case)),
            "link" => self.configuration.entry.as_ref().map(|entry| readable(&entry.link)),
            "staff" => {
                let member = staff.as_ref().and_then(|staff| self.configuration.staff.get(staff));
                let name = member.map(|member| readable(&member.name));
                Some(name.or_else(|| given(Type::Staff)).unwrap_or_else(|| self.somebody()))
            }
            "brand" => Some(self.name()),
            _ => template.variables.get(name).and_then(|of| given(*of)),
        };
        value.unwrap_or_default()
    }

    /// A salesperson who is not in the directory any more.
    fn somebody(&self) -> String {
        match self.voice.language {
            Language::ZhTw => "專人",
            Language::En => "a colleague",
        }
        .to_owned()
    }
}
