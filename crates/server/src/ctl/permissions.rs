//! What users may do.

use leveret_broker::{
    AccountChange, Permissions, TopicPermissions, UserPermissions, UserTopicPermissions,
};
use serde::{Deserialize, Serialize};

use super::Peer;
use super::cell::Cell;
use super::failure::{Exit, Failure};
use super::limits::no_such_user;
use super::line::Line;
use super::message::{Reply, Request};
use super::node::Node;
use super::output::{Outcome, Rows};
use super::verb::Verb;

/// What can be asked about permissions.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Ask {
    Set {
        user: String,
        vhost: String,
        configure: String,
        write: String,
        read: String,
    },
    Clear {
        user: String,
        vhost: String,
    },
    SetTopic {
        user: String,
        vhost: String,
        exchange: String,
        write: String,
        read: String,
    },
    ClearTopic {
        user: String,
        vhost: String,
        exchange: Option<String>,
    },
    OfVhost {
        vhost: String,
    },
    OfUser {
        user: String,
    },
    TopicsOfVhost {
        vhost: String,
    },
    TopicsOfUser {
        user: String,
    },
}

pub(super) const VERBS: &[Verb] = &[
    Verb {
        name: "set_permissions",
        usage: "set_permissions [--vhost <vhost>] <username> <conf> <write> <read>",
        about: "Sets what a user may configure, write to and read from in a virtual host, by regular expressions",
        arguments: (4, 4),
        works_at_rest: true,
        banner: |line| said(line, "Setting permissions"),
        run: |line, peer| {
            let ask = Ask::Set {
                user: line.argument(0)?.to_owned(),
                vhost: line.options.vhost().to_owned(),
                configure: line.argument(1)?.to_owned(),
                write: line.argument(2)?.to_owned(),
                read: line.argument(3)?.to_owned(),
            };
            done(peer, ask)
        },
        ..Verb::PLAIN
    },
    Verb {
        name: "clear_permissions",
        usage: "clear_permissions [--vhost <vhost>] <username>",
        about: "Takes all permissions for a virtual host from a user",
        arguments: (1, 1),
        works_at_rest: true,
        banner: |line| said(line, "Clearing permissions"),
        run: |line, peer| {
            let ask = Ask::Clear {
                user: line.argument(0)?.to_owned(),
                vhost: line.options.vhost().to_owned(),
            };
            done(peer, ask)
        },
        ..Verb::PLAIN
    },
    Verb {
        name: "list_permissions",
        usage: "list_permissions [--vhost <vhost>] [--no-table-headers]",
        about: "Lists the permissions in a virtual host",
        works_at_rest: true,
        banner: |line| of_vhost(line, "Listing permissions"),
        run: |line, peer| {
            let vhost = line.options.vhost().to_owned();
            let columns = ["user", "configure", "write", "read"];
            list(peer, Ask::OfVhost { vhost }, columns)
        },
        ..Verb::PLAIN
    },
    Verb {
        name: "list_user_permissions",
        usage: "list_user_permissions [--no-table-headers] <username>",
        about: "Lists the permissions of a user in all virtual hosts",
        arguments: (1, 1),
        works_at_rest: true,
        banner: |line| of_user(line, "Listing permissions"),
        run: |line, peer| {
            let user = line.argument(0)?.to_owned();
            let columns = ["vhost", "configure", "write", "read"];
            list(peer, Ask::OfUser { user }, columns)
        },
        ..Verb::PLAIN
    },
    Verb {
        name: "set_topic_permissions",
        usage: "set_topic_permissions [--vhost <vhost>] <username> <exchange> <write> <read>",
        about: "Sets which routing keys a user may use with a topic exchange",
        arguments: (4, 4),
        works_at_rest: true,
        banner: |line| topic_said(line, "Setting topic permissions"),
        run: |line, peer| {
            let ask = Ask::SetTopic {
                user: line.argument(0)?.to_owned(),
                vhost: line.options.vhost().to_owned(),
                exchange: line.argument(1)?.to_owned(),
                write: line.argument(2)?.to_owned(),
                read: line.argument(3)?.to_owned(),
            };
            done(peer, ask)
        },
        ..Verb::PLAIN
    },
    Verb {
        name: "clear_topic_permissions",
        usage: "clear_topic_permissions [--vhost <vhost>] <username> [<exchange>]",
        about: "Lets a user use all routing keys of a topic exchange again, or of all of them",
        arguments: (1, 2),
        works_at_rest: true,
        banner: |line| topic_said(line, "Clearing topic permissions"),
        run: |line, peer| {
            let ask = Ask::ClearTopic {
                user: line.argument(0)?.to_owned(),
                vhost: line.options.vhost().to_owned(),
                exchange: line.arguments.get(1).cloned(),
            };
            done(peer, ask)
        },
        ..Verb::PLAIN
    },
    Verb {
        name: "list_topic_permissions",
        usage: "list_topic_permissions [--vhost <vhost>] [--no-table-headers]",
        about: "Lists the topic permissions in a virtual host",
        works_at_rest: true,
        banner: |line| of_vhost(line, "Listing topic permissions"),
        run: |line, peer| {
            let vhost = line.options.vhost().to_owned();
            let columns = ["user", "exchange", "write", "read"];
            list(peer, Ask::TopicsOfVhost { vhost }, columns)
        },
        ..Verb::PLAIN
    },
    Verb {
        name: "list_user_topic_permissions",
        usage: "list_user_topic_permissions [--no-table-headers] <username>",
        about: "Lists the topic permissions of a user in all virtual hosts",
        arguments: (1, 1),
        works_at_rest: true,
        banner: |line| of_user(line, "Listing topic permissions"),
        run: |line, peer| {
            let user = line.argument(0)?.to_owned();
            let columns = ["vhost", "exchange", "write", "read"];
            let rows = peer.ask(Request::Permissions(Ask::TopicsOfUser { user }))?;
            Ok(Outcome::Table(Rows {
                columns: columns.map(str::to_owned).to_vec(),
                rows: rows.into_rows()?,
                says_empty: true,
                is_headless: true,
            }))
        },
        ..Verb::PLAIN
    },
];

