//! Configuration before it is checked: the texts of each key with their places, from file, environment and flags.
//!
//! This is not a serde struct with `deny_unknown_fields`: that would stop at the first mistake, would know no lines for
//! the others, and would declare every key a second time.

use super::keys::{self, REPEATED, Shape, Spec};
use super::problem::{Place, Problem, Wrong, nearest};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One value as it stands at its place: one text, or those of a list.
#[derive(Debug, Clone)]
pub(super) struct Raw {
    pub(super) texts: Vec<String>,
    pub(super) place: Place,
}

/// Values by the key's full name.
pub(super) type Values = BTreeMap<&'static str, Raw>;

/// One `[[peer]]` or `[[home]]`.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) place: Place,
    pub(super) values: Values,
}

/// What one source sets, or all of them together.
#[derive(Debug, Clone, Default)]
pub(super) struct RawConfig {
    pub(super) values: Values,
    /// By section. A source that sets such a section replaces it as a whole.
    pub(super) entries: BTreeMap<&'static str, Vec<Entry>>,
}

/// Texts of flags or variables, by key or repeated section.
pub(super) type Texts = BTreeMap<&'static str, Vec<String>>;

impl RawConfig {
    /// Flag over environment over file over default: the only place that knows the order.
    pub(super) fn effective(flags: Self, env: Self, file: Self) -> Self {
        let mut effective = Self::defaults();
        for layer in [file, env, flags] {
            effective.values.extend(layer.values);
            effective.entries.extend(layer.entries);
        }
        effective
    }

    fn defaults() -> Self {
        let of = |spec: &Spec| {
            let texts = vec![spec.default?.to_owned()];
            (!spec.is_repeated()).then_some((spec.name, Raw { texts, place: Place::Default }))
        };
        Self { values: keys::ALL.iter().filter_map(of).collect(), entries: BTreeMap::new() }
    }

    /// What flags or environment variables set; `place` names them.
    pub(super) fn from_texts(texts: Texts, place: fn(&str) -> Place, problems: &mut Vec<Problem>) -> Self {
        let mut layer = Self::default();
        for (name, texts) in texts {
            let place = place(name);
            if REPEATED.contains(&name) {
                let entries = texts.iter().map(|t| entry_from_text(name, t, &place, problems));
                layer.entries.insert(name, entries.collect());
            } else {
                layer.values.insert(name, Raw { texts, place });
            }
        }
        layer
    }

    /// What a file sets.
    pub(super) fn from_toml(text: &str, problems: &mut Vec<Problem>) -> Self {
        let (document, errors) = DeTable::parse_recoverable(text);
        let lines = Lines(text);
        for error in &errors {
            let place = Place::Line(error.span().map_or(1, |span| lines.line(&span)));
            problems.push(Problem { place, what: Wrong::Syntax(error.message().trim().replace('\n', ", ")) });
        }
        let mut layer = Self::default();
        // After an error of syntax the rest is a guess; its unknown keys would only distract.
        if errors.is_empty() {
            FileReader { lines, problems, layer: &mut layer }.read(document.get_ref());
        }
        layer
    }
}

/// The variables of `env` that are keys. An empty one counts as not set: that is how compose files leave one out.
pub(super) fn texts_of_env(env: &BTreeMap<String, String>) -> Texts {
    let get = |name: &str| env.get(&keys::env_name(name)).filter(|text| !text.is_empty());
    let split = |text: &str, at: char| text.split(at).map(|t| t.trim().to_owned()).collect();
    let of_key = |spec: &Spec| {
        let text = get(spec.name)?;
        Some((spec.name, if spec.shape == Shape::List { split(text, ',') } else { vec![text.clone()] }))
    };
    let single = keys::ALL.iter().filter(|spec| !spec.is_repeated()).filter_map(of_key);
    let repeated = REPEATED.iter().filter_map(|section| Some((*section, split(get(section)?, ';'))));
    single.chain(repeated).collect()
}

/// An entry of a repeated section in one text: `pop=ams-origin,addr=198.51.100.7:4444`.
fn entry_from_text(section: &'static str, text: &str, place: &Place, problems: &mut Vec<Problem>) -> Entry {
    let mut values = Values::new();
    for part in longhand(section, text).split(',') {
        let (leaf, value) = part.split_once('=').unwrap_or((part, ""));
        let (leaf, value) = (leaf.trim(), value.trim());
        match keys::find(&format!("{section}.{leaf}")) {
            Some(spec) => {
                let texts = match spec.shape {
                    Shape::List => value.split_whitespace().map(str::to_owned).collect(),
                    Shape::One | Shape::Path => vec![value.to_owned()],
                };
                values.insert(spec.name, Raw { texts, place: place.clone() });
            }
            None => problems.push(Problem { place: place.clone(), what: unknown_key(Some(section), leaf) }),
        }
    }
    Entry { place: place.clone(), values }
}

/// `live/x=x.mp4` is short for `namespace=live/x,file=x.mp4`.
fn longhand<'a>(section: &str, text: &'a str) -> Cow<'a, str> {
    match text.split_once('=') {
        Some((namespace, file))
            if section == "source" && keys::find(&format!("source.{}", namespace.trim())).is_none() =>
        {
            Cow::Owned(format!("namespace={namespace},file={file}"))
        }
        Some(_) | None => Cow::Borrowed(text),
    }
}

