//! `[[link]]`: who is joined, and under which conditions.

use super::NodeId;
use super::document::Section;
use super::nodes::{Node, Role};
use super::problem::{Problem, Wrong};
use super::value::{self, Kind};
use crate::generate::{Access, Profile};
use crate::model::{
    Bottleneck, Capacity, Change, Direction, GilbertElliott, Loss, Program, Ratio, Reorder, Span, Trace, Way,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Conditions of both ways of a link.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ways {
    /// From the first end to the second: [`Way::Forward`].
    pub down: Direction,
    /// Back: [`Way::Reverse`].
    pub up: Direction,
}

impl Ways {
    /// One of them.
    #[must_use]
    pub const fn get(&self, way: Way) -> &Direction {
        match way {
            Way::Forward => &self.down,
            Way::Reverse => &self.up,
        }
    }
}

/// What joins two nodes. A link to viewers stands for one link per viewer.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// Its name, by default those of its ends.
    pub name: String,
    /// Its ends.
    pub between: [NodeId; 2],
    /// Its conditions at the start.
    pub ways: Ways,
    /// A generated access network that gives it others.
    pub generated: Option<Generated>,
}

/// A link that is a generated access network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generated {
    /// Which one.
    pub profile: Profile,
    /// Which way leads from the device to the network: from the publisher or the viewers, and between two relays from
    /// the second.
    pub uplink: Way,
}

impl Generated {
    /// The conditions of one way of link number `link` for a run of `length`. The same seed gives the same conditions.
    #[must_use]
    pub fn program(self, way: Way, (seed, link): (u64, usize), length: Duration) -> Program {
        let access = if way == self.uplink { Access::Uplink } else { Access::Downlink };
        // Two links of one kind vary by themselves.
        let seed = seed ^ (link as u64).rotate_right(u64::BITS / 4);
        self.profile.program(seed, access, Span::saturating(length))
    }

    /// Typical conditions, which tell how long the undisturbed way is.
    fn first(self) -> Ways {
        let first = |way| {
            let program = self.program(way, (0, 0), Duration::from_secs(1));
            program.steps().iter().find_map(|step| match &step.change {
                Change::Set(direction) => Some(direction.clone()),
                Change::State(_) => None,
            })
        };
        let [down, up] = Way::BOTH.map(|way| first(way).unwrap_or_default());
        Ways { down, up }
    }
}

impl Link {
    /// The other end, seen from `node`.
    #[must_use]
    pub fn other(&self, node: NodeId) -> Option<NodeId> {
        match self.between {
            [a, b] if a == node => Some(b),
            [a, b] if b == node => Some(a),
            [_, _] => None,
        }
    }
}

const ENDS: Kind<String> = Kind { allowed: "two names of nodes", parse: |text| Some(text.to_owned()) };
const REORDER: Kind<Reorder> = Kind {
    allowed: "`keep` or `allow`",
    parse: |text| match text {
        "keep" => Some(Reorder::Keep),
        "allow" => Some(Reorder::Allow),
        _ => None,
    },
};
const PROFILE: Kind<Profile> =
    Kind { allowed: "`lte`, `umts`, `starlink`, `wifi` or `conference`", parse: |text| text.parse().ok() };
/// What a profile says itself.
const CONDITIONS: [&str; 12] =
    ["delay", "jitter", "reorder", "loss", "drop", "duplicate", "rate", "trace", "queue", "mtu", "down", "up"];
const LOSS: &str = "a share such as `3%`, or `{ ge = { p = \"1%\", r = \"25%\" } }` for bursts";

/// Reads links; traces lie relative to `folder`.
pub(super) struct Reader<'a> {
    pub(super) nodes: &'a [Node],
    pub(super) folder: &'a Path,
}

