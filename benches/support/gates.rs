//! Instructions of the pure code per piece of work, counted by callgrind and held against committed numbers.

use crate::support::pump::{Pump, object};
use crate::support::report;
use anyhow::{Context as _, bail, ensure};
use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use sluice_moqt::data::{StreamDecoder, SubgroupEncoder, SubgroupFlags, SubgroupHeader, SubgroupId};
use sluice_moqt::types::TrackAlias;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// The committed numbers.
const NUMBERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.json");
/// Iterations of the two runs whose difference counts: starting up cancels out.
const FEW: u32 = 300;
const MANY: u32 = 1_500;
/// Dearer than the committed number by more than this fails.
const TOLERANCE: f64 = 0.05;
/// A frame of 4 Mbit/s, as the shard loop hands it over: one slice.
const PAYLOAD: usize = 15_000;

/// Counts instructions per forwarded object and per object header.
#[derive(Debug, clap::Parser)]
pub(crate) struct Args {
    /// Writes what was counted over the committed numbers
    #[arg(long)]
    update: bool,
    /// A child's work and how often it does it
    #[arg(long, hide = true, num_args = 2)]
    pub(crate) child: Option<Vec<String>>,
    /// What `cargo bench` adds to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Work {
    /// An object from the publisher's stream through the node to one viewer.
    ForwardToOne,
    /// The same to 17 viewers.
    ForwardToSeventeen,
    /// An object header encoded and decoded.
    Header,
}

impl Work {
    const ALL: [Self; 3] = [Self::ForwardToOne, Self::ForwardToSeventeen, Self::Header];

    fn perform(self, times: u32) -> anyhow::Result<()> {
        match self {
            Self::ForwardToOne => forward(1, times),
            Self::ForwardToSeventeen => forward(17, times),
            Self::Header => headers(times),
        }
    }
}

/// Committed and printed: instructions by name.
type Numbers = BTreeMap<String, f64>;

/// One gate.
#[derive(Debug, Serialize)]
struct GateLine {
    case: String,
    instructions: f64,
    committed: Option<f64>,
    /// Counted over committed.
    ratio: Option<f64>,
    passed: bool,
}

/// Does a child's work.
pub(crate) fn perform(work: &[String]) -> anyhow::Result<()> {
    let [work, times] = work else { bail!("a child needs its work and a number") };
    serde_json::from_str::<Work>(work)?.perform(times.parse()?)
}

/// Counts, prints a line per gate, and says whether all passed.
pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    if Command::new("valgrind").arg("--version").output().is_err() {
        report::say("SKIPPED: valgrind is not installed");
        return Ok(true);
    }
    let counted = count_all()?;
    if args.update {
        let text = serde_json::to_string_pretty(&counted)? + "\n";
        std::fs::write(NUMBERS, text).with_context(|| format!("writing {NUMBERS}"))?;
    }
    let committed = committed()?;
    let mut passed = true;
    for (case, instructions) in counted {
        let committed = committed.get(&case).copied();
        let ratio = committed.map(|committed| instructions / committed);
        let line =
            GateLine { case, instructions, committed, ratio, passed: ratio.is_some_and(|r| r <= 1.0 + TOLERANCE) };
        passed &= line.passed;
        report::line(&line)?;
    }
    Ok(passed)
}

fn committed() -> anyhow::Result<Numbers> {
    if !Path::new(NUMBERS).exists() {
        bail!("{NUMBERS} is missing: `cargo bench --bench instructions -- --update` writes it");
    }
    let text = std::fs::read_to_string(NUMBERS).with_context(|| format!("reading {NUMBERS}"))?;
    serde_json::from_str(&text).with_context(|| format!("reading {NUMBERS}"))
}

fn count_all() -> anyhow::Result<Numbers> {
    let mut each = BTreeMap::new();
    for work in Work::ALL {
        let span = f64::from(MANY - FEW);
        each.insert(work, (count(work, MANY)? as f64 - count(work, FEW)? as f64) / span);
    }
    let (one, seventeen) = (each[&Work::ForwardToOne], each[&Work::ForwardToSeventeen]);
    let numbers = [
        ("object_forwarded_to_one_viewer", one),
        ("object_forwarded_to_a_viewer_more", (seventeen - one) / 16.0),
        ("object_header_encode_and_decode", each[&Work::Header]),
    ];
    Ok(numbers.into_iter().map(|(name, count)| (name.to_owned(), count.round())).collect())
}

/// Instructions of a process that does `work` so many times.
fn count(work: Work, times: u32) -> anyhow::Result<u64> {
    let program = std::env::current_exe().context("finding this bench's own binary")?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(["--child", &serde_json::to_string(&work)?, &times.to_string()])
        .output()
        .context("starting valgrind")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "callgrind failed:\n{said}");
    let line = said.lines().find_map(|line| line.split_once("Collected :")).context("callgrind told no number")?;
    line.1.trim().parse().context("reading callgrind's number")
}

fn forward(viewers: u64, times: u32) -> anyhow::Result<()> {
    let mut pump = Pump::start(viewers, PAYLOAD)?;
    for _ in 0..times {
        let written = pump.forward()?;
        ensure!(written >= viewers * PAYLOAD as u64, "only {written} bytes left for {viewers} viewers");
    }
    Ok(())
}

fn headers(times: u32) -> anyhow::Result<()> {
    let header = SubgroupHeader {
        alias: TrackAlias(1),
        group: 1,
        subgroup: SubgroupId::Zero,
        priority: Some(128),
        flags: SubgroupFlags::END_OF_GROUP | SubgroupFlags::FIRST_OBJECT,
    };
    let (mut encoder, mut decoder) = (SubgroupEncoder::new(&header), StreamDecoder::default());
    let mut bytes = BytesMut::new();
    header.encode(&mut bytes);
    let payload = Bytes::from_static(&[0x5a; 64]);
    let mut events = 0;
    for id in 0..u64::from(times) {
        encoder.encode(&object(id, payload.len()), &mut bytes)?;
        decoder.push(bytes.split().freeze());
        decoder.push(payload.clone());
        while decoder.poll()?.is_some() {
            events += 1;
        }
    }
    ensure!(events >= times, "{events} events of {times} objects");
    Ok(())
}
