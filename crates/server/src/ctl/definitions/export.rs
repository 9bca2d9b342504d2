//! Writing down what there is.

use leveret_broker::{ExchangeOverview, QueueType, VhostLimits};
use serde_json::{Value as Json, json};

use super::json::of_table;
use crate::ctl::limits::{user_limits_json, vhost_limits_json};
use crate::ctl::node::Node;

/// Everything in the order and with the names of RabbitMQ 3.10. What cannot outlive a connection is left out, and what is
/// in every virtual host.
pub(super) fn everything(node: &Node) -> Json {
    let broker = &node.broker;
    let vhosts = broker.vhosts();
    let mut queues = Vec::new();
    let mut exchanges = Vec::new();
    let mut bindings = Vec::new();
    let mut parameters = Vec::new();
    for vhost in &vhosts {
        let limits = broker.vhost_limits(vhost).unwrap_or_default();
        if limits != VhostLimits::default() {
            parameters.push(json!({
                "component": "vhost-limits", "name": "limits", "vhost": &**vhost, "value": vhost_limits_json(limits),
            }));
        }
        let mut exclusive = std::collections::HashSet::new();
        for queue in broker.queues(vhost).unwrap_or_default() {
            if queue.owner.is_some() {
                exclusive.insert(queue.name);
                continue;
            }
            let kind = match queue.queue_type {
                QueueType::Quorum => "quorum",
                _ => "classic",
            };
            queues.push(json!({
                "name": &*queue.name, "vhost": &**vhost, "durable": queue.durable, "auto_delete": queue.auto_delete, "type": kind,
                "arguments": of_table(&queue.arguments),
            }));
        }
        for exchange in broker.exchanges(vhost).unwrap_or_default() {
            if !is_predeclared(&exchange) {
                exchanges.push(json!({
                    "name": &*exchange.name, "vhost": &**vhost, "type": exchange.kind, "durable": exchange.durable,
                    "auto_delete": exchange.auto_delete, "internal": exchange.internal,
                    "arguments": of_table(&exchange.arguments),
                }));
            }
        }
        for binding in broker.bindings(vhost).unwrap_or_default() {
            if binding.to_exchange || !exclusive.contains(&binding.destination) {
                let kind = if binding.to_exchange {
                    "exchange"
                } else {
                    "queue"
                };
                bindings.push(json!({
                    "source": &*binding.source, "vhost": &**vhost, "destination": &*binding.destination, "destination_type": kind,
                    "routing_key": &*binding.routing_key, "arguments": of_table(&binding.arguments),
                }));
            }
        }
    }
    let mut definitions = accounts(node);
    for (name, value) in [
        ("rabbit_version", json!(RABBITMQ_VERSION)),
        ("rabbitmq_version", json!(RABBITMQ_VERSION)),
        ("product_name", json!("leveret")),
        ("product_version", json!(env!("CARGO_PKG_VERSION"))),
        (
            "vhosts",
            vhosts
                .iter()
                .map(|name| json!({ "name": &**name }))
                .collect(),
        ),
        ("parameters", Json::Array(parameters)),
        ("global_parameters", json!([])),
        ("policies", json!([])),
        ("queues", Json::Array(queues)),
        ("exchanges", Json::Array(exchanges)),
        ("bindings", Json::Array(bindings)),
    ] {
        definitions[name] = value;
    }
    definitions
}

/// Programs that read definitions look at it; that of the RabbitMQ whose behaviour is offered.
const RABBITMQ_VERSION: &str = "3.13.7";

fn is_predeclared(exchange: &ExchangeOverview) -> bool {
    exchange.name.is_empty() || exchange.name.starts_with("amq.")
}

/// Users and what they may do; those of the configuration file as well, as they are.
fn accounts(node: &Node) -> Json {
    let accounts = node.broker.accounts().unwrap_or_default();
    let users = accounts.users.iter().map(|user| {
        let tags: Vec<&str> = user.tags.iter().map(|tag| tag.as_str()).collect();
        let hash = user.password_hash.as_ref();
        let hash = hash.map_or("", |hash| hash.as_str());
        json!({
            "name": &*user.name, "password_hash": hash, "hashing_algorithm": algorithm(hash), "tags": tags,
            "limits": user_limits_json(user.limits),
        })
    });
    let permissions = accounts.permissions.iter().map(|entry| {
        json!({
            "user": &*entry.user, "vhost": &*entry.vhost, "configure": entry.permissions.configure.as_str(),
            "write": entry.permissions.write.as_str(), "read": entry.permissions.read.as_str(),
        })
    });
    let topics = accounts.topic_permissions.iter().map(|entry| {
        json!({
            "user": &*entry.user, "vhost": &*entry.vhost, "exchange": &*entry.exchange,
            "write": entry.permissions.write.as_str(), "read": entry.permissions.read.as_str(),
        })
    });
    json!({
        "users": users.collect::<Vec<_>>(),
        "permissions": permissions.collect::<Vec<_>>(),
        "topic_permissions": topics.collect::<Vec<_>>(),
    })
}

/// RabbitMQ names its own by the module; ours it does not know.
fn algorithm(hash: &str) -> &'static str {
    // Base64 of four bytes of salt and 64 of SHA-512.
    const SHA_512_LENGTH: usize = 92;
    if hash.starts_with("$argon2id$") {
        "argon2id"
    } else if hash.len() == SHA_512_LENGTH {
        "rabbit_password_hashing_sha512"
    } else {
        "rabbit_password_hashing_sha256"
    }
}
