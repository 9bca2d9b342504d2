//! `leveret ctl` takes in what RabbitMQ has exported, and writes down what another server can take in.
#![cfg(unix)]

mod support;

use std::fs;
use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use support::amqp::{CLOSE, Client, TUNE};
use support::ctl::{ctl, said};
use support::{Server, fresh_path};

/// What RabbitMQ 3.10.8 exported, with the users' passwords `secret` and `guest`.
const EXPORTED: &str = include_str!("data/rabbitmq-3.10.8.json");

fn start(name: &str) -> (Server, SocketAddr, PathBuf) {
    let dir = fresh_path(name);
    let (server, address) = Server::ready(&["--data-dir", dir.to_str().unwrap()]);
    (server, address, dir)
}

fn file(name: &str, text: &str) -> String {
    let path = fresh_path(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The entries of a directory.
fn names_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    let mut names: Vec<_> = entries.map(|entry| name(entry.unwrap())).collect();
    names.sort_unstable();
    names
}

#[test]
fn what_is_exported_is_for_its_owner_alone_whoever_could_read_the_file_before() {
    let (_server, _, dir) = start("definitions-mode");
    let exports = fresh_path("definitions-mode-exports");
    fs::create_dir(&exports).unwrap();
    let at = |name: &str| exports.join(name);
    fs::write(at("old.json"), "old").unwrap();
    fs::set_permissions(at("old.json"), fs::Permissions::from_mode(0o644)).unwrap();
    symlink(at("old.json"), at("link.json")).unwrap();
    let mut reader = fs::File::open(at("old.json")).unwrap();
    let export = |name: &str| {
        said(
            &dir,
            &["-q", "export_definitions", at(name).to_str().unwrap()],
        )
    };
    export("link.json");
    let mode = fs::metadata(at("old.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(
        fs::read_to_string(at("old.json"))
            .unwrap()
            .contains("password_hash")
    );
    // Whoever had it open reads what was in it.
    let mut seen = String::new();
    reader.read_to_string(&mut seen).unwrap();
    assert_eq!(seen, "old");
    assert_eq!(names_in(&exports), ["link.json", "old.json"]);

    // What is no file is written to as it is.
    export("/dev/null");
    assert_eq!(names_in(&exports), ["link.json", "old.json"]);
}

#[test]
fn what_rabbitmq_exported_is_there() {
    let (_server, address, dir) = start("definitions-import");
    let path = file("definitions-import.json", EXPORTED);
    assert_eq!(
        said(&dir, &["import_definitions", &path]),
        format!(
            "Importing definitions in JSON from a file at \"{path}\" ...\n\
             Successfully imported definitions: 3 users, 2 virtual hosts, 3 queues, 1 exchanges, 2 bindings."
        )
    );
    assert_eq!(
        said(&dir, &["-s", "list_users"]),
        "ann\t[management]\nguest\t[administrator]\nnobody\t[]"
    );
    for (user, password) in [("ann", "secret"), ("guest", "guest")] {
        assert_eq!(
            Client::log_in(address, user, password).hear(),
            TUNE,
            "{user}"
        );
    }
    assert_eq!(Client::log_in(address, "nobody", "").hear(), CLOSE);
    assert_eq!(
        said(&dir, &["-s", "list_permissions", "-p", "shop"]),
        "ann\t^a\t.*\t"
    );
    assert_eq!(
        said(&dir, &["-s", "list_topic_permissions", "-p", "shop"]),
        "ann\tamq.topic\t^{username}\t.*"
    );
    assert_eq!(
        said(&dir, &["-q", "list_vhost_limits", "-p", "shop"]),
        "{\"max-connections\":10,\"max-queues\":5}"
    );
    assert_eq!(
        said(&dir, &["-q", "list_user_limits", "--user", "ann"]),
        "{\"max-connections\":10}"
    );
    assert_eq!(
        said(
            &dir,
            &[
                "-s",
                "list_queues",
                "name",
                "durable",
                "auto_delete",
                "arguments"
            ]
        ),
        "a b\tfalse\ttrue\t[]\n\
         q1\ttrue\tfalse\t[{\"x-dead-letter-exchange\",\"dlx\"},{\"x-max-length\",10},{\"x-message-ttl\",60000}]\n\
         q4\tfalse\tfalse\t[]"
    );
    assert_eq!(
        said(
            &dir,
            &[
                "-s",
                "list_bindings",
                "source_name",
                "destination_name",
                "routing_key"
            ]
        ),
        "\ta b\ta b\n\tq1\tq1\n\tq4\tq4\nex\tq1\ta.*\nex\tamq.fanout\tk"
    );
    // Once more changes nothing.
    let before = said(&dir, &["export_definitions", "-"]);
    said(&dir, &["import_definitions", &path]);
    assert_eq!(said(&dir, &["export_definitions", "-"]), before);
}

#[test]
fn what_one_server_writes_another_takes_in() {
    let (server, _, dir) = start("definitions-from");
    let path = file("definitions-from.json", EXPORTED);
    said(&dir, &["import_definitions", &path]);
    said(&dir, &["-q", "add_user", "bob", "s3cret"]);
    let out = fresh_path("definitions-out.json");
    let out = out.to_str().unwrap();
    assert_eq!(
        said(&dir, &["export_definitions", out]),
        format!("Exporting definitions in JSON to a file at \"{out}\" ...")
    );
    // Hashes of passwords stand in it.
    assert_eq!(
        fs::metadata(out).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let exported = fs::read_to_string(out).unwrap();
    assert!(!exported.contains("amq.topic\",\"type"), "{exported}");

    // A data directory at rest says the same.
    server.signal("TERM");
    assert_eq!(server.outcome().code, Some(0));
    let at_rest: serde_json::Value =
        serde_json::from_str(&said(&dir, &["export_definitions", "-"])).unwrap();
    let mut running: serde_json::Value = serde_json::from_str(&exported).unwrap();
    // What was not durable is gone.
    running["queues"]
        .as_array_mut()
        .unwrap()
        .retain(|queue| queue["durable"] == true);
    assert_eq!(at_rest, running);

    let (_server, address, dir) = start("definitions-to");
    said(&dir, &["import_definitions", out]);
    let again = said(&dir, &["export_definitions", "-"]);
    assert_eq!(again, exported);
    assert_eq!(Client::log_in(address, "bob", "s3cret").hear(), TUNE);
}

#[test]
fn nonsense_is_refused_before_anything_is_done() {
    let (_server, _, dir) = start("definitions-nonsense");
    let before = said(&dir, &["export_definitions", "-"]);
    for text in [
        "{\"users\": 5",
        "{\"users\": 5}",
        "[]",
        // A hash by MD5, and none at all.
        "{\"vhosts\": [{\"name\": \"v\"}], \"users\": [{\"name\": \"u\", \"password_hash\": \"AAAAAAAAAAAAAAAAAAAAAAAAAAA=\"}]}",
        "{\"vhosts\": [{\"name\": \"v\"}], \"users\": [{\"name\": \"u\", \"password_hash\": \"x\"}]}",
        "{\"permissions\": [{\"user\": \"guest\", \"vhost\": \"/\", \"configure\": \"[\", \"write\": \"\", \"read\": \"\"}]}",
    ] {
        let path = file("definitions-nonsense.json", text);
        assert_eq!(
            ctl(&dir, &["import_definitions", &path]).code,
            Some(65),
            "{text}"
        );
    }
    let nowhere = ctl(&dir, &["import_definitions", "/nonexistent"]);
    assert_eq!(nowhere.code, Some(65));
    assert!(
        nowhere.stderr[0].ends_with("File /nonexistent does not exist"),
        "{nowhere:?}"
    );
    assert_eq!(said(&dir, &["export_definitions", "-"]), before);
}

#[test]
fn what_cannot_be_taken_in_is_told() {
    let (_server, _, dir) = start("definitions-notes");
    let path = file(
        "definitions-notes.json",
        "{\"policies\": [{}], \"parameters\": [{\"component\": \"shovel\", \"vhost\": \"/\", \"value\": {}}], \
         \"queues\": [{\"name\": \"s\", \"vhost\": \"/\", \"durable\": true, \"arguments\": {\"x-queue-type\": \"stream\"}}]}",
    );
    let told = said(&dir, &["-q", "import_definitions", &path]);
    for want in ["shovel", "1 policies", "stream"] {
        assert!(told.contains(want), "{want}: {told}");
    }
}
