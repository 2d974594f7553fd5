//! The shard loop from outside: over a network of virtual time, and over the kernel's sockets.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "helpers of tests fail as tests do, on anything that they did not expect"
)]

mod holes;
mod pipes;
mod real_sockets;
mod support;
mod trunk_tls;
mod virtual_time;
