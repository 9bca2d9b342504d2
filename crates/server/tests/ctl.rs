//! `leveret ctl` against a running server: users, permissions, virtual hosts, limits.
//!
//! Texts and exit codes are those that `rabbitmqctl` of RabbitMQ 3.10.8 gave for the same words, but where the comment
//! says otherwise.
#![cfg(unix)]

mod support;

use std::fs;
use std::io::Write;
use std::process::Stdio;

use support::amqp::{CLOSE, Client, OPEN_OK};
use support::ctl::Node;
use support::{fresh_path, leveret};

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
    let no_bob = "Error:\n{:no_such_user, \"bob\"}";
    node.check_refused(&["clear_password", "bob"], 69, no_bob);
}

#[test]
fn an_empty_password_lets_nobody_in() {
    let node = Node::start("ctl-empty-password");
    let outcome = node.ctl(&["add_user", "ann", ""]);
    assert_eq!(outcome.code, Some(0));
    assert!(!node.can_log_in("ann", ""));
}

#[test]
fn a_user_has_a_name() {
    let node = Node::start("ctl-no-name");
    let outcome = node.ctl(&["add_user", "", "secret"]);
    assert_eq!(outcome.code, Some(65));
    assert_eq!(
        outcome.stderr[0],
        "Error (argument validation): Bad argument: user cannot be an empty string"
    );
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
    node.check_refused(
        &["set_permissions", "-p", "nope", "nobody", "", "", ""],
        67,
        "Error:\nUser nobody does not exist",
    );
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
    // Without a header row, as in RabbitMQ.
    node.check(
        &["list_user_topic_permissions", "ann"],
        "Listing topic permissions for user \"ann\" ...\nshop\tamq.topic\t^{username}\t.*",
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
    node.check(
        &["list_vhost_limits", "--formatter", "json"],
        r#"{"result":"ok","value":"{\"max-connections\":1}"}"#,
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
    node.check(&["list_vhost_limits", "--formatter", "json"], "[]");
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
    let limited = |limits: &str, want: &str| {
        let outcome = node.ctl(&["set_user_limits", "guest", limits]);
        assert_eq!(outcome.code, Some(0), "{limits}");
        node.check(&["-q", "list_user_limits"], want);
    };
    limited("{\"max-channels\": 7}", "{\"max-channels\":7}");
    // What is not named stays.
    let both = "{\"max-channels\":7,\"max-connections\":6}";
    limited("{\"max-connections\": 6}", both);
    limited("{}", both);
    limited("{\"max-channels\": -1}", "{\"max-connections\":6}");
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
