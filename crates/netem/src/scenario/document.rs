//! A TOML document as sections that remember which keys were asked for: what nobody asked for is unknown.

use super::problem::{Problem, Wrong, nearest};
use super::value::Kind;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Byte offsets to line numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lines<'a>(pub(super) &'a str);

impl Lines<'_> {
    pub(super) fn line(self, span: &Range<usize>) -> usize {
        self.0.bytes().take(span.start).filter(|byte| *byte == b'\n').count() + 1
    }
}

/// One table of the file.
#[derive(Debug)]
pub(super) struct Section<'a> {
    /// As messages name it, such as `[node.edge]`.
    pub(super) title: String,
    /// Where it begins.
    pub(super) line: usize,
    table: Option<&'a DeTable<'a>>,
    lines: Lines<'a>,
    asked: Vec<&'static str>,
    /// Names that are no keys of ours and still right.
    taken: Vec<String>,
    pub(super) problems: Vec<Problem>,
}

impl<'a> Section<'a> {
    pub(super) const fn new(title: String, line: usize, table: &'a DeTable<'a>, lines: Lines<'a>) -> Self {
        Self { title, line, table: Some(table), lines, asked: Vec::new(), taken: Vec::new(), problems: Vec::new() }
    }

    /// The value of `key`, if it is set.
    pub(super) fn value(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.push(key);
        self.table?.get(key)
    }

    /// Whether `key` is set; does not count as asking for it.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// The line of `key`, or of the section where it is not set.
    pub(super) fn line_of(&self, key: &str) -> usize {
        self.table.and_then(|table| table.get(key)).map_or(self.line, |value| self.lines.line(&value.span()))
    }

    /// The value of `key`; `None` where it is not set, or wrong, which is noted.
    pub(super) fn read<T>(&mut self, key: &'static str, kind: &Kind<T>) -> Option<T> {
        let value = self.value(key)?;
        let parsed = text_of(value.get_ref()).and_then(|text| (kind.parse)(&text));
        if parsed.is_none() {
            self.not_allowed(key, value, kind.allowed);
        }
        parsed
    }

    /// The same for a key that must be set.
    pub(super) fn required<T>(&mut self, key: &'static str, kind: &Kind<T>) -> Option<T> {
        if !self.has(key) {
            self.missing(key, kind.allowed);
        }
        self.read(key, kind)
    }

    /// A list of values; one value alone is a list of one.
    pub(super) fn list<T>(&mut self, key: &'static str, kind: &Kind<T>) -> Option<Vec<T>> {
        let value = self.value(key)?;
        let single = || vec![value];
        let items = value.get_ref().as_array().map_or_else(single, |array| array.iter().collect());
        let parse = |item: &Spanned<DeValue<'_>>| text_of(item.get_ref()).and_then(|text| (kind.parse)(&text));
        let parsed: Option<Vec<T>> = items.into_iter().map(parse).collect();
        if parsed.is_none() {
            self.not_allowed(key, value, &format!("a list of: {}", kind.allowed));
        }
        parsed
    }

    /// The table `key`, titled `title`.
    pub(super) fn table(&mut self, key: &'static str, title: &str) -> Option<Self> {
        let value = self.value(key)?;
        self.sub(key, title, value)
    }

