//! MoQ Transport (draft-ietf-moq-transport-18) without IO: names, messages, data streams, and the session state machine.
//!
//! The model is version-neutral; bytes appear only in [`Message::encode`] and [`Message::decode`], which take a [`Draft`].

pub mod data;
pub mod error;
pub mod kvp;
pub mod message;
pub mod name;
pub mod params;
pub mod properties;
pub mod reader;
pub mod session;
mod token;
pub mod transport;
pub mod types;
pub mod varint;

pub use error::{DecodeError, EncodeError};
pub use message::Message;
pub use name::{Namespace, TrackName};
pub use types::{Draft, Filter, GroupOrder, Location, RequestId, TrackAlias};
