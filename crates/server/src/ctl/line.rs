//! The words after `leveret ctl`, as `rabbitmqctl` reads them: options may stand before and behind the verb.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use zeroize::Zeroize;

use super::failure::{Exit, Failure};
use super::output::Formatter;
use super::verb::{self, Verb};

/// What was asked for.
#[derive(Debug)]
pub(super) struct Line {
    /// None for `help`, and for no word at all.
    pub(super) verb: Option<&'static Verb>,
    /// What follows the verb and is no option.
    pub(super) arguments: Vec<String>,
    pub(super) options: Options,
    pub(super) wants_help: bool,
    /// For the complaint about them.
    words: Vec<String>,
}

/// What stands on the command line may be a password.
impl Drop for Line {
    fn drop(&mut self) {
        self.arguments.iter_mut().for_each(Zeroize::zeroize);
        self.words.iter_mut().for_each(Zeroize::zeroize);
    }
}

/// What may be said of any verb, and what some have of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) vhost: Option<String>,
    pub(super) quiet: bool,
    pub(super) silent: bool,
    pub(super) no_table_headers: bool,
    pub(super) formatter: Option<Formatter>,
    /// How long an answer may take; none for what the verb takes.
    pub(super) timeout: Option<Timeout>,
    pub(super) socket: Option<PathBuf>,
    pub(super) data_dir: Option<PathBuf>,
    pub(super) user: Option<String>,
    /// How many at most; zero for all.
    pub(super) limit: u64,
    pub(super) per_connection_delay_ms: u64,
    /// Those that only some verbs have, by their names.
    pub(super) flags: Vec<&'static str>,
}

impl Options {
    /// `/` unless another was named.
    pub(super) fn vhost(&self) -> &str {
        self.vhost.as_deref().unwrap_or("/")
    }

    pub(super) fn has(&self, flag: &str) -> bool {
        self.flags.contains(&flag)
    }

    pub(super) fn formatter(&self) -> Formatter {
        self.formatter.unwrap_or_default()
    }

    /// Whether it is said what is being done: not in what programs are to read.
    pub(super) fn shows_banners(&self) -> bool {
        !self.quiet && !self.silent && self.formatter().is_for_people()
    }

    pub(super) fn shows_headers(&self) -> bool {
        !self.silent && !self.no_table_headers
    }
}

/// What was said of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timeout {
    Seconds(u64),
    Infinity,
}

/// Options with a value, in both spellings.
const WITH_VALUE: [(&str, &str); 10] = [
    ("--vhost", "-p"),
    ("--node", "-n"),
    ("--timeout", "-t"),
    ("--formatter", ""),
    ("--ctl-socket", ""),
    ("--data-dir", ""),
    ("--user", ""),
    ("--format", ""),
    ("--limit", ""),
    ("--per-connection-delay", ""),
];

/// Those of them that only some verbs have.
const WITH_VALUE_OF_VERBS: [&str; 4] = ["--user", "--format", "--limit", "--per-connection-delay"];

impl Line {
    /// # Errors
    /// For options that are not known, or lack their value.
    pub(super) fn parse(words: Vec<String>) -> Result<Self, Failure> {
        let mut line = Self {
            verb: None,
            arguments: Vec::new(),
            options: Options {
                socket: from_environment("LEVERET_CTL_SOCKET"),
                data_dir: from_environment("LEVERET_DATA_DIR"),
                ..Options::default()
            },
            wants_help: false,
            words: words.clone(),
        };
        let mut others = Vec::new();
        let mut is_help = false;
        let mut rest = words.into_iter();
        while let Some(word) = rest.next() {
            if word == "--" {
                line.arguments.extend(rest.by_ref());
            } else if word.len() > 1 && word.starts_with('-') {
                others.extend(line.take_option(&word, &mut rest)?);
            } else if line.verb.is_none() && !is_help {
                is_help = word == "help";
                if !is_help {
                    line.verb = Some(verb::find(&word)?);
                }
            } else {
                line.arguments.push(word);
            }
        }
        for word in others {
            let known = line.verb.and_then(|verb| verb.flag(&word));
            let flag = known.ok_or_else(|| line.invalid_option(&word, ""))?;
            line.options.flags.push(flag);
        }
        if line.verb.is_none() && !is_help && !line.wants_help {
            let text = verb::overview();
            return Err(Failure::plain(Exit::Usage, text));
        }
        Ok(line)
    }

