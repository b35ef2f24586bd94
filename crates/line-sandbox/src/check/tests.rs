use serde_json::{Value, json};

use super::*;
use crate::Endpoint;

const PICTURE: &str = "https://example.com/a.png";

fn wrong(message: &Value) -> Vec<String> {
    match check(Endpoint::Push, &json!({"to": "U1", "messages": [message]})) {
        Ok(()) => Vec::new(),
        Err(Invalid { details, .. }) => details.into_iter().map(|one| one.property).collect(),
    }
}

fn tap() -> Value {
    json!({"type": "message", "label": "是", "text": "是"})
}

fn bubble(component: &Value) -> Value {
    json!({"type": "flex", "altText": "a", "contents": {"type": "bubble",
        "body": {"type": "box", "layout": "vertical", "contents": [component]}}})
}

/// One of each subtype, with the fields that LINE says it needs and no other.
fn least() -> Vec<(&'static str, Value)> {
    let template =
        |template: Value| json!({"type": "template", "altText": "a", "template": template});
    let imagemap = |action: Value| {
        json!({"type": "imagemap", "baseUrl": PICTURE, "altText": "a",
            "baseSize": {"width": 1040, "height": 500}, "actions": [action]})
    };
    let area = json!({"x": 0, "y": 0, "width": 1, "height": 1});
    let quick = |action: Value| json!({"type": "text", "text": "hi", "quickReply": {"items": [{"action": action}]}});
    let v2 = |substitution: Value| json!({"type": "textV2", "text": "{a}", "substitution": {"a": substitution}});
    vec![
        ("", json!({"type": "text", "text": "hi"})),
        ("", json!({"type": "textV2", "text": "hi"})),
        (
            "/emojis/0",
            json!({"type": "text", "text": "$", "emojis": [
                {"index": 0, "productId": "5ac1", "emojiId": "001"}]}),
        ),
        ("/substitution/a", v2(json!({"type": "emoji", "productId": "5ac1", "emojiId": "001"}))),
        (
            "/substitution/a/mentionee",
            v2(json!({"type": "mention", "mentionee": {"type": "user", "userId": "U1"}})),
        ),
        ("", json!({"type": "sticker", "packageId": "446", "stickerId": "1988"})),
        ("", json!({"type": "image", "originalContentUrl": PICTURE, "previewImageUrl": PICTURE})),
        ("", json!({"type": "video", "originalContentUrl": PICTURE, "previewImageUrl": PICTURE})),
        ("", json!({"type": "audio", "originalContentUrl": PICTURE, "duration": 1})),
        (
            "",
            json!({"type": "location", "title": "t", "address": "a", "latitude": 1.5, "longitude": 2}),
        ),
        ("", json!({"type": "coupon", "couponId": "c"})),
        ("", json!({"type": "flex", "altText": "a", "contents": bubble(&tap_text())["contents"]})),
        ("", imagemap(json!({"type": "message", "text": "t", "area": area}))),
        ("/actions/0", imagemap(json!({"type": "uri", "linkUri": PICTURE, "area": area}))),
        ("/actions/0", imagemap(json!({"type": "clipboard", "clipboardText": "c", "area": area}))),
        ("/actions/0/area", imagemap(json!({"type": "message", "text": "t", "area": area}))),
        ("", template(json!({"type": "confirm", "text": "t", "actions": [tap(), tap()]}))),
        ("/template", template(json!({"type": "buttons", "text": "t", "actions": [tap()]}))),
        ("/template", template(json!({"type": "confirm", "text": "t", "actions": [tap(), tap()]}))),
        (
            "/template/columns/0",
            template(json!({"type": "carousel", "columns": [{"text": "t", "actions": [tap()]}]})),
        ),
        (
            "/template/columns/0",
            template(json!({"type": "image_carousel", "columns": [
                {"imageUrl": PICTURE, "action": tap()}]})),
        ),
        ("/quickReply/items/0/action", quick(tap())),
        (
            "/quickReply/items/0/action",
            quick(json!({"type": "postback", "label": "l", "data": "d"})),
        ),
        ("/quickReply/items/0/action", quick(json!({"type": "uri", "label": "l", "uri": "tel:1"}))),
        (
            "/quickReply/items/0/action",
            quick(json!({"type": "datetimepicker", "label": "l", "data": "d", "mode": "date"})),
        ),
        (
            "/quickReply/items/0/action",
            quick(json!({"type": "clipboard", "label": "l", "clipboardText": "c"})),
        ),
        ("/quickReply/items/0/action", quick(json!({"type": "camera", "label": "l"}))),
        ("/quickReply/items/0/action", quick(json!({"type": "location", "label": "l"}))),
    ]
}

