//! Connections and channels.

use std::time::{Duration, UNIX_EPOCH};

use leveret_broker::{ChannelOverview, ConnectionOverview};
use serde::{Deserialize, Serialize};

use super::cell::Cell;
use super::failure::{Exit, Failure};
use super::message::{Reply, Request};
use super::node::Node;
use super::objects::{columns, streamed};
use super::output::Outcome;
use super::verb::Verb;
use super::{Peer, certificates};

/// What can be asked about connections.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Ask {
    Connections {
        columns: Vec<String>,
    },
    Channels {
        columns: Vec<String>,
    },
    Close {
        id: u64,
        reason: String,
    },
    CloseAll {
        of: Whose,
        reason: String,
        /// How many at most; zero for all.
        limit: u64,
        /// Between one and the next.
        delay_ms: u64,
    },
}

/// Which connections are meant.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Whose {
    Everybody,
    Vhost(String),
    User(String),
}

const CONNECTION_COLUMNS: &[&str] = &[
    "pid",
    "name",
    "port",
    "host",
    "peer_port",
    "peer_host",
    "ssl",
    "state",
    "channels",
    "protocol",
    "auth_mechanism",
    "user",
    "vhost",
    "timeout",
    "frame_max",
    "channel_max",
    "client_properties",
    "connected_at",
    "recv_oct",
    "recv_cnt",
    "send_oct",
    "send_cnt",
    "send_pend",
    "ssl_protocol",
    "ssl_key_exchange",
    "ssl_cipher",
    "ssl_hash",
    "peer_cert_subject",
    "peer_cert_issuer",
    "peer_cert_validity",
];

const CHANNEL_COLUMNS: &[&str] = &[
    "pid",
    "connection",
    "name",
    "number",
    "user",
    "vhost",
    "transactional",
    "confirm",
    "consumer_count",
    "messages_unacknowledged",
    "messages_uncommitted",
    "acks_uncommitted",
    "messages_unconfirmed",
    "prefetch_count",
    "global_prefetch_count",
];

pub(super) const VERBS: &[Verb] = &[
    Verb {
        name: "list_connections",
        usage: "list_connections [--no-table-headers] [<column> ...]",
        about: "Lists the connections of clients",
        arguments: (0, usize::MAX),
        columns: CONNECTION_COLUMNS,
        banner: |_| Some("Listing connections ...".to_owned()),
        run: |line, peer| {
            let columns = columns(line, &["user", "peer_host", "peer_port", "state"]);
            let ask = Ask::Connections {
                columns: columns.clone(),
            };
            let rows = peer.ask(Request::Connections(ask))?.into_rows()?;
            Ok(streamed(columns, rows))
        },
        ..Verb::PLAIN
    },
    Verb {
        name: "list_channels",
        usage: "list_channels [--no-table-headers] [<column> ...]",
        about: "Lists the channels of all connections",
        arguments: (0, usize::MAX),
        columns: CHANNEL_COLUMNS,
        banner: |_| Some("Listing channels ...".to_owned()),
        run: |line, peer| {
            let default = ["pid", "user", "consumer_count", "messages_unacknowledged"];
            let columns = columns(line, &default);
            let ask = Ask::Channels {
                columns: columns.clone(),
            };
            let rows = peer.ask(Request::Connections(ask))?.into_rows()?;
            Ok(streamed(columns, rows))
        },
        ..Verb::PLAIN
    },
    Verb {
        name: "close_connection",
        usage: "close_connection <connectionpid> <explanation>",
        about: "Closes a connection, which list_connections names by its pid; its client is told why",
        arguments: (2, 2),
        banner: |line| {
            let (pid, reason) = (line.argument(0).ok()?, line.argument(1).ok()?);
            Some(format!("Closing connection {pid}, reason: {reason}..."))
        },
        run: |line, peer| {
            let word = line.argument(0)?;
            let id = id_of(word).ok_or_else(|| {
                let problem = format!("Error:\n{{:invalid_pid_syntax, \"{word}\"}}");
                Failure::new(Exit::Unavailable, problem)
            })?;
            let reason = line.argument(1)?.to_owned();
            // One that is gone is fine, as in RabbitMQ.
            peer.ask(Request::Connections(Ask::Close { id, reason }))?;
            Ok(Outcome::Done)
        },
        ..Verb::PLAIN
    },
    Verb {
        name: "close_all_connections",
        usage: "close_all_connections [--vhost <vhost> --limit <limit>] [--global] [--per-connection-delay <delay>] <explanation>",
        about: "Closes all connections to a virtual host, or as many as --limit says, or those to all with --global; with a \
                delay, in milliseconds, one after the other",
        arguments: (1, 1),
        flags: &["--global", "--limit", "--per-connection-delay"],
        banner: |line| {
            let (reason, vhost) = (line.argument(0).ok()?, line.options.vhost());
            let limit = line.options.limit;
            Some(if line.options.has("--global") {
                format!("Closing all connections (across all vhosts), reason: {reason}...")
            } else if limit > 0 {
                format!("Closing {limit} connections in vhost {vhost}, reason: {reason}...")
            } else {
                format!("Closing all connections in vhost {vhost}, reason: {reason}...")
            })
        },
        run: |line, peer| {
            // With --global RabbitMQ does not look at the limit.
            let (of, limit) = match line.options.has("--global") {
                true => (Whose::Everybody, 0),
                false => (
                    Whose::Vhost(line.options.vhost().to_owned()),
                    line.options.limit,
                ),
            };
            let ask = Ask::CloseAll {
                of,
                reason: line.argument(0)?.to_owned(),
                limit,
                delay_ms: line.options.per_connection_delay_ms,
            };
            let closed = close_all(peer, ask)?;
            Ok(Outcome::Message(format!("Closed {closed} connections")))
        },
        ..Verb::PLAIN
    },
    Verb {
        name: "close_all_user_connections",
        usage: "close_all_user_connections <username> <explanation>",
        about: "Closes all connections of a user",
        arguments: (2, 2),
        banner: |line| {
            let (user, reason) = (line.argument(0).ok()?, line.argument(1).ok()?);
            Some(format!(
                "Closing connections of user {user}, reason: {reason}..."
            ))
        },
        run: |line, peer| {
            let ask = Ask::CloseAll {
                of: Whose::User(line.argument(0)?.to_owned()),
                reason: line.argument(1)?.to_owned(),
                limit: 0,
                delay_ms: 0,
            };
            close_all(peer, ask)?;
            Ok(Outcome::Done)
        },
        ..Verb::PLAIN
    },
];

