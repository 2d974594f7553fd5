//! The client core against itself and against scripted peers, in virtual time.

#![expect(clippy::wildcard_enum_match_arm, reason = "tests pick the events that they are about")]

mod joining;
mod reconnecting;
mod scripted;
mod serving;
mod station;
mod verbs;
mod wire;
