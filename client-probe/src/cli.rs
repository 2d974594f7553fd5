//! The command line, parsed into values that cannot be wrong.

use crate::url::StreamUrl;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Most viewers of one `load`: each takes a connection of its own on one socket.
const VIEWERS_MAX: u32 = 20_000;

/// Measure, publish and watch live streams from the command line
#[derive(Debug, Clone, Parser)]
#[command(name = "client-probe", disable_help_subcommand = true)]
#[command(after_help = "Exit codes: 0 ok, 1 threshold failed, 2 usage, 3 name, 4 unreachable, 5 TLS, 6 auth, \
    7 protocol, 8 no such stream, 78 missing capability")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Debug, Clone, Subcommand)]
pub enum Verb {
    /// Publish a file, stdin or the built-in test pattern as a live stream
    Publish(Publish),
    /// Receive a stream: count, check and store it
    Watch(Watch),
    /// Compare a publisher's manifest with a watcher's
    Diff(Diff),
    /// Watch a stream many times at once and measure what viewers get
    Load(Load),
    /// Measure handshake, round trip, jitter and loss to a relay
    Ping(Ping),
}

/// `publish`.
#[derive(Debug, Clone, Args)]
pub struct Publish {
    /// Where to: moqt://HOST:PORT/NAMESPACE
    pub url: StreamUrl,
    /// MP4 or fragmented MP4 to publish, `-` for stdin; without it the built-in test pattern
    #[arg(long, value_name = "FILE|-")]
    pub input: Option<Place>,
    /// Start the file again when it ends
    #[arg(long = "loop")]
    pub looped: bool,
    /// Add the wall clock to every object, so that watchers on this machine can tell the latency
    #[arg(long)]
    pub stamp: bool,
    /// Write one line per published object
    #[arg(long, value_name = "FILE")]
    pub manifest: Option<PathBuf>,
    /// Write one line per published object with its time; with --stamp
    #[arg(long, value_name = "FILE", requires = "stamp")]
    pub times: Option<PathBuf>,
    /// Stop after this time
    #[arg(long = "for", value_name = "DURATION")]
    pub duration: Option<Span>,
    /// Connection and output.
    #[command(flatten)]
    pub common: Common,
}

/// `watch`.
#[derive(Debug, Clone, Args)]
pub struct Watch {
    /// Where from: moqt://HOST:PORT/NAMESPACE
    pub url: StreamUrl,
    /// Store the stream as fragmented MP4, `-` for stdout
    #[arg(long, value_name = "FILE|-")]
    pub output: Option<Place>,
    /// Stop after this time
    #[arg(long = "for", value_name = "DURATION")]
    pub duration: Option<Span>,
    /// Write one line per received object
    #[arg(long, value_name = "FILE")]
    pub manifest: Option<PathBuf>,
    /// Connection and output.
    #[command(flatten)]
    pub common: Common,
}

/// `diff`.
#[derive(Debug, Clone, Args)]
pub struct Diff {
    /// Manifest of the publisher
    pub published: PathBuf,
    /// Manifest of the watcher
    pub received: PathBuf,
    /// How to report.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// `load`.
#[derive(Debug, Clone, Args)]
pub struct Load {
    /// Where from: moqt://HOST:PORT/NAMESPACE
    pub url: StreamUrl,
    /// How many viewers, each with a connection of its own
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=i64::from(VIEWERS_MAX)))]
    pub viewers: u32,
    /// How long, counted from the first viewer's dial
    #[arg(long = "for", value_name = "DURATION", default_value = "10s")]
    pub duration: Span,
    /// Spread the viewers' dials over this time
    #[arg(long, value_name = "DURATION", default_value = "1s")]
    pub ramp: Span,
    /// Let each viewer leave this long after it has dialled
    #[arg(long, value_name = "DURATION")]
    pub stay: Option<Span>,
    /// Write one line per object with its times, and per viewer that dials, is cut off or leaves
    #[arg(long, value_name = "FILE")]
    pub times: Option<PathBuf>,
    /// Connection and output.
    #[command(flatten)]
    pub common: Common,
}

