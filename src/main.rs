//! `sluice`: one program for every role. Dispatch only.

mod dev;
mod netem;

use clap::{Parser, Subcommand};
use sluice_relay::exit::Exit;
use sluice_relay::{ca, report};
use std::process::ExitCode;

/// Part of what makes forwarding cheap, with the release profile: many small, short-lived buffers.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Edge relay for live media: MoQ in, measured trunks, fan-out at each hop, MoQ out
#[derive(Debug, Parser)]
#[command(name = "sluice", version, disable_help_subcommand = true)]
#[command(after_help = "Exit codes: 0 ok, 1 failed, 2 usage, 3 name, 4 unreachable, 5 TLS, 6 auth, 7 protocol, \
    8 no such stream, 78 missing capability")]
struct Cli {
    #[command(subcommand)]
    program: Program,
}

#[derive(Debug, Subcommand)]
enum Program {
    /// The whole system on this machine, with nothing configured
    Dev(dev::Cli),
    /// The relay of a PoP
    Relay(Box<sluice_relay::Cli>),
    /// The relay of an origin, with sources of its own
    OriginShim(Box<sluice_origin_shim::Cli>),
    /// Publish, watch, load, ping, diff
    ClientProbe(Box<sluice_client_probe::Cli>),
    /// The private authority of the trunks: who may be a relay of this backbone
    Ca(ca::Cli),
    /// Delay, loss and faults: scenarios, a proxy, and what they need
    Netem(Box<netem::Cli>),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().program {
        Program::Dev(cli) => dev::run(cli),
        Program::Relay(cli) => sluice_relay::run(*cli),
        Program::OriginShim(cli) => sluice_origin_shim::run(*cli),
        Program::ClientProbe(cli) => sluice_client_probe::run(*cli),
        Program::Ca(cli) => ca::run(cli),
        Program::Netem(cli) => netem::run(*cli),
    };
    outcome.unwrap_or_else(|error| {
        report::failure(&error);
        Exit::of(&error).into()
    })
}
