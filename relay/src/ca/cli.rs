//! `sluice ca`.

use super::{CaError, Files};
use crate::exit::Exit;
use crate::{cli, report};
use sluice_topology::PopId;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The private authority of the trunks: who may be a relay of this backbone.
#[derive(Debug, clap::Args)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make the authority: ca.pem for every relay, ca.key for nobody but you
    Init {
        /// Folder of the authority
        #[arg(long, default_value = "sluice-ca")]
        dir: PathBuf,
    },
    /// Issue the trunk certificate of a PoP: NAME.pem and NAME.key
    Issue {
        /// Name of the PoP, the `pop` of its configuration
        name: PopId,
        /// Folder of the authority
        #[arg(long, default_value = "sluice-ca")]
        dir: PathBuf,
        /// Days until it expires
        #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
        days: u32,
    },
}

/// Runs `sluice ca`.
///
/// # Errors
/// As [`super::init`] and [`super::issue`].
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let now = cli::wall_clock();
    match cli.command {
        Command::Init { dir } => {
            let files = super::init(&dir, now).map_err(with_code)?;
            report::line(format_args!("{}\n{}", files.cert.display(), files.key.display()))?;
        }
        Command::Issue { name, dir, days } => {
            let files = super::issue(&dir, &name, days, now).map_err(with_code)?;
            report::text(&section(&dir, &files))?;
        }
    }
    Ok(Exit::Ok.into())
}

/// The lines of the PoP's configuration.
fn section(dir: &Path, files: &Files) -> String {
    format!(
        "[trunk]\nca = {:?}\ncert = {:?}\nkey = {:?}\n",
        dir.join("ca.pem").display().to_string(),
        files.cert.display().to_string(),
        files.key.display().to_string()
    )
}

/// What the user can mend by other arguments is a matter of usage.
fn with_code(error: CaError) -> anyhow::Error {
    let exit = match error {
        CaError::Exists(_) | CaError::NoAuthority(_) | CaError::NotACertificate(_) | CaError::Mismatch(_) => {
            Exit::Usage
        }
        CaError::Io { .. } | CaError::Certificate(_) => Exit::Failed,
    };
    exit.because(error)
}
