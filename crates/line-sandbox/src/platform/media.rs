//! What people sent that is no text: fetched by the message's id, for a time.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use mainstem_domain::{At, ChannelId, derive_uuid};

/// LINE says only that it is a limited time.
const LIVES: Duration = Duration::from_hours(14 * 24);
/// A video or a sound is not there at once.
const PREPARING: Duration = Duration::from_secs(2);

/// By the message's id.
#[derive(Debug, Default)]
pub(crate) struct Media {
    held: BTreeMap<String, Item>,
}

#[derive(Debug)]
struct Item {
    channel: ChannelId,
    kind: Kind,
    /// What the person sent; none: made from the id when asked for.
    sent: Option<Content>,
    at: At,
    unsent: bool,
}

/// What kind of thing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Image,
    Video,
    Audio,
    File,
}

impl Kind {
    pub(crate) fn of(message_type: &str) -> Option<Self> {
        match message_type {
            "image" => Some(Self::Image),
            "video" => Some(Self::Video),
            "audio" => Some(Self::Audio),
            "file" => Some(Self::File),
            _ => None,
        }
    }
}

/// Bytes and what they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) media_type: String,
    pub(crate) bytes: Bytes,
}

/// What an account that asks is told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fetched {
    Here(Content),
    /// A video or a sound that LINE still works on: 202.
    Preparing,
    /// Taken back, or too old: 410.
    Gone,
    /// Never there, or another account's: 404.
    Unknown,
}

/// The size of the picture that stands for one.
const SIDE: u32 = 240;
const PREVIEW_SIDE: u32 = 80;

impl Media {
    pub(super) fn keep(
        &mut self,
        channel: &ChannelId,
        message: &str,
        kind: Kind,
        sent: Option<Content>,
        at: At,
    ) {
        let item = Item { channel: channel.clone(), kind, sent, at, unsent: false };
        self.held.entry(message.to_owned()).or_insert(item);
    }

    pub(super) fn unsend(&mut self, message: &str) {
        if let Some(item) = self.held.get_mut(message) {
            (item.unsent, item.sent) = (true, None);
        }
    }

    /// The content, as whoever sent it has it.
    pub(super) fn own(&self, channel: &ChannelId, message: &str, at: At) -> Option<Content> {
        let item = self.held.get(message).filter(|item| item.channel == *channel)?;
        if let Some(sent) = &item.sent {
            return Some(sent.clone());
        }
        match self.fetch(channel, message, false, at) {
            Fetched::Here(content) => Some(content),
            Fetched::Preparing | Fetched::Gone | Fetched::Unknown => None,
        }
    }

    /// The content, or a small picture of it.
    pub(crate) fn fetch(
        &self,
        channel: &ChannelId,
        message: &str,
        preview: bool,
        at: At,
    ) -> Fetched {
        let Some(item) = self.held.get(message).filter(|item| item.channel == *channel) else {
            return Fetched::Unknown;
        };
        if item.unsent || at.since(item.at) >= LIVES {
            return Fetched::Gone;
        }
        let prepared = matches!(item.kind, Kind::Image | Kind::File);
        if !prepared && at.since(item.at) < PREPARING {
            return Fetched::Preparing;
        }
        match (preview, item.kind, &item.sent) {
            (true, Kind::Audio | Kind::File, _) => Fetched::Unknown,
            (true, Kind::Image, Some(sent)) | (false, _, Some(sent)) => Fetched::Here(sent.clone()),
            (true, Kind::Image | Kind::Video, _) => Fetched::Here(picture(message, PREVIEW_SIDE)),
            (false, kind, None) => Fetched::Here(made(message, kind)),
        }
    }
}

/// What stands for a thing that nobody sent: the same for the same id.
fn made(message: &str, kind: Kind) -> Content {
    let container = |media_type: &str, brand: &[u8; 4]| {
        // The head of an MPEG-4 file, and a box of the id that any player skips.
        let mut bytes = Vec::new();
        bytes.extend(20_u32.to_be_bytes());
        bytes.extend(b"ftyp");
        bytes.extend(brand);
        bytes.extend(0_u32.to_be_bytes());
        bytes.extend(b"isom");
        bytes.extend(u32::try_from(message.len() + 8).unwrap_or(8).to_be_bytes());
        bytes.extend(b"free");
        bytes.extend(message.as_bytes());
        Content { media_type: media_type.to_owned(), bytes: bytes.into() }
    };
    match kind {
        Kind::Image => picture(message, SIDE),
        Kind::Video => container("video/mp4", b"mp42"),
        Kind::Audio => container("audio/x-m4a", b"M4A "),
        Kind::File => Content {
            media_type: "application/octet-stream".to_owned(),
            bytes: format!("file of message {message}\n").into(),
        },
    }
}

/// A picture of two colours.
fn picture(message: &str, side: u32) -> Content {
    let colours = derive_uuid(message).into_bytes();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, side, side);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(colours[..6].to_vec());
    let half = |place: u32| u8::from(place % side + place / side >= side);
    let pixels: Vec<u8> = (0..side * side).map(half).collect();
    // Writing to memory does not fail.
    let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(&pixels));
    debug_assert!(written.is_ok());
    Content { media_type: "image/png".to_owned(), bytes: bytes.into() }
}