fn tap_text() -> Value {
    json!({"type": "text", "text": "t"})
}

/// One of each flex component, likewise.
fn components() -> Vec<(&'static str, Value)> {
    vec![
        ("", json!({"type": "text", "text": "t"})),
        ("/contents/0", json!({"type": "text", "contents": [{"type": "span", "text": "t"}]})),
        ("", json!({"type": "image", "url": PICTURE})),
        ("", json!({"type": "box", "layout": "horizontal", "contents": []})),
        (
            "/contents/0",
            json!({"type": "box", "layout": "baseline", "contents": [{"type": "icon", "url": PICTURE}]}),
        ),
        ("", json!({"type": "button", "action": tap()})),
        ("", json!({"type": "separator"})),
        ("", json!({"type": "filler"})),
        (
            "/background",
            json!({"type": "box", "layout": "vertical", "contents": [], "background":
                {"type": "linearGradient", "angle": "0deg", "startColor": "#ffffff", "endColor": "#00000080"}}),
        ),
    ]
}

#[test]
fn each_subtype_needs_each_of_its_fields() {
    for (place, message) in least() {
        assert_eq!(wrong(&message), Vec::<String>::new(), "{message}");
        let fields: Vec<_> =
            message.pointer(place).unwrap().as_object().unwrap().keys().cloned().collect();
        // One of everything that stands at that place is needed, and nothing else is known there.
        let optional = ["quickReply", "emojis", "substitution"];
        for field in fields.iter().filter(|field| !optional.contains(&field.as_str())) {
            for absent in [None, Some(Value::Null)] {
                let mut without = message.clone();
                let object = without.pointer_mut(place).unwrap().as_object_mut().unwrap();
                match absent {
                    None => drop(object.remove(field)),
                    Some(null) => drop(object.insert(field.clone(), null)),
                }
                assert!(
                    wrong(&without).iter().any(|path| path.ends_with(field)),
                    "{without}: {:?}",
                    wrong(&without)
                );
            }
        }
        let mut more = message.clone();
        more.pointer_mut(place).unwrap()["wings"] = json!(2);
        assert!(wrong(&more)[0].ends_with("wings"), "{more}");
    }
}

#[test]
fn each_flex_component_needs_each_of_its_fields() {
    for (place, component) in components() {
        assert_eq!(wrong(&bubble(&component)), Vec::<String>::new(), "{component}");
        let fields: Vec<_> =
            component.pointer(place).unwrap().as_object().unwrap().keys().cloned().collect();
        for field in &fields {
            let mut without = component.clone();
            without.pointer_mut(place).unwrap().as_object_mut().unwrap().remove(field);
            let found = wrong(&bubble(&without));
            assert!(found.iter().all(|path| path.starts_with("/body/contents/0")), "{found:?}");
            assert!(!found.is_empty(), "{without}");
        }
        let mut more = component.clone();
        more.pointer_mut(place).unwrap()["wings"] = json!(2);
        assert_eq!(wrong(&bubble(&more)), [format!("/body/contents/0{place}/wings")]);
    }
}

