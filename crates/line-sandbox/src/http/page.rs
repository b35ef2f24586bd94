//! The page at `/`: a person's telephone. What it shows and does, it asks for here.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use mainstem_domain::ChannelId;
use serde::{Deserialize, Serialize};

use super::webhooks::refused;
use super::{Refused, body, refuse};
use crate::platform::Content;
use crate::{ActRequest, Acted, ChatLine, Entry, Friendship, Sandbox};

/// All of the page: no other file, and nothing from elsewhere.
const PAGE: &str = concat!(
    "<!doctype html>\n<html lang=\"zh-Hant\">\n<head>\n<meta charset=\"utf-8\">\n\
     <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
     <link rel=icon href=data:,>\n<title>LINE, as people see it</title>\n<style>\n",
    include_str!("../page/style.css"),
    "</style>\n</head>\n",
    include_str!("../page/body.html"),
    "<script>\n",
    include_str!("../page/flex.js"),
    include_str!("../page/messages.js"),
    include_str!("../page/page.js"),
    "</script>\n</html>\n",
);
/// Nothing on it is fetched from elsewhere, whatever somebody sends.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                      connect-src 'self'; img-src 'self' data:; media-src 'self'";

const MOST_CHATS: usize = 200;
/// Whoever waits for news asks again after this.
const PATIENCE: Duration = Duration::from_secs(20);

type Shared = State<Arc<Sandbox>>;

pub(super) fn routes() -> Router<Arc<Sandbox>> {
    Router::new()
        .route("/", get(page))
        .route("/sandbox/chats", get(chats))
        .route("/sandbox/chats/{channel}/{user}", get(chat))
        .route("/sandbox/chat/{channel}/{user}", get(to_page))
        .route("/sandbox/media/{channel}/{message}", get(media))
        .route("/sandbox/act", post(act))
        .route("/sandbox/scan", post(scan))
}

async fn page() -> Response {
    ([(header::CONTENT_SECURITY_POLICY, POLICY)], Html(PAGE)).into_response()
}

/// The page, open at that chat.
async fn to_page(Path((channel, user)): Path<(ChannelId, String)>) -> Redirect {
    Redirect::temporary(&format!("/#{channel}/{}", for_path(&user)))
}

#[derive(Deserialize)]
struct Of {
    channel: Option<ChannelId>,
}

/// The latest chats of an account, or of all.
async fn chats(State(sandbox): Shared, Query(of): Query<Of>) -> Json<Vec<ChatLine>> {
    let platform = sandbox.platform();
    let latest = platform.chats().latest(of.channel.as_ref(), MOST_CHATS).into_iter();
    let lines = latest.filter_map(|(channel, user, entries)| {
        let last = entries.last()?;
        Some(ChatLine {
            channel: channel.clone(),
            user: user.to_owned(),
            name: platform.people().person(user).name,
            entries: entries.len(),
            at: last.at.clone(),
            last: Arc::clone(&last.message),
        })
    });
    Json(lines.collect())
}

/// With `changes` as they were told before, the answer waits until there are others.
#[derive(Deserialize)]
struct Since {
    changes: Option<u64>,
}

#[derive(Serialize)]
struct Chat {
    name: String,
    friendship: Option<Friendship>,
    entries: Vec<Entry>,
    changes: u64,
}

async fn chat(
    State(sandbox): Shared,
    Path((channel, user)): Path<(ChannelId, String)>,
    Query(since): Query<Since>,
) -> Json<Chat> {
    let mut changed = sandbox.changed.subscribe();
    let news = async {
        while Some(sandbox.platform().chats().changes()) == since.changes {
            // The sender lives as long as the stand-in.
            let _ = changed.changed().await;
        }
    };
    tokio::select! {
        _ = tokio::time::timeout(PATIENCE, news) => {}
        () = sandbox.stopping.cancelled() => {}
    }
    let platform = sandbox.platform();
    Json(Chat {
        name: platform.people().person(&user).name,
        friendship: platform.people().friendship(&channel, &user),
        entries: platform.chats().entries(&channel, &user).to_vec(),
        changes: platform.chats().changes(),
    })
}

/// What a person sent, for the person's own page.
async fn media(
    State(sandbox): Shared,
    Path((channel, message)): Path<(ChannelId, String)>,
) -> Response {
    let content = sandbox.platform().own_content(&channel, &message, sandbox.now());
    match content {
        Some(Content { media_type, bytes }) => {
            let sniff = (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned());
            ([(header::CONTENT_TYPE, media_type), sniff], bytes).into_response()
        }
        None => axum::http::StatusCode::NOT_FOUND.into_response(),
    }
}

async fn act(
    State(sandbox): Shared,
    request: Result<Json<ActRequest>, JsonRejection>,
) -> Result<Json<Acted>, Refused> {
    let request = body(request)?;
    sandbox.act(request).await.map(Json).map_err(refused)
}

#[derive(Serialize)]
struct Scanned {
    text: String,
}

/// Reads a QR code from a PNG.
async fn scan(picture: bytes::Bytes) -> Result<Json<Scanned>, Refused> {
    let text = crate::scan::read(&picture);
    text.map(|text| Json(Scanned { text }))
        .map_err(|why| refuse(axum::http::StatusCode::UNPROCESSABLE_ENTITY, "no_code", why))
}

/// User ids of LINE need no escaping; whatever else somebody posted does.
fn for_path(text: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
        escaped
    })
}
