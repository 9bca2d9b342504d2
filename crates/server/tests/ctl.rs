//! `leveret ctl` against a running server and a data directory at rest: users, permissions, virtual hosts, limits.
//!
//! Texts and exit codes are those that `rabbitmqctl` of RabbitMQ 3.10.8 gave for the same words, but where the comment
//! says otherwise.
#![cfg(unix)]

mod support;

use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::PathBuf;
use std::process::Stdio;

use support::amqp::{CLOSE, Client, OPEN_OK, TUNE};
use support::ctl::{check, check_refused, ctl};
use support::{Outcome, Server, fresh_path, leveret};

/// A server on a data directory of its own.
struct Node {
    dir: PathBuf,
    server: Server,
    address: std::net::SocketAddr,
}

impl Node {
    fn start(name: &str) -> Self {
        Self::on(fresh_path(name), &[])
    }

    fn on(dir: PathBuf, flags: &[&str]) -> Self {
        let mut all = vec!["--data-dir", dir.to_str().unwrap()];
        all.extend(flags);
        let (server, address) = Server::ready(&all);
        Self {
            dir,
            server,
            address,
        }
    }

    fn ctl(&self, words: &[&str]) -> Outcome {
        ctl(&self.dir, words)
    }

    #[track_caller]
    fn check(&self, words: &[&str], want: &str) {
        check(&self.dir, words, want);
    }

    #[track_caller]
    fn check_refused(&self, words: &[&str], code: i32, want: &str) {
        check_refused(&self.dir, words, code, want);
    }

    fn stop(self) -> PathBuf {
        self.server.signal("TERM");
        assert_eq!(self.server.outcome().code, Some(0));
        self.dir
    }

    fn can_log_in(&self, user: &str, password: &str) -> bool {
        let mut client = Client::log_in(self.address, user, password);
        client.hear() == TUNE
    }
}

#[test]
fn users_are_made_changed_and_removed() {
    let node = Node::start("ctl-users");
    // The last sentence names the other program.
    node.check(
        &["add_user", "ann", "secret"],
        "Adding user \"ann\" ...\nDone. Don't forget to grant the user permissions to some virtual hosts! See 'leveret ctl \
         help set_permissions' to learn more.",
    );
    node.check_refused(
        &["add_user", "ann", "secret"],
        70,
        "Error:\nUser \"ann\" already exists",
    );
    node.check(&["-q", "add_user", "bob", "pw"], "");
    node.check(
        &["set_user_tags", "ann", "administrator", "foo"],
        "Setting tags for user \"ann\" to [administrator, foo] ...",
    );
    node.check(
        &["list_users"],
        "Listing users ...\nuser\ttags\nann\t[administrator, foo]\nbob\t[]\nguest\t[administrator]",
    );
    node.check(
        &["list_users", "-q"],
        "user\ttags\nann\t[administrator, foo]\nbob\t[]\nguest\t[administrator]",
    );
    node.check(
        &["list_users", "-s"],
        "ann\t[administrator, foo]\nbob\t[]\nguest\t[administrator]",
    );
    node.check(
        &["list_users", "--formatter", "json"],
        "[\n{\"user\":\"ann\",\"tags\":[\"administrator\",\"foo\"]}\n,{\"user\":\"bob\",\"tags\":[]}\n\
         ,{\"user\":\"guest\",\"tags\":[\"administrator\"]}\n]",
    );
    node.check(
        &["authenticate_user", "ann", "secret"],
        "Authenticating user \"ann\" ...\nSuccess",
    );
    for user in ["ann", "nobody"] {
        node.check_refused(
            &["authenticate_user", user, "wrong"],
            65,
            &format!(
                "Error:\nError: failed to authenticate user \"{user}\"\nuser '{user}' - invalid credentials"
            ),
        );
    }
    node.check(
        &["change_password", "ann", "s2"],
        "Changing password for user \"ann\" ...",
    );
    assert!(node.can_log_in("ann", "s2"));
    assert!(!node.can_log_in("ann", "secret"));
    node.check(
        &["clear_password", "ann"],
        "Clearing password for user \"ann\" ...",
    );
    assert!(!node.can_log_in("ann", "s2"));
    node.check(&["delete_user", "bob"], "Deleting user \"bob\" ...");
    for words in [
        &["delete_user", "bob"][..],
        &["change_password", "bob", "x"],
        &["set_user_tags", "bob", "x"],
    ] {
        node.check_refused(words, 67, "Error:\nUser \"bob\" does not exist");
    }
}

