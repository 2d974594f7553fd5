//! One encoder: its TCP connection, its ffmpeg, its source.

use super::session::{Event, Session, SessionError};
use super::{Claim, Names};
use crate::child::{Child, Feeding};
use crate::input::Reader;
use crate::outlet::Gone;
use crate::sources::{RunError, Studio};
use sluice_moqt::Namespace;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{ChildStdin, ChildStdout};

/// An encoder that says nothing for this long has gone; its name is free for its next try.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// Read at a time.
const CHUNK_BYTES: usize = 64 * 1024;
/// The application whose streams are taken: `rtmp://HOST/live/KEY`.
const APP: &str = "live";

/// What turns FLV into fragmented MP4, a fragment as soon as there is a frame (`frag_every_frame` repeats decode times).
/// Half a second is enough to find both streams. `-fflags nobuffer` would throw away what was looked at meanwhile, the
/// first keyframe with it.
const CONVERTER: &str = "ffmpeg -hide_banner -nostats -loglevel error -analyzeduration 500000 -f flv -i pipe:0 \
    -map 0:v? -map 0:a? -c copy -flush_packets 1 \
    -f mp4 -movflags cmaf+delay_moov+skip_trailer -frag_duration 1 pipe:1";

/// Why a connection ended before its time.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The connection failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The encoder broke the protocol.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// It may not publish that.
    #[error("{0}")]
    Refused(String),
    /// It says nothing.
    #[error("the encoder has said nothing for {} s", SILENCE_MAX.as_secs())]
    Silent,
    /// The converter ended first.
    #[error("ffmpeg: {0}")]
    Converter(String),
    /// What the converter writes cannot be played.
    #[error(transparent)]
    Run(RunError),
    /// The shard has ended.
    #[error(transparent)]
    Gone(Gone),
}

/// One encoder.
pub(super) struct Connection {
    stream: TcpStream,
    session: Session,
    names: Names,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, names: Names) -> Self {
        Self { stream, session: Session::new(), names }
    }

    /// Serves the encoder to its end.
    pub(super) async fn run(mut self, studio: &Studio) -> Result<(), Error> {
        let Some(claim) = self.open().await? else { return Ok(()) };
        let words: Vec<String> = CONVERTER.split_whitespace().map(str::to_owned).collect();
        let (child, stdout, stdin) = Child::spawn(&words, Feeding::Piped)?;
        let Some(stdin) = stdin else { return Err(io::Error::other("ffmpeg has no standard input").into()) };
        tracing::info!(namespace = %claim.namespace, "RTMP stream");
        // The converter is fed to the end of the connection, then played to its own end.
        let (fed, played) = tokio::join!(Box::pin(self.feed(stdin)), Box::pin(play(studio, &claim.namespace, stdout)));
        match (fed, played) {
            (_, Err(RunError::Gone(gone))) => Err(Error::Gone(gone)),
            // A player that gives up closes the converter's output, which closes its input.
            (Ok(()) | Err(Error::Converter(_)), Err(error)) => Err(Error::Run(error)),
            (Err(Error::Converter(_)), Ok(())) => Err(Error::Converter(child.end().await)),
            (Err(error), _) => Err(error),
            (Ok(()), Ok(())) => Ok(()),
        }
    }

    /// Talks until the encoder may publish. `None`: it has left.
    async fn open(&mut self) -> Result<Option<Claim>, Error> {
        while self.read().await? {
            while let Some(event) = self.session.poll_event() {
                match event {
                    Event::Send(bytes) => self.stream.write_all(&bytes).await?,
                    Event::Publish { app, key } => match self.admit(&app, &key) {
                        Ok(claim) => {
                            self.session.accept();
                            return Ok(Some(claim));
                        }
                        Err(why) => return Err(self.refuse(why).await),
                    },
                    Event::Media(_) | Event::End => {}
                }
            }
        }
        Ok(None)
    }

    fn admit(&self, app: &str, key: &str) -> Result<Claim, String> {
        if app.split('/').next() != Some(APP) {
            return Err(format!("the application is {app:?}: push to rtmp://HOST/{APP}/KEY"));
        }
        if key.is_empty() {
            return Err(format!("there is no stream key: push to rtmp://HOST/{APP}/KEY"));
        }
        let namespace = Namespace::from_path(&format!("{app}/{key}")).map_err(|error| error.to_string())?;
        self.names.claim(&namespace).ok_or_else(|| format!("{namespace} is being published"))
    }

    async fn refuse(&mut self, why: String) -> Error {
        self.session.refuse(&why);
        while let Some(event) = self.session.poll_event() {
            if let Event::Send(bytes) = event
                && let Err(error) = self.stream.write_all(&bytes).await
            {
                return error.into();
            }
        }
        Error::Refused(why)
    }

    /// Hands media to the converter until the encoder ends. The converter's input closes with this.
    async fn feed(&mut self, mut converter: ChildStdin) -> Result<(), Error> {
        loop {
            while let Some(event) = self.session.poll_event() {
                match event {
                    Event::Send(bytes) => self.stream.write_all(&bytes).await?,
                    Event::Media(bytes) => {
                        let written = converter.write_all(&bytes).await;
                        written.map_err(|error| Error::Converter(error.to_string()))?;
                    }
                    Event::End => return Ok(()),
                    Event::Publish { .. } => {
                        return Err(self.refuse("a connection publishes one stream".to_owned()).await);
                    }
                }
            }
            if !self.read().await? {
                return Ok(());
            }
        }
    }

    /// Whether the encoder said something; it has left otherwise.
    async fn read(&mut self) -> Result<bool, Error> {
        let mut chunk = vec![0; CHUNK_BYTES];
        let read =
            tokio::time::timeout(SILENCE_MAX, self.stream.read(&mut chunk)).await.map_err(|_| Error::Silent)??;
        self.session.handle_bytes(chunk.get(..read).unwrap_or_default())?;
        Ok(read > 0)
    }
}

async fn play(studio: &Studio, namespace: &Namespace, stdout: ChildStdout) -> Result<(), RunError> {
    studio.play_reader(namespace, Reader { bytes: Box::new(stdout), child: None }).await
}
