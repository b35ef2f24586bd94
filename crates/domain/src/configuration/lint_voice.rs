//! What is wrong with what would be said.

use std::collections::BTreeSet;

use unicode_normalization::UnicodeNormalization as _;

use super::lint::Findings;
use super::template::SITUATIONS;
use super::{
    Brand, CARD_TEXT_AT_MOST, CASE_RESOLVED, Claim, Configuration, MOVED, Mode, Rule, TEXT_AT_MOST,
    TITLE_AT_MOST, Template, Text,
};
use crate::notification::Class;
use crate::voice::{BUILT_IN, Card, Piece, Type, is_name, pieces, units};
use crate::{BrandId, Language};

/// LINE's limit for the name of a sender, in UTF-16 code units.
const SENDER_AT_MOST: usize = 20;

/// LINE's limit for the address of a sender's picture.
const ICON_AT_MOST: usize = 2_000;

impl Configuration {
    pub(super) fn lint_senders(&self, findings: &mut Findings) {
        let brands = self.brands.iter().map(|(id, brand)| (format!("brands.{id}"), brand));
        for (path, brand) in brands.chain(self.house.iter().map(|it| ("house".to_owned(), it))) {
            if brand.name.trim().is_empty() {
                findings.add(format!("{path}.name"), "is empty; write it as customers see it");
            }
            let Some(sender) = &brand.sender else { continue };
            let length = units(&sender.name);
            if sender.name.trim().is_empty() || length > SENDER_AT_MOST {
                findings.add(
                    format!("{path}.sender.name"),
                    format!("has {length} characters; LINE takes 1 to {SENDER_AT_MOST}"),
                );
            }
            if sender.name.to_lowercase().contains("line") {
                findings.add(
                    format!("{path}.sender.name"),
                    "has the word LINE in it, which LINE refuses; leave it out",
                );
            }
            let is_picture = |icon: &String| {
                let blank = |char: char| char.is_whitespace() || char.is_control();
                let path = icon.split(['?', '#']).next().unwrap_or_default();
                icon.starts_with("https://")
                    && path.to_lowercase().ends_with(".png")
                    && icon.len() <= ICON_AT_MOST
                    && !icon.contains(blank)
            };
            if !sender.icon.as_ref().is_none_or(is_picture) {
                findings.add(
                    format!("{path}.sender.icon"),
                    "is no https:// address of a PNG picture, e.g. https://example.com/brand.png",
                );
            }
        }
    }

    /// The answer of a rule is there, and the rule knows all that it says.
    pub(super) fn lint_reply(&self, path: &str, rule: &Rule, findings: &mut Findings) {
        let Some(name) = &rule.reply else { return };
        let path = format!("{path}.reply");
        let Some(template) = self.templates.get(name) else {
            findings.add(path, format!("no template {name}; add it under templates"));
            return;
        };
        if template.class == Some(Class::Marketing) {
            findings.add(
                &*path,
                format!("{name} is marketing, and this is an answer; use another template"),
            );
        }
        let knows: &[&str] = if rule.open.is_some() { &["case"] } else { &[] };
        for variable in unknown(template, knows) {
            let remedy = match variable {
                "case" => "let it open a case, or use another template",
                _ => "use another template",
            };
            findings.add(
                &*path,
                format!("{name} says {{{variable}}}, which this rule does not know; {remedy}"),
            );
        }
    }

