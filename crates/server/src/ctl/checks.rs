//! Whether all is well, for scripts that look: what `rabbitmq-diagnostics` checks, in its words. All of it is made of the
//! status, but that ports are tried from here.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::Peer;
use super::failure::{Exit, Failure};
use super::line::Line;
use super::message::Request;
use super::output::Outcome;
use super::status::Ask;
use super::verb::Verb;

/// How long a port of this machine may take to be connected to.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

pub(super) const VERBS: &[Verb] = &[
    Verb {
        name: "check_running",
        usage: "check_running",
        about: "Fails unless the server runs and answers",
        banner: |_| Some("Checking if the server is running ...".to_owned()),
        run: |_, peer| running(peer),
        ..Verb::PLAIN
    },
    Verb {
        name: "is_running",
        usage: "is_running",
        about: "The same as check_running",
        banner: |_| Some("Asking the server for its status ...".to_owned()),
        run: |_, peer| running(peer),
        ..Verb::PLAIN
    },
    Verb {
        name: "node_health_check",
        usage: "node_health_check",
        about: "Fails unless the server answers and nothing is short",
        timeout_s: Some(70),
        banner: |_| Some("Checking health of the server ...".to_owned()),
        run: |_, peer| {
            without_alarms(&status(peer)?)?;
            Ok(Outcome::Message("Health check passed".to_owned()))
        },
        ..Verb::PLAIN
    },
    Verb {
        name: "alarms",
        usage: "alarms",
        about: "Says what is short: memory or disk",
        banner: |_| Some("Asking the server to report any known resource alarms ...".to_owned()),
        run: |_, peer| {
            let alarms = alarms(&status(peer)?);
            let text = match alarms.as_slice() {
                [] => "The server reported no alarms".to_owned(),
                alarms => format!("The server reported alarms:\n\n{}", alarms.join("\n")),
            };
            let json = json!({ "result": "ok", "alarms": alarms });
            Ok(Outcome::Report { text, json })
        },
        ..Verb::PLAIN
    },
    Verb {
        name: "check_alarms",
        usage: "check_alarms",
        about: "Fails while memory or disk is short",
        banner: |_| Some(ASKING_FOR_ALARMS.to_owned()),
        run: |_, peer| {
            without_alarms(&status(peer)?)?;
            Ok(fine("The server reported no alarms"))
        },
        ..Verb::PLAIN
    },
    Verb {
        name: "check_local_alarms",
        usage: "check_local_alarms",
        about: "The same as check_alarms: there is one server",
        banner: |_| Some(ASKING_FOR_ALARMS.to_owned()),
        run: |_, peer| {
            without_alarms(&status(peer)?)?;
            Ok(fine("The server reported no local alarms"))
        },
        ..Verb::PLAIN
    },
    Verb {
        name: "check_virtual_hosts",
        usage: "check_virtual_hosts",
        about: "Fails unless the server answers: its virtual hosts run when it does",
        banner: |_| Some("Checking if all vhosts are running ...".to_owned()),
        run: |_, peer| {
            status(peer)?;
            Ok(fine("The server reported all vhosts as running"))
        },
        ..Verb::PLAIN
    },
    Verb {
        name: "listeners",
        usage: "listeners",
        about: "Says where the server listens, and for what",
        banner: |_| Some("Asking the server to report its protocol listeners ...".to_owned()),
        run: |_, peer| {
            let status = status(peer)?;
            let text = super::status::describe_listeners(&status);
            let json = json!({ "result": "ok", "listeners": status["listeners"] });
            Ok(Outcome::Report { text, json })
        },
        ..Verb::PLAIN
    },
    Verb {
        name: "check_port_listener",
        usage: "check_port_listener <port>",
        about: "Fails unless the server listens on this port",
        arguments: (1, 1),
        banner: |line| {
            let port = line.argument(0).ok()?;
            Some(format!(
                "Asking the server if there's an active listener on port {port} ..."
            ))
        },
        run: |line, peer| {
            let wanted: u16 = word(line)?
                .parse()
                .map_err(|_| line.bad_value("Bad argument."))?;
            let ports = ports(&status(peer)?);
            if ports.contains(&wanted) {
                return Ok(fine(&format!("A listener for port {wanted} is running.")));
            }
            Err(Failure::plain(
                Exit::Unavailable,
                format!(
                    "No listener for port {wanted} is active. Found listeners that use the following ports: {}",
                    joined(&ports)
                ),
            ))
        },
        ..Verb::PLAIN
    },
    Verb {
        name: "check_protocol_listener",
        usage: "check_protocol_listener <protocol>",
        about: "Fails unless the server listens for this protocol, as listeners calls it",
        arguments: (1, 1),
        banner: |line| {
            let protocol = line.argument(0).ok()?;
            Some(format!(
                "Asking the server if there's an active listener for protocol {protocol} ..."
            ))
        },
        run: |line, peer| {
            let wanted = word(line)?;
            let status = status(peer)?;
            let mut found: Vec<&str> = listeners(&status)
                .filter_map(|listener| listener["protocol"].as_str())
                .collect();
            found.sort_unstable();
            found.dedup();
            if found.contains(&wanted) {
                let text = format!("A listener for protocol {wanted} is running.");
                return Ok(fine(&text));
            }
            Err(Failure::new(
                Exit::Unavailable,
                format!(
                    "No listener for protocol {wanted} is active. Found listeners for the following protocols: {}",
                    found.join(", ")
                ),
            ))
        },
        ..Verb::PLAIN
    },
    Verb {
        name: "check_port_connectivity",
        usage: "check_port_connectivity",
        about: "Fails unless each port on which the server listens can be connected to",
        banner: |_| Some("Testing TCP connections to all active listeners ...".to_owned()),
        run: |_, peer| {
            let status = status(peer)?;
            for listener in listeners(&status) {
                connect(listener)?;
            }
            let text = format!(
                "Successfully connected to ports {}.",
                joined(&ports(&status))
            );
            Ok(fine(&text))
        },
        ..Verb::PLAIN
    },
];

