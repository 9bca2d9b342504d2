//! The server's files of TLS, while it runs.
#![cfg(unix)]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind};
use support::tls::{Authority, ClientCertificate, connect_with};
use support::{PATIENCE, Server, fresh_path, leveret};

/// A server with a listener for AMQP over TLS and one without.
fn serve(flags: &[String]) -> (Server, SocketAddr, SocketAddr) {
    let mut command = leveret(&["--amqp", "127.0.0.1:0", "--amqps", "127.0.0.1:0"]);
    command.args(flags);
    let server = Server::start(command);
    let plain = server.next_address();
    let line = server.next_stdout_line();
    let address = line.strip_prefix("leveret: listening for AMQP over TLS on ");
    let secure = address.unwrap_or_else(|| panic!("{line:?}"));
    (server, plain, secure.parse().unwrap())
}

/// The next line of the log with this text in it.
fn wait_for_log(server: &Server, text: &str) -> String {
    loop {
        let line = server.next_stderr_line();
        if line.contains(text) {
            return line;
        }
    }
}

#[test]
fn new_files_are_taken_on_sighup_and_bad_ones_are_not() {
    let authority = Authority::new("tls-reload");
    authority.write("server", &["localhost"], 2090);
    let (server, _, address) = serve(&authority.flags("server"));
    wait_for_log(&server, "TLS certificate in use");
    let first = authority.greet(address, "localhost").unwrap();
    let mut old_timer = authority.connect(address, "localhost").unwrap();

    authority.write("server", &["localhost"], 2091);
    server.signal("HUP");
    wait_for_log(&server, "TLS certificates have been read anew");
    let second = authority.greet(address, "localhost").unwrap();
    assert_ne!(first, second);

    let good = fs::read_to_string(authority.path("server.pem")).unwrap();
    authority.replace("server.pem", "not a certificate");
    server.signal("HUP");
    let line = wait_for_log(&server, "the old ones stay in use");
    assert!(
        line.contains("server.pem has no certificate in PEM"),
        "{line}"
    );
    assert_eq!(authority.greet(address, "localhost").unwrap(), second);

    // A key that does not belong to the certificate.
    authority.write("other", &["localhost"], 2090);
    fs::copy(
        authority.path("other-key.pem"),
        authority.path("server-key.pem"),
    )
    .unwrap();
    authority.replace("server.pem", &good);
    server.signal("HUP");
    wait_for_log(&server, "does not go with the certificate");
    assert_eq!(authority.greet(address, "localhost").unwrap(), second);

    // One that nobody would take any more.
    authority.write("server", &["localhost"], 2020);
    server.signal("HUP");
    wait_for_log(&server, "has expired");
    assert_eq!(authority.greet(address, "localhost").unwrap(), second);

    // Who came first is still there.
    old_timer.write_all(b"AMQP\0\0\x09\x01").unwrap();
    old_timer.read_exact(&mut [0]).unwrap();
    server.signal("TERM");
    assert_eq!(server.outcome().code, Some(0));
}

#[test]
fn new_files_are_seen() {
    let authority = Authority::new("tls-watch");
    authority.write("server", &["localhost"], 2090);
    let (server, _, address) = serve(&authority.flags("server"));
    let first = authority.greet(address, "localhost").unwrap();
    authority.write("server", &["localhost"], 2091);
    // Between the two files there may have been a look, which finds that they do not belong together.
    wait_for_log(&server, "TLS certificates have been read anew");
    assert_ne!(authority.greet(address, "localhost").unwrap(), first);
}

#[test]
fn who_comes_to_the_wrong_port_finds_a_line_in_the_log() {
    let authority = Authority::new("tls-ports");
    authority.write("server", &["localhost"], 2090);
    let (server, plain, secure) = serve(&authority.flags("server"));
    let mut stream = TcpStream::connect(secure).unwrap();
    stream.write_all(b"AMQP\0\0\x09\x01").unwrap();
    wait_for_log(
        &server,
        "the client does not speak TLS, but AMQP in the clear",
    );
    assert!(authority.connect(plain, "localhost").is_err());
    wait_for_log(&server, "a client of TLS, on a port without it");
}

#[test]
fn names_have_certificates_of_their_own() {
    let authority = Authority::new("tls-names");
    authority.write("server", &["localhost"], 2090);
    authority.write("shop", &["*.shop.example"], 2090);
    let config = fresh_path("tls-names.toml");
    let text = format!(
        "[[tls-certificate]]\nname = '*.shop.example'\ncert = '{}'\nkey = '{}'\n",
        authority.path("shop.pem"),
        authority.path("shop-key.pem")
    );
    fs::write(&config, text).unwrap();
    let mut flags = authority.flags("server").to_vec();
    flags.extend(["--config".to_owned(), config.to_str().unwrap().to_owned()]);
    let (_server, _, address) = serve(&flags);
    let shop = authority.greet(address, "mq.shop.example").unwrap();
    assert_ne!(authority.greet(address, "localhost").unwrap(), shop);
    assert!(authority.greet(address, "elsewhere.example").is_err());
}

