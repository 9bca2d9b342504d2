//! Every operation of every protocol, with every combination of rights to the names that it is about.
//!
//! What each operation takes stands in one table, which is that of the behaviour reference (section 18.2); what STOMP's
//! destinations do is put together of it (section 20.3). Each trial has a connection of its own.
#![cfg(feature = "stomp")]

mod support;

use leveret_amqp_codec::method::{basic, exchange, queue};
use leveret_amqp_codec::{EncodeMethod, RawTable};
use leveret_broker::{
    AccountChange, Accounts, Broker, Client, ConsumeOptions, Error, ExchangeOptions, ExchangeType,
    Identity, Permissions, Publish, QueueOptions, Table, TopicPermissions, User, UserPermissions,
    UserTable, UserTopicPermissions,
};
use leveret_stomp_codec::Command;
use support::websocket::{TEXT, WebSocket};
use support::{Greeting, Stomp, Wire, short, start, table};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Right {
    Configure,
    Write,
    Read,
}
use Right::{Configure, Read, Write};

/// A right to a queue or exchange of this name; `TEMPORARY` stands for whatever the broker calls a queue.
type Grant = (Right, &'static str);

/// The queues of STOMP subscriptions to exchanges begin like this.
const TEMPORARY: &str = "stomp-subscription-";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    DeclareExchange,
    DeclareExchangeWithAlternate,
    DeclareExchangePassively,
    DeleteExchange,
    DeclareQueue,
    DeclareQueueWithDeadLetters,
    DeclareQueuePassively,
    DeleteQueue,
    BindQueue,
    UnbindQueue,
    BindExchange,
    UnbindExchange,
    PublishToExchange,
    PublishToDefault,
    PublishToTopic,
    Get,
    Consume,
    Purge,
    SendToQueue,
    SubscribeToQueue,
    SubscribeToTopic,
}
use Operation::*;

impl Operation {
    /// The table. In the order in which RabbitMQ looks, which tells what is missed first.
    fn needs(self) -> Vec<Grant> {
        match self {
            DeclareExchange | DeleteExchange => vec![(Configure, "x")],
            DeclareExchangeWithAlternate => vec![(Configure, "x"), (Read, "x"), (Write, "ae")],
            DeclareExchangePassively | DeclareQueuePassively => vec![],
            DeclareQueue | DeleteQueue => vec![(Configure, "q")],
            DeclareQueueWithDeadLetters => vec![(Configure, "q"), (Read, "q"), (Write, "dlx")],
            BindQueue | UnbindQueue => vec![(Write, "q"), (Read, "x")],
            BindExchange | UnbindExchange => vec![(Write, "y"), (Read, "x")],
            PublishToExchange => vec![(Write, "x")],
            PublishToDefault => vec![(Write, "amq.default")],
            PublishToTopic => vec![(Write, "amq.topic")],
            Get | Consume | Purge => vec![(Read, "q")],
            // STOMP declares the queue, then uses it.
            SendToQueue => [DeclareQueue.needs(), PublishToDefault.needs()].concat(),
            SubscribeToQueue => [DeclareQueue.needs(), Consume.needs()].concat(),
            // A queue is declared, consumed from, and bound.
            SubscribeToTopic => vec![
                (Configure, TEMPORARY),
                (Read, TEMPORARY),
                (Write, TEMPORARY),
                (Read, "amq.topic"),
            ],
        }
    }

    /// The names that it is about, and one that it is not.
    fn names(self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.needs().into_iter().map(|(_, name)| name).collect();
        names.sort_unstable();
        names.dedup();
        if names.len() < 2 {
            names.push("z");
        }
        names
    }

