//! Track logs, cursors, fan-out and drop policy, without IO.

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
pub use log::Log;
pub use priority::{Order, transport_priority};
pub use progress::Progress;
pub use range::{FetchPlan, FetchRange, Range, RangeError};
pub use stats::{Dropped, Stats};
pub use writer::{SourceId, WriterId};
