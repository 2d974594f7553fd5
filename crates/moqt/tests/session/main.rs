//! The session state machine against a second one, and against scripted peers that break one rule each.

mod data;
mod goaway;
mod harness;
mod noise;
mod requests;
mod responses;
mod setup;
mod tokens;
