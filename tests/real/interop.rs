//! Other people's clients, over raw QUIC and draft-18: they publish and we watch, we publish and they watch, and they
//! at both ends, each time through two relays and their origin. docs/interop.md says what was run when.

use crate::harness::{Backbone, Ffmpeg, Process, Relay, Scene, find_program, skip, until, watch_on};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, fs};

const SOON: Duration = Duration::from_secs(40);
/// Pictures that a foreign viewer receives: three groups.
const PICTURES: usize = 75;
/// The same as bytes of an fMP4 of [`Ffmpeg::clip`], at least.
const OUTPUT_BYTES: u64 = 120_000;
/// What somebody else publishes. The suffix tells moq-cli which catalog to write and read.
const THEIRS: &str = "interop/theirs.hang";
/// What we publish.
const OURS: &str = "interop/ours.hang";

/// Somebody else's client.
#[derive(Debug)]
enum Client {
    /// The PyPI package `moq-rs`, by a Python that has it.
    Python(PathBuf),
    /// The crate `moq-cli`, whose program is `moq`.
    Cli(PathBuf),
}

#[test]
fn moq_rs_at_either_end_and_at_both() {
    let python = env::var_os("SLUICE_INTEROP_PYTHON").map(PathBuf::from).or_else(|| find_program("python3"));
    let has_package = |python: &PathBuf| {
        let import = Command::new(python).args(["-c", "import moq"]).stderr(Stdio::null()).status();
        import.is_ok_and(|status| status.success())
    };
    match python.filter(has_package) {
        Some(python) => both_ways("moq-rs", &Client::Python(python)),
        None => skip("no Python with moq-rs (pip install moq-rs; SLUICE_INTEROP_PYTHON names it)", &["interop"]),
    }
}

#[test]
fn moq_cli_at_either_end_and_at_both() {
    let program = env::var_os("SLUICE_MOQ_CLI").map(PathBuf::from).or_else(|| find_program("moq"));
    match program {
        Some(program) => both_ways("moq-cli", &Client::Cli(program)),
        None => skip("no moq-cli (see docs/interop.md; SLUICE_MOQ_CLI names it)", &["moq-cli"]),
    }
}

fn both_ways(name: &'static str, client: &Client) {
    let Some(ffmpeg) = Ffmpeg::find() else { return };
    let scene = Scene::new(name);
    let backbone = Backbone::start(&scene, 1);
    let clip = ffmpeg.clip(&scene, "clip.mp4", 8);

    let url = |relay: &Relay, path: &str| format!("moqt://{}/{path}", relay.at.user);
    let line = ["client-probe", "publish", &url(&backbone.a, OURS), "--insecure", "--format", "jsonl"];
    let mut ours = scene.sluice("ours", &line);
    let (_source, input) = Process::start_piped(&scene, "source", live(&ffmpeg, &clip).stdin(Stdio::null()));
    let _theirs = client.publish(&scene, &backbone.a, input);
    ours.wait_report("objects", 0.0, SOON);

    let mut watcher =
        watch_on(&scene, "ours-of-theirs", &url(&backbone.b, THEIRS), &["--for", "8s", "--timeout", "20s"]);
    let theirs_of_ours = client.watch(&scene, "theirs-of-ours", &backbone.b, OURS);
    let theirs_of_theirs = client.watch(&scene, "theirs-of-theirs", &backbone.b, THEIRS);
    for viewer in [theirs_of_ours, theirs_of_theirs] {
        let file = viewer.finish(client);
        assert!(ffmpeg.pictures(&file) >= PICTURES, "{}", file.display());
    }
    watcher.end_well(SOON);
    assert_eq!(watcher.json()["objects_lost"], 0);
    let pictures = ffmpeg.pictures(&scene.path("ours-of-theirs.mp4"));
    assert!(pictures >= PICTURES, "{pictures} pictures of theirs");
}

/// A clip as an encoder would send it: in real time, for ever, as fragmented MP4 on standard output.
fn live(ffmpeg: &Ffmpeg, clip: &Path) -> Command {
    let mut command = ffmpeg.command();
    command.args(["-re", "-stream_loop", "-1", "-i"]).arg(clip).args(["-c", "copy", "-f", "mp4"]);
    command.args(["-movflags", "cmaf+frag_keyframe+empty_moov+default_base_moof", "-"]);
    command
}

/// A foreign viewer and what it writes.
struct Viewer {
    process: Process,
    file: PathBuf,
}

impl Client {
    fn publish(&self, scene: &Scene, relay: &Relay, input: Stdio) -> Process {
        let mut command = match self {
            Self::Python(_) => self.python("publish", relay, THEIRS),
            Self::Cli(_) => self.cli(relay, THEIRS, "import"),
        };
        Process::start(scene, "theirs", command.stdin(input))
    }

    fn watch(&self, scene: &Scene, name: &str, relay: &Relay, path: &str) -> Viewer {
        let (mut command, file) = match self {
            Self::Python(_) => {
                let file = scene.path(&format!("{name}.h264"));
                let mut command = self.python("watch", relay, path);
                command.arg(&file).arg(PICTURES.to_string());
                (command, file)
            }
            Self::Cli(_) => (self.cli(relay, path, "export"), scene.path(&format!("{name}.out"))),
        };
        Viewer { process: Process::start(scene, name, command.stdin(Stdio::null())), file }
    }

    fn python(&self, verb: &str, relay: &Relay, path: &str) -> Command {
        let (Self::Python(program) | Self::Cli(program)) = self;
        let mut command = Command::new(program);
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/moq_client.py"));
        command.args([verb, &format!("moqt://{}/", relay.at.user), path]);
        command
    }

    fn cli(&self, relay: &Relay, path: &str, verb: &str) -> Command {
        let (Self::Python(program) | Self::Cli(program)) = self;
        let mut command = Command::new(program);
        command.args(["--connect", &format!("moqt://{}/", relay.at.user), "--connect-tls-insecure"]);
        command.args(["--connect-version", "moq-transport-18", "--broadcast", path, verb, "fmp4"]);
        command
    }
}

impl Viewer {
    /// Waits until enough was received, and returns the file to decode.
    fn finish(mut self, client: &Client) -> PathBuf {
        match client {
            Client::Python(_) => self.process.end_well(SOON),
            Client::Cli(_) => {
                let what = format!("{OUTPUT_BYTES} bytes in {}", self.file.display());
                until(&what, SOON, || {
                    assert!(self.process.is_running(), "{}", self.process.log());
                    fs::metadata(&self.file).ok().filter(|file| file.len() >= OUTPUT_BYTES)
                });
                self.process.signal("TERM");
                self.process.wait(SOON);
            }
        }
        self.file
    }
}
