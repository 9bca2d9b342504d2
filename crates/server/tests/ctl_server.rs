//! `leveret ctl` and what it talks to: a server, its socket, or a data directory at rest.
#![cfg(unix)]

mod support;

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};

use support::ctl::{Node, check, ctl};
use support::{Server, fresh_path, leveret};

#[test]
fn a_directory_at_rest_is_worked_on_under_its_lock() {
    let dir = Node::start("ctl-at-rest").stop();
    check(&dir, &["-q", "add_user", "ann", "secret"], "");
    check(
        &dir,
        &["-s", "list_users"],
        "ann\t[]\nguest\t[administrator]",
    );
    check(
        &dir,
        &["-q", "authenticate_user", "ann", "secret"],
        "Success",
    );
    let outcome = ctl(&dir, &["status"]);
    assert_eq!(outcome.code, Some(69), "only a server has a status");

    // A server without a socket holds the lock.
    let node = Node::on(dir, &["--ctl-socket", "off"]);
    let outcome = node.ctl(&["list_users"]);
    assert_eq!(outcome.code, Some(69));
    assert!(
        outcome
            .stderr
            .join("\n")
            .contains("in use by another process"),
        "{outcome:?}"
    );
    assert!(node.can_log_in("ann", "secret"));
}

#[test]
fn a_directory_that_is_none_is_not_made() {
    let dir = fresh_path("ctl-nowhere");
    assert_eq!(ctl(&dir, &["add_user", "ann", "secret"]).code, Some(69));
    assert_eq!(ctl(&dir, &["ping"]).code, Some(69));
    assert!(!dir.exists());
}

#[test]
fn the_socket_and_the_directory_are_for_their_owner_alone() {
    let node = Node::start("ctl-modes");
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&node.dir), 0o700);
    let socket = node.dir.join("ctl.sock");
    assert!(fs::metadata(&socket).unwrap().file_type().is_socket());
    assert_eq!(mode(&socket), 0o600);
    assert_eq!(mode(&node.dir.join("metadata.redb")), 0o600);
    let dir = node.stop();
    assert!(!dir.join("ctl.sock").exists());

    // Elsewhere, in a directory that is made for it.
    let parent = fresh_path("ctl-modes-socket");
    let socket = parent.join("s");
    let node = Node::on(dir, &["--ctl-socket", socket.to_str().unwrap()]);
    assert_eq!((mode(&parent), mode(&socket)), (0o700, 0o600));
    node.check(
        &["--ctl-socket", socket.to_str().unwrap(), "-q", "ping"],
        "Ping succeeded",
    );
}

#[test]
fn a_socket_that_was_left_behind_is_taken_and_one_in_use_is_not() {
    let node = Node::start("ctl-leftover");
    node.server.signal("KILL");
    let Node { dir, server, .. } = node;
    server.outcome();
    let socket = dir.join("ctl.sock");
    assert!(socket.exists());
    let node = Node::on(dir, &[]);
    node.check(&["-q", "ping"], "Ping succeeded");

    let mut command = leveret(&["--amqp", "127.0.0.1:0", "--ctl-socket"]);
    command.arg(&socket);
    let outcome = Server::start(command).outcome();
    assert_eq!(outcome.code, Some(73));
    node.check(&["-q", "ping"], "Ping succeeded");
}

#[test]
fn the_server_is_pinged_described_and_stopped() {
    let node = Node::start("ctl-server");
    node.check(
        &["ping"],
        "Will ping the server. This only checks that it answers.\nPing succeeded",
    );
    node.check(
        &["ping", "--formatter", "json"],
        "{\"message\":\"Ping succeeded\"}",
    );
    node.check(&["await_startup"], "");
    node.check(&["version"], env!("CARGO_PKG_VERSION"));
    let status = node.ctl(&["status"]).stdout.join("\n");
    for want in [
        "Status of the server ...",
        "Alarms\n\n(none)",
        &format!("port: {}", node.address.port()),
        "Virtual host count: 1",
    ] {
        assert!(status.contains(want), "{want} in {status}");
    }
    let json = node.ctl(&["status", "--formatter", "json"]).stdout.join("");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["product_name"], "leveret");
    let environment = node.ctl(&["environment", "-q"]).stdout.join("\n");
    assert!(
        environment.contains("disk-free-limit = 50000000"),
        "{environment}"
    );

    node.check(
        &["set_vm_memory_high_watermark", "absolute", "1GB"],
        "Setting memory threshold to 1GB bytes ...",
    );
    node.check(
        &["set_disk_free_limit", "1MB"],
        "Setting disk free limit to 1MB ...",
    );
    let status = node.ctl(&["status"]).stdout.join("\n");
    assert!(
        status.contains("Memory high watermark setting: 1.0000 gb"),
        "{status}"
    );
    assert!(
        status.contains("Low free disk space watermark: 0.0010 gb"),
        "{status}"
    );
    for words in [
        &["set_vm_memory_high_watermark", "1.5"][..],
        &["set_vm_memory_high_watermark", "x"],
        &["set_disk_free_limit", "zorp"],
    ] {
        assert_eq!(node.ctl(words).code, Some(65), "{words:?}");
    }

    node.check(&["stop"], "Stopping and halting the server ...");
    let Node { dir, server, .. } = node;
    assert_eq!(server.outcome().code, Some(0));
    let outcome = ctl(&dir, &["ping"]);
    assert_eq!(outcome.code, Some(69));
    assert!(
        outcome.stderr[0].starts_with("Error: unable to perform an operation on the server at "),
        "{outcome:?}"
    );
    let outcome = ctl(&dir, &["await_startup", "-t", "0"]);
    assert_eq!(outcome.code, Some(75));
}

