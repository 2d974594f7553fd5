//! What the tests are written with: a scene, programs in it, relays among them.

mod backbone;
mod ffmpeg;
mod metrics;
mod probe;
mod process;
mod relay;
mod scene;

pub(crate) use backbone::{Authority, Backbone};
pub(crate) use ffmpeg::Ffmpeg;
pub(crate) use metrics::Metrics;
pub(crate) use probe::{diff, load, publish, url, watch, watch_on};
pub(crate) use process::Process;
pub(crate) use relay::{Relay, Setup};
pub(crate) use scene::{Scene, find_program, skip, until};
