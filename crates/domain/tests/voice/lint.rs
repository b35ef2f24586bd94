//! What lint says of templates, and of those who speak.

use mainstem_domain::configuration::Configuration;
use serde_json::{Value, json};

use super::with_template;

fn problems(configuration: &Configuration) -> Vec<String> {
    configuration.lint().iter().map(ToString::to_string).collect()
}

fn of(template: &Value) -> Vec<String> {
    problems(&with_template(template))
}

/// With more of the configuration.
fn with(template: &Value, more: &Value) -> Vec<String> {
    let mut whole = serde_json::to_value(with_template(template)).unwrap();
    for (key, value) in more.as_object().unwrap() {
        whole[key] = value.clone();
    }
    problems(&serde_json::from_value(whole).unwrap())
}

#[test]
fn variables_are_declared_known_and_used() {
    for (template, problem) in [
        (json!({"house": "{link} {case} {staff}"}), None),
        (
            json!({"house": "{amount}"}),
            Some(
                "templates.t.house.zh-TW: {amount} is not declared; add it, with its type, under variables of the template",
            ),
        ),
        (
            json!({"variables": {"amount": "money"}, "house": "好"}),
            Some("templates.t.variables.amount: is said in no text; use it, or leave it out"),
        ),
        (
            json!({"variables": {"case": "text"}, "house": "{case}"}),
            Some("templates.t.variables.case: is known to every template; leave it out"),
        ),
        (
            json!({"house": "{Amount}"}),
            Some(
                "templates.t.house.zh-TW: has a brace that belongs to no variable; write one as {name}, or leave the brace out",
            ),
        ),
        (
            json!({"variables": {"A": "text"}, "house": "好"}),
            Some(
                "templates.t.variables.A: is no name; write a letter, then letters, digits, - or _, all small",
            ),
        ),
        (
            json!({"house": "{brand}"}),
            Some(
                "templates.t.house.zh-TW: {brand} has no name where no brand is spoken of; add house, with its name",
            ),
        ),
    ] {
        assert_eq!(of(&template), problem.into_iter().collect::<Vec<_>>(), "{template}");
    }
    let without_entry = with(&json!({"house": "{link}"}), &json!({"entry": null}));
    assert_eq!(
        without_entry,
        [
            "templates.t.house.zh-TW: {link} shows the way to the single entry, and there is none; add entry"
        ]
    );
    assert_eq!(with(&json!({"house": "{brand}"}), &json!({"house": {"name": "House"}})), [""; 0]);
}

#[test]
fn every_text_is_there_in_every_language() {
    let languages = json!({"languages": ["zh-TW", "en"]});
    let template = json!({
        "house": {"zh-TW": "您好", "en": "Hello"},
        "brands": {"aurora": "您好", "borea": {"en": "Hello"}},
    });
    assert_eq!(
        with(&template, &languages),
        [
            "templates.t.brands.aurora.en: is missing; write it, or leave out the brand's own voice",
            "templates.t.brands.borea.zh-TW: is missing; write it, or leave out the brand's own voice",
        ]
    );
    assert_eq!(
        of(&json!({"house": {"en": "Hello"}})),
        [
            "templates.t.house.zh-TW: is missing; write it, for every template is said in all languages"
        ]
    );
    assert_eq!(
        with(&json!({"house": "您好"}), &json!({"languages": ["en"]}))[0],
        "languages: must have zh-TW, which stands in for the others"
    );
}

