//! Conditions that change by themselves: a list of changes with their times, once or over and over.

use super::{Direction, Span, State};
use std::time::Duration;

/// Changes of conditions, in order of time.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Program {
    steps: Vec<Step>,
    period: Option<Duration>,
}

/// One change.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// When, from the start of the program.
    pub at: Span,
    /// What.
    pub change: Change,
}

/// What a step changes.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The conditions.
    Set(Direction),
    /// Whether anything passes.
    State(State),
}

impl Program {
    /// Conditions that never change.
    #[must_use]
    pub fn constant(config: Direction) -> Self {
        Self { steps: vec![Step { at: Span::ZERO, change: Change::Set(config) }], period: None }
    }

    /// `steps`, once. They are brought into order of time; those of one time keep their order.
    #[must_use]
    pub fn once(mut steps: Vec<Step>) -> Self {
        steps.sort_by_key(|step| step.at);
        Self { steps, period: None }
    }

    /// `steps`, over and over with `period`; steps at or after its end never happen.
    #[must_use]
    pub fn repeated(steps: Vec<Step>, period: Span) -> Self {
        let mut program = Self::once(steps);
        program.steps.retain(|step| step.at < period);
        program.period = Some(period.get());
        program
    }

    /// The same changes at the same times, with `change` made to each of the conditions.
    #[must_use]
    pub fn map(mut self, mut change: impl FnMut(Direction) -> Direction) -> Self {
        for step in &mut self.steps {
            if let Change::Set(config) = &mut step.change {
                *config = change(std::mem::take(config));
            }
        }
        self
    }

    /// The steps of one round, in order.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// How long a round lasts, where the program repeats.
    #[must_use]
    pub const fn period(&self) -> Option<Duration> {
        self.period
    }

    /// Step `number` counted over all rounds, with its time from the start.
    fn step(&self, number: usize) -> Option<(Duration, &Step)> {
        let step = self.steps.get(number.checked_rem(self.steps.len())?)?;
        let round = number / self.steps.len();
        let begins = match self.period {
            Some(period) => period.saturating_mul(u32::try_from(round).unwrap_or(u32::MAX)),
            None if round > 0 => return None,
            None => Duration::ZERO,
        };
        Some((begins + step.at.get(), step))
    }
}

/// A program that runs.
#[derive(Debug, Clone)]
pub(super) struct Running {
    program: Program,
    start: Duration,
    next: usize,
}

impl Running {
    pub(super) const fn new(program: Program, start: Duration) -> Self {
        Self { program, start, next: 0 }
    }

    /// The changes that are still to come, with their times; without an end where the program repeats.
    pub(super) fn ahead(&self) -> impl Iterator<Item = (Duration, &Change)> + Clone {
        let step = |number| self.program.step(number).map(|(at, step)| (self.start + at, &step.change));
        (self.next..).map_while(step)
    }

    /// The next change that is due at `now`, with its time.
    pub(super) fn pop(&mut self, now: Duration) -> Option<(Duration, Change)> {
        let (at, step) = self.program.step(self.next)?;
        let due = self.start + at;
        if due > now {
            return None;
        }
        let change = step.change.clone();
        self.next += 1;
        Some((due, change))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn down(millis: u64) -> Step {
        Step { at: Span::from_millis(millis), change: Change::State(State::Down) }
    }

    fn times(program: Program, until: u64) -> Vec<u128> {
        let mut running = Running::new(program, Duration::from_millis(5));
        std::iter::from_fn(|| running.pop(Duration::from_millis(until))).map(|(at, _)| at.as_millis()).collect()
    }

    #[test]
    fn steps_come_in_order_once_or_over_and_over() {
        assert_eq!(times(Program::once(vec![down(30), down(10)]), 1000), [15, 35]);
        let repeated = Program::repeated(vec![down(30), down(10), down(100)], Span::from_millis(100));
        assert_eq!(times(repeated.clone(), 234), [15, 35, 115, 135, 215]);
        assert_eq!(repeated.period(), Some(Duration::from_millis(100)));
        assert_eq!(times(Program::default(), 1000), [0_u128; 0]);
        assert_eq!(times(Program::repeated(vec![down(9)], Span::ZERO), 1000), [0_u128; 0], "no round, no step");
    }
}
