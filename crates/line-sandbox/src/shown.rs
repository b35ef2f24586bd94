//! What a person sees of a message, in a line of text.

use serde_json::Value;

/// The text of a message that is one; of any other its kind and its parts in brackets.
pub(crate) fn shown(message: &Value) -> String {
    let text = |field: &str| message.get(field).and_then(Value::as_str).unwrap_or_default();
    match text("type") {
        "text" | "textV2" => text("text").to_owned(),
        "sticker" => format!("[sticker {}/{}]", text("packageId"), text("stickerId")),
        kind @ ("image" | "video" | "audio") => {
            format!("[{kind} {}]", text("originalContentUrl"))
        }
        "location" => format!("[location {}, {}]", text("title"), text("address")),
        "imagemap" => format!("[imagemap {}]", text("altText")),
        "template" => format!("[buttons {}]", text("altText")),
        "flex" => format!("[card {}]", text("altText")),
        "coupon" => format!("[coupon {}]", text("couponId")),
        kind => format!("[{kind}]"),
    }
}
