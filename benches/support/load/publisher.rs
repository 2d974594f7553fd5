//! The publisher of the relay case: one connection, a subgroup stream per group, every frame in pieces spread over
//! time as an encoder or a trunk delivers it. On the load core, in a shard and a thread of its own.

use super::script;
use crate::support::clock;
use crate::support::pattern::{FRAMES_PER_GROUP, Pattern, Schedule};
use crate::support::protocol::{Hello, Run};
use crate::support::tls::SERVER_NAME;
use anyhow::{Context as _, bail};
use bytes::{Bytes, BytesMut};
use sluice_moqt::data::{ObjectHeader, SubgroupEncoder, SubgroupFlags, SubgroupHeader, SubgroupId};
use sluice_moqt::message::{Params, RequestOk, SubscribeOk, TrackProperties};
use sluice_moqt::session::{Event, Session};
use sluice_moqt::transport::{
    App, CloseReason, Dial, Dir, Output, PathStats, Peer, SessionId, StreamEvent, StreamId, StreamSink,
};
use sluice_moqt::types::{ObjectStatus, TrackAlias};
use sluice_net::task::Thread;
use sluice_net::tls::{ClientTls, Roots};
use sluice_net::{
    Clock, Hosted, NodeKey, PortConfig, Shard, ShardConfig, ShardHandle, SystemClock, TransportProfile, UdpSocket,
};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// Bytes of one piece: what one packet carries.
const PIECE_BYTES: usize = 1_400;
/// How long the relay may take to accept the namespace.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running publisher; stops when dropped.
#[derive(Debug)]
pub(super) struct Publisher {
    shard: ShardHandle<Infallible>,
    _thread: Thread<std::io::Result<()>>,
}

impl Publisher {
    /// Connects to `relay` and announces the namespace; returns when the relay has accepted it.
    pub(super) fn start(run: Run, relay: &Hello) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let roots = Roots::from_pem(relay.certificate.as_bytes())?;
        let tls = ClientTls::verified(&roots, run.case.alpn(), Arc::clone(&clock))?;
        let (socket, _) = UdpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let port = PortConfig::client(socket, tls, TransportProfile::client());
        let (accepted, wait) = sync_channel(1);
        let source = Source::new(run, relay, accepted);
        let mut shard = Shard::new(ShardConfig::single(NodeKey::generate()), vec![port], clock, source)?;
        shard.with_app(|source, _| source.dial(run, relay.publish));
        let handle = shard.handle();
        let thread = Thread::spawn("publisher", move || shard.run())?;
        let publisher = Self { shard: handle, _thread: thread };
        await_acceptance(&wait)?;
        Ok(publisher)
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        // An error says that the shard has ended by itself.
        let _ = self.shard.stop(Duration::ZERO);
    }
}

fn await_acceptance(wait: &Receiver<Acceptance>) -> anyhow::Result<()> {
    match wait.recv_timeout(PATIENCE).context("the relay did not answer the publisher")? {
        Acceptance::Accepted => Ok(()),
        Acceptance::Refused(reason) => bail!("the publisher cannot publish: {reason}"),
    }
}

/// The relay's verdict on the namespace.
#[derive(Debug)]
enum Acceptance {
    Accepted,
    Refused(String),
}

/// The application of the publisher's shard.
#[derive(Debug)]
struct Source {
    pattern: Pattern,
    schedule: Schedule,
    /// Time from a frame's first piece to its last.
    spread: Duration,
    /// The instant of frame 0.
    epoch: Instant,
    verdict: SyncSender<Acceptance>,
    connection: Option<(SessionId, Session)>,
    /// The relay's subscription, once it asks.
    alias: Option<TrackAlias>,
    group: Option<(StreamId, SubgroupEncoder)>,
    next: NextPiece,
    queue: VecDeque<Item>,
    outputs: VecDeque<Output>,
}

/// The piece that is due next.
#[derive(Debug)]
struct NextPiece {
    seq: u64,
    /// Rest of frame `seq`; empty before its first piece.
    rest: Bytes,
    /// Pieces of frame `seq` sent.
    sent: u32,
}

