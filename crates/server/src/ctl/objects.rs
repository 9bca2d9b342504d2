//! Queues, exchanges, bindings and consumers.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use leveret_broker::{
    BindingOverview, Broker, ConsumerOverview, ExchangeOverview, QueueOverview, QueueType, Table,
    Value,
};
use serde::{Deserialize, Serialize};

use super::Peer;
use super::cell::Cell;
use super::connections::pid;
use super::failure::{Exit, Failure};
use super::line::Line;
use super::message::{Reply, Request};
use super::node::Node;
use super::output::{Outcome, Rows};
use super::verb::Verb;

/// What can be asked about what is in a virtual host.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Ask {
    List {
        what: Kind,
        vhost: String,
        columns: Vec<String>,
    },
    Purge {
        vhost: String,
        queue: String,
    },
    Delete {
        vhost: String,
        queue: String,
        if_empty: bool,
        if_unused: bool,
    },
}

/// Of which there are lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Kind {
    Queues,
    Exchanges,
    Bindings,
    Consumers,
}

/// How `rabbitmqctl` calls what it can tell of a queue. Those of a cluster say what they say of a queue that is on one node.
/// Not here is what leveret does not count: how much of consumers' time is used, reads and writes of the disk, persistent
/// messages, and the age of the oldest message.
const QUEUE_COLUMNS: &[&str] = &[
    "name",
    "durable",
    "auto_delete",
    "arguments",
    "policy",
    "pid",
    "owner_pid",
    "exclusive",
    "exclusive_consumer_pid",
    "exclusive_consumer_tag",
    "messages_ready",
    "messages_unacknowledged",
    "messages",
    "messages_ram",
    "messages_ready_ram",
    "messages_unacknowledged_ram",
    "message_bytes_ready",
    "message_bytes_unacknowledged",
    "message_bytes",
    "memory",
    "consumers",
    "state",
    "type",
    "leader",
    "members",
    "online",
    "slave_pids",
    "synchronised_slave_pids",
    "vhost",
];

const EXCHANGE_COLUMNS: &[&str] = &[
    "name",
    "type",
    "durable",
    "auto_delete",
    "internal",
    "arguments",
    "policy",
];

const BINDING_COLUMNS: &[&str] = &[
    "source_name",
    "source_kind",
    "destination_name",
    "destination_kind",
    "routing_key",
    "arguments",
];

const CONSUMER_COLUMNS: &[&str] = &[
    "queue_name",
    "channel_pid",
    "consumer_tag",
    "ack_required",
    "prefetch_count",
    "active",
    "arguments",
    // Only shown to those who ask for it.
    "activity_status",
];

