//! Which routing keys a user may use with a topic exchange (behaviour reference, section 18.3).

mod support;

use leveret_amqp_codec::method::{exchange, queue};
use leveret_broker::{
    AccountChange, Accounts, Broker, ExchangeType, Permissions, Properties, QueueOptions,
    TopicPermissions, User, UserTable, UserTopicPermissions, Value,
};
use support::{Greeting, Wire, short, start, with_headers};

/// A broker whose user ann may do everything, with topic exchanges `t` and `u`, a direct exchange `d` and a queue `q`;
/// and a channel of hers.
async fn broker_and_channel() -> (Broker, Wire) {
    let accounts = Accounts::default().with_user(User::new("ann"), "/", Permissions::everything());
    let users = UserTable::new().with_user("ann", "secret");
    let broker = start(Broker::builder().authenticator(users).accounts(accounts)).await;
    let admin = broker.client().unwrap();
    for (name, kind) in [
        ("t", ExchangeType::Topic),
        ("u", ExchangeType::Topic),
        ("d", ExchangeType::Direct),
    ] {
        let declared = admin.declare_exchange(name, kind, Default::default()).await;
        declared.unwrap();
    }
    admin
        .declare_queue("q", QueueOptions::default())
        .await
        .unwrap();
    let greeting = Greeting {
        response: b"\0ann\0secret".to_vec(),
        ..Greeting::default()
    };
    let wire = greeting.open_channel(&broker).await;
    (broker, wire)
}

fn permit(broker: &Broker, exchange: &str, write: &str, read: &str) {
    let change = AccountChange::SetTopicPermissions(UserTopicPermissions {
        user: "ann".into(),
        vhost: "/".into(),
        exchange: exchange.into(),
        permissions: TopicPermissions::new(write, read).unwrap(),
    });
    broker.change_accounts(change).unwrap();
}

/// What a key can be used for, and whether it takes the right to write.
const USES: [(&str, bool); 4] = [
    ("publish", true),
    ("bind a queue", false),
    ("unbind a queue", false),
    ("bind an exchange", false),
];

async fn carry_out(wire: &mut Wire, what: &str, source: &str, key: &str) -> Option<String> {
    match what {
        "publish" => wire.publish(source, key, b"x").await,
        "bind a queue" => {
            wire.send(&queue::Bind {
                queue: short("q"),
                exchange: short(source),
                routing_key: short(key),
                no_wait: true,
                ..Default::default()
            })
            .await;
        }
        "unbind a queue" => {
            wire.send(&queue::Unbind {
                queue: short("q"),
                exchange: short(source),
                routing_key: short(key),
                ..Default::default()
            })
            .await;
        }
        _ => {
            wire.send(&exchange::Bind {
                destination: short("d"),
                source: short(source),
                routing_key: short(key),
                no_wait: true,
                ..Default::default()
            })
            .await;
        }
    }
    wire.send(&leveret_amqp_codec::method::basic::Qos::default())
        .await;
    loop {
        let heard = wire.hear().await.expect("an answer comes");
        match heard.method().name() {
            "queue.unbind-ok" => {}
            "basic.qos-ok" => return None,
            _ => {
                let closed = heard.into_closed();
                assert_eq!(closed.code, 403);
                wire.send(&leveret_amqp_codec::method::channel::CloseOk {})
                    .await;
                wire.open_channel(1).await;
                return Some(closed.text);
            }
        }
    }
}

#[tokio::test]
async fn every_use_of_a_key_takes_its_right() {
    let (broker, mut wire) = broker_and_channel().await;
    for write in [false, true] {
        for read in [false, true] {
            let pattern = |may| if may { "^ok\\." } else { "" };
            permit(&broker, "t", pattern(write), pattern(read));
            for (what, takes_write) in USES {
                for key in ["ok.1", "no.1"] {
                    for source in ["t", "u", "d"] {
                        let has_right = if takes_write { write } else { read };
                        // Nothing is said of `u`, and `d` is no topic exchange.
                        let may = source != "t" || has_right && key == "ok.1";
                        let want = (!may).then(|| {
                            format!(
                                "ACCESS_REFUSED - access to topic '{key}' in exchange 't' in vhost '/' refused for \
                                 user 'ann'"
                            )
                        });
                        let got = carry_out(&mut wire, what, source, key).await;
                        assert_eq!(got, want, "{what} with {key} at {source}, {write}/{read}");
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn variables_stand_for_the_user_and_the_virtual_host() {
    let (broker, mut wire) = broker_and_channel().await;
    permit(&broker, "t", "^{username}\\.{vhost}$", "");
    assert_eq!(carry_out(&mut wire, "publish", "t", "ann./").await, None);
    let refused = carry_out(&mut wire, "publish", "t", "bob./").await;
    assert!(refused.is_some());
}

#[tokio::test]
async fn further_keys_are_no_way_around() {
    let (broker, mut wire) = broker_and_channel().await;
    permit(&broker, "t", "^ok$", ".*");
    wire.bind("q", "t", "#").await;
    for header in ["CC", "BCC"] {
        let properties: Properties = with_headers([(header, Value::Array(vec!["no".into()]))]);
        wire.publish_with("t", "ok", &properties, b"x").await;
        let closed = wire.expect_channel_closed().await;
        assert!(closed.text.contains("topic 'no'"), "{}", closed.text);
        wire.open_channel(1).await;
    }
    assert_eq!(wire.count("q").await, 0);
}

#[tokio::test]
async fn a_remembered_route_does_not_outlive_the_right() {
    let (broker, mut wire) = broker_and_channel().await;
    wire.bind("q", "t", "#").await;
    // The second one takes the way of the first.
    for _ in 0..2 {
        assert_eq!(carry_out(&mut wire, "publish", "t", "k").await, None);
    }
    permit(&broker, "t", "^other$", "");
    assert!(carry_out(&mut wire, "publish", "t", "k").await.is_some());
    let clear = |exchange: Option<&str>| AccountChange::ClearTopicPermissions {
        user: "ann".into(),
        vhost: "/".into(),
        exchange: exchange.map(Into::into),
    };
    broker.change_accounts(clear(Some("u"))).unwrap();
    assert!(carry_out(&mut wire, "publish", "t", "k").await.is_some());
    broker.change_accounts(clear(Some("t"))).unwrap();
    assert_eq!(carry_out(&mut wire, "publish", "t", "k").await, None);
    permit(&broker, "t", "", "");
    broker.change_accounts(clear(None)).unwrap();
    assert_eq!(carry_out(&mut wire, "publish", "t", "k").await, None);
    assert_eq!(wire.count("q").await, 4);
}
