//! The binary, run as a user runs it. Signals and exit codes are those of Unix.
#![cfg(unix)]

mod support;

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;

use support::amqp::{CLOSE, Client, START};
use support::{Outcome, Server, fresh_path, leveret};

/// The server does not start: it exits with this code and says this line on stderr, and nothing else anywhere. Without a
/// log, so that stderr holds the reason alone.
#[track_caller]
fn check_refused(flags: &[&str], code: i32, line: &str) {
    let mut command = leveret(flags);
    command.args(["--log-level", "off"]);
    let outcome = Server::start(command).outcome();
    assert_eq!(outcome.code, Some(code), "{outcome:?}");
    assert_eq!(outcome.stdout, [""; 0]);
    assert_eq!(outcome.stderr, [line]);
}

#[test]
fn a_ready_server_speaks_amqp_and_ends_well_on_sigterm() {
    let (server, address) = Server::ready(&[]);
    assert_ne!(address.port(), 0);
    assert_eq!(
        server.next_stdout_line(),
        "leveret: log in as guest with password guest, from this machine only"
    );
    assert_eq!(
        server.next_stdout_line(),
        "leveret: keeping nothing after the end; --data-dir DIR keeps what is durable"
    );
    Client::connect(address).expect(START);

    server.signal("TERM");
    let outcome = server.outcome();
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert_eq!(outcome.stdout, [""; 0]);
    assert!(
        TcpStream::connect(address).is_err(),
        "somebody still listens on {address}"
    );
}

#[test]
fn ctrl_c_ends_it_well_too() {
    let (server, _) = Server::ready(&[]);
    server.signal("INT");
    assert_eq!(server.outcome().code, Some(0));
}

#[test]
fn guest_may_log_in_and_is_told_of_the_end() {
    let (server, address) = Server::ready(&[]);
    let mut client = Client::open(address);
    server.signal("TERM");
    client.expect(CLOSE);
    drop(client);
    assert_eq!(server.outcome().code, Some(0));
}

#[test]
fn a_second_signal_does_not_wait_for_clients() {
    for (name, code) in [("TERM", 143), ("INT", 130)] {
        let (server, address) = Server::ready(&[]);
        let mut client = Client::open(address);
        server.signal("TERM");
        // Never answered, so the server would wait until its patience ends, and then end with 0.
        client.expect(CLOSE);
        server.signal(name);
        assert_eq!(server.outcome().code, Some(code), "after {name}");
    }
}

#[test]
fn sighup_and_sigpipe_change_nothing() {
    let (server, address) = Server::ready(&[]);
    server.signal("HUP");
    server.signal("PIPE");
    Client::open(address);
    server.signal("TERM");
    assert_eq!(server.outcome().code, Some(0));
}

#[test]
fn it_outlives_those_who_read_its_output() {
    let (server, address) = Server::ready_without_readers(&["--log-level", "trace"]);
    Client::open(address);
    Client::open(address);
    server.signal("TERM");
    assert_eq!(server.outcome().code, Some(0));
}

#[test]
fn every_address_gets_a_line_in_the_order_of_the_flags() {
    let (server, first) = Server::ready(&["--amqp", "localhost:0"]);
    let second = server.next_address();
    assert!(first.ip().is_ipv4() && second.ip().is_loopback());
    Client::connect(first).expect(START);
    Client::connect(second).expect(START);
}

#[test]
fn a_taken_port_is_an_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let line = format!("leveret: cannot listen on {address}: address already in use");
    check_refused(&["--amqp", &address], 69, &line);
    // Also when it is the second of two: the first is not left open.
    check_refused(&["--amqp", "127.0.0.1:0", "--amqp", &address], 69, &line);
}