#[test]
fn a_flex_message_is_refused_in_its_own_words() {
    let contents = |contents: Value| json!({"type": "flex", "altText": "a", "contents": contents});
    let body =
        |message: Value| json!({"to": "U1", "messages": [{"type": "text", "text": "t"}, message]});
    let refused = check(Endpoint::Push, &body(contents(json!({"type": "bubble"})))).unwrap_err();
    assert_eq!(
        refused.body(),
        json!({"message": "A message (messages[1]) in the request body is invalid", "details": [
            {"message": "At least one block must be specified", "property": "/"}]})
    );
    let one = |message: Value| {
        let details = check(Endpoint::Push, &body(contents(message))).unwrap_err().details;
        let [detail] = &details[..] else { panic!("{details:?}") };
        (detail.property.clone(), detail.message.clone())
    };
    let in_hero = |hero: Value| one(json!({"type": "bubble", "hero": hero}));
    for (hero, property, message) in [
        (json!({"type": "image"}), "/hero/url", "must be specified"),
        (json!({"type": "image", "url": "http://x/a"}), "/hero/url", "invalid uri scheme"),
        (json!({"type": "text", "text": "t"}), "/hero", "invalid property"),
        (
            json!({"type": "image", "url": PICTURE, "aspectRatio": "1:4"}),
            "/hero/aspectRatio",
            "invalid property",
        ),
        (
            json!({"type": "video", "url": PICTURE, "previewUrl": PICTURE}),
            "/hero/altContent",
            "must be specified",
        ),
    ] {
        assert_eq!(in_hero(hero), (property.to_owned(), message.to_owned()));
    }
    let hero = json!({"type": "image", "url": PICTURE});
    let styles = one(json!({"type": "bubble", "hero": hero, "styles": {"type": "x"}}));
    assert_eq!(styles, ("/styles/type".to_owned(), "unknown field".to_owned()));
    let row = |sizes: &[&str]| {
        let bubbles: Vec<_> = sizes
            .iter()
            .map(|size| json!({"type": "bubble", "size": size, "hero": hero}))
            .collect();
        json!({"type": "carousel", "contents": bubbles})
    };
    assert!(check(Endpoint::Push, &body(contents(row(&["kilo", "kilo"])))).is_ok());
    assert_eq!(one(row(&["kilo", "mega"])).0, "/contents");
    assert_eq!(one(row(&["kilo"; 13])).0, "/contents");
    let long = json!({"type": "bubble", "body": {"type": "box", "layout": "vertical",
        "contents": vec![json!({"type": "text", "text": "x".repeat(5_000)}); 7]}});
    assert_eq!(one(long).0, "/");
    for (component, place) in [
        (json!({"type": "icon", "url": PICTURE}), ""),
        (json!({"type": "span", "text": "t"}), ""),
        (json!({"type": "text", "text": ""}), "/text"),
        (json!({"type": "text", "text": "t", "color": "red"}), "/color"),
        (json!({"type": "text", "text": "t", "size": "huge"}), "/size"),
        (json!({"type": "button", "action": {"type": "camera", "label": "c"}}), "/action"),
        (json!({"type": "button", "action": {"type": "message", "text": "t"}}), "/action/label"),
        (
            json!({"type": "box", "layout": "baseline", "contents": [{"type": "button", "action": tap()}]}),
            "/contents/0",
        ),
        (
            json!({"type": "box", "layout": "vertical", "contents": [], "paddingAll": "5pt"}),
            "/paddingAll",
        ),
    ] {
        assert_eq!(wrong(&bubble(&component)), [format!("/body/contents/0{place}")], "{component}");
    }
}

