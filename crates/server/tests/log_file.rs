//! A log that goes to a file.
#![cfg(unix)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use support::ctl::Node;
use support::{PATIENCE, Server, fresh_path, leveret};

/// A server whose log goes to `leveret.log` in this directory, which is made.
fn start(dir: &Path) -> Node {
    fs::create_dir(dir).unwrap();
    let log = dir.join("leveret.log");
    Node::on(dir.join("data"), &["--log-file", log.to_str().unwrap()])
}

fn text(dir: &Path, name: &str) -> String {
    fs::read_to_string(dir.join(name)).unwrap()
}

/// Waits until this stands in a file.
#[track_caller]
#[expect(
    clippy::disallowed_methods,
    reason = "another process writes it, and tells nobody"
)]
fn wait_for(dir: &Path, name: &str, words: &str) {
    let start = std::time::Instant::now();
    while !fs::read_to_string(dir.join(name)).is_ok_and(|text| text.contains(words)) {
        assert!(start.elapsed() < PATIENCE, "no '{words}' in {name}");
        std::thread::yield_now();
    }
}

#[test]
fn a_log_is_moved_away_and_goes_on_where_it_was() {
    let dir = fresh_path("log-rotated");
    let node = start(&dir);
    let log = dir.join("leveret.log");
    let mode = fs::metadata(&log).unwrap().permissions().mode();
    assert_eq!(mode & 0o777 & !0o640, 0, "{mode:o}");
    assert!(text(&dir, "leveret.log").contains("starting"));

    fs::rename(&log, dir.join("leveret.log.1")).unwrap();
    node.check(&["rotate_logs"], "Rotating logs of the server ...");
    let rotated = text(&dir, "leveret.log");
    assert!(rotated.contains("log file opened anew"), "{rotated}");
    assert!(!rotated.contains("starting"));

    fs::rename(&log, dir.join("leveret.log.2")).unwrap();
    node.server.signal("HUP");
    wait_for(&dir, "leveret.log", "SIGHUP");
    assert_eq!(text(&dir, "leveret.log.2"), rotated);

    // Where nothing is moved away nothing is lost.
    node.check(&["-q", "rotate_logs"], "");
    assert!(text(&dir, "leveret.log").contains("SIGHUP"));
    node.server.signal("TERM");
    let outcome = node.server.outcome();
    assert_eq!(outcome.code, Some(0));
    assert_eq!(outcome.stderr, [""; 0], "all of it is in the file");
    assert!(text(&dir, "leveret.log").contains("stopped"));
}

#[test]
fn a_log_that_cannot_be_opened_anew_goes_on_in_the_old_file() {
    let dir = fresh_path("log-kept");
    let node = start(&dir);
    let log = dir.join("leveret.log");
    fs::rename(&log, dir.join("old")).unwrap();
    fs::create_dir(&log).unwrap();
    let outcome = node.ctl(&["-q", "rotate_logs"]);
    assert_eq!(outcome.code, Some(69));
    let said = outcome.stderr.join("\n");
    assert_eq!(
        said,
        "Error:\nThe log file cannot be opened, and the log goes on in the old one: is a directory"
    );
    let old = text(&dir, "old");
    assert!(old.contains("cannot open the log file anew"), "{old}");
    fs::remove_dir(&log).unwrap();
    node.check(&["-q", "rotate_logs"], "");
    assert!(text(&dir, "leveret.log").contains("opened anew"));
}

#[test]
fn without_a_log_file_there_is_nothing_to_rotate() {
    let node = Node::start("log-none");
    let outcome = node.ctl(&["-q", "rotate_logs"]);
    assert_eq!(outcome.code, Some(69));
    assert_eq!(
        outcome.stderr.join("\n"),
        "Error:\nThe log goes to stderr; there is no log file (--log-file)"
    );
}

#[test]
fn a_log_file_that_cannot_be_made_is_a_reason_not_to_start() {
    let path = fresh_path("log-nowhere").join("leveret.log");
    let flags = [
        "--amqp",
        "127.0.0.1:0",
        "--log-file",
        path.to_str().unwrap(),
    ];
    let outcome = Server::start(leveret(&flags)).outcome();
    assert_eq!(outcome.code, Some(73));
    let want = format!(
        "leveret: cannot write to log file {}: no such file or directory",
        path.display()
    );
    assert_eq!(outcome.stderr, [want]);
}