#[test]
fn an_empty_password_lets_nobody_in() {
    let node = Node::start("ctl-empty-password");
    let outcome = node.ctl(&["add_user", "ann", ""]);
    assert_eq!(outcome.code, Some(0));
    assert!(!node.can_log_in("ann", ""));
}

#[test]
fn what_was_done_is_there_after_a_restart_and_the_first_user_is_gone_for_good() {
    let node = Node::start("ctl-restart");
    for words in [
        &["add_user", "ann", "secret"][..],
        &["add_vhost", "shop"],
        &["set_permissions", "-p", "shop", "ann", "^a", ".*", ""],
        &[
            "set_topic_permissions",
            "-p",
            "shop",
            "ann",
            "amq.topic",
            "^{username}",
            ".*",
        ],
        &[
            "set_user_limits",
            "ann",
            "{\"max-connections\": 10, \"max-channels\": 5}",
        ],
        &[
            "set_vhost_limits",
            "-p",
            "shop",
            "{\"max-connections\": 10, \"max-queues\": 5}",
        ],
        &["delete_user", "guest"],
    ] {
        let outcome = node.ctl(words);
        assert_eq!(
            (outcome.code, &*outcome.stderr),
            (Some(0), &[][..]),
            "{words:?}"
        );
    }
    // Killed, and not told to stop: what was answered is on the disk.
    node.server.signal("KILL");
    let Node { dir, server, .. } = node;
    server.outcome();

    let node = Node::on(dir, &[]);
    assert_eq!(
        node.server.next_stdout_line(),
        "leveret: log in as one of 1 users, which leveret ctl list_users names"
    );
    node.check(&["-s", "list_users"], "ann\t[]");
    node.check(&["-s", "list_vhosts"], "/\nshop");
    node.check(&["-s", "list_permissions", "-p", "shop"], "ann\t^a\t.*\t");
    node.check(
        &["-s", "list_topic_permissions", "-p", "shop"],
        "ann\tamq.topic\t^{username}\t.*",
    );
    node.check(
        &["-q", "list_user_limits", "--user", "ann"],
        "{\"max-channels\":5,\"max-connections\":10}",
    );
    node.check(
        &["-q", "list_vhost_limits", "-p", "shop"],
        "{\"max-connections\":10,\"max-queues\":5}",
    );
    assert!(node.can_log_in("ann", "secret"));
    assert!(!node.can_log_in("guest", "guest"));
}

