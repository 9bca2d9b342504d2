//! Patterns in scopes.

use percent_encoding::percent_decode_str;

/// A text in which `*` stands for any number of bytes, none included, and everything else for itself, percent-encoded.
///
/// A `*`, `/` or space that is meant itself is written `%2A`, `%2F`, `%20`. What is not an escape stands for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wildcard {
    /// What has to come before the first `*`; everything, if there is none.
    first: Vec<u8>,
    /// What has to come behind each `*`, in this order.
    others: Vec<Vec<u8>>,
}

impl Wildcard {
    pub(super) fn new(pattern: &str) -> Self {
        let mut parts = pattern.split('*').map(decode);
        Self {
            first: parts.next().unwrap_or_default(),
            others: parts.collect(),
        }
    }

    /// Takes at most as many steps as both lengths multiplied.
    pub(super) fn matches(&self, text: &str) -> bool {
        let Some(mut rest) = text.as_bytes().strip_prefix(&*self.first) else {
            return false;
        };
        let Some((last, middle)) = self.others.split_last() else {
            return rest.is_empty();
        };
        for part in middle {
            // The leftmost place leaves most to those that follow.
            let Some(at) = find(rest, part) else {
                return false;
            };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last)
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    if part.is_empty() {
        return Some(0);
    }
    text.windows(part.len()).position(|window| window == part)
}

fn decode(text: &str) -> Vec<u8> {
    percent_decode_str(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, text: &str, want: bool) {
        let wildcard = Wildcard::new(pattern);
        assert_eq!(wildcard.matches(text), want, "{pattern} against {text}");
        let naive = naive(&wildcard.first, &wildcard.others, text.as_bytes());
        assert_eq!(naive, want, "the model disagrees with the test");
    }

    /// Tries every length for each `*`.
    fn naive(first: &[u8], others: &[Vec<u8>], text: &[u8]) -> bool {
        let Some(rest) = text.strip_prefix(first) else {
            return false;
        };
        match others.split_first() {
            None => rest.is_empty(),
            Some((next, behind)) => {
                (0..=rest.len()).any(|skipped| naive(next, behind, &rest[skipped..]))
            }
        }
    }

    #[test]
    fn without_a_star_only_the_text_itself_matches() {
        check("orders", "orders", true);
        check("orders", "order", false);
        check("orders", "orders2", false);
        check("orders", "Orders", false);
        check("", "", true);
        check("", "x", false);
    }

    #[test]
    fn a_star_stands_for_anything() {
        check("*", "", true);
        check("*", "a/b c", true);
        check("orders.*", "orders.", true);
        check("orders.*", "orders.eu", true);
        check("orders.*", "order", false);
        check("*.eu", "orders.eu", true);
        check("*.eu", "orders.euro", false);
        check("a*b*c", "abc", true);
        check("a*b*c", "a-b-b-c", true);
        check("a*b*c", "acb", false);
        check("a*a", "a", false);
        check("**", "anything", true);
        check("a**b", "ab", true);
        check("*ab*ab", "abab", true);
        check("*ab*ab", "ab", false);
    }

    #[test]
    fn escapes_are_resolved_once_and_are_no_stars() {
        check("%2F", "/", true);
        check("%2f", "/", true);
        check("a%2Ab", "a*b", true);
        check("a%2Ab", "axb", false);
        check("%252F", "%2F", true);
        check("%zz%", "%zz%", true);
        check("f%C3%BCr*", "für alle", true);
    }
}
