//! How much virtual hosts and users may have, in RabbitMQ's words.

mod support;

use leveret_amqp_codec::method::{channel, connection, queue};
use leveret_broker::{
    AccountChange, Accounts, Broker, Identity, Permissions, User, UserLimits, UserTable,
    VhostLimits,
};
use support::{Closed, Greeting, Wire, short, start, until};

async fn broker() -> Broker {
    let users = UserTable::new()
        .with_user("ann", "secret")
        .with_user("bob", "secret");
    let accounts = Accounts::default().with_user(User::new("ann"), "/", Permissions::everything());
    let builder = Broker::builder().vhost("shop").authenticator(users);
    start(builder.accounts(accounts)).await
}

fn greeting(user: &str, vhost: &'static str) -> Greeting {
    Greeting {
        response: format!("\0{user}\0secret").into_bytes(),
        vhost,
        ..Greeting::default()
    }
}

async fn connect(broker: &Broker) -> Wire {
    greeting("ann", "/").open_channel(broker).await
}

async fn refused(broker: &Broker, user: &str, vhost: &'static str) -> Closed {
    let greeting = greeting(user, vhost);
    let mut wire = greeting.authenticate(broker).await;
    wire.expect_on(0, "connection.tune").await;
    greeting.tune(&mut wire).await;
    greeting.open(&mut wire).await;
    wire.expect_connection_closed().await
}

fn limit_user(broker: &Broker, connections_max: Option<u32>, channels_max: Option<u32>) {
    let limits = UserLimits {
        connections_max,
        channels_max,
    };
    let change = AccountChange::SetUserLimits {
        user: "ann".into(),
        limits,
    };
    broker.change_accounts(change).unwrap();
}

fn limit_vhost(broker: &Broker, connections_max: Option<u32>, queues_max: Option<u32>) {
    let limits = VhostLimits {
        connections_max,
        queues_max,
    };
    broker.set_vhost_limits("/", limits).unwrap();
    assert_eq!(broker.vhost_limits("/"), Some(limits));
}

#[tokio::test]
async fn a_virtual_host_has_so_many_connections_and_no_more() {
    let broker = broker().await;
    let first = connect(&broker).await;
    limit_vhost(&broker, Some(1), None);
    // Before it is known whether the user may come in: bob may not.
    for user in ["ann", "bob"] {
        let closed = refused(&broker, user, "/").await;
        assert_eq!((closed.code, closed.method), (530, (10, 40)));
        assert_eq!(
            closed.text,
            format!(
                "NOT_ALLOWED - access to vhost '/' refused for user '{user}': connection limit (1) is reached"
            )
        );
    }
    let refused_user = broker
        .client_for(&Identity::new("ann"), "/")
        .await
        .unwrap_err();
    assert!(
        refused_user
            .to_string()
            .ends_with("connection limit (1) is reached")
    );
    // The program itself does not count.
    broker.client().unwrap();
    first.close().await;
    until("the first's end", || broker.connection_count() == 0).await;
    let _second = connect(&broker).await;
    refused(&broker, "ann", "/").await;
    limit_vhost(&broker, None, None);
    connect(&broker).await;
    limit_vhost(&broker, Some(0), None);
    refused(&broker, "ann", "/").await;
}

#[tokio::test]
async fn a_user_has_so_many_connections_and_no_more() {
    let broker = broker().await;
    let _first = connect(&broker).await;
    limit_user(&broker, Some(1), None);
    // In whichever virtual host, also where the user has no permissions.
    for vhost in ["/", "shop"] {
        let closed = refused(&broker, "ann", vhost).await;
        assert_eq!((closed.code, closed.method), (530, (10, 40)));
        assert_eq!(
            closed.text,
            "NOT_ALLOWED - connection refused for user 'ann': user connection limit (1) is reached"
        );
    }
    limit_vhost(&broker, Some(1), None);
    // The virtual host's is looked at first.
    let closed = refused(&broker, "ann", "/").await;
    assert!(
        closed.text.ends_with("': connection limit (1) is reached"),
        "{}",
        closed.text
    );
    limit_vhost(&broker, None, None);
    limit_user(&broker, None, None);
    let acting = broker.client_for(&Identity::new("ann"), "/").await.unwrap();
    limit_user(&broker, Some(2), None);
    refused(&broker, "ann", "/").await;
    drop(acting);
    connect(&broker).await;
}

