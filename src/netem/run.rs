//! `sluice netem run`.

use super::engine::{self, Choice};
use super::interrupt::{Interrupt, Interrupted};
use anyhow::Context as _;
use sluice_netem::result::{Evidence, Outcome, Report, markdown_head, markdown_row};
use sluice_netem::scenario::{Engine, Scenario};
use sluice_netem::timeline;
use sluice_relay::exit::Exit;
use sluice_relay::report;
use std::io::{self, IsTerminal as _, Write as _};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

/// Most seeds of one call.
const SEEDS_MAX: u64 = 1_000_000;

/// Carry out scenario files and judge what they show
#[derive(Debug, clap::Args)]
pub(super) struct Cli {
    /// Scenario files (TOML)
    #[arg(required = true, value_name = "SCENARIO")]
    scenarios: Vec<PathBuf>,
    /// Who carries them out [default: the first of sim, lab and proxy that each file names]
    #[arg(long, value_enum, value_delimiter = ',')]
    engine: Vec<Choice>,
    /// Seed of all random choices, in place of the file's
    #[arg(long, value_name = "N", conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Run once with each seed from A to B
    #[arg(long, value_name = "A..B")]
    seeds: Option<Seeds>,
    /// How to report
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Draw what was delivered when, and what happened; with several runs each gets a file of its own
    #[arg(long, value_name = "FILE.svg")]
    timeline: Option<PathBuf>,
    /// Keep configurations, logs and times of the processes in this folder
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
    /// Only say what is wrong with the files
    #[arg(long)]
    check: bool,
}

/// How runs are reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum Format {
    /// For reading
    #[default]
    Human,
    /// One JSON document: a list of results
    Json,
    /// One result per line, as each run ends
    Jsonl,
    /// A table, as in docs/reliability.md
    Markdown,
}

/// `1..100`, both ends included.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seeds(RangeInclusive<u64>);

impl FromStr for Seeds {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "write two seeds such as 1..100; the second is included and not below the first";
        let (from, to) = text.split_once("..").ok_or(EXPECTED)?;
        let from: u64 = from.parse().map_err(|_| EXPECTED)?;
        let to: u64 = to.trim_start_matches('=').parse().map_err(|_| EXPECTED)?;
        if to.checked_sub(from).is_some_and(|more| more < SEEDS_MAX) { Ok(Self(from..=to)) } else { Err(EXPECTED) }
    }
}

/// One run to be done.
#[derive(Debug)]
struct Job<'a> {
    file: &'a Path,
    scenario: &'a Scenario,
    engine: Engine,
    seed: u64,
}

impl Job<'_> {
    fn name(&self) -> String {
        format!("{} in {}, seed {}", self.scenario.name, self.engine, self.seed)
    }
}

pub(super) fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    let scenarios = read(&cli.scenarios)?;
    if cli.check {
        return Ok(Exit::Ok.into());
    }
    let jobs = jobs(cli, &scenarios)?;
    if jobs.iter().any(|job| job.engine == Engine::Lab) {
        engine::gain_rights();
    }
    for engine in Engine::ALL {
        if jobs.iter().any(|job| job.engine == engine) {
            engine::require(engine)?;
        }
    }
    let interrupt = Interrupt::listen()?;
    let mut output = Output::new(cli, jobs.len());
    let mut worst = Exit::Ok;
    for job in &jobs {
        let progress = Progress::new(cli.format, job);
        let mut watch = |now, end| {
            progress.show(now, end);
            interrupt.check()
        };
        let evidence = engine::run(job.scenario, (job.engine, job.seed), cli.keep.as_deref(), &mut watch);
        drop(progress);
        let evidence = match evidence {
            Ok(evidence) => evidence,
            Err(error) if error.is::<Interrupted>() => {
                worst = Exit::Failed;
                break;
            }
            Err(error) if jobs.len() == 1 => return Err(error.context(job.name())),
            // The others may still have something to say.
            Err(error) => {
                note(&format!("error: {}: {error:#}", job.name()));
                worst = Exit::Failed;
                continue;
            }
        };
        if output.add(job, &evidence)? != Outcome::Passed {
            worst = Exit::Failed;
        }
    }
    output.finish()?;
    Ok(worst.into())
}

/// Reads every file, and says everything that is wrong with all of them.
fn read(files: &[PathBuf]) -> anyhow::Result<Vec<(PathBuf, Scenario)>> {
    let (mut scenarios, mut wrong) = (Vec::new(), Vec::new());
    for file in files {
        let name = file.display().to_string();
        match std::fs::read_to_string(file) {
            Ok(text) => match Scenario::parse(&name, &text) {
                Ok(scenario) => scenarios.push((file.clone(), scenario)),
                Err(problems) => wrong.push(problems.to_string()),
            },
            Err(error) => wrong.push(format!("cannot read {name}: {error}")),
        }
    }
    if wrong.is_empty() { Ok(scenarios) } else { Err(Exit::Usage.because(anyhow::anyhow!(wrong.join("\n")))) }
}

