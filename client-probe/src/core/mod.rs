//! The client as a pure state machine: many publishing, watching and measuring links, no sockets, no clock.
//!
//! ```text
//! objects -> Broadcast (one log per track) -> Serving (cursors, fetch readers) -> sessions of publishing links
//! sessions of watching links -> Stream (whole objects) -> Incoming (once, in order) -> Event::Object
//! ```
//!
//! Contract: call [`Client`] as a [`sluice_moqt::transport::App`], and after each call drain
//! [`Client::poll_event`] besides `poll_output`. Links reconnect by themselves; the owner decides when to give up.

mod assemble;
mod backoff;
mod broadcast;
mod client;
mod event;
mod incoming;
mod link;
mod ping;
mod route;
mod seen;
mod serve;
mod tally;
mod timers;
mod watch;

pub use assemble::Keep;
pub use broadcast::{Broadcast, Outgoing};
pub use client::Client;
pub use event::{Down, Event, LinkId, Object};
pub use link::{ALPN, Role, Target};
pub(crate) use watch::is_about_us;
