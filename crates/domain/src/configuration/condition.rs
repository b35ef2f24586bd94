//! The condition of a rule: an expression of the Common Expression Language over what happened.
//!
//! | name | what it is; a text, empty where there is nothing |
//! |---|---|
//! | `event.type` | `text`, `media`, `postback`, `follow`, `unfollow`, `unsend`, `order-placed`, … ([`Act::name`]) |
//! | `event.text` | what the person wrote |
//! | `event.postback` | the data of the tap |
//! | `event.menu` | the parameter `menu` of that data |
//! | `event.brand`, `event.store` | what the event says, else its channel's |
//! | `channel.id`, `channel.kind`, `channel.mode` | where it came in |
//! | `brand` | the brand that it is about: the menu's, the event's, that of what was spoken of, or bought, last |
//! | `customer.purchase` | the brand that the customer bought of last |
//! | `binding.staff`, `binding.store` | the salesperson that the customer is bound to for that brand, and where |
//! | `conversation.state` | where the conversation about that brand stands: `waiting`, `offered`, `in progress`, `closed` |
//! | `param(name)` | any parameter of the data |
//! | `open(calendar)` | true or false: whether that calendar is open when it is decided |
//!
//! With `==`, `!=`, `&&`, `||`, `!`, `? :`, `in`, `size`, `contains`, `startsWith`, `endsWith` and
//! `lowerAscii`. Maps and macros are left out: nothing here may depend on the order of a map, or run
//! for longer than its text is long.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use cel::common::ast::{Expr, IdedExpr, LiteralValue};
use cel::{Context, Env, Program, Value, extensions};
use serde::{Deserialize, Serialize};

use super::compiled::Test;
use super::facts::{Facts, VARIABLES, parameter};
use super::{Calendar, ChannelKind, Mode};
use crate::person::{Act, Business, ChannelEvent};
use crate::{At, CalendarId};

const FUNCTIONS: [&str; 7] =
    ["size", "contains", "startsWith", "endsWith", "lowerAscii", "param", "open"];

/// What is not a name: CEL writes its operators as calls of `_==_`, `!_`, `@in` and so on.
fn is_operator(function: &str) -> bool {
    function.contains(['_', '@'])
}

/// LINE's limit for postback data is 300 characters; a rule that needs more than this says too
/// much at once.
const LENGTH_AT_MOST: usize = 2_000;

/// The parser calls itself for each bracket, and a stack has an end.
const DEPTH_AT_MOST: usize = 16;

/// So do parser and evaluator for each operator of a chain; a `.` and a `|` count as one each.
const SIGNS_AT_MOST: usize = 150;

static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut environment = Env::default().with_optional_support(false).with_stdlib();
    // It fails only when a name is declared twice, and nothing was declared but the standard.
    let _ = environment.add_extension(extensions::strings);
    Arc::new(environment)
});

/// An expression, compiled once.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Condition {
    source: String,
    program: Arc<Program>,
    /// The same in the form that is evaluated faster, if it has one.
    compiled: Option<Arc<Test>>,
    /// The calendars that it asks for.
    calendars: Arc<[CalendarId]>,
}

/// A condition could not be evaluated: it counts as no match.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConditionError(String);

/// Evaluates conditions one after the other against the same facts.
pub(super) struct Evaluation<'a> {
    facts: &'a Facts<'a>,
    calendars: &'a BTreeMap<CalendarId, Calendar>,
    /// Of the general evaluator, made when the first condition needs it.
    context: OnceCell<Context<'a, 'a>>,
}

impl<'a> Evaluation<'a> {
    pub(super) fn new(facts: &'a Facts<'a>, calendars: &'a BTreeMap<CalendarId, Calendar>) -> Self {
        Self { facts, calendars, context: OnceCell::new() }
    }

    /// `asked`: the calendars that a condition asks for.
    fn context(&self, asked: &[CalendarId]) -> Context<'a, 'a> {
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        context.set_variable_resolver(self.facts);
        let data = self.facts.postback().to_owned();
        let param = move |name: Arc<String>| -> String {
            parameter(&data, &name).unwrap_or_default().to_owned()
        };
        let (calendars, at) = (self.calendars, self.facts.at);
        let open = asked
            .iter()
            .filter(|id| calendars.get(*id).is_some_and(|calendar| calendar.standing(at).0));
        let open: Vec<CalendarId> = open.cloned().collect();
        let is_open = move |name: Arc<String>| -> bool {
            open.iter().any(|calendar| calendar.as_str() == name.as_str())
        };
        // They fail only for names that the environment has already.
        let _ = context.add_function("param", param);
        let _ = context.add_function("open", is_open);
        context
    }
}