#[test]
fn the_command_line_is_checked_before_anybody_is_asked() {
    let nowhere = fresh_path("ctl-usage");
    for (words, want) in [
        (&["zorp"][..], "Command 'zorp' not found."),
        (&["list_user"], "Did you mean 'list_users'?"),
        (&["list_users", "extra"], "too many arguments."),
        (&["set_permissions", "ann"], "not enough arguments."),
        (
            &["list_vhosts", "zorp"],
            "Info key(s) zorp are not supported",
        ),
        (&["list_users", "--zorp"], "--zorp : "),
        (&[], "Usage"),
    ] {
        let outcome = ctl(&nowhere, words);
        assert_eq!(outcome.code, Some(64), "{words:?}");
        let text = outcome.stderr.join("\n");
        assert!(text.contains(want), "{words:?}: {text}");
        assert_eq!(outcome.stdout, [""; 0], "{words:?}");
    }
    let help = ctl(&nowhere, &["help", "list_users"]);
    assert_eq!(help.code, Some(0));
    assert!(help.stdout.join("\n").contains("leveret ctl list_users"));
    let outcome = Server::start(leveret(&["ctl", "ping"])).outcome();
    assert_eq!(outcome.code, Some(64), "{outcome:?}");
}

#[test]
fn an_answer_that_takes_too_long_is_not_waited_for() {
    let node = Node::start("ctl-timeout");
    node.check_refused(
        &["list_users", "--timeout", "0"],
        75,
        "Error: operation list_users timed out. Timeout value used: 0",
    );
}

#[test]
fn scripts_that_look_find_all_well() {
    let node = Node::start("ctl-checks");
    let port = node.address.port().to_string();
    node.check(
        &["check_running"],
        "Checking if the server is running ...\nThe server is fully booted and running",
    );
    node.check(
        &["-q", "is_running"],
        "The server is fully booted and running",
    );
    node.check(&["-q", "node_health_check"], "Health check passed");
    node.check(
        &["check_local_alarms"],
        "Asking the server to report any local resource alarms ...\nThe server reported no local alarms",
    );
    node.check(
        &["check_alarms", "--formatter", "json"],
        "{\"result\":\"ok\"}",
    );
    node.check(&["-q", "alarms"], "The server reported no alarms");
    node.check(
        &["-q", "check_virtual_hosts"],
        "The server reported all vhosts as running",
    );
    node.check(
        &["-q", "listeners"],
        &format!("Interface: 127.0.0.1, port: {port}, protocol: amqp, purpose: AMQP 0-9-1"),
    );
    node.check(
        &["check_port_listener", &port],
        &format!(
            "Asking the server if there's an active listener on port {port} ...\nA listener for port {port} is running."
        ),
    );
    node.check_refused(
        &["check_port_listener", "1"],
        69,
        &format!(
            "No listener for port 1 is active. Found listeners that use the following ports: {port}"
        ),
    );
    node.check(
        &["-q", "check_protocol_listener", "amqp"],
        "A listener for protocol amqp is running.",
    );
    node.check_refused(
        &["check_protocol_listener", "mqtt"],
        69,
        "Error:\nNo listener for protocol mqtt is active. Found listeners for the following protocols: amqp",
    );
    node.check(
        &["-q", "check_port_connectivity"],
        &format!("Successfully connected to ports {port}."),
    );
    // More is asked for than any disk has.
    let outcome = node.ctl(&["set_disk_free_limit", "9000000000000000000"]);
    assert_eq!(outcome.code, Some(0));
    node.check_refused(
        &["check_local_alarms"],
        69,
        "Error:\nFree disk space alarm on the server",
    );
    let dir = node.stop();
    assert_eq!(ctl(&dir, &["check_running"]).code, Some(69));
}

#[test]
fn the_log_says_as_much_as_it_is_told_to() {
    let node = Node::start("ctl-log-level");
    node.check(
        &["set_log_level", "debug"],
        "Setting log level to \"debug\" ...",
    );
    // Only said at this level.
    node.check(&["-q", "ping"], "Ping succeeded");
    node.check(
        &["set_log_level", "none"],
        "Setting log level to \"none\" ...",
    );
    node.check(&["-q", "add_vhost", "unheard"], "");
    node.check_refused(
        &["set_log_level", "zorp"],
        69,
        "Error:\nlevel zorp is not supported. Try one of debug, info, warning, error, critical, none",
    );
    node.server.signal("TERM");
    let log = node.server.outcome().stderr.join("\n");
    assert!(log.contains("asked at the control socket"), "{log}");
    assert!(!log.contains("stopping"), "{log}");
}
