//! `leveret ctl` on a data directory, with a server on it or without.

use std::path::Path;

use super::{Outcome, Server, leveret};

/// What came of these words.
pub(crate) fn ctl(dir: &Path, words: &[&str]) -> Outcome {
    let mut command = leveret(&["ctl", "--data-dir", dir.to_str().unwrap()]);
    command.args(words);
    Server::start(command).outcome()
}

/// What stands on stdout, of words that are right.
#[track_caller]
pub(crate) fn said(dir: &Path, words: &[&str]) -> String {
    let outcome = ctl(dir, words);
    assert_eq!(outcome.stderr, [""; 0], "{words:?}");
    assert_eq!(outcome.code, Some(0), "{words:?}");
    outcome.stdout.join("\n")
}

#[track_caller]
pub(crate) fn check(dir: &Path, words: &[&str], want: &str) {
    assert_eq!(said(dir, words), want, "{words:?}");
}

#[track_caller]
pub(crate) fn check_refused(dir: &Path, words: &[&str], code: i32, want: &str) {
    let outcome = ctl(dir, words);
    assert_eq!(outcome.stderr.join("\n"), want, "{words:?}");
    assert_eq!(outcome.code, Some(code), "{words:?}");
}
