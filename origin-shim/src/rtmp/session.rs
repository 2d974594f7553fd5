//! The server's side of one RTMP connection, without IO: bytes in, answers and media out (Adobe RTMP 1.0).

use super::amf::Value;
use super::chunk::{CHUNK_OURS, ChunkError, Chunks, Message, put_message};
use super::flv;
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use std::collections::VecDeque;

/// Handshake packets have this size (5.2.3).
const HANDSHAKE: usize = 1536;
const VERSION: u8 = 3;
/// Bytes after which the peer wants to hear from us, until it says otherwise.
const WINDOW: u32 = 2_500_000;
/// The one message stream of a connection.
const STREAM: u32 = 1;
/// Chunk streams of protocol control and of commands.
const CONTROL_CHUNKS: u8 = 2;
const COMMAND_CHUNKS: u8 = 3;

/// Message types (5.4, 6, 7.1).
mod kind {
    pub(super) const CHUNK_SIZE: u8 = 1;
    pub(super) const ABORT: u8 = 2;
    pub(super) const ACKNOWLEDGEMENT: u8 = 3;
    pub(super) const USER_CONTROL: u8 = 4;
    pub(super) const WINDOW_SIZE: u8 = 5;
    pub(super) const PEER_BANDWIDTH: u8 = 6;
    pub(super) const AUDIO: u8 = 8;
    pub(super) const VIDEO: u8 = 9;
    pub(super) const COMMAND_AMF3: u8 = 17;
    pub(super) const DATA: u8 = 18;
    pub(super) const COMMAND: u8 = 20;
}

/// Events of user control messages (7.1.7).
const PING_REQUEST: u16 = 6;
const PING_RESPONSE: u16 = 7;

/// Why a connection ends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SessionError {
    /// The first byte is no RTMP.
    #[error("the peer speaks version {0} of RTMP, or another protocol")]
    Version(u8),
    /// The chunk streams cannot be read.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// A command cannot be read.
    #[error("a command that is no AMF0")]
    Amf,
    /// Something other than publishing was asked for.
    #[error("the peer asked for {0:?}; this is a place to publish")]
    Unsupported(String),
}

/// What the session has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// Send this to the peer.
    Send(Bytes),
    /// The peer wants to publish: answer with [`Session::accept`] or [`Session::refuse`].
    Publish {
        /// The application, `live` in `rtmp://host/live/key`.
        app: String,
        /// The stream key.
        key: String,
    },
    /// A piece of FLV.
    Media(Bytes),
    /// The peer has stopped publishing.
    End,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Session {
    phase: Phase,
    input: BytesMut,
    chunks: Chunks,
    app: String,
    events: VecDeque<Event>,
    acknowledged: Acknowledged,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// C0 and C1 are awaited.
    Hello,
    /// C2 is awaited.
    Echo,
    /// Commands.
    Open,
    /// Media.
    Publishing,
}

/// Bytes that came, and what the peer was told of it (5.4.3).
#[derive(Debug)]
struct Acknowledged {
    window: u32,
    received: u32,
    told: u32,
}

