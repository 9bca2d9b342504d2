//! Why a binding does not match a message, in words, when it nearly does.

use leveret_amqp_codec::{RawTable, ValueRef};
use leveret_topic_trie::TopicTrie;

use super::Router;
use super::headers::Comparison;
use super::presence;

/// None when the binding matches; a reason when it nearly does; an empty one when it is far from it.
pub(crate) fn near_miss(
    router: &Router,
    key: &str,
    arguments: RawTable<'_>,
    routing_keys: &[&str],
    message_headers: RawTable<'_>,
) -> Option<String> {
    let mut reasons = Vec::new();
    for routing_key in routing_keys {
        let reason = match router {
            Router::Direct(_) => direct(key, routing_key),
            Router::Topic(_) => topic(key, routing_key),
            // Who only watches gets no messages, and misses none.
            Router::Presence(_) if is_watch(arguments) => Some(String::new()),
            Router::Presence(_) => topic(key, routing_key),
            Router::Headers(_) => headers(arguments, message_headers),
            // These do not compare; which binding they choose is not the binding's merit.
            Router::Fanout(_)
            | Router::ConsistentHash(_)
            | Router::ModulusHash(_)
            | Router::Random(_) => None,
        };
        reasons.push(reason?);
    }
    Some(
        reasons
            .into_iter()
            .find(|reason| !reason.is_empty())
            .unwrap_or_default(),
    )
}

fn is_watch(arguments: RawTable<'_>) -> bool {
    matches!(presence::role(arguments), Ok(presence::Role::Watch))
}

fn direct(key: &str, routing_key: &str) -> Option<String> {
    if key == routing_key {
        return None;
    }
    Some(if key.eq_ignore_ascii_case(routing_key) {
        "only upper and lower case differ".to_owned()
    } else if key.trim() == routing_key.trim() {
        "only spaces around it differ".to_owned()
    } else if is_one_edit_apart(key, routing_key) {
        "one character differs".to_owned()
    } else {
        String::new()
    })
}

fn topic(pattern: &str, routing_key: &str) -> Option<String> {
    let mut trie: TopicTrie<()> = TopicTrie::new();
    trie.insert(pattern, ());
    let mut matches = false;
    trie.for_each_match(routing_key, |()| matches = true);
    if matches {
        return None;
    }
    let (wanted, found) = (words(pattern), words(routing_key));
    if wanted.contains(&"#") {
        return Some(String::new());
    }
    let same = |(wanted, found): &(&&str, &&str)| **wanted == "*" || wanted == found;
    let pairs: Vec<_> = wanted.iter().zip(&found).collect();
    let differing: Vec<usize> = (0..pairs.len()).filter(|at| !same(&pairs[*at])).collect();
    Some(match (wanted.len().abs_diff(found.len()), &differing[..]) {
        (0, &[at]) => format!(
            "word {} is '{}' and not '{}'",
            at + 1,
            found[at],
            wanted[at]
        ),
        (1, []) => format!(
            "the key has {} words, the pattern wants {}",
            found.len(),
            wanted.len()
        ),
        _ => String::new(),
    })
}

fn words(text: &str) -> Vec<&str> {
    if text.is_empty() {
        Vec::new()
    } else {
        text.split('.').collect()
    }
}

fn headers(arguments: RawTable<'_>, headers: RawTable<'_>) -> Option<String> {
    let comparison = Comparison::new(arguments, headers);
    if comparison.matches() {
        return None;
    }
    Some(match &comparison.differing()[..] {
        [(name, wanted)] => {
            let name = String::from_utf8_lossy(name);
            match headers.get(&*name) {
                None => format!("the header '{name}' is missing"),
                Some(found) => format!(
                    "the header '{name}' is {} and not {}",
                    shown(found),
                    shown(*wanted)
                ),
            }
        }
        _ => String::new(),
    })
}

fn shown(value: ValueRef<'_>) -> String {
    format!("{value} ({})", value.type_name())
}

/// Whether inserting, removing or replacing one character makes the one text the other.
fn is_one_edit_apart(a: &str, b: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let (short, long) = if a.len() <= b.len() {
        (&a, &b)
    } else {
        (&b, &a)
    };
    if long.len() - short.len() > 1 {
        return false;
    }
    let start = short.iter().zip(long).take_while(|(x, y)| x == y).count();
    let rest = short.len() - start;
    let end = short
        .iter()
        .rev()
        .zip(long.iter().rev())
        .take(rest)
        .take_while(|(x, y)| x == y)
        .count();
    long.len() - start - end <= 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_direct_key_may_differ_by_case_space_or_one_character() {
        assert_eq!(direct("orders", "orders"), None);
        assert_eq!(
            direct("orders", "Orders").as_deref(),
            Some("only upper and lower case differ")
        );
        assert_eq!(
            direct("orders", "orders ").as_deref(),
            Some("only spaces around it differ")
        );
        assert_eq!(
            direct("orders", "order").as_deref(),
            Some("one character differs")
        );
        assert_eq!(
            direct("orders", "ordres").as_deref(),
            Some(""),
            "two characters do"
        );
        assert_eq!(direct("orders", "invoices").as_deref(), Some(""));
    }

    #[test]
    fn a_topic_may_differ_by_a_word_or_the_number_of_words() {
        assert_eq!(topic("chat.*.text", "chat.7.text"), None);
        assert_eq!(
            topic("chat.*.text", "chat.7.image").as_deref(),
            Some("word 3 is 'image' and not 'text'")
        );
        assert_eq!(
            topic("chat.*", "chat.7.text").as_deref(),
            Some("the key has 3 words, the pattern wants 2")
        );
        assert_eq!(
            topic("chat.*", "chat").as_deref(),
            Some("the key has 1 words, the pattern wants 2")
        );
        assert_eq!(topic("a.b.c", "x.y.c").as_deref(), Some(""));
    }
}
