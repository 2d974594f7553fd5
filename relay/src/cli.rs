//! `sluice relay`: the daemon, `check-config`, `print-config`.

use crate::config::flags::KeyFlags;
use crate::config::{Config, Loaded, Sources};
use crate::exit::Exit;
use crate::logging::{self, LogArgs};
use crate::report::{self, Format};
use anyhow::Context as _;
use sluice_net::{Clock as _, SystemClock};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

/// The relay of a PoP.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    sources: SourceArgs,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Say everything that is wrong with a configuration, or nothing
    CheckConfig {
        /// The configuration file
        file: Option<PathBuf>,
        #[command(flatten)]
        sources: SourceArgs,
    },
    /// Print every key's effective value and where it comes from
    PrintConfig {
        /// The configuration file
        file: Option<PathBuf>,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
        #[command(flatten)]
        sources: SourceArgs,
    },
}

/// Where the configuration comes from. Every key is also a flag; see `--help`.
#[derive(Debug, Clone, clap::Args)]
pub struct SourceArgs {
    /// The configuration file (TOML)
    #[arg(long, short, env = "SLUICE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    keys: KeyFlags,
}

impl SourceArgs {
    /// Reads and checks the configuration that these flags, the environment and the file make.
    ///
    /// # Errors
    /// The file cannot be read, or the configuration is wrong: [`Exit::Usage`].
    pub fn load(self) -> anyhow::Result<Loaded> {
        let file = match self.config {
            Some(path) => {
                let read = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()));
                Some(read.map(|text| (path, text)).map_err(|error| Exit::Usage.because(error))?)
            }
            None => None,
        };
        // Variables that are not Unicode cannot be ours.
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        let env = std::env::vars_os().filter_map(text).filter(|(name, _)| name.starts_with("SLUICE_")).collect();
        Config::load(Sources { file, env, flags: self.keys }).map_err(|problems| {
            let count = problems.list().len();
            Exit::Usage.because(anyhow::anyhow!("mistakes in the configuration: {count}\n{problems}"))
        })
    }

    /// Sets `key` as its flag would.
    #[must_use]
    pub fn with(mut self, key: &str, text: &str) -> Self {
        self.keys = self.keys.with(key, text);
        self
    }

    fn with_file(mut self, file: Option<PathBuf>) -> Self {
        self.config = file.or(self.config);
        self
    }
}

/// Runs `sluice relay`.
///
/// # Errors
/// The configuration is wrong, or the command failed.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Some(Command::CheckConfig { file, sources }) => {
            let config = sources.with_file(file).load()?.config;
            let unreadable = unreadable(&config);
            anyhow::ensure!(unreadable.is_empty(), Exit::Usage.because(anyhow::anyhow!(unreadable.join("\n"))));
        }
        Some(Command::PrintConfig { file, format, sources }) => {
            let effective = sources.with_file(file).load()?.effective;
            match format {
                Format::Human => report::text(&effective.to_string())?,
                Format::Json => report::line(format_args!("{:#}", effective.to_json()))?,
                Format::Jsonl => report::line(effective.to_json())?,
            }
        }
        None => {
            logging::init(&cli.log)?;
            let loaded = cli.sources.load()?;
            anyhow::ensure!(
                loaded.config.feeds.is_empty(),
                Exit::Usage.because(anyhow::anyhow!(
                    "a relay has no sources: [[source]] and [rtmp] are for `sluice origin-shim`"
                ))
            );
            crate::daemon::run_until_stopped(&loaded.config)?;
        }
    }
    Ok(Exit::Ok.into())
}

/// Files that the configuration names and that cannot be opened, one line each.
fn unreadable(config: &Config) -> Vec<String> {
    let open = |(key, path): (&str, &Path)| {
        let error = std::fs::File::open(path).err()?;
        Some(format!("`{key}`: cannot open {}: {error}", path.display()))
    };
    config.files().into_iter().filter_map(open).collect()
}

/// The calendar, for the dates of certificates.
pub(crate) fn wall_clock() -> SystemTime {
    UNIX_EPOCH + SystemClock.unix_time()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory as _, Parser};

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        cli: Cli,
    }

    #[test]
    fn the_command_line_is_consistent() {
        Program::command().debug_assert();
    }

    #[test]
    fn every_key_is_a_flag_of_every_command() {
        let flags = [
            "--pop",
            "fra1",
            "--shards",
            "2",
            "--trunk-origins",
            "a",
            "--trunk-origins",
            "b",
            "--peer",
            "pop=a,addr=a:1",
        ];
        for command in [&[][..], &["check-config"], &["print-config"]] {
            let program = Program::try_parse_from(["relay"].iter().chain(command).chain(&flags)).unwrap();
            let sources = match program.cli.command {
                None => program.cli.sources,
                Some(Command::CheckConfig { sources, .. } | Command::PrintConfig { sources, .. }) => sources,
            };
            let error = Config::load(Sources { flags: sources.keys, ..Sources::default() }).unwrap_err().to_string();
            assert!(error.starts_with("config: `trunk.ca` is missing"), "{error}");
            assert_eq!(error.lines().count(), 3, "the flags themselves are right: {error}");
        }
    }

    #[test]
    fn check_config_opens_the_files_that_are_named() {
        let flags = ["--pop", "a", "--listen-cert", "/nowhere/a.pem", "--listen-key", "/nowhere/a.key"];
        let program = Program::try_parse_from(["relay", "check-config"].iter().chain(&flags)).unwrap();
        let error = run(program.cli).unwrap_err();
        let lines: Vec<_> = error.to_string().lines().map(str::to_owned).collect();
        assert_eq!((Exit::of(&error), lines.len()), (Exit::Usage, 2));
        assert!(lines[0].starts_with("`listen.cert`: cannot open /nowhere/a.pem: "), "{error}");
    }

    #[test]
    fn a_missing_file_is_a_matter_of_usage() {
        let program = Program::try_parse_from(["relay", "check-config", "/nowhere/fra1.toml"]).unwrap();
        let error = run(program.cli).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Usage);
        assert!(format!("{error:#}").starts_with("cannot read /nowhere/fra1.toml: "), "{error:#}");
    }
}
