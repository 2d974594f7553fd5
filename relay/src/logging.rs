//! Log output: on standard error, filtered, human or JSON.

use anyhow::Context as _;
use std::io::{self, IsTerminal as _};
use tracing_subscriber::EnvFilter;

/// Flags of the log output, shared by the daemons.
#[derive(Debug, Clone, clap::Args)]
pub struct LogArgs {
    /// What is logged: a level, or per module, such as `info,sluice_net=debug`
    #[arg(long = "log", env = "SLUICE_LOG", value_name = "FILTER", default_value = "info")]
    filter: String,
    /// How log lines look
    #[arg(long = "log-format", env = "SLUICE_LOG_FORMAT", value_name = "FORMAT", default_value = "human")]
    format: LogFormat,
}

impl LogArgs {
    /// Human lines of what `filter` lets through, for programs with a default of their own.
    #[must_use]
    pub fn human(filter: String) -> Self {
        Self { filter, format: LogFormat::Human }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For reading; coloured on a terminal unless `NO_COLOR` is set.
    Human,
    /// One JSON object per line.
    Json,
}

/// Starts log output for the process.
///
/// # Errors
/// The filter cannot be read, or log output was started before.
pub fn init(args: &LogArgs) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&args.filter).with_context(|| format!("--log {:?} is no filter", args.filter))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = match args.format {
        LogFormat::Human => lines.with_ansi(colour()).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("starting log output: {error}"))
}

/// <https://no-color.org>: any non-empty `NO_COLOR` switches colour off.
fn colour() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !refused && io::stderr().is_terminal()
}
