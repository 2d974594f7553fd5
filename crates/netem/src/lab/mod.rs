//! The lab engine: real processes in network namespaces of their own, joined by links that the model impairs.
//!
//! ```text
//!   namespace of "edge"          this process            namespace of "origin"
//!   process ── link0 ──TUN──▶ engine: model, heap ──TUN──▶ link0 ── process
//!              10.78.0.2                                10.78.0.3
//! ```
//!
//! Each node is a network namespace. Each link is an interface at either end, whose packets the engine reads, offers to
//! the model's [`Link`](crate::model::Link), and writes to the other end when they are due. The engine records how late
//! it was for every packet; a result is worth no more than that, and [`Counters::lateness`] says it.
//!
//! Nothing outlives the run: namespaces have no names, interfaces go with the descriptors that made them, and the
//! kernel kills the processes with the thread that started them. ^C and `kill -9` need no handler for that.
//!
//! Rights: root, or a user namespace, which [`enter_user_namespace`] makes. What else it takes,
//! [`doctor`](crate::doctor) tells.
//!
//! ```no_run
//! use sluice_netem::lab::{Lab, LinkSpec, Spec};
//! use sluice_netem::model::{Direction, Sharing, Span};
//! use std::process::Command;
//!
//! let way = Direction::delayed(Span::from_millis(20));
//! let between = ["a".into(), "b".into()];
//! let link = LinkSpec { between, forward: way.clone(), reverse: way, sharing: Sharing::All };
//! let lab = Lab::new(Spec { nodes: vec!["a".into(), "b".into()], links: vec![link], ..Spec::default() })?;
//! let there = lab.address("a", "b").expect("they are neighbours");
//! let mut ping = Command::new("ping");
//! ping.args(["-c", "3", &there.to_string()]);
//! lab.spawn("a", ping)?.wait()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod build;
mod datagram;
mod device;
mod engine;
mod error;
mod flight;
mod handle;
mod namespace;
mod netlink;
mod probe;
mod process;
mod run;
mod self_test;
mod spec;
mod sys;
mod user;
mod ways;

pub use crate::priority::Priority;
pub use build::Lab;
pub use engine::Tally;
pub use error::LabError;
pub use handle::{Counters, Handle, LinkCounters};
pub(crate) use probe::{Probe, probe};
pub use process::Process;
pub use rustix::process::Signal;
pub use self_test::{SelfTestError, self_test};
pub use spec::{LINKS_MAX, LinkSpec, Medium, MediumChoice, NODES_MAX, Reach, Spec, SpecError};
pub(crate) use sys::{ordinary_priority, real_time};
pub use user::{enter_user_namespace, is_privileged, start_in_user_namespace};