fn said(line: &Line, what: &str) -> Option<String> {
    let user = line.argument(0).ok()?;
    let vhost = line.options.vhost();
    Some(format!(
        "{what} for user \"{user}\" in vhost \"{vhost}\" ..."
    ))
}

fn topic_said(line: &Line, what: &str) -> Option<String> {
    match line.arguments.get(1) {
        Some(exchange) => said(line, &format!("{what} on \"{exchange}\"")),
        None => said(line, what),
    }
}

fn of_vhost(line: &Line, what: &str) -> Option<String> {
    let vhost = line.options.vhost();
    Some(format!("{what} for vhost \"{vhost}\" ..."))
}

fn of_user(line: &Line, what: &str) -> Option<String> {
    let user = line.argument(0).ok()?;
    Some(format!("{what} for user \"{user}\" ..."))
}

fn done(peer: &mut Peer<'_>, ask: Ask) -> Result<Outcome, Failure> {
    peer.ask(Request::Permissions(ask))?;
    Ok(Outcome::Done)
}

fn list<const N: usize>(
    peer: &mut Peer<'_>,
    ask: Ask,
    columns: [&str; N],
) -> Result<Outcome, Failure> {
    let rows = peer.ask(Request::Permissions(ask))?.into_rows()?;
    Ok(Outcome::rows(columns, rows))
}

