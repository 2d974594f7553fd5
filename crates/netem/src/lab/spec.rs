//! What a lab consists of, and the plan made of it: addresses and routes. Pure.

use crate::model::{Direction, Sharing};
use crate::priority::Priority;
use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;

/// Nodes of a lab: each takes a thread and a network namespace.
pub const NODES_MAX: usize = 1024;
/// Links of a lab: each takes two descriptors and a look at them whenever anything arrives.
pub const LINKS_MAX: usize = 1024;

/// Addresses of nodes start here.
const NODES_AT: u32 = u32::from_be_bytes([10, 77, 0, 0]);
/// Addresses of the ends of links start here.
const LINKS_AT: u32 = u32::from_be_bytes([10, 78, 0, 0]);

/// Nodes, and links between them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Spec {
    /// Makes the random choices.
    pub seed: u64,
    /// Names of the nodes, each once.
    pub nodes: Vec<String>,
    /// What joins them. The number of a link is its place here.
    pub links: Vec<LinkSpec>,
    /// How far packets go.
    pub reach: Reach,
    /// What links are made of.
    pub medium: MediumChoice,
    /// Who goes first on a busy machine.
    pub priority: Priority,
}

/// A link between two nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct LinkSpec {
    /// Its ends, by name.
    pub between: [String; 2],
    /// What happens from the first to the second.
    pub forward: Direction,
    /// What happens from the second to the first.
    pub reverse: Direction,
    /// Whether all that passes shares it, or each connection has one like it.
    pub sharing: Sharing,
}

/// How far packets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// To the neighbours: relays see the links that they are configured with.
    #[default]
    Neighbours,
    /// To every node, through those between by the fewest links.
    Everywhere,
}

/// What links are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MediumChoice {
    /// TUN devices where they can be made, else virtual Ethernet.
    #[default]
    Auto,
    /// This or nothing.
    Only(Medium),
}

/// How packets get from the kernel to the engine and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Medium {
    /// TUN devices: IP packets.
    Tun,
    /// Virtual Ethernet read by packet sockets: needs no device node, costs a tenth more.
    Packet,
}

/// Why no plan can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// A link names a node that is not listed.
    #[error("link {link} names the node {name:?}, which is not one of the lab's")]
    UnknownNode {
        /// Its number.
        link: usize,
        /// The name.
        name: String,
    },
    /// A link from a node to itself.
    #[error("link {link} joins {name:?} to itself: what a node sends to itself takes no link")]
    Loop {
        /// Its number.
        link: usize,
        /// The name.
        name: String,
    },
    /// Two nodes of one name.
    #[error("two nodes are called {0:?}")]
    Twice(String),
    /// More than a lab can have.
    #[error("{count} {what}: a lab has at most {most}")]
    TooMany {
        /// Nodes or links.
        what: &'static str,
        /// How many were asked for.
        count: usize,
        /// How many there can be.
        most: usize,
    },
}

/// A lab as it is to be built.
#[derive(Debug)]
pub(super) struct Plan {
    numbers: BTreeMap<String, usize>,
    /// The ends of each link.
    pub(super) links: Vec<[usize; 2]>,
    /// For each node the link by which each other node is reached.
    routes: Vec<BTreeMap<usize, usize>>,
}

impl Plan {
    pub(super) fn new(spec: &Spec) -> Result<Self, SpecError> {
        at_most("nodes", spec.nodes.len(), NODES_MAX)?;
        at_most("links", spec.links.len(), LINKS_MAX)?;
        let mut numbers = BTreeMap::new();
        for (number, name) in spec.nodes.iter().enumerate() {
            if numbers.insert(name.clone(), number).is_some() {
                return Err(SpecError::Twice(name.clone()));
            }
        }
        let ends = spec.links.iter().enumerate().map(|(link, of)| ends(&numbers, link, &of.between));
        let links: Vec<[usize; 2]> = ends.collect::<Result<_, _>>()?;
        let neighbours = neighbours(spec.nodes.len(), &links);
        let routes = (0..spec.nodes.len()).map(|node| match spec.reach {
            Reach::Neighbours => first_links(&neighbours[node]),
            Reach::Everywhere => shortest(&neighbours, node),
        });
        Ok(Self { numbers, routes: routes.collect(), links })
    }

    /// The number of a node.
    pub(super) fn node(&self, name: &str) -> Option<usize> {
        self.numbers.get(name).copied()
    }

    /// The nodes that `node` reaches, and the link by which.
    pub(super) fn routes(&self, node: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.routes[node].iter().map(|(to, link)| (*to, *link))
    }

    /// The address at which `node` reaches `peer` by the shortest way: of a neighbour its end of the first link between
    /// them, of others their own.
    pub(super) fn address(&self, node: usize, peer: usize) -> Option<Ipv4Addr> {
        if node == peer {
            return Some(node_address(node));
        }
        let link = *self.routes[node].get(&peer)?;
        let end = self.links[link].iter().position(|end| *end == peer);
        Some(end.map_or_else(|| node_address(peer), |end| link_address(link, end)))
    }
}

/// The address that a node has whatever its links are.
pub(super) fn node_address(node: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(NODES_AT + 1 + number(node))
}

/// The address of an end of a link.
pub(super) fn link_address(link: usize, end: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(LINKS_AT + 2 + 2 * number(link) + number(end))
}

