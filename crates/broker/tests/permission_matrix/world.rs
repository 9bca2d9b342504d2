//! Brokers in which somebody says what ann may do.

use std::fmt;

use leveret_broker::{
    AccountChange, Accounts, Broker, Identity, Permissions, TopicPermissions, User,
    UserPermissions, UserTable, UserTopicPermissions,
};

use crate::operation::Right::{self, Configure, Read, Write};
use crate::operation::{GENERATED, Grant, TEMPORARY};
use crate::support::backend::Backend;
use crate::support::start;

/// One of them.
pub(crate) struct World {
    pub(crate) broker: Broker,
    /// None when it is the accounts that say it.
    backend: Option<Backend>,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.backend {
            None => "accounts",
            Some(_) => "a backend",
        })
    }
}

impl World {
    pub(crate) async fn with_accounts() -> Self {
        let users = UserTable::new().with_user("ann", "secret");
        let accounts = Accounts::default().with_user(User::new("ann"), "/", Permissions::nothing());
        Self {
            broker: start(Broker::builder().authenticator(users).accounts(accounts)).await,
            backend: None,
        }
    }

    /// Every answer comes late.
    pub(crate) async fn with_backend() -> Self {
        let backend = Backend::new();
        backend.answer_late();
        Self {
            broker: backend.broker().await,
            backend: Some(backend),
        }
    }

    /// Who she is in the process.
    pub(crate) fn ann(&self) -> Identity {
        match &self.backend {
            None => Identity::new("ann"),
            Some(backend) => backend.identity("ann"),
        }
    }

    /// Permits this and nothing else.
    pub(crate) fn permit(&self, grants: &[Grant]) {
        let Some(backend) = &self.backend else {
            self.change(permissions(
                [Configure, Write, Read].map(|right| pattern(grants, right)),
            ));
            return;
        };
        let grants = grants.to_vec();
        backend.rule(move |question| {
            let mut words = question.split(' ');
            let (right, kind) = (words.next(), words.next());
            if right == Some("vhost") || kind == Some("topic") {
                return Ok(true);
            }
            let name = words.next().unwrap();
            let mut grants = grants.iter();
            Ok(grants.any(|(of, granted)| {
                right == Some(of.as_str())
                    && match granted {
                        &TEMPORARY | &GENERATED => name.starts_with(granted),
                        granted => name == *granted,
                    }
            }))
        });
    }

    /// Permits everything, but of topics only ann's own, where that.
    pub(crate) fn permit_topics(&self, may_write: bool, may_read: bool) {
        let Some(backend) = &self.backend else {
            let pattern = |may| if may { "^{username}\\." } else { "^nothing$" };
            let (write, read) = (pattern(may_write), pattern(may_read));
            self.change(permissions([".*"; 3].map(str::to_owned)));
            self.change(AccountChange::SetTopicPermissions(UserTopicPermissions {
                user: "ann".into(),
                vhost: "/".into(),
                exchange: "amq.topic".into(),
                permissions: TopicPermissions::new(write, read).unwrap(),
            }));
            return;
        };
        backend.rule(move |question| {
            let (right, rest) = question.split_once(" topic ").unwrap_or(("", "ann."));
            let may = match right {
                "write" => may_write,
                "read" => may_read,
                _ => true,
            };
            Ok(may && rest.starts_with("ann."))
        });
    }

    fn change(&self, change: AccountChange) {
        self.broker.change_accounts(change).unwrap();
    }
}

fn permissions([configure, write, read]: [String; 3]) -> AccountChange {
    AccountChange::SetPermissions(UserPermissions {
        user: "ann".into(),
        vhost: "/".into(),
        permissions: Permissions::new(&configure, &write, &read).unwrap(),
    })
}

fn pattern(grants: &[Grant], right: Right) -> String {
    let names: Vec<String> = grants
        .iter()
        .filter(|(of, _)| *of == right)
        .map(|(_, name)| match *name {
            TEMPORARY | GENERATED => format!("^{}", name.replace('.', "\\.")),
            name => format!("^{}$", name.replace('.', "\\.")),
        })
        .collect();
    names.join("|")
}
