//! `leveret ctl` lists what is in a running server, and closes, purges and deletes it. Texts and codes are RabbitMQ's.
#![cfg(unix)]

mod support;

use std::net::SocketAddr;
use std::path::PathBuf;

use support::amqp::{CLOSE, Client};
use support::ctl::{check, check_refused, ctl};
use support::{Server, fresh_path};

fn start(name: &str) -> (Server, SocketAddr, PathBuf) {
    let dir = fresh_path(name);
    let (server, address) = Server::ready(&["--data-dir", dir.to_str().unwrap()]);
    (server, address, dir)
}

#[test]
fn an_empty_server_has_exchanges_and_nothing_else() {
    let (_server, _, dir) = start("lists-empty");
    check(
        &dir,
        &["list_queues"],
        "Timeout: 60.0 seconds ...\nListing queues for vhost / ...",
    );
    check(&dir, &["list_queues", "-p", "nope", "-q"], "");
    check(&dir, &["list_connections"], "Listing connections ...");
    check(&dir, &["list_channels"], "Listing channels ...");
    check(
        &dir,
        &["list_consumers"],
        "Listing consumers in vhost / ...",
    );
    check(&dir, &["list_bindings"], "Listing bindings for vhost /...");
    check(
        &dir,
        &[
            "list_exchanges",
            "name",
            "type",
            "durable",
            "auto_delete",
            "internal",
            "arguments",
            "policy",
        ],
        "Listing exchanges for vhost / ...\nname\ttype\tdurable\tauto_delete\tinternal\targuments\tpolicy\n\
         \tdirect\ttrue\tfalse\tfalse\t[]\t\n\
         amq.direct\tdirect\ttrue\tfalse\tfalse\t[]\t\n\
         amq.fanout\tfanout\ttrue\tfalse\tfalse\t[]\t\n\
         amq.headers\theaders\ttrue\tfalse\tfalse\t[]\t\n\
         amq.match\theaders\ttrue\tfalse\tfalse\t[]\t\n\
         amq.rabbitmq.trace\ttopic\ttrue\tfalse\ttrue\t[]\t\n\
         amq.topic\ttopic\ttrue\tfalse\tfalse\t[]\t",
    );
    check_refused(&dir, &["purge_queue", "nope"], 69, "Error:\nnot_found");
    check_refused(
        &dir,
        &["delete_queue", "nope"],
        64,
        "Error:\nQueue not found",
    );
}

#[test]
fn queues_and_connections_are_listed_and_ended() {
    let (_server, address, dir) = start("lists-full");
    let mut client = Client::open(address);
    client.declare_durable_queue("kept");
    assert!(client.has_queue("kept"));
    check(&dir, &["list_queues", "-q"], "name\tmessages\nkept\t0");
    check(
        &dir,
        &[
            "list_queues",
            "-s",
            "name",
            "durable",
            "arguments",
            "state,type",
            "exclusive",
            "messages_ready_ram",
            "messages_unacknowledged_ram",
            "leader",
            "slave_pids",
        ],
        "kept\ttrue\t[]\trunning\tclassic\tfalse\t0\t0\t\t",
    );
    check(
        &dir,
        &[
            "list_queues",
            "--formatter",
            "json",
            "name",
            "consumers",
            "durable",
        ],
        "[\n{\"name\":\"kept\",\"consumers\":0,\"durable\":true}\n]",
    );
    check(
        &dir,
        &["list_bindings", "-s"],
        "\texchange\tkept\tqueue\tkept\t[]",
    );
    let port = client.local_address().port();
    check(
        &dir,
        &["list_connections"],
        &format!(
            "Listing connections ...\nuser\tpeer_host\tpeer_port\tstate\nguest\t127.0.0.1\t{port}\trunning"
        ),
    );
    check(
        &dir,
        &[
            "list_connections",
            "-s",
            "name",
            "user",
            "vhost",
            "protocol",
            "ssl",
            "channels",
        ],
        &format!("127.0.0.1:{port} -> {address}\tguest\t/\t{{0,9,1}}\tfalse\t2"),
    );
    check(
        &dir,
        &[
            "list_connections",
            "-s",
            "auth_mechanism",
            "client_properties",
            "send_pend",
        ],
        "PLAIN\t[{\"capabilities\",[{\"authentication_failure_close\",true}]}]\t0",
    );
    check(
        &dir,
        &[
            "list_connections",
            "--formatter",
            "json",
            "client_properties",
        ],
        "[\n{\"client_properties\":[[\"capabilities\",\"table\",[[\"authentication_failure_close\",\"bool\",true]]]]}\n]",
    );
    let counters = [
        "list_connections",
        "-s",
        "connected_at",
        "recv_oct",
        "recv_cnt",
        "send_oct",
        "send_cnt",
    ];
    let numbers = ctl(&dir, &counters).stdout.remove(0);
    let numbers: Vec<u64> = numbers
        .split('\t')
        .map(|word| word.parse().unwrap())
        .collect();
    let [connected_at, received, reads, sent, writes] = numbers[..] else {
        panic!("{numbers:?}");
    };
    // Of this century, in milliseconds.
    assert!((1_700_000_000_000..4_000_000_000_000).contains(&connected_at));
    assert!(received > 100 && (1..=received).contains(&reads));
    assert!(sent > 100 && (1..=sent).contains(&writes));
    let channels = ctl(&dir, &["list_channels", "-s", "number", "user", "confirm"]);
    assert_eq!(channels.stdout, ["1\tguest\tfalse", "2\tguest\tfalse"]);

    check(
        &dir,
        &["purge_queue", "kept"],
        "Purging queue 'kept' in vhost '/' ...",
    );
    check(
        &dir,
        &["delete_queue", "kept", "--if-empty", "--if-unused"],
        "Deleting queue 'kept' on vhost '/' if queue is empty and if queue is unused ...\n\
         Queue was successfully deleted with 0 ready messages",
    );
    check(&dir, &["list_queues", "-q"], "");

    let pid = ctl(&dir, &["list_connections", "-s", "pid"])
        .stdout
        .remove(0);
    check(
        &dir,
        &["close_connection", &pid, "bye now"],
        &format!("Closing connection {pid}, reason: bye now..."),
    );
    client.expect(CLOSE);
    check_refused(
        &dir,
        &["close_connection", "<a.b.c>", "bye"],
        69,
        "Error:\nError:\n{:invalid_pid_syntax, \"<a.b.c>\"}",
    );
    drop(client);

    let mut clients = [0; 2].map(|_| Client::open(address));
    check(
        &dir,
        &["close_all_connections", "-p", "nope", "bye"],
        "Closing all connections in vhost nope, reason: bye...\nClosed 0 connections",
    );
    let closed = ctl(&dir, &["close_all_connections", "-p", "/", "-q", "bye"]);
    assert_eq!(closed.stdout, ["Closed 2 connections"]);
    for client in &mut clients {
        client.expect(CLOSE);
    }
    drop(clients);

    let clients = [0; 2].map(|_| Client::open(address));
    check(
        &dir,
        &[
            "close_all_connections",
            "--limit=1",
            "--per-connection-delay",
            "1",
            "bye",
        ],
        "Closing 1 connections in vhost /, reason: bye...\nClosed 1 connections",
    );
    drop(clients);
    let mut client = Client::open(address);
    check(
        &dir,
        &["close_all_user_connections", "guest", "bye"],
        "Closing connections of user guest, reason: bye...",
    );
    client.expect(CLOSE);
}
