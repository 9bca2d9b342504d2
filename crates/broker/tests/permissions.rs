//! Which rights each operation needs, tried with every combination of rights (behaviour reference, section 18.2).
//!
//! The rights of a connection are changed while it is open, between one operation and the next: so every row also shows
//! that a change holds at once.

mod support;

use leveret_amqp_codec::method::{basic, exchange, queue};
use leveret_amqp_codec::{EncodeMethod, RawTable};
use leveret_broker::{
    AccountChange, Accounts, Broker, Client, ExchangeOptions, ExchangeType, Permissions,
    QueueOptions, Table, User, UserPermissions, UserTable,
};
use support::{Closed, Greeting, Wire, short, start, table};

/// What can be permitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Right {
    Configure,
    Write,
    Read,
}
use Right::{Configure, Read, Write};

const RIGHTS: [Right; 3] = [Configure, Write, Read];

/// A right to one name.
type Grant = (Right, &'static str);

/// What a client asks for, with what it takes.
struct Operation {
    what: &'static str,
    frames: Vec<u8>,
    /// None when nothing comes if it is permitted.
    answer: Option<&'static str>,
    /// In the order in which they are missed, which RabbitMQ's is.
    needs: &'static [Grant],
    /// Names that play a part, but to which no right is needed.
    bystanders: &'static [&'static str],
    /// What there is before.
    scene: Scene,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scene {
    /// Exchanges `x` and `y`, queue `q`.
    Plain,
    /// The same, but `x` has the alternate exchange `ae`, and `q` the dead letter exchange `dlx`.
    Linked,
    /// Nothing.
    Empty,
}

fn methods(method: &impl EncodeMethod) -> Vec<u8> {
    let mut bytes = Vec::new();
    leveret_amqp_codec::write_method(&mut bytes, leveret_amqp_codec::ChannelId(1), method);
    bytes
}

fn publish(exchange: &'static str) -> Vec<u8> {
    let mut bytes = methods(&basic::Publish {
        exchange: short(exchange),
        routing_key: short("q"),
        ..Default::default()
    });
    let (channel, properties) = (
        leveret_amqp_codec::ChannelId(1),
        leveret_amqp_codec::RawProperties::from_validated_bytes(&[0, 0]),
    );
    leveret_amqp_codec::write_content_header(&mut bytes, channel, 60, 0, properties);
    bytes
}

fn declare_exchange(arguments: &Table, passive: bool) -> Vec<u8> {
    let arguments = arguments.to_bytes();
    methods(&exchange::Declare {
        exchange: short("x"),
        kind: short("direct"),
        passive,
        arguments: RawTable::from_validated_bytes(&arguments),
        ..Default::default()
    })
}

fn declare_queue(arguments: &Table, passive: bool) -> Vec<u8> {
    let arguments = arguments.to_bytes();
    methods(&queue::Declare {
        queue: short("q"),
        passive,
        arguments: RawTable::from_validated_bytes(&arguments),
        ..Default::default()
    })
}

/// Everything that can be asked of exchanges and queues.
fn operations() -> Vec<Operation> {
    let none = Table::default();
    let alternate = table([("alternate-exchange", "ae".into())]);
    let dead_letter = table([("x-dead-letter-exchange", "dlx".into())]);
    let dead_letter_default = table([("x-dead-letter-exchange", "".into())]);
    let operation = |what, scene, frames, answer, needs, bystanders| Operation {
        what,
        frames,
        answer,
        needs,
        bystanders,
        scene,
    };
    use Scene::{Empty, Linked, Plain};
    vec![
        operation(
            "declare a new exchange",
            Empty,
            declare_exchange(&none, false),
            Some("exchange.declare-ok"),
            &[(Configure, "x")],
            &["y"],
        ),
        operation(
            "declare an exchange that is there",
            Plain,
            declare_exchange(&none, false),
            Some("exchange.declare-ok"),
            &[(Configure, "x")],
            &["y"],
        ),
        operation(
            "declare a new exchange with an alternate",
            Empty,
            declare_exchange(&alternate, false),
            Some("exchange.declare-ok"),
            &[(Configure, "x"), (Read, "x"), (Write, "ae")],
            &[],
        ),
        operation(
            "declare an exchange with an alternate that is there",
            Linked,
            declare_exchange(&alternate, false),
            Some("exchange.declare-ok"),
            &[(Configure, "x")],
            &["ae"],
        ),
        operation(
            "declare an exchange passively",
            Plain,
            declare_exchange(&none, true),
            Some("exchange.declare-ok"),
            &[],
            &["x"],
        ),
        operation(
            "delete an exchange",
            Plain,
            methods(&exchange::Delete {
                exchange: short("x"),
                ..Default::default()
            }),
            Some("exchange.delete-ok"),
            &[(Configure, "x")],
            &["q"],
        ),
        operation(
            "declare a new queue",
            Empty,
            declare_queue(&none, false),
            Some("queue.declare-ok"),
            &[(Configure, "q")],
            &["x"],
        ),
        operation(
            "declare a queue that is there",
            Plain,
            declare_queue(&none, false),
            Some("queue.declare-ok"),
            &[(Configure, "q")],
            &["x"],
        ),
        operation(
            "declare a new queue with a dead letter exchange",
            Empty,
            declare_queue(&dead_letter, false),
            Some("queue.declare-ok"),
            &[(Configure, "q"), (Read, "q"), (Write, "dlx")],
            &[],
        ),
        operation(
            "declare a new queue with the default exchange for dead letters",
            Empty,
            declare_queue(&dead_letter_default, false),
            Some("queue.declare-ok"),
            &[(Configure, "q"), (Read, "q"), (Write, "amq.default")],
            &[],
        ),
        operation(
            "declare a queue with a dead letter exchange that is there",
            Linked,
            declare_queue(&dead_letter, false),
            Some("queue.declare-ok"),
            &[(Configure, "q")],
            &["dlx"],
        ),
        operation(
            "declare a queue passively",
            Plain,
            declare_queue(&none, true),
            Some("queue.declare-ok"),
            &[],
            &["q"],
        ),
        operation(
            "delete a queue",
            Plain,
            methods(&queue::Delete {
                queue: short("q"),
                ..Default::default()
            }),
            Some("queue.delete-ok"),
            &[(Configure, "q")],
            &["x"],
        ),
        operation(
            "delete a queue that is not there",
            Empty,
            methods(&queue::Delete {
                queue: short("q"),
                ..Default::default()
            }),
            Some("queue.delete-ok"),
            &[(Configure, "q")],
            &[],
        ),
        operation(
            "purge",
            Plain,
            methods(&queue::Purge {
                queue: short("q"),
                ..Default::default()
            }),
            Some("queue.purge-ok"),
            &[(Read, "q")],
            &["x"],
        ),
        operation(
            "bind a queue",
            Plain,
            methods(&queue::Bind {
                queue: short("q"),
                exchange: short("x"),
                routing_key: short("k"),
                ..Default::default()
            }),
            Some("queue.bind-ok"),
            &[(Write, "q"), (Read, "x")],
            &["y"],
        ),
        operation(
            "unbind a queue",
            Plain,
            methods(&queue::Unbind {
                queue: short("q"),
                exchange: short("x"),
                routing_key: short("k"),
                ..Default::default()
            }),
            Some("queue.unbind-ok"),
            &[(Write, "q"), (Read, "x")],
            &[],
        ),
        operation(
            "bind an exchange",
            Plain,
            methods(&exchange::Bind {
                destination: short("y"),
                source: short("x"),
                routing_key: short("k"),
                ..Default::default()
            }),
            Some("exchange.bind-ok"),
            &[(Write, "y"), (Read, "x")],
            &["q"],
        ),
        operation(
            "unbind an exchange",
            Plain,
            methods(&exchange::Unbind {
                destination: short("y"),
                source: short("x"),
                routing_key: short("k"),
                ..Default::default()
            }),
            Some("exchange.unbind-ok"),
            &[(Write, "y"), (Read, "x")],
            &[],
        ),
        operation(
            "publish",
            Plain,
            publish("x"),
            None,
            &[(Write, "x")],
            &["q"],
        ),
        operation(
            "publish to the default exchange",
            Plain,
            publish(""),
            None,
            &[(Write, "amq.default")],
            &["q"],
        ),
        operation(
            "get",
            Plain,
            methods(&basic::Get {
                queue: short("q"),
                no_ack: true,
            }),
            Some("basic.get-empty"),
            &[(Read, "q")],
            &["x"],
        ),
        operation(
            "consume",
            Plain,
            methods(&basic::Consume {
                queue: short("q"),
                ..Default::default()
            }),
            Some("basic.consume-ok"),
            &[(Read, "q")],
            &["x"],
        ),
    ]
}

impl Operation {
    /// Every right to every name that plays a part.
    fn grants(&self) -> Vec<Grant> {
        let mut names: Vec<_> = self.needs.iter().map(|(_, name)| *name).collect();
        names.extend(self.bystanders);
        names.sort_unstable();
        names.dedup();
        let of_name = |name| RIGHTS.map(|right| (right, name));
        names.into_iter().flat_map(of_name).collect()
    }

    /// What a user without one right is told.
    fn refusal(&self, (_, name): Grant) -> String {
        let kind = match name {
            "q" => "queue",
            _ => "exchange",
        };
        format!("ACCESS_REFUSED - access to {kind} '{name}' in vhost '/' refused for user 'ann'")
    }
}

/// Exactly these rights, as patterns.
fn permissions(grants: &[Grant]) -> Permissions {
    let pattern = |right| {
        let of_right = grants.iter().filter(|(of, _)| *of == right);
        let names: Vec<_> = of_right
            .map(|(_, name)| format!("^{}$", name.replace('.', "\\.")))
            .collect();
        names.join("|")
    };
    Permissions::new(&pattern(Configure), &pattern(Write), &pattern(Read))
        .expect("these are patterns")
}

/// A broker with the user ann, who may do nothing yet, and a channel of hers.
async fn broker_and_channel() -> (Broker, Wire) {
    let accounts = Accounts::default().with_user(User::new("ann"), "/", Permissions::nothing());
    let users = UserTable::new().with_user("ann", "secret");
    let broker = start(Broker::builder().authenticator(users).accounts(accounts)).await;
    let greeting = Greeting {
        response: b"\0ann\0secret".to_vec(),
        // Without consumer_cancel_notify: queues go while they are consumed from.
        capabilities: Vec::new(),
        ..Greeting::default()
    };
    let wire = greeting.open_channel(&broker).await;
    (broker, wire)
}

fn permit(broker: &Broker, permissions: Permissions) {
    let change = AccountChange::SetPermissions(UserPermissions {
        user: "ann".into(),
        vhost: "/".into(),
        permissions,
    });
    broker.change_accounts(change).expect("ann is there");
}

async fn set_scene(client: &Client, scene: Scene) {
    let gone = "what is not there can be deleted";
    client.delete_queue("q").await.expect(gone);
    for exchange in ["x", "y"] {
        client.delete_exchange(exchange).await.expect(gone);
    }
    if scene == Scene::Empty {
        return;
    }
    let linked = |to: &str| (scene == Scene::Linked).then(|| to.to_owned());
    let options = ExchangeOptions {
        durable: false,
        alternate_exchange: linked("ae"),
        ..ExchangeOptions::default()
    };
    let made = "names are free";
    for (name, options) in [("x", options), ("y", ExchangeOptions::default())] {
        client
            .declare_exchange(name, ExchangeType::Direct, options)
            .await
            .expect(made);
    }
    let options = QueueOptions {
        dead_letter_exchange: linked("dlx"),
        durable: false,
        ..QueueOptions::default()
    };
    client.declare_queue("q", options).await.expect(made);
}

/// Carries an operation out on a channel that is open, and leaves it open. The refusal, if it is refused.
async fn try_out(wire: &mut Wire, operation: &Operation) -> Option<Closed> {
    wire.send_bytes(&operation.frames).await;
    // Answered only if nothing was refused, and then after whatever the operation was answered with.
    wire.send(&basic::Qos::default()).await;
    let heard = wire.hear().await.expect("an answer comes");
    let name = heard.method().name();
    match operation.answer {
        _ if name == "channel.close" => {
            wire.send(&leveret_amqp_codec::method::channel::CloseOk {})
                .await;
            wire.open_channel(1).await;
            return Some(heard.into_closed());
        }
        Some(answer) => {
            assert_eq!(name, answer, "after {}", operation.what);
            wire.expect("basic.qos-ok").await;
        }
        None => assert_eq!(name, "basic.qos-ok", "after {}", operation.what),
    }
    None
}

#[tokio::test]
async fn every_operation_takes_its_rights_and_no_others() {
    let (broker, mut wire) = broker_and_channel().await;
    let admin = broker.client().expect("the broker runs");
    for operation in operations() {
        let grants = operation.grants();
        for chosen in 0..1_u32 << grants.len() {
            let held: Vec<Grant> = grants
                .iter()
                .enumerate()
                .filter(|(n, _)| chosen >> n & 1 == 1)
                .map(|(_, grant)| *grant)
                .collect();
            set_scene(&admin, operation.scene).await;
            permit(&broker, permissions(&held));
            let refused = try_out(&mut wire, &operation).await;
            let missing = operation.needs.iter().find(|need| !held.contains(need));
            let want = missing.map(|need| operation.refusal(*need));
            let got = refused.as_ref().map(|closed| closed.text.clone());
            assert_eq!(got, want, "{} with {held:?}", operation.what);
            assert!(refused.is_none_or(|closed| closed.code == 403));
        }
    }
}

#[tokio::test]
async fn a_queue_that_the_broker_names_takes_rights_to_the_name_it_gets() {
    let (broker, mut wire) = broker_and_channel().await;
    permit(&broker, Permissions::new("^q", "", "").unwrap());
    wire.send(&queue::Declare::default()).await;
    let closed = wire.expect_channel_closed().await;
    assert!(
        closed
            .text
            .starts_with("ACCESS_REFUSED - access to queue 'amq.gen-"),
        "{}",
        closed.text
    );
    permit(
        &broker,
        Permissions::new("^amq\\.gen-.{22}$", "", "").unwrap(),
    );
    wire.open_channel(1).await;
    wire.declare("").await;
}

#[tokio::test]
async fn rights_come_before_the_question_what_exists() {
    let (broker, mut wire) = broker_and_channel().await;
    for (what, frames) in [
        (
            "consume",
            methods(&basic::Consume {
                queue: short("missing"),
                ..Default::default()
            }),
        ),
        ("publish", publish("missing")),
        (
            "bind",
            methods(&queue::Bind {
                queue: short("missing"),
                exchange: short("missing"),
                ..Default::default()
            }),
        ),
        (
            "delete",
            methods(&exchange::Delete {
                exchange: short("missing"),
                ..Default::default()
            }),
        ),
    ] {
        wire.send_bytes(&frames).await;
        let closed = wire.expect_channel_closed().await;
        assert_eq!(closed.code, 403, "{what}: {}", closed.text);
        wire.open_channel(1).await;
    }
    permit(&broker, Permissions::everything());
    wire.send_bytes(&publish("missing")).await;
    assert_eq!(wire.expect_channel_closed().await.code, 404);
}

#[tokio::test]
async fn names_that_cannot_be_come_before_rights() {
    let (_broker, mut wire) = broker_and_channel().await;
    let quorum = table([("x-queue-type", "quorum".into())]).to_bytes();
    for (frames, text) in [
        (
            methods(&queue::Declare {
                durable: true,
                arguments: RawTable::from_validated_bytes(&quorum),
                ..Default::default()
            }),
            "PRECONDITION_FAILED - Cannot declare a server-named queue for type rabbit_quorum_queue",
        ),
        (
            methods(&queue::Declare {
                queue: short("amq.q"),
                ..Default::default()
            }),
            "ACCESS_REFUSED - queue name 'amq.q' contains reserved prefix 'amq.*'",
        ),
        (
            methods(&exchange::Delete {
                exchange: short("amq.topic"),
                ..Default::default()
            }),
            "ACCESS_REFUSED - deletion of system exchange 'amq.topic' in vhost '/' not allowed",
        ),
        (
            methods(&exchange::Delete::default()),
            "ACCESS_REFUSED - operation not permitted on the default exchange",
        ),
    ] {
        wire.send_bytes(&frames).await;
        assert_eq!(wire.expect_channel_closed().await.text, text);
        wire.open_channel(1).await;
    }
}

#[tokio::test]
async fn a_direct_reply_needs_no_right_to_be_waited_for() {
    let (_broker, mut wire) = broker_and_channel().await;
    wire.consume_no_ack("amq.rabbitmq.reply-to").await;
}