#[tokio::test]
async fn a_user_has_so_many_channels_on_all_connections_together() {
    let broker = broker().await;
    limit_user(&broker, None, Some(2));
    let mut first = connect(&broker).await;
    let mut second = connect(&broker).await;
    second.send_on(2, &channel::Open {}).await;
    let closed = second.expect_connection_closed().await;
    assert_eq!((closed.code, closed.method), (530, (0, 0)));
    assert_eq!(
        closed.text,
        "NOT_ALLOWED - number of channels opened for user 'ann' has reached the maximum allowed user limit of (2)"
    );
    second.send_on(0, &connection::CloseOk {}).await;
    until("the second's end", || broker.connection_count() == 1).await;
    first.open_channel(2).await;
    // One that is closed makes room.
    first.close_channel().await;
    first.open_channel(3).await;
    // And so does one that has failed, before the client has agreed.
    first
        .send_on(
            3,
            &queue::Purge {
                queue: short("zorp"),
                ..Default::default()
            },
        )
        .await;
    first.expect_on(3, "channel.close").await;
    first.open_channel(4).await;
}

#[tokio::test]
async fn a_virtual_host_has_so_many_queues_and_no_more() {
    let broker = broker().await;
    let client = broker.client().unwrap();
    client.declare_queue("a", Default::default()).await.unwrap();
    client.declare_queue("b", Default::default()).await.unwrap();
    limit_vhost(&broker, None, Some(1));
    let mut wire = connect(&broker).await;
    // What is there stays, and can be declared again.
    wire.declare("a").await;
    wire.send(&queue::Declare {
        queue: short("c"),
        ..Default::default()
    })
    .await;
    let closed = wire.expect_channel_closed().await;
    assert_eq!(closed.code, 406);
    assert_eq!(
        closed.text,
        "PRECONDITION_FAILED - cannot declare queue 'c': queue limit in vhost '/' (1) is reached"
    );
    client.delete_queue("a").await.unwrap();
    client.delete_queue("b").await.unwrap();
    client.declare_queue("c", Default::default()).await.unwrap();
    limit_vhost(&broker, None, Some(0));
    client
        .declare_queue("d", Default::default())
        .await
        .unwrap_err();
    // Another virtual host has its own.
    let elsewhere = broker.client_of("shop").unwrap();
    elsewhere
        .declare_queue("d", Default::default())
        .await
        .unwrap();
}

#[tokio::test]
async fn whoever_acts_for_a_user_has_its_rights_and_loses_them_with_it() {
    let broker = broker().await;
    let ann = Identity::new("ann");
    let client = broker.client_for(&ann, "/").await.unwrap();
    client.declare_queue("q", Default::default()).await.unwrap();
    let mut consumer = client.consume("q", Default::default()).await.unwrap();
    for (who, vhost) in [("ann", "shop"), ("zorp", "/")] {
        let refused = broker
            .client_for(&Identity::new(who), vhost)
            .await
            .unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!("access to vhost '{vhost}' refused for user '{who}'")
        );
    }
    assert!(
        broker
            .client_for(&ann, "zorp")
            .await
            .unwrap_err()
            .is_unknown_vhost()
    );
    // What no permission is about is for the program alone.
    let looked = client.explain("amq.topic", "k", &Default::default()).await;
    assert!(looked.unwrap_err().is_access_refused());
    assert!(
        client
            .scheduled("amq.topic")
            .await
            .unwrap_err()
            .is_access_refused()
    );
    let properties = leveret_broker::Properties {
        user_id: Some("bob".to_owned()),
        ..Default::default()
    };
    let mut publish = leveret_broker::Publish::to_queue("q", b"m");
    publish.properties = Some(properties);
    let refused = client.publish(publish).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "user_id property set to 'bob' but authenticated user was 'ann'"
    );

    let change = AccountChange::DeleteUser { name: "ann".into() };
    broker.change_accounts(change).unwrap();
    let refused = client.declare_queue("q", Default::default()).await;
    assert!(refused.unwrap_err().is_access_refused());
    assert!(consumer.recv().await.is_none(), "the consumer has ended");
}
