//! Where a source's bytes come from.

use crate::child::{Child, Feeding};
use sluice_media::Pace;
use sluice_node::EndReason;
use sluice_relay::config::{FeedInput, Switch};
use std::fmt;
use std::io;
use std::path::PathBuf;
use tokio::io::AsyncRead;

/// Where a source's media comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Input {
    /// A file, in real time, once.
    File(PathBuf),
    /// A file, in real time, again and again.
    LoopedFile(PathBuf),
    /// Standard input, as it comes.
    Stdin,
    /// A program and its arguments; its standard output, as it comes.
    Command(Vec<String>),
    /// The built-in test pattern, in real time, for ever.
    TestPattern,
}

/// An input that is being read.
pub(crate) struct Reader {
    pub(crate) bytes: Box<dyn AsyncRead + Send + Unpin>,
    pub(crate) child: Option<Child>,
}

impl Input {
    /// Starts reading from the beginning.
    pub(crate) async fn open(&self) -> io::Result<Reader> {
        let (bytes, child): (Box<dyn AsyncRead + Send + Unpin>, _) = match self {
            Self::File(path) | Self::LoopedFile(path) => {
                let name = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
                (Box::new(tokio::fs::File::open(path).await.map_err(name)?), None)
            }
            Self::Stdin => (Box::new(tokio::io::stdin()), None),
            Self::Command(words) => {
                let (child, stdout, _) = Child::spawn(words, Feeding::Nothing)?;
                (Box::new(stdout), Some(child))
            }
            Self::TestPattern => (Box::new(io::Cursor::new(sluice_media::testpattern())), None),
        };
        Ok(Reader { bytes, child })
    }

    /// Real time for what can be read faster than it plays.
    pub(crate) fn pace(&self) -> Option<Pace> {
        match self {
            Self::File(_) | Self::LoopedFile(_) | Self::TestPattern => Some(Pace::default()),
            Self::Stdin | Self::Command(_) => None,
        }
    }

    /// Whether it is read again when it has ended.
    pub(crate) const fn is_looped(&self) -> bool {
        match self {
            Self::LoopedFile(_) | Self::TestPattern => true,
            Self::File(_) | Self::Stdin | Self::Command(_) => false,
        }
    }

    /// What its end means: a program is started again, the others have said all they had to say.
    pub(crate) const fn ending(&self) -> EndReason {
        match self {
            Self::Command(_) => EndReason::Lost,
            Self::File(_) | Self::LoopedFile(_) | Self::Stdin | Self::TestPattern => EndReason::Ended,
        }
    }
}

impl From<&FeedInput> for Input {
    fn from(input: &FeedInput) -> Self {
        match input {
            FeedInput::File { path, looped: Switch::Off } => Self::File(path.clone()),
            FeedInput::File { path, looped: Switch::On } => Self::LoopedFile(path.clone()),
            FeedInput::Stdin => Self::Stdin,
            FeedInput::Command(words) => Self::Command(words.clone()),
        }
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) | Self::LoopedFile(path) => write!(f, "{}", path.display()),
            Self::Stdin => f.write_str("standard input"),
            Self::Command(words) => f.write_str(words.first().map_or("command", String::as_str)),
            Self::TestPattern => f.write_str("test pattern"),
        }
    }
}
