//! Making what was written down.

use std::collections::BTreeSet;

use leveret_broker::{
    AccountChange, Client, Error, PasswordHash, Permissions, RawOptions, Tag, TopicPermissions,
    User, UserPermissions, UserTopicPermissions,
};
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::json::to_table;
use crate::ctl::failure::{Exit, Failure};
use crate::ctl::limits::{user_limits, vhost_limits};
use crate::ctl::message::Reply;
use crate::ctl::node::Node;
use crate::passwords::{StoredHash, hash_password};

/// What we understand of a document; unknown keys are passed over, as in RabbitMQ.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Definitions {
    users: Vec<UserEntry>,
    vhosts: Vec<VhostEntry>,
    permissions: Vec<PermissionEntry>,
    topic_permissions: Vec<TopicPermissionEntry>,
    parameters: Vec<ParameterEntry>,
    policies: Vec<Json>,
    queues: Vec<QueueEntry>,
    exchanges: Vec<ExchangeEntry>,
    bindings: Vec<BindingEntry>,
}

#[derive(Deserialize)]
struct UserEntry {
    name: String,
    #[serde(default)]
    password_hash: String,
    /// In the clear.
    password: Option<String>,
    #[serde(default)]
    tags: Tags,
    #[serde(default)]
    limits: Json,
}

/// A list, or a text with commas, which is how older versions have it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Tags {
    List(Vec<String>),
    Text(String),
}

impl Default for Tags {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl Tags {
    fn to_set(&self) -> BTreeSet<Tag> {
        let texts: Vec<&str> = match self {
            Self::List(list) => list.iter().map(String::as_str).collect(),
            Self::Text(text) => text.split(',').map(str::trim).collect(),
        };
        let texts = texts.into_iter().filter(|tag| !tag.is_empty());
        texts.map(Tag::from).collect()
    }
}

#[derive(Deserialize)]
struct VhostEntry {
    name: String,
}

#[derive(Deserialize)]
struct PermissionEntry {
    user: String,
    vhost: String,
    configure: String,
    write: String,
    read: String,
}

#[derive(Deserialize)]
struct TopicPermissionEntry {
    user: String,
    vhost: String,
    exchange: String,
    write: String,
    read: String,
}

#[derive(Deserialize)]
struct ParameterEntry {
    component: String,
    vhost: Option<String>,
    value: Json,
}

#[derive(Deserialize)]
struct QueueEntry {
    name: String,
    vhost: String,
    durable: bool,
    #[serde(default)]
    auto_delete: bool,
    #[serde(default)]
    arguments: Map<String, Json>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

#[derive(Deserialize)]
struct ExchangeEntry {
    name: String,
    vhost: String,
    #[serde(rename = "type")]
    kind: String,
    durable: bool,
    #[serde(default)]
    auto_delete: bool,
    #[serde(default)]
    internal: bool,
    #[serde(default)]
    arguments: Map<String, Json>,
}

#[derive(Deserialize)]
struct BindingEntry {
    source: String,
    vhost: String,
    destination: String,
    destination_type: String,
    routing_key: String,
    #[serde(default)]
    arguments: Map<String, Json>,
}

/// What was done, and what was not.
#[derive(Default)]
struct Report {
    notes: Vec<String>,
}

/// Everything is made or brought up to date, in RabbitMQ's order; queues and exchanges that are there with other arguments
/// stay as they are, and nothing is deleted. Accounts are looked at before anything is done.
///
/// # Errors
/// For a document that is none, passwords that could not be compared with, patterns that are none, and virtual hosts and
/// users that are not there. What was made before that stays.
pub(super) async fn everything(node: &Node, json: Json) -> Result<Reply, Failure> {
    let definitions: Definitions = serde_json::from_value(json)
        .map_err(|error| Failure::new(Exit::Data, format!("these are no definitions: {error}")))?;
    let changes = account_changes(&definitions)?;
    let mut report = Report::default();
    for vhost in &definitions.vhosts {
        node.broker.create_vhost(&vhost.name);
    }
    for change in changes {
        report.note_fixed(node.broker.change_accounts(change))?;
    }
    set_limits(node, &definitions.parameters, &mut report)?;
    for queue in &definitions.queues {
        declare_queue(&client(node, &queue.vhost)?, queue, &mut report).await?;
    }
    for exchange in &definitions.exchanges {
        declare_exchange(&client(node, &exchange.vhost)?, exchange, &mut report).await?;
    }
    for binding in &definitions.bindings {
        bind(&client(node, &binding.vhost)?, binding).await?;
    }
    node.stored().await?;
    if !definitions.policies.is_empty() {
        report.notes.push(format!(
            "{} policies were left out: leveret has none",
            definitions.policies.len()
        ));
    }
    Ok(Reply::Text(report.to_text(&definitions)))
}

impl Report {
    /// What is configured stays as it is.
    fn note_fixed(&mut self, result: Result<(), Error>) -> Result<(), Failure> {
        match result {
            Err(error) if error.is_fixed() => {
                self.notes.push(error.to_string());
                Ok(())
            }
            other => Ok(other?),
        }
    }

