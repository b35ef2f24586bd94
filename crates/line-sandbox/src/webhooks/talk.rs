//! What people do on an account, in traditional Chinese and English.

use rand::Rng as _;
use rand::seq::IndexedRandom as _;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

/// What a person writes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    Chinese,
    English,
}

/// What a person can say in one language.
struct Phrases {
    questions: &'static [&'static str],
    repairs: &'static [&'static str],
    small_talk: &'static [&'static str],
}

const CHINESE: Phrases = Phrases {
    questions: &[
        "請問今天營業到幾點？",
        "新款的包包有貨嗎？",
        "週年慶什麼時候開始？",
        "這個可以刷卡分期嗎？",
        "請問可以改尺寸嗎？",
        "會員點數什麼時候到期？",
    ],
    repairs: &[
        "我想送修，手錶需要維修",
        "包包的拉鍊壞了",
        "上個月買的鞋子壞了，可以維修嗎？",
        "項鍊扣環壞了 😢",
    ],
    small_talk: &[
        "謝謝你們 😊",
        "好的，收到",
        "可以幫我保留一件 M 號",
        "我晚點過去門市",
        "𨋢口那間店很漂亮 ✨",
    ],
};

const ENGLISH: Phrases = Phrases {
    questions: &[
        "Hello, do you have this in red?",
        "What time do you close today?",
        "Is the 𝓵𝓲𝓶𝓲𝓽𝓮𝓭 edition still available?",
        "Can I exchange a gift without the receipt?",
    ],
    repairs: &[
        "My watch needs a repair",
        "The strap broke, how do I get it replaced?",
        "Could you repair the clasp of my necklace?",
    ],
    small_talk: &["Thanks a lot! 🎉", "See you on Saturday", "Great service today", "OK 👌"],
};

/// The three-in-one menu: store, shop, member, and what lies under each.
const TAPS: &[&str] = &[
    "menu=store",
    "menu=store&topic=booking",
    "menu=store&topic=care",
    "menu=shop",
    "menu=shop&topic=orders",
    "menu=member",
    "menu=member&topic=points",
];
const REPAIR_TAP: &str = "menu=store&topic=repair";

/// A person becomes a friend, for the first time or again.
pub(crate) fn follow(again: bool) -> Value {
    json!({"type": "follow", "follow": {"isUnblocked": again}})
}

/// A person blocks the account.
pub(crate) fn unfollow() -> Value {
    json!({"type": "unfollow"})
}

/// What a friend does next. A tap on the single entry's menu names the brand that was chosen there.
pub(crate) fn act(draws: &mut ChaCha8Rng, language: Language, brand: Option<&str>) -> Value {
    let phrases = match language {
        Language::Chinese => &CHINESE,
        Language::English => &ENGLISH,
    };
    match draws.random_range(0..100) {
        0..28 => said(draws, phrases.questions),
        28..38 => said(draws, phrases.repairs),
        38..56 => said(draws, phrases.small_talk),
        56..66 => tap(REPAIR_TAP, brand),
        66..86 => tap(TAPS.choose(draws).copied().unwrap_or_default(), brand),
        86..94 => {
            let id = digits(draws);
            message(&json!({"type": "sticker", "id": id, "packageId": "446", "stickerId": "1988",
                "stickerResourceType": "STATIC"}))
        }
        94..98 => {
            let id = digits(draws);
            message(&json!({"type": "image", "id": id, "contentProvider": {"type": "line"}}))
        }
        _ => unfollow(),
    }
}

fn tap(data: &str, brand: Option<&str>) -> Value {
    let data = match brand {
        Some(brand) => format!("{data}&brand={brand}"),
        None => data.to_owned(),
    };
    json!({"type": "postback", "postback": {"data": data}})
}

fn said(draws: &mut ChaCha8Rng, texts: &[&str]) -> Value {
    let text = texts.choose(draws).copied().unwrap_or_default();
    let id = digits(draws);
    message(&json!({"type": "text", "id": id, "text": text}))
}

fn message(message: &Value) -> Value {
    json!({"type": "message", "message": message})
}

pub(crate) fn digits(draws: &mut ChaCha8Rng) -> String {
    characters(draws, b"0123456789", 18)
}

pub(crate) fn ulid(draws: &mut ChaCha8Rng) -> String {
    format!("01{}", characters(draws, b"0123456789ABCDEFGHJKMNPQRSTVWXYZ", 24))
}

pub(crate) fn characters(draws: &mut ChaCha8Rng, alphabet: &[u8], count: usize) -> String {
    (0..count).map(|_| char::from(alphabet[draws.random_range(0..alphabet.len())])).collect()
}
