//! Rights that somebody outside of the broker has to be asked for, in AMQP: when it is asked and how often, and that
//! waiting for it changes nothing but the time (behaviour reference, section 18.4).

mod support;

use leveret_amqp_codec::method::{basic, channel, confirm, connection, exchange, queue, tx};
use leveret_amqp_codec::{ChannelId, EncodeMethod, FrameKind, write_method};
use leveret_broker::{
    Accounts, Broker, Permissions, Properties, Publish, Tag, User, UserLimits, Value, VirtualClock,
};
use std::time::Duration;
use support::backend::{Backend, ann, greeting_of};
use support::{Confirmed, Greeting, Wire, break_off, pass, short, start, until, with_headers};

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

fn declare(name: &str) -> queue::Declare<'_> {
    queue::Declare {
        queue: short(name),
        ..queue::Declare::default()
    }
}

fn consume(queue: &str) -> basic::Consume<'_> {
    basic::Consume {
        queue: short(queue),
        no_ack: true,
        ..basic::Consume::default()
    }
}

/// A broker that has everything from the backend, and ann with channel 1 open.
async fn begin(backend: Backend) -> (Backend, Broker, Wire) {
    let broker = backend.broker().await;
    let wire = ann().open_channel(&broker).await;
    (backend, broker, wire)
}

/// The same, with a backend all of whose answers come late, and which has been asked nothing yet.
async fn late() -> (Backend, Broker, Wire) {
    let backend = Backend::new();
    backend.answer_late();
    let (backend, broker, wire) = begin(backend).await;
    backend.asked();
    (backend, broker, wire)
}

/// What connection.open is answered with.
async fn not_opened(broker: &Broker, greeting: &Greeting) -> (u16, String) {
    let mut wire = open(broker, greeting).await;
    let closed = wire.expect_connection_closed().await;
    (closed.code, closed.text)
}

/// Says connection.open, and hears nothing as yet.
async fn open(broker: &Broker, greeting: &Greeting) -> Wire {
    let mut wire = greeting.authenticate(broker).await;
    wire.expect_on(0, "connection.tune").await;
    greeting.tune(&mut wire).await;
    greeting.open(&mut wire).await;
    wire
}

/// What a channel is closed with.
async fn refused(wire: &mut Wire) -> String {
    let closed = wire.expect_channel_closed().await;
    assert_eq!(closed.code, 403);
    wire.open_channel(1).await;
    closed.text
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
    assert_eq!(refused(&mut wire).await, text);
    wire.expect_no_queue("secret").await;
    let mut commands = Commands::default().publish(&wire, "amq.fanout", "k", b"m");
    // What follows on the channel is thrown away with it.
    commands = commands.then(&declare("never"));
    wire.send_bytes(&commands.0).await;
    let text =
        "ACCESS_REFUSED - access to exchange 'amq.fanout' in vhost '/' refused for user 'ann'";
    assert_eq!(refused(&mut wire).await, text);
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
    assert_eq!(refused(&mut wire).await, text);
    let wanted = ["write topic d of amq.topic", "write topic x of amq.topic"];
    assert_eq!(backend.asked(), wanted, "nothing after a refusal");
}

#[tokio::test]
async fn deliveries_and_other_connections_go_on_while_one_waits() {
    let (backend, broker, mut wire) = begin(Backend::new()).await;
    let mut other = ann().open_channel(&broker).await;
    wire.declare("q").await;
    wire.call(&consume("q"), "basic.consume-ok").await;
    backend.hold();
    wire.send(&declare("r")).await;
    backend.until_asked().await;
    let client = broker.client().unwrap();
    for text in ["one", "two", "three"] {
        client
            .publish(Publish::to_queue("q", text.as_bytes()))
            .await
            .unwrap();
        assert_eq!(wire.delivery().await.text(), text);
    }
    other.quiet().await;
    assert_eq!(backend.waiting(), 1);
    backend.release(1);
    wire.expect("queue.declare-ok").await;
}

