//! Events that few receivers were tried with: LINE adds fields, values and types without notice, holds
//! chats for other modules, and speaks of groups, accounts and devices.

use rand::seq::IndexedRandom as _;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::talk::{characters, digits};

/// One of them, as the fields in which it differs from any other event: `null` is a field that it
/// does not have. `said`: the id of a message that the person sent before.
pub(crate) fn strange(draws: &mut ChaCha8Rng, user: &str, said: Option<&str>) -> Value {
    let id = digits(draws);
    let hex = characters(draws, b"0123456789abcdef", 32);
    let group = || json!({"type": "group", "groupId": format!("C{hex}"), "userId": user});
    let said = said.unwrap_or(&id);
    let all = [
        // Another module holds the chat: there is no reply token.
        json!({"type": "message", "mode": "standby", "replyToken": null,
            "message": {"type": "text", "id": id, "text": "這則由真人客服回覆"}}),
        json!({"type": "message", "mode": "observing",
            "message": {"type": "text", "id": id, "text": "a mode that is new"}}),
        json!({"type": "hologram", "hologram": {"shape": "sphere", "layers": [1, 2, 3]}}),
        json!({"type": "message", "message": {"type": "scent", "id": id, "notes": ["bergamot"]}}),
        json!({"type": "message", "isUrgent": true, "message": {"type": "image", "id": id,
            "contentProvider": {"type": "satellite", "orbit": 7}}}),
        json!({"type": "message", "message": {"type": "text", "id": id, "text": "@客服 哈囉 🎀 𠮷野家",
            "mention": {"mentionees": [{"index": 0, "length": 3, "type": "robot"}]},
            "emojis": [{"index": 7, "length": 2, "productId": "5ac1", "emojiId": "001"}],
            "quoteToken": hex, "markAsReadToken": hex}}),
        json!({"type": "message", "message": {"type": "video", "id": id, "duration": 60_000,
            "contentProvider": {"type": "line"}}}),
        json!({"type": "message", "message": {"type": "audio", "id": id, "duration": 3_000,
            "contentProvider": {"type": "line"}}}),
        json!({"type": "message", "message": {"type": "file", "id": id, "fileName": "保固卡.pdf",
            "fileSize": 2_138}}),
        json!({"type": "message", "message": {"type": "location", "id": id, "title": "門市",
            "address": "台北市信義區", "latitude": 25.033, "longitude": 121.565}}),
        json!({"type": "message", "message": {"type": "sticker", "id": id, "packageId": "1",
            "stickerId": "2", "stickerResourceType": "TACTILE", "keywords": []}}),
        json!({"type": "messageEdited", "message": {"type": "text", "id": said, "text": "改一下：明天"}}),
        json!({"type": "unsend", "replyToken": null, "unsend": {"messageId": said}}),
        json!({"type": "join", "source": group()}),
        json!({"type": "message", "source": group(),
            "message": {"type": "text", "id": id, "text": "group talk"}}),
        json!({"type": "memberJoined", "source": group(),
            "joined": {"members": [{"type": "user", "userId": user}]}}),
        json!({"type": "memberLeft", "source": group(), "replyToken": null,
            "left": {"members": [{"type": "user", "userId": user}]}}),
        json!({"type": "leave", "source": group(), "replyToken": null}),
        json!({"type": "message", "source": {"type": "user"},
            "message": {"type": "text", "id": id, "text": "a user without an id"}}),
        json!({"type": "message", "source": {"type": "channel", "channelId": hex},
            "message": {"type": "text", "id": id, "text": "a source that is new"}}),
        json!({"type": "message", "webhookEventId": null,
            "message": {"type": "text", "id": id, "text": "an old payload"}}),
        json!({"type": "postback", "postback": {"data": "booking=1",
            "params": {"datetime": "2026-12-24T18:30"}}}),
        json!({"type": "postback", "postback": {"data": "tab=2",
            "params": {"newRichMenuAliasId": "menu-b", "status": "SUCCESS"}}}),
        json!({"type": "videoPlayComplete", "videoPlayComplete": {"trackingId": "spring-film"}}),
        json!({"type": "beacon", "beacon": {"hwid": "d41d8cd98f", "type": "leap", "dm": "0a"}}),
        json!({"type": "membership", "membership": {"type": "joined", "membershipId": 3_189}}),
        json!({"type": "accountLink", "link": {"result": "ok", "nonce": hex}}),
        json!({"type": "accountLink", "source": null, "replyToken": null,
            "link": {"result": "failed", "nonce": hex}}),
        json!({"type": "delivery", "source": null, "replyToken": null, "delivery": {"data": hex}}),
        json!({"type": "activated", "source": null, "replyToken": null,
            "chatControl": {"expireAt": 1_795_219_200_000_i64}}),
        json!({"type": "botSuspended", "source": null, "replyToken": null}),
        json!({"type": "module", "source": null, "replyToken": null,
            "module": {"type": "attached", "botId": user, "scopes": ["message:send"]}}),
    ];
    all.choose(draws).cloned().unwrap_or_default()
}
