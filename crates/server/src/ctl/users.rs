//! Users, their passwords and tags.

use leveret_broker::{AccountChange, Authenticator, Login, PasswordHash, Tag, User};
use serde::{Deserialize, Serialize};

use super::Peer;
use super::cell::Cell;
use super::failure::{Exit, Failure};
use super::limits::no_such_user;
use super::line::Line;
use super::message::{Reply, Request};
use super::node::Node;
use super::output::Outcome;
use super::secret::{Secret, password};
use super::verb::Verb;
use crate::passwords::{StoredHash, hash_password};

/// What can be asked about users. Passwords are hashed by whoever asks; only one that is to be tried goes to the server.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Ask {
    Add { name: String, hash: Option<String> },
    Delete { name: String },
    SetHash { name: String, hash: Option<String> },
    ClearHash { name: String },
    Authenticate { name: String, password: Secret },
    SetTags { name: String, tags: Vec<String> },
    List,
}

pub(super) const VERBS: &[Verb] = &[
    Verb {
        name: "add_user",
        usage: "add_user <username> [<password>]",
        about: "Creates a user, who has no permissions at first. Without a password it is read from stdin",
        arguments: (1, 2),
        works_at_rest: true,
        hides_arguments: true,
        banner: |line| said(line, "Adding user"),
        run: |line, peer| {
            let name = line.argument(0)?.to_owned();
            if name.is_empty() {
                return Err(line.bad_value("Bad argument: user cannot be an empty string"));
            }
            let hash = hash(line, 1)?;
            match peer.ask(Request::Users(Ask::Add { name, hash }))? {
                Reply::Done => Ok(Outcome::Message(
                    "Done. Don't forget to grant the user permissions to some virtual hosts! See 'leveret ctl help \
                     set_permissions' to learn more."
                        .to_owned(),
                )),
                _ => Err(Failure::unexpected()),
            }
        },
        ..Verb::PLAIN
    },
    Verb {
        name: "delete_user",
        usage: "delete_user <username>",
        about: "Removes a user with its permissions, and closes its connections",
        arguments: (1, 1),
        works_at_rest: true,
        banner: |line| said(line, "Deleting user"),
        run: |line, peer| {
            let name = line.argument(0)?.to_owned();
            done(peer, Ask::Delete { name })
        },
        ..Verb::PLAIN
    },
    Verb {
        name: "change_password",
        usage: "change_password <username> [<password>]",
        about: "Gives a user another password, which is read from stdin unless it is given",
        arguments: (1, 2),
        works_at_rest: true,
        hides_arguments: true,
        banner: |line| said(line, "Changing password for user"),
        run: |line, peer| {
            let name = line.argument(0)?.to_owned();
            let hash = hash(line, 1)?;
            done(peer, Ask::SetHash { name, hash })
        },
        ..Verb::PLAIN
    },
    Verb {
        name: "clear_password",
        usage: "clear_password <username>",
        about: "Takes a user's password: it cannot log in with one then",
        arguments: (1, 1),
        works_at_rest: true,
        banner: |line| said(line, "Clearing password for user"),
        run: |line, peer| {
            let name = line.argument(0)?.to_owned();
            done(peer, Ask::ClearHash { name })
        },
        ..Verb::PLAIN
    },
    Verb {
        name: "authenticate_user",
        usage: "authenticate_user <username> [<password>]",
        about: "Tries a password, which is read from stdin unless it is given",
        arguments: (1, 2),
        works_at_rest: true,
        hides_arguments: true,
        banner: |line| said(line, "Authenticating user"),
        run: |line, peer| {
            let name = line.argument(0)?.to_owned();
            let password = password(line, 1)?;
            peer.ask(Request::Users(Ask::Authenticate { name, password }))?;
            Ok(Outcome::Message("Success".to_owned()))
        },
        ..Verb::PLAIN
    },
    Verb {
        name: "set_user_tags",
        usage: "set_user_tags <username> [<tag> ...]",
        about: "Gives a user these tags in place of those that it has",
        arguments: (1, usize::MAX),
        works_at_rest: true,
        banner: |line| {
            let tags = line.arguments.get(1..).unwrap_or_default().join(", ");
            let name = line.argument(0).ok()?;
            Some(format!("Setting tags for user \"{name}\" to [{tags}] ..."))
        },
        run: |line, peer| {
            let name = line.argument(0)?.to_owned();
            let tags = line.arguments.get(1..).unwrap_or_default().to_vec();
            done(peer, Ask::SetTags { name, tags })
        },
        ..Verb::PLAIN
    },
    Verb {
        name: "list_users",
        usage: "list_users [--no-table-headers]",
        about: "Lists users with their tags",
        works_at_rest: true,
        banner: |_| Some("Listing users ...".to_owned()),
        run: |_, peer| {
            let rows = peer.ask(Request::Users(Ask::List))?.into_rows()?;
            Ok(Outcome::rows(["user", "tags"], rows))
        },
        ..Verb::PLAIN
    },
    Verb {
        name: "hash_password",
        usage: "hash_password [<password>]",
        about: "Hashes a password for a configuration file; asks no server",
        arguments: (0, 1),
        hides_arguments: true,
        banner: |_| Some("Will hash a given password.".to_owned()),
        run: |line, _| {
            let hash = hash(line, 0)?;
            let hash = hash.ok_or_else(|| line.bad_value("Password cannot be blank"))?;
            Ok(Outcome::Message(hash))
        },
        ..Verb::PLAIN
    },
];