impl Reader<'_> {
    pub(super) fn links(&self, sections: Vec<Section<'_>>, problems: &mut Vec<Problem>) -> Vec<(usize, Link)> {
        let mut links: Vec<(usize, Link)> = Vec::new();
        for mut section in sections {
            if let Some(link) = self.link(&mut section) {
                if let Some((line, _)) = links.iter().find(|(_, other)| other.name == link.name) {
                    section.conflict("name", format!("a link `{}` is there already, in line {line}", link.name));
                }
                links.push((section.line, link));
            }
            section.finish(problems);
        }
        self.attachments(&links, problems);
        links
    }

    fn link(&self, section: &mut Section<'_>) -> Option<Link> {
        let mut ways = self.ways(section, &Ways::default());
        let profile = section.read("profile", &PROFILE);
        if let Some((profile, key)) = profile.zip(CONDITIONS.into_iter().find(|key| section.has(key))) {
            section.conflict(key, format!("the profile `{profile}` says everything about the link: remove `{key}`"));
        }
        let name = section.read("name", &value::NAME);
        if !section.has("between") {
            section.missing("between", ENDS.allowed);
        }
        let ends = section.list("between", &ENDS)?;
        let [a, b] = &ends[..] else {
            section.conflict("between", format!("a link has two ends, this one has {}", ends.len()));
            return None;
        };
        let between = [self.end(section, a)?, self.end(section, b)?];
        let clients = between.iter().filter(|id| self.nodes.get(id.0).is_some_and(|node| !node.role.is_relay()));
        if between[0] == between[1] {
            section.conflict("between", format!("a link joins two nodes, this one joins `{a}` with itself"));
        } else if clients.count() == 2 {
            section.conflict("between", format!("neither `{a}` nor `{b}` is a relay: one of them has to be"));
        }
        let is_client = |id: NodeId| self.nodes.get(id.0).is_some_and(|node| !node.role.is_relay());
        let uplink = if is_client(between[0]) { Way::Forward } else { Way::Reverse };
        let generated = profile.map(|profile| Generated { profile, uplink });
        if let Some(generated) = generated {
            ways = generated.first();
        }
        Some(Link { name: name.unwrap_or_else(|| format!("{a}-{b}")), between, ways, generated })
    }

    fn end(&self, section: &mut Section<'_>, name: &str) -> Option<NodeId> {
        let found = self.nodes.iter().position(|node| node.name == name).map(NodeId);
        if found.is_none() {
            section.unknown_name("between", "node", name, self.nodes.iter().map(|node| node.name.as_str()));
        }
        found
    }

    /// Every client hangs on one relay.
    fn attachments(&self, links: &[(usize, Link)], problems: &mut Vec<Problem>) {
        let mut count: BTreeMap<NodeId, usize> = BTreeMap::new();
        for (line, link) in links {
            for end in link.between {
                let seen = count.entry(end).or_default();
                *seen += 1;
                let Some(node) = self.nodes.get(end.0) else { continue };
                let client = match node.role {
                    Role::Publisher(_) | Role::Viewers(_) => true,
                    Role::Origin | Role::Edge => false,
                };
                if client && *seen == 2 {
                    let text = format!("`{}` has a link already: publishers and viewers hang on one relay", node.name);
                    problems.push(Problem { line: *line, what: Wrong::Conflict(text) });
                }
            }
        }
    }

    /// What `section` sets over `base`: for both ways, then by `down` and `up` for one.
    pub(super) fn ways(&self, section: &mut Section<'_>, base: &Ways) -> Ways {
        let mut ways = Ways { down: self.direction(section, &base.down), up: self.direction(section, &base.up) };
        let title = section.title.clone();
        for (key, way) in [("down", &mut ways.down), ("up", &mut ways.up)] {
            if let Some(mut sub) = section.table(key, &format!("`{key}` of {title}")) {
                *way = self.direction(&mut sub, way);
                let mut problems = Vec::new();
                sub.finish(&mut problems);
                section.problems.append(&mut problems);
            }
        }
        ways
    }

    fn direction(&self, section: &mut Section<'_>, base: &Direction) -> Direction {
        let mut way = base.clone();
        if let Some(delay) = section.read("delay", &value::SPAN_OR_ZERO) {
            way.delay = delay;
        }
        if let Some(jitter) = section.read("jitter", &value::SPAN_OR_ZERO) {
            way.jitter.spread = jitter;
        }
        if let Some(reorder) = section.read("reorder", &REORDER) {
            way.jitter.reorder = reorder;
        }
        if section.has("loss") {
            way.loss = loss(section).unwrap_or_default();
        }
        way.drop = section.read("drop", &value::NUMBERS).unwrap_or(way.drop);
        way.duplicate = section.read("duplicate", &value::SHARE).unwrap_or(way.duplicate);
        way.mtu = section.read("mtu", &value::MTU).or(way.mtu);
        way.bottleneck = self.bottleneck(section, way.bottleneck);
        way
    }

    fn bottleneck(&self, section: &mut Section<'_>, base: Option<Bottleneck>) -> Option<Bottleneck> {
        if section.has("rate") && section.has("trace") {
            section.conflict("trace", "`rate` and `trace` both say how fast the link is: choose one".to_owned());
        }
        let rate = section.read("rate", &value::RATE).map(Capacity::Rate);
        let trace = section.read("trace", &value::WORDS).and_then(|name| self.trace(section, &name));
        let queue = section.read("queue", &value::QUEUE);
        let before = base.as_ref().map(|bottleneck| bottleneck.queue);
        let capacity = rate.or(trace).or_else(|| base.map(|bottleneck| bottleneck.capacity));
        if capacity.is_none() && queue.is_some() {
            section.conflict("queue", "a `queue` needs something to wait for: add `rate` or `trace`".to_owned());
        }
        capacity.map(|capacity| Bottleneck { capacity, queue: queue.or(before).unwrap_or_default() })
    }

    fn trace(&self, section: &mut Section<'_>, name: &str) -> Option<Capacity> {
        let path = self.folder.join(name);
        let text = std::fs::read_to_string(&path).map_err(|error| error.to_string());
        let trace = text.and_then(|text| Trace::parse(&text).map_err(|error| error.to_string()));
        match trace {
            Ok(trace) => Some(Capacity::Trace(Arc::new(trace))),
            Err(error) => {
                section.conflict("trace", format!("cannot use the trace {}: {error}", path.display()));
                None
            }
        }
    }
}

