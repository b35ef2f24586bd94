//! Callers give what the templates need.

use mainstem_domain::CaseId;
use mainstem_domain::notification::{Class, Words};
use mainstem_domain::voice;
use serde_json::json;

use super::{with_template, words};

fn refused(template: &serde_json::Value, class: Class, given: &[(&str, &str)]) -> Vec<String> {
    let configuration = with_template(template);
    match voice::check(&configuration, &words("t", given), class) {
        Ok(()) => Vec::new(),
        Err(refusal) => {
            assert_eq!(refusal.reason, "INVALID_FIELD");
            let violations = refusal.violations.into_iter();
            violations.map(|it| format!("{}: {}", it.field, it.description)).collect()
        }
    }
}

#[test]
fn what_is_missing_unknown_or_something_else_is_named() {
    let template = json!({
        "variables": {"amount": "money", "arrives": "date"},
        "house": "{amount} {arrives} {case} {link}",
    });
    let case = CaseId::derive("one").to_string();
    let good = [("amount", "TWD 1"), ("arrives", "2026-11-30"), ("case", &*case)];
    assert_eq!(refused(&template, Class::Service, &good), [""; 0]);
    assert_eq!(
        refused(
            &template,
            Class::Service,
            &[("amount", "much"), ("arrivs", "2026-11-30"), ("link", "x"), ("0912 345 678", "x")]
        ),
        [
            "variables.amount: is something else; give a currency and an amount, e.g. TWD 12800 or USD 99.50",
            "variables.arrives: is missing; give a date, e.g. 2026-11-30",
            "variables.case: is missing; give the id of a case",
            "variables: is no variable of the templates; leave it out",
            "variables.arrivs: is no variable of the templates; leave it out",
            "variables.link: is filled in without you, or not said; leave it out",
        ]
    );
}

#[test]
fn what_the_request_is_about_needs_no_variable() {
    let configuration = with_template(&json!({"house": "{case} {staff}"}));
    let about = Words {
        case: Some(CaseId::derive("one")),
        staff: Some("lin".parse().unwrap()),
        ..words("t", &[])
    };
    assert_eq!(voice::check(&configuration, &about, Class::Service), Ok(()));
    let text =
        Words { text: Some("hi".to_owned()), templates: Vec::new(), ..words("t", &[("a", "b")]) };
    assert!(voice::check(&configuration, &text, Class::Service).is_err());
}

#[test]
fn nothing_is_sent_as_what_disturbs_more_than_its_template_may() {
    use Class::{Marketing, Reply, Service, Transactional};
    for (template, taken) in [
        ("marketing", &[Marketing][..]),
        ("service", &[Service, Marketing]),
        ("transactional", &Class::ALL),
        ("reply", &Class::ALL),
    ] {
        for class in [Reply, Service, Transactional, Marketing] {
            let refused = refused(&json!({"class": template, "house": "hi"}), class, &[]);
            assert_eq!(refused.is_empty(), taken.contains(&class), "{template} as {class:?}");
        }
    }
    for class in Class::ALL {
        assert_eq!(refused(&json!({"house": "hi"}), class, &[]), [""; 0]);
    }
}
