//! The regular expressions of permissions.

mod byte_set;
mod rewrite;

use std::fmt;
use std::sync::Arc;

use regex::bytes::{Regex, RegexBuilder};

use rewrite::{Rewritten, rewrite};

/// How large a compiled pattern may grow. A list of a thousand queue names fits; something like `(a{1000}){1000}`, which
/// would take gigabytes, does not.
const COMPILED_SIZE_MAX: usize = 4 * 1024 * 1024;

/// Which names a permission is for: a regular expression as RabbitMQ understands it.
///
/// It is searched for anywhere in the name unless it is anchored: `^shop\.` is everything that begins with `shop.`. The
/// empty pattern stands for `^$`, which no queue or exchange is called, so it permits nothing; `.*` permits everything.
/// Names are looked at byte by byte, and a byte is a character of Latin-1, as in RabbitMQ: `.` is one of the two bytes of `é`.
///
/// Matching takes time in proportion to the length of the name, whatever the pattern. In exchange for that, look-around
/// (`(?!secret)`) and back references are not available: such a pattern is refused when it is set, not when it is used.
/// So is what could match more here than in RabbitMQ, which a pattern never does: atomic groups and possessive repetition
/// (`a++`), multi-line and extended mode, `\p{L}`, and some rarities. With `\b` or `\B` in it, a pattern is for names in
/// ASCII only; `$` is the end of the name, also where that is a line break.
#[derive(Clone)]
pub struct Pattern {
    source: Arc<str>,
    matcher: Matcher,
}

#[derive(Clone)]
enum Matcher {
    Everything,
    #[cfg(feature = "journal")]
    Nothing,
    /// The empty name alone.
    Empty,
    Regex(Regex),
    /// Of names that are ASCII.
    OfAscii(Regex),
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
            _ => compile(source)?,
        };
        Ok(Self {
            source: Arc::from(source),
            matcher,
        })
    }

    /// A pattern that was accepted once. It permits nothing if it is not any more.
    #[cfg(feature = "journal")]
    pub(crate) fn stored(source: &str) -> Self {
        Self::new(source).unwrap_or_else(|error| {
            tracing::warn!(%error, "a stored permission permits nothing");
            Self {
                source: Arc::from(source),
                matcher: Matcher::Nothing,
            }
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
            #[cfg(feature = "journal")]
            Matcher::Nothing => false,
            Matcher::Empty => name.is_empty(),
            Matcher::Regex(regex) => regex.is_match(name.as_bytes()),
            Matcher::OfAscii(regex) => name.is_ascii() && regex.is_match(name.as_bytes()),
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

fn compile(source: &str) -> Result<Matcher, PatternError> {
    let refused = |reason: String| PatternError {
        source_text: source.to_owned(),
        reason,
    };
    let Rewritten { text, is_for_ascii } =
        rewrite(source).map_err(|reason| refused(reason.to_owned()))?;
    let regex = RegexBuilder::new(&text)
        .unicode(false)
        .size_limit(COMPILED_SIZE_MAX)
        .build()
        .map_err(|error| refused(reason(&error)))?;
    Ok(match is_for_ascii {
        true => Matcher::OfAscii(regex),
        false => Matcher::Regex(regex),
    })
}

fn reason(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => "it would grow too large".to_owned(),
        // The parser draws the place over several lines; the last one says what is wrong.
        other => {
            let text = other.to_string();
            let last = text.lines().last().unwrap_or_default();
            last.trim_start_matches("error: ").to_owned()
        }
    }
}

/// Why a text is not a pattern for permissions. Its text says what and where, in one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{source_text}' is not a pattern for permissions: {reason}")]
pub struct PatternError {
    source_text: String,
    reason: String,
}

#[cfg(test)]
mod tests;