/// `ping`.
#[derive(Debug, Clone, Args)]
pub struct Ping {
    /// Whom: moqt://HOST:PORT
    pub url: StreamUrl,
    /// Stop after this many probes; without it ping goes on until interrupted
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Time between probes
    #[arg(long, short, value_name = "DURATION", default_value = "1s")]
    pub interval: Span,
    /// Connection and output.
    #[command(flatten)]
    pub common: Common,
}

/// Flags of every verb that connects.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Trust the certificate authority in this PEM file in place of the system's
    #[arg(long, value_name = "PATH", conflicts_with = "insecure")]
    pub ca: Option<PathBuf>,
    /// Accept any certificate: for tests only
    #[arg(long)]
    pub insecure: bool,
    /// Give up when there is no session, or no stream, after this time
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    pub timeout: Span,
    /// How to report
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// What to log to stderr, for instance `debug` or `sluice_moqt=trace`
    #[arg(long, value_name = "FILTER", env = "SLUICE_LOG", hide_env_values = true, default_value = "warn")]
    pub log: String,
}

/// How reports look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For reading.
    #[default]
    Human,
    /// One JSON object at the end.
    Json,
    /// One JSON object per event or second, a summary last.
    Jsonl,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Human => "human",
            Self::Json => "json",
            Self::Jsonl => "jsonl",
        })
    }
}

/// A file, or the standard stream of its direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// `-`.
    Standard,
    /// A path.
    File(PathBuf),
}

impl FromStr for Place {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "" => Err("a file name, or `-`"),
            "-" => Ok(Self::Standard),
            path => Ok(Self::File(path.into())),
        }
    }
}

/// A positive duration: `250ms`, `10s`, `2m`, `1h`; a bare number is seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(Duration);

impl Span {
    /// The duration.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl FromStr for Span {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "write a time such as 250ms, 10s, 1.5s, 2m or 1h";
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let factor = match unit {
            "ms" => 0.001,
            "" | "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(EXPECTED),
        };
        let number: f64 = number.parse().map_err(|_| EXPECTED)?;
        let span = Duration::try_from_secs_f64(number * factor).map_err(|_| EXPECTED)?;
        // A year bounds all deadline arithmetic.
        if span.is_zero() || span > Duration::from_secs(365 * 24 * 3600) { Err(EXPECTED) } else { Ok(Self(span)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Verb, String> {
        Cli::try_parse_from(line.split_whitespace()).map(|cli| cli.verb).map_err(|e| e.to_string())
    }

    #[test]
    fn the_documented_lines_parse() {
        for line in [
            "client-probe publish moqt://localhost:4443/demo",
            "client-probe publish moqt://localhost:4443/demo --input - --stamp --manifest m.txt",
            "client-probe publish moqt://localhost:4443/demo --input clip.mp4 --loop --ca ca.pem",
            "client-probe watch moqt://localhost:4443/demo --output - --for 10s --format jsonl",
            "client-probe diff a.txt b.txt --format json",
            "client-probe load moqt://localhost:4443/demo --viewers 500 --for 10s --format json",
            "client-probe ping moqt://localhost:4443 -c 3 --insecure --timeout 2s",
        ] {
            parse(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        }
    }

    #[test]
    fn mistakes_are_explained() {
        for (line, expected) in [
            ("client-probe watch localhost/demo", "has no scheme"),
            ("client-probe watch moqt://h/demo --for soon", "write a time such as"),
            ("client-probe watch moqt://h/demo --for 0s", "write a time such as"),
            ("client-probe load moqt://h/demo --viewers 0", "0 is not in 1..=20000"),
            ("client-probe ping moqt://h --ca x --insecure", "cannot be used with"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(expected), "{line}: {error}");
        }
    }

    #[test]
    fn spans() {
        for (text, millis) in [("250ms", 250), ("10s", 10_000), ("1.5s", 1500), ("3", 3000), ("2m", 120_000)] {
            assert_eq!(text.parse::<Span>().unwrap().get(), Duration::from_millis(millis), "{text}");
        }
        for text in ["", "s", "-1s", "10x", "1..2s", "99999h", "nan"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
