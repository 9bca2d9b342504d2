//! Accounts that are kept in the data directory, and how they go with those that are configured.
#![cfg(feature = "journal")]

mod support;

use leveret_broker::{
    AccountChange, Accounts, Broker, Error, PasswordHash, Permissions, Tag, TopicPermissions, User,
    UserLimits, UserPermissions, UserTopicPermissions, VhostLimits,
};
use support::data_dir::Dir;
use support::start;

fn everything(user: &str) -> Accounts {
    Accounts::default().with_user(User::new(user), "/", Permissions::everything())
}

fn permissions(user: &str, vhost: &str, patterns: [&str; 3]) -> UserPermissions {
    let [configure, write, read] = patterns;
    UserPermissions {
        user: user.into(),
        vhost: vhost.into(),
        permissions: Permissions::new(configure, write, read).unwrap(),
    }
}

fn topic_permissions(user: &str, vhost: &str, exchange: &str) -> UserTopicPermissions {
    UserTopicPermissions {
        user: user.into(),
        vhost: vhost.into(),
        exchange: exchange.into(),
        permissions: TopicPermissions::new("^{username}", ".*").unwrap(),
    }
}

/// Nothing is configured, and a new directory begins with the user `first`.
async fn broker_in(dir: &Dir) -> Broker {
    let builder = Broker::builder().keep_accounts(everything("first"));
    dir.broker_with(builder).await
}

async fn change(broker: &Broker, changes: impl IntoIterator<Item = AccountChange>) {
    for change in changes {
        broker.change_accounts(change).unwrap();
    }
    broker.definitions_stored().await.unwrap();
}

fn users(broker: &Broker) -> Vec<String> {
    let accounts = broker.accounts().unwrap();
    let names = accounts.users.iter().map(|user| user.name.to_string());
    names.collect()
}

#[tokio::test]
async fn everything_about_accounts_is_there_again_after_a_crash() {
    let dir = Dir::new();
    let broker = broker_in(&dir).await;
    broker.create_vhost("shop");
    let ann = User {
        password_hash: Some(PasswordHash::new("a hash")),
        tags: [Tag::Management, Tag::from("of the house")].into(),
        limits: UserLimits {
            connections_max: Some(3),
            channels_max: Some(0),
        },
        ..User::new("ann")
    };
    change(
        &broker,
        [
            AccountChange::AddUser(ann),
            AccountChange::AddUser(User::new("bob")),
            AccountChange::SetPermissions(permissions("ann", "/", ["^a", "", ".*"])),
            AccountChange::SetPermissions(permissions("ann", "shop", ["", "", ""])),
            AccountChange::SetPermissions(permissions("bob", "shop", ["", "", ""])),
            AccountChange::ClearPermissions {
                user: "bob".into(),
                vhost: "shop".into(),
            },
            AccountChange::SetTopicPermissions(topic_permissions("ann", "shop", "amq.topic")),
            AccountChange::SetTopicPermissions(topic_permissions("bob", "shop", "t")),
            AccountChange::SetTopicPermissions(topic_permissions("bob", "shop", "u")),
            AccountChange::ClearTopicPermissions {
                user: "bob".into(),
                vhost: "shop".into(),
                exchange: Some("u".into()),
            },
            AccountChange::SetTags {
                user: "bob".into(),
                tags: [Tag::Monitoring].into(),
            },
            AccountChange::SetPassword {
                user: "bob".into(),
                hash: Some(PasswordHash::new("bob's")),
            },
            AccountChange::SetUserLimits {
                user: "bob".into(),
                limits: UserLimits {
                    connections_max: None,
                    channels_max: Some(7),
                },
            },
            AccountChange::DeleteUser {
                name: "first".into(),
            },
        ],
    )
    .await;
    let before = broker.accounts().unwrap();
    assert_eq!(users(&broker), ["ann", "bob"]);
    assert_eq!(before.permissions.len(), 2);
    assert_eq!(before.topic_permissions.len(), 2);
    let again = broker_in(&dir.crashed()).await;
    assert_eq!(again.accounts().unwrap(), before);
}

