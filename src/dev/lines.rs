//! What to do next, as lines that work when pasted.

use super::plan::{Plan, Pop};
use std::fmt;
use std::path::PathBuf;

/// What the lines depend on.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    pub(super) plan: &'a Plan,
    /// How this program was called.
    pub(super) program: String,
    /// Whether encoders can push RTMP.
    pub(super) rtmp: Rtmp,
}

/// Whether encoders can push RTMP, or why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rtmp {
    /// They can.
    On,
    /// They cannot.
    Off(String),
}

/// The port of RTMP URLs that name none.
const RTMP_DEFAULT: u16 = 1935;
/// What ffmpeg has to write so that each frame comes as soon as it is coded.
const FRAGMENTS: &str = "-f mp4 -movflags cmaf+delay_moov+skip_trailer -frag_duration 1";
/// A picture and a tone that move, coded as a live encoder would.
const CAMERA: &str = "-re -f lavfi -i testsrc2=size=1280x720:rate=30 -f lavfi -i sine=frequency=440:sample_rate=48000 \
    -c:v libx264 -preset ultrafast -tune zerolatency -pix_fmt yuv420p -g 30 -c:a aac";

impl Lines<'_> {
    fn url(&self, pop: &Pop, path: &str) -> String {
        format!("moqt://{}:{}/{path}", self.plan.host(), pop.user.port())
    }

    fn probe(&self, verb: &str, pop: &Pop, path: &str, rest: &str) -> String {
        let trust = match self.plan.authority() {
            Some(path) => format!("--ca {}", quoted(path)),
            None => "--insecure".to_owned(),
        };
        let url = self.url(pop, path);
        let line = format!("{} client-probe {verb} {url} {trust} {rest}", quoted(self.program.clone().into()));
        line.trim_end().to_owned()
    }

    fn moq(&self, pop: &Pop, path: &str, rest: &str) -> String {
        let trust = match self.plan.authority() {
            Some(path) => format!("--connect-tls-root {}", quoted(path)),
            None => "--connect-tls-insecure".to_owned(),
        };
        let url = self.url(pop, "");
        format!("moq --connect {url} {trust} --connect-version moq-transport-18 --broadcast {path} {rest}")
    }

    fn rtmp(&self, f: &mut fmt::Formatter<'_>, watch: &Pop) -> fmt::Result {
        match &self.rtmp {
            Rtmp::On => {
                let port = self.plan.rtmp().port();
                let port = if port == RTMP_DEFAULT { String::new() } else { format!(":{port}") };
                let url = format!("rtmp://{}{port}/live", self.plan.host());
                writeln!(f, "From OBS: Settings > Stream > Custom, server {url}, stream key cam; or with ffmpeg:")?;
                writeln!(f, "  ffmpeg {CAMERA} -f flv {url}/cam")?;
                writeln!(f, "  {}", self.probe("watch", watch, "live/cam", "--for 10s"))
            }
            Rtmp::Off(why) => writeln!(f, "RTMP is off: {why}"),
        }
    }
}

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for pop in &self.plan.pops {
            writeln!(f, "{:<8} {:<28} http://{}/metrics", pop.name, self.url(pop, ""), pop.admin)?;
        }
        // There is at least one edge.
        let (Some(first), Some(last)) = (self.plan.edges().first(), self.plan.edges().last()) else { return Ok(()) };
        writeln!(f, "\nWatch the test pattern, with this program or with moq-cli:")?;
        writeln!(f, "  {}", self.probe("watch", first, "demo", "--output demo.mp4 --for 10s"))?;
        writeln!(f, "  {}", self.moq(first, "demo", "export fmp4 > demo.mp4"))?;
        writeln!(f, "\nPublish at one edge, watch at the other:")?;
        writeln!(f, "  {}", self.probe("publish", first, "live/mine", "--stamp"))?;
        let import = self.moq(first, "live/mine", "import fmp4");
        writeln!(f, "  ffmpeg -v error -re -stream_loop -1 -i demo.mp4 -c copy {FRAGMENTS} - | {import}")?;
        writeln!(f, "  {}", self.probe("watch", last, "live/mine", "--for 10s"))?;
        writeln!(f, "\nMany viewers:")?;
        writeln!(f, "  {}", self.probe("load", last, "demo", "--viewers 100 --for 10s"))?;
        writeln!(f, "\nFrom ffmpeg:")?;
        let publish = self.probe("publish", first, "live/ffmpeg", "--input -");
        writeln!(f, "  ffmpeg {CAMERA} {FRAGMENTS} - | {publish}")?;
        writeln!(f)?;
        self.rtmp(f, last)?;
        writeln!(f, "\n^C ends it.")
    }
}

/// `path` as a word of a shell.
fn quoted(path: PathBuf) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    fn lines(listen: &str, rtmp: Rtmp) -> Vec<String> {
        let plan = Plan::new(listen.parse().unwrap(), 2);
        let lines = Lines { plan: &plan, program: "target/release/sluice".to_owned(), rtmp };
        lines.to_string().lines().map(|line| line.trim().to_owned()).collect()
    }

    #[test]
    fn every_line_of_ours_parses() {
        let all = lines("4443", Rtmp::On);
        let ours: Vec<_> = all.iter().filter_map(|line| line.split_once("target/release/sluice ")).collect();
        assert_eq!(ours.len(), 6, "{all:#?}");
        for (_, line) in ours {
            let words = line.split_whitespace().collect::<Vec<_>>();
            sluice_client_probe::cli::Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }

    #[test]
    fn the_watch_line_is_whole() {
        let all = lines("5443", Rtmp::Off("no ffmpeg".to_owned()));
        let watch = "target/release/sluice client-probe watch moqt://127.0.0.1:5443/demo --ca .sluice-dev/ca.pem \
            --output demo.mp4 --for 10s";
        assert!(all.iter().any(|line| line == watch), "{all:#?}");
        assert!(all.iter().any(|line| line == "RTMP is off: no ffmpeg"));
        assert!(lines("5443", Rtmp::On).iter().any(|line| line.ends_with(" -f flv rtmp://127.0.0.1:2935/live/cam")));
        assert!(lines("4443", Rtmp::On).iter().any(|line| line.ends_with(" -f flv rtmp://127.0.0.1/live/cam")));
        assert!(lines("192.0.2.1", Rtmp::On).iter().any(|line| line.contains("/demo --insecure --output")));
    }

    #[test]
    fn odd_paths_are_quoted() {
        assert_eq!(quoted("./a/sluice".into()), "./a/sluice");
        assert_eq!(quoted("/it's here/sluice".into()), "'/it'\\''s here/sluice'");
    }
}
