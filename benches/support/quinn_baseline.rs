//! The baseline: quinn's async API as an application would use it well. One tokio thread, one task per viewer, one
//! `Bytes` per frame, a broadcast channel from the source.

use crate::support::clock;
use crate::support::pattern::{FRAMES_PER_GROUP, Pattern, Schedule};
use crate::support::protocol::Traffic;
use crate::support::sender::Stage;
use anyhow::Context as _;
use bytes::Bytes;
use quinn::{Endpoint, EndpointConfig, Incoming, SendStream, ServerConfig, TokioRuntime, TransportConfig};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::task::JoinSet;

/// Frames that a viewer may fall behind before it skips to the next group.
const BACKLOG: usize = 60;

/// Serves frames to whoever connects, for ever.
pub(crate) fn serve(stage: &Stage) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(accept(stage))
}

async fn accept(stage: &Stage) -> anyhow::Result<()> {
    let mut config = ServerConfig::with_crypto(stage.identity.server(stage.run.case.alpn())?);
    let mut transport = TransportConfig::default();
    // The limits of decisions on accept, which the shard loop has too.
    transport.max_concurrent_uni_streams(8u32.into()).max_concurrent_bidi_streams(32u32.into());
    config.transport_config(Arc::new(transport));
    let socket = crate::support::socket::listener()?;
    let endpoint = Endpoint::new(EndpointConfig::default(), Some(config), socket, Arc::new(TokioRuntime))?;
    stage.announce_one(endpoint.local_addr()?)?;

    let (frames, _) = broadcast::channel(BACKLOG);
    let mut tasks = JoinSet::new();
    if stage.run.traffic == Traffic::Active {
        tasks.spawn(produce(stage.run.pattern(), stage.schedule, frames.clone()));
    }
    while let Some(incoming) = endpoint.accept().await {
        tasks.spawn(view(incoming, frames.subscribe()));
    }
    Ok(())
}

#[derive(Debug, Clone)]
struct Frame {
    seq: u64,
    bytes: Bytes,
}

/// Sends every frame to all viewers when it is due.
async fn produce(pattern: Pattern, schedule: Schedule, frames: broadcast::Sender<Frame>) {
    for seq in 0.. {
        let due = schedule.due_ns(seq);
        tokio::time::sleep(Duration::from_nanos(due.saturating_sub(clock::wall_ns()))).await;
        // An error says that nobody is connected, which is how every run begins.
        drop(frames.send(Frame { seq, bytes: pattern.frame(seq, due) }));
    }
}

/// One viewer; an error ends the connection, and the load side counts that.
async fn view(incoming: Incoming, mut frames: broadcast::Receiver<Frame>) {
    let Ok(connection) = incoming.await else { return };
    let mut stream: Option<SendStream> = None;
    loop {
        let frame = match frames.recv().await {
            Ok(frame) => frame,
            Err(RecvError::Lagged(_)) => {
                stream = None;
                continue;
            }
            Err(RecvError::Closed) => {
                // Idle runs have no source: stay connected until the peer leaves.
                connection.closed().await;
                return;
            }
        };
        if write(&connection, &mut stream, frame).await.is_err() {
            return;
        }
    }
}

/// Writes one frame into the stream of its group; frames before a viewer's first group are not its.
async fn write(connection: &quinn::Connection, stream: &mut Option<SendStream>, frame: Frame) -> anyhow::Result<()> {
    if frame.seq.is_multiple_of(FRAMES_PER_GROUP) {
        if let Some(mut done) = stream.take() {
            done.finish().context("ending a group")?;
        }
        *stream = Some(connection.open_uni().await?);
    }
    if let Some(stream) = stream {
        stream.write_chunk(frame.bytes).await?;
    }
    Ok(())
}
