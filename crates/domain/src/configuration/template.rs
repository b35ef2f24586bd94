//! What is said, in each brand's voice and in each language.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::notification::Class;
use crate::voice::{self, Card, Type};
use crate::{BrandId, Language};

/// LINE's limit for one text message, in UTF-16 code units.
pub const TEXT_AT_MOST: usize = 5_000;

/// LINE's limit for one call, in messages.
pub const MESSAGES_AT_MOST: usize = 5;

/// LINE's limit for what is read where a card cannot be shown, in UTF-16 code units: the title of a
/// card, the end of a line, and its text.
pub const ALT_TEXT_AT_MOST: usize = 1_500;

/// The longest title of a card, and the longest value in one of its rows, in UTF-16 code units.
pub const TITLE_AT_MOST: usize = 100;

/// The longest text of a card, in UTF-16 code units.
pub const CARD_TEXT_AT_MOST: usize = ALT_TEXT_AT_MOST - 1 - TITLE_AT_MOST;

/// Something that is said in one message.
///
/// `{name}` in a text stands for the variable of that name. Four need no declaration: `{case}` is the
/// case's id, `{link}` the way to the single entry, `{staff}` the name of the salesperson that it is
/// about, `{brand}` the name of the brand that speaks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Template {
    /// What it is at most sent as: callers may hold it back more, and never less. None: as what the
    /// request says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
    /// Shows it as a card; none: as a plain text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub card: Option<Card>,
    /// What callers must give values for.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, Type>,
    /// For a brand without a text of its own.
    pub house: Texts,
    /// In a brand's own voice.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub brands: BTreeMap<BrandId, Texts>,
}

/// A text in each language. A text alone, in place of the map, is in the default language.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Texts(pub BTreeMap<Language, Text>);

/// A text in one language. A text alone, in place of the fields, has no title.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// What stands above it on a card; only there.
    pub title: Option<String>,
    /// What is said.
    pub text: String,
}

impl Template {
    /// What is said for a brand in a language: in the brand's own voice, else in that of the house;
    /// and in the default language, where neither has this one.
    #[must_use]
    pub fn text(&self, brand: Option<&BrandId>, language: Language) -> Option<&Text> {
        let own = brand.and_then(|brand| self.brands.get(brand));
        let voices = [own, Some(&self.house)];
        let languages = [language, Language::default()].into_iter();
        languages
            .flat_map(|language| voices.map(|voice| voice.and_then(|texts| texts.0.get(&language))))
            .flatten()
            .next()
    }

    /// All its texts, with whose they are and in which language.
    pub fn texts(&self) -> impl Iterator<Item = (Option<&BrandId>, Language, &Text)> {
        let house = [(None, &self.house)].into_iter();
        let brands = self.brands.iter().map(|(brand, texts)| (Some(brand), texts));
        house.chain(brands).flat_map(|(brand, texts)| {
            texts.0.iter().map(move |(language, text)| (brand, *language, text))
        })
    }

    /// The variables that it says in any voice and language, or shows on its card.
    #[must_use]
    pub fn says(&self) -> BTreeSet<&str> {
        let rows = self.card.map_or(&[][..], |card| card.rows(Language::default()));
        let texts = self.texts().flat_map(|(_, _, text)| text.parts());
        texts.flat_map(voice::variables).chain(rows.iter().map(|(name, _)| *name)).collect()
    }
}

impl Text {
    /// Its title, if it has one, and its text.
    pub(super) fn parts(&self) -> impl Iterator<Item = &str> {
        self.title.as_deref().into_iter().chain([&*self.text])
    }
}

impl From<&str> for Texts {
    fn from(text: &str) -> Self {
        Self(BTreeMap::from([(Language::default(), text.into())]))
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self { title: None, text: text.to_owned() }
    }
}

/// The fields of a [`Text`] that has a title.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename = "text")]
struct Titled {
    title: String,
    text: String,
}

impl Serialize for Text {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.title {
            None => self.text.serialize(serializer),
            Some(title) => {
                Titled { title: title.clone(), text: self.text.clone() }.serialize(serializer)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrFields;
        impl<'de> Visitor<'de> for TextOrFields {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, or for a card its title and text")
            }

            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(text.into())
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Text, A::Error> {
                let Titled { title, text } =
                    Titled::deserialize(MapAccessDeserializer::new(fields))?;
                Ok(Text { title: Some(title), text })
            }
        }
        deserializer.deserialize_any(TextOrFields)
    }
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrLanguages;
        impl<'de> Visitor<'de> for TextOrLanguages {
            type Value = Texts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, or one for each language, e.g. zh-TW and en")
            }

            fn visit_str<E>(self, text: &str) -> Result<Texts, E> {
                Ok(text.into())
            }

            fn visit_map<A: MapAccess<'de>>(self, languages: A) -> Result<Texts, A::Error> {
                BTreeMap::deserialize(MapAccessDeserializer::new(languages)).map(Texts)
            }
        }
        deserializer.deserialize_any(TextOrLanguages)
    }
}

/// The template that tells a customer that a case is resolved. Always needed.
pub const CASE_RESOLVED: &str = "case-resolved";

/// The template that tells a customer that a case is cancelled. Without it, nobody is told.
pub const CASE_CANCELLED: &str = "case-cancelled";

/// The template that tells a customer that staff opened a case. Without it, nobody is told.
pub const CASE_OPENED: &str = "case-opened";

/// The template that tells a customer that a case waits for them. Without it, nobody is told.
pub const CASE_WAITING: &str = "case-waiting";

/// The template that tells a customer that a case is worked on again. Without it, nobody is told.
pub const CASE_REOPENED: &str = "case-reopened";

/// The template with which a retired account shows the way to the single entry.
pub const MOVED: &str = "moved";

/// The template that tells a customer who their salesperson is from now on. Without it, nobody is
/// told; the same holds for the other templates of bindings.
pub const BINDING_DONE: &str = "binding-done";

/// The template that answers a binding code whose time is up.
pub const BINDING_EXPIRED: &str = "binding-expired";

/// The template that answers what looks like a binding code and is none of ours.
pub const BINDING_FORGED: &str = "binding-forged";

/// The template that answers a binding code that staff have revoked, or of somebody who has left.
pub const BINDING_REVOKED: &str = "binding-revoked";

/// The template that tells a customer who took over from the salesperson that they had.
pub const BINDING_HANDED_OVER: &str = "binding-handed-over";

/// What routing knows when it says the templates that have a fixed name, besides the brand and the way
/// to the single entry.
pub(super) const SITUATIONS: [(&str, &[&str]); 11] = [
    (CASE_OPENED, &["case"]),
    (CASE_WAITING, &["case"]),
    (CASE_RESOLVED, &["case"]),
    (CASE_REOPENED, &["case"]),
    (CASE_CANCELLED, &["case"]),
    (MOVED, &[]),
    (BINDING_DONE, &["staff"]),
    (BINDING_EXPIRED, &["staff"]),
    (BINDING_FORGED, &[]),
    (BINDING_REVOKED, &["staff"]),
    (BINDING_HANDED_OVER, &["staff"]),
];
