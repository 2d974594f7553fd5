//! ffmpeg, the judge of what can be decoded.

use super::scene::{Scene, find_program, skip};
use std::path::{Path, PathBuf};
use std::process::Command;

/// ffmpeg on this machine.
#[derive(Debug)]
pub(crate) struct Ffmpeg {
    program: PathBuf,
}

impl Ffmpeg {
    /// The one on PATH; without it the reason is said, or the test fails where it is required.
    pub(crate) fn find() -> Option<Self> {
        let program = find_program("ffmpeg");
        if program.is_none() {
            skip("no ffmpeg on PATH to decode what was received", &["ffmpeg", "interop"]);
        }
        Some(Self { program: program? })
    }

    /// A command line of it that prints errors only.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["-nostdin", "-v", "error"]);
        command
    }

    /// Decodes `file` without an error and returns its number of pictures.
    pub(crate) fn pictures(&self, file: &Path) -> usize {
        let decoded = self.command().arg("-i").arg(file).args(["-f", "framemd5", "-"]).output().unwrap();
        let errors = String::from_utf8_lossy(&decoded.stderr);
        assert!(decoded.status.success() && errors.is_empty(), "{}: {errors}", file.display());
        // One line per frame, which starts with the number of its stream; video is the first.
        String::from_utf8_lossy(&decoded.stdout).lines().filter(|line| line.starts_with("0,")).count()
    }

    /// A clip of moving pictures with sound: `seconds` long, a keyframe every second, 25 pictures per second.
    pub(crate) fn clip(&self, scene: &Scene, name: &str, seconds: u32) -> PathBuf {
        let file = scene.path(name);
        let picture = format!("testsrc2=size=320x180:rate=25:duration={seconds}");
        let sound = format!("sine=frequency=440:sample_rate=48000:duration={seconds}");
        let mut command = self.command();
        command.args(["-f", "lavfi", "-i", &picture, "-f", "lavfi", "-i", &sound]);
        command.args(["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-pix_fmt", "yuv420p"]);
        command.args(["-g", "25", "-c:a", "aac"]);
        let made = command.arg(&file).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        file
    }
}
