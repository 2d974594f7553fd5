//! From texts to a [`Config`], or to everything that is wrong with them.

use super::keys::{self, Key, Shape};
use super::problem::{Place, Problem, Wrong};
use super::raw::{Entry, Raw, RawConfig, Values};
use super::value::{Argument, Switch, Value};
use super::{Certificate, Config, Feed, FeedInput, Feeds, Home, Homes, Ingest, Limits, Listen, Peer, Trunk};
use std::path::{Path, PathBuf};

/// Reads keys and remembers what was wrong with them.
pub(super) struct Checker<'a> {
    raw: &'a RawConfig,
    /// What relative paths of the file are relative to.
    folder: &'a Path,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Checker<'a> {
    pub(super) fn new(raw: &'a RawConfig, folder: &'a Path, problems: &'a mut Vec<Problem>) -> Self {
        Self { raw, folder, problems }
    }

    /// `None` after a problem was noted.
    pub(super) fn config(&mut self) -> Option<Config> {
        // Every part is read before the first `?`, so that all problems are found.
        let pop = self.required(&keys::POP, "every relay has a name");
        let (role, shards) = (self.read(&keys::ROLE), self.read(&keys::SHARDS));
        let state_dir = self.path(&keys::STATE_DIR);
        let (listen, trunk) = (self.listen(), self.trunk());
        let (admin, drain_grace) = (self.read(&keys::ADMIN_ADDR), self.read(&keys::DRAIN_GRACE));
        let (ingest, limits, homes, feeds) = (self.ingest(), self.limits(), self.homes(), self.feeds());
        let pop = pop?;
        Some(Config {
            role: role?,
            shards: shards?,
            state_dir: state_dir?.join(pop.as_str()),
            listen: listen?,
            admin: admin?,
            trunk: trunk?,
            ingest: ingest?,
            limits: limits?,
            homes: homes?,
            drain_grace: drain_grace?.get(),
            feeds: feeds?,
            pop,
        })
    }

    fn listen(&mut self) -> Option<Listen> {
        let (addr, advertise) = (self.read(&keys::LISTEN_ADDR), self.list(&keys::LISTEN_ADVERTISE));
        let certificate = match (self.is_set(&keys::LISTEN_CERT), self.is_set(&keys::LISTEN_KEY)) {
            (false, false) => Some(Certificate::Development),
            (true, true) => {
                let (cert, key) = (self.path(&keys::LISTEN_CERT), self.path(&keys::LISTEN_KEY));
                cert.zip(key).map(|(cert, key)| Certificate::Files { cert, key })
            }
            (true, false) => self.missing(keys::LISTEN_KEY.name, "`listen.cert` is set"),
            (false, true) => self.missing(keys::LISTEN_CERT.name, "`listen.key` is set"),
        };
        Some(Listen { addr: addr?, certificate: certificate?, advertise: advertise? })
    }

    /// `Some(None)` where no key of trunks is set.
    fn trunk(&mut self) -> Option<Option<Trunk>> {
        let reasons = [
            (self.is_set(&keys::TRUNK_CA), "[trunk] is set"),
            (self.is_set(&keys::TRUNK_CERT), "[trunk] is set"),
            (self.is_set(&keys::TRUNK_KEY), "[trunk] is set"),
            (self.is_set(&keys::TRUNK_ORIGINS), "`trunk.origins` is set"),
            (self.is_chosen(&keys::TRUNK_ADDR), "`trunk.addr` is set"),
            (self.raw.entries.get("peer").is_some_and(|p| !p.is_empty()), "a [[peer]] is set"),
        ];
        let Some(why) = reasons.into_iter().find_map(|(set, why)| set.then_some(why)) else {
            return Some(None);
        };
        let addr = self.read(&keys::TRUNK_ADDR);
        let mut file = |key| if self.is_set(key) { self.path(key) } else { self.missing(key.name, why) };
        let (ca, cert, key) = (file(&keys::TRUNK_CA), file(&keys::TRUNK_CERT), file(&keys::TRUNK_KEY));
        let (origins, peers) = (self.list(&keys::TRUNK_ORIGINS), self.peers());
        self.no_shared_port();
        Some(Some(Trunk { addr: addr?, ca: ca?, cert: cert?, key: key?, origins: origins?, peers: peers? }))
    }

    fn peers(&mut self) -> Option<Vec<Peer>> {
        let own = self.raw.values.get(keys::POP.name).and_then(|raw| raw.texts.first());
        let mut peers: Vec<Peer> = Vec::new();
        let mut whole = true;
        for entry in self.raw.entries.get("peer").into_iter().flatten() {
            let (pop, addr) =
                (self.entry_required(entry, &keys::PEER_POP), self.entry_required(entry, &keys::PEER_ADDR));
            let price = self.entry_value(entry, &keys::PEER_PRICE);
            let cap = self.entry_value(entry, &keys::PEER_CAP);
            let (Some(pop), Some(addr), Some(price)) = (pop, addr, price) else {
                whole = false;
                continue;
            };
            if own.is_some_and(|own| own == pop.as_str()) {
                self.conflict(&entry.place, format!("[[peer]] {pop} is this PoP itself"));
            }
            if peers.iter().any(|p| p.pop == pop) {
                self.conflict(&entry.place, format!("[[peer]] {pop} is there twice"));
            }
            peers.push(Peer { pop, addr, price, cap });
        }
        whole.then_some(peers)
    }

    fn homes(&mut self) -> Option<Homes> {
        let mut homes: Vec<Home> = Vec::new();
        let mut whole = true;
        for entry in self.raw.entries.get("home").into_iter().flatten() {
            let prefix = self.entry_required(entry, &keys::HOME_PREFIX);
            let origin = self.entry_required(entry, &keys::HOME_ORIGIN);
            let (Some(prefix), Some(origin)) = (prefix, origin) else {
                whole = false;
                continue;
            };
            if let Some(other) = homes.iter().find(|h| h.prefix == prefix) {
                let text = format!("[[home]] {prefix} is there twice, for {} and {origin}", other.origin);
                self.conflict(&entry.place, text);
            }
            homes.push(Home { prefix, origin });
        }
        whole.then(|| Homes::new(homes))
    }

    fn feeds(&mut self) -> Option<Feeds> {
        let rtmp = if self.is_set(&keys::RTMP_ADDR) { Some(self.read(&keys::RTMP_ADDR)) } else { None };
        let mut sources: Vec<Feed> = Vec::new();
        let mut whole = true;
        let raw = self.raw;
        for entry in raw.entries.get("source").into_iter().flatten() {
            let (namespace, input) = (self.entry_required(entry, &keys::SOURCE_NAMESPACE), self.feed_input(entry));
            let (Some(namespace), Some(input)) = (namespace, input) else {
                whole = false;
                continue;
            };
            if namespace.fields().is_empty() {
                self.conflict(&entry.place, "this [[source]] has an empty `namespace`".to_owned());
            }
            if sources.iter().any(|s| s.namespace == namespace) {
                self.conflict(&entry.place, format!("[[source]] {namespace} is there twice"));
            }
            if input == FeedInput::Stdin && sources.iter().any(|s| s.input == FeedInput::Stdin) {
                self.conflict(&entry.place, format!("[[source]] {namespace} is the second one that reads `stdin`"));
            }
            sources.push(Feed { namespace, input });
        }
        let rtmp = match rtmp {
            Some(addr) => Some(addr?),
            None => None,
        };
        whole.then_some(Feeds { sources, rtmp })
    }

    fn feed_input(&mut self, entry: &Entry) -> Option<FeedInput> {
        let (looped, stdin) =
            (self.entry_value(entry, &keys::SOURCE_LOOP), self.entry_value(entry, &keys::SOURCE_STDIN));
        let (looped, stdin) = (looped?, stdin?);
        let file = value_of(&entry.values, &keys::SOURCE_FILE).map(|_| self.entry_path(entry, &keys::SOURCE_FILE));
        let command = value_of(&entry.values, &keys::SOURCE_COMMAND).map(|raw| self.command(raw));
        match (file, stdin, command) {
            (Some(path), Switch::Off, None) => Some(FeedInput::File { path: path?, looped }),
            (None, Switch::On, None) => Some(FeedInput::Stdin),
            (None, Switch::Off, Some(words)) => Some(FeedInput::Command(words?)),
            (Some(_) | None, Switch::On | Switch::Off, Some(_) | None) => {
                let text = "a [[source]] has exactly one of `file`, `stdin = true` and `command`";
                self.conflict(&entry.place, text.to_owned());
                None
            }
        }
    }

    fn command(&mut self, raw: &Raw) -> Option<Vec<String>> {
        let words: Option<Vec<Argument>> =
            raw.texts.iter().map(|text| self.parse(&keys::SOURCE_COMMAND, text, &raw.place)).collect();
        let words: Vec<String> = words?.iter().map(|word| word.as_str().to_owned()).collect();
        if words.first().is_none_or(String::is_empty) {
            self.conflict(&raw.place, "`source.command` names no program".to_owned());
            return None;
        }
        Some(words)
    }

    fn ingest(&mut self) -> Option<Ingest> {
        let (publishers, mode) = (self.read(&keys::INGEST_PUBLISHERS), self.read(&keys::INGEST_MODE));
        Some(Ingest { publishers: publishers?, mode: mode? })
    }

    fn limits(&mut self) -> Option<Limits> {
        let (memory, sessions) = (self.read(&keys::LIMIT_MEMORY), self.read(&keys::LIMIT_SESSIONS));
        let requests = self.read(&keys::LIMIT_REQUESTS);
        let (bytes, age) = (self.read(&keys::LIMIT_WINDOW_BYTES), self.read(&keys::LIMIT_WINDOW_AGE));
        let (groups, lag) = (self.read(&keys::LIMIT_WINDOW_GROUPS), self.read(&keys::LIMIT_VIEWER_MAX_LAG));
        let delivery_timeout = self.read(&keys::LIMIT_DELIVERY_TIMEOUT);
        let limits = Limits {
            memory_bytes: memory?.get(),
            sessions: sessions?.get(),
            requests_per_session: requests?.get(),
            window_bytes: bytes?.get(),
            window_age: age?.get(),
            window_groups: groups?.get(),
            viewer_max_lag_groups: lag?.get(),
            delivery_timeout: delivery_timeout?.get(),
        };
        if limits.window_bytes > limits.memory_bytes {
            let place = self.place(keys::LIMIT_WINDOW_BYTES.name);
            self.conflict(&place, "`limits.window_bytes` is more than `limits.memory`".to_owned());
        }
        Some(limits)
    }

    /// One UDP port cannot serve clients and trunks.
    fn no_shared_port(&mut self) {
        let text = |key: &str| self.raw.values.get(key).map(|raw| raw.texts.clone());
        let (listen, trunk) = (text(keys::LISTEN_ADDR.name), text(keys::TRUNK_ADDR.name));
        let any_port = trunk.iter().flatten().any(|addr| addr.ends_with(":0"));
        if listen == trunk && !any_port {
            let place = self.place(keys::TRUNK_ADDR.name);
            self.conflict(&place, "`trunk.addr` and `listen.addr` are the same address".to_owned());
        }
    }

    // Reading single keys.

    fn is_set<T>(&self, key: &Key<T>) -> bool {
        self.raw.values.contains_key(key.name)
    }

    fn is_chosen<T>(&self, key: &Key<T>) -> bool {
        self.place(key.name) != Place::Default
    }

    fn place(&self, name: &str) -> Place {
        self.raw.values.get(name).map_or(Place::Default, |raw| raw.place.clone())
    }

    fn read<T: Value>(&mut self, key: &Key<T>) -> Option<T> {
        let raw = self.raw;
        raw.values.get(key.name).and_then(|raw| self.parse_one(key, raw))
    }

    fn required<T: Value>(&mut self, key: &Key<T>, why: &'static str) -> Option<T> {
        if self.is_set(key) { self.read(key) } else { self.missing(key.name, why) }
    }

    fn list<T: Value>(&mut self, key: &Key<T>) -> Option<Vec<T>> {
        let Some(raw) = self.raw.values.get(key.name) else {
            return Some(Vec::new());
        };
        let parsed: Vec<Option<T>> = raw.texts.iter().map(|text| self.parse(key, text, &raw.place)).collect();
        parsed.into_iter().collect()
    }

    fn path(&mut self, key: &Key<PathBuf>) -> Option<PathBuf> {
        debug_assert!(keys::find(key.name).is_some_and(|spec| spec.shape == Shape::Path));
        let path = self.read(key)?;
        let from_file = matches!(self.place(key.name), Place::Line(_));
        Some(if from_file { self.folder.join(path) } else { path })
    }

    fn entry_value<T: Value>(&mut self, entry: &Entry, key: &Key<T>) -> Option<T> {
        match value_of(&entry.values, key) {
            Some(raw) => self.parse_one(key, raw),
            None => T::parse(keys::find(key.name)?.default?),
        }
    }

    fn entry_path(&mut self, entry: &Entry, key: &Key<PathBuf>) -> Option<PathBuf> {
        let from_file = matches!(entry.place, Place::Line(_));
        let path = self.entry_value(entry, key)?;
        Some(if from_file { self.folder.join(path) } else { path })
    }

    fn entry_required<T: Value>(&mut self, entry: &Entry, key: &Key<T>) -> Option<T> {
        if value_of(&entry.values, key).is_none() {
            let (section, leaf) = key.name.split_once('.')?;
            let what = Wrong::Incomplete { section, leaf, allowed: T::allowed() };
            self.problems.push(Problem { place: entry.place.clone(), what });
            return None;
        }
        self.entry_value(entry, key)
    }

    fn parse_one<T: Value>(&mut self, key: &Key<T>, raw: &Raw) -> Option<T> {
        self.parse(key, raw.texts.last()?, &raw.place)
    }

    fn parse<T: Value>(&mut self, key: &Key<T>, text: &str, place: &Place) -> Option<T> {
        let value = T::parse(text);
        if value.is_none() {
            let what = Wrong::Value { key: key.name, value: text.to_owned(), allowed: T::allowed() };
            self.problems.push(Problem { place: place.clone(), what });
        }
        value
    }

    fn missing<T>(&mut self, key: &'static str, why: &'static str) -> Option<T> {
        let what = Wrong::Missing { key, why, flag: keys::flag_name(key), env: keys::env_name(key) };
        self.problems.push(Problem { place: Place::Default, what });
        None
    }

    fn conflict(&mut self, place: &Place, text: String) {
        self.problems.push(Problem { place: place.clone(), what: Wrong::Conflict(text) });
    }
}

fn value_of<'a, T>(values: &'a Values, key: &Key<T>) -> Option<&'a Raw> {
    values.get(key.name)
}
