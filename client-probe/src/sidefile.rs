//! Files written beside the main work: when the disk is full, that is said once and the work goes on.

use crate::cli::Place;
use crate::exit::{Exit, Failure};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Bytes gathered before a write.
const BUFFER_BYTES: usize = 256 * 1024;

/// A buffered output that remembers its first failure and is silent after it.
pub(crate) struct SideFile {
    name: String,
    out: BufWriter<Box<dyn Write + Send>>,
    failed: Option<io::Error>,
}

impl std::fmt::Debug for SideFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SideFile").field("name", &self.name).field("failed", &self.failed).finish_non_exhaustive()
    }
}

impl SideFile {
    /// Creates or truncates a file.
    ///
    /// # Errors
    /// It cannot be created.
    pub(crate) fn create(path: &Path) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let file = File::create(path)
            .map_err(|e| Failure::new(Exit::Usage, format!("cannot create {name}: {e}; choose another path")))?;
        Ok(Self::new(name, Box::new(file)))
    }

    /// Creates a file, or takes stdout.
    ///
    /// # Errors
    /// As [`SideFile::create`].
    pub(crate) fn open(place: &Place) -> Result<Self, Failure> {
        match place {
            Place::Standard => Ok(Self::new("stdout".to_owned(), Box::new(io::stdout()))),
            Place::File(path) => Self::create(path),
        }
    }

    /// Anything that can be written; `name` is for messages.
    pub(crate) fn new(name: String, out: Box<dyn Write + Send>) -> Self {
        Self { name, out: BufWriter::with_capacity(BUFFER_BYTES, out), failed: None }
    }

    /// Appends `bytes`; after a failure does nothing.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            let result = self.out.write_all(bytes);
            self.note(result);
        }
    }

    /// Appends a line.
    pub(crate) fn line(&mut self, text: impl std::fmt::Display) {
        if self.failed.is_none() {
            let result = writeln!(self.out, "{text}");
            self.note(result);
        }
    }

    /// Hands what is buffered to the system, for readers that follow.
    pub(crate) fn flush(&mut self) {
        if self.failed.is_none() {
            let result = self.out.flush();
            self.note(result);
        }
    }

    /// Whether the reader of a pipe has gone: nothing is left to do.
    #[must_use]
    pub(crate) fn is_abandoned(&self) -> bool {
        self.failed.as_ref().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Flushes, and says whether everything was stored.
    ///
    /// # Errors
    /// The first failure of any write.
    pub(crate) fn finish(mut self) -> anyhow::Result<()> {
        self.flush();
        match self.failed.take() {
            Some(error) => Err(anyhow::Error::from(error).context(format!("{} is not complete", self.name))),
            None => Ok(()),
        }
    }

    fn note(&mut self, result: io::Result<()>) {
        let Err(error) = result else { return };
        if error.kind() != io::ErrorKind::BrokenPipe {
            crate::report::note(format_args!(
                "error: cannot write {}: {error}; it is cut off here, everything else goes on",
                self.name
            ));
        }
        self.failed = Some(error);
        // The buffer would be offered again when it is dropped.
        let _ = std::mem::replace(&mut self.out, BufWriter::new(Box::new(io::sink()))).into_parts();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes `left` bytes, then is full.
    struct Small {
        left: usize,
    }

    impl Write for Small {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            if self.left == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let taken = buf.len().min(self.left);
            self.left -= taken;
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_is_remembered_and_silences() {
        let mut file = SideFile::new("x".to_owned(), Box::new(Small { left: 10 }));
        file.write(&[0; BUFFER_BYTES + 1]);
        assert!(!file.is_abandoned());
        file.write(b"more");
        file.line("more");
        let error = file.finish().unwrap_err();
        assert_eq!(error.downcast_ref::<io::Error>().unwrap().kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn what_fits_is_stored() {
        let mut file = SideFile::new("x".to_owned(), Box::new(Small { left: 10 }));
        file.line("123456789");
        file.finish().unwrap();
    }
}