#[tokio::test]
async fn what_a_virtual_host_may_have_is_there_again_and_goes_with_it() {
    let dir = Dir::new();
    let broker = broker_in(&dir).await;
    broker.create_vhost("shop");
    let limits = VhostLimits {
        connections_max: Some(0),
        queues_max: Some(5),
    };
    broker.set_vhost_limits("shop", limits).unwrap();
    let error = broker.set_vhost_limits("zorp", limits).unwrap_err();
    assert!(error.is_unknown_vhost() && error.is_not_found(), "{error}");
    assert_eq!(broker.vhost_limits("zorp"), None);
    change(
        &broker,
        [AccountChange::SetPermissions(permissions(
            "first",
            "shop",
            ["", "", ""],
        ))],
    )
    .await;
    drop(broker);

    let broker = broker_in(&dir).await;
    assert_eq!(broker.vhost_limits("shop"), Some(limits));
    assert_eq!(broker.vhost_limits("/"), Some(VhostLimits::default()));
    broker.delete_vhost("shop");
    broker.create_vhost("shop");
    broker.definitions_stored().await.unwrap();
    drop(broker);

    let broker = broker_in(&dir).await;
    assert_eq!(broker.vhost_limits("shop"), Some(VhostLimits::default()));
    let left = broker.accounts().unwrap().permissions;
    assert_eq!(left, everything("first").permissions, "the others are gone");
}

#[tokio::test]
async fn the_first_accounts_do_not_come_back() {
    let dir = Dir::new();
    let broker = broker_in(&dir).await;
    assert_eq!(broker.accounts().unwrap(), everything("first"));
    drop(broker);
    let broker = broker_in(&dir).await;
    assert_eq!(broker.accounts().unwrap(), everything("first"));
    let name = "first".into();
    change(&broker, [AccountChange::DeleteUser { name }]).await;
    drop(broker);
    let broker = broker_in(&dir).await;
    assert_eq!(broker.accounts(), Some(Accounts::default()));
}

#[tokio::test]
async fn a_directory_from_before_there_were_accounts_begins_with_the_first() {
    let dir = Dir::of_version("v1");
    for _ in 0..2 {
        let broker = broker_in(&dir).await;
        assert_eq!(broker.accounts().unwrap(), everything("first"));
        let client = broker.client().unwrap();
        client.queue_info("old").await.unwrap();
        let route = client.explain("ex", "a.b", &Default::default()).await;
        assert_eq!(route.unwrap().queues, ["old".into()]);
    }
}

#[tokio::test]
async fn without_a_directory_they_begin_anew() {
    let broker = start(Broker::builder().keep_accounts(everything("first"))).await;
    change(&broker, [AccountChange::AddUser(User::new("ann"))]).await;
    assert_eq!(users(&broker), ["ann", "first"]);
    drop(broker);
    let broker = start(Broker::builder().keep_accounts(everything("first"))).await;
    assert_eq!(users(&broker), ["first"]);
}

#[tokio::test]
async fn what_is_configured_holds_and_goes_when_it_is_configured_no_longer() {
    let dir = Dir::new();
    let broker = broker_in(&dir).await;
    let stored = User {
        password_hash: Some(PasswordHash::new("stored")),
        ..User::new("op")
    };
    change(
        &broker,
        [
            AccountChange::AddUser(stored),
            AccountChange::SetPermissions(permissions("op", "/", ["", "", ""])),
        ],
    )
    .await;
    drop(broker);

    let builder = Broker::builder().keep_accounts(Accounts::default());
    let broker = dir.broker_with(builder.accounts(everything("op"))).await;
    let accounts = broker.accounts().unwrap();
    assert_eq!(users(&broker), ["first", "op"]);
    assert_eq!(accounts.users[1].password_hash, None);
    assert_eq!(accounts.permissions[1], everything("op").permissions[0]);
    assert!(broker.is_fixed_user("op") && !broker.is_fixed_user("first"));
    drop(broker);

    let broker = broker_in(&dir).await;
    assert_eq!(users(&broker), ["first"]);
    assert_eq!(broker.accounts(), Some(everything("first")));
}

