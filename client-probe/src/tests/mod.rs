//! The client core against itself and against scripted peers, in virtual time.

mod joining;
mod reconnecting;
mod scripted;
mod serving;
mod station;
mod verbs;
mod wire;
