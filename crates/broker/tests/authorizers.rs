//! Rights that somebody outside of the broker has to be asked for, in AMQP: when it is asked and how often, and that
//! waiting for it changes nothing but the time (behaviour reference, section 18.4). What happens meanwhile is in
//! `authorizers_awaited.rs`.

mod support;

use leveret_amqp_codec::method::{basic, channel, confirm, connection, exchange, queue, tx};
use leveret_amqp_codec::{ChannelId, EncodeMethod, write_method};
use leveret_broker::{
    Accounts, Broker, Permissions, Properties, Tag, User, UserLimits, Value, VirtualClock,
};
use std::time::Duration;
use support::backend::{Backend, ann, begin, greeting_of};
use support::{Confirmed, Greeting, Wire, declare, pass, short, start, with_headers};

/// The methods of several commands in one piece.
#[derive(Default)]
struct Commands(Vec<u8>);

impl Commands {
    fn then(mut self, method: &impl EncodeMethod) -> Self {
        write_method(&mut self.0, ChannelId(1), method);
        self
    }

    fn publish(mut self, wire: &Wire, exchange: &str, key: &str, body: &[u8]) -> Self {
        let publish = basic::Publish {
            exchange: short(exchange),
            routing_key: short(key),
            ..basic::Publish::default()
        };
        let bytes = wire.publish_bytes(&publish, &Properties::default(), body);
        self.0.extend_from_slice(&bytes);
        self
    }
}

fn consume(queue: &str) -> basic::Consume<'_> {
    basic::Consume {
        queue: short(queue),
        no_ack: true,
        ..basic::Consume::default()
    }
}

/// A broker that has everything from a backend all of whose answers come late, and which has been asked nothing yet; and ann with channel 1
/// open.
async fn late() -> (Backend, Broker, Wire) {
    let backend = Backend::new();
    backend.answer_late();
    let (backend, broker, wire) = begin(backend).await;
    backend.asked();
    (backend, broker, wire)
}

/// What connection.open is answered with.
async fn not_opened(broker: &Broker, greeting: &Greeting) -> (u16, String) {
    let mut wire = greeting.ask_to_open(broker).await;
    let closed = wire.expect_connection_closed().await;
    (closed.code, closed.text)
}

#[tokio::test]
async fn it_is_asked_about_each_right_by_name_and_once() {
    let (backend, _broker, mut wire) = begin(Backend::new()).await;
    assert_eq!(backend.asked(), ["vhost / from 127.0.0.1"]);
    wire.declare("q").await;
    assert_eq!(backend.asked(), ["configure queue q"]);
    let named = wire.declare("").await.name;
    assert_eq!(backend.asked(), [format!("configure queue {named}")]);
    wire.declare_exchange("x", "topic").await;
    assert_eq!(backend.asked(), ["configure exchange x"]);
    wire.bind("q", "x", "a.#").await;
    let bound = ["write queue q", "read exchange x", "read topic a.# of x"];
    assert_eq!(backend.asked(), bound);
    for _ in 0..3 {
        wire.publish("x", "a.b", b"m").await;
        wire.publish("", "q", b"m").await;
    }
    wire.quiet().await;
    let published = [
        "write exchange x",
        "write topic a.b of x",
        "write exchange amq.default",
    ];
    assert_eq!(backend.asked(), published);
    wire.call(&consume("q"), "basic.consume-ok").await;
    assert_eq!(backend.asked(), ["read queue q"]);
    assert_eq!(wire.deliveries(6).await, ["m"; 6]);
    wire.declare("q").await;
    assert_eq!(backend.asked(), [""; 0], "it is known already");
}

#[tokio::test]
async fn dead_letter_and_alternate_exchanges_are_asked_about_after_the_thing_itself() {
    let (backend, _broker, mut wire) = late().await;
    let arguments = support::table([("x-dead-letter-exchange", "dlx".into())]);
    let name = wire.declare_with("", &arguments).await.name;
    let wanted = [
        format!("configure queue {name}"),
        format!("read queue {name}"),
        "write exchange dlx".to_owned(),
    ];
    assert_eq!(backend.asked(), wanted, "one name all along");
    let arguments = support::table([("alternate-exchange", "ae".into())]);
    wire.declare_exchange_with("x", "fanout", &arguments).await;
    let wanted = [
        "configure exchange x",
        "read exchange x",
        "write exchange ae",
    ];
    assert_eq!(backend.asked(), wanted);
}

