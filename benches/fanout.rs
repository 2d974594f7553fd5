//! `cargo bench --bench fanout`: one source, N viewers, one core: what a viewer costs. See benches/README.md.

use clap::Parser as _;

/// The modules of `benches/support/` that this bench uses.
mod support {
    pub(crate) mod allocations;
    pub(crate) mod bare;
    pub(crate) mod child;
    pub(crate) mod clock;
    pub(crate) mod counted;
    pub(crate) mod daemons;
    pub(crate) mod edge;
    pub(crate) mod fanout_report;
    pub(crate) mod floor;
    pub(crate) mod floor_report;
    pub(crate) mod host;
    pub(crate) mod load;
    pub(crate) mod machine;
    pub(crate) mod measure;
    pub(crate) mod pattern;
    pub(crate) mod plan;
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
    let args = support::plan::Args::parse();
    match &args.child {
        Some(role) => support::child::perform(role),
        None => support::plan::run(&args),
    }
}
