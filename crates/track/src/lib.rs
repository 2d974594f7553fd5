//! Track logs, cursors, fan-out and drop policy, without IO: the hot path of the relay.
//!
//! ```text
//!  subgroup streams ─┐                                   ┌─ Cursor (viewer: whole objects) ──> streams, datagrams
//!  fetch streams ────┼─ writers ─> admit ─> Log ─────────┼─ Cursor (trunk: cut-through) ─────> streams, datagrams
//!  datagrams ────────┘             groups / subgroups /  └─ FetchReader ─────────────────────> one stream
//!                                  objects in an arena
//! ```
//!
//! **A [`Log`] is one track**: an ordered map of groups, subgroups and objects. Payload is copied once, at append, into
//! arena blocks; what lies there is the object's *wire image*, so that a reader hands clones of one `Bytes` to its
//! transport and neither copies nor encodes. Only the id delta of an image depends on the stream; a reader whose
//! previous object is another one (it joined in the middle, or a hole was left out) writes a delta of its own and the
//! rest of the image. Objects above 64 KiB are pieces of 64 KiB, since a declared length is not worth memory before
//! its bytes have come. Bytes of an object that is still arriving are copied once more, for all cut-through readers
//! together.
//!
//! **Nobody owns an object.** Streams of several sources deliver it; what is held is compared, what is new is appended,
//! at the byte. Contradictions are [`Malformed`]. What no source completes within [`Limits::fill`] is unknown, never
//! complete.
//!
//! **Holes are a state.** Each object knows down to which id its subgroup has nothing before it: from its stream, a
//! fetch, a gap property, or because other subgroups account for the ids between. A reader goes on only where that
//! reaches what it sent last (draft-18 10.4.3, "next object"); otherwise it waits until the hole is filled or closed,
//! and after the fill timeout goes on behind it on a new stream.
//!
//! **A [`Cursor`] is one reader**, owned by the caller. [`Cursor::select`] writes what may be sent now, in send order,
//! and advances by exactly what the sink took; nothing is queued per reader. A reader that is blocked for longer than
//! a delivery timeout, or more than `max_lag_groups` behind, has its streams reset and goes on at the newest group that
//! is whole. In steady state a visit allocates nothing.
//!
//! # Contract
//! Time is an argument. After each mutation of a log read [`Log::take_progress`] and visit the readers it names;
//! [`Log::poll_timeout`] and [`Cursor::poll_timeout`] say when to come back without one. A [`WriteError`] closes its
//! writer: `Malformed` ends the track, `Limit` stops that stream, `Session` closes the session.
//!
//! # Example
//! ```
//! use sluice_moqt::data::{ObjectHeader, SubgroupFlags, SubgroupHeader, SubgroupId};
//! use sluice_moqt::types::{ObjectStatus, TrackAlias};
//! use sluice_track::{Limits, Log, SourceId};
//! # #[expect(clippy::disallowed_methods)]
//! # let now = std::time::Instant::now();
//! let mut log = Log::new(Limits::default(), 128);
//! let header = SubgroupHeader {
//!     alias: TrackAlias(1),
//!     group: 7,
//!     subgroup: SubgroupId::Zero,
//!     priority: None,
//!     flags: SubgroupFlags::FIRST_OBJECT,
//! };
//! let writer = log.open_subgroup(now, SourceId(0), &header)?;
//! let object = ObjectHeader { id: 0, properties: Default::default(), payload_len: 5, status: ObjectStatus::Normal };
//! log.begin_object(now, writer, &object)?;
//! log.append(now, writer, b"fra")?;
//! assert!(log.take_progress().partial && log.is_join_point(7));
//! log.append(now, writer, b"me")?;
//! assert!(log.take_progress().whole);
//! # Ok::<(), sluice_track::WriteError>(())
//! ```

mod active;
mod admit;
mod arena;
mod batch;
mod births;
mod cursor;
mod datagrams;
mod error;
mod fetch;
mod fetched;
mod gaps;
mod group;
mod lag;
mod limits;
mod log;
mod object;
mod priority;
mod progress;
mod range;
mod select;
mod serve;
mod stats;
mod subgroup;
mod walk;
mod writer;

pub use cursor::{Cursor, CursorConfig, CursorUpdate, Forward, Forwarding, Selected};
pub use error::{Limit, Malformed, WriteError};
pub use fetch::{FetchConfig, FetchReader};
pub use fetched::EndOfTrack;
pub use limits::Limits;
pub use log::{Keep, Log};
pub use priority::{Order, transport_priority};
pub use progress::Progress;
pub use range::{FetchPlan, FetchRange, Range, RangeError};
pub use stats::{Dropped, Stats};
pub use writer::{SourceId, WriterId};
