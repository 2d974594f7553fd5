//! The running relay: shards on threads of their own, each with one node, and what reaches them from outside.
//!
//! ```text
//! Config ──assemble──> Shard 0 (thread, sockets, Node) ──Publisher──> admin
//!                      Shard 1 ...                      <──Command─── drain, sources
//! ```

mod assemble;
mod files;
mod fleet;
mod host;
mod parts;
mod run;

pub use assemble::{Addresses, Daemon, StartError};
pub use fleet::Fleet;
pub use host::{Command, SourceId};
pub use parts::{Credentials, Parts, node_config, peer_configs};
pub use run::{run_beside, run_until_stopped};

#[cfg(test)]
mod tests;
