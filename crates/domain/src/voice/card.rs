//! Cards: flex messages that show where a case or an order stands.
//!
//! Only the parts of LINE's flex messages that a card is made of are here, each with the fields that
//! LINE requires of it. A card has no part without content.

use serde::{Deserialize, Serialize};

use super::message::{Bubble, Message};
use crate::Language;
use crate::configuration::Sender;

/// Shows a template as a card: what it tells about, and how far that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Card {
    /// A case, with its number.
    Case(CaseNews),
    /// An order, with the template's variables `number` (a text) and `amount` (money).
    Order(OrderNews),
}

/// What has become of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CaseNews {
    /// It is worked on, or soon.
    Opened,
    /// The customer has to do something.
    Waiting,
    /// It is done.
    Resolved,
    /// Nothing comes of it.
    Cancelled,
}

/// What has become of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OrderNews {
    /// The shop has it.
    Placed,
    /// It is paid.
    Paid,
    /// It is on its way.
    Shipped,
    /// Nothing comes of it.
    Cancelled,
}

/// How a card looks: in which colour, and how many of its steps are done.
#[derive(Clone, Copy)]
pub(super) struct Look {
    colour: &'static str,
    done: usize,
}

/// The steps of a case, and of an order.
const STEPS: usize = 3;

const GOING_ON: &str = "#3D6B99";
const WAITING: &str = "#B7791F";
const DONE: &str = "#2F7A57";
const OFF: &str = "#777777";
const TEXT: &str = "#333333";
const FAINT: &str = "#777777";
const TO_COME: &str = "#DDDDDD";

impl Card {
    /// The variables that a card shows in rows, with their labels.
    pub(crate) fn rows(self, language: Language) -> &'static [(&'static str, &'static str)] {
        match (self, language) {
            (Self::Case(_), Language::ZhTw) => &[("case", "維修單號")],
            (Self::Case(_), Language::En) => &[("case", "Case")],
            (Self::Order(_), Language::ZhTw) => &[("number", "訂單編號"), ("amount", "金額")],
            (Self::Order(_), Language::En) => &[("number", "Order"), ("amount", "Amount")],
        }
    }

    pub(super) fn look(self) -> Look {
        let (colour, done) = match self {
            Self::Case(CaseNews::Opened) | Self::Order(OrderNews::Placed) => (GOING_ON, 1),
            Self::Case(CaseNews::Waiting) => (WAITING, 2),
            Self::Order(OrderNews::Paid) => (GOING_ON, 2),
            Self::Case(CaseNews::Resolved) | Self::Order(OrderNews::Shipped) => (DONE, STEPS),
            Self::Case(CaseNews::Cancelled) | Self::Order(OrderNews::Cancelled) => (OFF, 0),
        };
        Look { colour, done }
    }
}

/// What stands on a card.
pub(super) struct Shown {
    pub(super) speaker: String,
    pub(super) title: String,
    pub(super) text: String,
    pub(super) rows: Vec<(&'static str, String)>,
    pub(super) look: Look,
}

impl Shown {
    /// `None`, when nothing stands on it. The title and the text are what is read where a card
    /// cannot be shown.
    pub(super) fn message(&self, sender: Option<&Sender>) -> Option<Message> {
        let said = [&*self.title, &*self.text].into_iter().filter(|text| !text.trim().is_empty());
        let alt_text = said.collect::<Vec<_>>().join("\n");
        if alt_text.is_empty() {
            return None;
        }
        Some(Message::card(&alt_text, Bubble { size: "kilo", body: self.body() }, sender))
    }

    fn body(&self) -> Part<'_> {
        let title = TextPart { weight: Some("bold"), size: "lg", ..TextPart::wrapped(&self.title) };
        let speaker =
            TextPart { size: "xs", color: self.look.colour, ..TextPart::wrapped(&self.speaker) };
        let texts = [speaker, title, TextPart::wrapped(&self.text)].into_iter();
        let texts = texts.filter(|part| !part.text.trim().is_empty());
        let rows = (!self.rows.is_empty()).then(|| self.rows());
        let contents = texts.map(Part::Text).chain([self.progress()]).chain(rows).collect();
        Part::Box(BoxPart { spacing: Some("md"), ..BoxPart::of("vertical", contents) })
    }

    /// A line in as many parts as there are steps, those that are done in colour.
    fn progress(&self) -> Part<'static> {
        let step = |index| {
            let colour = if index < self.look.done { self.look.colour } else { TO_COME };
            Part::Box(BoxPart {
                height: Some("4px"),
                corner_radius: Some("xs"),
                background_color: Some(colour),
                ..BoxPart::of("vertical", Vec::new())
            })
        };
        let steps = (0..STEPS).map(step).collect();
        Part::Box(BoxPart { spacing: Some("xs"), ..BoxPart::of("horizontal", steps) })
    }

    fn rows(&self) -> Part<'_> {
        let rows = self.rows.iter().map(|(label, value)| {
            let label = TextPart { color: FAINT, flex: Some(2), ..TextPart::wrapped(label) };
            let value = TextPart { flex: Some(5), ..TextPart::wrapped(value) };
            Part::Box(BoxPart::of("baseline", vec![Part::Text(label), Part::Text(value)]))
        });
        Part::Box(BoxPart { spacing: Some("sm"), ..BoxPart::of("vertical", rows.collect()) })
    }
}

/// A component of a flex message.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum Part<'a> {
    Box(BoxPart<'a>),
    Text(TextPart<'a>),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BoxPart<'a> {
    layout: &'static str,
    contents: Vec<Part<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spacing: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    height: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    corner_radius: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    background_color: Option<&'static str>,
}

impl<'a> BoxPart<'a> {
    fn of(layout: &'static str, contents: Vec<Part<'a>>) -> Self {
        Self {
            layout,
            contents,
            spacing: None,
            height: None,
            corner_radius: None,
            background_color: None,
        }
    }
}

/// Never without text: LINE refuses that.
#[derive(Serialize)]
pub(super) struct TextPart<'a> {
    text: &'a str,
    size: &'static str,
    color: &'static str,
    wrap: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flex: Option<u8>,
}

impl<'a> TextPart<'a> {
    fn wrapped(text: &'a str) -> Self {
        Self { text, size: "sm", color: TEXT, wrap: true, weight: None, flex: None }
    }
}