    /// What has to be missing beforehand, because it is to be made.
    fn makes(self) -> Option<&'static str> {
        match self {
            DeclareExchange | DeclareExchangeWithAlternate => Some("x"),
            DeclareQueue | DeclareQueueWithDeadLetters => Some("q"),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Amqp,
    Stomp,
    StompOverWebSocket,
    InProcess,
}

impl Protocol {
    fn operations(self) -> &'static [Operation] {
        match self {
            Self::Amqp => &[
                DeclareExchange,
                DeclareExchangeWithAlternate,
                DeclareExchangePassively,
                DeleteExchange,
                DeclareQueue,
                DeclareQueueWithDeadLetters,
                DeclareQueuePassively,
                DeleteQueue,
                BindQueue,
                UnbindQueue,
                BindExchange,
                UnbindExchange,
                PublishToExchange,
                PublishToDefault,
                PublishToTopic,
                Get,
                Consume,
                Purge,
            ],
            Self::InProcess => &[
                DeclareExchange,
                DeclareExchangeWithAlternate,
                DeleteExchange,
                DeclareQueue,
                DeclareQueueWithDeadLetters,
                DeleteQueue,
                BindQueue,
                UnbindQueue,
                BindExchange,
                UnbindExchange,
                PublishToExchange,
                PublishToDefault,
                PublishToTopic,
                Get,
                Consume,
                Purge,
            ],
            Self::Stomp | Self::StompOverWebSocket => &[
                PublishToExchange,
                PublishToDefault,
                PublishToTopic,
                Consume,
                SendToQueue,
                SubscribeToQueue,
                SubscribeToTopic,
            ],
        }
    }

    /// Tries an operation as ann; the text is that of the refusal.
    async fn attempt(self, broker: &Broker, operation: Operation) -> Result<(), String> {
        match self {
            Self::Amqp => over_amqp(broker, operation).await,
            Self::Stomp => {
                let frame = stomp_frame(operation);
                over_stomp(broker, &frame).await
            }
            Self::StompOverWebSocket => {
                let frame = stomp_frame(operation);
                over_websocket(broker, &frame).await
            }
            Self::InProcess => {
                let client = broker.client_for(&Identity::new("ann"), "/").unwrap();
                in_process(&client, operation)
                    .await
                    .map_err(|error| error.to_string())
            }
        }
    }
}

async fn broker() -> Broker {
    let users = UserTable::new().with_user("ann", "secret");
    let accounts = Accounts::default().with_user(User::new("ann"), "/", Permissions::nothing());
    start(Broker::builder().authenticator(users).accounts(accounts)).await
}

/// Exchanges `x`, `y`, `ae` and `dlx`, queue `q`, bindings between them; but for what is to be made.
async fn set_the_scene(client: &Client, makes: Option<&str>) {
    for name in ["x", "y", "ae", "dlx"] {
        client.delete_exchange(name).await.unwrap();
        if makes != Some(name) {
            let options = ExchangeOptions::default();
            let declared = client.declare_exchange(name, ExchangeType::Direct, options);
            declared.await.unwrap();
        }
    }
    client.delete_queue("q").await.unwrap();
    if makes == Some("q") {
        return;
    }
    // As STOMP declares it.
    let options = QueueOptions {
        durable: true,
        ..QueueOptions::default()
    };
    client.declare_queue("q", options).await.unwrap();
    if makes.is_none() {
        client.bind_queue("q", "x", "bound").await.unwrap();
        client.bind_exchange("y", "x", "bound").await.unwrap();
    }
}

fn permit(broker: &Broker, grants: &[Grant]) {
    let pattern = |right| {
        let names: Vec<String> = grants
            .iter()
            .filter(|(of, _)| *of == right)
            .map(|(_, name)| match *name {
                TEMPORARY => format!("^{TEMPORARY}"),
                name => format!("^{}$", name.replace('.', "\\.")),
            })
            .collect();
        names.join("|")
    };
    let [configure, write, read] = [Configure, Write, Read].map(pattern);
    let change = AccountChange::SetPermissions(UserPermissions {
        user: "ann".into(),
        vhost: "/".into(),
        permissions: Permissions::new(&configure, &write, &read).unwrap(),
    });
    broker.change_accounts(change).unwrap();
}

async fn check_all(protocol: Protocol) {
    let broker = broker().await;
    let operator = broker.client().unwrap();
    for &operation in protocol.operations() {
        let names = operation.names();
        let all: Vec<Grant> = names
            .iter()
            .flat_map(|name| [Configure, Write, Read].map(|right| (right, *name)))
            .collect();
        for chosen in 0..1_u32 << all.len() {
            let grants: Vec<Grant> = all
                .iter()
                .enumerate()
                .filter(|(at, _)| chosen & (1 << at) != 0)
                .map(|(_, grant)| *grant)
                .collect();
            set_the_scene(&operator, operation.makes()).await;
            permit(&broker, &grants);
            let missing = operation
                .needs()
                .into_iter()
                .find(|grant| !grants.contains(grant));
            let outcome = protocol.attempt(&broker, operation).await;
            let context = format!("{operation:?} over {protocol:?} with {grants:?}");
            match (missing, outcome) {
                (None, Ok(())) => {}
                (Some((_, name)), Err(text)) => {
                    // RabbitMQ 3 names the thing and not the right.
                    assert!(text.contains(&format!(" '{name}")), "{context}: {text}");
                    let refused = "in vhost '/' refused for user 'ann'";
                    assert!(text.contains(refused), "{context}: {text}");
                }
                (missing, outcome) => panic!("{context}: {outcome:?}, and {missing:?} is missing"),
            }
        }
    }
}

