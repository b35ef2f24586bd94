//! Rules for the text of Rust files: their length, left-over macros, and subjects written outside the bus.

use super::{Finding, Weight, files, read};
use crate::workspace::Workspace;
use anyhow::Result;
use std::path::Path;

const MOST_LINES: usize = 800;
const MANY_LINES: usize = 600;

/// Macros that stand for unfinished work.
const UNFINISHED: &[&str] = &["todo", "unimplemented", "dbg"];

/// The first words of the subjects that the topology declares.
const SUBJECT_ROOTS: &[&str] =
    &["customer", "inbound", "outbox", "queue", "ledger", "dead", "relay"];

/// Where subjects may be written: the bus declares them, and tests look at them from outside.
const SUBJECT_WRITERS: &[&str] = &["crates/bus", "tests", "xtask"];

pub(super) fn check(workspace: &Workspace) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for folder in ["crates", "tests", "xtask"] {
        for path in files(&workspace.root.join(folder), "rs")? {
            let file = workspace.relative(&path);
            let text = read(&path)?;
            findings.extend(length(file, &text));
            findings.extend(unfinished(file, &text));
            findings.extend(subjects(file, &text));
        }
    }
    Ok(findings)
}

fn length(file: &Path, text: &str) -> Option<Finding> {
    let lines = text.lines().count();
    if lines <= MANY_LINES {
        return None;
    }
    let what = format!("{lines} lines");
    let finding = Finding::failure(file, lines, what, "divide it by reasons to change");
    let weight = if lines > MOST_LINES { Weight::Failure } else { Weight::Warning };
    Some(Finding { weight, ..finding })
}

fn unfinished(file: &Path, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in code_lines(text) {
        for name in UNFINISHED {
            if calls_macro(line, name) {
                let what = format!("`{name}!` stands here");
                findings.push(Finding::failure(file, number, what, "finish it or take it out"));
            }
        }
    }
    findings
}

fn calls_macro(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let after = &line[start + name.len()..];
        !before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_')
            && ["!(", "![", "!{", "! {"].iter().any(|call| after.starts_with(call))
    })
}

fn subjects(file: &Path, text: &str) -> Vec<Finding> {
    if SUBJECT_WRITERS.iter().any(|folder| file.starts_with(folder)) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (number, line) in code_lines(text) {
        // The text after each quote: sometimes code between two literals, which then never looks like a subject.
        for literal in line.split('"').skip(1).filter(|literal| looks_like_subject(literal)) {
            let what = format!("the subject `{literal}` is written outside the bus");
            let remedy = "declare it in the bus's topology and call it from here";
            findings.push(Finding::failure(file, number, what, remedy));
        }
    }
    findings
}

/// Tells `customer.{id}.case` and `queue.*.>` from the event type `customer.created`: a subject has a place for a value.
fn looks_like_subject(literal: &str) -> bool {
    let mut words = literal.split('.');
    let known_root = words.next().is_some_and(|root| SUBJECT_ROOTS.contains(&root));
    let is_value = |word: &str| {
        word.starts_with(['{', '*', '>'])
            || word.starts_with(|letter: char| letter.is_ascii_uppercase())
    };
    known_root && !literal.contains(char::is_whitespace) && words.any(is_value)
}

fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let numbered = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    numbered.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "crates/routing/src/lib.rs";

    fn lines_of(findings: &[Finding]) -> Vec<usize> {
        findings.iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_long_file_is_a_warning_and_a_very_long_one_a_failure() {
        let weight =
            |lines| length(Path::new(FILE), &"x\n".repeat(lines)).map(|found| found.weight);
        assert_eq!(weight(600), None);
        assert_eq!(weight(601), Some(Weight::Warning));
        assert_eq!(weight(800), Some(Weight::Warning));
        assert_eq!(weight(801), Some(Weight::Failure));
        let message = length(Path::new(FILE), &"x\n".repeat(900)).unwrap().to_string();
        assert!(message.starts_with("crates/routing/src/lib.rs:900: 900 lines – "), "{message}");
    }

    #[test]
    fn unfinished_work_is_found_where_it_is_called() {
        let call = |name: &str| format!("fn a() {{}}\nfn b() {{ {name}!() }}\n");
        for name in UNFINISHED {
            assert_eq!(lines_of(&unfinished(Path::new(FILE), &call(name))), [2]);
        }
        assert!(unfinished(Path::new(FILE), &call("my_todo")).is_empty());
        assert!(unfinished(Path::new(FILE), &format!("// {}", call("dbg"))).len() == 1);
        assert!(unfinished(Path::new(FILE), "let todo = list.todo;").is_empty());
    }

    #[test]
    fn subjects_are_told_from_event_types() {
        let subject = [
            r#"format!("customer.{customer}.case")"#,
            r#"subscribe("customer.*.case");"#,
            r#"subscribe("queue.>");"#,
            r#"let one = "customer.C7K2.channel";"#,
            r#"call("ok", "outbox.{}.{}")"#,
        ];
        for line in subject {
            assert_eq!(lines_of(&subjects(Path::new(FILE), line)), [1], "{line}");
        }
        let other = [
            r#"event_type("customer.created")"#,
            r#"counter("queue.full.refused")"#,
            r#"bail!("customer. {name} is unknown")"#,
            "subject::customer(id)",
            r#"/// A subject is "customer.{id}.case"."#,
            r#"format!("queue {queue}.{case}")"#,
        ];
        for line in other {
            assert!(subjects(Path::new(FILE), line).is_empty(), "{line}");
        }
    }

    #[test]
    fn the_bus_and_tests_may_write_subjects() {
        let line = r#"format!("customer.{customer}.case")"#;
        for file in ["crates/bus/src/topology/mod.rs", "tests/tests/flow.rs"] {
            assert!(subjects(Path::new(file), line).is_empty());
        }
        assert_eq!(subjects(Path::new("crates/bus-tools/src/lib.rs"), line).len(), 1);
    }
}