impl Session {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::Hello,
            input: BytesMut::new(),
            chunks: Chunks::new(),
            app: String::new(),
            events: VecDeque::new(),
            acknowledged: Acknowledged { window: WINDOW, received: 0, told: 0 },
        }
    }

    /// Takes bytes of the peer; then drain [`Self::poll_event`].
    pub(super) fn handle_bytes(&mut self, bytes: &[u8]) -> Result<(), SessionError> {
        self.input.extend_from_slice(bytes);
        if !self.shake_hands()? {
            return Ok(());
        }
        while let Some(message) = self.chunks.poll_message(&mut self.input)? {
            self.on_message(&message)?;
        }
        self.acknowledge(bytes.len());
        Ok(())
    }

    /// The next event.
    pub(super) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Lets the peer publish.
    pub(super) fn accept(&mut self) {
        self.phase = Phase::Publishing;
        self.status("status", "NetStream.Publish.Start", "publishing");
        self.events.push_back(Event::Media(Bytes::from_static(&flv::HEADER)));
    }

    /// Tells the peer why it may not publish.
    pub(super) fn refuse(&mut self, why: &str) {
        self.status("error", "NetStream.Publish.BadName", why);
    }

    /// Whether the handshake is over and chunks follow.
    fn shake_hands(&mut self) -> Result<bool, SessionError> {
        if self.phase == Phase::Hello {
            if let Some(version) = self.input.first().filter(|v| **v != VERSION) {
                return Err(SessionError::Version(*version));
            }
            if self.input.len() < 1 + HANDSHAKE {
                return Ok(false);
            }
            let hello = self.input.split_to(1 + HANDSHAKE);
            let mut answer = BytesMut::with_capacity(1 + 2 * HANDSHAKE);
            // S0, S1 (time and random bytes, which nobody checks), S2: the echo of C1.
            answer.put_u8(VERSION);
            answer.put_bytes(0, HANDSHAKE);
            answer.put_slice(hello.get(1..).unwrap_or_default());
            self.events.push_back(Event::Send(answer.freeze()));
            self.phase = Phase::Echo;
        }
        if self.phase == Phase::Echo {
            if self.input.len() < HANDSHAKE {
                return Ok(false);
            }
            self.input.advance(HANDSHAKE);
            self.phase = Phase::Open;
        }
        Ok(true)
    }

    fn on_message(&mut self, message: &Message) -> Result<(), SessionError> {
        let mut body = message.payload.clone();
        let number = |body: &mut Bytes| if body.len() >= 4 { body.get_u32() } else { 0 };
        match message.kind {
            kind::CHUNK_SIZE => self.chunks.set_size(number(&mut body))?,
            kind::ABORT => self.chunks.abort(number(&mut body)),
            kind::WINDOW_SIZE => self.acknowledged.window = number(&mut body).max(1),
            kind::USER_CONTROL if body.len() >= 6 && body.get_u16() == PING_REQUEST => {
                let mut pong = BytesMut::new();
                pong.put_u16(PING_RESPONSE);
                pong.put_slice(body.get(..4).unwrap_or_default());
                self.send(CONTROL_CHUNKS, (kind::USER_CONTROL, 0), &pong);
            }
            kind::AUDIO | kind::VIDEO | kind::DATA if self.phase == Phase::Publishing => {
                self.events.push_back(Event::Media(flv::tag(message.kind, message.timestamp, &message.payload)));
            }
            kind::COMMAND => self.on_command(&body)?,
            // Announced as AMF3, a command is AMF0 behind one byte.
            kind::COMMAND_AMF3 => self.on_command(body.get(1..).unwrap_or_default())?,
            _ => {}
        }
        Ok(())
    }

    fn on_command(&mut self, body: &[u8]) -> Result<(), SessionError> {
        let values = Value::decode_all(body).ok_or(SessionError::Amf)?;
        let name = values.first().and_then(Value::as_text).ok_or(SessionError::Amf)?;
        let transaction = values.get(1).cloned().unwrap_or(Value::Number(0.0));
        let text = |at: usize| values.get(at).and_then(Value::as_text);
        match name {
            "connect" => {
                let app = values.get(2).and_then(|object| object.property("app")).and_then(Value::as_text);
                self.app = app.unwrap_or_default().trim_matches('/').to_owned();
                self.on_connect(transaction);
            }
            "createStream" => self.result(transaction, Value::Null, Value::Number(f64::from(STREAM))),
            "publish" => {
                // What follows a question mark is for servers that check it.
                let key = text(3).unwrap_or_default().split('?').next().unwrap_or_default();
                let key = key.trim_matches('/').to_owned();
                self.events.push_back(Event::Publish { app: self.app.clone(), key });
            }
            "FCUnpublish" | "deleteStream" | "closeStream" => {
                if self.phase == Phase::Publishing {
                    self.events.push_back(Event::End);
                }
            }
            "play" | "play2" => return Err(SessionError::Unsupported(name.to_owned())),
            // releaseStream, FCPublish and what else wants an answer that says nothing.
            _ => {
                if matches!(transaction, Value::Number(number) if number > 0.0) {
                    self.result(transaction, Value::Null, Value::Null);
                }
            }
        }
        Ok(())
    }

    fn on_connect(&mut self, transaction: Value) {
        self.send(CONTROL_CHUNKS, (kind::WINDOW_SIZE, 0), &WINDOW.to_be_bytes());
        // The limit is dynamic (2): the peer may keep its own.
        self.send(CONTROL_CHUNKS, (kind::PEER_BANDWIDTH, 0), &[&WINDOW.to_be_bytes()[..], &[2]].concat());
        self.send(CONTROL_CHUNKS, (kind::CHUNK_SIZE, 0), &CHUNK_OURS.to_be_bytes());
        let object = |list: &[(&str, Value)]| {
            Value::Object(list.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
        };
        let server = object(&[("fmsVer", Value::text("FMS/3,0,1,123")), ("capabilities", Value::Number(31.0))]);
        let status = object(&[
            ("level", Value::text("status")),
            ("code", Value::text("NetConnection.Connect.Success")),
            ("description", Value::text("connected")),
            ("objectEncoding", Value::Number(0.0)),
        ]);
        self.result(transaction, server, status);
    }

    fn result(&mut self, transaction: Value, first: Value, second: Value) {
        self.command(0, &[Value::text("_result"), transaction, first, second]);
    }

    fn status(&mut self, level: &str, code: &str, description: &str) {
        let fields = [("level", level), ("code", code), ("description", description)];
        let info = fields.map(|(name, text)| (name.to_owned(), Value::text(text))).to_vec();
        self.command(STREAM, &[Value::text("onStatus"), Value::Number(0.0), Value::Null, Value::Object(info)]);
    }

    fn command(&mut self, stream: u32, values: &[Value]) {
        let mut body = BytesMut::new();
        values.iter().for_each(|value| value.encode(&mut body));
        self.send(COMMAND_CHUNKS, (kind::COMMAND, stream), &body);
    }

    fn acknowledge(&mut self, bytes: usize) {
        let Acknowledged { window, received, told } = &mut self.acknowledged;
        // The count wraps, as the peer's does.
        *received = received.wrapping_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        if received.wrapping_sub(*told) >= *window {
            *told = *received;
            let count = received.to_be_bytes();
            self.send(CONTROL_CHUNKS, (kind::ACKNOWLEDGEMENT, 0), &count);
        }
    }

    fn send(&mut self, chunks: u8, (kind, stream): (u8, u32), payload: &[u8]) {
        let mut out = BytesMut::new();
        put_message(&mut out, chunks, (kind, stream), payload);
        self.events.push_back(Event::Send(out.freeze()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(values: &[Value]) -> Vec<u8> {
        let (mut body, mut out) = (BytesMut::new(), BytesMut::new());
        values.iter().for_each(|value| value.encode(&mut body));
        // Ours are shorter than a chunk of the default size.
        assert!(body.len() <= 128);
        put_message(&mut out, COMMAND_CHUNKS, (kind::COMMAND, 0), &body);
        out.to_vec()
    }

    fn connect() -> Vec<u8> {
        let object = Value::Object(vec![("app".to_owned(), Value::text("live/"))]);
        command(&[Value::text("connect"), Value::Number(1.0), object])
    }

    fn publish(key: &str) -> Vec<u8> {
        command(&[Value::text("publish"), Value::Number(5.0), Value::Null, Value::text(key), Value::text("live")])
    }

    fn media(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = BytesMut::new();
        put_message(&mut out, 4, (kind, STREAM), payload);
        out.to_vec()
    }

    fn open() -> Session {
        let mut session = Session::new();
        session.handle_bytes(&[&[VERSION][..], &[7; HANDSHAKE], &[0; HANDSHAKE]].concat()).unwrap();
        let Some(Event::Send(answer)) = session.poll_event() else { panic!("S0 S1 S2") };
        assert_eq!(answer.len(), 1 + 2 * HANDSHAKE);
        assert!(answer[1 + HANDSHAKE..].iter().all(|byte| *byte == 7), "S2 echoes C1");
        session
    }

    fn drain(session: &mut Session) -> Vec<Event> {
        std::iter::from_fn(|| session.poll_event()).filter(|event| !matches!(event, Event::Send(_))).collect()
    }

    #[test]
    fn an_encoder_publishes_and_stops() {
        let mut session = open();
        session.handle_bytes(&connect()).unwrap();
        let create = command(&[Value::text("createStream"), Value::Number(4.0), Value::Null]);
        session.handle_bytes(&create).unwrap();
        session.handle_bytes(&media(kind::VIDEO, b"too early")).unwrap();
        session.handle_bytes(&publish("match7?token=x")).unwrap();
        let publish = Event::Publish { app: "live".to_owned(), key: "match7".to_owned() };
        assert_eq!(drain(&mut session), [publish]);
        session.accept();
        session.handle_bytes(&media(kind::VIDEO, b"picture")).unwrap();
        let stop = command(&[Value::text("deleteStream"), Value::Number(0.0), Value::Null, Value::Number(1.0)]);
        session.handle_bytes(&stop).unwrap();
        let media = flv::tag(kind::VIDEO, 0, &Bytes::from_static(b"picture"));
        let header = Bytes::from_static(&flv::HEADER);
        assert_eq!(drain(&mut session), [Event::Media(header), Event::Media(media), Event::End]);
    }

    #[test]
    fn what_comes_is_acknowledged_once_per_window() {
        let mut session = open();
        let mut window = BytesMut::new();
        put_message(&mut window, CONTROL_CHUNKS, (kind::WINDOW_SIZE, 0), &1000_u32.to_be_bytes());
        session.handle_bytes(&window).unwrap();
        assert!(session.poll_event().is_some(), "the handshake was longer than this window");
        let sound = media(kind::AUDIO, &[0; 100]);
        let acknowledgements = (0..25).filter(|_| {
            session.handle_bytes(&sound).unwrap();
            session.poll_event().is_some()
        });
        assert_eq!(acknowledgements.count(), 2);
    }

    #[test]
    fn players_and_other_protocols_are_told() {
        assert_eq!(Session::new().handle_bytes(b"GET / HTTP/1.1"), Err(SessionError::Version(b'G')));
        let play = command(&[Value::text("play"), Value::Number(5.0), Value::Null, Value::text("x")]);
        assert_eq!(open().handle_bytes(&play), Err(SessionError::Unsupported("play".to_owned())));
        let mut noise = BytesMut::new();
        put_message(&mut noise, COMMAND_CHUNKS, (kind::COMMAND, 0), &[0xff; 9]);
        assert_eq!(open().handle_bytes(&noise), Err(SessionError::Amf));
    }
}
