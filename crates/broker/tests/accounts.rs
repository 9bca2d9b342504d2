//! Users and permissions of a running broker: who gets into a virtual host, and what changes for those who are in.

mod support;

use leveret_amqp_codec::method::basic;
use leveret_broker::{
    AccountChange, Accounts, Authenticator, Broker, Identity, Login, LoginFuture, LoginRefused,
    PasswordHash, Permissions, Properties, Tag, TopicPermissions, User, UserPermissions, UserTable,
    UserTopicPermissions,
};
use support::{Closed, Greeting, Wire, short, start};

fn everything(user: &str) -> Accounts {
    Accounts::default().with_user(User::new(user), "/", Permissions::everything())
}

async fn broker_of(accounts: Accounts) -> Broker {
    let users = UserTable::new()
        .with_user("ann", "secret")
        .with_user("bob", "secret");
    let builder = Broker::builder().vhost("shop");
    start(builder.authenticator(users).accounts(accounts)).await
}

fn greeting_of(user: &str, vhost: &'static str) -> Greeting {
    Greeting {
        response: format!("\0{user}\0secret").into_bytes(),
        vhost,
        ..Greeting::default()
    }
}

async fn connect(broker: &Broker, user: &str) -> Wire {
    greeting_of(user, "/").open_channel(broker).await
}

/// Somebody who logs in, and is not let into the virtual host.
async fn refused(broker: &Broker, user: &str, vhost: &'static str) -> Closed {
    let greeting = greeting_of(user, vhost);
    let mut wire = greeting.authenticate(broker).await;
    wire.expect_on(0, "connection.tune").await;
    greeting.tune(&mut wire).await;
    greeting.open(&mut wire).await;
    wire.expect_connection_closed().await
}

fn set(user: &str, vhost: &str, permissions: Permissions) -> AccountChange {
    AccountChange::SetPermissions(UserPermissions {
        user: user.into(),
        vhost: vhost.into(),
        permissions,
    })
}

fn properties_of(user: &str) -> Properties {
    Properties {
        user_id: Some(user.to_owned()),
        ..Properties::default()
    }
}

#[tokio::test]
async fn a_user_gets_into_the_virtual_hosts_for_which_it_has_permissions() {
    let broker = broker_of(everything("ann")).await;
    connect(&broker, "ann").await;
    let closed = refused(&broker, "ann", "shop").await;
    assert_eq!((closed.code, closed.method), (530, (10, 40)));
    assert_eq!(
        closed.text,
        "NOT_ALLOWED - access to vhost 'shop' refused for user 'ann'"
    );
    assert_eq!(
        refused(&broker, "ann", "zorp").await.text,
        "NOT_ALLOWED - vhost zorp not found"
    );
    // Bob is known to the authenticator alone.
    assert_eq!(
        refused(&broker, "bob", "/").await.text,
        "NOT_ALLOWED - access to vhost '/' refused for user 'bob'"
    );
}

#[tokio::test]
async fn permission_for_nothing_opens_the_virtual_host() {
    let accounts = Accounts::default().with_user(User::new("ann"), "/", Permissions::nothing());
    connect(&broker_of(accounts).await, "ann").await;
}

#[tokio::test]
async fn anonymous_clients_may_do_what_their_user_may() {
    let builder = Broker::builder()
        .anonymous_user("visitor")
        .accounts(everything("ann"));
    let broker = start(builder).await;
    let greeting = Greeting {
        mechanism: "ANONYMOUS",
        response: Vec::new(),
        ..Greeting::default()
    };
    let mut wire = greeting.authenticate(&broker).await;
    wire.expect_on(0, "connection.tune").await;
    greeting.tune(&mut wire).await;
    greeting.open(&mut wire).await;
    assert_eq!(wire.expect_connection_closed().await.code, 530);
}

#[tokio::test]
async fn without_accounts_who_is_in_may_do_everything() {
    let broker = start(Broker::builder().vhost("shop")).await;
    assert!(broker.accounts().is_none());
    let greeting = Greeting {
        vhost: "shop",
        ..Greeting::default()
    };
    greeting.open_channel(&broker).await.declare("q").await;
    let change = AccountChange::PutUser(User::new("ann"));
    let error = broker.change_accounts(change).unwrap_err();
    assert!(error.is_precondition_failed(), "{error}");
}

