//! The border between wire and domain: generated types, and the conversions in both directions.
//!
//! A conversion from the wire names the field that is wrong. Invariant: nothing but this crate
//! turns a wire type into a domain type.

mod binding;
mod canonical;
mod case;
pub mod channel;
pub mod conversation;
mod custody;
pub mod decision;
mod error;
pub mod field;
pub mod identity;
pub mod notification;
pub mod pause;
mod record;
pub mod routing;
pub mod watch;

pub use canonical::canonical;
pub use error::{DecodeError, FieldError};
pub use record::Encoded;

/// Generated from `proto/mainstem`.
#[cfg_attr(doc, expect(rustdoc::invalid_html_tags, reason = "subjects in proto comments"))]
#[expect(clippy::pedantic, clippy::all, clippy::allow_attributes, reason = "generated")]
pub mod wire {
    pub mod channel {
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/mainstem.channel.v1.rs"));
            include!(concat!(env!("OUT_DIR"), "/mainstem.channel.v1.serde.rs"));
        }
        pub use v1::*;
    }
    pub mod custody {
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/mainstem.custody.v1.rs"));
            include!(concat!(env!("OUT_DIR"), "/mainstem.custody.v1.serde.rs"));
        }
        pub use v1::*;
    }
    pub mod engine {
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/mainstem.engine.v1.rs"));
            include!(concat!(env!("OUT_DIR"), "/mainstem.engine.v1.serde.rs"));
        }
        pub use v1::*;
    }
    pub mod identity {
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/mainstem.identity.v1.rs"));
            include!(concat!(env!("OUT_DIR"), "/mainstem.identity.v1.serde.rs"));
        }
        pub use v1::*;
    }
    pub mod ingest {
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/mainstem.ingest.v1.rs"));
            include!(concat!(env!("OUT_DIR"), "/mainstem.ingest.v1.serde.rs"));
        }
        pub use v1::*;
    }
    pub mod notification {
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/mainstem.notification.v1.rs"));
            include!(concat!(env!("OUT_DIR"), "/mainstem.notification.v1.serde.rs"));
        }
        pub use v1::*;
    }
    pub mod routing {
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/mainstem.routing.v1.rs"));
            include!(concat!(env!("OUT_DIR"), "/mainstem.routing.v1.serde.rs"));
        }
        pub use v1::*;
    }
}

/// Everything in `proto/`, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/mainstem.bin"));

#[cfg(test)]
mod properties;