#[test]
fn the_end_of_a_certificate_is_told_of() {
    let authority = Authority::new("tls-expired");
    authority.write("server", &["localhost"], 2020);
    let (server, _, _) = serve(&authority.flags("server"));
    let line = wait_for_log(&server, "the TLS certificate has expired");
    assert!(
        line.contains("ERROR") && line.contains("server.pem"),
        "{line}"
    );
}

#[test]
fn mistakes_are_told_of_before_anything_runs() {
    let authority = Authority::new("tls-mistakes");
    authority.write("server", &["localhost"], 2090);
    let cert = authority.path("server.pem");
    let check = |flags: &[&str], code, want: &str| {
        let outcome = Server::start(leveret(flags)).outcome();
        assert_eq!(outcome.code, Some(code), "{:?}", outcome.stderr);
        let line = outcome.stderr.last().unwrap();
        assert!(line.contains(want), "{line}");
    };
    check(
        &["--tls-cert", &cert],
        78,
        "leveret: tls-cert needs tls-key",
    );
    check(
        &["--tls-cert", &cert, "--tls-key", "nowhere.pem"],
        66,
        "leveret: cannot read nowhere.pem: no such file",
    );
    check(
        &["--tls-cert", &cert, "--tls-key", &cert],
        78,
        "has no private key in PEM",
    );
    check(
        &["--amqps", "127.0.0.1:0"],
        78,
        "leveret: a listener for TLS needs tls-cert and tls-key",
    );
}

#[test]
fn a_proxy_is_believed() {
    let (server, address) = Server::ready(&["--proxy-protocol-from", "127.0.0.1"]);
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 5672\r\nAMQP\x01\x01\0\x0a")
        .unwrap();
    let line = wait_for_log(&server, "not AMQP 0-9-1");
    assert!(
        line.contains("203.0.113.7:4711 -> 192.0.2.1:5672"),
        "{line}"
    );
}

/// The first byte of the server's answer to AMQP's header, for who shows this certificate.
fn is_let_in(authority: &Authority, client: &ClientCertificate, address: SocketAddr) -> bool {
    let greet = || {
        let mut stream = authority.connect_as(Some(client), address, "localhost")?;
        stream.write_all(b"AMQP\0\0\x09\x01")?;
        // With TLS 1.3 a client learns here that its certificate was refused.
        stream.read_exact(&mut [0])
    };
    greet().is_ok()
}

#[test]
fn who_is_revoked_is_refused_and_lists_are_read_anew() {
    let authority = Authority::new("tls-revoked");
    authority.write("server", &["localhost"], 2090);
    authority.write_own("ca.pem");
    authority.write_revoked("crl.pem", &[7], 2090);
    let (ann, bob) = (authority.sign_user("ann", 7), authority.sign_user("bob", 8));
    let mut flags = authority.flags("server").to_vec();
    for (flag, file) in [
        ("--tls-client-ca", "ca.pem"),
        ("--tls-client-crl", "crl.pem"),
    ] {
        flags.extend([flag.to_owned(), authority.path(file)]);
    }
    let (server, _, address) = serve(&flags);
    wait_for_log(&server, "list of revoked certificates in use");
    assert!(!is_let_in(&authority, &ann, address));
    assert!(is_let_in(&authority, &bob, address));
    wait_for_log(&server, "Revoked");

    // Who is there stays.
    let mut old_timer = authority
        .connect_as(Some(&bob), address, "localhost")
        .unwrap();
    authority.write_revoked("crl.pem", &[7, 8], 2090);
    server.signal("HUP");
    wait_for_log(&server, "TLS certificates have been read anew");
    assert!(!is_let_in(&authority, &bob, address));
    old_timer.write_all(b"AMQP\0\0\x09\x01").unwrap();
    old_timer.read_exact(&mut [0]).unwrap();

    // A list that makes no sense changes nothing; one that is out of date does.
    authority.replace("crl.pem", "nothing");
    server.signal("HUP");
    let line = wait_for_log(&server, "the old ones stay in use");
    assert!(
        line.contains("has no list of revoked certificates in PEM"),
        "{line}"
    );
    assert!(!is_let_in(&authority, &bob, address));
    authority.write_revoked("crl.pem", &[7], 2021);
    server.signal("HUP");
    wait_for_log(&server, "out of date; it is believed all the same");
    assert!(is_let_in(&authority, &bob, address));
    assert!(!is_let_in(&authority, &ann, address));

    // Of whom no list says anything is refused: his authority has none here.
    let stranger = Authority::new("tls-revoked-stranger");
    stranger.write_revoked("crl.pem", &[], 2090);
    let list = fs::read_to_string(stranger.path("crl.pem")).unwrap();
    authority.replace("crl.pem", &list);
    server.signal("HUP");
    wait_for_log(&server, "TLS certificates have been read anew");
    assert!(!is_let_in(&authority, &bob, address));
}