#[tokio::test]
async fn amqp() {
    check_all(Protocol::Amqp).await;
}

#[tokio::test]
async fn stomp() {
    check_all(Protocol::Stomp).await;
}

#[tokio::test]
async fn stomp_over_websocket() {
    check_all(Protocol::StompOverWebSocket).await;
}

#[tokio::test]
async fn in_process_for_a_user() {
    check_all(Protocol::InProcess).await;
}

// What each protocol does for an operation.

async fn connect(broker: &Broker) -> Wire {
    let greeting = Greeting {
        response: b"\0ann\0secret".to_vec(),
        ..Greeting::default()
    };
    greeting.open_channel(broker).await
}

async fn over_amqp(broker: &Broker, operation: Operation) -> Result<(), String> {
    let mut wire = connect(broker).await;
    let alternate = table([("alternate-exchange", "ae".into())]);
    let dead_letters = table([("x-dead-letter-exchange", "dlx".into())]);
    match operation {
        DeclareExchange => declare_exchange(&mut wire, &Table::default(), false).await,
        DeclareExchangeWithAlternate => declare_exchange(&mut wire, &alternate, false).await,
        DeclareExchangePassively => declare_exchange(&mut wire, &Table::default(), true).await,
        DeleteExchange => {
            wire.send(&exchange::Delete {
                exchange: short("x"),
                ..Default::default()
            })
            .await;
        }
        DeclareQueue => declare_queue(&mut wire, &Table::default(), false).await,
        DeclareQueueWithDeadLetters => declare_queue(&mut wire, &dead_letters, false).await,
        DeclareQueuePassively => declare_queue(&mut wire, &Table::default(), true).await,
        DeleteQueue => {
            wire.send(&queue::Delete {
                queue: short("q"),
                ..Default::default()
            })
            .await;
        }
        BindQueue => bind_queue(&mut wire, "x", "k").await,
        UnbindQueue => {
            wire.send(&queue::Unbind {
                queue: short("q"),
                exchange: short("x"),
                routing_key: short("bound"),
                ..Default::default()
            })
            .await;
        }
        BindExchange => {
            wire.send(&exchange::Bind {
                destination: short("y"),
                source: short("x"),
                routing_key: short("k"),
                ..Default::default()
            })
            .await;
        }
        UnbindExchange => {
            wire.send(&exchange::Unbind {
                destination: short("y"),
                source: short("x"),
                routing_key: short("bound"),
                ..Default::default()
            })
            .await;
        }
        PublishToExchange => wire.publish("x", "k", b"m").await,
        PublishToDefault => wire.publish("", "q", b"m").await,
        PublishToTopic => wire.publish("amq.topic", "k", b"m").await,
        Get => {
            wire.send(&basic::Get {
                queue: short("q"),
                ..Default::default()
            })
            .await;
        }
        Consume => {
            wire.send(&basic::Consume {
                queue: short("q"),
                ..Default::default()
            })
            .await;
        }
        Purge => {
            wire.send(&queue::Purge {
                queue: short("q"),
                ..Default::default()
            })
            .await;
        }
        SendToQueue | SubscribeToQueue | SubscribeToTopic => unreachable!("AMQP has no such thing"),
    }
    answer(&mut wire).await
}

/// Whether the channel is still there once all has been done.
async fn answer(wire: &mut Wire) -> Result<(), String> {
    wire.send(&basic::Qos::default()).await;
    loop {
        let heard = wire.hear().await.expect("an answer comes");
        match heard.method().name() {
            "basic.qos-ok" => return Ok(()),
            "channel.close" => {
                let closed = heard.into_closed();
                assert_eq!(closed.code, 403, "{}", closed.text);
                return Err(closed.text);
            }
            _ => {}
        }
    }
}