#[tokio::test]
async fn permissions_beside_the_configured_ones_are_kept_until_another_has_the_name() {
    let dir = Dir::new();
    let configured = || {
        let builder = Broker::builder().vhost("shop");
        let builder = builder.keep_accounts(Accounts::default());
        builder.accounts(everything("op"))
    };
    let broker = dir.broker_with(configured()).await;
    let in_shop = permissions("op", "shop", ["", "", ""]);
    change(&broker, [AccountChange::SetPermissions(in_shop.clone())]).await;
    drop(broker);
    // Whoever looks without the configuration takes nothing away.
    drop(broker_in(&dir).await);
    let broker = dir.broker_with(configured()).await;
    assert_eq!(broker.accounts().unwrap().permissions[1], in_shop);
    drop(broker);

    let broker = broker_in(&dir).await;
    change(&broker, [AccountChange::AddUser(User::new("op"))]).await;
    drop(broker);
    let broker = broker_in(&dir).await;
    assert_eq!(broker.accounts().unwrap().permissions, []);
}

#[tokio::test]
async fn what_is_configured_cannot_be_changed() {
    let mut fixed = everything("op");
    fixed
        .topic_permissions
        .push(topic_permissions("op", "/", "t"));
    let builder = Broker::builder().vhost("shop").accounts(fixed);
    let broker = start(builder.keep_accounts(everything("first"))).await;
    let before = broker.accounts().unwrap();
    let op = || "op".into();
    let root = || "/".into();
    for change in [
        AccountChange::PutUser(User::new("op")),
        AccountChange::DeleteUser { name: op() },
        AccountChange::SetPassword {
            user: op(),
            hash: None,
        },
        AccountChange::SetTags {
            user: op(),
            tags: [].into(),
        },
        AccountChange::SetUserLimits {
            user: op(),
            limits: UserLimits::default(),
        },
        AccountChange::SetPermissions(permissions("op", "/", ["", "", ""])),
        AccountChange::ClearPermissions {
            user: op(),
            vhost: root(),
        },
        AccountChange::SetTopicPermissions(topic_permissions("op", "/", "t")),
        AccountChange::ClearTopicPermissions {
            user: op(),
            vhost: root(),
            exchange: Some("t".into()),
        },
        AccountChange::ClearTopicPermissions {
            user: op(),
            vhost: root(),
            exchange: None,
        },
    ] {
        let asked = format!("{change:?}");
        let error = broker.change_accounts(change).unwrap_err();
        assert!(error.is_fixed(), "{asked}: {error}");
        assert_eq!(broker.accounts().unwrap(), before, "{asked}");
    }
    // What is beside it can be.
    for change in [
        AccountChange::SetPermissions(permissions("op", "shop", ["", "", ""])),
        AccountChange::SetTopicPermissions(topic_permissions("op", "/", "u")),
        AccountChange::SetPermissions(permissions("first", "/", ["", "", ""])),
    ] {
        broker.change_accounts(change).unwrap();
    }
}

#[tokio::test]
async fn accounts_without_keeping_can_be_changed_and_are_forgotten() {
    let dir = Dir::new();
    let builder = || Broker::builder().accounts(everything("op"));
    let broker = dir.broker_with(builder()).await;
    change(&broker, [AccountChange::AddUser(User::new("ann"))]).await;
    change(&broker, [AccountChange::DeleteUser { name: "op".into() }]).await;
    drop(broker);
    assert_eq!(users(&dir.broker_with(builder()).await), ["op"]);
}

#[tokio::test]
async fn what_is_wrong_with_a_change_can_be_told() {
    let broker = start(Broker::builder().keep_accounts(everything("first"))).await;
    let add = AccountChange::AddUser(User::new("first"));
    let error = broker.change_accounts(add).unwrap_err();
    assert!(error.is_known_user(), "{error}");
    let error = broker
        .change_accounts(AccountChange::SetPassword {
            user: "zorp".into(),
            hash: None,
        })
        .unwrap_err();
    assert!(error.is_unknown_user() && error.is_not_found(), "{error}");
    let to_nowhere = AccountChange::SetPermissions(permissions("first", "zorp", ["", "", ""]));
    let error = broker.change_accounts(to_nowhere).unwrap_err();
    assert!(error.is_unknown_vhost() && error.is_not_found(), "{error}");
    let refused: Result<Broker, Error> = Broker::builder()
        .accounts(Accounts {
            permissions: vec![permissions("zorp", "/", ["", "", ""])],
            ..Accounts::default()
        })
        .start()
        .await;
    assert!(refused.unwrap_err().is_unknown_user());
}