pub(super) const VERBS: &[Verb] = &[
    Verb {
        name: "list_queues",
        usage: "list_queues [--vhost <vhost>] [--no-table-headers] [<column>, ...] [--timeout <timeout>]",
        about: "Lists the queues of a virtual host",
        arguments: (0, usize::MAX),
        columns: QUEUE_COLUMNS,
        // All queues are on this server, which is there.
        flags: &["--online", "--offline", "--local"],
        banner: |line| {
            let timeout = match line.timeout() {
                Some(timeout) => format!("{}.0 seconds", timeout.as_secs()),
                None => "infinity".to_owned(),
            };
            let vhost = line.options.vhost();
            Some(format!(
                "Timeout: {timeout} ...\nListing queues for vhost {vhost} ..."
            ))
        },
        timeout_s: Some(60),
        run: |line, peer| {
            let default = ["name", "messages"];
            if line.options.has("--offline") {
                return Ok(streamed(columns(line, &default), Vec::new()));
            }
            list(line, peer, Kind::Queues, &default)
        },
        ..Verb::PLAIN
    },
    Verb {
        name: "list_exchanges",
        usage: "list_exchanges [--vhost <vhost>] [--no-table-headers] [<column> ...]",
        about: "Lists the exchanges of a virtual host",
        arguments: (0, usize::MAX),
        columns: EXCHANGE_COLUMNS,
        banner: |line| {
            let vhost = line.options.vhost();
            Some(format!("Listing exchanges for vhost {vhost} ..."))
        },
        run: |line, peer| list(line, peer, Kind::Exchanges, &["name", "type"]),
        ..Verb::PLAIN
    },
    Verb {
        name: "list_bindings",
        usage: "list_bindings [--vhost <vhost>] [--no-table-headers] [<column> ...]",
        about: "Lists the bindings of a virtual host",
        arguments: (0, usize::MAX),
        columns: BINDING_COLUMNS,
        banner: |line| {
            let vhost = line.options.vhost();
            Some(format!("Listing bindings for vhost {vhost}..."))
        },
        run: |line, peer| list(line, peer, Kind::Bindings, BINDING_COLUMNS),
        ..Verb::PLAIN
    },
    Verb {
        name: "list_consumers",
        usage: "list_consumers [--vhost <vhost>] [--no-table-headers] [<column> ...]",
        about: "Lists the consumers in a virtual host",
        arguments: (0, usize::MAX),
        columns: CONSUMER_COLUMNS,
        banner: |line| {
            let vhost = line.options.vhost();
            Some(format!("Listing consumers in vhost {vhost} ..."))
        },
        run: |line, peer| {
            let shown = CONSUMER_COLUMNS.len() - 1;
            list(line, peer, Kind::Consumers, &CONSUMER_COLUMNS[..shown])
        },
        ..Verb::PLAIN
    },
    Verb {
        name: "purge_queue",
        usage: "purge_queue [--vhost <vhost>] <queue>",
        about: "Removes the messages of a queue that nobody holds",
        arguments: (1, 1),
        banner: |line| {
            let (queue, vhost) = (line.argument(0).ok()?, line.options.vhost());
            Some(format!("Purging queue '{queue}' in vhost '{vhost}' ..."))
        },
        run: |line, peer| {
            let ask = Ask::Purge {
                vhost: line.options.vhost().to_owned(),
                queue: line.argument(0)?.to_owned(),
            };
            peer.ask(Request::Objects(ask))?;
            Ok(Outcome::Done)
        },
        ..Verb::PLAIN
    },
    Verb {
        name: "delete_queue",
        usage: "delete_queue [--vhost <vhost>] <queue> [--if-empty|-e] [--if-unused|-u]",
        about: "Deletes a queue with its messages",
        arguments: (1, 1),
        flags: &["--if-empty", "-e", "--if-unused", "-u"],
        banner: |line| {
            let (queue, vhost) = (line.argument(0).ok()?, line.options.vhost());
            let mut conditions = Vec::new();
            if if_empty(line) {
                conditions.push("if queue is empty ");
            }
            if if_unused(line) {
                conditions.push("if queue is unused ");
            }
            let conditions = conditions.join("and ");
            Some(format!(
                "Deleting queue '{queue}' on vhost '{vhost}' {conditions}..."
            ))
        },
        run: |line, peer| {
            let ask = Ask::Delete {
                vhost: line.options.vhost().to_owned(),
                queue: line.argument(0)?.to_owned(),
                if_empty: if_empty(line),
                if_unused: if_unused(line),
            };
            match peer.ask(Request::Objects(ask))? {
                Reply::Number(ready) => Ok(Outcome::Message(format!(
                    "Queue was successfully deleted with {ready} ready messages"
                ))),
                _ => Err(Failure::unexpected()),
            }
        },
        ..Verb::PLAIN
    },
];

fn if_empty(line: &Line) -> bool {
    line.options.has("--if-empty") || line.options.has("-e")
}

fn if_unused(line: &Line) -> bool {
    line.options.has("--if-unused") || line.options.has("-u")
}

fn list(
    line: &Line,
    peer: &mut Peer<'_>,
    what: Kind,
    default: &[&str],
) -> Result<Outcome, Failure> {
    let columns = columns(line, default);
    let ask = Ask::List {
        what,
        vhost: line.options.vhost().to_owned(),
        columns: columns.clone(),
    };
    let rows = peer.ask(Request::Objects(ask))?.into_rows()?;
    Ok(streamed(columns, rows))
}

/// What was asked for, or what `rabbitmqctl` shows unless asked.
pub(super) fn columns(line: &Line, default: &[&str]) -> Vec<String> {
    let asked: Vec<String> = line.columns().map(str::to_owned).collect();
    if asked.is_empty() {
        return default.iter().map(|&column| column.to_owned()).collect();
    }
    asked
}

/// A table of which `rabbitmqctl` says nothing when it is empty.
pub(super) fn streamed(columns: Vec<String>, rows: Vec<Vec<Cell>>) -> Outcome {
    Outcome::Table(Rows {
        columns,
        rows,
        says_empty: false,
        is_headless: false,
    })
}

