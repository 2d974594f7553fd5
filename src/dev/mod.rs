//! `sluice dev`: an origin with a test pattern, edges and trunks in one process, with nothing configured.
//!
//! ```text
//! demo (test pattern), RTMP ──> origin :4440 ──trunk──> edge-1 :4443 ──> whoever watches
//!                                            └─trunk──> edge-2 :4444
//! ```

mod lines;
mod plan;
mod run;
mod summary;

use clap::builder::RangedU64ValueParser;
use sluice_client_probe::cli::Span;
use sluice_relay::report::Format;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;

pub(crate) use run::run;

/// Port of the first edge.
const FIRST_EDGE: u16 = 4443;

/// The whole system on this machine, with nothing configured
#[derive(Debug, clap::Args)]
pub(crate) struct Cli {
    /// Edge relays
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = RangedU64ValueParser::<u16>::new().range(1..=16))]
    pops: u16,
    /// Address, port, or both, of the first edge; the others follow, and all other ports move with it
    #[arg(long, value_name = "ADDR", default_value_t)]
    listen: Listen,
    /// Stop after this time
    #[arg(long = "for", value_name = "DURATION")]
    duration: Option<Span>,
    /// How to report
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// What to log to stderr, for instance `info` or `sluice_node=debug`
    #[arg(long, value_name = "FILTER", env = "SLUICE_LOG", default_value = LOG)]
    log: String,
}

/// Where the first edge listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Listen(SocketAddr);

/// What is worth a look; sizes of socket buffers matter to relays that carry more than a demo.
const LOG: &str = "warn,sluice_relay::daemon::assemble=error";
/// Where the port of the first edge may lie, so that the others have room below and above.
const PORTS: RangeInclusive<u16> = 4000..=60_000;

impl FromStr for Listen {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let addr = match (text.parse::<SocketAddr>(), text.parse::<IpAddr>(), text.parse::<u16>()) {
            (Ok(addr), _, _) => addr,
            (_, Ok(ip), _) => SocketAddr::new(ip, FIRST_EDGE),
            (_, _, Ok(port)) => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port),
            (Err(_), Err(_), Err(_)) => {
                return Err("write an address and a port, such as 127.0.0.1:5443, or one of them");
            }
        };
        if PORTS.contains(&addr.port()) { Ok(Self(addr)) } else { Err("choose a port from 4000 to 60000") }
    }
}

impl Default for Listen {
    fn default() -> Self {
        Self(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), FIRST_EDGE))
    }
}

impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_a_port_or_both() {
        for (text, addr) in
            [("5443", "127.0.0.1:5443"), ("[::]", "[::]:4443"), ("0.0.0.0:5443", "0.0.0.0:5443"), ("::1", "[::1]:4443")]
        {
            let text = if text == "[::]" { "::" } else { text };
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), addr);
        }
        for text in ["", "localhost", "80", "65535", "127.0.0.1:60001"] {
            assert!(text.parse::<Listen>().is_err(), "{text}");
        }
    }
}
