//! What matches what: the rules of AMQP topic exchanges, case by case.

use leveret_topic_trie::fuzzing::naive;
use leveret_topic_trie::{Syntax, TopicTrie};

#[track_caller]
fn check_in(syntax: Syntax, pattern: &str, key: &str, want: bool) {
    let mut trie = TopicTrie::with_syntax(syntax);
    trie.insert(pattern, 1);
    assert_eq!(
        trie.matches(key).len(),
        usize::from(want),
        "{pattern:?} against {key:?}"
    );
    assert_eq!(
        naive::matches(syntax, pattern, key),
        want,
        "the model disagrees: {pattern:?} against {key:?}"
    );

    // A pattern of more words than any in AMQP makes the trie look at each pattern by itself.
    let separator = char::from(syntax.separator()).to_string();
    trie.insert(&["overlong"; 300].join(&separator), 2);
    assert_eq!(
        trie.matches(key).len(),
        usize::from(want),
        "one by one, {pattern:?} against {key:?}"
    );
}

#[track_caller]
fn check(pattern: &str, matching: &[&str], others: &[&str]) {
    for key in matching {
        check_in(Syntax::AMQP, pattern, key, true);
    }
    for key in others {
        check_in(Syntax::AMQP, pattern, key, false);
    }
}

#[test]
fn pattern_without_wildcards_matches_itself() {
    check(
        "a.b",
        &["a.b"],
        &["a", "a.b.c", "b.a", "a.bb", "", "a.b.", ".a.b"],
    );
}

#[test]
fn star_matches_exactly_one_word_even_an_empty_one() {
    check("*", &["a"], &["", "a.b", "."]);
    check("a.*.b", &["a.x.b", "a..b"], &["a.b", "a.x.y.b"]);
    check("*.*", &["a.b", ".", "a.", ".b"], &["", "a", "..", "a.b.c"]);
    check("a.*", &["a.b", "a."], &["a", "b.a", "a.b.c"]);
}

#[test]
fn hash_matches_no_words_or_any() {
    check("#", &["", ".", "a", "a.b", "...", "a.b.c.d"], &[]);
    check(
        "a.#",
        &["a", "a.b", "a.", "a.b.c", "a.."],
        &["ab", ".a", "b.a", ""],
    );
    check("#.a", &["a", "b.a", ".a", "a.a"], &["a.b", "a.", ""]);
    check(
        "a.#.b",
        &["a.b", "a.x.b", "a..b", "a.b.b"],
        &["a", "b", "a.b.c", "ab"],
    );
}

#[test]
fn several_hashes_divide_the_key_between_them() {
    check(
        "#.b.#",
        &["b", "a.b", "b.c", "a.b.c", "b.b"],
        &["ab", "", "."],
    );
    check("#.#", &["", ".", "a", "a.b", "a.b.c"], &[]);
    check(
        "#.a.#.b.#",
        &["a.b", "x.a.b", "a.x.b.y", "b.a.b", "a.a.b.b"],
        &["b.a", "a", "b", "a.x"],
    );
    check(
        "#.a.b.#.a.b.#",
        &["a.b.a.b", "a.a.b.a.a.b.b"],
        &["a.b", "a.b.a", "a.a.b.b"],
    );
}

#[test]
fn star_and_hash_together_ask_for_at_least_one_word() {
    check("*.#", &["a", "a.b", "."], &[""]);
    check("#.*", &["a", "a.b", "."], &[""]);
    check("#.*.#.*.#", &["a.b", ".", "a.b.c"], &["", "a"]);
    check("*.#.b", &["a.b", ".b", "b.b", "a.x.b"], &["b", "", "a"]);
}

#[test]
fn empty_pattern_matches_the_empty_key_alone() {
    check("", &[""], &["a", ".", ".."]);
}

#[test]
fn empty_words_are_words() {
    check("..", &[".."], &["a.b.c", ".", "..."]);
    check("a.", &["a."], &["a", "a.b"]);
    check(".a", &[".a"], &["a", "b.a"]);
}

#[test]
fn wildcards_within_words_are_ordinary_text() {
    check("a*", &["a*"], &["ab", "a", "a.b"]);
    check("a.**", &["a.**"], &["a.b", "a.b.c"]);
    check("a.##", &["a.##"], &["a", "a.b"]);
}

#[test]
fn wildcards_in_keys_are_ordinary_text() {
    check("a.*", &["a.*", "a.#"], &["*", "*.a"]);
    check("a.b", &["a.b"], &["a.*", "a.#", "#"]);
}

#[test]
fn mqtt_differs_in_the_characters_only() {
    let matching = [
        ("sport/tennis/#", "sport/tennis"),
        ("sport/tennis/#", "sport/tennis/player1/ranking"),
        ("sport/+", "sport/"),
        ("+/+", "/finance"),
        ("/+", "/finance"),
        ("a.*", "a.*"),
    ];
    for (filter, topic) in matching {
        check_in(Syntax::MQTT, filter, topic, true);
    }
    for (filter, topic) in [
        ("sport/+", "sport"),
        ("+", "/finance"),
        ("a.*", "a.b"),
        ("sport/#", "sports"),
    ] {
        check_in(Syntax::MQTT, filter, topic, false);
    }
}
