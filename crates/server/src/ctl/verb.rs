//! The verbs, and what is said of them.

use std::io::Write;

use super::failure::{Exit, Failure};
use super::line::Line;
use super::output::Outcome;
use super::{
    Peer, certificates, checks, connections, definitions, limits, objects, permissions, status,
    users, vhosts,
};

/// Something that can be asked for.
pub(super) struct Verb {
    pub(super) name: &'static str,
    /// With its arguments, as in the help of `rabbitmqctl`.
    pub(super) usage: &'static str,
    pub(super) about: &'static str,
    /// How many arguments there are at the least and at the most.
    pub(super) arguments: (usize, usize),
    /// What may be asked of it, for those whose arguments are names of columns.
    pub(super) columns: &'static [&'static str],
    /// Options that it has of its own.
    pub(super) flags: &'static [&'static str],
    /// Also of a data directory on which no server runs.
    pub(super) works_at_rest: bool,
    /// How long it may take unless something else is said; none for as long as it takes.
    pub(super) timeout_s: Option<u64>,
    /// An argument may be a password.
    pub(super) hides_arguments: bool,
    /// What is said before it is done.
    pub(super) banner: fn(&Line) -> Option<String>,
    pub(super) run: fn(&Line, &mut Peer<'_>) -> Result<Outcome, Failure>,
}

impl std::fmt::Debug for Verb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Verb {
    /// A verb without arguments; the rest is set with `..`.
    pub(super) const PLAIN: Self = Self {
        name: "",
        usage: "",
        about: "",
        arguments: (0, 0),
        columns: &[],
        flags: &[],
        works_at_rest: false,
        timeout_s: None,
        hides_arguments: false,
        banner: |_| None,
        run: |_, _| Ok(Outcome::Done),
    };

    /// Its own name of an option.
    pub(super) fn flag(&self, word: &str) -> Option<&'static str> {
        self.flags.iter().copied().find(|flag| *flag == word)
    }
}

/// All of them, by what they are about.
const GROUPS: [(&str, &[Verb]); 10] = [
    ("Users", users::VERBS),
    ("Access control", permissions::VERBS),
    ("Virtual hosts", vhosts::VERBS),
    ("Limits", limits::VERBS),
    ("Queues, exchanges, bindings and consumers", objects::VERBS),
    ("Connections", connections::VERBS),
    ("Certificates", certificates::VERBS),
    ("Definitions", definitions::VERBS),
    ("Server", status::VERBS),
    ("Checks", checks::VERBS),
];

fn all() -> impl Iterator<Item = &'static Verb> {
    GROUPS.iter().flat_map(|(_, verbs)| verbs.iter())
}

/// The verb of this name.
///
/// # Errors
/// When there is none; the text says what comes close to it.
pub(super) fn find(name: &str) -> Result<&'static Verb, Failure> {
    all().find(|verb| verb.name == name).ok_or_else(|| {
        let mut text = format!("\nCommand '{name}' not found. ");
        match nearest(name) {
            Some(near) => text.push_str(&format!("\nDid you mean '{near}'? \n")),
            None => {
                text.push('\n');
                text.push_str(&overview());
            }
        }
        Failure::plain(Exit::Usage, text)
    })
}

/// The verb that differs least, if it differs little.
fn nearest(name: &str) -> Option<&'static str> {
    let far = name.len() / 3 + 1;
    all()
        .map(|verb| (distance(verb.name.as_bytes(), name.as_bytes()), verb.name))
        .filter(|(distance, _)| *distance <= far)
        .min()
        .map(|(_, near)| near)
}

/// How many letters have to be put in, taken out or changed.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

const OPTIONS: &str = "\
Options, which may stand before and behind the verb

   -p, --vhost <vhost>      the virtual host; / unless set
   -q, --quiet              says nothing but what was asked for
   -s, --silent             the same, and tables without their header row
   --no-table-headers       tables without their header row
   --formatter <formatter>  table, pretty_table, csv or json
   -t, --timeout <seconds>  how long an answer may take, or infinity
   --data-dir <dir>         the server that runs on this data directory (LEVERET_DATA_DIR)
   --ctl-socket <path>      the server with this control socket (LEVERET_CTL_SOCKET)
   -n, --node <name>        accepted; the socket says which server
   -l, --longnames          accepted, has no meaning
";

/// All verbs with a line about each.
pub(super) fn overview() -> String {
    let mut text = "\nUsage\n\nleveret ctl [<options>] <verb> [<arguments>]\n".to_owned();
    for (group, verbs) in GROUPS {
        text.push_str(&format!("\n{group}:\n\n"));
        for verb in verbs {
            text.push_str(&format!("   {:<29} {}\n", verb.name, verb.about));
        }
    }
    text.push('\n');
    text.push_str(OPTIONS);
    text
}

/// Says what can be asked for.
///
/// # Errors
/// When there is no such verb, or nobody reads it.
pub(super) fn help(about: Option<&str>, out: &mut impl Write) -> Result<(), Failure> {
    match about {
        None => write!(out, "{}", overview())?,
        Some(name) => {
            let verb = find(name)?;
            writeln!(
                out,
                "\nUsage\n\nleveret ctl {}\n\n{}.",
                verb.usage, verb.about
            )?;
            if !verb.columns.is_empty() {
                writeln!(out, "\nColumns\n\n{}", verb.columns.join(", "))?;
            }
            write!(out, "\n{OPTIONS}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_is_there_once_and_says_what_it_is() {
        let mut names: Vec<_> = all().map(|verb| verb.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        for verb in all() {
            assert!(verb.usage.starts_with(verb.name), "{}", verb.name);
            assert!(
                !verb.about.is_empty() && !verb.about.ends_with('.'),
                "{}",
                verb.name
            );
            assert!(verb.arguments.0 <= verb.arguments.1, "{}", verb.name);
        }
    }

    #[test]
    fn the_readme_names_every_verb() {
        let readme = include_str!("../../README.md");
        for verb in all() {
            assert!(
                readme.contains(&format!("`{}`", verb.name)),
                "{}",
                verb.name
            );
        }
    }

    #[test]
    fn a_near_miss_is_suggested() {
        let text = |name| find(name).unwrap_err().to_string();
        assert!(text("list_user").contains("Did you mean 'list_users'?"));
        assert!(text("zorp").contains("Usage"));
    }
}
