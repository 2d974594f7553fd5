//! What is wrong with a scenario: all of it at once, each problem with its line and its cure.

use std::fmt;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line, counted from 1.
    pub line: usize,
    /// What.
    pub what: Wrong,
}

/// What is wrong at a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Wrong {
    /// The file is not TOML.
    #[error("not TOML: {0}")]
    Syntax(String),
    /// No such key.
    #[error("unknown key `{key}` in {section}{}", did_you_mean(.nearest.as_deref()))]
    UnknownKey {
        /// The key as it stands there.
        key: String,
        /// Where it stands, such as `[node.edge]`.
        section: String,
        /// The known one that it resembles most.
        nearest: Option<String>,
    },
    /// A value that is not allowed.
    #[error("`{key}` = {value} is not allowed: expected {allowed}")]
    Value {
        /// The key.
        key: String,
        /// The value as it stands there.
        value: String,
        /// What is allowed.
        allowed: String,
    },
    /// A key that is needed.
    #[error("{section} has no `{key}`: expected {allowed}")]
    Missing {
        /// Where it should stand.
        section: String,
        /// The key.
        key: String,
        /// What is allowed.
        allowed: String,
    },
    /// A name that nothing has.
    #[error("there is no {kind} `{name}`{}", did_you_mean(.nearest.as_deref()))]
    UnknownName {
        /// What was looked for.
        kind: &'static str,
        /// The name as it stands there.
        name: String,
        /// The known one that it resembles most.
        nearest: Option<String>,
    },
    /// Values that are right alone and wrong together.
    #[error("{0}")]
    Conflict(String),
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!(", did you mean `{name}`?"))
}

/// Everything that is wrong with one scenario, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    file: String,
    list: Vec<Problem>,
}

impl Problems {
    /// Orders `list` by line.
    pub(super) fn new(file: &str, mut list: Vec<Problem>) -> Self {
        list.sort_by_key(|problem| problem.line);
        list.dedup();
        Self { file: file.to_owned(), list }
    }

    /// The problems, at least one.
    #[must_use]
    pub fn list(&self) -> &[Problem] {
        &self.list
    }
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    /// One line each: `flap.toml:7: unknown key ...`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.list.iter().enumerate() {
            let end = if at == 0 { "" } else { "\n" };
            write!(f, "{end}{}:{}: {}", self.file, problem.line, problem.what)?;
        }
        Ok(())
    }
}

/// The candidate that `word` resembles most, if it resembles one: at most a third of its letters differ.
pub(super) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<String> {
    candidates
        .map(|candidate| (edit_distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate.to_owned())
}

/// Insertions, deletions and substitutions that turn one word into the other; a swap of neighbours counts as one.
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
    fn only_what_resembles_is_suggested() {
        let known = || ["delay", "duplicate", "queue"].into_iter();
        assert_eq!(nearest("dealy", known()).as_deref(), Some("delay"));
        assert_eq!(nearest("duplicates", known()).as_deref(), Some("duplicate"));
        assert_eq!(nearest("bandwidth", known()), None);
    }
}
