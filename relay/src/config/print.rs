//! Effective values with their sources.

use super::keys::{self, Shape, Spec};
use super::problem::Place;
use super::raw::{Raw, RawConfig, Values};
use serde_json::{Map, Value as Json, json};
use std::fmt;

/// Every key's effective value and where it comes from. Printed, it is TOML that loads to the same configuration.
#[derive(Debug, Clone)]
pub struct Effective {
    pub(super) file: Option<String>,
    pub(super) raw: RawConfig,
}

impl Effective {
    /// One object: key to value and source; repeated sections are arrays of such.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let object = |values: &Values| {
            let one = |(name, raw): (&&str, &Raw)| {
                let spec = keys::find(name)?;
                Some(((*name).to_owned(), json!({ "value": json_value(spec, raw), "source": self.source(&raw.place) })))
            };
            values.iter().filter_map(one).collect::<Map<_, _>>()
        };
        let mut root = object(&self.raw.values);
        for (section, entries) in &self.raw.entries {
            root.insert((*section).to_owned(), entries.iter().map(|e| Json::Object(object(&e.values))).collect());
        }
        Json::Object(root)
    }

    fn source(&self, place: &Place) -> String {
        match place {
            Place::Flag(flag) => flag.clone(),
            Place::Env(name) => name.clone(),
            Place::Line(line) => format!("{}:{line}", self.file.as_deref().unwrap_or("config")),
            Place::Default => "default".to_owned(),
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, name: &str, spec: &Spec, raw: &Raw) -> fmt::Result {
        let setting = format!("{name} = {}", json_value(spec, raw));
        writeln!(f, "{setting:<48} # {}", self.source(&raw.place))
    }
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for spec in keys::ALL.iter().filter(|spec| !spec.is_repeated()) {
            match self.raw.values.get(spec.name) {
                Some(raw) => self.write(f, spec.name, spec, raw)?,
                None => writeln!(f, "# {} is not set", spec.name)?,
            }
        }
        for (section, entries) in &self.raw.entries {
            for entry in entries {
                writeln!(f, "\n[[{section}]]")?;
                let mut known = entry.values.iter().filter_map(|(name, raw)| keys::find(name).zip(Some(raw)));
                known.try_for_each(|(spec, raw)| self.write(f, spec.leaf(), spec, raw))?;
            }
        }
        Ok(())
    }
}

/// As a JSON value, which for strings, numbers and arrays of them is a TOML value too.
fn json_value(spec: &Spec, raw: &Raw) -> Json {
    match spec.shape {
        Shape::List => Json::from(raw.texts.clone()),
        Shape::One | Shape::Path => raw.texts.last().map_or(Json::Null, |text| match text.parse::<u64>() {
            Ok(number) => Json::from(number),
            Err(_) => Json::from(text.clone()),
        }),
    }
}
