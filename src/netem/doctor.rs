//! `sluice netem doctor`.

use anyhow::Context as _;
use sluice_netem::doctor;
use sluice_netem::scenario::Engine;
use sluice_netem::selftest::{self, Check, SelfTest};
use sluice_relay::exit::Exit;
use sluice_relay::report::{self, Format};
use std::process::ExitCode;

/// Say what this machine lacks for the engines, and what to do about it
#[derive(Debug, clap::Args)]
pub(super) struct Cli {
    /// Fail unless this engine runs here; without it, unless all do
    #[arg(long, value_enum)]
    engine: Option<super::engine::Choice>,
    /// Measure delay, loss, rate and throughput of the engines as well, which takes ten seconds each
    #[arg(long)]
    measure: bool,
    /// How to report
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(serde::Serialize)]
struct Findings {
    engines: Vec<EngineLine>,
    findings: Vec<doctor::Finding>,
    /// Engines that were measured.
    measured: Vec<Measured>,
}

#[derive(serde::Serialize)]
struct Measured {
    figures: SelfTest,
    checks: Vec<Check>,
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
    let measured = if cli.measure {
        let wanted = engines.iter().filter(wanted).filter(|line| line.runs).map(|line| line.engine);
        wanted.filter_map(|engine| measure(engine).transpose()).collect::<anyhow::Result<_>>()?
    } else {
        Vec::new()
    };
    let findings = Findings { findings: doctor::examine(), engines: engines.into(), measured };
    match cli.format {
        Format::Human => show(&findings)?,
        Format::Json | Format::Jsonl => report::line(serde_json::to_string(&findings)?)?,
    }
    let good = findings.measured.iter().flat_map(|measured| &measured.checks).all(|check| check.is_met);
    Ok(match (all, good) {
        (false, _) => Exit::MissingCapability,
        (true, false) => Exit::Failed,
        (true, true) => Exit::Ok,
    }
    .into())
}

/// What an engine of real packets is worth here; `None`: its packets are not real.
fn measure(engine: Engine) -> anyhow::Result<Option<Measured>> {
    let figures = match engine {
        Engine::Sim => return Ok(None),
        Engine::Lab => lab()?,
        Engine::Proxy => selftest::proxy().context("measuring the proxy")?,
    };
    Ok(Some(Measured { checks: figures.checks(), figures }))
}

#[cfg(target_os = "linux")]
fn lab() -> anyhow::Result<SelfTest> {
    use sluice_netem::lab::{MediumChoice, Priority, self_test};
    self_test(MediumChoice::Auto, Priority::RealTime).context("measuring the lab")
}

#[cfg(not(target_os = "linux"))]
fn lab() -> anyhow::Result<SelfTest> {
    anyhow::bail!("the lab engine needs Linux")
}

fn show(findings: &Findings) -> anyhow::Result<()> {
    for finding in &findings.findings {
        report::line(finding)?;
    }
    for EngineLine { engine, runs } in &findings.engines {
        report::line(format_args!("engine {engine}: {}", if *runs { "runs here" } else { "does not run here" }))?;
    }
    for Measured { figures, checks } in &findings.measured {
        report::line(format_args!("measured: {}", figures.engine))?;
        for check in checks {
            report::line(format_args!("  {check}"))?;
        }
    }
    Ok(())
}