/// Unknown `name` in `section`: suggests within the section first, then anywhere.
fn unknown_key(section: Option<&str>, name: &str) -> Wrong {
    let full = section.map_or_else(|| name.to_owned(), |s| format!("{s}.{name}"));
    let leaves = keys::ALL.iter().filter(|spec| spec.section() == section).map(Spec::leaf);
    let sections = keys::ALL.iter().filter(|_| section.is_none()).filter_map(Spec::section);
    let elsewhere = || {
        let same_leaf = keys::ALL.iter().find(|spec| spec.leaf() == name).map(|spec| spec.name);
        same_leaf.or_else(|| nearest(&full, keys::ALL.iter().map(|spec| spec.name)))
    };
    let nearest = nearest(name, leaves.chain(sections)).or_else(elsewhere).map(str::to_owned);
    Wrong::UnknownKey { key: full, nearest }
}

/// Byte offsets to line numbers.
struct Lines<'a>(&'a str);

impl Lines<'_> {
    fn line(&self, span: &Range<usize>) -> usize {
        self.0.bytes().take(span.start).filter(|b| *b == b'\n').count() + 1
    }
}

/// Walks the document and takes what is known.
struct FileReader<'a> {
    lines: Lines<'a>,
    problems: &'a mut Vec<Problem>,
    layer: &'a mut RawConfig,
}

impl FileReader<'_> {
    fn read(&mut self, document: &DeTable<'_>) {
        for (name, value) in document {
            let (name, place) = (name.get_ref().as_ref(), Place::Line(self.lines.line(&name.span())));
            if let Some(section) = REPEATED.iter().find(|s| **s == name) {
                self.repeated(section, value);
            } else if keys::ALL.iter().any(|spec| spec.section() == Some(name)) {
                self.section(name, value, place);
            } else if let Some(spec) = keys::find(name).filter(|spec| spec.section().is_none()) {
                let raw = self.scalar(spec, value);
                self.layer.values.extend(raw);
            } else {
                self.problems.push(Problem { place, what: unknown_key(None, name) });
            }
        }
    }

    fn section(&mut self, section: &str, value: &Spanned<DeValue<'_>>, place: Place) {
        if let Some(table) = value.get_ref().as_table() {
            let values = self.table(section, table);
            self.layer.values.extend(values);
        } else {
            self.wrong_type(place, format!("[{section}]"), value, "a table");
        }
    }

    fn repeated(&mut self, section: &'static str, value: &Spanned<DeValue<'_>>) {
        let place = Place::Line(self.lines.line(&value.span()));
        let Some(array) = value.get_ref().as_array() else {
            return self.wrong_type(
                place,
                format!("[[{section}]]"),
                value,
                "an array of tables, written with two brackets",
            );
        };
        let mut entries = Vec::new();
        for item in array {
            let place = Place::Line(self.lines.line(&item.span()));
            if let Some(table) = item.get_ref().as_table() {
                entries.push(Entry { place, values: self.table(section, table) });
            } else {
                self.wrong_type(place, format!("[[{section}]]"), item, "a table");
            }
        }
        self.layer.entries.insert(section, entries);
    }

    fn table(&mut self, section: &str, table: &DeTable<'_>) -> Values {
        let mut values = Values::new();
        for (leaf, value) in table {
            match keys::find(&format!("{section}.{}", leaf.get_ref())) {
                Some(spec) => values.extend(self.scalar(spec, value)),
                None => {
                    let place = Place::Line(self.lines.line(&leaf.span()));
                    self.problems.push(Problem { place, what: unknown_key(Some(section), leaf.get_ref()) });
                }
            }
        }
        values
    }

    /// The value of a known key: one text, or a list of them where the key takes one.
    fn scalar(&mut self, spec: &'static Spec, value: &Spanned<DeValue<'_>>) -> Option<(&'static str, Raw)> {
        let place = Place::Line(self.lines.line(&value.span()));
        let texts = match (spec.shape, value.get_ref().as_array()) {
            (Shape::List, Some(array)) => array.iter().map(|item| text_of(item.get_ref())).collect(),
            (Shape::List | Shape::One | Shape::Path, _) => text_of(value.get_ref()).map(|text| vec![text]),
        };
        if texts.is_none() {
            let expected = if spec.shape == Shape::List { "a list of values" } else { "one value" };
            self.wrong_type(place.clone(), spec.name.to_owned(), value, expected);
        }
        Some((spec.name, Raw { texts: texts?, place }))
    }

    fn wrong_type(&mut self, place: Place, key: String, value: &Spanned<DeValue<'_>>, expected: &'static str) {
        let found = match value.get_ref() {
            DeValue::Table(_) => "a table",
            DeValue::Array(_) => "a list",
            DeValue::Datetime(_) => "a date",
            DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) => "one value",
        };
        self.problems.push(Problem { place, what: Wrong::Type { key, found, expected } });
    }
}

/// A scalar as text, so that file, environment and flags share one parser per type.
fn text_of(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(match number.radix() {
            10 => number.as_str().to_owned(),
            radix => i64::from_str_radix(number.as_str(), radix).ok()?.to_string(),
        }),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(flag) => Some(flag.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}
