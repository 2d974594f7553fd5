//! What the lab's links are worth on this machine.

use super::build::Lab;
use super::error::LabError;
use super::spec::{LinkSpec, Medium, MediumChoice, Spec};
use crate::model::{Direction, Sharing};
use crate::priority::Priority;
use crate::selftest::{self, SelfTest, Stream, Trial};
use rustix::net::sockopt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// The port that is measured at.
const PORT: u16 = 5000;
/// What the receiver's socket holds: a burst of thousands of packets.
const BUFFER: usize = 8 << 20;

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SelfTestError {
    /// No lab.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// No figures.
    #[error(transparent)]
    Measure(#[from] selftest::SelfTestError),
    /// A socket failed.
    #[error("sending and receiving in the lab: {0}")]
    Io(#[from] io::Error),
}

/// Measures links of `medium`, which takes about ten seconds.
///
/// # Errors
///
/// When no lab can be had, or nothing arrives.
pub fn self_test(medium: MediumChoice, priority: Priority) -> Result<SelfTest, SelfTestError> {
    let mut engine = String::new();
    let measured = selftest::measure("lab", |conditions, stream| {
        let lab = pair(conditions, medium, priority)?;
        let trial = trial(&lab, stream)?;
        engine = describe(&lab)?;
        Ok::<_, SelfTestError>(trial)
    })?;
    Ok(SelfTest { engine, ..measured })
}

/// Two nodes and a link.
fn pair(conditions: Direction, medium: MediumChoice, priority: Priority) -> Result<Lab, LabError> {
    let between = ["a".to_owned(), "b".to_owned()];
    let reverse = Direction::default();
    let link = LinkSpec { between: between.clone(), forward: conditions, reverse, sharing: Sharing::All };
    Lab::new(Spec { seed: 1, nodes: between.into(), links: vec![link], medium, priority, ..Spec::default() })
}

fn trial(lab: &Lab, stream: Stream) -> Result<Trial, SelfTestError> {
    let address = lab.address("a", "b").ok_or_else(|| LabError::UnknownNode("b".to_owned()))?;
    let sender = lab.udp_socket("a", 0)?;
    let receiver = lab.udp_socket("b", PORT)?;
    // Above the system's limit only for root; without it a burst may be lost where the machine is slow.
    if sockopt::set_socket_recv_buffer_size_force(&receiver, BUFFER).is_err() {
        sockopt::set_socket_recv_buffer_size(&receiver, BUFFER).map_err(io::Error::from)?;
    }
    let before = lab.counters()?.engine.cpu_us;
    let traffic = stream.between(&sender, SocketAddr::from((address, PORT)), receiver)?;
    let counters = lab.counters()?;
    let cpu = Duration::from_micros(counters.engine.cpu_us.saturating_sub(before));
    Ok(Trial { traffic, lateness: counters.lateness, cpu })
}

/// The engine as it is here: its figures depend on it.
fn describe(lab: &Lab) -> Result<String, LabError> {
    let medium = match lab.medium() {
        Medium::Tun => "TUN",
        Medium::Packet => "AF_PACKET",
    };
    let priority = if lab.counters()?.is_real_time { "real-time" } else { "ordinary" };
    Ok(format!("lab ({medium}, {priority} priority)"))
}
