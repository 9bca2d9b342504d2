//! `leveret store`, run as a user runs it.
#![cfg(unix)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use support::{Outcome, Server, fresh_path, leveret};

/// A data directory with messages that an earlier version has written.
fn data_dir(name: &str) -> PathBuf {
    let dir = fresh_path(name);
    let messages = dir.join("messages");
    fs::create_dir_all(&messages).unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../queue-store/tests/data/v1");
    for entry in fs::read_dir(fixture).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), messages.join(entry.file_name())).unwrap();
    }
    dir
}

fn store(command: &str, dir: &Path, flags: &[&str]) -> Outcome {
    let mut words = vec!["store", command, dir.to_str().unwrap()];
    words.extend(flags);
    Server::start(leveret(&words)).outcome()
}

/// Overwrites some bytes in the middle of the log.
fn damage(dir: &Path) {
    let log = dir.join("messages/log-00000001");
    let mut bytes = fs::read(&log).unwrap();
    let middle = bytes.len() / 4;
    bytes[middle..middle + 8].copy_from_slice(b"damaged!");
    fs::write(&log, bytes).unwrap();
}

#[test]
fn an_intact_directory_is_reported_and_left_as_it_is() {
    let dir = data_dir("store_intact");
    for command in ["check", "repair"] {
        let outcome = store(command, &dir, &[]);
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        assert_eq!(outcome.stdout.last().unwrap(), "intact");
        assert!(outcome.stdout[0].starts_with("queue "), "{outcome:?}");
    }
    let outcome = store("check", &dir, &["--json"]);
    let [line] = outcome.stdout.as_slice() else {
        panic!("{outcome:?}");
    };
    let report: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(report["intact"], true);
    assert_eq!(report["repaired"], false);
    assert!(report["queues"][0]["messages"].is_u64());
}

#[test]
fn damage_is_found_then_repaired() {
    let dir = data_dir("store_damaged");
    damage(&dir);
    for _ in 0..2 {
        let outcome = store("check", &dir, &[]);
        assert_eq!(outcome.code, Some(65), "{outcome:?}");
        let found = outcome.stdout.iter();
        let mut found = found.filter(|line| line.starts_with("damaged: log-00000001 at byte "));
        assert!(found.next().is_some(), "{outcome:?}");
    }
    let outcome = store("repair", &dir, &["--json"]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let report: serde_json::Value = serde_json::from_str(&outcome.stdout[0]).unwrap();
    assert_eq!(report["repaired"], true);
    assert_eq!(report["damages"][0]["file"], "log-00000001");
    assert_eq!(store("check", &dir, &[]).code, Some(0));
}

#[test]
fn a_directory_in_use_is_refused() {
    let dir = fresh_path("store_in_use");
    let (_server, _) = Server::ready(&["--data-dir", dir.to_str().unwrap()]);
    for command in ["check", "repair"] {
        let outcome = store(command, &dir, &[]);
        assert_eq!(outcome.code, Some(75), "{outcome:?}");
        assert!(outcome.stderr[0].contains("in use by another process"));
    }
}

#[test]
fn what_is_no_data_directory_stays_untouched() {
    let dir = fresh_path("store_nothing");
    let outcome = store("repair", &dir, &[]);
    assert_eq!(outcome.code, Some(66), "{outcome:?}");
    assert!(outcome.stderr[0].ends_with("there is no folder messages in it"));
    assert!(!dir.exists());
}