async fn declare_exchange(wire: &mut Wire, arguments: &Table, passive: bool) {
    let arguments = arguments.to_bytes();
    wire.send(&exchange::Declare {
        exchange: short("x"),
        kind: short("direct"),
        passive,
        arguments: RawTable::from_validated_bytes(&arguments),
        ..Default::default()
    })
    .await;
}

async fn declare_queue(wire: &mut Wire, arguments: &Table, passive: bool) {
    let arguments = arguments.to_bytes();
    send(
        wire,
        &queue::Declare {
            queue: short("q"),
            durable: true,
            passive,
            arguments: RawTable::from_validated_bytes(&arguments),
            ..Default::default()
        },
    )
    .await;
}

async fn bind_queue(wire: &mut Wire, source: &str, key: &str) {
    send(
        wire,
        &queue::Bind {
            queue: short("q"),
            exchange: short(source),
            routing_key: short(key),
            ..Default::default()
        },
    )
    .await;
}

async fn send(wire: &mut Wire, method: &impl EncodeMethod) {
    wire.send(method).await;
}

/// A frame with the receipt `done`.
fn stomp_frame(operation: Operation) -> String {
    let send = |destination: &str| format!("SEND\ndestination:{destination}\nreceipt:done\n\nm\0");
    let subscribe = |destination: &str| {
        format!("SUBSCRIBE\ndestination:{destination}\nid:1\nreceipt:done\n\n\0")
    };
    match operation {
        PublishToExchange => send("/exchange/x/k"),
        PublishToDefault => send("/amq/queue/q"),
        PublishToTopic => send("/topic/k"),
        SendToQueue => send("/queue/q"),
        Consume => subscribe("/amq/queue/q"),
        SubscribeToQueue => subscribe("/queue/q"),
        SubscribeToTopic => subscribe("/topic/k"),
        _ => unreachable!("STOMP has no {operation:?}"),
    }
}

const CONNECT: [(&str, &str); 3] = [
    ("accept-version", "1.2"),
    ("login", "ann"),
    ("passcode", "secret"),
];

async fn over_stomp(broker: &Broker, frame: &str) -> Result<(), String> {
    let mut stomp = Stomp::connect_with(broker, &CONNECT).await;
    stomp.send_raw(frame.as_bytes()).await;
    let answer = stomp.next().await.expect("an answer comes");
    match answer.command {
        Command::Receipt => Ok(()),
        Command::Error => {
            assert_eq!(answer.header("message"), Some("access_refused"));
            Err(String::from_utf8_lossy(&answer.body).into_owned())
        }
        other => panic!("{other:?} is no answer"),
    }
}

async fn over_websocket(broker: &Broker, frame: &str) -> Result<(), String> {
    let mut socket = WebSocket::open(broker, "v12.stomp").await;
    let headers: Vec<String> = CONNECT
        .iter()
        .map(|(name, value)| format!("{name}:{value}\n"))
        .collect();
    let connect = format!("CONNECT\n{}\n\0", headers.concat());
    socket.send(TEXT, connect).await;
    let connected = message(&mut socket).await;
    assert!(connected.starts_with("CONNECTED\n"), "{connected}");
    socket.send(TEXT, frame).await;
    let answer = message(&mut socket).await;
    if answer.starts_with("RECEIPT\n") {
        return Ok(());
    }
    assert!(answer.starts_with("ERROR\n"), "{answer}");
    assert!(answer.contains("message:access_refused\n"), "{answer}");
    Err(answer)
}

async fn message(socket: &mut WebSocket) -> String {
    let (_, payload) = socket.next().await.expect("an answer comes");
    String::from_utf8(payload).unwrap()
}

