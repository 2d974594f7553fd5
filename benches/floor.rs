//! `cargo bench --bench floor`: the physical limit that every fan-out figure is a share of. See benches/README.md.

use clap::Parser;

/// The modules of `benches/support/` that this bench uses.
mod support {
    #[expect(dead_code, reason = "fanout uses the rest")]
    pub(crate) mod clock;
    pub(crate) mod floor;
    pub(crate) mod floor_report;
    #[expect(dead_code, reason = "fanout uses the rest")]
    pub(crate) mod machine;
    #[expect(dead_code, reason = "fanout uses the rest")]
    pub(crate) mod pattern;
    #[expect(dead_code, reason = "instructions uses the rest")]
    pub(crate) mod report;
    #[expect(dead_code, reason = "fanout uses the rest")]
    pub(crate) mod socket;
}

/// Measures the cheapest possible fan-out: sealing with distinct keys and GSO sends, nothing else.
#[derive(Debug, Parser)]
struct Args {
    /// Numbers of viewers, one line each
    #[arg(long, value_delimiter = ',', default_value = "50,200,500")]
    viewers: Vec<usize>,
    /// Bit rate per viewer
    #[arg(long, default_value_t = 4)]
    mbit: u32,
    /// Rounds of three seconds: the whole, sealing alone, sending alone
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// What `cargo bench` adds to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    for viewers in args.viewers {
        let line = support::floor::measure(viewers, support::pattern::Pattern::new(args.mbit), args.rounds)?;
        support::report::line(&line)?;
    }
    Ok(())
}