const ASKING_FOR_ALARMS: &str = "Asking the server to report any local resource alarms ...";

fn status(peer: &mut Peer<'_>) -> Result<Json, Failure> {
    peer.ask(Request::Status(Ask::Status))?.into_json()
}

fn running(peer: &mut Peer<'_>) -> Result<Outcome, Failure> {
    peer.ask(Request::Status(Ask::Ping))?;
    Ok(Outcome::Message(
        "The server is fully booted and running".to_owned(),
    ))
}

/// A check that has passed.
fn fine(text: &str) -> Outcome {
    Outcome::Report {
        text: text.to_owned(),
        json: json!({ "result": "ok" }),
    }
}

fn word(line: &Line) -> Result<&str, Failure> {
    line.argument(0)
}

/// A line for each.
fn alarms(status: &Json) -> Vec<String> {
    let alarms = status["alarms"].as_array().map(Vec::as_slice);
    let each = alarms.unwrap_or_default().iter().map(|alarm| {
        let what = match alarm.as_str() {
            Some("memory") => "Memory",
            _ => "Free disk space",
        };
        format!("{what} alarm on the server")
    });
    each.collect()
}

fn without_alarms(status: &Json) -> Result<(), Failure> {
    match alarms(status).as_slice() {
        [] => Ok(()),
        alarms => Err(Failure::new(Exit::Unavailable, alarms.join("\n"))),
    }
}

fn listeners(status: &Json) -> impl Iterator<Item = &Json> {
    status["listeners"].as_array().into_iter().flatten()
}

fn ports(status: &Json) -> Vec<u16> {
    let each = listeners(status).filter_map(|listener| listener["port"].as_u64());
    let mut ports: Vec<u16> = each.filter_map(|port| port.try_into().ok()).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

fn joined(ports: &[u16]) -> String {
    let texts: Vec<_> = ports.iter().map(u16::to_string).collect();
    texts.join(", ")
}

/// # Errors
/// When nobody takes the connection.
fn connect(listener: &Json) -> Result<(), Failure> {
    let host = listener["interface"]
        .as_str()
        .and_then(|it| it.parse().ok());
    let port = listener["port"].as_u64().and_then(|it| it.try_into().ok());
    let (Some(host), Some(port)) = (host, port) else {
        return Err(Failure::unexpected());
    };
    let address = SocketAddr::new(host, port);
    TcpStream::connect_timeout(&address, CONNECT_PATIENCE)
        .map(drop)
        .map_err(|error| {
            let problem = format!("Connection to port {port} failed: {error}");
            Failure::new(Exit::Unavailable, problem)
        })
}
