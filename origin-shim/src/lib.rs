//! Stands before a regional origin: terminates trunks, homes namespaces, keeps a window of every track, and publishes
//! sources of its own.
//!
//! ```text
//! file, stdin, child's stdout, RTMP ──bytes──> Player ──Command──> Outlet ──> shard 0 of the relay's daemon
//!                                              (pure: pace, package, group ids)
//! ```
//! The daemon is the relay's own in the role of an origin; this crate adds what feeds it. [`Sources`] runs inputs and
//! starts them again when they die; what happens to their bytes is in pure parts that take the time as an argument.
//!
//! ```
//! use sluice_origin_shim::Input;
//! assert_eq!(Input::TestPattern.to_string(), "test pattern");
//! ```

mod backoff;
mod child;
mod cli;
mod input;
mod outlet;
mod player;
mod programme;
mod rtmp;
mod sources;

pub use cli::{Cli, run};
pub use input::Input;
pub use sources::{Sources, Stamps};
