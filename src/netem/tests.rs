//! The command lines of `sluice netem`.

use super::Cli;
use clap::Parser;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    cli: Cli,
}

fn parse(line: &str) -> Result<Line, String> {
    Line::try_parse_from(line.split_whitespace()).map_err(|error| error.to_string())
}

#[test]
fn the_documented_lines_parse() {
    for line in [
        "netem proxy --listen :5000 --to host:4443 --delay 80ms --jitter 20ms --loss 3% --rate 4M --seed 7",
        "netem proxy --to 127.0.0.1:4443 --profile starlink --up-loss 1% --down-rate 10M --down-queue 64KiB",
        "netem proxy --to [::1]:4443 --burst 1%,25% --reorder allow --duplicate 0.1% --mtu 1350 --format json",
        "netem run scenarios/flap.toml --engine sim --seed 7 --format json --timeline flap.svg",
        "netem run a.toml b.toml --engine sim,proxy --seeds 1..100 --format markdown",
        "netem doctor --engine lab --format json",
        "netem doctor --measure",
    ] {
        parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

#[test]
fn mistakes_are_explained() {
    for (line, expected) in [
        ("netem proxy --listen :5000", "--to <HOST:PORT>"),
        ("netem proxy --to h:1 --delay 80", "needs a unit"),
        ("netem proxy --to h:1 --loss 3", "did you mean a percentage"),
        ("netem proxy --to h:1 --listen 5000", "ADDRESS:PORT"),
        ("netem proxy --to h:1 --burst 1%", "two shares"),
        ("netem proxy --to h:1 --rate 4M --trace x", "cannot be used with"),
        ("netem proxy --to h:1 --profile dialup", "there are lte, umts"),
        ("netem run", "SCENARIO"),
        ("netem run a.toml --seed 1 --seeds 1..2", "cannot be used with"),
    ] {
        let error = parse(line).unwrap_err();
        assert!(error.contains(expected), "{line}: {error}");
    }
}
