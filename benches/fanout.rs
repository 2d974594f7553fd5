//! `cargo bench --bench fanout`: one source, N viewers, one core: what a viewer costs. See benches/README.md.

use clap::Parser as _;

/// The modules of `benches/support/` that this bench uses.
mod support {
    pub(crate) mod allocations;
    pub(crate) mod bare;
    pub(crate) mod child;
    pub(crate) mod clock;
    pub(crate) mod counted;
    pub(crate) mod fanout_report;
    pub(crate) mod floor;
    pub(crate) mod host;
    pub(crate) mod load;
    pub(crate) mod machine;
    pub(crate) mod measure;
    pub(crate) mod pattern;
    pub(crate) mod plan;
    pub(crate) mod protocol;
    pub(crate) mod quinn_baseline;
    pub(crate) mod relay;
    pub(crate) mod report;
    pub(crate) mod sender;
    pub(crate) mod socket;
    pub(crate) mod tls;
}

use support::protocol::Role;

#[global_allocator]
static ALLOCATOR: support::allocations::Counting = support::allocations::Counting;

fn main() -> anyhow::Result<()> {
    let args = support::plan::Args::parse();
    let Some(role) = &args.child else { return support::plan::run(&args) };
    match serde_json::from_str(role)? {
        Role::Floor { viewers, megabits, rounds } => {
            let pattern = support::pattern::Pattern::new(megabits);
            support::protocol::say(&support::floor::measure(viewers, pattern, rounds)?)
        }
        Role::Sender(run) => support::sender::run(run),
        Role::Load { run, sender } => support::load::run(run, &sender),
    }
}
