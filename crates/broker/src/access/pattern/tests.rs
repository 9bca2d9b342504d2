use super::*;

/// Which of the names that the tests are about a pattern is for, as RabbitMQ 3.10.8 says too.
#[track_caller]
fn check(pattern: &str, names: &[&str], others: &[&str]) {
    let pattern = Pattern::new(pattern).unwrap();
    for name in names {
        assert!(pattern.matches(name), "{pattern:?} is for {name:?}");
    }
    for name in others {
        assert!(!pattern.matches(name), "{pattern:?} is not for {name:?}");
    }
}

#[track_caller]
fn check_one(pattern: &str, name: &str, want: bool) {
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
    check_one("shop", "my-shop-2", true);
    check_one("^shop", "my-shop-2", false);
    check_one("^shop", "shop-2", true);
    check_one("shop$", "shop-2", false);
    check_one("^(shop|amq\\.default)$", "amq.default", true);
    check_one("^(shop|amq\\.default)$", "amqxdefault", false);
    check_one("(?i)^SHOP", "shop", true);
}

#[test]
fn the_empty_pattern_is_for_the_empty_name_alone() {
    check_one("", "q", false);
    check_one("", "", true);
    assert_eq!(Pattern::nothing(), Pattern::new("").unwrap());
}

#[test]
fn dot_star_is_for_everything() {
    check_one(".*", "", true);
    check_one(".*", "line\nbreak", true);
    assert_eq!(Pattern::everything(), Pattern::new(".*").unwrap());
}

#[test]
fn the_end_is_the_end_and_not_the_last_line_break() {
    check_one("^a$", "a\n", false);
    check_one("^.*$", "a\nb", false);
}

#[test]
fn names_are_bytes() {
    check_one("^..$", "ü", true);
    check_one("^ü$", "ü", true);
    check_one("^\\w+$", "ü", false);
}

