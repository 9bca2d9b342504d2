//! The regular expressions of permissions.

use std::fmt;
use std::sync::Arc;

use regex::bytes::{Regex, RegexBuilder};

/// How large a compiled pattern may grow. A list of a thousand queue names fits; something like `(a{1000}){1000}`, which
/// would take gigabytes, does not.
const COMPILED_SIZE_MAX: usize = 4 * 1024 * 1024;

/// Which names a permission is for: a regular expression as RabbitMQ understands it.
///
/// It is searched for anywhere in the name unless it is anchored: `^shop\.` is everything that begins with `shop.`. The
/// empty pattern stands for `^$`, which no queue or exchange is called, so it permits nothing; `.*` permits everything.
/// Names are looked at byte by byte, so `\d` and `\w` know ASCII only.
///
/// Matching takes time in proportion to the length of the name, whatever the pattern. In exchange for that, look-around
/// (`(?!secret)`) and back references are not available: such a pattern is refused when it is set, not when it is used.
/// So is what RabbitMQ's expressions understand and these do not, such as `\Q..\E` and a brace that repeats nothing.
#[derive(Clone)]
pub struct Pattern {
    source: Arc<str>,
    matcher: Matcher,
}

#[derive(Clone)]
enum Matcher {
    Everything,
    /// The empty name alone.
    Empty,
    Regex(Regex),
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// When it is not a regular expression, uses what is not available, or would grow too large.
    pub fn new(source: &str) -> Result<Self, PatternError> {
        let matcher = match source {
            ".*" => Matcher::Everything,
            "" => Matcher::Empty,
            _ => Matcher::Regex(compile(source)?),
        };
        Ok(Self {
            source: Arc::from(source),
            matcher,
        })
    }

    /// The pattern that permits everything: `.*`.
    #[must_use]
    pub fn everything() -> Self {
        Self {
            source: Arc::from(".*"),
            matcher: Matcher::Everything,
        }
    }

    /// The pattern that permits nothing: the empty one.
    #[must_use]
    pub fn nothing() -> Self {
        Self {
            source: Arc::from(""),
            matcher: Matcher::Empty,
        }
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// Whether the pattern is for this name.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match &self.matcher {
            Matcher::Everything => true,
            Matcher::Empty => name.is_empty(),
            Matcher::Regex(regex) => regex.is_match(name.as_bytes()),
        }
    }

    /// Whether there is no name that it is not for, so that nothing need be remembered.
    pub(super) fn is_everything(&self) -> bool {
        matches!(self.matcher, Matcher::Everything)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({:?})", self.source)
    }
}

/// Patterns are equal when they are written the same way.
impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Pattern {}

fn compile(source: &str) -> Result<Regex, PatternError> {
    RegexBuilder::new(source)
        .unicode(false)
        .size_limit(COMPILED_SIZE_MAX)
        .build()
        .map_err(|error| PatternError::new(source, &error))
}

/// Why a text is not a pattern for permissions. Its text says what and where, in one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{source_text}' is not a pattern for permissions: {reason}")]
pub struct PatternError {
    source_text: String,
    reason: String,
}

impl PatternError {
    fn new(source: &str, error: &regex::Error) -> Self {
        let reason = match error {
            regex::Error::CompiledTooBig(_) => "it would grow too large".to_owned(),
            // The parser draws the place over several lines; the last one says what is wrong.
            other => {
                let text = other.to_string();
                let last = text.lines().last().unwrap_or_default();
                last.trim_start_matches("error: ").to_owned()
            }
        };
        Self {
            source_text: source.to_owned(),
            reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, name: &str, want: bool) {
        let pattern = Pattern::new(pattern).unwrap();
        assert_eq!(pattern.matches(name), want, "{pattern:?} for {name:?}");
    }

    #[track_caller]
    fn check_refused(pattern: &str, reason: &str) {
        let error = Pattern::new(pattern).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }

    #[test]
    fn a_pattern_is_searched_for_unless_it_is_anchored() {
        check("shop", "my-shop-2", true);
        check("^shop", "my-shop-2", false);
        check("^shop", "shop-2", true);
        check("shop$", "shop-2", false);
        check("^(shop|amq\\.default)$", "amq.default", true);
        check("^(shop|amq\\.default)$", "amqxdefault", false);
        check("(?i)^SHOP", "shop", true);
    }

    #[test]
    fn the_empty_pattern_is_for_the_empty_name_alone() {
        check("", "q", false);
        check("", "", true);
        assert_eq!(Pattern::nothing(), Pattern::new("").unwrap());
    }

    #[test]
    fn dot_star_is_for_everything() {
        check(".*", "", true);
        check(".*", "line\nbreak", true);
        assert_eq!(Pattern::everything(), Pattern::new(".*").unwrap());
    }

    #[test]
    fn the_end_is_the_end_and_not_the_last_line_break() {
        check("^a$", "a\n", false);
        check("^.*$", "a\nb", false);
    }

    #[test]
    fn names_are_bytes() {
        check("^..$", "ü", true);
        check("^ü$", "ü", true);
        check("^\\w+$", "ü", false);
    }

    #[test]
    fn what_is_not_available_is_refused_with_its_reason() {
        check_refused("^(?!secret)", "look-around");
        check_refused("^(?<=a)b", "look-around");
        check_refused("(a)\\1", "backreferences");
        check_refused("(a", "unclosed group");
        check_refused("a{b}", "repetition");
        check_refused("((a{1000}){1000}){1000}", "too large");
    }

    #[test]
    fn a_list_of_a_thousand_names_fits() {
        let names: Vec<String> = (0..1000)
            .map(|n| format!("department-{n}\\.orders"))
            .collect();
        let pattern = Pattern::new(&format!("^({})$", names.join("|"))).unwrap();
        assert!(pattern.matches("department-999.orders"));
        assert!(!pattern.matches("department-1000.orders"));
    }

    #[test]
    fn no_pattern_makes_matching_slow() {
        // Exponential for a matcher that backtracks.
        let pattern = Pattern::new("^(a+)+$").unwrap();
        let name = format!("{}b", "a".repeat(254));
        assert!(!pattern.matches(&name));
    }
}