impl Condition {
    /// The expression as it was written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether it holds.
    ///
    /// # Errors
    /// It came to something else than true or false, or failed on the way.
    pub(super) fn holds(&self, evaluation: &Evaluation<'_>) -> Result<bool, ConditionError> {
        match &self.compiled {
            Some(test) => Ok(test.holds(evaluation.facts, evaluation.calendars)),
            None => self.executed(evaluation),
        }
    }

    /// By the general evaluator.
    fn executed(&self, evaluation: &Evaluation<'_>) -> Result<bool, ConditionError> {
        // Calendars are looked up for each condition that asks for some, and for no other.
        let own = (!self.calendars.is_empty()).then(|| evaluation.context(&self.calendars));
        let shared = || evaluation.context.get_or_init(|| evaluation.context(&[]));
        match self.program.execute(own.as_ref().unwrap_or_else(shared)) {
            Ok(Value::Bool(holds)) => Ok(holds),
            // The value could hold what a person wrote.
            Ok(_) => Err(ConditionError("gives something else than true or false".to_owned())),
            Err(cel::ExecutionError::UndeclaredReference(name)) => {
                Err(ConditionError(format!("uses {name}, which is not declared")))
            }
            Err(_) => Err(ConditionError("fails on some events".to_owned())),
        }
    }

    /// The calendars that it asks for.
    pub(super) fn calendars(&self) -> &[CalendarId] {
        &self.calendars
    }

    /// Whether it holds for everything, because it looks at nothing.
    pub(super) fn is_always(&self) -> bool {
        let references = self.program.references();
        references.variables().is_empty()
            && !references.has_function("param")
            && !references.has_function("open")
            && samples().first().is_some_and(|(event, kind)| self.tried(event, *kind) == Ok(true))
    }

    /// With every calendar closed.
    fn tried(&self, event: &ChannelEvent, kind: ChannelKind) -> Result<bool, ConditionError> {
        let facts = Facts::of(event, kind, At::default());
        self.holds(&Evaluation::new(&facts, &BTreeMap::new()))
    }

    /// What keeps it from being applied: an undeclared name, or a sample that it fails on.
    pub(super) fn problem(&self) -> Option<String> {
        if let Err(problem) = check(self.program.expression()) {
            return Some(problem);
        }
        samples().iter().find_map(|(event, kind)| {
            let error = self.tried(event, *kind).err()?;
            Some(format!("{error} (tried on {} of a {kind} channel)", event.act.name()))
        })
    }
}

/// Only what the head of this module declares.
fn check(expression: &IdedExpr) -> Result<(), String> {
    match &expression.expr {
        Expr::Literal(_) => Ok(()),
        Expr::List(list) => list.elements.iter().try_for_each(check),
        Expr::Call(call) => {
            let name = call.func_name.as_str();
            if !is_operator(name) && !FUNCTIONS.contains(&name) {
                return Err(format!("uses {name}(), but there are only {}", FUNCTIONS.join(", ")));
            }
            if name == "open" && literal(call.args.first()).is_none() {
                return Err("asks open() for no calendar; name it, e.g. open('office')".to_owned());
            }
            call.target.iter().map(AsRef::as_ref).chain(&call.args).try_for_each(check)
        }
        Expr::Ident(_) | Expr::Select(_) => {
            let name = qualified(&expression.expr).unwrap_or_else(|| "a field".to_owned());
            if VARIABLES.contains(&name.as_str()) {
                return Ok(());
            }
            Err(format!("uses {name}, but there are only {}", VARIABLES.join(", ")))
        }
        Expr::Map(_) | Expr::Struct(_) | Expr::Comprehension(_) | Expr::Unspecified => {
            Err("uses a map or a macro; write it with ==, &&, || and contains".to_owned())
        }
    }
}

fn literal(expression: Option<&IdedExpr>) -> Option<&str> {
    if let Expr::Literal(LiteralValue::String(text)) = &expression?.expr {
        Some(text.inner())
    } else {
        None
    }
}

