//! Which web pages may open WebSockets at a server.
#![cfg(unix)]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use support::{PATIENCE, Server, leveret};

const APP: &str = "https://app.example";
const ELSEWHERE: &str = "https://elsewhere.example";

/// A server with a WebSocket, whose origins the environment and flags tell.
fn serve(variable: Option<&str>, flags: &[&str]) -> (Server, SocketAddr) {
    let mut command = leveret(&["--stomp-ws", "127.0.0.1:0"]);
    command.args(flags).env_remove("LEVERET_WEBSOCKET_ORIGIN");
    if let Some(value) = variable {
        command.env("LEVERET_WEBSOCKET_ORIGIN", value);
    }
    let server = Server::start(command);
    let line = server.next_stdout_line();
    let address = line.rsplit_once(' ').expect("an address").1.to_owned();
    assert!(line.contains("WebSockets"), "{line}");
    (server, address.parse().expect("an address"))
}

/// The status that a page of this origin gets, which asks for `localhost`.
fn status(address: SocketAddr, origin: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: localhost:15674\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: {origin}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).unwrap();
    String::from_utf8(start.to_vec()).unwrap()
}

#[track_caller]
fn check(variable: Option<&str>, flags: &[&str], want: [(&str, bool); 3]) {
    let (_server, address) = serve(variable, flags);
    for (origin, is_let_in) in want {
        let want = if is_let_in { "101" } else { "403" };
        let status = status(address, origin);
        assert_eq!(
            status,
            format!("HTTP/1.1 {want}"),
            "{origin} with {flags:?}"
        );
    }
}

#[test]
fn pages_of_this_machine_are_let_in_and_those_of_the_internet_are_not() {
    let want = [
        ("http://localhost:3000", true),
        (APP, false),
        ("null", false),
    ];
    check(None, &[], want);
}

#[test]
fn pages_that_are_named_are_let_in_and_no_others() {
    let want = [
        (APP, true),
        (ELSEWHERE, true),
        ("http://localhost:3000", false),
    ];
    let flags = ["--websocket-origin", APP, "--websocket-origin", ELSEWHERE];
    check(None, &flags, want);
    check(Some(&format!("{APP},{ELSEWHERE}")), &[], want);
    // The command line goes before the environment.
    check(Some("null"), &flags, want);
    let any = [(APP, true), (ELSEWHERE, true), ("null", true)];
    check(None, &["--websocket-origin", "*"], any);
}

#[test]
fn what_no_browser_says_is_a_mistake() {
    let flags = ["--websocket-origin", "https://app.example/chat"];
    let outcome = Server::start(leveret(&flags)).outcome();
    assert_eq!(outcome.code, Some(2));
    let said = outcome.stderr.join("\n");
    assert!(said.contains("without a path"), "{said}");
}
