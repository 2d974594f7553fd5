//! Changing and reading the links of a lab that runs.

use super::engine::{Shared, State, Tally};
use super::error::LabError;
use super::ways::Ways;
use crate::lateness::Lateness;
use crate::model::{self, Direction, Program, Way};
use serde::Serialize;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

/// Changes and reads the links of a lab, from any thread. Links go by their number in the specification.
#[derive(Debug, Clone)]
pub struct Handle {
    shared: Arc<Shared>,
    between: Arc<[[String; 2]]>,
}

/// What the links of a lab have done so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Each link, in the order of the specification.
    pub links: Vec<LinkCounters>,
    /// How late packets left the engine.
    pub lateness: Lateness,
    /// What else the engine has done.
    pub engine: Tally,
    /// Whether it goes before ordinary threads.
    pub is_real_time: bool,
}

/// What a link has done so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LinkCounters {
    /// Its ends.
    pub between: [String; 2],
    /// From the first to the second.
    pub forward: model::Counters,
    /// From the second to the first.
    pub reverse: model::Counters,
}

impl Handle {
    pub(super) fn new(shared: &Arc<Shared>, between: Vec<[String; 2]>) -> Self {
        Self { shared: Arc::clone(shared), between: between.into() }
    }

    /// Time since the lab began, which is the time of its links.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.shared.now()
    }

    /// The numbers of the links between two nodes.
    pub fn links_between<'a>(&'a self, a: &'a str, b: &'a str) -> impl Iterator<Item = usize> + 'a {
        let joins = move |ends: &[String; 2]| (ends[0] == a && ends[1] == b) || (ends[0] == b && ends[1] == a);
        self.between.iter().enumerate().filter(move |(_, ends)| joins(ends)).map(|(number, _)| number)
    }

    /// Changes the conditions of one way of a link.
    ///
    /// # Errors
    ///
    /// When there is no such link, or the engine has stopped.
    pub fn set(&self, link: usize, way: Way, config: Direction) -> Result<(), LabError> {
        self.change(link, |ways, now| ways.way(way).set(now, &config))
    }

    /// Lets a program change the conditions of one way of a link from now on.
    ///
    /// # Errors
    ///
    /// When there is no such link, or the engine has stopped.
    pub fn run_program(&self, link: usize, way: Way, program: Program) -> Result<(), LabError> {
        self.change(link, |ways, now| ways.way(way).run_program(now, &program, now))
    }

    /// Takes a link down or up, both ways. What is under way when it goes down is lost.
    ///
    /// # Errors
    ///
    /// When there is no such link, or the engine has stopped.
    pub fn set_state(&self, link: usize, state: model::State) -> Result<(), LabError> {
        self.change(link, |ways, now| ways.set_state(now, state))
    }

    /// Cuts the nodes `inside` off from all others, until [`Handle::heal`]. A partition before this one ends.
    ///
    /// # Errors
    ///
    /// When a name is no node with a link, or the engine has stopped.
    pub fn partition(&self, inside: &[&str]) -> Result<(), LabError> {
        let is_known = |name: &str| self.between.iter().flatten().any(|end| end == name);
        if let Some(unknown) = inside.iter().find(|name| !is_known(name)) {
            return Err(LabError::UnknownNode((*unknown).to_owned()));
        }
        let is_inside = |name: &String| inside.contains(&name.as_str());
        self.cut(|[a, b]| is_inside(a) != is_inside(b))
    }

    /// Ends a partition. A link that was taken down by itself stays down.
    ///
    /// # Errors
    ///
    /// When the engine has stopped.
    pub fn heal(&self) -> Result<(), LabError> {
        self.cut(|_| false)
    }

    /// What the links have done so far, and how late the engine was.
    ///
    /// # Errors
    ///
    /// When the engine has stopped.
    pub fn counters(&self) -> Result<Counters, LabError> {
        let state = self.state()?;
        let counters = |(between, ways): (&[String; 2], &Ways)| {
            let [forward, reverse] = ways.counters();
            LinkCounters { between: between.clone(), forward, reverse }
        };
        Ok(Counters {
            links: self.between.iter().zip(&state.links).map(counters).collect(),
            lateness: state.lateness(),
            engine: state.tally(),
            is_real_time: state.is_real_time(),
        })
    }

    /// For each link how long a packet that came now would wait before a bottleneck; the longer of both ways.
    ///
    /// # Errors
    ///
    /// When the engine has stopped.
    pub fn backlogs(&self) -> Result<Vec<Duration>, LabError> {
        let mut state = self.state()?;
        let now = self.now();
        Ok(state.links.iter_mut().map(|ways| ways.backlog(now)).collect())
    }

    /// Starts the account of lateness anew, so that a measurement has its own.
    ///
    /// # Errors
    ///
    /// When the engine has stopped.
    pub fn forget_lateness(&self) -> Result<(), LabError> {
        self.state()?.forget();
        Ok(())
    }

    fn cut(&self, is_cut: impl Fn(&[String; 2]) -> bool) -> Result<(), LabError> {
        let mut state = self.state()?;
        let now = self.now();
        for (ways, between) in state.links.iter_mut().zip(self.between.iter()) {
            ways.set_cut(now, if is_cut(between) { model::State::Down } else { model::State::Up });
        }
        Ok(())
    }

    fn change(&self, link: usize, change: impl FnOnce(&mut Ways, Duration)) -> Result<(), LabError> {
        let mut state = self.state()?;
        let links = state.links.len();
        let ways = state.links.get_mut(link).ok_or(LabError::UnknownLink { link, links })?;
        // Read with the state locked: the time of a link never goes back.
        change(ways, self.now());
        Ok(())
    }

    fn state(&self) -> Result<MutexGuard<'_, State>, LabError> {
        self.shared.state().map_err(LabError::Engine)
    }
}
