//! A run as a picture: what was delivered when, where it stopped, and what happened then.
//!
//! ```text
//!  events     |  down origin-edge      | up
//!  links      ####......#####################   green: up, red: down
//!  viewers/0  ▂▃▃▃▂ (red) ▂▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃   objects per bin; gaps red
//!  latency    ______/\_______________________   p50 and p99 of all viewers per bin
//! ```
//!
//! The picture is bounded: at most [`ROWS_MAX`] rows, each a single path of at most [`BINS`] steps, whatever the run.

mod draw;
mod series;

use crate::result::{Evidence, Report};
use crate::scenario::Scenario;

/// Viewers with a row of their own; more are shown as bands, the worst of each band with its gaps.
pub const ROWS_MAX: usize = 40;
/// Steps of time.
pub const BINS: usize = 240;

/// The picture, as one SVG document.
#[must_use]
pub fn svg(scenario: &Scenario, evidence: &Evidence, report: &Report) -> String {
    draw::Picture::new(scenario, evidence, report).draw()
}

#[cfg(test)]
mod tests;
