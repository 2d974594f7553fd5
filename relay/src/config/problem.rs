//! What is wrong with a configuration: all of it at once, each problem with its place and its cure.

use std::fmt;

/// Where a value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A flag of the command line, such as `--listen-addr`.
    Flag(String),
    /// An environment variable, such as `SLUICE_LISTEN_ADDR`.
    Env(String),
    /// A line of the file, counted from 1.
    Line(usize),
    /// Nowhere: the built-in default, or a value that is missing.
    Default,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What.
    pub what: Wrong,
}

impl Problem {
    const fn missing(&self) -> Option<&'static str> {
        if let Wrong::Missing { key, .. } = self.what { Some(key) } else { None }
    }

    fn mistyped(&self) -> Option<&str> {
        if let Wrong::Type { key, .. } = &self.what { Some(key) } else { None }
    }
}

/// What is wrong at a [`Place`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Wrong {
    /// The file is not TOML.
    #[error("not TOML: {0}")]
    Syntax(String),
    /// No such key or section.
    #[error("unknown key `{key}`{}", did_you_mean(.nearest.as_deref()))]
    UnknownKey {
        /// The key as it stands there.
        key: String,
        /// The known one that it resembles most.
        nearest: Option<String>,
    },
    /// A value that is not allowed.
    #[error("`{key}` = {value:?} is not allowed: expected {allowed}")]
    Value {
        /// The key.
        key: &'static str,
        /// The value as it stands there.
        value: String,
        /// What is allowed.
        allowed: String,
    },
    /// A value of the wrong TOML type.
    #[error("`{key}` is {found}: expected {expected}")]
    Type {
        /// The key or section.
        key: String,
        /// The type found.
        found: &'static str,
        /// The type expected.
        expected: &'static str,
    },
    /// A key without a default that nobody set.
    #[error("`{key}` is missing ({why}): set it in the file, as --{flag} or as {env}")]
    Missing {
        /// The key.
        key: &'static str,
        /// Why it is needed.
        why: &'static str,
        /// Its flag.
        flag: String,
        /// Its environment variable.
        env: String,
    },
    /// A key that an entry of a repeated section lacks.
    #[error("this [[{section}]] has no `{leaf}`: expected {allowed}")]
    Incomplete {
        /// The section.
        section: &'static str,
        /// The key within it.
        leaf: &'static str,
        /// What is allowed.
        allowed: String,
    },
    /// Values that are right alone and wrong together.
    #[error("{0}")]
    Conflict(String),
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |n| format!(", did you mean `{n}`?"))
}

/// Everything that is wrong with one configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    /// The file's name, where there is one.
    file: Option<String>,
    /// In the order of the file, then the rest.
    list: Vec<Problem>,
}

impl Problems {
    /// Orders `list` by line, then what stands elsewhere, and leaves out what is "missing" only because of another
    /// problem: in a file that cannot be read, or for a value of the wrong type.
    pub(super) fn new(file: Option<String>, mut list: Vec<Problem>) -> Self {
        let unread = list.iter().any(|p| matches!(p.what, Wrong::Syntax(_)));
        let mistyped: Vec<String> = list.iter().filter_map(|p| p.mistyped()).map(str::to_owned).collect();
        list.retain(|p| p.missing().is_none_or(|key| !unread && !mistyped.iter().any(|wrong| wrong == key)));
        list.sort_by_key(|p| if let Place::Line(line) = p.place { line } else { usize::MAX });
        Self { file, list }
    }

    /// The problems, at least one.
    #[must_use]
    pub fn list(&self) -> &[Problem] {
        &self.list
    }
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    /// One line each: `fra1.toml:7: unknown key ...`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.list.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            match &problem.place {
                Place::Flag(flag) => write!(f, "{flag}: ")?,
                Place::Env(name) => write!(f, "{name}: ")?,
                Place::Line(line) => write!(f, "{}:{line}: ", self.file.as_deref().unwrap_or("config"))?,
                Place::Default => f.write_str("config: ")?,
            }
            write!(f, "{}", problem.what)?;
        }
        Ok(())
    }
}

/// The candidate that `word` resembles most, if it resembles one: at most a third of its letters differ.
pub(super) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|candidate| (edit_distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, substitutions and swaps of neighbours that turn one word into the other.
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut older: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, cb) in b.iter().enumerate() {
            let mut cost = (row[j] + usize::from(ca != cb)).min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && *ca == b[j - 1] && a[i - 1] == *cb {
                cost = cost.min(older[j - 1] + 1);
            }
            next.push(cost);
        }
        older = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edit_distance_counts_single_mistakes() {
        assert_eq!(edit_distance("keepalve", "keepalive"), 1);
        assert_eq!(edit_distance("adrr", "addr"), 1);
        assert_eq!(edit_distance("aadr", "addr"), 1);
        assert_eq!(edit_distance("", "addr"), 4);
        assert_eq!(edit_distance("same", "same"), 0);
    }

    #[test]
    fn only_what_resembles_is_suggested() {
        let known = ["addr", "cert", "advertise"];
        assert_eq!(nearest("adr", known.into_iter()), Some("addr"));
        assert_eq!(nearest("advertize", known.into_iter()), Some("advertise"));
        assert_eq!(nearest("window", known.into_iter()), None);
    }
}