/// # Errors
/// As `rabbitmqctl` words them.
pub(super) async fn answer(node: &Node, ask: Ask) -> Result<Reply, Failure> {
    match ask {
        Ask::List {
            what,
            vhost,
            columns,
        } => Ok(Reply::Rows(rows(&node.broker, what, &vhost, &columns))),
        Ask::Purge { vhost, queue } => {
            let found = find(&node.broker, &vhost, &queue);
            if found.is_none() {
                return Err(Failure::new(Exit::Unavailable, "not_found"));
            }
            let purged = node.broker.purge_queue(&vhost, &queue)?;
            Ok(Reply::Number(purged))
        }
        Ask::Delete {
            vhost,
            queue,
            if_empty,
            if_unused,
        } => {
            let Some(found) = find(&node.broker, &vhost, &queue) else {
                return Err(Failure::new(Exit::Usage, "Queue not found"));
            };
            if if_empty && found.ready > 0 {
                return Err(Failure::new(Exit::Usage, "Queue is not empty"));
            }
            if if_unused && found.consumers > 0 {
                return Err(Failure::new(Exit::Usage, "Queue is in use"));
            }
            let ready = node.broker.delete_queue(&vhost, &queue)?;
            node.stored().await?;
            Ok(Reply::Number(ready))
        }
    }
}

fn find(broker: &Broker, vhost: &str, name: &str) -> Option<QueueOverview> {
    let queues = broker.queues(vhost)?;
    queues.into_iter().find(|queue| *queue.name == *name)
}

/// A virtual host that is not there has nothing in it, as in `rabbitmqctl`.
fn rows(broker: &Broker, what: Kind, vhost: &str, columns: &[String]) -> Vec<Vec<Cell>> {
    match what {
        Kind::Queues => {
            let queues = broker.queues(vhost).unwrap_or_default();
            let tags = exclusive_consumers(broker, vhost);
            table(&queues, columns, |queue, column| {
                queue_cell(vhost, queue, tags.get(&*queue.name), column)
            })
        }
        Kind::Exchanges => {
            let exchanges = broker.exchanges(vhost).unwrap_or_default();
            table(&exchanges, columns, exchange_cell)
        }
        Kind::Bindings => {
            let queues = broker.queues(vhost).unwrap_or_default();
            // The default exchange leads to each queue by its name.
            let to_queues = queues.iter().map(|queue| [&*queue.name, ""]);
            let mut rows: Vec<Vec<Cell>> = to_queues
                .map(|[name, source]| {
                    let cell = |column: &String| default_binding_cell(source, name, column);
                    columns.iter().map(cell).collect()
                })
                .collect();
            let bindings = broker.bindings(vhost).unwrap_or_default();
            rows.extend(table(&bindings, columns, binding_cell));
            rows
        }
        Kind::Consumers => {
            let consumers = broker.consumers(vhost).unwrap_or_default();
            let single = single_active(broker, vhost);
            table(&consumers, columns, |consumer, column| {
                consumer_cell(consumer, single.contains(&*consumer.queue), column)
            })
        }
    }
}

fn table<T>(things: &[T], columns: &[String], cell: impl Fn(&T, &str) -> Cell) -> Vec<Vec<Cell>> {
    let row = |thing: &T| columns.iter().map(|column| cell(thing, column)).collect();
    things.iter().map(row).collect()
}

/// By the names of their queues.
fn exclusive_consumers(broker: &Broker, vhost: &str) -> BTreeMap<String, ConsumerOverview> {
    let consumers = broker.consumers(vhost).unwrap_or_default();
    let exclusive = consumers.into_iter().filter(|consumer| consumer.exclusive);
    exclusive
        .map(|consumer| (consumer.queue.to_string(), consumer))
        .collect()
}

/// The names of the queues that give their messages to one consumer at a time.
fn single_active(broker: &Broker, vhost: &str) -> HashSet<Arc<str>> {
    let queues = broker.queues(vhost).unwrap_or_default();
    let single = queues.into_iter().filter(|queue| {
        let argument = queue.arguments.get("x-single-active-consumer");
        argument == Some(&Value::Bool(true))
    });
    single.map(|queue| queue.name).collect()
}

fn queue_cell(
    vhost: &str,
    queue: &QueueOverview,
    exclusive: Option<&ConsumerOverview>,
    column: &str,
) -> Cell {
    match column {
        "name" => Cell::text(&*queue.name),
        "durable" => Cell::Bool(queue.durable),
        "auto_delete" => Cell::Bool(queue.auto_delete),
        "arguments" => Cell::arguments(&queue.arguments),
        "owner_pid" => queue
            .owner
            .map_or(Cell::Empty, |owner| Cell::Text(pid(owner))),
        "exclusive" => Cell::Bool(queue.owner.is_some()),
        "exclusive_consumer_pid" => exclusive.map_or(Cell::Empty, channel_pid),
        "exclusive_consumer_tag" => exclusive.map_or(Cell::Empty, tag),
        "messages_ready" => Cell::number(queue.ready),
        "messages_unacknowledged" => Cell::number(queue.unacked),
        "messages" => Cell::number(queue.ready + queue.unacked),
        "messages_ram" => Cell::number(queue.resident + queue.unacked),
        "messages_ready_ram" => Cell::number(queue.resident),
        "messages_unacknowledged_ram" => Cell::number(queue.unacked),
        "message_bytes_ready" => Cell::number(queue.ready_bytes),
        "message_bytes_unacknowledged" => Cell::number(queue.unacked_bytes),
        "message_bytes" => Cell::number(queue.ready_bytes + queue.unacked_bytes),
        "memory" => Cell::number(queue.memory_bytes),
        "consumers" => Cell::number(queue.consumers),
        "state" => Cell::text("running"),
        "type" => Cell::text(match queue.queue_type {
            QueueType::Quorum => "quorum",
            _ => "classic",
        }),
        "vhost" => Cell::text(vhost),
        // A queue is no process here, there are no policies, and no other nodes.
        _ => Cell::Empty,
    }
}

