//! `diff A B`.

use crate::cli;
use crate::exit::{Exit, Failure};
use crate::manifest::{Diff, Manifest, compare};
use crate::report::Report;
use std::fmt;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// Compares two manifests; [`Exit::Threshold`] when they differ.
///
/// # Errors
/// A file cannot be read, or is no manifest.
pub(crate) fn run(args: &cli::Diff) -> anyhow::Result<Exit> {
    let diff = compare(&read(&args.published)?, &read(&args.received)?);
    Report::stdout().result(args.format, &diff)?;
    Ok(if diff.same { Exit::Ok } else { Exit::Threshold })
}

fn read(path: &Path) -> Result<Manifest, Failure> {
    let unusable = |e: &dyn fmt::Display| Failure::new(Exit::Usage, format!("{}: {e}", path.display()));
    let file = File::open(path).map_err(|e| unusable(&e))?;
    Manifest::read(BufReader::new(file)).map_err(|e| unusable(&e))
}

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for track in &self.tracks {
            writeln!(
                f,
                "{}: {} objects in {} groups from {}/{} on, {} after the receiver's end not compared",
                track.track,
                track.objects_compared,
                track.groups,
                track.joined_group,
                track.joined_object,
                track.tail_ignored
            )?;
        }
        for example in &self.examples {
            let words = example.kind.words();
            writeln!(f, "{words}: {} {}/{} (line {})", example.track, example.group, example.object, example.line)?;
        }
        if self.same {
            return write!(f, "same: {} objects, byte for byte and in order", self.objects_compared);
        }
        if self.tracks.is_empty() {
            return f.write_str("different: nothing was received");
        }
        write!(
            f,
            "different: {} missing, {} extra, {} changed, {} out of order or twice, of {} objects",
            self.missing, self.extra, self.changed, self.disordered, self.objects_compared
        )
    }
}
