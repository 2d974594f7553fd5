//! `cargo bench --bench congestion`: congestion controllers under live media, in virtual time. See
//! docs/reliability.md. The same figures on every machine, but for quinn's BBR, which draws from the system's
//! random numbers.

#![expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "figures for people")]
#![expect(clippy::print_stdout, reason = "the table is the result")]

use clap::Parser as _;
use congestion::{cases, jitter};
use sluice_net::{Congestion, TransportProfile};

/// The modules of `benches/congestion/`.
mod congestion {
    pub(crate) mod cases;
    pub(crate) mod host;
    pub(crate) mod jitter;
    pub(crate) mod net;
    pub(crate) mod sink;
    pub(crate) mod source;
    pub(crate) mod world;
}

/// Compares congestion controllers
#[derive(Debug, clap::Parser)]
struct Args {
    /// Seeds per lossy case, 60 s of stream each
    #[arg(long, default_value_t = 3)]
    seeds: u64,
    /// Only this part: loss, drop, jitter, beside, duel, alone
    #[arg(long)]
    only: Option<String>,
    /// Only this controller: cubic, bbr, live
    #[arg(long)]
    controller: Option<String>,
    /// What `cargo bench` adds to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

const CONTROLLERS: [(&str, Congestion); 3] =
    [("cubic", Congestion::Cubic), ("bbr", Congestion::Bbr), ("live", Congestion::Live)];

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let parts: [(&str, fn(&Args) -> anyhow::Result<()>); 6] =
        [("loss", loss), ("drop", drop), ("jitter", jitter), ("beside", beside), ("duel", duel), ("alone", alone)];
    for (name, part) in parts {
        if args.only.as_deref().is_none_or(|only| only == name) {
            part(&args)?;
        }
    }
    Ok(())
}

fn chosen(args: &Args) -> impl Iterator<Item = (&'static str, TransportProfile)> {
    CONTROLLERS
        .into_iter()
        .filter(|(name, _)| args.controller.as_deref().is_none_or(|only| only == *name))
        .map(|(name, congestion)| (name, profile(congestion)))
}

fn profile(congestion: Congestion) -> TransportProfile {
    TransportProfile { congestion, ..TransportProfile::trunk() }
}

fn loss(args: &Args) -> anyhow::Result<()> {
    println!("Live, 8 Mbit/s over 50 Mbit/s and 50 ms, random loss; {} x 60 s\n", args.seeds);
    println!(
        "| controller | loss | Mbit/s | added p50 RTT | added p99 RTT | frames lost | video groups lost | sound groups lost | queue p50 / p99 ms |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for (name, profile) in chosen(args) {
        for loss in [0.0, 0.01, 0.05, 0.2] {
            print_live(&format!("{name} | {:.0} %", loss * 100.0), &cases::live(&profile, loss, None, args.seeds)?);
        }
    }
    println!();
    Ok(())
}

fn print_live(label: &str, live: &cases::Live) {
    println!(
        "| {label} | {:.1} | {:.2} | {:.2} | {} | {} of {} | {} | {:.0} / {:.0} |",
        live.mbits,
        live.added_p50,
        live.added_p99,
        live.frames_lost,
        live.groups_lost,
        live.groups,
        live.sound_lost,
        live.queue_p50,
        live.queue_p99
    );
}

fn drop(args: &Args) -> anyhow::Result<()> {
    println!("Live, 50 -> 6 -> 50 Mbit/s, queue of 833 ms at 6 Mbit/s\n");
    println!(
        "| controller | queue p99 from 2 s on, ms | queue most, ms | Mbit/s at 6 | whole groups at 6 | recovery, s |"
    );
    println!("|---|---|---|---|---|---|");
    for (name, profile) in chosen(args) {
        let drop = cases::drop(&profile, 1)?;
        let recovery = drop.recovery.map_or_else(|| "never".to_owned(), |time| format!("{:.1}", time.as_secs_f64()));
        let (whole, all) = drop.groups;
        println!(
            "| {name} | {:.0} | {:.0} | {:.1} | {whole} of {all} | {recovery} |",
            drop.queue_p99, drop.queue_most, drop.mbits
        );
    }
    println!();
    Ok(())
}

fn jitter(args: &Args) -> anyhow::Result<()> {
    println!("Live, 4 Mbit/s, over paths with jitter; {} x 60 s\n", args.seeds);
    println!("| controller | path | added p50, ms | added p99, ms | frames lost |");
    println!("|---|---|---|---|---|");
    for (name, profile) in chosen(args) {
        for case in jitter::CASES {
            let seen = jitter::run(&profile, case, args.seeds)?;
            println!("| {name} | {case} | {:.0} | {:.0} | {} |", seen.p50, seen.p99, seen.lost);
        }
    }
    println!();
    Ok(())
}

fn beside(args: &Args) -> anyhow::Result<()> {
    println!("Live beside one greedy CUBIC flow, queue of 100 ms\n");
    println!(
        "| controller | neighbour Mbit/s | Mbit/s | added p50 RTT | added p99 RTT | frames lost | video groups lost | sound groups lost | queue p50 / p99 ms |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for (name, profile) in chosen(args) {
        let live = cases::live(&profile, 0.0, Some(&self::profile(Congestion::Cubic)), args.seeds)?;
        print_live(&format!("{name} | {:.1}", live.neighbour), &live);
    }
    println!();
    Ok(())
}

fn duel(args: &Args) -> anyhow::Result<()> {
    println!("Two greedy flows, the second 5 s later; 15 s to 75 s\n");
    println!("| first | second | queue, ms | first Mbit/s | second Mbit/s | queue p50, ms |");
    println!("|---|---|---|---|---|---|");
    for (name, profile) in chosen(args) {
        let cubic = self::profile(Congestion::Cubic);
        let mut pairs = vec![(format!("{name} | {name}"), &profile, &profile)];
        if profile != cubic {
            pairs.push((format!("cubic | {name}"), &cubic, &profile));
            pairs.push((format!("{name} | cubic"), &profile, &cubic));
        }
        for (names, first, second) in pairs {
            for queue in [20, 100, 200] {
                let (one, two, wait) = cases::duel(first, second, queue, 1)?;
                println!("| {names} | {queue} | {one:.1} | {two:.1} | {wait:.0} |");
            }
        }
    }
    println!();
    Ok(())
}

fn alone(args: &Args) -> anyhow::Result<()> {
    println!("One greedy flow\n");
    println!("| controller | loss | queue, ms | Mbit/s | queue p50 / p99, ms |");
    println!("|---|---|---|---|---|");
    for (name, profile) in chosen(args) {
        for (loss, queue) in [(0.0, 100), (0.0, 10), (0.01, 100), (0.05, 100), (0.2, 100)] {
            let (rate, p50, p99) = cases::alone(&profile, loss, queue, 1)?;
            println!("| {name} | {:.0} % | {queue} | {rate:.1} | {p50:.0} / {p99:.0} |", loss * 100.0);
        }
    }
    println!();
    Ok(())
}