fn close_all(peer: &mut Peer<'_>, ask: Ask) -> Result<u64, Failure> {
    match peer.ask(Request::Connections(ask))? {
        Reply::Number(closed) => Ok(closed),
        _ => Err(Failure::unexpected()),
    }
}

/// What a connection is called, in the form in which scripts know the process of one.
pub(super) fn pid(id: u64) -> String {
    format!("<leveret.{id}>")
}

pub(super) fn channel_pid(connection: u64, number: u16) -> String {
    format!("<leveret.{connection}.{number}>")
}

/// Which connection is called so. The angle brackets may be left out, because shells do not like them.
fn id_of(pid: &str) -> Option<u64> {
    let inner = pid.strip_prefix('<').and_then(|pid| pid.strip_suffix('>'));
    inner.unwrap_or(pid).strip_prefix("leveret.")?.parse().ok()
}

/// # Errors
/// Never, at the moment.
pub(super) async fn answer(node: &Node, ask: Ask) -> Result<Reply, Failure> {
    let broker = &node.broker;
    match ask {
        Ask::Connections { columns } => {
            let connections = broker.connections().await;
            let rows = connections.iter().map(|connection| {
                let cell = |column: &String| connection_cell(connection, column);
                columns.iter().map(cell).collect()
            });
            Ok(Reply::Rows(rows.collect()))
        }
        Ask::Channels { columns } => {
            let connections = broker.connections().await;
            let mut rows = Vec::new();
            for connection in &connections {
                for channel in &connection.channels {
                    let cell = |column: &String| channel_cell(connection, channel, column);
                    rows.push(columns.iter().map(cell).collect());
                }
            }
            Ok(Reply::Rows(rows))
        }
        Ask::Close { id, reason } => {
            tracing::info!(id, reason, "closing a connection for the operator");
            broker.close_connection(id, &reason);
            Ok(Reply::Done)
        }
        Ask::CloseAll {
            of,
            reason,
            limit,
            delay_ms,
        } => {
            tracing::info!(?of, reason, "closing connections for the operator");
            let delay = Duration::from_millis(delay_ms);
            let mut closed = 0;
            for connection in broker.connections().await {
                if limit > 0 && closed == limit {
                    break;
                }
                let is_meant = match &of {
                    Whose::Everybody => true,
                    Whose::Vhost(vhost) => connection.vhost.as_deref() == Some(vhost),
                    Whose::User(user) => connection.user.as_deref() == Some(user),
                };
                if !is_meant {
                    continue;
                }
                if closed > 0 && !delay.is_zero() {
                    tokio::time::sleep(delay).await;
                }
                if broker.close_connection(connection.id, &reason) {
                    closed += 1;
                }
            }
            Ok(Reply::Number(closed))
        }
    }
}

