//! One node, and nodes joined by trunks, with clients, in virtual time: what the draft and the decisions say.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks for one event among many")]

mod actors;
mod client;
mod directory;
mod discovery;
mod fetch;
mod leaks;
mod lifecycle;
mod local;
mod memory;
mod origins;
mod publishers;
mod requests;
mod reroute;
mod sink;
mod subscribe;
mod transparency;
mod trunk;
mod world;