/// # Errors
/// As `rabbitmqctl` words them.
pub(super) async fn answer(node: &Node, ask: Ask) -> Result<Reply, Failure> {
    match ask {
        Ask::Set {
            user,
            vhost,
            configure,
            write,
            read,
        } => {
            let permissions = Permissions::new(&configure, &write, &read).map_err(bad_pattern)?;
            let change = AccountChange::SetPermissions(UserPermissions {
                user: user.as_str().into(),
                vhost: vhost.as_str().into(),
                permissions,
            });
            make(node, &user, &vhost, change).await
        }
        Ask::Clear { user, vhost } => {
            let change = AccountChange::ClearPermissions {
                user: user.as_str().into(),
                vhost: vhost.as_str().into(),
            };
            make(node, &user, &vhost, change).await
        }
        Ask::SetTopic {
            user,
            vhost,
            exchange,
            write,
            read,
        } => {
            let change = AccountChange::SetTopicPermissions(UserTopicPermissions {
                user: user.as_str().into(),
                vhost: vhost.as_str().into(),
                exchange: exchange.into(),
                permissions: TopicPermissions::new(&write, &read).map_err(bad_pattern)?,
            });
            make(node, &user, &vhost, change).await
        }
        Ask::ClearTopic {
            user,
            vhost,
            exchange,
        } => {
            let change = AccountChange::ClearTopicPermissions {
                user: user.as_str().into(),
                vhost: vhost.as_str().into(),
                exchange: exchange.map(Into::into),
            };
            make(node, &user, &vhost, change).await
        }
        Ask::OfVhost { vhost } => {
            node.require_vhost(&vhost)?;
            let keep = |entry: &UserPermissions| *entry.vhost == *vhost;
            Ok(Reply::Rows(rows(node, keep, |entry| &entry.user)))
        }
        Ask::OfUser { user } => {
            require_user(node, &user)?;
            let keep = |entry: &UserPermissions| *entry.user == *user;
            Ok(Reply::Rows(rows(node, keep, |entry| &entry.vhost)))
        }
        Ask::TopicsOfVhost { vhost } => {
            node.require_vhost(&vhost)?;
            let keep = |entry: &UserTopicPermissions| *entry.vhost == *vhost;
            Ok(Reply::Rows(topic_rows(node, keep, |entry| &entry.user)))
        }
        Ask::TopicsOfUser { user } => {
            require_user(node, &user)?;
            let keep = |entry: &UserTopicPermissions| *entry.user == *user;
            Ok(Reply::Rows(topic_rows(node, keep, |entry| &entry.vhost)))
        }
    }
}

async fn make(
    node: &Node,
    user: &str,
    vhost: &str,
    change: AccountChange,
) -> Result<Reply, Failure> {
    let no_user = || Failure::new(Exit::NoUser, format!("User {user} does not exist"));
    // As in RabbitMQ, who is missing is told before what is.
    if !has_user(node, user) {
        return Err(no_user());
    }
    // Clearing what is not there is fine in the broker; whoever names a virtual host that is not there is told.
    if node.broker.vhost_limits(vhost).is_none() {
        return Err(Failure::no_vhost(vhost));
    }
    match node.broker.change_accounts(change) {
        Err(error) if error.is_unknown_user() => return Err(no_user()),
        Err(error) if error.is_unknown_vhost() => return Err(Failure::no_vhost(vhost)),
        other => other?,
    }
    node.stored().await
}

fn bad_pattern(error: leveret_broker::PatternError) -> Failure {
    Failure::new(Exit::Unavailable, error.to_string())
}

fn has_user(node: &Node, name: &str) -> bool {
    let accounts = node.broker.accounts().unwrap_or_default();
    accounts.users.iter().any(|user| *user.name == *name)
}

fn require_user(node: &Node, name: &str) -> Result<(), Failure> {
    match has_user(node, name) {
        true => Ok(()),
        false => Err(no_such_user(name)),
    }
}

fn rows<'a>(
    node: &Node,
    keep: impl Fn(&UserPermissions) -> bool,
    first: impl Fn(&UserPermissions) -> &str + 'a,
) -> Vec<Vec<Cell>> {
    let accounts = node.broker.accounts().unwrap_or_default();
    let kept = accounts.permissions.iter().filter(|entry| keep(entry));
    kept.map(|entry| {
        let Permissions {
            configure,
            write,
            read,
        } = &entry.permissions;
        vec![
            Cell::text(first(entry)),
            Cell::text(configure.as_str()),
            Cell::text(write.as_str()),
            Cell::text(read.as_str()),
        ]
    })
    .collect()
}

fn topic_rows(
    node: &Node,
    keep: impl Fn(&UserTopicPermissions) -> bool,
    first: impl Fn(&UserTopicPermissions) -> &str,
) -> Vec<Vec<Cell>> {
    let accounts = node.broker.accounts().unwrap_or_default();
    let topics = accounts.topic_permissions.iter();
    topics
        .filter(|entry| keep(entry))
        .map(|entry| {
            vec![
                Cell::text(first(entry)),
                Cell::text(&*entry.exchange),
                Cell::text(entry.permissions.write.as_str()),
                Cell::text(entry.permissions.read.as_str()),
            ]
        })
        .collect()
}