/// Commands that depend on each other, sent in one piece, while every question has to be waited for.
#[tokio::test]
async fn commands_that_wait_keep_their_order() {
    let (_backend, _broker, mut wire) = late().await;
    let mut commands = Commands::default().then(&declare("q")).then(&queue::Bind {
        queue: short("q"),
        exchange: short("amq.topic"),
        routing_key: short("k.#"),
        ..queue::Bind::default()
    });
    for n in 0..20 {
        let key = format!("k.{n}");
        commands = commands
            .publish(&wire, "amq.topic", &key, format!("topic {n}").as_bytes())
            .publish(&wire, "", "q", format!("direct {n}").as_bytes());
    }
    let commands = commands.then(&consume("q"));
    wire.send_bytes(&commands.0).await;
    wire.expect("queue.declare-ok").await;
    wire.expect("queue.bind-ok").await;
    wire.expect("basic.consume-ok").await;
    let wanted: Vec<_> = (0..20)
        .flat_map(|n| [format!("topic {n}"), format!("direct {n}")])
        .collect();
    assert_eq!(wire.deliveries(40).await, wanted);
    let commands = Commands::default()
        .then(&declare("r"))
        .publish(&wire, "", "r", b"one")
        .then(&queue::Purge {
            queue: short("r"),
            ..queue::Purge::default()
        })
        .publish(&wire, "amq.direct", "nowhere", b"two")
        .publish(&wire, "", "r", b"three")
        .then(&basic::Get {
            queue: short("r"),
            ..basic::Get::default()
        });
    wire.send_bytes(&commands.0).await;
    wire.expect("queue.declare-ok").await;
    wire.expect("queue.purge-ok").await;
    let got = wire.expect("basic.get-ok").await.into_delivered();
    assert_eq!((got.text(), got.remaining), ("three", 0));
}

/// Each way in which a message can come: whole in one read, in pieces, with a body that is copied and one that is not.
#[tokio::test]
async fn publishes_that_wait_arrive_whole_and_in_order() {
    let (backend, broker, mut wire) = begin(Backend::new()).await;
    wire.call(&confirm::Select { no_wait: false }, "confirm.select-ok")
        .await;
    broker
        .client()
        .unwrap()
        .declare_queue("q", Default::default())
        .await
        .unwrap();
    backend.answer_late();
    let bodies: Vec<Vec<u8>> = [0, 10, 5_000, 70_000, 120_000, 400_000]
        .iter()
        .enumerate()
        .map(|(n, size)| vec![n as u8 + 1; *size])
        .collect();
    let mut commands = Commands::default();
    for (n, body) in bodies.iter().enumerate() {
        // A topic each, so that each of them has to be waited for.
        commands = commands.publish(&wire, "amq.topic", &format!("t{n}"), body);
        commands = commands.publish(&wire, "", "q", body);
    }
    // In pieces that end in the middle of frames.
    for piece in commands.0.chunks(7_001) {
        wire.send_bytes(piece).await;
    }
    let mut confirmed = 0;
    while confirmed < 2 * bodies.len() as u64 {
        match wire.confirmed().await {
            Confirmed::Ack { tag, multiple } => {
                assert!(tag == confirmed + 1 || multiple && tag > confirmed);
                confirmed = tag;
            }
            nack => panic!("{nack:?}"),
        }
    }
    let client = broker.client().unwrap();
    for body in &bodies {
        let delivery = client.get("q").await.unwrap().expect("one for each body");
        assert!(delivery.message().body() == body, "{} bytes", body.len());
        delivery.ack();
    }
}

#[tokio::test]
async fn a_refusal_closes_the_channel_and_nothing_of_it_has_been_done() {
    let (backend, _broker, mut wire) = late().await;
    backend.refuse(["configure queue secret", "write exchange amq.fanout"]);
    wire.send(&declare("secret")).await;
    let text = "ACCESS_REFUSED - access to queue 'secret' in vhost '/' refused for user 'ann'";
    assert_eq!(wire.refused().await, text);
    wire.expect_no_queue("secret").await;
    let mut commands = Commands::default().publish(&wire, "amq.fanout", "k", b"m");
    // What follows on the channel is thrown away with it.
    commands = commands.then(&declare("never"));
    wire.send_bytes(&commands.0).await;
    let text =
        "ACCESS_REFUSED - access to exchange 'amq.fanout' in vhost '/' refused for user 'ann'";
    assert_eq!(wire.refused().await, text);
    wire.expect_no_queue("never").await;
    // Asked again, and permitted now.
    backend.rule(|_| Ok(true));
    wire.declare("secret").await;
}

