//! Which engine runs here, and which other where it does not.

use super::{Capability, Finding, Presence, examine};
use crate::scenario::Engine;
use std::fmt;

/// Why an engine does not run here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Missing {
    /// The engine.
    pub engine: Engine,
    /// What is missing, each with what to do.
    pub findings: Vec<Finding>,
    /// An engine that may run here.
    pub instead: Engine,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the {} engine does not run here:", self.engine)?;
        for finding in &self.findings {
            writeln!(f, "  {finding}")?;
        }
        write!(f, "`--engine {}` needs none of that; `sluice netem doctor` tells all", self.instead)
    }
}

/// Whether `engine` runs here.
///
/// # Errors
///
/// When something is missing that it cannot do without; the error names the fix, and another engine.
pub fn require(engine: Engine) -> Result<(), Missing> {
    judge(engine, examine())
}

fn judge(engine: Engine, findings: Vec<Finding>) -> Result<(), Missing> {
    let has = |capability: &Capability| {
        findings.iter().any(|found| found.capability == *capability && found.presence == Presence::Have)
    };
    if needs(engine).iter().all(|group| group.iter().any(has)) {
        return Ok(());
    }
    // What gives the rights is of interest where they are missing, and what only improves an engine is not.
    let is_cause = |capability| match capability {
        Capability::Linux | Capability::UserNamespaces => engine == Engine::Lab,
        Capability::Privilege
        | Capability::NetworkNamespaces
        | Capability::Tun
        | Capability::PacketSockets
        | Capability::RealTime
        | Capability::TimerSlack
        | Capability::KernelNetem
        | Capability::LoopbackUdp => needs(engine).iter().any(|group| group.contains(&capability)),
    };
    let missing = |found: &Finding| found.presence == Presence::Missing && is_cause(found.capability);
    let findings = findings.into_iter().filter(missing).collect();
    Err(Missing { engine, findings, instead: other(engine) })
}

/// What an engine cannot do without: one of each group.
const fn needs(engine: Engine) -> &'static [&'static [Capability]] {
    match engine {
        Engine::Sim => &[],
        Engine::Lab => &[&[Capability::NetworkNamespaces], &[Capability::Tun, Capability::PacketSockets]],
        Engine::Proxy => &[&[Capability::LoopbackUdp]],
    }
}

/// The one to run where an engine does not.
const fn other(engine: Engine) -> Engine {
    match engine {
        Engine::Lab => Engine::Proxy,
        Engine::Sim | Engine::Proxy => Engine::Sim,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn have(capability: Capability) -> Finding {
        Finding::have(capability, "it works")
    }

    fn missing(capability: Capability) -> Finding {
        Finding::missing(capability, "it does not", "refused", "ask")
    }

    #[test]
    fn a_lab_needs_namespaces_and_one_kind_of_link() {
        let both = [Capability::NetworkNamespaces, Capability::PacketSockets];
        let mut found: Vec<_> = both.into_iter().map(have).collect();
        found.extend([Capability::Tun, Capability::RealTime, Capability::KernelNetem].map(missing));
        assert_eq!(judge(Engine::Lab, found), Ok(()));
    }

    #[test]
    fn what_is_missing_comes_with_its_fix_and_another_engine() {
        let mut found =
            [Capability::UserNamespaces, Capability::NetworkNamespaces, Capability::RealTime].map(missing).to_vec();
        found.extend([Capability::Tun, Capability::LoopbackUdp].map(have));
        let refused = judge(Engine::Lab, found.clone()).expect_err("there are no namespaces");
        let named: Vec<_> = refused.findings.iter().map(|finding| finding.capability).collect();
        assert_eq!(named, [Capability::UserNamespaces, Capability::NetworkNamespaces]);
        assert_eq!(refused.instead, Engine::Proxy);
        let text = refused.to_string();
        assert!(text.contains("to have it: ask") && text.contains("--engine proxy"), "{text}");
        assert_eq!(judge(Engine::Proxy, found), Ok(()));
    }

    #[test]
    fn the_simulator_needs_nothing() {
        assert_eq!(judge(Engine::Sim, Vec::new()), Ok(()));
    }
}
