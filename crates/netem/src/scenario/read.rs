//! From the text of a file to a [`Scenario`], or to everything that is wrong with it.

use super::document::{Lines, Section};
use super::events::Events;
use super::links::{Link, Reader};
use super::nodes::{self, Node, Role};
use super::problem::{Problem, Problems, Wrong};
use super::value::{self, Kind};
use super::{Engine, Scenario, expect};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;
use toml::de::DeTable;

const ENGINE: Kind<Engine> = Kind {
    allowed: "`sim`, `lab` or `proxy`",
    parse: |text| Engine::ALL.into_iter().find(|engine| engine.name() == text),
};
/// Longest run.
const DURATION_MAX: Duration = Duration::from_secs(24 * 3600);
const DURATION: Kind<Duration> = Kind {
    allowed: "a time above 0 and up to 24h, such as `30s`",
    parse: |text| value::time(text).filter(|time| !time.is_zero() && *time <= DURATION_MAX),
};

pub(super) fn scenario(file: &str, text: &str) -> Result<Scenario, Problems> {
    let (document, errors) = DeTable::parse_recoverable(text);
    let lines = Lines(text);
    if !errors.is_empty() {
        // After an error of syntax the rest is a guess; its unknown names would only distract.
        let problem = |error: toml::de::Error| Problem {
            line: error.span().map_or(1, |span| lines.line(&span)),
            what: Wrong::Syntax(error.message().trim().replace('\n', ", ")),
        };
        return Err(Problems::new(file, errors.into_iter().map(problem).collect()));
    }
    let mut problems = Vec::new();
    let root = Section::new("the scenario".to_owned(), 1, document.get_ref(), lines);
    let folder = Path::new(file).parent().unwrap_or_else(|| Path::new(""));
    let read = top(root, folder, &mut problems);
    match read {
        Some(scenario) if problems.is_empty() => Ok(scenario),
        Some(_) | None => Err(Problems::new(file, problems)),
    }
}

/// `None` after a problem was noted; everything is read before, so that all problems are found.
fn top(mut root: Section<'_>, folder: &Path, problems: &mut Vec<Problem>) -> Option<Scenario> {
    let (name, description) = (root.required("name", &value::NAME), root.required("description", &value::WORDS));
    let seed = root.read("seed", &value::SEED).unwrap_or_default();
    let duration = root.required("duration", &DURATION);
    let engines = root.list("engines", &ENGINE).map(|list| list.into_iter().collect::<BTreeSet<_>>());
    if engines.as_ref().is_some_and(BTreeSet::is_empty) {
        root.conflict("engines", "`engines` is empty: leave it out for all of them".to_owned());
    }
    let mut sections = root.tables("node");
    let nodes = nodes::read(&mut sections);
    for (_, section) in sections {
        section.finish(problems);
    }
    let reader = Reader { nodes: &nodes, folder };
    let links = reader.links(root.entries("link"), problems);
    // Without a legal duration the events are still read; none of them is late.
    let end = duration.unwrap_or(DURATION_MAX);
    let events = Events { nodes: &nodes, links: &links, reader: &reader, duration: end };
    let events = events.read(root.entries("at"), problems);
    let lines: Vec<usize> = links.iter().map(|(line, _)| *line).collect();
    let links: Vec<Link> = links.into_iter().map(|(_, link)| link).collect();
    let expect = root.table("expect", "[expect]");
    let expectations = expect.map_or_else(Vec::new, |section| expect::read(section, (&nodes, &links), end, problems));
    structure(&mut root, &nodes);
    root.finish(problems);
    let whole = problems.is_empty();
    let engines = engines.unwrap_or_else(|| Engine::ALL.into());
    let (name, description, duration) = (name?, description?, duration?);
    let scenario = Scenario { name, description, seed, duration, engines, nodes, links, events, expectations };
    if whole {
        reachable(&scenario, &lines, problems);
    }
    Some(scenario)
}

/// Who has to be there.
fn structure(root: &mut Section<'_>, nodes: &[Node]) {
    if nodes.is_empty() {
        root.conflict("node", "there are no nodes: write [node.origin] and others".to_owned());
    } else if !nodes.iter().any(|node| matches!(node.role, Role::Origin)) {
        root.conflict("node", "no node is an origin: give one of them `role = \"origin\"`".to_owned());
    }
}

/// Whether everybody reaches whom they need; `lines` are those of the links.
fn reachable(scenario: &Scenario, lines: &[usize], problems: &mut Vec<Problem>) {
    let last = lines.last().copied().unwrap_or(1);
    let mut note = |text: String| problems.push(Problem { line: last, what: Wrong::Conflict(text) });
    let distances = scenario.distances();
    for (id, node) in scenario.node_ids() {
        match &node.role {
            Role::Origin | Role::Edge => {
                if !distances.contains_key(&id) {
                    note(format!("no links lead from `{}` to an origin: add a [[link]]", node.name));
                }
            }
            Role::Publisher(_) => {
                if scenario.relay_of(id).is_none() {
                    note(format!("`{}` has no link to a relay: add a [[link]]", node.name));
                }
            }
            Role::Viewers(viewers) => {
                if scenario.path(id).is_none() {
                    let publisher = &scenario.node(viewers.watch).name;
                    note(format!("no links lead from `{publisher}` to `{}`: add a [[link]]", node.name));
                }
                if viewers.join + viewers.ramp >= scenario.duration {
                    note(format!("`{}` join after the end: shorten `join` and `ramp`", node.name));
                }
            }
        }
    }
}
