//! The relay daemon of a PoP: configuration, shards, listeners, admin.
//!
//! ```text
//! flags ─┐
//! env   ─┼─> config::Config ──> the shards ──publish──> admin::State ──> /livez /readyz /metrics /v1
//! file  ─┘
//! ```
//! It assembles and decides nothing about media: what a relay does stands in `node`, what drives it in `net`.
//! Beside the daemon stand what every program of the workspace shares: exit codes ([`exit`]), standard output
//! ([`report`]), log output ([`logging`]) and certificates ([`ca`]).
//!
//! ```
//! use sluice_relay::config::Config;
//!
//! let config = Config::from_toml("pop = \"fra1\"\nshards = 2").map_err(|e| e.to_string())?;
//! assert_eq!(config.pop.as_str(), "fra1");
//! assert_eq!(config.shards.get(), 2);
//! # Ok::<(), String>(())
//! ```

pub mod admin;
pub mod ca;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod exit;
pub mod logging;
pub mod report;

pub use cli::{Cli, run};
pub use config::Config;

#[cfg(test)]
mod tests;