fn connection_cell(connection: &ConnectionOverview, column: &str) -> Cell {
    let text = |text: Option<&str>| text.map_or(Cell::Empty, Cell::text);
    let (peer, local) = (connection.peer, connection.local);
    match column {
        "pid" => Cell::Text(pid(connection.id)),
        "name" => Cell::text(&*connection.name),
        "port" => local.map_or(Cell::Empty, |local| Cell::number(local.port())),
        "host" => local.map_or(Cell::Empty, |local| Cell::Text(local.ip().to_string())),
        "peer_port" => peer.map_or(Cell::Empty, |peer| Cell::number(peer.port())),
        "peer_host" => peer.map_or(Cell::Empty, |peer| Cell::Text(peer.ip().to_string())),
        "ssl" => Cell::Bool(connection.is_encrypted),
        // A peer that does not read holds itself up, which RabbitMQ calls flow.
        "state" if connection.is_unread => Cell::text("flow"),
        "state" => Cell::text(connection.state.as_str()),
        "channels" => Cell::number(connection.channels.len()),
        // As RabbitMQ writes it.
        "protocol" if connection.protocol == "AMQP 0-9-1" => Cell::text("{0,9,1}"),
        "protocol" => Cell::text(&*connection.protocol),
        "auth_mechanism" => text(connection.mechanism),
        "user" => text(connection.user.as_deref()),
        "vhost" => text(connection.vhost.as_deref()),
        "timeout" => Cell::number(connection.heartbeat_s),
        "frame_max" => Cell::number(connection.frame_size_max),
        "channel_max" => Cell::number(connection.channel_max),
        "client_properties" => Cell::arguments(&connection.client_properties),
        "connected_at" => {
            let since_epoch = connection.connected_at.duration_since(UNIX_EPOCH);
            Cell::number(since_epoch.unwrap_or_default().as_millis())
        }
        "recv_oct" => Cell::number(connection.received_bytes),
        "recv_cnt" => Cell::number(connection.reads),
        "send_oct" => Cell::number(connection.sent_bytes),
        "send_cnt" => Cell::number(connection.writes),
        "send_pend" => Cell::number(connection.unwritten_bytes),
        _ => certificates::connection_cell(connection.tls.as_deref(), column),
    }
}

fn channel_cell(connection: &ConnectionOverview, channel: &ChannelOverview, column: &str) -> Cell {
    match column {
        "pid" => Cell::Text(channel_pid(connection.id, channel.number)),
        "connection" => Cell::Text(pid(connection.id)),
        "name" => Cell::Text(format!("{} ({})", connection.name, channel.number)),
        "number" => Cell::number(channel.number),
        "user" | "vhost" => connection_cell(connection, column),
        "transactional" => Cell::Bool(channel.transactional),
        "confirm" => Cell::Bool(channel.confirms),
        "consumer_count" => Cell::number(channel.consumers),
        "messages_unacknowledged" => Cell::number(channel.unacked),
        "messages_uncommitted" => Cell::number(channel.uncommitted),
        "acks_uncommitted" => Cell::number(channel.uncommitted_acks),
        "messages_unconfirmed" => Cell::number(channel.unconfirmed),
        "prefetch_count" => Cell::number(channel.prefetch),
        "global_prefetch_count" => Cell::number(channel.global_prefetch),
        _ => Cell::Empty,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_names_a_connection() {
        assert_eq!(id_of(&pid(17)), Some(17));
        assert_eq!(id_of("leveret.17"), Some(17));
        for other in ["<a.b.c>", "17", "<leveret.17", "<leveret.1.2>", ""] {
            assert_eq!(id_of(other), None, "{other}");
        }
    }
}
