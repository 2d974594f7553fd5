//! `[[at]]`: what happens, when, to whom.

use super::document::Section;
use super::links::{Generated, Link, Reader, Ways};
use super::nodes::Node;
use super::problem::{Problem, Wrong};
use super::value::{self, Jump, Kind};
use super::{LinkId, NodeId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Something that happens.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When.
    pub at: Duration,
    /// What.
    pub action: Action,
    /// In words, such as `down origin-edge`.
    pub label: String,
}

/// What may happen.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Nothing passes these links. A partition is a `Down` of every link that it cuts.
    Down(Vec<LinkId>),
    /// They pass packets again.
    Up(Vec<LinkId>),
    /// Other conditions.
    Set(LinkId, Box<Ways>),
    /// Whoever dialled over the link is seen from another address from now on, as behind a NAT that forgot.
    Rebind(LinkId),
    /// The process dies without a word.
    Kill(NodeId),
    /// It is started again, at the address that it had.
    Restart(NodeId),
    /// It gets no processor time.
    Stop(NodeId),
    /// It gets some again.
    Cont(NodeId),
    /// Its wall clock is set.
    Clock(NodeId, Jump),
}

impl Action {
    /// Whether it breaks something: what viewers need to resume is counted from here.
    #[must_use]
    pub const fn is_fault(&self) -> bool {
        match self {
            Self::Down(_) | Self::Set(..) | Self::Rebind(_) | Self::Kill(_) | Self::Stop(_) | Self::Clock(..) => true,
            Self::Up(_) | Self::Restart(_) | Self::Cont(_) => false,
        }
    }

    /// Whether it ends a fault.
    #[must_use]
    pub const fn is_repair(&self) -> bool {
        matches!(self, Self::Up(_) | Self::Restart(_) | Self::Cont(_))
    }
}

/// Events that one `[[at]]` may stand for.
const REPEATS_MAX: usize = 10_000;

const VERBS: [&str; 11] =
    ["down", "up", "partition", "heal", "set", "rebind", "kill", "restart", "stop", "cont", "clock"];
const DO: Kind<&'static str> = Kind {
    allowed: "`down`, `up`, `partition`, `heal`, `set`, `rebind`, `kill`, `restart`, `stop`, `cont` or `clock`",
    parse: |text| VERBS.into_iter().find(|verb| *verb == text),
};
const ANY: Kind<String> = Kind { allowed: "a name", parse: |text| Some(text.to_owned()) };

/// An event with its line, until all of them have been compared.
struct Draft {
    line: usize,
    event: Event,
}

/// Reads events; the links stand with their lines.
pub(super) struct Events<'a> {
    pub(super) nodes: &'a [Node],
    pub(super) links: &'a [(usize, Link)],
    pub(super) reader: &'a Reader<'a>,
    pub(super) duration: Duration,
}

