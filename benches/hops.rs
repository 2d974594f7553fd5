//! `cargo bench --bench hops`: chains of one, two and three relays: what a hop adds. See benches/README.md.

use clap::Parser as _;

/// The modules of `benches/support/` that this bench uses.
mod support {
    pub(crate) mod allocations;
    pub(crate) mod bare;
    pub(crate) mod chain;
    pub(crate) mod child;
    pub(crate) mod clock;
    pub(crate) mod counted;
    pub(crate) mod daemons;
    pub(crate) mod edge;
    pub(crate) mod floor;
    pub(crate) mod floor_report;
    pub(crate) mod host;
    pub(crate) mod load;
    pub(crate) mod machine;
    #[expect(dead_code, reason = "fanout uses the rest")]
    pub(crate) mod measure;
    pub(crate) mod pattern;
    pub(crate) mod progress;
    pub(crate) mod protocol;
    pub(crate) mod quinn_baseline;
    pub(crate) mod relay;
    pub(crate) mod report;
    pub(crate) mod sender;
    pub(crate) mod socket;
    pub(crate) mod tls;
}

#[global_allocator]
static ALLOCATOR: support::allocations::Counting = support::allocations::Counting;

fn main() -> anyhow::Result<()> {
    let args = support::chain::Args::parse();
    match &args.child {
        Some(role) => support::child::perform(role),
        None => support::chain::run(&args),
    }
}
