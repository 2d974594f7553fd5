//! Track logs, cursors, fan-out and drop policy, without IO.

mod cursor;
mod error;
mod fetch;
mod limits;
mod log;
mod priority;
mod progress;
mod range;
mod stats;
mod writer;

pub use cursor::{Cursor, CursorConfig, CursorUpdate, Forward, Forwarding, Selected};
pub use error::{Limit, Malformed, WriteError};
pub use fetch::{FetchConfig, FetchReader};
pub use limits::Limits;
pub use log::{EndOfTrack, Log};
pub use priority::{Order, transport_priority};
pub use progress::Progress;
pub use range::{FetchPlan, FetchRange, Range, RangeError};
pub use stats::{Dropped, Stats};
pub use writer::{SourceId, WriterId};
