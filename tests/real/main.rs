//! Real processes, sockets, clocks and other people's programs: what only shows when the parts run as users run them.
//!
//! Every test starts its own relays on ports that the system picks, waits on conditions with deadlines, and prints its
//! wall time. What needs a program that is missing here prints `SKIPPED: reason`, and fails instead where
//! `SLUICE_REQUIRE` names it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod bad_input;
mod certificates;
mod chain;
mod faults;
mod harness;
mod interop;
#[cfg(target_os = "linux")]
mod lab_smoke;
mod netem;