#[test]
fn an_address_that_this_machine_does_not_have_is_an_error() {
    // Reserved for documentation (RFC 5737), so nobody has it. The reason is worded by the system.
    let outcome = Server::start(leveret(&["--amqp", "192.0.2.1:0"])).outcome();
    assert_eq!(outcome.code, Some(69), "{outcome:?}");
    assert!(
        outcome
            .stderr
            .last()
            .unwrap()
            .starts_with("leveret: cannot listen on 192.0.2.1:0: "),
        "{outcome:?}"
    );
}

#[test]
fn bad_flags_are_errors_that_name_the_flag() {
    for (flag, value, words) in [
        ("--memory", "5XB", "unknown unit 'XB'"),
        ("--amqp", "localhost", "HOST:PORT"),
        ("--log-level", "loud", "'loud' is not a level"),
        ("--sync", "never", "'never' is none of"),
        ("--log-format", "xml", "text, json"),
        ("--colour", "red", "unexpected argument"),
    ] {
        let outcome = Server::start(leveret(&[flag, value])).outcome();
        assert_eq!(outcome.code, Some(2), "{outcome:?}");
        let said = outcome.stderr.join("\n");
        assert!(said.contains(flag) && said.contains(words), "{said}");
        assert_eq!(outcome.stdout, [""; 0]);
    }
}

#[test]
fn help_and_version_are_printed_on_stdout() {
    let outcome = Server::start(leveret(&["--help"])).outcome();
    assert_eq!((outcome.code, outcome.stderr.len()), (Some(0), 0));
    let help = outcome.stdout.join("\n");
    assert!(
        help.contains("LEVERET_AMQP") && help.contains("a power cut loses nothing"),
        "{help}"
    );

    let outcome = Server::start(leveret(&["--version"])).outcome();
    assert_eq!(
        outcome.stdout,
        [format!("leveret {}", env!("CARGO_PKG_VERSION"))]
    );
}

#[test]
fn a_mistake_in_the_configuration_file_is_reported_with_its_place() {
    let file = fresh_path("mistake.toml");
    fs::write(&file, "amqp = ['127.0.0.1:0']\n\nmemroy = '40%'\n").unwrap();
    let outcome = Server::start(leveret(&["--config", file.to_str().unwrap()])).outcome();
    assert_eq!(outcome.code, Some(78), "{outcome:?}");
    let want = format!("leveret: {}:3:1: unknown field `memroy`", file.display());
    assert!(
        outcome.stderr.len() == 1 && outcome.stderr[0].starts_with(&want),
        "{outcome:?}"
    );
}

#[test]
fn a_missing_configuration_file_is_an_error() {
    let file = fresh_path("missing.toml");
    let line = format!(
        "leveret: cannot read configuration file {}: no such file or directory",
        file.display()
    );
    check_refused(&["--config", file.to_str().unwrap()], 66, &line);
}

#[test]
fn the_configuration_file_is_obeyed() {
    let file = fresh_path("obeyed.toml");
    fs::write(
        &file,
        "amqp = ['127.0.0.1:0', '127.0.0.1:0']\nmemory = '1MiB'\nlog-format = 'json'\n",
    )
    .unwrap();
    let server = Server::start(leveret(&["--config", file.to_str().unwrap()]));
    let ports = [server.next_address(), server.next_address()].map(|address| address.port());
    assert_ne!(ports[0], ports[1]);
    let logged = server.next_stderr_line();
    assert!(
        logged.starts_with('{') && logged.contains("\"memory_limit\":1048576"),
        "{logged}"
    );
}

#[test]
fn the_disk_of_the_data_directory_is_watched() {
    let directory = fresh_path("watched");
    let server = Server::start(leveret(&[
        "--amqp=127.0.0.1:0",
        "--disk-free-limit=1000000TB",
        "--data-dir",
        directory.to_str().unwrap(),
    ]));
    let alarm = loop {
        let logged = server.next_stderr_line();
        if logged.contains("disk alarm") {
            break logged;
        }
    };
    assert!(alarm.contains("limit=1000000000000000000"), "{alarm}");
    let (_, free) = alarm
        .split_once("free=")
        .expect("it says how much there is");
    assert!(!free.starts_with('0'), "{alarm}");
}