    pub(super) fn lint_templates(&self, findings: &mut Findings) {
        let mut need = |needed: bool, name: &str, why: &str| {
            if needed && !self.templates.contains_key(name) {
                findings.add(format!("templates.{name}"), format!("is missing; {why}"));
            }
        };
        need(
            self.rules.iter().any(|rule| rule.open.is_some()),
            CASE_RESOLVED,
            "it tells a customer that a case is resolved",
        );
        need(
            self.channels.values().any(|channel| channel.mode == Mode::Retired),
            MOVED,
            "with it a retired account shows the way to the single entry",
        );
        if !self.languages.is_empty() && !self.languages.contains(&Language::default()) {
            findings.add(
                "languages",
                format!("must have {}, which stands in for the others", Language::default()),
            );
        }
        for (index, claim) in self.forbidden.iter().enumerate() {
            if claim.words.trim().is_empty() {
                findings.add(format!("forbidden[{index}].words"), "is empty; leave the claim out");
            }
        }
        let voices = self.voices();
        for (name, template) in &self.templates {
            let path = format!("templates.{name}");
            lint_variables(&path, name, template, findings);
            self.lint_languages(&path, template, findings);
            for brand in template.brands.keys().filter(|id| !self.brands.contains_key(*id)) {
                findings.add(
                    format!("{path}.brands.{brand}"),
                    format!("no brand {brand}; add it under brands"),
                );
            }
            for (brand, language, text) in template.texts() {
                let whose = brand.map_or("house".to_owned(), |brand| format!("brands.{brand}"));
                let path = format!("{path}.{whose}.{language}");
                lint_form(&path, template, text, findings);
                self.lint_words(&path, brand, text, &voices, findings);
                self.lint_known(&path, template, brand, text, findings);
            }
        }
    }

    fn lint_languages(&self, path: &str, template: &Template, findings: &mut Findings) {
        let default = BTreeSet::from([Language::default()]);
        let languages = if self.languages.is_empty() { &default } else { &self.languages };
        let brands = template.brands.iter().map(|(id, texts)| (format!("brands.{id}"), texts));
        for (whose, texts) in [("house".to_owned(), &template.house)].into_iter().chain(brands) {
            for language in languages.iter().filter(|language| !texts.0.contains_key(language)) {
                let remedy = if whose == "house" {
                    "write it, for every template is said in all languages"
                } else {
                    "write it, or leave out the brand's own voice"
                };
                findings.add(format!("{path}.{whose}.{language}"), format!("is missing; {remedy}"));
            }
        }
    }

    /// Variables are declared, and what needs no declaration is there.
    fn lint_known(
        &self,
        path: &str,
        template: &Template,
        brand: Option<&BrandId>,
        text: &Text,
        findings: &mut Findings,
    ) {
        let variables: BTreeSet<_> = text.parts().flat_map(crate::voice::variables).collect();
        for variable in variables {
            let problem = match variable {
                "link" if self.entry.is_none() => {
                    "shows the way to the single entry, and there is none; add entry"
                }
                "brand" if brand.is_none() && self.house.is_none() => {
                    "has no name where no brand is spoken of; add house, with its name"
                }
                "case" | "link" | "staff" | "brand" => continue,
                name if template.variables.contains_key(name) => continue,
                _ => "is not declared; add it, with its type, under variables of the template",
            };
            findings.add(path, format!("{{{variable}}} {problem}"));
        }
    }

    /// Nothing is claimed that may not be, and nobody is named who does not speak.
    fn lint_words(
        &self,
        path: &str,
        brand: Option<&BrandId>,
        text: &Text,
        voices: &[(&BrandId, Vec<String>)],
        findings: &mut Findings,
    ) {
        let literals = text.parts().flat_map(pieces).map(|piece| match piece {
            Piece::Literal(text) => text,
            Piece::Variable(_) | Piece::Stray(_) => " ",
        });
        let said = folded(&literals.collect::<String>());
        let own = voices.iter().find(|(id, _)| Some(*id) == brand).map(|(_, names)| names);
        for (other, names) in voices.iter().filter(|(id, _)| Some(*id) != brand) {
            let is_own = |name: &String| own.is_some_and(|own| own.iter().any(|it| says(it, name)));
            if names.iter().any(|name| says(&said, name) && !is_own(name)) {
                let remedy = match brand {
                    Some(_) => "this is another brand's voice; leave it out",
                    None => "the house speaks for every brand; write {brand}, or leave it out",
                };
                findings.add(path, format!("names {other}; {remedy}"));
            }
        }
        for Claim { words, remedy } in &self.forbidden {
            let folded = folded(words);
            if !folded.trim().is_empty() && says(&said, &folded) {
                findings.add(path, format!("claims {words:?}; {remedy}"));
            }
        }
    }

