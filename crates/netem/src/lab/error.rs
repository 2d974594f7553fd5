//! What can go wrong with a lab.

use super::spec::SpecError;
use std::io;

/// Why a lab was not built or did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// It makes no sense.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// Network namespaces are not to be had.
    #[error("cannot make a network namespace ({0}); `sluice netem doctor` says what is missing")]
    Namespace(#[source] io::Error),
    /// The kernel refused a part of it.
    #[error("cannot {what} ({source}); `sluice netem doctor` says what is missing")]
    Build {
        /// What was attempted.
        what: String,
        /// What it said.
        source: io::Error,
    },
    /// There is no such node.
    #[error("the lab has no node {0:?}")]
    UnknownNode(String),
    /// There is no such link.
    #[error("the lab has no link {link}: its {links} links count from 0")]
    UnknownLink {
        /// The number.
        link: usize,
        /// How many there are.
        links: usize,
    },
    /// A process did not start.
    #[error("cannot start {program} in the node {node:?}: {source}")]
    Spawn {
        /// Where.
        node: String,
        /// What.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// Work in a node failed.
    #[error("in the node {node:?}: {source}")]
    Work {
        /// Where.
        node: String,
        /// What it said.
        source: io::Error,
    },
    /// The engine is not running any more.
    #[error("the engine has stopped: {0}")]
    Engine(String),
}

impl LabError {
    /// For `map_err`: what was attempted when the kernel refused.
    pub(super) fn build(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Build { what, source }
    }
}
