//! The flags of the keys: one per key, made from the table.

use super::keys::{self, REPEATED, Shape, Spec};
use super::raw::Texts;
use clap::{Arg, ArgAction, ArgMatches, Command};

/// Flags that set keys: `--listen-addr` for `listen.addr`, `--peer pop=..,addr=..` for a `[[peer]]`.
#[derive(Debug, Clone, Default)]
pub struct KeyFlags(Texts);

impl KeyFlags {
    /// Sets `key` (a key's full name, or a repeated section) as its flag would.
    ///
    /// Unknown names are ignored: flags come from the table.
    #[must_use]
    pub fn with(mut self, key: &str, text: &str) -> Self {
        if let Some(name) = names().find(|name| *name == key) {
            self.0.entry(name).or_default().push(text.to_owned());
        }
        self
    }

    pub(super) fn into_texts(self) -> Texts {
        self.0
    }
}

/// Everything that has a flag: keys outside repeated sections, and those sections.
fn names() -> impl Iterator<Item = &'static str> {
    keys::ALL.iter().filter(|spec| !spec.is_repeated()).map(|spec| spec.name).chain(REPEATED)
}

fn key_arg(spec: &'static Spec) -> Arg {
    let help = spec.doc.trim();
    let short = help.split_once(". ").map_or(help, |(first, _)| first).trim_end_matches('.');
    let value = if spec.shape == Shape::Path { "PATH".to_owned() } else { spec.leaf().to_uppercase() };
    let action = if spec.shape == Shape::List { ArgAction::Append } else { ArgAction::Set };
    let arg = Arg::new(spec.name).long(keys::flag_name(spec.name)).value_name(value).help(short.to_owned());
    arg.long_help(format!("{help}\nAllowed: {}", (spec.allowed)())).action(action)
}

fn section_arg(section: &'static str) -> Arg {
    let leaves: Vec<_> = keys::ALL.iter().filter(|s| s.section() == Some(section)).map(Spec::leaf).collect();
    let entry = leaves.iter().map(|leaf| format!("{leaf}=..")).collect::<Vec<_>>().join(",");
    Arg::new(section)
        .long(section)
        .value_name(entry)
        .help(format!("One [[{section}]]; replaces those of the file"))
        .action(ArgAction::Append)
}

impl clap::Args for KeyFlags {
    fn augment_args(command: Command) -> Command {
        let keys = keys::ALL.iter().filter(|spec| !spec.is_repeated()).map(key_arg);
        let args = keys.chain(REPEATED.into_iter().map(section_arg));
        command.args(args.map(|arg| arg.help_heading("Configuration keys").hide_short_help(true)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for KeyFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for name in names() {
            if let Some(texts) = matches.get_many::<String>(name) {
                self.0.insert(name, texts.cloned().collect());
            }
        }
        Ok(())
    }
}