    /// What may be an option of the verb's own.
    fn take_option(
        &mut self,
        word: &str,
        rest: &mut impl Iterator<Item = String>,
    ) -> Result<Option<String>, Failure> {
        let (name, own_value) = match word.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
            _ => (word, None),
        };
        let known = WITH_VALUE
            .iter()
            .find(|(long, short)| name == *long || (name == *short && !short.is_empty()));
        let Some((long, _)) = known else {
            return Ok((!self.take_flag(word)).then(|| word.to_owned()));
        };
        let value = own_value.or_else(|| rest.next());
        let value = value.ok_or_else(|| self.invalid_option(name, ""))?;
        self.set(long, &value)
            .map_err(|BadValue| self.invalid_option(name, &value))?;
        Ok(WITH_VALUE_OF_VERBS
            .contains(long)
            .then(|| (*long).to_owned()))
    }

    fn set(&mut self, option: &str, value: &str) -> Result<(), BadValue> {
        let options = &mut self.options;
        match option {
            "--vhost" => options.vhost = Some(value.to_owned()),
            // There is one node; it is found by its socket or directory. Scripts that name another are told so.
            "--node" => options.check_node(value)?,
            "--timeout" => options.timeout = Some(timeout(value)?),
            "--formatter" => options.formatter = Some(value.parse().map_err(|()| BadValue)?),
            "--ctl-socket" => options.socket = Some(value.into()),
            "--data-dir" => options.data_dir = Some(value.into()),
            "--user" => options.user = Some(value.to_owned()),
            "--limit" => options.limit = value.parse().map_err(|_| BadValue)?,
            "--per-connection-delay" => {
                options.per_connection_delay_ms = value.parse().map_err(|_| BadValue)?;
            }
            // Definitions are JSON; the other format of rabbitmqctl is Erlang's.
            _ if value == "json" => {}
            _ => return Err(BadValue),
        }
        Ok(())
    }

    fn take_flag(&mut self, word: &str) -> bool {
        match word {
            "-q" | "--quiet" => self.options.quiet = true,
            "-s" | "--silent" => self.options.silent = true,
            "--no-table-headers" => self.options.no_table_headers = true,
            // Names of nodes have no lengths here.
            "-l" | "--longnames" => {}
            "-?" | "-h" | "--help" => self.wants_help = true,
            _ => return false,
        }
        true
    }

    /// Whether the verb has as many arguments as it takes, and all columns are known.
    ///
    /// # Errors
    /// In the words of `rabbitmqctl`, with exit code 64.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let Some(verb) = self.verb else {
            return Ok(());
        };
        let count = self.arguments.len();
        if count < verb.arguments.0 {
            return Err(self.misuse("not enough arguments."));
        }
        if count > verb.arguments.1 {
            return Err(self.misuse("too many arguments."));
        }
        let unknown: Vec<&str> = self
            .columns()
            .filter(|column| !verb.columns.is_empty() && !verb.columns.contains(column))
            .collect();
        if !unknown.is_empty() {
            let unknown = unknown.join(", ");
            return Err(self.misuse(&format!("Info key(s) {unknown} are not supported")));
        }
        Ok(())
    }

    /// How long an answer may take.
    pub(super) fn timeout(&self) -> Option<Duration> {
        let of_verb = || self.verb.and_then(|verb| verb.timeout_s);
        match self.options.timeout {
            Some(Timeout::Seconds(seconds)) => Some(Duration::from_secs(seconds)),
            Some(Timeout::Infinity) => None,
            None => of_verb().map(Duration::from_secs),
        }
    }

    /// The arguments as names of columns, which may also be separated by commas.
    pub(super) fn columns(&self) -> impl Iterator<Item = &str> {
        let words = self.arguments.iter().flat_map(|word| word.split(','));
        words.map(str::trim).filter(|word| !word.is_empty())
    }

    /// # Errors
    /// Never, for arguments that [`Line::check`] has counted.
    pub(super) fn argument(&self, at: usize) -> Result<&str, Failure> {
        let argument = self.arguments.get(at).map(String::as_str);
        argument.ok_or_else(|| self.misuse("not enough arguments."))
    }

    fn invalid_option(&self, name: &str, value: &str) -> Failure {
        self.misuse(&format!(
            "Invalid options for this command:\n{name} : {value}"
        ))
    }

    /// A complaint about the command line, with what was said and what could be.
    pub(super) fn misuse(&self, what: &str) -> Failure {
        self.complain(Exit::Usage, what)
    }

    /// The same about the value of an argument.
    pub(super) fn bad_value(&self, what: &str) -> Failure {
        self.complain(Exit::Data, what)
    }

    fn complain(&self, exit: Exit, what: &str) -> Failure {
        let mut message = format!("Error (argument validation): {what}");
        if let Some(verb) = self.verb {
            // What stands on the command line may be a password.
            let given = if verb.hides_arguments {
                verb.name.to_owned()
            } else {
                self.words.join(" ")
            };
            message.push_str(&format!(
                "\nArguments given:\n\t{given}\n\nUsage\n\nleveret ctl {}",
                verb.usage
            ));
        }
        Failure::plain(exit, message)
    }
}

