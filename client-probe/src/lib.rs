//! The measuring command line: publish, watch, load, ping, diff.
//!
//! ```text
//! cli -> run -> adapter (the shard loop) -> host: a verb driving core::Client, a pure `App` of many sessions
//!           \-> source (files, stdin, test pattern), manifest, report
//! ```
//!
//! Everything that speaks MoQ lives in [`core`] and knows neither sockets nor clock; a verb feeds it objects, drains
//! its events, and is the only layer that retries nothing: reconnecting is the core's.
//!
//! ```
//! use clap::Parser as _;
//! let cli = sluice_client_probe::Cli::parse_from(["client-probe", "watch", "moqt://localhost:4443/demo", "--for", "10s"]);
//! assert!(matches!(cli.verb, sluice_client_probe::cli::Verb::Watch(_)));
//! ```

mod adapter;
pub mod cli;
pub mod core;
pub mod exit;
mod figures;
mod host;
pub mod manifest;
mod output;
mod patience;
mod report;
mod run;
mod sidefile;
mod source;
mod studio;
#[cfg(test)]
mod tests;
mod times;
pub mod url;
mod verbs;

pub use cli::Cli;
pub use run::run;