impl Events<'_> {
    pub(super) fn read(&self, sections: Vec<Section<'_>>, problems: &mut Vec<Problem>) -> Vec<Event> {
        let mut drafts = Vec::new();
        for mut section in sections {
            self.entry(&mut section, &mut drafts);
            section.finish(problems);
        }
        drafts.sort_by_key(|draft: &Draft| draft.event.at);
        Course::new(self, problems).check(&drafts);
        drafts.into_iter().map(|draft| draft.event).collect()
    }

    /// One `[[at]]`: the event, what undoes it after `for`, and both again after each `every`.
    fn entry(&self, section: &mut Section<'_>, drafts: &mut Vec<Draft>) {
        let (at, verb) = (section.required("t", &value::TIME), section.required("do", &DO));
        let (lasts, every) = (section.read("for", &value::SPAN), section.read("every", &value::SPAN));
        let Some(verb) = verb else {
            // Every key may belong to the verb that was meant.
            for key in ["link", "node", "nodes", "by"] {
                let _ = section.value(key);
            }
            let _ = self.reader.ways(section, &Ways::default());
            return;
        };
        let (action, undo, label) = self.action(section, verb);
        if lasts.is_some() && undo.is_none() && action.is_some() {
            section.conflict("for", format!("`{verb}` is not undone by time: leave out `for`"));
        }
        if lasts.zip(every).is_some_and(|(lasts, every)| lasts >= every) {
            section.conflict("for", "`for` reaches into the next `every`: make it shorter".to_owned());
        }
        let (Some(at), Some(action)) = (at, action) else { return };
        if at >= self.duration {
            section.conflict("t", format!("the event comes after the end at {:?}", self.duration));
        }
        let times = std::iter::successors(Some(at), |at| every.map(|every| *at + every));
        let times: Vec<Duration> = times.take_while(|at| *at < self.duration).take(REPEATS_MAX).collect();
        for at in times {
            let mut push = |at, action, label| {
                drafts.push(Draft { line: section.line, event: Event { at, action, label } });
            };
            push(at, action.clone(), format!("{verb} {label}"));
            if let (Some(lasts), Some((name, undo))) = (lasts, &undo)
                && at + lasts < self.duration
            {
                push(at + lasts, undo.clone(), format!("{name} {label}"));
            }
        }
    }

    /// The action, what undoes it with its name, and whom it is done to in words.
    fn action(
        &self,
        section: &mut Section<'_>,
        verb: &str,
    ) -> (Option<Action>, Option<(&'static str, Action)>, String) {
        match verb {
            "down" | "up" | "set" | "rebind" => {
                let Some(id) = self.link(section) else {
                    if verb == "set" {
                        let _ = self.reader.ways(section, &Ways::default());
                    }
                    return (None, None, String::new());
                };
                let name = self.links.get(id.0).map_or_else(String::new, |(_, link)| link.name.clone());
                let (action, undo) = self.on_link(section, verb, id);
                (Some(action), undo, name)
            }
            "partition" | "heal" => match self.cut(section) {
                Some((links, names)) => {
                    let undo = ("heal", Action::Up(links.clone()));
                    let (action, undo) =
                        if verb == "partition" { (Action::Down(links), Some(undo)) } else { (Action::Up(links), None) };
                    (Some(action), undo, names)
                }
                None => (None, None, String::new()),
            },
            _ => match self.node(section) {
                Some(id) => {
                    let name = self.nodes.get(id.0).map_or_else(String::new, |node| node.name.clone());
                    let (action, undo) = on_node(section, verb, id);
                    (action, undo, name)
                }
                None => {
                    let _ = section.value("by");
                    (None, None, String::new())
                }
            },
        }
    }

    fn on_link(&self, section: &mut Section<'_>, verb: &str, id: LinkId) -> (Action, Option<(&'static str, Action)>) {
        let base = self.links.get(id.0).map(|(_, link)| link.ways.clone()).unwrap_or_default();
        match verb {
            "down" => (Action::Down(vec![id]), Some(("up", Action::Up(vec![id])))),
            "up" => (Action::Up(vec![id]), None),
            "rebind" => (Action::Rebind(id), None),
            _ => {
                let ways = self.reader.ways(section, &base);
                let generated = self.links.get(id.0).and_then(|(_, link)| link.generated);
                if let Some(Generated { profile, .. }) = generated {
                    let text = format!(
                        "the link is a `{profile}`, whose conditions change by themselves: use `down` and `up`"
                    );
                    section.conflict("do", text);
                }
                if ways == base {
                    section.conflict("do", "this `set` changes nothing: add conditions such as `rate`".to_owned());
                }
                (Action::Set(id, Box::new(ways)), Some(("restore", Action::Set(id, Box::new(base)))))
            }
        }
    }

    fn link(&self, section: &mut Section<'_>) -> Option<LinkId> {
        let name = section.required("link", &ANY)?;
        let found = self.links.iter().position(|(_, link)| link.name == name).map(LinkId);
        if found.is_none() {
            section.unknown_name("link", "link", &name, self.links.iter().map(|(_, link)| link.name.as_str()));
        }
        found
    }

    fn node(&self, section: &mut Section<'_>) -> Option<NodeId> {
        let name = section.required("node", &ANY)?;
        self.find("node", &name, section)
    }

    fn find(&self, key: &str, name: &str, section: &mut Section<'_>) -> Option<NodeId> {
        let found = self.nodes.iter().position(|node| node.name == name).map(NodeId);
        if found.is_none() {
            section.unknown_name(key, "node", name, self.nodes.iter().map(|node| node.name.as_str()));
        }
        found
    }

    /// The links between `nodes` and the others.
    fn cut(&self, section: &mut Section<'_>) -> Option<(Vec<LinkId>, String)> {
        if !section.has("nodes") {
            section.missing("nodes", "names of the nodes on one side, such as `[\"edge\", \"viewers\"]`");
        }
        let names = section.list("nodes", &ANY)?;
        let found: Vec<_> = names.iter().map(|name| self.find("nodes", name, section)).collect();
        let side: BTreeSet<NodeId> = found.into_iter().collect::<Option<_>>()?;
        let crosses = |link: &Link| link.between.iter().filter(|end| side.contains(end)).count() == 1;
        let cut: Vec<LinkId> =
            self.links.iter().enumerate().filter(|(_, (_, link))| crosses(link)).map(|(at, _)| LinkId(at)).collect();
        if cut.is_empty() {
            section.conflict("nodes", "no link joins these nodes with others: nothing is cut".to_owned());
            return None;
        }
        Some((cut, names.join(", ")))
    }
}