    /// A queue or exchange that is there with other properties is left alone, in silence as in RabbitMQ; what leveret does
    /// not have is told.
    fn note_refused<T>(&mut self, result: Result<T, Error>) -> Result<(), Failure> {
        match result {
            Ok(_) => Ok(()),
            Err(error) if error.is_precondition_failed() => {
                let text = error.to_string();
                if !text.starts_with("inequivalent arg") {
                    self.notes.push(text);
                }
                Ok(())
            }
            Err(error) if error.is_internal() || error.is_closed() => Err(error.into()),
            Err(error) => {
                self.notes.push(error.to_string());
                Ok(())
            }
        }
    }

    fn to_text(&self, definitions: &Definitions) -> String {
        let mut lines = vec![format!(
            "Successfully imported definitions: {} users, {} virtual hosts, {} queues, {} exchanges, {} bindings.",
            definitions.users.len(),
            definitions.vhosts.len(),
            definitions.queues.len(),
            definitions.exchanges.len(),
            definitions.bindings.len(),
        )];
        lines.extend(self.notes.iter().map(|note| format!("Note: {note}.")));
        lines.join("\n")
    }
}

fn wrong(problem: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Data, problem.to_string())
}

/// Users first, then what they may do.
fn account_changes(definitions: &Definitions) -> Result<Vec<AccountChange>, Failure> {
    let mut changes = Vec::new();
    for entry in &definitions.users {
        changes.push(AccountChange::PutUser(user(entry)?));
    }
    for entry in &definitions.permissions {
        let permissions = Permissions::new(&entry.configure, &entry.write, &entry.read);
        changes.push(AccountChange::SetPermissions(UserPermissions {
            user: entry.user.as_str().into(),
            vhost: entry.vhost.as_str().into(),
            permissions: permissions.map_err(wrong)?,
        }));
    }
    for entry in &definitions.topic_permissions {
        let permissions = TopicPermissions::new(&entry.write, &entry.read);
        changes.push(AccountChange::SetTopicPermissions(UserTopicPermissions {
            user: entry.user.as_str().into(),
            vhost: entry.vhost.as_str().into(),
            exchange: entry.exchange.as_str().into(),
            permissions: permissions.map_err(wrong)?,
        }));
    }
    Ok(changes)
}

fn user(entry: &UserEntry) -> Result<User, Failure> {
    let name = &entry.name;
    let of_user = |problem: String| wrong(format!("user '{name}': {problem}"));
    let password_hash = match &entry.password {
        Some(password) if !password.is_empty() => {
            let hash = hash_password(password.as_bytes());
            Some(hash.map_err(|error| of_user(error.to_string()))?)
        }
        // Nobody logs in with an empty password, and an empty hash is none.
        _ if entry.password_hash.is_empty() => None,
        _ => {
            StoredHash::parse(&entry.password_hash).map_err(|error| of_user(error.to_string()))?;
            Some(PasswordHash::new(entry.password_hash.as_str()))
        }
    };
    let limits = match entry.limits.as_object() {
        Some(limits) => user_limits(limits).map_err(of_user)?,
        None => Default::default(),
    };
    Ok(User {
        password_hash,
        tags: entry.tags.to_set(),
        limits,
        ..User::new(name.as_str())
    })
}

fn set_limits(
    node: &Node,
    parameters: &[ParameterEntry],
    report: &mut Report,
) -> Result<(), Failure> {
    for parameter in parameters {
        let (Some(vhost), Some(value)) = (&parameter.vhost, parameter.value.as_object()) else {
            continue;
        };
        if parameter.component == "vhost-limits" {
            let limits = vhost_limits(value).map_err(wrong)?;
            node.broker.set_vhost_limits(vhost, limits)?;
        } else {
            report.notes.push(format!(
                "a parameter of '{}' was left out: leveret has none",
                parameter.component
            ));
        }
    }
    Ok(())
}

fn client(node: &Node, vhost: &str) -> Result<Client, Failure> {
    node.broker.client_of(vhost).map_err(wrong)
}

async fn declare_queue(
    client: &Client,
    queue: &QueueEntry,
    report: &mut Report,
) -> Result<(), Failure> {
    let mut options = RawOptions {
        durable: queue.durable,
        auto_delete: queue.auto_delete,
        internal: false,
        arguments: to_table(&queue.arguments),
    };
    if let Some(kind) = &queue.kind
        && options.arguments.get("x-queue-type").is_none()
        && kind != "classic"
    {
        options.arguments.insert("x-queue-type", kind.as_str());
    }
    report.note_refused(client.declare_queue_raw(&queue.name, &options).await)
}

async fn declare_exchange(
    client: &Client,
    exchange: &ExchangeEntry,
    report: &mut Report,
) -> Result<(), Failure> {
    let options = RawOptions {
        durable: exchange.durable,
        auto_delete: exchange.auto_delete,
        internal: exchange.internal,
        arguments: to_table(&exchange.arguments),
    };
    let declared = client.declare_exchange_raw(&exchange.name, &exchange.kind, &options);
    report.note_refused(declared.await)
}

/// One whose ends are not there is passed over, as in RabbitMQ.
async fn bind(client: &Client, binding: &BindingEntry) -> Result<(), Failure> {
    let BindingEntry {
        source,
        destination,
        routing_key,
        ..
    } = binding;
    let arguments = to_table(&binding.arguments);
    let bound = if binding.destination_type == "exchange" {
        client
            .bind_exchange_with(destination, source, routing_key, &arguments)
            .await
    } else {
        client
            .bind_queue_with(destination, source, routing_key, &arguments)
            .await
    };
    match bound {
        Err(error) if error.is_not_found() => Ok(()),
        other => Ok(other?),
    }
}
