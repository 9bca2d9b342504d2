//! Limits of virtual hosts and users.

use leveret_broker::{AccountChange, UserLimits, VhostLimits};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

use super::Peer;
use super::cell::Cell;
use super::failure::{Exit, Failure};
use super::message::{Reply, Request};
use super::node::Node;
use super::output::Outcome;
use super::verb::Verb;

/// What can be asked about limits. Those that are to be set come as they were written.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Ask {
    SetOfVhost {
        vhost: String,
        limits: String,
    },
    ClearOfVhost {
        vhost: String,
    },
    /// Of one virtual host, or of all that have any.
    OfVhosts {
        vhost: Option<String>,
    },
    SetOfUser {
        user: String,
        limits: String,
    },
    ClearOfUser {
        user: String,
        which: String,
    },
    /// Of one user, or of all that have any.
    OfUsers {
        user: Option<String>,
    },
}

pub(super) const VERBS: &[Verb] = &[
    Verb {
        name: "set_vhost_limits",
        usage: "set_vhost_limits [--vhost <vhost>] <definition>",
        about: "Limits what there may be in a virtual host: JSON with max-connections and max-queues",
        arguments: (1, 1),
        works_at_rest: true,
        banner: |line| {
            let (limits, vhost) = (line.argument(0).ok()?, line.options.vhost());
            Some(format!(
                "Setting vhost limits to \"{limits}\" for vhost \"{vhost}\" ..."
            ))
        },
        run: |line, peer| {
            let ask = Ask::SetOfVhost {
                vhost: line.options.vhost().to_owned(),
                limits: line.argument(0)?.to_owned(),
            };
            done(peer, ask)
        },
        ..Verb::PLAIN
    },
    Verb {
        name: "clear_vhost_limits",
        usage: "clear_vhost_limits [--vhost <vhost>]",
        about: "Takes all limits from a virtual host",
        works_at_rest: true,
        banner: |line| {
            let vhost = line.options.vhost();
            Some(format!("Clearing vhost \"{vhost}\" limits ..."))
        },
        run: |line, peer| {
            let vhost = line.options.vhost().to_owned();
            done(peer, Ask::ClearOfVhost { vhost })
        },
        ..Verb::PLAIN
    },
    Verb {
        name: "list_vhost_limits",
        usage: "list_vhost_limits [--vhost <vhost>] [--global] [--no-table-headers]",
        about: "Says the limits of a virtual host, or of all with --global",
        flags: &["--global"],
        works_at_rest: true,
        banner: |line| {
            let vhost = line.options.vhost();
            Some(if line.options.has("--global") {
                "Listing limits for all vhosts ...".to_owned()
            } else {
                format!("Listing limits for vhost \"{vhost}\" ...")
            })
        },
        run: |line, peer| {
            let vhost = line.options.vhost().to_owned();
            let vhost = (!line.options.has("--global")).then_some(vhost);
            list(peer, vhost.is_some(), "vhost", Ask::OfVhosts { vhost })
        },
        ..Verb::PLAIN
    },
    Verb {
        name: "set_user_limits",
        usage: "set_user_limits <username> <definition>",
        about: "Limits what a user may have at once: JSON with max-connections and max-channels",
        arguments: (2, 2),
        works_at_rest: true,
        banner: |line| {
            let (user, limits) = (line.argument(0).ok()?, line.argument(1).ok()?);
            Some(format!(
                "Setting user limits to \"{limits}\" for user \"{user}\" ..."
            ))
        },
        run: |line, peer| {
            let ask = Ask::SetOfUser {
                user: line.argument(0)?.to_owned(),
                limits: line.argument(1)?.to_owned(),
            };
            done(peer, ask)
        },
        ..Verb::PLAIN
    },
    Verb {
        name: "clear_user_limits",
        usage: "clear_user_limits <username> <limit_type> | all",
        about: "Takes a limit from a user, or all",
        arguments: (2, 2),
        works_at_rest: true,
        banner: |line| {
            let (user, which) = (line.argument(0).ok()?, line.argument(1).ok()?);
            Some(if which == "all" {
                format!("Clearing all limits for user \"{user}\" ...")
            } else {
                format!("Clearing \"{which}\" limit for user \"{user}\" ...")
            })
        },
        run: |line, peer| {
            let ask = Ask::ClearOfUser {
                user: line.argument(0)?.to_owned(),
                which: line.argument(1)?.to_owned(),
            };
            done(peer, ask)
        },
        ..Verb::PLAIN
    },
    Verb {
        name: "list_user_limits",
        usage: "list_user_limits [--user <username>] [--global]",
        about: "Says the limits of a user, guest unless named, or of all with --global",
        flags: &["--user", "--global"],
        works_at_rest: true,
        banner: |line| {
            let user = line.options.user.as_deref().unwrap_or("guest");
            Some(if line.options.has("--global") {
                "Listing limits for all users ...".to_owned()
            } else {
                format!("Listing limits for user \"{user}\" ...")
            })
        },
        run: |line, peer| {
            let user = line.options.user.clone();
            let user = user.unwrap_or_else(|| "guest".to_owned());
            let user = (!line.options.has("--global")).then_some(user);
            list(peer, user.is_some(), "user", Ask::OfUsers { user })
        },
        ..Verb::PLAIN
    },
];