fn exchange_cell(exchange: &ExchangeOverview, column: &str) -> Cell {
    match column {
        "name" => Cell::text(&*exchange.name),
        "type" => Cell::text(exchange.kind),
        "durable" => Cell::Bool(exchange.durable),
        "auto_delete" => Cell::Bool(exchange.auto_delete),
        "internal" => Cell::Bool(exchange.internal),
        "arguments" => Cell::arguments(&exchange.arguments),
        // There are no policies.
        _ => Cell::Empty,
    }
}

fn default_binding_cell(source: &str, queue: &str, column: &str) -> Cell {
    match column {
        "source_name" => Cell::text(source),
        "source_kind" => Cell::text("exchange"),
        "destination_name" | "routing_key" => Cell::text(queue),
        "destination_kind" => Cell::text("queue"),
        _ => Cell::arguments(&Table::default()),
    }
}

fn binding_cell(binding: &BindingOverview, column: &str) -> Cell {
    match column {
        "source_name" => Cell::text(&*binding.source),
        "source_kind" => Cell::text("exchange"),
        "destination_name" => Cell::text(&*binding.destination),
        "destination_kind" => Cell::text(if binding.to_exchange {
            "exchange"
        } else {
            "queue"
        }),
        "routing_key" => Cell::text(&*binding.routing_key),
        _ => Cell::arguments(&binding.arguments),
    }
}

fn consumer_cell(consumer: &ConsumerOverview, is_single: bool, column: &str) -> Cell {
    match column {
        "queue_name" => Cell::text(&*consumer.queue),
        "channel_pid" => channel_pid(consumer),
        "consumer_tag" => tag(consumer),
        "ack_required" => Cell::Bool(consumer.acknowledges),
        "prefetch_count" => Cell::number(consumer.prefetch),
        "active" => Cell::Bool(consumer.is_active),
        "activity_status" if !consumer.is_active => Cell::text("waiting"),
        "activity_status" if is_single => Cell::text("single_active"),
        "activity_status" => Cell::text("up"),
        // What else a consumer was started with is not kept.
        _ => {
            let mut arguments = Table::default();
            if consumer.priority != 0 {
                arguments.insert("x-priority", Value::I64(consumer.priority));
            }
            Cell::arguments(&arguments)
        }
    }
}

fn channel_pid(consumer: &ConsumerOverview) -> Cell {
    Cell::Text(super::connections::channel_pid(
        consumer.connection,
        consumer.channel,
    ))
}

fn tag(consumer: &ConsumerOverview) -> Cell {
    let tag = consumer.tag.as_deref();
    tag.map_or(Cell::Empty, Cell::text)
}

#[cfg(test)]
mod tests {
    use leveret_broker::{ConsumeOptions, QueueOptions};

    use super::*;

    #[tokio::test]
    async fn a_single_active_consumer_has_others_wait() {
        let broker = Broker::builder().start().await.unwrap();
        let client = broker.client().unwrap();
        let mut consumers = Vec::new();
        for (queue, single_active_consumer) in [("all", false), ("one", true)] {
            let options = QueueOptions {
                single_active_consumer,
                ..QueueOptions::default()
            };
            client.declare_queue(queue, options).await.unwrap();
            for _ in 0..2 {
                let consumer = client.consume(queue, ConsumeOptions::default()).await;
                consumers.push(consumer.unwrap());
            }
        }
        let columns = ["queue_name", "active", "activity_status"].map(str::to_owned);
        let rows = rows(&broker, Kind::Consumers, "/", &columns);
        let texts: Vec<Vec<_>> = rows
            .iter()
            .map(|row| row.iter().map(Cell::to_text).collect())
            .collect();
        let want = [
            ["all", "true", "up"],
            ["all", "true", "up"],
            ["one", "true", "single_active"],
            ["one", "false", "waiting"],
        ];
        assert_eq!(texts, want);
    }
}