#[tokio::test]
async fn publishing_ends_with_the_right_to_it() {
    let broker = broker_of(everything("ann")).await;
    let mut wire = connect(&broker, "ann").await;
    wire.declare("q").await;
    wire.publish_all("q", 0..3).await;
    wire.quiet().await;
    // The route of the next one is remembered.
    broker
        .change_accounts(set("ann", "/", Permissions::new(".*", "", ".*").unwrap()))
        .unwrap();
    wire.publish("", "q", b"late").await;
    let closed = wire.expect_channel_closed().await;
    assert_eq!(
        closed.text,
        "ACCESS_REFUSED - access to exchange 'amq.default' in vhost '/' refused for user 'ann'"
    );
    assert_eq!(wire.look_after_reopening("q").await.messages, 3);
}

#[tokio::test]
async fn a_consumer_goes_on_without_the_right_to_begin() {
    let broker = broker_of(everything("ann")).await;
    let mut wire = connect(&broker, "ann").await;
    wire.declare("q").await;
    wire.consume_no_ack("q").await;
    broker
        .change_accounts(AccountChange::ClearPermissions {
            user: "ann".into(),
            vhost: "/".into(),
        })
        .unwrap();
    let admin = broker.client().unwrap();
    let publish = leveret_broker::Publish::to_queue("q", b"x");
    admin.publish(publish).await.unwrap();
    assert_eq!(wire.delivery().await.body, b"x");
    wire.send(&basic::Get {
        queue: short("q"),
        no_ack: true,
    })
    .await;
    assert_eq!(wire.expect_channel_closed().await.code, 403);
    assert_eq!(refused(&broker, "ann", "/").await.code, 530);
}

#[tokio::test]
async fn the_connections_of_a_deleted_user_are_closed() {
    let accounts = everything("ann").with_user(User::new("bob"), "/", Permissions::everything());
    let broker = broker_of(accounts).await;
    let mut ann = connect(&broker, "ann").await;
    let mut second = connect(&broker, "ann").await;
    let mut bob = connect(&broker, "bob").await;
    let delete = || AccountChange::DeleteUser { name: "ann".into() };
    broker.change_accounts(delete()).unwrap();
    for wire in [&mut ann, &mut second] {
        let closed = wire.expect_connection_closed().await;
        assert_eq!((closed.code, closed.method), (320, (0, 0)));
        assert_eq!(closed.text, "CONNECTION_FORCED - user 'ann' is deleted");
    }
    bob.quiet().await;
    assert_eq!(refused(&broker, "ann", "/").await.code, 530);
    assert!(broker.change_accounts(delete()).unwrap_err().is_not_found());

    // Another of this name has nothing of the first.
    broker
        .change_accounts(AccountChange::PutUser(User::new("ann")))
        .unwrap();
    assert_eq!(refused(&broker, "ann", "/").await.code, 530);
}

#[tokio::test]
async fn the_permissions_for_a_deleted_virtual_host_go_with_it() {
    let broker = broker_of(everything("ann")).await;
    let topic = AccountChange::SetTopicPermissions(UserTopicPermissions {
        user: "ann".into(),
        vhost: "shop".into(),
        exchange: "t".into(),
        permissions: TopicPermissions::new("", "").unwrap(),
    });
    broker.change_accounts(topic).unwrap();
    broker
        .change_accounts(set("ann", "shop", Permissions::everything()))
        .unwrap();
    greeting_of("ann", "shop").open_channel(&broker).await;
    assert!(broker.delete_vhost("shop"));
    assert_eq!(broker.accounts(), Some(everything("ann")));
    assert!(broker.create_vhost("shop"));
    assert_eq!(refused(&broker, "ann", "shop").await.code, 530);
}