fn number(index: usize) -> u32 {
    u32::try_from(index).expect("nodes and links were counted against their limits")
}

fn at_most(what: &'static str, count: usize, most: usize) -> Result<(), SpecError> {
    if count > most { Err(SpecError::TooMany { what, count, most }) } else { Ok(()) }
}

fn ends(numbers: &BTreeMap<String, usize>, link: usize, between: &[String; 2]) -> Result<[usize; 2], SpecError> {
    let find = |name: &String| {
        let unknown = || SpecError::UnknownNode { link, name: name.clone() };
        numbers.get(name).copied().ok_or_else(unknown)
    };
    let [a, b] = between;
    let ends = [find(a)?, find(b)?];
    if ends[0] == ends[1] { Err(SpecError::Loop { link, name: a.clone() }) } else { Ok(ends) }
}

/// For each node the links at it and who is at their other end, in the order of the links.
fn neighbours(nodes: usize, links: &[[usize; 2]]) -> Vec<Vec<(usize, usize)>> {
    let mut neighbours = vec![Vec::new(); nodes];
    for (link, [a, b]) in links.iter().enumerate() {
        neighbours[*a].push((*b, link));
        neighbours[*b].push((*a, link));
    }
    neighbours
}

fn first_links(neighbours: &[(usize, usize)]) -> BTreeMap<usize, usize> {
    let mut first = BTreeMap::new();
    for (peer, link) in neighbours {
        first.entry(*peer).or_insert(*link);
    }
    first
}

/// The first link of a way with the fewest links to each node that can be reached.
fn shortest(neighbours: &[Vec<(usize, usize)>], from: usize) -> BTreeMap<usize, usize> {
    let mut routes = first_links(&neighbours[from]);
    let mut todo: VecDeque<usize> = routes.keys().copied().collect();
    while let Some(node) = todo.pop_front() {
        let link = routes[&node];
        for (next, _) in &neighbours[node] {
            if *next != from && !routes.contains_key(next) {
                routes.insert(*next, link);
                todo.push_back(*next);
            }
        }
    }
    routes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(nodes: &[&str], links: &[(&str, &str)], reach: Reach) -> Spec {
        let link = |(a, b): &(&str, &str)| LinkSpec {
            between: [(*a).to_owned(), (*b).to_owned()],
            forward: Direction::default(),
            reverse: Direction::default(),
            sharing: Sharing::All,
        };
        Spec {
            nodes: nodes.iter().map(|name| (*name).to_owned()).collect(),
            links: links.iter().map(link).collect(),
            reach,
            ..Spec::default()
        }
    }

    #[test]
    fn neighbours_meet_at_the_first_link_between_them() {
        let spec = spec(&["a", "b"], &[("b", "a"), ("a", "b")], Reach::Neighbours);
        let plan = Plan::new(&spec).expect("it is a good one");
        assert_eq!(plan.address(0, 1), Some(link_address(0, 0)));
        assert_eq!(plan.address(1, 0), Some(link_address(0, 1)));
        assert_eq!(plan.address(1, 1), Some(node_address(1)));
    }

    #[test]
    fn others_are_reached_on_request_by_the_fewest_links() {
        let nodes = ["a", "b", "c", "d", "alone"];
        let links = [("a", "b"), ("b", "c"), ("c", "d"), ("d", "a")];
        let near = Plan::new(&spec(&nodes, &links, Reach::Neighbours)).expect("it is a good one");
        assert_eq!(near.address(0, 2), None);
        let far = Plan::new(&spec(&nodes, &links, Reach::Everywhere)).expect("it is a good one");
        assert_eq!(far.address(0, 2), Some(node_address(2)));
        assert_eq!(far.routes(0).collect::<Vec<_>>(), [(1, 0), (2, 0), (3, 3)]);
        assert_eq!(far.address(0, 4), None, "nothing leads there");
    }

    #[test]
    fn every_address_is_given_once() {
        let nodes = (0..NODES_MAX).map(node_address);
        let links = (0..LINKS_MAX).flat_map(|link| [link_address(link, 0), link_address(link, 1)]);
        let mut all: Vec<_> = nodes.chain(links).collect();
        all.sort_unstable();
        let count = all.len();
        all.dedup();
        assert_eq!(all.len(), count);
        assert!(all.iter().all(Ipv4Addr::is_private));
    }

    #[test]
    fn what_cannot_be_built_is_refused() {
        let refused = |spec: &Spec| Plan::new(spec).expect_err("it cannot be built");
        let unknown = refused(&spec(&["a"], &[("a", "b")], Reach::Neighbours));
        assert_eq!(unknown, SpecError::UnknownNode { link: 0, name: "b".to_owned() });
        let itself = refused(&spec(&["a"], &[("a", "a")], Reach::Neighbours));
        assert_eq!(itself, SpecError::Loop { link: 0, name: "a".to_owned() });
        assert_eq!(refused(&spec(&["a", "a"], &[], Reach::Neighbours)), SpecError::Twice("a".to_owned()));
        let many = Spec { nodes: (0..=NODES_MAX).map(|n| n.to_string()).collect(), ..Spec::default() };
        assert!(matches!(refused(&many), SpecError::TooMany { what: "nodes", .. }));
    }
}