#[test]
fn the_environment_is_obeyed_and_flags_go_before_it() {
    let file = fresh_path("below_environment.toml");
    fs::write(
        &file,
        "amqp = ['192.0.2.1:0']\nmemory = '10%'\nlog-format = 'json'\nlog-level = 'off'\n",
    )
    .unwrap();
    let mut command = leveret(&["--memory", "3MiB"]);
    command
        .env("LEVERET_CONFIG", &file)
        .env("LEVERET_AMQP", "127.0.0.1:0,127.0.0.1:0")
        .env("LEVERET_MEMORY", "2MiB")
        .env("LEVERET_LOG_LEVEL", "info")
        .env("LEVERET_LOG_FORMAT", "text");
    let server = Server::start(command);
    let addresses: [SocketAddr; 2] = [server.next_address(), server.next_address()];
    assert_ne!(addresses[0], addresses[1]);
    let logged = server.next_stderr_line();
    assert!(
        !logged.starts_with('{') && logged.contains("memory_limit=3145728"),
        "{logged}"
    );
    assert!(
        !logged.contains('\u{1b}'),
        "escape codes that no terminal reads: {logged:?}"
    );
}

#[test]
fn a_bad_variable_is_an_error() {
    let mut command = leveret(&[]);
    command.env("LEVERET_MEMORY", "lots");
    let outcome = Server::start(command).outcome();
    assert_eq!(outcome.code, Some(2), "{outcome:?}");
    assert!(
        outcome.stderr[0].contains("invalid value 'lots' for '--memory <SIZE>'"),
        "{outcome:?}"
    );
}

#[test]
fn a_data_directory_is_created_and_serves_one_process_at_a_time() {
    let parent = fresh_path("data");
    let dir = parent.join("of").join("leveret");
    let flags = ["--data-dir", dir.to_str().unwrap()];
    let (server, _) = Server::ready(&flags);
    assert_eq!(
        fs::metadata(&dir).unwrap().permissions().mode() & 0o777,
        0o700
    );
    let mut files: Vec<_> = fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .collect();
    files.sort_by_key(|file| file.file_name());
    let names: Vec<_> = files.iter().map(|file| file.file_name()).collect();
    assert_eq!(names, ["ctl.sock", "lock", "messages", "metadata.redb"]);
    let messages = fs::read_dir(dir.join("messages")).unwrap();
    files.extend(messages.map(|entry| entry.unwrap()));
    for file in files {
        let metadata = file.metadata().unwrap();
        let wanted = if metadata.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(metadata.permissions().mode() & 0o777, wanted, "{file:?}");
    }

    let line = format!(
        "leveret: cannot use data directory {}: it is in use by another process",
        dir.display()
    );
    check_refused(&["--amqp", "127.0.0.1:0", flags[0], flags[1]], 75, &line);

    // However the first one ends, its lock ends with it.
    server.signal("KILL");
    assert_eq!(server.outcome().code, None);
    let (server, _) = Server::ready(&flags);
    server.signal("TERM");
    assert_eq!(server.outcome().code, Some(0));
}

#[test]
fn a_data_directory_that_cannot_be_one_is_an_error() {
    let file = fresh_path("not_a_directory");
    fs::write(&file, "").unwrap();
    let line = format!(
        "leveret: cannot use data directory {}: file exists",
        file.display()
    );
    check_refused(&["--data-dir", file.to_str().unwrap()], 73, &line);
}

#[test]
fn what_was_answered_outlives_a_killed_server() {
    let dir = fresh_path("killed");
    let flags = ["--data-dir", dir.to_str().unwrap()];
    for round in 0..3 {
        let (server, address) = Server::ready(&flags);
        let mut client = Client::open(address);
        for earlier in 0..round {
            assert!(client.has_queue(&format!("round {earlier}")));
        }
        assert!(!client.has_queue(&format!("round {round}")));
        client.declare_durable_queue(&format!("round {round}"));
        server.signal("KILL");
        assert_eq!(server.outcome().code, None);
    }
}