/// How the second of two handshakes of a client went.
fn second_handshake(client: &Arc<ClientConfig>, address: SocketAddr) -> HandshakeKind {
    let connect = || {
        let mut stream = connect_with(client, address, "localhost").unwrap();
        stream.write_all(b"AMQP\0\0\x09\x01").unwrap();
        // With TLS 1.3 what there is to resume by comes before this.
        stream.read_exact(&mut [0]).unwrap();
        stream.conn.handshake_kind().unwrap()
    };
    connect();
    connect()
}

#[test]
fn a_certificate_is_verified_with_each_connection() {
    let authority = Authority::new("tls-resumed");
    authority.write("server", &["localhost"], 2090);
    authority.write_own("ca.pem");
    let ann = authority.sign_user("ann", 7);
    let flags = authority.flags("server").to_vec();
    let (_open, _, to_anybody) = serve(&flags);
    for required in ["required", "optional"] {
        let ca = authority.path("ca.pem");
        let more = ["--tls-client-ca", &ca, "--tls-client-cert", required];
        let more = more.map(str::to_owned);
        let (_server, _, address) = serve(&[&flags[..], &more].concat());
        for version in [&TLS12, &TLS13] {
            let kind =
                |shown, address| second_handshake(&authority.client(shown, &[version]), address);
            let resumed = kind(Some(&ann), address);
            assert!(
                matches!(
                    resumed,
                    HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest
                ),
                "{version:?} {required}: {resumed:?}"
            );
            // Where nobody shows anything, this client does resume.
            assert_eq!(kind(None, to_anybody), HandshakeKind::Resumed);
        }
    }
}

#[test]
fn operators_see_how_long_certificates_hold_and_what_clients_show() {
    let authority = Authority::new("tls-seen");
    authority.write("server", &["localhost"], 2090);
    authority.write_own("ca.pem");
    authority.write_revoked("crl.pem", &[], 2021);
    let dir = fresh_path("tls-seen-data");
    let mut flags = authority.flags("server").to_vec();
    flags.extend(["--data-dir".to_owned(), dir.to_str().unwrap().to_owned()]);
    for (flag, file) in [
        ("--tls-client-ca", "ca.pem"),
        ("--tls-client-crl", "crl.pem"),
    ] {
        flags.extend([flag.to_owned(), authority.path(file)]);
    }
    let (_server, _, address) = serve(&flags);
    let ask = |words: &[&str]| support::ctl::said(&dir, words);
    let rows = ask(&["-s", "list_certificates", "kind", "not_after", "subject"]);
    let subject = "CN=rcgen self signed cert";
    assert_eq!(
        rows,
        format!(
            "certificate\t2090-12-31T00:00:00Z\t{subject}\nrevocation_list\t2021-12-31T00:00:00Z\t{subject}"
        )
    );
    let json = ask(&[
        "list_certificates",
        "file",
        "days_left",
        "--formatter",
        "json",
    ]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[0]["file"], authority.path("server.pem"));
    assert!(json[0]["days_left"].as_i64().unwrap() > 10_000);
    assert!(json[1]["days_left"].as_i64().unwrap() < 0);
    let status = ask(&["status"]);
    assert!(status.contains("server.pem, kind: certificate, days left: "));
    let status = ask(&["status", "--formatter", "json"]);
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["certificates"][0]["days_left"], json[0]["days_left"]);

    let ann = authority.sign_user("ann", 7);
    let _client = authority
        .connect_as(Some(&ann), address, "localhost")
        .unwrap();
    let columns = [
        "ssl",
        "ssl_protocol",
        "ssl_key_exchange",
        "ssl_hash",
        "peer_cert_subject",
        "peer_cert_issuer",
        "peer_cert_validity",
    ];
    let row = ask(&[&["-s", "list_connections"], &columns[..]].concat());
    assert_eq!(
        row,
        format!(
            "true\ttlsv1.3\tany\taead\tCN=ann\t{subject}\t1975-01-01T00:00:00Z - 4096-01-01T00:00:00Z"
        )
    );
}