#[tokio::test]
async fn further_keys_are_asked_about_together_and_refused_one_by_one() {
    let (backend, _broker, mut wire) = late().await;
    let cc = |keys: &[&str]| {
        let keys = keys.iter().map(|key| Value::from(*key)).collect();
        with_headers([("CC", Value::Array(keys))])
    };
    wire.publish_with("amq.topic", "a", &cc(&["b", "c"]), b"m")
        .await;
    wire.quiet().await;
    let wanted = [
        "write exchange amq.topic",
        "write topic a of amq.topic",
        "write topic b of amq.topic",
        "write topic c of amq.topic",
    ];
    assert_eq!(backend.asked(), wanted);
    backend.refuse(["write topic x of amq.topic"]);
    wire.publish_with("amq.topic", "a", &cc(&["d", "x", "e"]), b"m")
        .await;
    let text = "ACCESS_REFUSED - access to topic 'x' in exchange 'amq.topic' in vhost '/' refused for user 'ann'";
    assert_eq!(wire.refused().await, text);
    let wanted = ["write topic d of amq.topic", "write topic x of amq.topic"];
    assert_eq!(backend.asked(), wanted, "nothing after a refusal");
}

#[tokio::test]
async fn an_answer_is_forgotten_after_its_time() {
    let clock = VirtualClock::new();
    let backend = Backend::new();
    let builder = Broker::builder()
        .virtual_clock(clock.clone())
        .verdict_ttl(Duration::from_secs(10));
    let broker = backend.broker_with(builder).await;
    let mut wire = ann().open_channel(&broker).await;
    wire.declare("q").await;
    wire.publish("", "q", b"m").await;
    wire.quiet().await;
    backend.asked();
    pass(&broker, &clock, 9_999).await;
    wire.publish("", "q", b"m").await;
    wire.quiet().await;
    assert_eq!(backend.asked(), [""; 0]);
    pass(&broker, &clock, 1).await;
    // The route, too, was found with an answer that holds no more.
    wire.publish("", "q", b"m").await;
    wire.quiet().await;
    assert_eq!(backend.asked(), ["write exchange amq.default"]);
    backend.refuse(["write exchange amq.default"]);
    pass(&broker, &clock, 10_000).await;
    wire.publish("", "q", b"m").await;
    wire.refused().await;
}

#[tokio::test]
async fn without_a_time_answers_hold_for_what_has_asked() {
    let backend = Backend::new();
    backend.answer_late();
    let builder = Broker::builder().verdict_ttl(Duration::ZERO);
    let broker = backend.broker_with(builder).await;
    let mut wire = ann().open_channel(&broker).await;
    wire.declare("q").await;
    wire.bind("q", "amq.topic", "k").await;
    backend.asked();
    wire.bind("q", "amq.topic", "k").await;
    let wanted = [
        "write queue q",
        "read exchange amq.topic",
        "read topic k of amq.topic",
    ];
    assert_eq!(backend.asked(), wanted);
}

/// A client that always does something else, without ever waiting for an answer, makes the broker remember no more.
#[tokio::test]
async fn what_is_remembered_is_bounded() {
    let (backend, _broker, mut wire) = late().await;
    let publishes = |wire: &Wire| {
        (0..300).fold(Commands::default(), |commands, n| {
            commands.publish(wire, "amq.topic", &format!("k{n}"), b"m")
        })
    };
    let mut asked = Vec::new();
    for _ in 0..2 {
        wire.send_bytes(&publishes(&wire).0).await;
        wire.quiet().await;
        asked.push(backend.asked().len());
    }
    assert!(asked[0] >= 301, "the exchange, and each key: {asked:?}");
    assert_eq!(
        asked[1], 0,
        "routes are remembered as well, and 16,384 of them"
    );
    wire.publish_with(
        "amq.topic",
        "k0",
        &with_headers([("CC", Value::Array(vec!["k1".into()]))]),
        b"m",
    )
    .await;
    wire.quiet().await;
    // No route is remembered for further keys, and the answers that were given first have been forgotten.
    assert!(
        backend
            .asked()
            .contains(&"write topic k0 of amq.topic".to_owned())
    );
}