/// The value of an option makes no sense.
struct BadValue;

impl Options {
    fn check_node(&self, name: &str) -> Result<(), BadValue> {
        if name.is_empty() {
            return Err(BadValue);
        }
        Ok(())
    }
}

/// `rabbitmqctl` takes seconds, or `infinity`.
fn timeout(text: &str) -> Result<Timeout, BadValue> {
    if text == "infinity" {
        return Ok(Timeout::Infinity);
    }
    let seconds = u64::from_str(text).map_err(|_| BadValue)?;
    Ok(Timeout::Seconds(seconds))
}

fn from_environment(name: &str) -> Option<PathBuf> {
    let value = std::env::var_os(name)?;
    (!value.is_empty()).then(|| value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Line {
        try_parse(words).unwrap()
    }

    fn try_parse(words: &str) -> Result<Line, Failure> {
        Line::parse(words.split_whitespace().map(str::to_owned).collect())
    }

    #[test]
    fn options_stand_where_they_like() {
        for words in [
            "-p shop -q list_permissions",
            "list_permissions -q -p shop",
            "--vhost=shop list_permissions --quiet",
            "list_permissions --vhost shop -q",
        ] {
            let line = parse(words);
            assert_eq!(line.verb.unwrap().name, "list_permissions", "{words}");
            assert_eq!(line.options.vhost(), "shop", "{words}");
            assert!(line.options.quiet, "{words}");
            assert!(line.arguments.is_empty(), "{words}");
        }
    }

    #[test]
    fn what_follows_two_dashes_is_no_option() {
        let line = parse("set_permissions ann -- -q --x -");
        assert_eq!(line.arguments, ["ann", "-q", "--x", "-"]);
        assert!(!line.options.quiet);
    }

    #[test]
    fn an_empty_argument_and_a_single_dash_are_arguments() {
        let words = ["add_user", "-", ""].map(str::to_owned);
        let line = Line::parse(words.into()).unwrap();
        assert_eq!(line.arguments, ["-", ""]);
    }

    #[test]
    fn what_is_not_known_is_told_with_exit_code_64() {
        for (words, want) in [
            ("zorp", "\nCommand 'zorp' not found."),
            (
                "list_users --zorp",
                "Error (argument validation): Invalid options for this command:\n--zorp : ",
            ),
            (
                "list_users --user ann",
                "Error (argument validation): Invalid options for this command:\n--user : ",
            ),
            (
                "close_connection --limit=1 pid bye",
                "Error (argument validation): Invalid options for this command:\n--limit : ",
            ),
            (
                "close_all_connections --limit -1 bye",
                "Error (argument validation): Invalid options for this command:\n--limit : -1",
            ),
            (
                "list_users -t x",
                "Error (argument validation): Invalid options for this command:\n-t : x",
            ),
            (
                "list_users --formatter xml",
                "Error (argument validation): Invalid options",
            ),
            ("list_users -p", "Error (argument validation): Invalid"),
            ("", "\nUsage"),
        ] {
            let failure = try_parse(words).unwrap_err();
            assert_eq!(failure.exit(), Exit::Usage, "{words}");
            assert!(failure.to_string().starts_with(want), "{failure}");
        }
    }

    #[test]
    fn arguments_are_counted() {
        let misuse = |words| parse(words).check().unwrap_err();
        assert_eq!(
            misuse("set_permissions -p shop").to_string(),
            "Error (argument validation): not enough arguments.\nArguments given:\n\tset_permissions -p shop\n\nUsage\n\n\
             leveret ctl set_permissions [--vhost <vhost>] <username> <conf> <write> <read>"
        );
        assert_eq!(misuse("list_users extra").exit(), Exit::Usage);
        assert_eq!(misuse("list_vhosts name zorp").exit(), Exit::Usage);
        parse("list_vhosts name,tracing").check().unwrap();
    }

    #[test]
    fn a_complaint_shows_no_password() {
        let failure = parse("change_password ann s3cret more")
            .check()
            .unwrap_err();
        assert!(!failure.to_string().contains("s3cret"), "{failure}");
        let failure = try_parse("add_user ann s3cret --zorp").unwrap_err();
        assert!(!failure.to_string().contains("s3cret"), "{failure}");
    }

    #[test]
    fn timeouts_are_seconds_or_none() {
        let seconds = |words| parse(words).timeout().map(|timeout| timeout.as_secs());
        assert_eq!(seconds("list_users -t 5"), Some(5));
        assert_eq!(seconds("list_users"), None);
        assert_eq!(seconds("list_queues"), Some(60));
        assert_eq!(seconds("list_queues -t infinity"), None);
    }
}
