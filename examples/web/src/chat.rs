//! What the chat is made of in the broker, and what its users may do there.
//!
//! | Exchange | Keys | What is sent there |
//! | --- | --- | --- |
//! | `rooms` | `room.NAME` | messages to a room; the latest of each are kept for those who come or come back |
//! | `people` | `to.USER` | messages to one user, kept likewise |
//! | `typing` | `room.NAME` | that somebody is typing |
//! | `presence` | `room.NAME` | nothing: whoever subscribes is there, and others can watch that |
//! | `signals` | `to.USER` | offers, answers and candidates of WebRTC |

use std::time::Duration;

use leveret_broker::{
    AccountChange, Broker, ExchangeOptions, ExchangeType, Permissions, TopicPermissions, User,
    UserPermissions, UserTopicPermissions,
};

use crate::Error;
use crate::pages::File;

/// The files of the page.
pub const FILES: [File; 3] = [
    ("/", include_str!("../pages/chat.html")),
    ("/chat.js", include_str!("../pages/chat.js")),
    ("/direct.js", include_str!("../pages/direct.js")),
];

/// How many messages of each room and user are kept, and for how long.
const KEPT: u64 = 200;
const KEPT_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// How long somebody whose connection broke counts as being there: a page that is reloaded is not gone.
const GRACE: Duration = Duration::from_secs(5);

/// How many users the accounts may have.
const USERS_MAX: usize = 10_000;

/// Declares the exchanges.
///
/// # Errors
/// When they are there already and different.
pub async fn prepare(broker: &Broker) -> Result<(), Error> {
    let client = broker.client()?;
    let kept = ExchangeOptions {
        history_length: Some(KEPT),
        history_age: Some(KEPT_FOR),
        ..Default::default()
    };
    for (name, options) in [
        ("rooms", kept.clone()),
        ("people", kept),
        ("typing", ExchangeOptions::default()),
        ("signals", ExchangeOptions::default()),
    ] {
        client
            .declare_exchange(name, ExchangeType::Topic, options)
            .await?;
    }
    let presence = ExchangeOptions {
        presence_grace: Some(GRACE),
        ..Default::default()
    };
    client
        .declare_exchange("presence", ExchangeType::Presence, presence)
        .await?;
    Ok(())
}

/// Lets a user in, who may write to everybody and read what is for everybody or for this user.
///
/// # Errors
/// When there are too many users.
pub fn admit(broker: &Broker, user: &str) -> Result<(), Error> {
    let accounts = broker.accounts().unwrap_or_default().users;
    if accounts.iter().any(|account| *account.name == *user) {
        return Ok(());
    }
    if accounts.len() >= USERS_MAX {
        return Err("there are too many users".into());
    }
    broker.change_accounts(AccountChange::PutUser(User::new(user)))?;
    // Subscriptions have queues of these names, which the broker makes up.
    const OWN: &str = "^stomp-subscription-";
    let write = "^(stomp-subscription-.*|rooms|people|typing|signals)$";
    let read = "^(stomp-subscription-.*|rooms|people|typing|presence|signals)$";
    broker.change_accounts(AccountChange::SetPermissions(UserPermissions {
        user: user.into(),
        vhost: "/".into(),
        permissions: Permissions::new(OWN, write, read)?,
    }))?;
    let room = "^room\\.(lobby|garden|workshop)$";
    let me = format!("^to\\.{user}$");
    for (exchange, write, read) in [
        ("rooms", room, room),
        ("typing", room, room),
        ("presence", "^$", room),
        ("people", "^to\\.", &*me),
        ("signals", "^to\\.", &*me),
    ] {
        let permissions = TopicPermissions::new(write, read)?;
        broker.change_accounts(AccountChange::SetTopicPermissions(UserTopicPermissions {
            user: user.into(),
            vhost: "/".into(),
            exchange: exchange.into(),
            permissions,
        }))?;
    }
    Ok(())
}

/// Closes the user's connections, and lets nobody in any more by this name.
pub fn dismiss(broker: &Broker, user: &str) {
    let name = user.into();
    // There is none if it never connected.
    drop(broker.change_accounts(AccountChange::DeleteUser { name }));
}