#[test]
fn what_is_too_long_or_not_allowed_is_refused_by_its_name() {
    let said = |more: Value| {
        let mut message = json!({"type": "text", "text": "hi"});
        message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        message
    };
    let template =
        |template: Value| json!({"type": "template", "altText": "a", "template": template});
    for (message, property) in [
        (json!({"type": "text", "text": "𝄞".repeat(2_501)}), "text"),
        (json!({"type": "text", "text": ""}), "text"),
        (json!({"type": "text", "text": 7}), "text"),
        (json!({"type": "flex", "altText": "x".repeat(1_501), "contents": {}}), "altText"),
        (
            json!({"type": "image", "originalContentUrl": "http://x", "previewImageUrl": PICTURE}),
            "originalContentUrl",
        ),
        (
            said(json!({"quickReply": {"items": vec![json!({"action": tap()}); 14]}})),
            "quickReply.items",
        ),
        (said(json!({"quickReply": {"items": []}})), "quickReply.items"),
        (
            said(json!({"quickReply": {"items": [{"action": {"type": "message", "text": "t",
                "label": "x".repeat(21)}}]}})),
            "quickReply.items[0].action.label",
        ),
        (
            said(json!({"quickReply": {"items": [{"type": "tap", "action": tap()}]}})),
            "quickReply.items[0].type",
        ),
        (said(json!({"sender": {"name": "曜侖 on LINE"}})), "sender.name"),
        (said(json!({"sender": {"name": "x".repeat(21)}})), "sender.name"),
        (said(json!({"sender": {"name": "曜侖", "iconUrl": "x"}})), "sender.iconUrl"),
        (json!({"type": "hologram"}), "type"),
        (json!({"text": "hi"}), "type"),
        (json!({"type": "textV2", "text": "{a}"}), "substitution.a"),
        (json!({"type": "textV2", "text": "a } b"}), "text"),
        (json!({"type": "textV2", "text": "{a"}), "text"),
        (
            template(
                json!({"type": "buttons", "text": "x".repeat(61), "title": "t", "actions": [tap()]}),
            ),
            "template.text",
        ),
        (template(json!({"type": "confirm", "text": "t", "actions": [tap()]})), "template.actions"),
        (
            template(json!({"type": "carousel", "columns": [
                {"text": "t", "actions": [tap()]}, {"text": "t", "actions": [tap(), tap()]}]})),
            "template.columns",
        ),
        (
            template(json!({"type": "buttons", "text": "t", "actions": [
                {"type": "uri", "label": "l", "uri": "javascript:alert(1)"}]})),
            "template.actions[0].uri",
        ),
        (
            template(json!({"type": "buttons", "text": "t", "actions": [
                {"type": "datetimepicker", "label": "l", "data": "d", "mode": "date", "min": "9:00"}]})),
            "template.actions[0].min",
        ),
        (
            template(json!({"type": "buttons", "text": "t", "actions": [
                {"type": "postback", "label": "l", "data": "d", "fillInText": "f"}]})),
            "template.actions[0].fillInText",
        ),
        (
            json!({"type": "location", "title": "t", "address": "a", "latitude": 91, "longitude": 0}),
            "latitude",
        ),
    ] {
        assert_eq!(wrong(&message), [format!("messages[0].{property}")], "{message}");
    }
    assert!(wrong(&said(json!({"sender": {"name": "x".repeat(20)}}))).is_empty());
    assert!(wrong(&json!({"type": "text", "text": "𝄞".repeat(2_500)})).is_empty());
    let braces = json!({"type": "textV2", "text": "{{a}} {b}", "substitution": {
        "b": {"type": "mention", "mentionee": {"type": "all"}}}});
    assert!(wrong(&braces).is_empty());
}

#[test]
fn everything_wrong_is_told_at_once() {
    let body = json!({"messages": [{"type": "text", "text": ""}, {"type": "video"}], "colour": 1});
    let refused = check(Endpoint::Push, &body).unwrap_err();
    let places: Vec<_> = refused.details.iter().map(|one| one.property.as_str()).collect();
    assert_eq!(
        places,
        [
            "to",
            "messages[0].text",
            "messages[1].originalContentUrl",
            "messages[1].previewImageUrl",
            "colour",
        ]
    );
    assert_eq!(refused.message, "The request body has 5 error(s)");
    assert_eq!(refused.details[1].message, "May not be empty");
}

#[test]
fn one_to_five_messages_to_one_to_five_hundred() {
    let messages = |count| vec![json!({"type": "text", "text": "x"}); count];
    let push = |count| check(Endpoint::Push, &json!({"to": "U1", "messages": messages(count)}));
    assert!(push(1).is_ok() && push(5).is_ok() && push(0).is_err() && push(6).is_err());
    let to = |count: usize| vec!["U1"; count];
    let many =
        |count| check(Endpoint::Multicast, &json!({"to": to(count), "messages": messages(1)}));
    assert!(many(1).is_ok() && many(500).is_ok() && many(0).is_err() && many(501).is_err());
    let unit = json!({"to": "U1", "messages": messages(1), "customAggregationUnits": ["a b"]});
    assert_eq!(
        check(Endpoint::Push, &unit).unwrap_err().details[0].property,
        "customAggregationUnits[0]"
    );
    assert!(check(Endpoint::Push, &json!([])).is_err());
    assert!(check(Endpoint::Quota, &json!(null)).is_ok());
}

/// What Mainstem says, as its own tests keep it: one message a line, below its name.
#[test]
fn what_the_example_says_is_taken() {
    let said = include_str!("../../../domain/tests/voice/golden.txt");
    let messages = said.lines().filter(|line| !line.starts_with('#'));
    let messages: Vec<Value> = messages.map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(messages.iter().any(|message| message["type"] == "flex"));
    for message in messages {
        assert_eq!(wrong(&message), [""; 0], "{message}");
    }
}