/// What waits to be written.
#[derive(Debug)]
enum Item {
    /// Ends the group before, and opens a stream with this header.
    Group(SubgroupHeader),
    /// An object of this id and length begins.
    Object {
        id: u64,
        bytes: usize,
    },
    Piece(Bytes),
}

impl Source {
    fn new(run: Run, relay: &Hello, verdict: SyncSender<Acceptance>) -> Self {
        let schedule = Schedule { epoch_ns: relay.epoch_ns };
        let (now, wall_ns) = (clock::now(), clock::wall_ns());
        let epoch = match schedule.epoch_ns.checked_sub(wall_ns) {
            Some(lead) => now + Duration::from_nanos(lead),
            None => now - Duration::from_nanos(wall_ns - schedule.epoch_ns),
        };
        Self {
            pattern: run.pattern(),
            schedule,
            spread: Duration::from_millis(run.spread_ms.into()),
            epoch,
            verdict,
            connection: None,
            alias: None,
            group: None,
            next: NextPiece { seq: 0, rest: Bytes::new(), sent: 0 },
            queue: VecDeque::new(),
            outputs: VecDeque::new(),
        }
    }

    fn dial(&mut self, run: Run, remote: SocketAddr) {
        let alpn = run.case.alpn().to_vec();
        self.outputs.push_back(Output::Dial(Dial { token: 0, remote, alpn, server_name: SERVER_NAME.to_owned() }));
    }

    /// When the next piece is due: the pieces of a frame lie evenly over the spread.
    fn due(&self) -> Option<Instant> {
        self.alias?;
        let frame = Duration::from_nanos(self.schedule.due_ns(self.next.seq) - self.schedule.epoch_ns);
        let pieces = self.pattern.frame_bytes(self.next.seq).div_ceil(PIECE_BYTES);
        let step = self.spread / u32::try_from(pieces).unwrap_or(u32::MAX);
        Some(self.epoch + frame + step * self.next.sent)
    }

    /// The relay subscribed: the first frame is the next group's first.
    fn begin(&mut self, now: Instant, alias: TrackAlias) {
        let since = u64::try_from(now.saturating_duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX);
        let groups = since / crate::support::pattern::GROUP_NS + 1;
        self.next = NextPiece { seq: groups * FRAMES_PER_GROUP, rest: Bytes::new(), sent: 0 };
        self.alias = Some(alias);
    }

    /// Queues the pieces that are due.
    fn produce(&mut self, now: Instant) {
        while let (Some(due), Some(alias)) = (self.due(), self.alias)
            && due <= now
        {
            if self.next.rest.is_empty() {
                self.begin_frame(alias);
            }
            let NextPiece { seq, rest, sent } = &mut self.next;
            self.queue.push_back(Item::Piece(rest.split_to(PIECE_BYTES.min(rest.len()))));
            *sent += 1;
            if rest.is_empty() {
                *seq += 1;
                *sent = 0;
            }
        }
    }

    fn begin_frame(&mut self, alias: TrackAlias) {
        let seq = self.next.seq;
        let id = seq % FRAMES_PER_GROUP;
        if id == 0 {
            self.queue.push_back(Item::Group(SubgroupHeader {
                alias,
                group: seq / FRAMES_PER_GROUP,
                subgroup: SubgroupId::Zero,
                priority: Some(128),
                flags: SubgroupFlags::END_OF_GROUP | SubgroupFlags::FIRST_OBJECT,
            }));
        }
        self.next.rest = self.pattern.frame(seq, self.schedule.due_ns(seq));
        self.queue.push_back(Item::Object { id, bytes: self.next.rest.len() });
    }