    /// The names that each brand is known by.
    fn voices(&self) -> Vec<(&BrandId, Vec<String>)> {
        let names = |brand: &Brand| {
            let names = brand.scripts().into_iter().map(|(_, name)| folded(&name));
            names.filter(|name| !name.is_empty()).collect()
        };
        self.brands.iter().map(|(id, brand)| (id, names(brand))).collect()
    }
}

/// Lengths, braces and titles.
fn lint_form(path: &str, template: &Template, text: &Text, findings: &mut Findings) {
    let mut limit = |path: String, text: &str, at_most: usize, whose: &str| {
        let units = units(text);
        if text.trim().is_empty() || units > at_most {
            findings.add(path, format!("has {units} UTF-16 units; {whose} takes 1 to {at_most}"));
        }
    };
    match (&text.title, template.card) {
        (Some(title), Some(_)) => {
            limit(format!("{path}.title"), title, TITLE_AT_MOST, "a card's title");
            limit(path.to_owned(), &text.text, CARD_TEXT_AT_MOST, "a card");
        }
        (None, None) => limit(path.to_owned(), &text.text, TEXT_AT_MOST, "LINE"),
        (None, Some(_)) => {
            findings.add(path, "has no title, and is a card; write title and text");
        }
        (Some(_), None) => {
            findings.add(path, "has a title, and is no card; write the text alone, or add card");
        }
    }
    if text.parts().flat_map(pieces).any(|piece| matches!(piece, Piece::Stray(_))) {
        findings.add(
            path,
            "has a brace that belongs to no variable; write one as {name}, or leave the brace out",
        );
    }
}

/// What is declared is said, and can be known to whoever says it.
fn lint_variables(path: &str, name: &str, template: &Template, findings: &mut Findings) {
    let says = template.says();
    for variable in template.variables.keys() {
        let path = format!("{path}.variables.{variable}");
        if !is_name(variable) {
            let remedy = "is no name; write a letter, then letters, digits, - or _, all small";
            findings.add(path, remedy);
        } else if BUILT_IN.iter().any(|(known, _)| known == variable) {
            findings.add(path, "is known to every template; leave it out");
        } else if !says.contains(variable.as_str()) {
            findings.add(path, "is said in no text; use it, or leave it out");
        }
    }
    if let Some(Card::Order(_)) = template.card {
        for (variable, of) in [("number", Type::Text), ("amount", Type::Money)] {
            if template.variables.get(variable) != Some(&of) {
                findings.add(
                    format!("{path}.variables.{variable}"),
                    format!("is shown on the card of an order; declare it as {}", written(of)),
                );
            }
        }
    }
    let situation = SITUATIONS.iter().find(|(known, _)| *known == name);
    if situation.is_some() && template.class == Some(Class::Marketing) {
        findings.add(format!("{path}.class"), "is said as service news; write service or reply");
    }
    let unknown = situation.into_iter().flat_map(|(_, knows)| unknown(template, knows));
    for variable in unknown {
        findings.add(
            path,
            format!("says {{{variable}}}, which nobody knows when {name} is said; leave it out"),
        );
    }
}

/// The variables that somebody has to give who knows these, the brand and the entry alone.
fn unknown<'a>(template: &'a Template, knows: &[&str]) -> Vec<&'a str> {
    let given = |variable: &&str| matches!(*variable, "link" | "brand") || knows.contains(variable);
    template.says().into_iter().filter(|variable| !given(variable)).collect()
}

fn written(of: Type) -> &'static str {
    if of == Type::Money { "money" } else { "text" }
}

/// Without case and width.
fn folded(text: &str) -> String {
    text.nfkc().collect::<String>().to_lowercase()
}

/// Whether a folded text has these folded words in it; where they begin or end with a Latin letter or a
/// digit, not as a part of a longer word.
fn says(text: &str, words: &str) -> bool {
    let joins = |one: Option<char>, other: Option<char>| {
        let plain = |char: Option<char>| char.is_some_and(|char| char.is_ascii_alphanumeric());
        plain(one) && plain(other)
    };
    text.match_indices(words).any(|(place, found)| {
        let (before, after) = (&text[..place], &text[place + found.len()..]);
        !joins(before.chars().next_back(), words.chars().next())
            && !joins(words.chars().next_back(), after.chars().next())
    })
}
