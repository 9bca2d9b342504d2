//! The patterns of topic permissions, which may speak of whoever they are checked for.

use std::sync::Arc;

use super::pattern::{Pattern, PatternError};

/// What stands in place of the variables when a pattern is tried for the first time.
const TRIED_WITH: Variables<'_> = Variables {
    username: "u",
    vhost: "v",
};

/// Which routing keys a topic permission is for: a [`Pattern`] in which `{username}` and `{vhost}` stand for those of the
/// connection.
///
/// What is put in their place is taken literally: the user `a.b` is let at the keys of `a.b` and not at those of `axb`,
/// and a user whose name is a pattern gains nothing by it. (RabbitMQ reads the names as part of the pattern.)
/// `{client_id}` is for protocols whose clients have one; for all others it stands for itself, as in RabbitMQ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPattern {
    source: Arc<str>,
    /// The pattern itself, when there is no variable in it.
    fixed: Option<Pattern>,
}

/// What the variables of a pattern stand for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variables<'a> {
    pub(super) username: &'a str,
    pub(super) vhost: &'a str,
}

impl Variables<'_> {
    /// The variable that `text` begins with, and what stands for it.
    fn at_start_of(&self, text: &str) -> Option<(&'static str, &str)> {
        let all = [
            ("{username}", self.username),
            ("{vhost}", self.vhost),
            ("{client_id}", "{client_id}"),
        ];
        all.into_iter().find(|(name, _)| text.starts_with(name))
    }
}

impl TopicPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// As [`Pattern::new`].
    pub fn new(source: &str) -> Result<Self, PatternError> {
        let tried = Pattern::new(&substitute(source, TRIED_WITH))?;
        let is_fixed = tried.as_str() == source;
        Ok(Self {
            source: Arc::from(source),
            fixed: is_fixed.then_some(tried),
        })
    }

    /// A pattern that was accepted once. It permits nothing if it is not any more.
    #[cfg(feature = "journal")]
    pub(crate) fn stored(source: &str) -> Self {
        Self::new(source).unwrap_or_else(|_| Self {
            source: Arc::from(source),
            fixed: Some(Pattern::stored(source)),
        })
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// The pattern for one connection.
    ///
    /// # Errors
    /// When it grows too large with long names: it permits nothing then.
    pub(super) fn with(&self, variables: Variables<'_>) -> Result<Pattern, PatternError> {
        match &self.fixed {
            Some(pattern) => Ok(pattern.clone()),
            None => Pattern::new(&substitute(&self.source, variables)),
        }
    }
}

/// In one pass, so that a name that looks like a variable is not one.
fn substitute(source: &str, variables: Variables<'_>) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(brace) = rest.find('{') {
        out.push_str(&rest[..brace]);
        rest = &rest[brace..];
        match variables.at_start_of(rest) {
            Some((name, value)) => {
                out.push_str(&regex::escape(value));
                rest = &rest[name.len()..];
            }
            None => {
                out.push('{');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, username: &str, key: &str, want: bool) {
        let pattern = TopicPattern::new(pattern).unwrap();
        let variables = Variables {
            username,
            vhost: "shop",
        };
        let matches = pattern.with(variables).unwrap().matches(key);
        assert_eq!(matches, want, "{pattern:?} of {username:?} for {key:?}");
    }

    #[test]
    fn variables_stand_for_names() {
        check("^{vhost}\\.{username}\\.", "ann", "shop.ann.x", true);
        check("^{vhost}\\.{username}\\.", "ann", "shop.bob.x", false);
        check("^{username}$", "ann", "ann", true);
        check("^a{2}$", "ann", "aa", true);
        check("", "ann", "", true);
        check("", "ann", "x", false);
    }

    #[test]
    fn names_are_taken_literally() {
        check("^{username}$", ".*", "everything", false);
        check("^{username}$", ".*", ".*", true);
        check("^{username}$", "a.b", "axb", false);
        check("^{username}$", "{vhost}", "shop", false);
        check("^{username}$", "{vhost}", "{vhost}", true);
    }

    #[test]
    fn a_client_id_stands_for_itself() {
        check("^{client_id}$", "ann", "{client_id}", true);
    }

    #[test]
    fn unknown_variables_stand_for_themselves() {
        check("^{user}$", "ann", "{user}", true);
        check("^{user}$", "ann", "ann", false);
        check("^{$", "ann", "{", true);
    }
}
