//! What people did: whom an account reaches, and what it may answer, follow from it.

use std::sync::Arc;

use mainstem_domain::{At, ChannelId};
use mainstem_line::LineEvent;
use serde_json::{Map, Value, json};

use super::Platform;
use super::chats::{Author, Entry};
use super::media::{Content, Kind};
use super::people::Friendship;

/// Fields that every event has; what is left of one stands in the chat.
const COMMON: [&str; 7] =
    ["type", "mode", "timestamp", "source", "webhookEventId", "deliveryContext", "replyToken"];

impl Platform {
    /// Takes note of an event before anybody is told of it.
    pub(crate) fn witness(&mut self, channel: &ChannelId, event: &LineEvent<'_>, at: At) {
        let source = &event.source;
        let together = source.group.as_deref().or(source.room.as_deref());
        let Some(with) = together.or(source.person()).map(str::to_owned) else { return };
        if let Some(token) = &event.reply_token {
            self.issue_reply_token(token, channel, &with, at);
        }
        if let Some(group) = together {
            self.people.group(channel, group, source.user.as_deref());
        } else {
            self.people.meet(channel, &with);
        }
        match event.kind.as_str() {
            "follow" => self.people.befriend(channel, &with, Friendship::Friend),
            "unfollow" => self.people.befriend(channel, &with, Friendship::Blocked),
            "leave" => self.people.leave(channel, &with),
            _ => {}
        }
        let Ok(Value::Object(raw)) = serde_json::from_str(event.raw.get()) else { return };
        self.show(channel, &with, event, raw, at);
    }

    fn show(
        &mut self,
        channel: &ChannelId,
        with: &str,
        event: &LineEvent<'_>,
        mut raw: Map<String, Value>,
        at: At,
    ) {
        let id = |raw: &Map<String, Value>, field: &str| {
            Some(
                raw.get(field)?
                    .get(if field == "unsend" { "messageId" } else { "id" })?
                    .as_str()?
                    .to_owned(),
            )
        };
        match event.kind.as_str() {
            "unsend" => {
                if let Some(id) = id(&raw, "unsend") {
                    self.media.unsend(&id);
                    self.chats.unsend(channel, with, &id);
                }
            }
            "messageEdited" => {
                let message = raw.remove("message").unwrap_or_default();
                if let Some(id) = message["id"].as_str().map(str::to_owned) {
                    self.chats.edit(channel, with, &id, message);
                }
            }
            "message" => {
                let id = id(&raw, "message");
                let kind = event.message_kind.as_deref().and_then(Kind::of);
                if let (Some(id), Some(kind)) = (&id, kind) {
                    self.media.keep(channel, id, kind, None, at);
                }
                let message = Arc::new(raw.remove("message").unwrap_or_default());
                self.chats.say(channel, with, Entry::new(at, Author::Person, id, message));
            }
            kind => {
                raw.retain(|field, _| !COMMON.contains(&field.as_str()));
                raw.insert("type".to_owned(), json!(kind));
                let event = Arc::new(Value::Object(raw));
                self.chats.say(channel, with, Entry::new(at, Author::Person, None, event));
            }
        }
    }

    /// Holds what a person is about to send, under the id that its message will have.
    pub(crate) fn hold(&mut self, channel: &ChannelId, message: &str, content: Content, at: At) {
        let kind = match content.media_type.split('/').next() {
            Some("image") => Kind::Image,
            Some("video") => Kind::Video,
            Some("audio") => Kind::Audio,
            _ => Kind::File,
        };
        self.media.keep(channel, message, kind, Some(content), at);
    }
}
