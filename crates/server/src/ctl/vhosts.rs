//! Virtual hosts.

use serde::{Deserialize, Serialize};

use super::cell::Cell;
use super::failure::{Exit, Failure};
use super::line::Line;
use super::message::{Reply, Request};
use super::node::Node;
use super::output::Outcome;
use super::verb::Verb;

/// What can be asked about virtual hosts.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Ask {
    Add { name: String },
    Delete { name: String },
    List,
}

pub(super) const VERBS: &[Verb] = &[
    Verb {
        name: "add_vhost",
        usage: "add_vhost <vhost>",
        about: "Creates a virtual host; one that is there is left as it is",
        arguments: (1, 1),
        works_at_rest: true,
        banner: |line| said(line, "Adding vhost"),
        run: |line, peer| {
            let name = line.argument(0)?.to_owned();
            peer.ask(Request::Vhosts(Ask::Add { name }))?;
            Ok(Outcome::Done)
        },
        ..Verb::PLAIN
    },
    Verb {
        name: "delete_vhost",
        usage: "delete_vhost <vhost>",
        about: "Deletes a virtual host with all that is in it and all permissions for it",
        arguments: (1, 1),
        works_at_rest: true,
        banner: |line| said(line, "Deleting vhost"),
        run: |line, peer| {
            let name = line.argument(0)?.to_owned();
            peer.ask(Request::Vhosts(Ask::Delete { name }))?;
            Ok(Outcome::Done)
        },
        ..Verb::PLAIN
    },
    Verb {
        name: "list_vhosts",
        usage: "list_vhosts [--no-table-headers] [<column> ...]",
        about: "Lists virtual hosts",
        arguments: (0, usize::MAX),
        columns: &["name", "tracing"],
        works_at_rest: true,
        banner: |_| Some("Listing vhosts ...".to_owned()),
        run: |line, peer| {
            let names = peer.ask(Request::Vhosts(Ask::List))?.into_rows()?;
            let mut columns: Vec<&str> = line.columns().collect();
            if columns.is_empty() {
                columns.push("name");
            }
            let rows = names.into_iter().map(|row| {
                let name = row.into_iter().next().unwrap_or(Cell::Empty);
                let of_column = |column: &&str| match *column {
                    "name" => name.clone(),
                    // Messages are not traced here.
                    _ => Cell::Bool(false),
                };
                columns.iter().map(of_column).collect()
            });
            let rows = rows.collect();
            Ok(Outcome::rows(columns, rows))
        },
        ..Verb::PLAIN
    },
];

fn said(line: &Line, what: &str) -> Option<String> {
    let name = line.argument(0).ok()?;
    Some(format!("{what} \"{name}\" ..."))
}

/// # Errors
/// As `rabbitmqctl` words them.
pub(super) async fn answer(node: &Node, ask: Ask) -> Result<Reply, Failure> {
    match ask {
        Ask::Add { name } => {
            // One that is there is fine, as in RabbitMQ.
            node.broker.create_vhost(&name);
            node.stored().await
        }
        Ask::Delete { name } => {
            node.require_vhost(&name)?;
            if node.about.configured_vhosts.contains(&name) {
                let problem = format!(
                    "vhost '{name}' stands in the configuration file and cannot be deleted while the server runs"
                );
                return Err(Failure::new(Exit::Unavailable, problem));
            }
            if !node.broker.delete_vhost(&name) {
                return Err(Failure::no_vhost_to_list(&name));
            }
            node.stored().await
        }
        Ask::List => {
            let names = node.broker.vhosts();
            let rows = names.iter().map(|name| vec![Cell::text(&**name)]);
            Ok(Reply::Rows(rows.collect()))
        }
    }
}