#[test]
fn permissions_are_set_listed_and_cleared() {
    let node = Node::start("ctl-permissions");
    node.ctl(&["add_user", "ann", "secret"]);
    node.check(&["add_vhost", "shop"], "Adding vhost \"shop\" ...");
    node.check(&["add_vhost", "shop"], "Adding vhost \"shop\" ...");
    node.check(
        &["set_permissions", "-p", "shop", "ann", "^a", ".*", ""],
        "Setting permissions for user \"ann\" in vhost \"shop\" ...",
    );
    node.check(
        &["list_permissions", "-p", "shop"],
        "Listing permissions for vhost \"shop\" ...\nuser\tconfigure\twrite\tread\nann\t^a\t.*\t",
    );
    node.check(
        &["list_permissions", "-p", "shop", "--formatter", "json"],
        "[\n{\"user\":\"ann\",\"configure\":\"^a\",\"write\":\".*\",\"read\":\"\"}\n]",
    );
    node.check(
        &["list_user_permissions", "ann"],
        "Listing permissions for user \"ann\" ...\nvhost\tconfigure\twrite\tread\nshop\t^a\t.*\t",
    );
    node.check_refused(
        &["set_permissions", "-p", "nope", "ann", "", "", ""],
        69,
        "Error:\nVirtual host nope does not exist",
    );
    for words in [
        &["set_permissions", "-p", "shop", "nobody", "", "", ""][..],
        &["clear_permissions", "-p", "shop", "nobody"],
        &["set_topic_permissions", "-p", "shop", "nobody", "t", "", ""],
        &["clear_topic_permissions", "-p", "shop", "nobody"],
    ] {
        node.check_refused(words, 67, "Error:\nUser nobody does not exist");
    }
    // RabbitMQ's words are those of its library.
    let outcome = node.ctl(&["set_permissions", "-p", "shop", "ann", "[", "", ""]);
    assert_eq!(outcome.code, Some(69));
    node.check_refused(
        &["list_permissions", "-p", "nope"],
        65,
        "Virtual host 'nope' does not exist",
    );
    node.check(
        &["clear_permissions", "-p", "shop", "ann"],
        "Clearing permissions for user \"ann\" in vhost \"shop\" ...",
    );
    node.check(
        &["list_permissions", "--vhost=shop"],
        "Listing permissions for vhost \"shop\" ...\n",
    );
    node.check(
        &[
            "set_topic_permissions",
            "-p",
            "shop",
            "ann",
            "amq.topic",
            "^{username}",
            ".*",
        ],
        "Setting topic permissions on \"amq.topic\" for user \"ann\" in vhost \"shop\" ...",
    );
    node.check(
        &["list_topic_permissions", "-p", "shop"],
        "Listing topic permissions for vhost \"shop\" ...\nuser\texchange\twrite\tread\nann\tamq.topic\t^{username}\t.*",
    );
    node.check(
        &["clear_topic_permissions", "-p", "shop", "ann"],
        "Clearing topic permissions for user \"ann\" in vhost \"shop\" ...",
    );
    node.check(&["delete_vhost", "shop"], "Deleting vhost \"shop\" ...");
    node.check_refused(
        &["delete_vhost", "shop"],
        65,
        "Virtual host 'shop' does not exist",
    );
}

#[test]
fn limits_act_at_once() {
    let node = Node::start("ctl-limits");
    node.check(
        &["set_vhost_limits", "-p", "/", "{\"max-connections\": 1}"],
        "Setting vhost limits to \"{\"max-connections\": 1}\" for vhost \"/\" ...",
    );
    let _first = Client::open(node.address);
    let refused = || {
        let mut client = Client::log_in(node.address, "guest", "guest");
        client.open_vhost("/");
        client.hear()
    };
    assert_eq!(refused(), CLOSE);
    node.check(
        &["clear_vhost_limits", "-p", "/"],
        "Clearing vhost \"/\" limits ...",
    );
    assert_eq!(refused(), OPEN_OK);
    node.check_refused(
        &["clear_vhost_limits"],
        69,
        "Error:\nParameter does not exist",
    );
    node.check(
        &["list_vhost_limits"],
        "Listing limits for vhost \"/\" ...\n",
    );
    node.check(
        &["set_user_limits", "guest", "{\"max-connections\": 1}"],
        "Setting user limits to \"{\"max-connections\": 1}\" for user \"guest\" ...",
    );
    node.check(
        &["list_user_limits", "--global"],
        "Listing limits for all users ...\nuser\tlimits\nguest\t{\"max-connections\":1}",
    );
    assert_eq!(refused(), CLOSE);
    node.check(
        &["clear_user_limits", "guest", "all"],
        "Clearing all limits for user \"guest\" ...",
    );
    assert_eq!(refused(), OPEN_OK);
    for words in [
        &["set_user_limits", "nobody", "{}"][..],
        &["clear_user_limits", "nobody", "all"],
        &["list_user_limits", "--user", "nobody"],
    ] {
        node.check_refused(words, 69, "Error:\n{:no_such_user, \"nobody\"}");
    }
    for limits in ["zorp", "{\"max-bla\": 5}", "{\"max-queues\": \"x\"}"] {
        let outcome = node.ctl(&["set_vhost_limits", limits]);
        assert_eq!(outcome.code, Some(69), "{limits}");
    }
}

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
fn passwords_come_from_stdin_where_no_list_of_processes_shows_them() {
    let node = Node::start("ctl-stdin");
    let typed = |words: &[&str], text: &str| {
        let mut command = leveret(&["ctl", "--data-dir", node.dir.to_str().unwrap()]);
        command.args(words).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        (output.status.code(), stdout)
    };
    let (code, stdout) = typed(&["add_user", "ann"], "from stdin\nmore\n");
    assert_eq!(code, Some(0));
    assert!(
        stdout.starts_with("Adding user \"ann\" ...\nPassword: \nDone."),
        "{stdout}"
    );
    assert!(node.can_log_in("ann", "from stdin"));
    assert_eq!(typed(&["change_password", "ann"], "no end").0, Some(0));
    assert!(node.can_log_in("ann", "no end"));
    assert_eq!(typed(&["authenticate_user", "ann"], "no end").0, Some(0));
    let (code, stdout) = typed(&["hash_password"], "test");
    assert_eq!(code, Some(0));
    assert!(
        stdout.contains("$argon2id$") && !stdout.contains("test\n"),
        "{stdout}"
    );
    node.check_refused(
        &["add_user", "bob"],
        65,
        "Error:\nPassword is not provided via argument or stdin",
    );
}

