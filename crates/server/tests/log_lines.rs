//! What clients can do to the lines of the log: nothing.
#![cfg(unix)]

mod support;

use support::Server;
use support::amqp::{CLOSE, Client};

/// Looks like a line of ours behind a line end, and has codes for terminals and of C1.
const FORGED: &str = "x\r\n2026-01-01 INFO forged\x1b[31m\u{9b}2J\u{7f}";

/// Has a server log what clients chose, and gives the lines.
fn logged(flags: &[&str]) -> Vec<String> {
    let (server, address) = Server::ready(flags);
    let mut stranger = Client::connect(address);
    stranger.log_in_by(FORGED, "");
    stranger.expect_end();
    Client::log_in(address, FORGED, "wrong").expect(CLOSE);
    let mut elsewhere = Client::log_in(address, "guest", "guest");
    elsewhere.open_vhost(FORGED);
    elsewhere.expect(CLOSE);
    let mut client = Client::open(address);
    assert!(!client.has_queue(FORGED));
    drop(client);
    server.signal("TERM");
    let outcome = server.outcome();
    assert_eq!(outcome.code, Some(0));
    outcome.stderr
}

/// All have the form of ours, at least four have what was chosen, and none has a character of control.
#[track_caller]
fn check(lines: &[String], is_ours: impl Fn(&str) -> bool, chosen: &str) {
    for line in lines {
        assert!(is_ours(line), "{line:?}");
        assert!(!line.contains(char::is_control), "{line:?}");
    }
    let with_chosen = lines.iter().filter(|line| line.contains(chosen)).count();
    assert!(with_chosen >= 4, "{lines:#?}");
}

/// Whether a line begins with a time to the second.
fn begins_with_time(line: &str) -> bool {
    let form = |byte: u8| if byte.is_ascii_digit() { b'0' } else { byte };
    let start: Vec<u8> = line.bytes().take(19).map(form).collect();
    start == b"0000-00-00T00:00:00"
}

#[test]
fn a_line_of_text_is_one_line_whatever_clients_are_called() {
    let lines = logged(&[]);
    let chosen = r"2026-01-01 INFO forged\u{1b}[31m\u{9b}2J\u{7f}";
    check(&lines, begins_with_time, chosen);
}

#[test]
fn a_line_of_json_is_one_line_whatever_clients_are_called() {
    let lines = logged(&["--log-format", "json"]);
    let is_json = |line: &str| serde_json::from_str::<serde_json::Value>(line).is_ok();
    check(
        &lines,
        is_json,
        r"2026-01-01 INFO forged\u001b[31m\u009b2J\u007f",
    );
}