    /// Every table within the table `key`, by name: `[node.edge]`, `[node.viewers]`.
    pub(super) fn tables(&mut self, key: &'static str) -> Vec<(String, Self)> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let Some(table) = value.get_ref().as_table() else {
            self.not_allowed(key, value, &format!("tables, written [{key}.NAME]"));
            return Vec::new();
        };
        let mut found = Vec::new();
        for (name, value) in table {
            let title = format!("[{key}.{}]", name.get_ref());
            let line = self.lines.line(&name.span());
            if let Some(mut section) = self.sub(name.get_ref(), &title, value) {
                section.line = line;
                found.push((name.get_ref().to_string(), section));
            }
        }
        // The map is sorted by name; people think in the order of the file.
        found.sort_by_key(|(_, section)| section.line);
        found
    }

    /// Every table within this one, by name; titled `[key.NAME]`.
    pub(super) fn named_tables(&mut self, key: &str) -> Vec<(String, Self)> {
        let mut found = Vec::new();
        for (name, value) in self.table.into_iter().flatten() {
            if value.get_ref().as_table().is_some() {
                let title = format!("[{key}.{}]", name.get_ref());
                self.taken.push(name.get_ref().to_string());
                if let Some(mut section) = self.sub(name.get_ref(), &title, value) {
                    section.line = self.lines.line(&name.span());
                    found.push((name.get_ref().to_string(), section));
                }
            }
        }
        found
    }

    /// Every `[[key]]`.
    pub(super) fn entries(&mut self, key: &'static str) -> Vec<Self> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let Some(array) = value.get_ref().as_array() else {
            self.not_allowed(key, value, &format!("tables with two brackets, written [[{key}]]"));
            return Vec::new();
        };
        let title = format!("this [[{key}]]");
        array.iter().filter_map(|item| self.sub(key, &title, item)).collect()
    }

    fn sub(&mut self, key: &str, title: &str, value: &'a Spanned<DeValue<'a>>) -> Option<Self> {
        let line = self.lines.line(&value.span());
        match value.get_ref().as_table() {
            Some(table) => Some(Self::new(title.to_owned(), line, table, self.lines)),
            None => {
                self.not_allowed(key, value, "a table");
                None
            }
        }
    }

    /// Notes that `key` has a value that is not `allowed`.
    pub(super) fn not_allowed(&mut self, key: &str, value: &Spanned<DeValue<'_>>, allowed: &str) {
        let line = self.lines.line(&value.span());
        let value = match value.get_ref() {
            DeValue::Table(_) => "a table".to_owned(),
            DeValue::Array(_) => "a list".to_owned(),
            DeValue::Datetime(_) => "a date".to_owned(),
            DeValue::String(text) => format!("{text:?}"),
            other @ (DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_)) => {
                text_of(other).unwrap_or_default()
            }
        };
        let what = Wrong::Value { key: key.to_owned(), value, allowed: allowed.to_owned() };
        self.problems.push(Problem { line, what });
    }

    /// Notes that `key` is needed.
    pub(super) fn missing(&mut self, key: &str, allowed: &str) {
        let (section, key, allowed) = (self.title.clone(), key.to_owned(), allowed.to_owned());
        self.problems.push(Problem { line: self.line, what: Wrong::Missing { section, key, allowed } });
    }

    /// Notes what is wrong only together, at the line of `key`.
    pub(super) fn conflict(&mut self, key: &str, text: String) {
        let line = self.line_of(key);
        self.problems.push(Problem { line, what: Wrong::Conflict(text) });
    }

    /// Notes a name at the line of `key` that nothing has.
    pub(super) fn unknown_name<'n>(
        &mut self,
        key: &str,
        kind: &'static str,
        name: &str,
        known: impl Iterator<Item = &'n str>,
    ) {
        let what = Wrong::UnknownName { kind, name: name.to_owned(), nearest: nearest(name, known) };
        self.problems.push(Problem { line: self.line_of(key), what });
    }

    /// Ends the reading: what was not asked for is unknown.
    pub(super) fn finish(mut self, problems: &mut Vec<Problem>) {
        for (key, _) in self.table.into_iter().flatten() {
            let name: &str = key.get_ref();
            if !self.asked.contains(&name) && !self.taken.iter().any(|taken| taken == name) {
                let nearest = nearest(name, self.asked.iter().copied());
                let what = Wrong::UnknownKey { key: name.to_owned(), section: self.title.clone(), nearest };
                self.problems.push(Problem { line: self.lines.line(&key.span()), what });
            }
        }
        problems.append(&mut self.problems);
    }
}

/// A scalar as text, so that numbers and texts with a unit share one parser per kind.
pub(super) fn text_of(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(match number.radix() {
            10 => number.as_str().replace('_', ""),
            radix => i64::from_str_radix(number.as_str(), radix).ok()?.to_string(),
        }),
        DeValue::Float(number) => Some(number.as_str().replace('_', "")),
        DeValue::Boolean(flag) => Some(flag.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}