/// The calendars that an expression names; what is no name of one is lint's.
fn calendars(expression: &IdedExpr, found: &mut Vec<CalendarId>) {
    match &expression.expr {
        Expr::Call(call) => {
            if call.func_name == "open" {
                found.extend(literal(call.args.first()).and_then(|name| name.parse().ok()));
            }
            for part in call.target.iter().map(AsRef::as_ref).chain(&call.args) {
                calendars(part, found);
            }
        }
        Expr::List(list) => {
            for part in &list.elements {
                calendars(part, found);
            }
        }
        Expr::Literal(_)
        | Expr::Ident(_)
        | Expr::Select(_)
        | Expr::Map(_)
        | Expr::Struct(_)
        | Expr::Comprehension(_)
        | Expr::Unspecified => {}
    }
}

pub(super) fn qualified(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Ident(name) => Some(name.clone()),
        Expr::Select(select) if !select.test => {
            Some(format!("{}.{}", qualified(&select.operand.expr)?, select.field))
        }
        Expr::Select(_)
        | Expr::Call(_)
        | Expr::Comprehension(_)
        | Expr::List(_)
        | Expr::Literal(_)
        | Expr::Map(_)
        | Expr::Struct(_)
        | Expr::Unspecified => None,
    }
}

/// One event of each kind, so that a rule is tried on all of them before it is applied.
fn samples() -> Vec<(ChannelEvent, ChannelKind)> {
    let spoken = [
        Act::Text("請問手錶可以維修嗎？ Can you repair my watch?".to_owned()),
        Act::Postback("menu=store&brand=aurora".to_owned()),
        Act::Postback(String::new()),
        Act::Follow,
        Act::Unfollow,
        Act::Media("1".to_owned()),
        Act::Unsend("1".to_owned()),
        Act::Other,
    ];
    let told = Business::ALL.into_iter().map(Act::Business);
    let kinds = [ChannelKind::Line, ChannelKind::Shop, ChannelKind::Till, ChannelKind::Phone];
    let acts: Vec<_> = spoken.into_iter().chain(told).collect();
    kinds
        .into_iter()
        .flat_map(|kind| acts.iter().cloned().map(move |act| (act, kind)))
        .filter_map(|(act, kind)| {
            let at = crate::At::from_millis(0);
            let event = ChannelEvent {
                id: "sample".parse().ok()?,
                channel: "sample".parse().ok()?,
                mode: Mode::Live,
                store: "taipei-01".parse().ok(),
                brand: None,
                act,
                sightings: Vec::new(),
                occurred_at: at,
                received_at: at,
                reply_token: None,
                attributes: Vec::new(),
                consents: Vec::new(),
                message: None,
            };
            Some((event, kind))
        })
        .collect()
}

impl TryFrom<String> for Condition {
    type Error = ConditionError;
    fn try_from(source: String) -> Result<Self, ConditionError> {
        if source.len() > LENGTH_AT_MOST {
            let what = format!("is longer than {LENGTH_AT_MOST} bytes; make two rules of it");
            return Err(ConditionError(what));
        }
        let (depth, signs) = measure(&source);
        if depth > DEPTH_AT_MOST || signs > SIGNS_AT_MOST {
            let what = format!(
                "has more than {DEPTH_AT_MOST} brackets in each other, or more than {SIGNS_AT_MOST} \
                 operators, dots and brackets; make two rules of it"
            );
            return Err(ConditionError(what));
        }
        let program = ENVIRONMENT.compile(&source).map_err(|errors| {
            let what = errors.errors.first().map(|error| error.msg.clone()).unwrap_or_default();
            ConditionError(format!("is no CEL expression: {what}"))
        })?;
        let mut found = Vec::new();
        calendars(program.expression(), &mut found);
        let compiled = Test::compile(program.expression()).map(Arc::new);
        Ok(Self { source, program: Arc::new(program), compiled, calendars: found.into() })
    }
}

