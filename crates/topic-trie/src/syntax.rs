//! How patterns and keys are written.

/// The separator and the wildcards of a [`TopicTrie`](crate::TopicTrie).
///
/// Patterns and keys are split at the separator. Empty words are words: `a..b` has three, `.` has two. Only the empty
/// text has no words at all. A wildcard is one only as a whole word of a pattern; in a key, and as part of a longer
/// word, it is ordinary text.
///
/// # MQTT
///
/// [`Syntax::MQTT`] differs from [`Syntax::AMQP`] in the characters alone, because the rules agree:
///
/// - `sport/#` matches `sport` too, the "parent level" of MQTT 4.7.1.2: `#` stands for zero or more words, and `sport`
///   is `sport/#` with zero.
/// - Empty levels count in both. `/finance` is the two words `` and `finance`; `+/finance` and `+/+` match it, `+` does
///   not (MQTT 4.7.1.3).
///
/// What MQTT adds is left to the caller: that `#` may stand only at the end (here it may stand anywhere), that a topic
/// has at least one character, and that a leading wildcard must not match topics that begin with `$` (MQTT 4.7.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Syntax {
    separator: u8,
    one_word: &'static str,
    many_words: &'static str,
}

impl Syntax {
    /// Words between `.`, with `*` for one word and `#` for zero or more: AMQP topic exchanges.
    pub const AMQP: Self = Self::new(b'.', "*", "#");

    /// Levels between `/`, with `+` for one level and `#` for zero or more: MQTT topic filters.
    pub const MQTT: Self = Self::new(b'/', "+", "#");

    /// A syntax of one's own.
    ///
    /// # Panics
    ///
    /// Panics, at compile time for a constant, when the separator is not ASCII, when the wildcards are the same, or when
    /// one of them is empty or contains the separator and so could never be a word.
    pub const fn new(separator: u8, one_word: &'static str, many_words: &'static str) -> Self {
        assert!(separator.is_ascii(), "the separator must be ASCII");
        assert!(
            is_word(one_word, separator) && is_word(many_words, separator),
            "a wildcard must be one word that is not empty"
        );
        assert!(!same(one_word, many_words), "the wildcards must differ");
        Self {
            separator,
            one_word,
            many_words,
        }
    }

    /// The byte between two words.
    pub const fn separator(&self) -> u8 {
        self.separator
    }

    /// The wildcard that stands for exactly one word, which may be empty.
    pub const fn one_word(&self) -> &'static str {
        self.one_word
    }

    /// The wildcard that stands for zero or more words.
    pub const fn many_words(&self) -> &'static str {
        self.many_words
    }

    /// The words of a pattern or a key.
    pub(crate) fn split<'a>(&self, text: &'a str) -> Split<'a> {
        Split {
            rest: (!text.is_empty()).then_some(text),
            separator: self.separator,
        }
    }

    /// How many words [`split`](Self::split) will find.
    pub(crate) fn count_words(&self, text: &str) -> usize {
        if text.is_empty() {
            0
        } else {
            1 + text.bytes().filter(|byte| *byte == self.separator).count()
        }
    }
}

impl Default for Syntax {
    fn default() -> Self {
        Self::AMQP
    }
}

const fn is_word(text: &str, separator: u8) -> bool {
    let text = text.as_bytes();
    let mut index = 0;
    while index < text.len() {
        if text[index] == separator {
            return false;
        }
        index += 1;
    }
    !text.is_empty()
}

const fn same(left: &str, right: &str) -> bool {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    if left.len() != right.len() {
        return false;
    }
    let mut index = 0;
    while index < left.len() {
        if left[index] != right[index] {
            return false;
        }
        index += 1;
    }
    true
}

/// The words of a text, from either end.
#[derive(Clone, Debug)]
pub(crate) struct Split<'a> {
    rest: Option<&'a str>,
    separator: u8,
}

impl<'a> Iterator for Split<'a> {
    type Item = &'a str;

    #[inline]
    fn next(&mut self) -> Option<&'a str> {
        let rest = self.rest?;
        let Some(end) = rest.bytes().position(|byte| byte == self.separator) else {
            return self.rest.take();
        };
        self.rest = Some(&rest[end + 1..]);
        Some(&rest[..end])
    }
}

impl DoubleEndedIterator for Split<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let rest = self.rest?;
        let Some(before) = rest.bytes().rposition(|byte| byte == self.separator) else {
            return self.rest.take();
        };
        self.rest = Some(&rest[..before]);
        Some(&rest[before + 1..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &[&str]) {
        let forwards: Vec<_> = Syntax::AMQP.split(text).collect();
        let mut backwards: Vec<_> = Syntax::AMQP.split(text).rev().collect();
        backwards.reverse();
        assert_eq!(forwards, want, "{text:?} forwards");
        assert_eq!(backwards, want, "{text:?} backwards");
        assert_eq!(
            Syntax::AMQP.count_words(text),
            want.len(),
            "{text:?} counted"
        );
    }

    #[test]
    fn empty_words_are_words_but_empty_text_has_none() {
        check("", &[]);
        check(".", &["", ""]);
        check("a.", &["a", ""]);
        check(".a", &["", "a"]);
        check("a..b", &["a", "", "b"]);
        check("größe.日本", &["größe", "日本"]);
    }

    #[test]
    #[should_panic(expected = "the wildcards must differ")]
    fn equal_wildcards_are_refused() {
        let _ = Syntax::new(b'.', "*", "*");
    }

    #[test]
    #[should_panic(expected = "a wildcard must be one word")]
    fn wildcard_with_a_separator_is_refused() {
        let _ = Syntax::new(b'.', "a.b", "#");
    }

    #[test]
    #[should_panic(expected = "a wildcard must be one word")]
    fn empty_wildcard_is_refused() {
        let _ = Syntax::new(b'.', "*", "");
    }

    #[test]
    #[should_panic(expected = "the separator must be ASCII")]
    fn separator_inside_characters_is_refused() {
        let _ = Syntax::new(0xC3, "*", "#");
    }
}