fn on_node(section: &mut Section<'_>, verb: &str, id: NodeId) -> (Option<Action>, Option<(&'static str, Action)>) {
    match verb {
        "kill" => (Some(Action::Kill(id)), Some(("restart", Action::Restart(id)))),
        "restart" => (Some(Action::Restart(id)), None),
        "stop" => (Some(Action::Stop(id)), Some(("cont", Action::Cont(id)))),
        "cont" => (Some(Action::Cont(id)), None),
        _ => (section.required("by", &value::CLOCK).map(|by| Action::Clock(id, by)), None),
    }
}

/// How a link or a node is, from event to event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Well,
    Down,
    Dead,
    Stopped,
}

impl Health {
    const fn words(self) -> &'static str {
        match self {
            Self::Well => "up",
            Self::Down => "down",
            Self::Dead => "dead",
            Self::Stopped => "stopped",
        }
    }
}

/// Goes through the events in order of time and notes those that contradict what has happened before.
struct Course<'a, 'b> {
    events: &'a Events<'a>,
    problems: &'b mut Vec<Problem>,
    links: BTreeMap<LinkId, (Health, usize)>,
    nodes: BTreeMap<NodeId, (Health, usize)>,
}

impl<'a, 'b> Course<'a, 'b> {
    const fn new(events: &'a Events<'a>, problems: &'b mut Vec<Problem>) -> Self {
        Self { events, problems, links: BTreeMap::new(), nodes: BTreeMap::new() }
    }

    fn check(mut self, drafts: &[Draft]) {
        let mut sets: BTreeMap<(LinkId, Duration), usize> = BTreeMap::new();
        for draft in drafts {
            match &draft.event.action {
                Action::Down(links) => self.links(draft, links, Health::Well, Health::Down),
                Action::Up(links) => self.links(draft, links, Health::Down, Health::Well),
                Action::Set(link, _) => {
                    if let Some(line) = sets.insert((*link, draft.event.at), draft.line)
                        && line != draft.line
                    {
                        self.note(draft, format!("line {line} sets this link at the same time"));
                    }
                }
                Action::Rebind(_) => {}
                Action::Kill(node) => self.node(draft, *node, &[Health::Well, Health::Stopped], Health::Dead),
                Action::Restart(node) => self.node(draft, *node, &[Health::Well, Health::Dead], Health::Well),
                Action::Stop(node) => self.node(draft, *node, &[Health::Well], Health::Stopped),
                Action::Cont(node) => self.node(draft, *node, &[Health::Stopped], Health::Well),
                Action::Clock(node, _) => self.node(draft, *node, &[Health::Well], Health::Well),
            }
        }
    }

    fn links(&mut self, draft: &Draft, links: &[LinkId], from: Health, to: Health) {
        for id in links {
            let (health, line) = self.links.get(id).copied().unwrap_or((Health::Well, 0));
            if health == from {
                self.links.insert(*id, (to, draft.line));
                continue;
            }
            let name = self.events.links.get(id.0).map_or("", |(_, link)| link.name.as_str());
            self.note(draft, already("link", name, health, line));
        }
    }

    fn node(&mut self, draft: &Draft, id: NodeId, from: &[Health], to: Health) {
        let (health, line) = self.nodes.get(&id).copied().unwrap_or((Health::Well, 0));
        if from.contains(&health) {
            let line = if health == to { line } else { draft.line };
            self.nodes.insert(id, (to, line));
            return;
        }
        let name = self.events.nodes.get(id.0).map_or("", |node| node.name.as_str());
        self.note(draft, already("node", name, health, line));
    }

    fn note(&mut self, draft: &Draft, why: String) {
        let text = format!("`{}` at {:?} cannot be: {why}", draft.event.label, draft.event.at);
        let known = |problem: &Problem| problem.line == draft.line && matches!(problem.what, Wrong::Conflict(_));
        // A repeated event would say the same at each time.
        if !self.problems.iter().any(known) {
            self.problems.push(Problem { line: draft.line, what: Wrong::Conflict(text) });
        }
    }
}

fn already(kind: &str, name: &str, health: Health, line: usize) -> String {
    let since = if line > 0 { format!(" since line {line}") } else { String::new() };
    format!("the {kind} `{name}` is {}{since}", health.words())
}