/// How deep brackets nest, and how many operators, dots and brackets there are. Those that stand in
/// a text count too: that only makes it stricter.
fn measure(source: &str) -> (usize, usize) {
    let (mut open, mut deepest, mut signs) = (0_usize, 0, 0);
    for letter in source.chars() {
        match letter {
            '(' | '[' | '{' => open += 1,
            ')' | ']' | '}' => open = open.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(open);
        signs += usize::from(letter.is_ascii_punctuation() && !matches!(letter, '\'' | '"' | '_'));
    }
    (deepest, signs)
}

impl From<Condition> for String {
    fn from(condition: Condition) -> String {
        condition.source
    }
}

impl std::str::FromStr for Condition {
    type Err = ConditionError;
    fn from_str(text: &str) -> Result<Self, ConditionError> {
        Self::try_from(text.to_owned())
    }
}

impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Condition {}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn condition(text: &str) -> Condition {
        text.parse().unwrap()
    }

    fn event(act: Act) -> ChannelEvent {
        let (mut event, _) = samples().remove(0);
        event.act = act;
        event
    }

    fn holds(text: &str, act: Act) -> bool {
        condition(text).tried(&event(act), ChannelKind::Line).unwrap()
    }

    #[test]
    fn conditions_look_at_what_happened() {
        let tap = |data: &str| Act::Postback(data.to_owned());
        let text = |text: &str| Act::Text(text.to_owned());
        assert!(holds("event.menu == 'repair'", tap("brand=aurora&menu=repair")));
        assert!(!holds("event.menu == 'repair'", tap("menu=repairs")));
        assert!(holds("param('size') in ['M', 'L']", tap("menu=shop&size=M")));
        assert!(!holds("param('size') in ['M', 'L']", text("size=M")));
        assert!(holds("event.text.lowerAscii().contains('broken')", text("It is BROKEN")));
        assert!(holds("event.text.contains('維修') && channel.kind == 'line'", text("要維修")));
        assert!(holds("event.type == 'order-paid'", Act::Business(Business::OrderPaid)));
        assert!(holds("event.type in ['follow', 'unfollow']", Act::Unfollow));
        assert!(holds("event.brand == '' && event.store != ''", Act::Other));
    }

    #[test]
    fn conditions_look_at_who_is_bound_and_what_is_open() {
        let event = event(Act::Text("hello".to_owned()));
        let (staff, brand) = ("s-1".parse().unwrap(), "aurora".parse().unwrap());
        let office: Calendar =
            serde_json::from_value(serde_json::json!({"week": {"mon": ["09:00-18:00"]}})).unwrap();
        let id: CalendarId = "office".parse().unwrap();
        let holds = |text: &str, at: &str| {
            let at = At::parse(at).unwrap();
            let known = Facts::of(&event, ChannelKind::Line, at);
            let conversation = "waiting";
            let facts = Facts { staff: Some(&staff), brand: Some(&brand), conversation, ..known };
            let condition = condition(text);
            let calendars = [(id.clone(), office.clone())].into();
            let evaluation = Evaluation::new(&facts, &calendars);
            let holds = condition.holds(&evaluation).unwrap();
            assert_eq!(condition.executed(&evaluation), Ok(holds), "{text}");
            holds
        };
        let (monday, sunday) = ("2026-11-23T10:00:00+08:00", "2026-11-22T10:00:00+08:00");
        assert!(holds("binding.staff == 's-1' && binding.store == ''", monday));
        assert!(holds("brand == 'aurora' && event.brand == ''", monday));
        assert!(holds("conversation.state in ['waiting', 'offered']", monday));
        assert!(holds("open('office') && !open('nowhere')", monday));
        assert!(!holds("event.type == 'text' && open('office')", sunday));
        let problem = |text: &str| condition(text).problem().unwrap();
        assert!(problem("open(event.text)").contains("name it, e.g. open('office')"));
        assert_eq!(condition("open('office')").problem(), None);
        assert!(!condition("open('office') || true").is_always());
    }

    #[test]
    fn only_declared_names_and_true_or_false_are_applied() {
        assert_eq!(condition("event.type == 'text'").problem(), None);
        let problem = |text: &str| condition(text).problem().unwrap();
        assert!(problem("true || customer.name == ''").starts_with("uses customer.name, but"));
        assert!(problem("event.texts == ''").starts_with("uses event.texts, but"));
        assert!(problem("event == 1").starts_with("uses event, but"));
        assert!(problem("true || reverse(event.text) == ''").starts_with("uses reverse()"));
        assert!(problem("{'a': true}['a']").starts_with("uses a map"));
        assert!(problem("event.text").contains("something else than true or false"));
        assert!(problem("event.type == 'text' ? 1 : true").contains("tried on text"));
        assert!(problem("[1, 2][size(event.text)] == 1").starts_with("fails on some"));
    }

    #[test]
    fn what_is_no_expression_says_so() {
        for text in ["", "event.", "event.type ==", "'", "((", "if (x) y"] {
            let error = text.parse::<Condition>().unwrap_err();
            assert!(error.0.starts_with("is no CEL expression"), "{text}: {error}");
        }
        assert!("x".repeat(2_001).parse::<Condition>().unwrap_err().0.contains("2000 bytes"));
    }

    #[test]
    fn no_expression_is_too_deep_for_the_stack() {
        let repeated = |open: &str, close: &str, times: usize| {
            format!("{}true{}", open.repeat(times), close.repeat(times))
        };
        let shapes = [
            ("(", ")"),
            ("[", "]"),
            ("{1:", "}"),
            ("size(", ")"),
            ("!", ""),
            ("-", ""),
            ("true ? ", " : false"),
            ("true || ", ""),
            ("1 + ", ""),
            ("event.", ""),
            ("", ".a"),
            ("", "[0]"),
        ];
        for (open, close) in shapes {
            let error = repeated(open, close, 200).parse::<Condition>().unwrap_err();
            assert!(error.0.contains("make two rules"), "{error}: {open}");
            for times in [16, 70, 75, 140, 150] {
                if let Ok(condition) = repeated(open, close, times).parse::<Condition>() {
                    let _ = (condition.problem(), condition.is_always());
                }
            }
        }
    }

    fn text() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            prop::sample::select(VARIABLES.to_vec()).prop_map(str::to_owned),
            prop::sample::select(vec!["'text'", "''", "'a'", "'A'", "'store'", "'menu'", "'維修'"])
                .prop_map(str::to_owned),
        ];
        leaf.prop_recursive(2, 4, 1, |inner| {
            prop_oneof![
                inner.clone().prop_map(|text| format!("{text}.lowerAscii()")),
                inner.prop_map(|text| format!("param({text})")),
            ]
        })
    }

    fn expression() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("true".to_owned()),
            Just("open('office')".to_owned()),
            Just("open('nowhere')".to_owned()),
            (text(), prop::sample::select(vec!["==", "!="]), text())
                .prop_map(|(one, sign, other)| format!("{one} {sign} {other}")),
            (text(), vec(text(), 0..3))
                .prop_map(|(one, list)| format!("{one} in [{}]", list.join(", "))),
            (text(), prop::sample::select(vec!["contains", "startsWith", "endsWith"]), text())
                .prop_map(|(one, how, other)| format!("{one}.{how}({other})")),
        ];
        leaf.prop_recursive(3, 8, 3, |inner| {
            prop_oneof![
                inner.clone().prop_map(|one| format!("!({one})")),
                (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) && ({b})")),
                (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) || ({b})")),
                (inner.clone(), inner.clone(), inner)
                    .prop_map(|(a, b, c)| format!("({a}) ? ({b}) : ({c})")),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// The faster form says what the general evaluator says.
        #[test]
        fn both_evaluators_agree(
            source in expression(),
            act in prop::sample::select(vec![
                Act::Text("A 維修 store".to_owned()),
                Act::Text("a".to_owned()),
                Act::Postback("menu=store&a=A&text=menu".to_owned()),
                Act::Follow,
            ]),
            hour in 0..24_i64,
        ) {
            let Ok(condition) = source.parse::<Condition>() else { return Ok(()) };
            prop_assert!(condition.compiled.is_some(), "{source}");
            let event = event(act);
            let at = At::from_millis(hour * 3_600_000);
            let facts = Facts { conversation: "waiting", ..Facts::of(&event, ChannelKind::Line, at) };
            let office = serde_json::json!({"week": {"thu": ["09:00-18:00"]}});
            let office: Calendar = serde_json::from_value(office).unwrap();
            let calendars = [("office".parse().unwrap(), office)].into();
            let evaluation = Evaluation::new(&facts, &calendars);
            prop_assert_eq!(condition.holds(&evaluation), condition.executed(&evaluation));
        }
    }

    #[test]
    fn what_looks_at_nothing_is_always_true() {
        assert!(condition("1 < 2").is_always());
        assert!(!condition("1 > 2").is_always());
        assert!(!condition("event.type != ''").is_always());
        assert!(!condition("param('x') == ''").is_always());
    }
}