#[test]
fn what_is_not_available_is_refused_with_its_reason() {
    check_refused("^(?!secret)", "look-around");
    check_refused("^(?<=a)b", "look-around");
    check_refused("(a)\\1", "backreferences");
    check_refused("(a", "unclosed group");
    check_refused("a|b)", "unopened group");
    check_refused("a{2,1}", "repetition");
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

#[test]
fn a_brace_that_repeats_nothing_is_itself() {
    check("^{zorp}", &["{zorp}"], &["zorp"]);
    check("^a{b$", &["a{b"], &["ab"]);
    check("^{}$", &["{}"], &[""]);
    check("^a{1,b}$", &["a{1,b}"], &["a"]);
    check("^a{,3}$", &["a{,3}"], &["aaa"]);
    check("%{x}", &["%{x}"], &["%x"]);
    check("^x{2}$", &["xx"], &["x", "xxx", "x{2}"]);
    check("^x{2,}$", &["xx", "xxx"], &["x"]);
    check("^x{1,2}?$", &["x", "xx"], &["xxx"]);
}

#[test]
fn within_a_class_only_few_things_are_special() {
    check("^[a[b]$", &["a", "[", "b"], &["]"]);
    check("^[[a]b]$", &["[b]", "ab]"], &["a", "[", "b"]);
    check("^[]a]$", &["]", "a"], &["b"]);
    check("^[^]a]$", &["b"], &["]", "a"]);
    check("^[a&&b]$", &["a", "&", "b"], &["c"]);
    check("^[a~~b]$", &["a", "~", "b"], &["c"]);
    check("^[+--]$", &["+", ",", "-"], &["."]);
    check(r"^[\w-.]$", &["a", "_", "-", "."], &["/"]);
    check(r"^[\d-z]$", &["1", "-", "z"], &["a"]);
    check("^[[:digit:]-z]$", &["1", "-", "z"], &["a"]);
    check("^[a-c-e]$", &["a", "b", "c", "-", "e"], &["d"]);
    check(r"^[\x41-\x43\101]$", &["A", "B", "C"], &["D"]);
    check("^[# ]$", &["#", " "], &["x"]);
    check("^[^[:upper:]]$", &["a", "-"], &["A"]);
    check(r"[\b]", &["\u{8}"], &["b"]);
}

#[test]
fn escapes_are_those_of_pcre() {
    check(r"\<foo\>", &["<foo>"], &["foo"]);
    check(r"^\101\x42\x{43}\e\cA\0$", &["ABC\u{1b}\u{1}\0"], &["ABC"]);
    check(r"^a\hb$", &["a b", "a\tb"], &["ab", "a\nb"]);
    check(r"^a\Rb$", &["a\nb", "a\r\nb"], &["a b", "ab"]);
    check(r"^\N+$", &["a b"], &["a\nb"]);
    check(r"^a\Z", &["a", "a\n"], &["ab", "a\n\n"]);
    check(r"^\Qa.b*\E*$", &["a.b", "a.b**"], &["axb*"]);
    check(r"^a(?#comment)+$", &["aa"], &["a#"]);
    check(r"\_\-\/\ \@", &["_-/ @"], &["_-/@"]);
}

#[test]
fn groups_may_have_names() {
    for group in ["(?P<n>b|c)", "(?<n>b|c)", "(?'n'b|c)", "(?|b|c)", "(?:b|c)"] {
        check(&format!("^a{group}?d$"), &["abd", "acd", "ad"], &["abcd"]);
    }
    check_refused("(?<a>x)(?<a>y)", "twice");
}

#[test]
fn case_is_folded_where_it_is_said() {
    check("^a(?i)b|c", &["ab", "aB", "c"], &["Ab"]);
    check("^(?i:foo)bar$", &["FOObar"], &["FOOBAR"]);
    check("^(?i)(?:a(?-i)b|c)$", &["Ab", "c"], &["aB", "C"]);
    check("^(?i)[^a]$", &["b"], &["a", "A"]);
    check("^(?i)[^[:upper:]]$", &["1"], &["a", "A"]);
    check("^(?i)[[:^upper:]]$", &["1"], &["a", "A"]);
}

#[test]
fn bytes_are_characters_of_latin_1() {
    check("^[é]+$", &["é", "éé"], &["e"]);
    check("^é+$", &["é"], &["éé"]);
    check(r"^\W+$", &["-"], &["ª", "日", "a"]);
    check("^[[:alpha:]]", &["é"], &["1"]);
}

/// The crate takes no letter for one that is not ASCII.
#[test]
fn where_words_end_is_only_known_in_ascii() {
    check(
        r"\bfoo\b",
        &["foo", "a foo-1"],
        &["foobar", "fooé", "foo é"],
    );
}

#[test]
fn what_pcre_refuses_is_refused() {
    check_refused("a**", "nothing to repeat");
    check_refused("a{2}{3}", "nothing to repeat");
    check_refused("*", "nothing to repeat");
    check_refused("(?i)*", "nothing to repeat");
    check_refused("^*", "nothing to repeat");
    check_refused("x{65536}", "too large");
    check_refused("[[:foo:]]", "no such class");
    check_refused("[[.a.]]", "collating");
    check_refused("[:alpha:]", "within a class");
    check_refused(r"\N{COLON}", "escape");
    check_refused("[a--b]", "range");
    check_refused(r"[a-\d]", "range");
    check_refused("[a", "not closed");
    check_refused("a\\", "backslash");
    check_refused(r"\u0041", "escape");
    check_refused(r"\x{100}", "escape");
    check_refused("(?#a", "not closed");
}

#[test]
fn what_could_match_more_than_in_pcre_is_refused() {
    check_refused("a++a", "possessive");
    check_refused("(?>a|ab)c", "kind of group");
    check_refused("(?(1)a)", "kind of group");
    check_refused("(?R)", "kind of group");
    check_refused("(?m)^a$", "multi-line");
    check_refused("(?x)a b", "extended");
    check_refused("(*ANYCRLF)a", "verbs");
    check_refused(r"\p{L}", "escape");
    check_refused(r"a\Kb", "escape");
    check_refused(r"(a)\g1", "backreferences");
    check_refused(&format!(r"{}\101", "(a)".repeat(101)), "backreferences");
}

#[cfg(feature = "journal")]
#[test]
fn what_was_stored_and_is_refused_now_permits_nothing() {
    let pattern = Pattern::stored("a++");
    assert_eq!(pattern.as_str(), "a++");
    assert!(!pattern.matches("a") && !pattern.matches(""));
    assert!(Pattern::stored("a+").matches("a"));
}