fn done(peer: &mut Peer<'_>, ask: Ask) -> Result<Outcome, Failure> {
    peer.ask(Request::Limits(ask))?;
    Ok(Outcome::Done)
}

/// One thing's limits are a line, those of all a table.
fn list(peer: &mut Peer<'_>, is_one: bool, what: &str, ask: Ask) -> Result<Outcome, Failure> {
    let rows = peer.ask(Request::Limits(ask))?.into_rows()?;
    if !is_one {
        return Ok(Outcome::rows([what, "limits"], rows));
    }
    let Some(limits) = rows.first().and_then(|row| row.get(1)) else {
        return Err(Failure::unexpected());
    };
    let text = limits.to_text();
    Ok(match (what, &*text) {
        // As in `rabbitmqctl`, where only users have theirs in a message.
        ("vhost", "") => Outcome::Report {
            json: json!([]),
            text,
        },
        ("vhost", _) => Outcome::Report {
            json: json!({ "result": "ok", "value": text }),
            text,
        },
        _ => Outcome::Message(text),
    })
}

const CONNECTIONS: &str = "max-connections";
const QUEUES: &str = "max-queues";
const CHANNELS: &str = "max-channels";

/// # Errors
/// For what is no JSON object.
fn read(text: &str) -> Result<Map<String, Json>, Failure> {
    let json: Json = serde_json::from_str(text)
        .map_err(|error| refused(format!("JSON decoding error. Reason: {error}")))?;
    let Json::Object(entries) = json else {
        return Err(refused("JSON decoding error. Reason: no object".to_owned()));
    };
    Ok(entries)
}

fn refused(problem: String) -> Failure {
    Failure::new(Exit::Unavailable, problem)
}

/// Limits as JSON has them; a negative one is none, as in RabbitMQ.
///
/// # Errors
/// With what is wrong, as for other names than these two.
fn of_object(
    entries: &Map<String, Json>,
    names: [&str; 2],
    unknown_in: &str,
) -> Result<[Option<u32>; 2], String> {
    let mut limits = [None; 2];
    for (name, value) in entries {
        let Some(at) = names.iter().position(|known| known == name) else {
            return Err(format!(
                "Validation failed\n\nUnrecognised terms [{{{name},{value}}}] in {unknown_in}\n"
            ));
        };
        let Some(number) = value.as_i64() else {
            return Err(format!(
                "Validation failed\n\n{name} should be a number, actually was {value}\n"
            ));
        };
        limits[at] = if number < 0 {
            None
        } else {
            // More than anything could have is no limit either.
            u32::try_from(number).ok()
        };
    }
    Ok(limits)
}

/// # Errors
/// With what is wrong.
pub(super) fn vhost_limits(entries: &Map<String, Json>) -> Result<VhostLimits, String> {
    let limits = of_object(entries, [CONNECTIONS, QUEUES], "limits")?;
    Ok(VhostLimits {
        connections_max: limits[0],
        queues_max: limits[1],
    })
}

/// # Errors
/// With what is wrong.
pub(super) fn user_limits(entries: &Map<String, Json>) -> Result<UserLimits, String> {
    let limits = of_object(entries, [CONNECTIONS, CHANNELS], "user-limits")?;
    Ok(UserLimits {
        connections_max: limits[0],
        channels_max: limits[1],
    })
}

pub(super) fn vhost_limits_json(limits: VhostLimits) -> Json {
    object([
        (CONNECTIONS, limits.connections_max),
        (QUEUES, limits.queues_max),
    ])
}

pub(super) fn user_limits_json(limits: UserLimits) -> Json {
    object([
        (CHANNELS, limits.channels_max),
        (CONNECTIONS, limits.connections_max),
    ])
}

fn object<const N: usize>(limits: [(&str, Option<u32>); N]) -> Json {
    let set = limits
        .into_iter()
        .filter_map(|(name, limit)| Some((name.to_owned(), json!(limit?))));
    Json::Object(set.collect())
}