#[test]
fn a_data_directory_with_something_else_in_it_is_an_error() {
    let dir = fresh_path("damaged");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("metadata.redb"), "something else").unwrap();
    let flags = ["--data-dir", dir.to_str().unwrap(), "--log-level", "off"];
    let outcome = Server::start(leveret(&flags)).outcome();
    assert_eq!(outcome.code, Some(65), "{outcome:?}");
    let line = format!(
        "leveret: cannot read {}: it is damaged (",
        dir.join("metadata.redb").display()
    );
    assert!(outcome.stderr[0].starts_with(&line), "{outcome:?}");
}

#[test]
fn without_the_flag_no_directory_is_touched() {
    let directory = fresh_path("empty");
    fs::create_dir(&directory).unwrap();
    let mut command = leveret(&["--amqp", "127.0.0.1:0"]);
    command
        .current_dir(&directory)
        .env("HOME", &directory)
        .env("TMPDIR", &directory);
    let server = Server::start(command);
    server.next_address();
    server.signal("TERM");
    assert_eq!(server.outcome().code, Some(0));
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
}

/// `leveret perf` with these options ends with this code. Returns what it has said.
#[track_caller]
fn check_perf(options: &[&str], code: i32) -> Outcome {
    let mut command = leveret(&["perf", "--quiet"]);
    command.args(options);
    let outcome = Server::start(command).outcome();
    assert_eq!(outcome.code, Some(code), "{outcome:?}");
    outcome
}

#[test]
fn perf_measures_a_server_and_exits_with_0() {
    let (_server, address) = Server::ready(&[]);
    let uri = format!("amqp://{address}");
    let outcome = check_perf(&["--uri", &uri, "--messages", "1000", "--json"], 0);
    let [line] = &*outcome.stdout else {
        panic!("{outcome:?}");
    };
    assert!(line.starts_with('{') && line.contains(r#""received":1000,"#));
    let outcome = check_perf(&["--uri", &uri, "--messages", "1000"], 0);
    let last = outcome.stdout.last().unwrap();
    assert_eq!(last, "lost 0, repeated 0, out of order 0");
}

#[test]
fn perf_says_why_it_could_not_begin() {
    let outcome = check_perf(&["--uri", "amqp://127.0.0.1:1"], 69);
    assert_eq!(outcome.stdout, [""; 0]);
    let [line] = &*outcome.stderr else {
        panic!("{outcome:?}");
    };
    assert!(
        line.starts_with("leveret perf: cannot connect to 127.0.0.1:1: "),
        "{line}"
    );
    check_perf(&["--ack-every", "2", "--prefetch", "1"], 2);
}

#[test]
fn ctrl_c_ends_perf_in_order_with_its_summary() {
    let (_server, address) = Server::ready(&[]);
    let uri = format!("amqp://{address}");
    let perf = Server::start(leveret(&["perf", "--uri", &uri, "--time", "600"]));
    // The first line of a run under way.
    assert!(perf.next_stderr_line().contains("received"));
    perf.signal("INT");
    let outcome = perf.outcome();
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let last = outcome.stdout.last().unwrap();
    assert_eq!(last, "lost 0, repeated 0, out of order 0");
}

#[test]
fn options_of_the_server_are_not_ignored_before_perf() {
    let outcome = Server::start(leveret(&["--memory", "1GB", "perf"])).outcome();
    assert_eq!(outcome.code, Some(2), "{outcome:?}");
}

#[test]
fn variables_of_the_server_do_not_stand_in_the_way_of_perf() {
    let (_server, address) = Server::ready(&[]);
    let mut command = leveret(&["perf", "--quiet", "--messages", "1"]);
    command.args(["--uri", &format!("amqp://{address}")]);
    command.env("LEVERET_LOG_LEVEL", "debug");
    assert_eq!(Server::start(command).outcome().code, Some(0));
}