/// `"3%"`, or `{ ge = { .. } }`.
fn loss(section: &mut Section<'_>) -> Option<Loss> {
    let title = section.title.clone();
    let value = section.value("loss")?;
    if value.get_ref().as_table().is_none() {
        let ratio = section.read("loss", &Kind { allowed: LOSS, ..value::SHARE })?;
        return Some(if ratio.is_zero() { Loss::None } else { Loss::Random(ratio) });
    }
    let mut table = section.table("loss", &format!("`loss` of {title}"))?;
    let mut found = None;
    if table.has("ge") {
        if let Some(mut chain) = table.table("ge", &format!("`loss.ge` of {title}")) {
            found = gilbert_elliott(&mut chain);
            chain.finish(&mut table.problems);
        }
    } else {
        table.missing("ge", "{ p = SHARE, r = SHARE }");
    }
    table.finish(&mut section.problems);
    found
}

fn gilbert_elliott(chain: &mut Section<'_>) -> Option<Loss> {
    let (p, r) = (chain.required("p", &value::SHARE), chain.required("r", &value::SHARE));
    let bad = chain.read("bad", &value::SHARE).unwrap_or(Ratio::ONE);
    let good = chain.read("good", &value::SHARE).unwrap_or(Ratio::ZERO);
    if r.is_some_and(Ratio::is_zero) && p.is_some_and(|p| !p.is_zero()) {
        chain.conflict("r", "with `r` = 0 a burst never ends: give it a share above 0".to_owned());
    }
    Some(Loss::GilbertElliott(GilbertElliott { p: p?, r: r?, bad, good }))
}