/// # Errors
/// As `rabbitmqctl` words them.
pub(super) async fn answer(node: &Node, ask: Ask) -> Result<Reply, Failure> {
    match ask {
        Ask::SetOfVhost { vhost, limits } => {
            node.require_vhost(&vhost)?;
            let limits = vhost_limits(&read(&limits)?).map_err(refused)?;
            node.broker.set_vhost_limits(&vhost, limits)?;
            node.stored().await
        }
        Ask::ClearOfVhost { vhost } => {
            let none = VhostLimits::default();
            let before = node.broker.vhost_limits(&vhost);
            if before.is_none_or(|limits| limits == none) {
                let problem = "Parameter does not exist";
                return Err(Failure::new(Exit::Unavailable, problem));
            }
            node.broker.set_vhost_limits(&vhost, none)?;
            node.stored().await
        }
        Ask::OfVhosts { vhost } => {
            if let Some(vhost) = &vhost {
                node.require_vhost(vhost)?;
            }
            let mut rows = Vec::new();
            for name in node.broker.vhosts() {
                let limits = node.broker.vhost_limits(&name).unwrap_or_default();
                let is_asked = vhost.as_deref().map(|vhost| *vhost == *name);
                if is_asked.unwrap_or_else(|| limits != VhostLimits::default()) {
                    let limits = match limits == VhostLimits::default() {
                        true => String::new(),
                        false => vhost_limits_json(limits).to_string(),
                    };
                    rows.push(vec![Cell::text(&*name), Cell::Text(limits)]);
                }
            }
            Ok(Reply::Rows(rows))
        }
        Ask::SetOfUser { user, limits } => {
            let entries = read(&limits)?;
            let named = user_limits(&entries).map_err(refused)?;
            // As in RabbitMQ, what is not named stays; a virtual host's does not.
            let mut limits = limits_of(node, &user)?;
            if entries.contains_key(CONNECTIONS) {
                limits.connections_max = named.connections_max;
            }
            if entries.contains_key(CHANNELS) {
                limits.channels_max = named.channels_max;
            }
            set_user_limits(node, &user, limits).await
        }
        Ask::ClearOfUser { user, which } => {
            let mut limits = limits_of(node, &user)?;
            match which.as_str() {
                "all" => limits = UserLimits::default(),
                CONNECTIONS => limits.connections_max = None,
                CHANNELS => limits.channels_max = None,
                // There is no such limit to clear, which is fine in RabbitMQ.
                _ => return Ok(Reply::Done),
            }
            set_user_limits(node, &user, limits).await
        }
        Ask::OfUsers { user: Some(user) } => {
            let limits = limits_of(node, &user)?;
            let text = user_limits_json(limits).to_string();
            Ok(Reply::Rows(vec![vec![Cell::Text(user), Cell::Text(text)]]))
        }
        Ask::OfUsers { user: None } => {
            let accounts = node.broker.accounts().unwrap_or_default();
            let mut users = accounts.users;
            users.retain(|user| user.limits != UserLimits::default());
            let rows = users.iter().map(|user| {
                let limits = user_limits_json(user.limits).to_string();
                vec![Cell::text(&*user.name), Cell::Text(limits)]
            });
            Ok(Reply::Rows(rows.collect()))
        }
    }
}

async fn set_user_limits(node: &Node, user: &str, limits: UserLimits) -> Result<Reply, Failure> {
    let change = AccountChange::SetUserLimits {
        user: user.into(),
        limits,
    };
    match node.broker.change_accounts(change) {
        Err(error) if error.is_unknown_user() => return Err(no_such_user(user)),
        other => other?,
    }
    node.stored().await
}

fn limits_of(node: &Node, name: &str) -> Result<UserLimits, Failure> {
    let accounts = node.broker.accounts().unwrap_or_default();
    let mut users = accounts.users.iter();
    let found = users.find(|user| *user.name == *name);
    let user = found.ok_or_else(|| no_such_user(name))?;
    Ok(user.limits)
}

/// These verbs have an exit code of their own for it.
pub(super) fn no_such_user(name: &str) -> Failure {
    let problem = format!("{{:no_such_user, \"{name}\"}}");
    Failure::new(Exit::Unavailable, problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_rabbitmq_reads_them() {
        let read = |text| {
            let entries = read(text)?;
            of_object(&entries, [CONNECTIONS, QUEUES], "limits").map_err(refused)
        };
        assert_eq!(
            read(r#"{"max-connections": 10, "max-queues": 0}"#).unwrap(),
            [Some(10), Some(0)]
        );
        assert_eq!(read(r#"{"max-queues": -1}"#).unwrap(), [None, None]);
        assert_eq!(read("{}").unwrap(), [None, None]);
        for text in [
            "zorp",
            "5",
            r#"{"max-bla": 5}"#,
            r#"{"max-queues": "x"}"#,
            r#"{"max-queues": 1.5}"#,
        ] {
            assert_eq!(read(text).unwrap_err().exit(), Exit::Unavailable, "{text}");
        }
    }
}
