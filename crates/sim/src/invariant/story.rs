//! What happened in a run, in lines for people: whoever looks at a broken invariant wants to know what came before.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

/// Lines kept; the oldest go first.
const LINES_MAX: usize = 2_000;

/// The lines.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Story(VecDeque<(Duration, String)>);

impl Story {
    /// Something happened.
    pub fn tell(&mut self, at: Duration, line: String) {
        if self.0.len() == LINES_MAX {
            self.0.pop_front();
        }
        self.0.push_back((at, line));
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, line) in &self.0 {
            writeln!(f, "  {:>9.3} s  {line}", at.as_secs_f64())?;
        }
        Ok(())
    }
}