async fn in_process(client: &Client, operation: Operation) -> Result<(), Error> {
    let exchange = |alternate: Option<&str>| {
        let options = ExchangeOptions {
            alternate_exchange: alternate.map(str::to_owned),
            ..ExchangeOptions::default()
        };
        client.declare_exchange("x", ExchangeType::Direct, options)
    };
    let queue = |dead_letters: Option<&str>| {
        let options = QueueOptions {
            durable: true,
            dead_letter_exchange: dead_letters.map(str::to_owned),
            ..QueueOptions::default()
        };
        client.declare_queue("q", options)
    };
    match operation {
        DeclareExchange => exchange(None).await,
        DeclareExchangeWithAlternate => exchange(Some("ae")).await,
        DeleteExchange => client.delete_exchange("x").await,
        DeclareQueue => queue(None).await.map(drop),
        DeclareQueueWithDeadLetters => queue(Some("dlx")).await.map(drop),
        DeleteQueue => client.delete_queue("q").await.map(drop),
        BindQueue => client.bind_queue("q", "x", "k").await,
        UnbindQueue => client.unbind_queue("q", "x", "bound").await,
        BindExchange => client.bind_exchange("y", "x", "k").await,
        UnbindExchange => client.unbind_exchange("y", "x", "bound").await,
        PublishToExchange => client.publish(Publish::to_exchange("x", "k", b"m")).await,
        PublishToDefault => client.publish(Publish::to_queue("q", b"m")).await,
        PublishToTopic => {
            client
                .publish(Publish::to_exchange("amq.topic", "k", b"m"))
                .await
        }
        Get => client.get("q").await.map(drop),
        Consume => client
            .consume("q", ConsumeOptions::default())
            .await
            .map(drop),
        Purge => client.purge_queue("q").await.map(drop),
        DeclareExchangePassively
        | DeclareQueuePassively
        | SendToQueue
        | SubscribeToQueue
        | SubscribeToTopic => unreachable!("there is no {operation:?} in the process"),
    }
}

/// Which keys may be used with `amq.topic`: with every combination of rights, each protocol and a key of each kind.
#[tokio::test]
async fn topics() {
    let broker = broker().await;
    let operator = broker.client().unwrap();
    let everything = AccountChange::SetPermissions(UserPermissions {
        user: "ann".into(),
        vhost: "/".into(),
        permissions: Permissions::everything(),
    });
    broker.change_accounts(everything).unwrap();
    set_the_scene(&operator, None).await;
    for [may_write, may_read] in [[false, false], [false, true], [true, false], [true, true]] {
        let pattern = |may| if may { "^{username}\\." } else { "^nothing$" };
        let change = AccountChange::SetTopicPermissions(UserTopicPermissions {
            user: "ann".into(),
            vhost: "/".into(),
            exchange: "amq.topic".into(),
            permissions: TopicPermissions::new(pattern(may_write), pattern(may_read)).unwrap(),
        });
        broker.change_accounts(change).unwrap();
        for key in ["ann.a", "bob.a"] {
            let is_own = key.starts_with("ann.");
            for (what, outcome) in topic_attempts(&broker, key).await {
                let may = if what.contains("publish") {
                    may_write
                } else {
                    may_read
                };
                let context = format!("{what} with {key}, write {may_write}, read {may_read}");
                match outcome {
                    Ok(()) => assert!(may && is_own, "{context} was permitted"),
                    Err(text) => {
                        assert!(!(may && is_own), "{context}: {text}");
                        let want = format!(
                            "access to topic '{key}' in exchange 'amq.topic' in vhost '/' refused for user 'ann'"
                        );
                        assert!(text.contains(&want), "{context}: {text}");
                    }
                }
            }
        }
    }
}

async fn topic_attempts(broker: &Broker, key: &str) -> Vec<(&'static str, Result<(), String>)> {
    let mut attempts = Vec::new();
    let mut wire = connect(broker).await;
    wire.publish("amq.topic", key, b"m").await;
    attempts.push(("amqp: publish", answer(&mut wire).await));
    let mut wire = connect(broker).await;
    bind_queue(&mut wire, "amq.topic", key).await;
    attempts.push(("amqp: bind", answer(&mut wire).await));
    let frames = [
        format!("SEND\ndestination:/topic/{key}\nreceipt:done\n\nm\0"),
        format!("SUBSCRIBE\ndestination:/topic/{key}\nid:1\nreceipt:done\n\n\0"),
    ];
    let names = [
        ["stomp: publish", "stomp: subscribe"],
        ["websocket: publish", "websocket: subscribe"],
    ];
    for (at, frame) in frames.iter().enumerate() {
        attempts.push((names[0][at], over_stomp(broker, frame).await));
        attempts.push((names[1][at], over_websocket(broker, frame).await));
    }
    let client = broker.client_for(&Identity::new("ann"), "/").unwrap();
    let published = client.publish(Publish::to_exchange("amq.topic", key, b"m"));
    let published = published.await.map_err(|error| error.to_string());
    attempts.push(("in process: publish", published));
    let bound = client.bind_queue("q", "amq.topic", key).await;
    attempts.push(("in process: bind", bound.map_err(|error| error.to_string())));
    attempts
}
