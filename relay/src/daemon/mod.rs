//! The running relay: shards on threads of their own, each with one node, and what reaches them from outside.
//!
//! ```text
//! Config ──assemble──> Shard 0 (thread, sockets, Node) ──Publisher──> admin
//!                      Shard 1 ...                      <──Command─── drain, sources
//! ```

mod assemble;
mod files;
mod host;
mod run;

pub use assemble::{Addresses, Daemon, StartError};
pub use host::{Command, SourceId};
pub use run::{run_beside, run_until_stopped};

#[cfg(test)]
mod tests;
