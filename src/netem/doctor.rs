//! `sluice netem doctor`.

use sluice_netem::doctor;
use sluice_netem::scenario::Engine;
use sluice_relay::exit::Exit;
use sluice_relay::report::{self, Format};
use std::process::ExitCode;

/// Say what this machine lacks for the engines, and what to do about it
#[derive(Debug, clap::Args)]
pub(super) struct Cli {
    /// Fail unless this engine runs here; without it, unless all do
    #[arg(long, value_enum)]
    engine: Option<super::engine::Choice>,
    /// How to report
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(serde::Serialize)]
struct Findings {
    engines: Vec<EngineLine>,
    findings: Vec<doctor::Finding>,
}

#[derive(serde::Serialize)]
struct EngineLine {
    engine: Engine,
    runs: bool,
}

pub(super) fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    super::engine::gain_rights();
    let runs = |engine| doctor::require(engine).is_ok();
    let engines = Engine::ALL.map(|engine| EngineLine { engine, runs: runs(engine) });
    let wanted = |line: &&EngineLine| cli.engine.is_none_or(|choice| choice.engine() == line.engine);
    let all = engines.iter().filter(wanted).all(|line| line.runs);
    let findings = Findings { findings: doctor::examine(), engines: engines.into() };
    match cli.format {
        Format::Human => {
            for finding in &findings.findings {
                report::line(finding)?;
            }
            for EngineLine { engine, runs } in &findings.engines {
                report::line(format_args!(
                    "engine {engine}: {}",
                    if *runs { "runs here" } else { "does not run here" }
                ))?;
            }
        }
        Format::Json | Format::Jsonl => report::line(serde_json::to_string(&findings)?)?,
    }
    Ok(if all { Exit::Ok } else { Exit::MissingCapability }.into())
}