fn said(line: &Line, what: &str) -> Option<String> {
    let name = line.argument(0).ok()?;
    Some(format!("{what} \"{name}\" ..."))
}

fn done(peer: &mut Peer<'_>, ask: Ask) -> Result<Outcome, Failure> {
    peer.ask(Request::Users(ask))?;
    Ok(Outcome::Done)
}

/// What is to be kept of a password. Nobody can log in with an empty one, as in RabbitMQ: there is nothing to keep.
fn hash(line: &Line, at: usize) -> Result<Option<String>, Failure> {
    let password = password(line, at)?;
    if password.is_empty() {
        return Ok(None);
    }
    let hash = hash_password(password.as_bytes());
    let hash = hash.map_err(|error| Failure::new(Exit::Software, error.to_string()))?;
    Ok(Some(hash.as_str().to_owned()))
}

/// # Errors
/// For a text that is no hash which the server could compare with.
pub(super) fn known_hash(hash: Option<String>) -> Result<Option<PasswordHash>, Failure> {
    let Some(hash) = hash else {
        return Ok(None);
    };
    StoredHash::parse(&hash).map_err(|error| Failure::new(Exit::Data, error.to_string()))?;
    Ok(Some(PasswordHash::new(hash)))
}

/// # Errors
/// As `rabbitmqctl` words them.
pub(super) async fn answer(node: &Node, ask: Ask) -> Result<Reply, Failure> {
    match ask {
        Ask::Add { name, hash } => {
            let password_hash = known_hash(hash)?;
            let user = User {
                password_hash,
                ..User::new(name.as_str())
            };
            match node.broker.change_accounts(AccountChange::AddUser(user)) {
                Err(error) if error.is_known_user() => {
                    let problem = format!("User \"{name}\" already exists");
                    return Err(Failure::new(Exit::Software, problem));
                }
                other => other?,
            }
            node.stored().await
        }
        Ask::Delete { name } => {
            let change = AccountChange::DeleteUser {
                name: name.as_str().into(),
            };
            of_user(node, &name, change).await
        }
        Ask::SetHash { name, hash } => {
            let change = AccountChange::SetPassword {
                user: name.as_str().into(),
                hash: known_hash(hash)?,
            };
            of_user(node, &name, change).await
        }
        Ask::ClearHash { name } => {
            let change = AccountChange::SetPassword {
                user: name.as_str().into(),
                hash: None,
            };
            match node.broker.change_accounts(change) {
                // This verb has an exit code of its own for it.
                Err(error) if error.is_unknown_user() => return Err(no_such_user(&name)),
                other => other?,
            }
            node.stored().await
        }
        Ask::SetTags { name, tags } => {
            let change = AccountChange::SetTags {
                user: name.as_str().into(),
                tags: tags.iter().map(|tag| Tag::from(tag.as_str())).collect(),
            };
            of_user(node, &name, change).await
        }
        Ask::Authenticate { name, password } => {
            let accounts = node.broker.accounts().unwrap_or_default();
            let mut users = accounts.users.into_iter();
            let user = users.find(|user| *user.name == *name);
            let mut login = Login::new(name.clone(), password.as_bytes().into(), "PLAIN", None);
            login.account = user;
            let Err(refused) = node.judge.authenticate(login).await else {
                return Ok(Reply::Done);
            };
            let (exit, reason) = if refused.is_unavailable() {
                (Exit::Unavailable, refused.to_string())
            } else {
                (Exit::Data, format!("user '{name}' - invalid credentials"))
            };
            Err(Failure::new(
                exit,
                format!("Error: failed to authenticate user \"{name}\"\n{reason}"),
            ))
        }
        Ask::List => {
            let accounts = node.broker.accounts().unwrap_or_default();
            let rows = accounts.users.iter().map(|user| {
                let tags = user.tags.iter().map(ToString::to_string).collect();
                vec![Cell::text(&*user.name), Cell::Tags(tags)]
            });
            Ok(Reply::Rows(rows.collect()))
        }
    }
}

async fn of_user(node: &Node, name: &str, change: AccountChange) -> Result<Reply, Failure> {
    match node.broker.change_accounts(change) {
        Err(error) if error.is_unknown_user() => return Err(Failure::no_user(name)),
        other => other?,
    }
    node.stored().await
}