fn jobs<'a>(cli: &Cli, scenarios: &'a [(PathBuf, Scenario)]) -> anyhow::Result<Vec<Job<'a>>> {
    let mut jobs = Vec::new();
    for (file, scenario) in scenarios {
        let default = scenario.engines.first().copied().unwrap_or(Engine::Sim);
        let mut engines: Vec<Engine> = cli.engine.iter().map(|choice| choice.engine()).collect();
        // One engine was meant for every file; of several, each file gets those that it is meant for.
        match &engines[..] {
            [] => engines.push(default),
            [only] if scenarios.len() == 1 => engine::suits(scenario, *only)?,
            _ => engines.retain(|engine| engine::suits(scenario, *engine).is_ok()),
        }
        if engines.is_empty() {
            report_left_out(file, scenario);
        }
        for engine in engines {
            engine::suits(scenario, engine)?;
            let seeds = match (&cli.seeds, cli.seed) {
                (Some(Seeds(seeds)), _) => seeds.clone(),
                (None, seed) => {
                    let seed = seed.unwrap_or(scenario.seed);
                    seed..=seed
                }
            };
            jobs.extend(seeds.map(|seed| Job { file, scenario, engine, seed }));
        }
    }
    Ok(jobs)
}

fn report_left_out(file: &Path, scenario: &Scenario) {
    let engines: Vec<&str> = scenario.engines.iter().map(|engine| engine.name()).collect();
    note(&format!("{} is left out: it is meant for {}", file.display(), engines.join(", ")));
}

/// What is said about runs, and where.
struct Output<'a> {
    cli: &'a Cli,
    runs: usize,
    reports: Vec<Report>,
}

impl<'a> Output<'a> {
    const fn new(cli: &'a Cli, runs: usize) -> Self {
        Self { cli, runs, reports: Vec::new() }
    }

    fn add(&mut self, job: &Job<'_>, evidence: &Evidence) -> anyhow::Result<Outcome> {
        let result = Report::new(job.scenario, evidence);
        if let Some(path) = &self.cli.timeline {
            let path = self.timeline(path, job);
            std::fs::write(&path, timeline::svg(job.scenario, evidence, &result))
                .with_context(|| format!("writing the timeline {}", path.display()))?;
        }
        let outcome = result.outcome;
        match self.cli.format {
            Format::Human => {
                report::line(&result)?;
                if outcome != Outcome::Passed {
                    let (file, engine, seed) = (job.file.display(), job.engine, job.seed);
                    report::line(format_args!("  again: sluice netem run {file} --engine {engine} --seed {seed}"))?;
                }
            }
            Format::Jsonl => report::line(serde_json::to_string(&result)?)?,
            Format::Markdown => {
                if self.reports.is_empty() {
                    report::line(markdown_head())?;
                }
                report::line(markdown_row(&result))?;
            }
            Format::Json => {}
        }
        self.reports.push(result);
        Ok(outcome)
    }

    /// One file per run.
    fn timeline(&self, path: &Path, job: &Job<'_>) -> PathBuf {
        if self.runs == 1 {
            return path.to_owned();
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        path.with_file_name(format!("{stem}-{}-{}-{}.svg", job.scenario.name, job.engine, job.seed))
    }

    fn finish(self) -> anyhow::Result<()> {
        match self.cli.format {
            Format::Json => report::line(serde_json::to_string(&self.reports)?)?,
            Format::Human if self.runs > 1 => {
                let of = |outcome| self.reports.iter().filter(|report| report.outcome == outcome).count();
                let (passed, failed, invalid) = (of(Outcome::Passed), of(Outcome::Failed), of(Outcome::Invalid));
                report::line(format_args!("{passed} passed, {failed} failed, {invalid} do not count"))?;
            }
            Format::Human | Format::Jsonl | Format::Markdown => {}
        }
        Ok(())
    }
}

/// A line on a terminal that is written over and over; silent elsewhere and for machines.
struct Progress {
    label: Option<String>,
}

impl Progress {
    fn new(format: Format, job: &Job<'_>) -> Self {
        let is_shown = format == Format::Human && io::stderr().is_terminal();
        Self { label: is_shown.then(|| job.name()) }
    }

    fn show(&self, now: Duration, end: Duration) {
        if let Some(label) = &self.label {
            let at = if end.is_zero() {
                "starting".to_owned()
            } else {
                format!("{:.0} of {:.0} s", now.as_secs_f64(), end.as_secs_f64())
            };
            // Nobody is left to tell where standard error is closed.
            let _ = write!(io::stderr().lock(), "\r\x1b[K{label}: {at}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.label.is_some() {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}

/// A line for people, beside the data.
fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_a_range() {
        assert_eq!("1..100".parse(), Ok(Seeds(1..=100)));
        assert_eq!("7..=7".parse(), Ok(Seeds(7..=7)));
        for text in ["", "1", "2..1", "a..b", "0..9999999", "1.."] {
            assert!(text.parse::<Seeds>().is_err(), "{text}");
        }
    }
}
