//! Whether a caller's request says everything that its templates need.

use std::collections::BTreeMap;

use super::pattern::is_name;
use super::{Type, Voice};
use crate::configuration::{Configuration, Template};
use crate::notification::{Class, Words};
use crate::{Language, Refusal, RefusalCode, Violation};

/// Looks at the variables that a caller gives for the templates of a request, and at the class that
/// they are to be sent as. Templates that do not exist are passed over.
///
/// # Errors
/// `INVALID_ARGUMENT` with every variable that is missing, unknown or of another type, as
/// `variables.<name>`; and `class`, when a template may not be sent as that. Values are not told:
/// they may be personal.
pub fn check(configuration: &Configuration, words: &Words, class: Class) -> Result<(), Refusal> {
    let mut violations = Vec::new();
    let mut wrong = |field: String, description: String| {
        violations.push(Violation { field, description });
    };
    let mut needed: BTreeMap<&str, Vec<Type>> = BTreeMap::new();
    for name in &words.templates {
        let Some(template) = configuration.templates.get(name) else { continue };
        if let Some(at_most) = template.class.filter(|at_most| freedom(class) > freedom(*at_most)) {
            wrong(
                "class".to_owned(),
                format!(
                    "is {}, and template {name} is {}; send it as that",
                    class.name(),
                    at_most.name()
                ),
            );
        }
        for (variable, of) in asked_for(template, words) {
            needed.entry(variable).or_default().push(of);
        }
    }
    let voice = Voice {
        brand: None,
        language: Language::default(),
        zone: &configuration.notification.zone,
    };
    for (name, types) in &needed {
        let value = words.variables.get(*name).map(String::as_str);
        let fails =
            |of: &&Type| value.is_none_or(|value| of.show(value, configuration, voice).is_none());
        if let Some(of) = types.iter().find(fails) {
            let fault = if value.is_some() { "is something else" } else { "is missing" };
            wrong(format!("variables.{name}"), format!("{fault}; give {}", of.expects()));
        }
    }
    for name in words.variables.keys().filter(|name| !needed.contains_key(name.as_str())) {
        // What is no name may be a value in the wrong place, and is not told either.
        let field =
            if is_name(name) { format!("variables.{name}") } else { "variables".to_owned() };
        let remedy = if BUILT_IN.iter().any(|(known, _)| known == name) {
            "is filled in without you, or not said; leave it out"
        } else {
            "is no variable of the templates; leave it out"
        };
        wrong(field, remedy.to_owned());
    }
    refuse(violations)
}

/// How little holds a class back: quiet hours and the budget hold marketing, quiet hours service.
fn freedom(class: Class) -> u8 {
    match class {
        Class::Marketing => 0,
        Class::Service => 1,
        Class::Transactional | Class::Reply => 2,
    }
}

fn refuse(violations: Vec<Violation>) -> Result<(), Refusal> {
    let Some(first) = violations.first() else { return Ok(()) };
    let message = match violations.len() {
        1 => format!("{}: {}", first.field, first.description),
        count => format!("{}: {}; and {} more", first.field, first.description, count - 1),
    };
    let refusal = Refusal::new(RefusalCode::InvalidArgument, "INVALID_FIELD", message);
    Err(Refusal { violations, ..refusal })
}

/// The variables that every template has, and that mostly stand for what it is about.
pub(crate) const BUILT_IN: [(&str, Type); 4] =
    [("case", Type::Case), ("link", Type::Link), ("staff", Type::Staff), ("brand", Type::Brand)];

/// The variables that the caller must give: those that the template declares, and of those that every
/// template has what it says and nobody else knows.
fn asked_for<'a>(template: &'a Template, words: &Words) -> impl Iterator<Item = (&'a str, Type)> {
    let says = template.says();
    let open =
        [("case", Type::Case, words.case.is_some()), ("staff", Type::Staff, words.staff.is_some())];
    let open = open.into_iter().filter(move |(name, _, known)| !known && says.contains(name));
    let declared = template.variables.iter().map(|(name, of)| (name.as_str(), *of));
    declared.chain(open.map(|(name, of, _)| (name, of)))
}
