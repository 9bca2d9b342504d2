//! What moves between durable queues while the disk is full is in one of them after a crash.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use leveret_amqp_codec::method::{basic, tx};
use leveret_amqp_codec::{
    ChannelId, EncodeMethod, RawProperties, ShortStr, Value, write_body, write_content_header,
    write_method,
};
use leveret_queue_store::FaultyStorage;

use super::world::{World, once, poll};
use crate::clock::VirtualClock;
use crate::error::Error;
use crate::sans_io::handshake;
use crate::{
    Client, Delivery, ExchangeOptions, ExchangeType, Properties, Publish, QueueOptions, Table,
};

/// Messages stay in memory.
const MEMORY: usize = 1 << 20;

/// More than a file of the log takes, and more than was made ready for what comes next.
const LARGE: usize = 9_000;

/// Two durable queues on a disk; what dies in `from` goes to `to`, and so does what was in the delayed exchange `later`.
struct Moves {
    disk: FaultyStorage,
    clock: VirtualClock,
    world: World,
}

impl Moves {
    fn new() -> Self {
        let (disk, clock) = (FaultyStorage::new(1), VirtualClock::new());
        let world = World::start(&disk, &clock, MEMORY).unwrap();
        let mut moves = Self { disk, clock, world };
        let durable = QueueOptions {
            durable: true,
            ..QueueOptions::default()
        };
        let dying = QueueOptions {
            dead_letter_exchange: Some(String::new()),
            dead_letter_routing_key: Some("to".to_owned()),
            ..durable
        };
        let delayed = ExchangeOptions {
            durable: true,
            delayed_type: Some(ExchangeType::Fanout),
            ..ExchangeOptions::default()
        };
        moves.finish(|client| async move {
            client.declare_queue("from", dying).await?;
            client.declare_queue("to", durable).await?;
            client
                .declare_exchange("later", ExchangeType::Delayed, delayed)
                .await?;
            client.bind_queue("to", "later", "").await
        });
        moves
    }

    /// Gives the broker its turns until this is done.
    fn finish<T, F>(&mut self, make: impl FnOnce(Client) -> F) -> T
    where
        F: Future<Output = Result<T, Error>> + 'static,
    {
        let mut future: Pin<Box<dyn Future<Output = _>>> =
            Box::pin(make(self.world.client.clone()));
        for _ in 0..20 {
            if let Poll::Ready(done) = poll(&mut future) {
                return done.unwrap();
            }
            self.world.write_definitions();
            self.world.write_messages();
        }
        panic!("it is not done");
    }

    /// Publishes what will move, and is alone in its file of the log. From then on the disk is full.
    fn publish(&mut self, exchange: &'static str, key: &'static str, body_len: usize) {
        let mut headers = Table::default();
        headers.insert("x-delay", Value::I32(1_000));
        let properties = Properties {
            delivery_mode: Some(2),
            headers: Some(headers),
            ..Properties::default()
        };
        self.finish(|client| async move {
            client
                .publish(Publish {
                    exchange,
                    routing_key: key,
                    properties: Some(properties),
                    ..Publish::to_queue("", &vec![0; body_len])
                })
                .await
        });
        for _ in 0..3 {
            self.world.write_messages();
        }
        self.disk.leave_room(Some(0));
    }

    fn get(&self) -> Delivery {
        let Poll::Ready(Ok(Some(delivery))) = once(self.world.client.get("from")) else {
            panic!("it was published");
        };
        delivery
    }

    /// The process ends while the disk has no room for the last that happened. What a new one finds, by queue.
    fn found_after_crash(mut self) -> [u64; 2] {
        for _ in 0..3 {
            self.world.write_messages();
        }
        self.disk.kill();
        drop(self.world);
        let world = World::start(&self.disk, &self.clock, MEMORY).unwrap();
        self.clock.advance(Duration::from_secs(2));
        world.run_timers();
        ["from", "to"].map(|queue| world.ready(queue))
    }
}

#[test]
fn a_dead_letter_is_where_it_died_or_where_it_went() {
    let mut moves = Moves::new();
    moves.publish("", "from", LARGE);
    moves.get().nack(false);
    assert_eq!(moves.world.ready("to"), 1);
    assert_eq!(moves.found_after_crash(), [1, 0]);
}

#[test]
fn a_delayed_message_is_in_its_exchange_or_where_it_went() {
    let mut moves = Moves::new();
    moves.publish("later", "", LARGE);
    moves.clock.advance(Duration::from_secs(2));
    moves.world.run_timers();
    assert_eq!(moves.world.ready("to"), 1);
    assert_eq!(moves.found_after_crash(), [0, 1]);
}

#[test]
fn what_a_transaction_acknowledges_is_there_as_long_as_what_it_publishes_is_not() {
    let mut moves = Moves::new();
    moves.publish("", "from", LARGE);
    let mut bytes = handshake(false).to_vec();
    say(&mut bytes, &tx::Select {});
    say(
        &mut bytes,
        &basic::Get {
            queue: ShortStr::from_static("from"),
            no_ack: false,
        },
    );
    let publish = basic::Publish {
        routing_key: ShortStr::from_static("to"),
        ..basic::Publish::default()
    };
    say(&mut bytes, &publish);
    let properties = Properties {
        delivery_mode: Some(2),
        ..Properties::default()
    };
    let properties = properties.to_bytes();
    let properties = RawProperties::from_validated_bytes(&properties);
    write_content_header(&mut bytes, CHANNEL, 60, LARGE as u64, properties);
    write_body(&mut bytes, CHANNEL, &[0; LARGE], 131_072);
    let ack = basic::Ack {
        delivery_tag: 1,
        multiple: false,
    };
    say(&mut bytes, &ack);
    say(&mut bytes, &tx::Commit {});
    let mut wire = moves.world.connect().unwrap();
    let mut unsent = BytesMut::from(&bytes[..]);
    while !unsent.is_empty() {
        wire.send(&mut unsent);
        wire.turn();
    }
    assert_eq!(moves.world.ready("to"), 1, "it is committed");
    assert_eq!(moves.found_after_crash(), [1, 0]);
    drop(wire);
}

const CHANNEL: ChannelId = ChannelId(1);

fn say(bytes: &mut Vec<u8>, method: &impl EncodeMethod) {
    write_method(bytes, CHANNEL, method);
}