    /// Obeys what the session says, and asks for a visit.
    #[expect(clippy::wildcard_enum_match_arm, reason = "a publisher of one track has no use for the rest")]
    fn pump(&mut self, now: Instant) {
        let Some((id, session)) = &mut self.connection else { return };
        let mut begun = None;
        while let Some(event) = session.poll_event() {
            match event {
                Event::Ok { .. } => drop(self.verdict.try_send(Acceptance::Accepted)),
                Event::Subscribe { request, .. } => {
                    let alias = session.allocate_alias();
                    let (params, properties) = (Params::default(), TrackProperties::default());
                    session.accept_subscribe(request, SubscribeOk { alias, params, properties });
                    begun = Some(alias);
                }
                Event::Update { request, update, .. } => session.accept_update(request, update, RequestOk::default()),
                event if script::is_fatal(&event) => {
                    drop(self.verdict.try_send(Acceptance::Refused(format!("{event:?}"))));
                }
                _ => {}
            }
        }
        self.outputs.push_back(Output::Wake(*id));
        if let Some(alias) = begun {
            self.begin(now, alias);
        }
    }

    /// Writes one item; gives back what the transport did not take.
    fn write(&mut self, item: Item, sink: &mut dyn StreamSink) -> Option<Item> {
        match item {
            Item::Group(header) => {
                let Some(stream) = sink.open(Dir::Uni) else { return Some(item) };
                if let Some((done, _)) = self.group.replace((stream, SubgroupEncoder::new(&header))) {
                    sink.finish(done);
                }
                let mut bytes = BytesMut::new();
                header.encode(&mut bytes);
                self.queue.push_front(Item::Piece(bytes.freeze()));
                None
            }
            Item::Object { id, bytes } => {
                let (_, encoder) = self.group.as_mut()?;
                let object = ObjectHeader {
                    id,
                    properties: Bytes::new(),
                    payload_len: bytes as u64,
                    status: ObjectStatus::Normal,
                };
                let mut header = BytesMut::new();
                encoder.encode(&object, &mut header).ok()?;
                self.queue.push_front(Item::Piece(header.freeze()));
                None
            }
            Item::Piece(mut bytes) => {
                let (stream, _) = self.group.as_ref()?;
                // An error says that the relay has stopped the group; the next one begins anew.
                sink.write(*stream, std::slice::from_mut(&mut bytes)).ok()?;
                (!bytes.is_empty()).then_some(Item::Piece(bytes))
            }
        }
    }
}

impl App for Source {
    fn handle_connected(&mut self, now: Instant, id: SessionId, _: Peer) {
        match script::publisher(now) {
            Ok(session) => self.connection = Some((id, session)),
            Err(error) => drop(self.verdict.try_send(Acceptance::Refused(error.to_string()))),
        }
        self.pump(now);
    }

    fn handle_dial_failed(&mut self, _: Instant, _: u64, reason: CloseReason) {
        drop(self.verdict.try_send(Acceptance::Refused(format!("{reason:?}"))));
    }

    fn handle_stream(&mut self, now: Instant, _: SessionId, stream: StreamId, event: StreamEvent) {
        if let Some((_, session)) = &mut self.connection {
            session.handle_stream(now, stream, event);
        }
        self.pump(now);
    }

    fn handle_streams_available(&mut self, now: Instant, _: SessionId, _: Dir) {
        if let Some((_, session)) = &mut self.connection {
            session.handle_streams_available();
        }
        self.pump(now);
    }

    fn handle_datagram(&mut self, _: Instant, _: SessionId, _: Bytes) {}

    fn handle_closed(&mut self, _: Instant, _: SessionId, _: CloseReason) {
        self.connection = None;
        self.alias = None;
    }

    fn handle_stats(&mut self, _: Instant, _: SessionId, _: PathStats) {}

    fn handle_timeout(&mut self, now: Instant) {
        if let Some((_, session)) = &mut self.connection {
            session.handle_timeout(now);
        }
        self.produce(now);
        self.pump(now);
    }

    fn select(&mut self, _: Instant, _: SessionId, sink: &mut dyn StreamSink) {
        if let Some((_, session)) = &mut self.connection
            && session.wants_transmit()
        {
            session.transmit(sink);
        }
        while let Some(item) = self.queue.pop_front() {
            if let Some(left) = self.write(item, sink) {
                self.queue.push_front(left);
                return;
            }
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let session = self.connection.as_ref().and_then(|(_, session)| session.poll_timeout());
        [session, self.due()].into_iter().flatten().min()
    }
}

impl Hosted for Source {
    type Command = Infallible;

    fn handle_command(&mut self, _: Instant, command: Infallible) {
        match command {}
    }
}