#[tokio::test]
async fn a_virtual_host_is_asked_about_when_it_is_opened() {
    let backend = Backend::new();
    backend.answer_late();
    let broker = backend.broker_with(Broker::builder().vhost("other")).await;
    backend.refuse(["vhost other from 127.0.0.1"]);
    let greeting = Greeting {
        vhost: "other",
        ..ann()
    };
    let text = "NOT_ALLOWED - access to vhost 'other' refused for user 'ann'";
    assert_eq!(not_opened(&broker, &greeting).await, (530, text.to_owned()));
    let greeting = Greeting {
        vhost: "nowhere",
        ..ann()
    };
    let text = "NOT_ALLOWED - vhost nowhere not found";
    assert_eq!(not_opened(&broker, &greeting).await, (530, text.to_owned()));
    assert_eq!(backend.asked(), ["vhost other from 127.0.0.1"]);
}

#[tokio::test]
async fn tags_of_an_identity_count() {
    let backend = Backend::new();
    backend.identities(|identity| match &**identity.username() {
        "ann" => identity.with_tags(vec![Tag::Impersonator]),
        _ => identity,
    });
    let broker = backend.broker().await;
    let as_bob = Properties {
        user_id: Some("bob".to_owned()),
        ..Properties::default()
    };
    let mut wire = ann().open_channel(&broker).await;
    wire.publish_with("amq.fanout", "", &as_bob, b"m").await;
    wire.quiet().await;
    let carl = greeting_of("carl");
    let mut wire = carl.open_channel(&broker).await;
    wire.publish_with("amq.fanout", "", &as_bob, b"m").await;
    let closed = wire.expect_channel_closed().await;
    let text =
        "PRECONDITION_FAILED - user_id property set to 'bob' but authenticated user was 'carl'";
    assert_eq!(closed.text, text);
}

#[tokio::test]
async fn accounts_are_not_asked_but_limits_of_theirs_hold() {
    let backend = Backend::new();
    let limited = User {
        limits: UserLimits {
            connections_max: Some(1),
            channels_max: Some(2),
        },
        ..User::new("ann")
    };
    let accounts = Accounts::default().with_user(limited, "/", Permissions::nothing());
    let builder = Broker::builder().accounts(accounts);
    let broker = backend.broker_with(builder).await;
    let mut wire = ann().open_channel(&broker).await;
    wire.declare("q").await;
    let text =
        "NOT_ALLOWED - connection refused for user 'ann': user connection limit (1) is reached";
    assert_eq!(not_opened(&broker, &ann()).await, (530, text.to_owned()));
    wire.open_channel(2).await;
    wire.channel = 3;
    wire.send(&channel::Open {}).await;
    let closed = wire.expect_connection_closed().await;
    assert_eq!(closed.code, 530);
    // Somebody without an account is nobody's business.
    let bob = greeting_of("bob");
    let mut wire = bob.open_channel(&broker).await;
    wire.declare("r").await;
}

/// What does not need a right does not wait, and what needs one that is known neither.
#[tokio::test]
async fn nothing_is_asked_for_what_takes_no_right() {
    let (backend, _broker, mut wire) = begin(Backend::new()).await;
    wire.declare("q").await;
    wire.declare_exchange("x", "direct").await;
    wire.publish("", "q", b"m").await;
    wire.quiet().await;
    backend.asked();
    backend.hold();
    wire.look("q").await;
    wire.send(&exchange::Declare {
        exchange: short("x"),
        passive: true,
        ..exchange::Declare::default()
    })
    .await;
    wire.expect("exchange.declare-ok").await;
    wire.publish("", "q", b"m").await;
    wire.call(&consume("amq.rabbitmq.reply-to"), "basic.consume-ok")
        .await;
    wire.call(&tx::Select {}, "tx.select-ok").await;
    assert_eq!(backend.asked(), [""; 0]);
    assert_eq!(wire.count("q").await, 2);
}

/// A transaction holds what was permitted when it was published.
#[tokio::test]
async fn transactions_ask_when_they_are_filled() {
    let (backend, _broker, mut wire) = late().await;
    wire.declare("q").await;
    wire.call(&tx::Select {}, "tx.select-ok").await;
    backend.asked();
    wire.publish("", "q", b"m").await;
    wire.call(&tx::Commit {}, "tx.commit-ok").await;
    assert_eq!(backend.asked(), ["write exchange amq.default"]);
    assert_eq!(wire.count("q").await, 1);
}

#[tokio::test]
async fn a_broker_without_such_identities_is_what_it_was() {
    let broker = start(Broker::builder()).await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    // Nobody is there to be shown a secret.
    wire.send_on(
        0,
        &connection::UpdateSecret {
            new_secret: b"new",
            reason: short("because"),
        },
    )
    .await;
    wire.expect_on(0, "connection.update-secret-ok").await;
    wire.quiet().await;
}