#[tokio::test]
async fn heartbeats_go_on_and_silence_is_not_held_against_a_client_that_waits() {
    let clock = VirtualClock::new();
    let backend = Backend::new();
    let builder = Broker::builder()
        .virtual_clock(clock.clone())
        .authorization_timeout(Duration::from_secs(3600));
    let broker = backend.broker_with(builder).await;
    let greeting = Greeting {
        heartbeat: 2,
        ..ann()
    };
    let mut wire = greeting.open_channel(&broker).await;
    backend.hold();
    wire.send(&declare("q")).await;
    backend.until_asked().await;
    for _ in 0..60 {
        pass(&broker, &clock, 1000).await;
        let (kind, ..) = wire.frame().await.expect("a heartbeat comes");
        assert_eq!(kind, FrameKind::Heartbeat);
    }
    backend.release(1);
    wire.expect("queue.declare-ok").await;
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
    refused(&mut wire).await;
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
async fn who_cannot_be_asked_has_refused_and_the_client_is_not_told_why() {
    let (backend, _broker, mut wire) = late().await;
    backend.fail_at(["configure queue q"]);
    wire.send(&declare("q")).await;
    let text = "ACCESS_REFUSED - access to queue 'q' in vhost '/' refused for user 'ann'";
    assert_eq!(refused(&mut wire).await, text);
}

#[tokio::test]
async fn no_answer_in_time_is_a_refusal() {
    let clock = VirtualClock::new();
    let backend = Backend::new();
    let builder = Broker::builder().virtual_clock(clock.clone());
    let broker = backend.broker_with(builder).await;
    let mut wire = ann().open_channel(&broker).await;
    backend.hold();
    wire.send(&declare("q")).await;
    backend.until_asked().await;
    pass(&broker, &clock, 14_999).await;
    assert_eq!(backend.waiting(), 1);
    pass(&broker, &clock, 1).await;
    let text = "ACCESS_REFUSED - access to queue 'q' in vhost '/' refused for user 'ann'";
    assert_eq!(refused(&mut wire).await, text);
    assert_eq!(backend.waiting(), 0);
    backend.release_all();
    wire.declare("q").await;
}

#[tokio::test]
async fn a_client_that_goes_away_is_asked_for_no_more() {
    let (backend, broker, mut wire) = begin(Backend::new()).await;
    wire.declare_queue(&queue::Declare {
        exclusive: true,
        ..declare("mine")
    })
    .await;
    backend.hold();
    let commands = Commands::default().publish(&wire, "", "mine", &[7; 300_000]);
    wire.send_bytes(&commands.0).await;
    backend.until_asked().await;
    break_off(&broker, wire).await;
    until("the end of the question", || backend.waiting() == 0).await;
    backend.release_all();
    let mut other = ann().open_channel(&broker).await;
    other.expect_no_queue("mine").await;
}

#[tokio::test]
async fn an_operator_can_close_a_connection_that_waits() {
    let (backend, broker, mut wire) = begin(Backend::new()).await;
    backend.hold();
    wire.send(&declare("q")).await;
    backend.until_asked().await;
    let connections = broker.connections().await;
    assert!(broker.close_connection(connections[0].id, "enough"));
    let closed = wire.expect_connection_closed().await;
    assert_eq!(closed.text, "CONNECTION_FORCED - enough");
    until("the end of the question", || backend.waiting() == 0).await;
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
async fn a_virtual_host_that_is_asked_about_for_too_long_is_not_opened() {
    let clock = VirtualClock::new();
    let backend = Backend::new();
    let builder = Broker::builder().virtual_clock(clock.clone());
    let broker = backend.broker_with(builder).await;
    backend.hold();
    let mut wire = open(&broker, &ann()).await;
    backend.until_asked().await;
    // The time for the handshake is shorter than that for an answer.
    pass(&broker, &clock, 10_000).await;
    wire.expect_end().await;
    until("the end of the question", || backend.waiting() == 0).await;
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