const CONFIG: &str = "
[[vhost]]
name = 'shop'

[[user]]
name = 'op'
password = 'secret'

[[permission]]
user = 'op'
vhost = '/'
configure = '.*'
write = '.*'
read = '.*'
";

#[test]
fn what_the_file_says_cannot_be_changed_and_what_is_beside_it_can() {
    let config = fresh_path("ctl-fixed.toml");
    fs::write(&config, CONFIG).unwrap();
    let node = Node::on(
        fresh_path("ctl-fixed"),
        &["--config", config.to_str().unwrap()],
    );
    node.check(&["-s", "list_users"], "op\t[]");
    for words in [
        &["change_password", "op", "x"][..],
        &["delete_user", "op"],
        &["set_permissions", "op", "", "", ""],
        &["clear_permissions", "op"],
        &["delete_vhost", "/"],
        &["delete_vhost", "shop"],
    ] {
        let outcome = node.ctl(words);
        assert_eq!(outcome.code, Some(69), "{words:?}: {outcome:?}");
        let text = outcome.stderr.join("\n");
        assert!(text.contains("configur"), "{words:?}: {text}");
    }
    assert!(node.can_log_in("op", "secret"));
    node.check(
        &["-q", "set_permissions", "-p", "shop", "op", "", "", ""],
        "",
    );
    node.check(&["-q", "add_user", "ann", "pw"], "");
    let dir = node.stop();

    // Without the file there is whom ctl has made; guest never was.
    let node = Node::on(dir, &[]);
    node.check(&["-s", "list_users"], "ann\t[]");
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
fn no_password_stands_in_the_log() {
    let dir = fresh_path("ctl-secrets");
    let node = Node::on(dir, &["--log-level", "trace"]);
    for words in [
        &["add_user", "ann", "s3cret-1"][..],
        &["change_password", "ann", "s3cret-2"],
        &["authenticate_user", "ann", "s3cret-2"],
        &["authenticate_user", "ann", "s3cret-3"],
        &["authenticate_user", "nobody", "s3cret-3"],
        &["add_user", "ann", "s3cret-4", "more"],
    ] {
        let outcome = node.ctl(words);
        let said = [outcome.stdout, outcome.stderr].concat().join("\n");
        assert!(!said.contains("s3cret"), "{words:?}: {said}");
    }
    assert!(node.can_log_in("ann", "s3cret-2"));
    node.server.signal("TERM");
    let log = node.server.outcome().stderr.join("\n");
    assert!(log.contains("asked at the control socket"), "{log}");
    assert!(
        !log.contains("s3cret") && !log.contains("argon2id$"),
        "{log}"
    );
}