#[tokio::test]
async fn only_an_impersonator_publishes_in_the_name_of_others() {
    let broker = broker_of(everything("ann")).await;
    let mut wire = connect(&broker, "ann").await;
    wire.publish_with("", "q", &properties_of("ann"), b"x")
        .await;
    wire.publish_with("", "q", &properties_of("bob"), b"x")
        .await;
    let closed = wire.expect_channel_closed().await;
    assert_eq!(
        closed.text,
        "PRECONDITION_FAILED - user_id property set to 'bob' but authenticated user was 'ann'"
    );
    let impersonator = User {
        tags: [Tag::Impersonator].into(),
        ..User::new("ann")
    };
    broker
        .change_accounts(AccountChange::PutUser(impersonator))
        .unwrap();
    wire.open_channel(1).await;
    wire.publish_with("", "q", &properties_of("bob"), b"x")
        .await;
    wire.quiet().await;
}

#[tokio::test]
async fn changes_need_users_and_virtual_hosts_that_exist() {
    let broker = broker_of(everything("ann")).await;
    let before = broker.accounts();
    for change in [
        set("zorp", "/", Permissions::everything()),
        set("ann", "zorp", Permissions::everything()),
        AccountChange::ClearPermissions {
            user: "zorp".into(),
            vhost: "/".into(),
        },
        AccountChange::ClearTopicPermissions {
            user: "zorp".into(),
            vhost: "/".into(),
            exchange: None,
        },
    ] {
        let error = broker.change_accounts(change.clone()).unwrap_err();
        assert!(error.is_not_found(), "{change:?}: {error}");
    }
    assert_eq!(broker.accounts(), before);
    // What is not there to be cleared is clear.
    broker
        .change_accounts(AccountChange::ClearPermissions {
            user: "ann".into(),
            vhost: "zorp".into(),
        })
        .unwrap();
}

#[tokio::test]
async fn a_broker_does_not_start_with_permissions_that_lead_nowhere() {
    for (user, vhost) in [("zorp", "/"), ("ann", "zorp")] {
        let mut accounts = everything("ann");
        accounts.permissions[0].user = user.into();
        accounts.permissions[0].vhost = vhost.into();
        let error = Broker::builder().accounts(accounts).start().await;
        assert!(error.unwrap_err().is_not_found(), "{user} in {vhost}");
    }
}

#[tokio::test]
async fn what_was_put_in_is_listed_and_starts_another_broker() {
    let mut accounts = everything("bob").with_user(
        User {
            password_hash: Some(PasswordHash::new("hash")),
            tags: [Tag::Management, Tag::Other("night-shift".into())].into(),
            ..User::new("ann")
        },
        "shop",
        Permissions::new("^a", "", "b$").unwrap(),
    );
    accounts.topic_permissions.push(UserTopicPermissions {
        user: "ann".into(),
        vhost: "shop".into(),
        exchange: "t".into(),
        permissions: TopicPermissions::new("^{username}", "").unwrap(),
    });
    let listed = broker_of(accounts.clone()).await.accounts().unwrap();
    accounts.users.sort_by(|a, b| a.name.cmp(&b.name));
    accounts.permissions.sort_by(|a, b| a.user.cmp(&b.user));
    assert_eq!(listed, accounts);
    assert_eq!(broker_of(listed).await.accounts(), Some(accounts));
}

/// Lets in whom the broker's accounts have the password of, in the clear.
struct FromAccounts;

impl Authenticator for FromAccounts {
    fn authenticate(&self, login: Login) -> LoginFuture<'_> {
        let hash = login.account.and_then(|user| user.password_hash);
        let is_right = hash.is_some_and(|hash| login.password.is(hash.as_str()));
        Box::pin(std::future::ready(if is_right {
            Ok(Identity::new(login.username))
        } else {
            Err(LoginRefused::new("wrong"))
        }))
    }
}

#[tokio::test]
async fn an_authenticator_is_told_what_the_accounts_know() {
    let user = |password: &str| User {
        password_hash: Some(PasswordHash::new(password)),
        ..User::new("ann")
    };
    let accounts = Accounts::default().with_user(user("secret"), "/", Permissions::everything());
    let builder = Broker::builder().authenticator(FromAccounts);
    let broker = start(builder.accounts(accounts)).await;
    let mut wire = connect(&broker, "ann").await;
    // Another password is another login, and no end of the connections that are there.
    broker
        .change_accounts(AccountChange::PutUser(user("changed")))
        .unwrap();
    wire.declare("q").await;
    let mut late = greeting_of("ann", "/").authenticate(&broker).await;
    assert_eq!(late.expect_connection_closed().await.code, 403);
}