#[test]
fn no_voice_names_another_brand_or_claims_what_it_may_not() {
    let named = |template: &Value| {
        of(template).iter().map(|it| it.split(';').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        named(&json!({"house": "歡迎來到極光", "brands": {"aurora": "AURORA and ＢＯＲＥＡ"}})),
        ["templates.t.house.zh-TW: names aurora", "templates.t.brands.aurora.zh-TW: names borea"]
    );
    assert_eq!(
        named(&json!({"house": "hi", "brands": {"aurora": "極光 Aurora {link}, boreal"}})),
        [""; 0]
    );
    // A name within the own name is the own.
    let brands =
        json!({"brands": {"aurora": {"name": "Aurora"}, "borea": {"name": "Aurora Borea"}}});
    assert_eq!(
        with(&json!({"house": "hi", "brands": {"borea": "Aurora Borea"}}), &brands),
        [""; 0]
    );
    let forbidden = json!({"forbidden": [{"words": "Lowest Price", "remedy": "leave it out"}, {"words": "療效", "remedy": "刪除"}]});
    assert_eq!(
        with(
            &json!({"house": "The lowest price", "brands": {"aurora": "有療效", "borea": "the lowest prices"}}),
            &forbidden
        ),
        [
            "templates.t.house.zh-TW: claims \"Lowest Price\"; leave it out",
            "templates.t.brands.aurora.zh-TW: claims \"療效\"; 刪除",
        ]
    );
}

#[test]
fn what_is_too_long_for_line_is_refused() {
    let long = "𝄞".repeat(2_501);
    assert_eq!(
        of(&json!({"house": long})),
        ["templates.t.house.zh-TW: has 5002 UTF-16 units; LINE takes 1 to 5000"]
    );
    assert_eq!(
        of(&json!({"house": " \n"})),
        ["templates.t.house.zh-TW: has 2 UTF-16 units; LINE takes 1 to 5000"]
    );
    let card = |title: &str, text: &str| {
        of(&json!({"card": {"case": "opened"}, "house": {"zh-TW": {"title": title, "text": text}}}))
    };
    assert_eq!(card(&"好".repeat(100), &"好".repeat(1_399)), [""; 0]);
    assert_eq!(
        card(&"好".repeat(101), &"好".repeat(1_400)),
        [
            "templates.t.house.zh-TW.title: has 101 UTF-16 units; a card's title takes 1 to 100",
            "templates.t.house.zh-TW: has 1400 UTF-16 units; a card takes 1 to 1399",
        ]
    );
}

#[test]
fn a_card_has_a_title_and_what_it_shows() {
    assert_eq!(
        of(&json!({"card": {"case": "opened"}, "house": "好"})),
        ["templates.t.house.zh-TW: has no title, and is a card; write title and text"]
    );
    assert_eq!(
        of(&json!({"house": {"zh-TW": {"title": "好", "text": "好"}}})),
        ["templates.t.house.zh-TW: has a title, and is no card; write the text alone, or add card"]
    );
    assert_eq!(
        of(&json!({
            "card": {"order": "paid"}, "variables": {"number": "number"},
            "house": {"zh-TW": {"title": "好", "text": "好"}},
        })),
        [
            "templates.t.variables.number: is shown on the card of an order; declare it as text",
            "templates.t.variables.amount: is shown on the card of an order; declare it as money",
        ]
    );
}

#[test]
fn whoever_says_a_template_knows_what_it_says() {
    let rule = |open: Value| {
        json!({
            "queues": {"repair": {"name": "Repair"}},
            "rules": [{"name": "r", "when": "event.menu == 'm'", "open": open, "reply": "t"}],
            "templates": {
                "t": {"class": "marketing", "variables": {"amount": "money"}, "house": "{case} {amount} {staff} {link}"},
                "case-resolved": {"house": "{case} {staff}"},
            },
        })
    };
    let known = |open| with(&json!({"house": "hi"}), &rule(open));
    let always = [
        "rules[0].reply: t is marketing, and this is an answer; use another template",
        "rules[0].reply: t says {amount}, which this rule does not know; use another template",
        "rules[0].reply: t says {staff}, which this rule does not know; use another template",
        "templates.case-resolved: says {staff}, which nobody knows when case-resolved is said; leave it out",
    ];
    assert_eq!(known(json!({"queue": "repair"})), always);
    let case = "rules[0].reply: t says {case}, which this rule does not know; let it open a case, or use another template";
    let without = known(Value::Null);
    assert_eq!(without.len(), 5);
    assert!(without.iter().any(|problem| problem == case), "{without:?}");
}

#[test]
fn senders_are_what_line_takes() {
    let sender = |name: &str, icon: &str| {
        let brands = json!({"brands": {"aurora": {"name": "Aurora", "sender": {"name": name, "icon": icon}}}});
        with(&json!({"house": "hi"}), &brands)
    };
    assert_eq!(sender("曜侖 Aurora", "https://example.com/a.PNG?v=2"), [""; 0]);
    let long = sender(&"好".repeat(21), "https://example.com/a.png");
    assert_eq!(long, ["brands.aurora.sender.name: has 21 characters; LINE takes 1 to 20"]);
    let reserved = sender("Aurora on Line", "https://example.com/a.png");
    assert_eq!(
        reserved,
        ["brands.aurora.sender.name: has the word LINE in it, which LINE refuses; leave it out"]
    );
    for icon in
        ["http://example.com/a.png", "https://example.com/a.jpg", "https://example.com/a b.png"]
    {
        assert_eq!(
            sender("Aurora", icon),
            [
                "brands.aurora.sender.icon: is no https:// address of a PNG picture, e.g. https://example.com/brand.png"
            ]
        );
    }
}
