//! Clients that have stopped reading, and whose sockets are full: they are found, and let go, as others are.

mod support;

use leveret_amqp_codec::method::{basic, queue};
use leveret_amqp_codec::write_heartbeat;
use leveret_broker::{
    AccountChange, Accounts, Broker, ConnectionOverview, Identity, Permissions, Publish,
    QueueOptions, User, VirtualClock,
};
use support::backend::{Backend, ann};
use support::{Greeting, Wire, short, soon, timed_broker, until};

const SECOND: u64 = 1000;

/// How long a peer has to take what is left for it, if it takes nothing.
const LAST_WORDS_MS: u64 = SECOND;

const MIB: usize = 1024 * 1024;

/// Lets time go by and everything happen that becomes due.
async fn pass(broker: &Broker, clock: &VirtualClock, ms: u64) {
    soon("rest", support::pass(broker, clock, ms)).await;
}

/// What can be seen of the one connection.
async fn look(broker: &Broker) -> ConnectionOverview {
    let mut connections = broker.connections().await;
    assert_eq!(connections.len(), 1, "{connections:?}");
    connections.remove(0)
}

/// Whether nothing is written to the one connection though something waits.
async fn is_stuck(broker: &Broker) -> bool {
    let mut before = look(broker).await;
    for _ in 0..50 {
        let after = look(broker).await;
        if !after.is_unread || after.sent_bytes != before.sent_bytes {
            return false;
        }
        before = after;
    }
    true
}

/// Publishes until the one connection, which consumes from its own queue, is given no more.
async fn fill(broker: &Broker, body_size: usize) {
    let client = broker.client().unwrap();
    let body = vec![0; body_size];
    soon("a connection that is stuck", async {
        while !is_stuck(broker).await {
            client
                .publish(Publish::to_queue("own", &body))
                .await
                .unwrap();
        }
    })
    .await;
}

/// What a connection holds: a delivery of the queue `held`, and the queue `own`.
async fn hold(broker: &Broker, wire: &mut Wire) {
    let client = broker.client().unwrap();
    client
        .declare_queue("held", QueueOptions::default())
        .await
        .unwrap();
    client
        .publish(Publish::to_queue("held", b"back"))
        .await
        .unwrap();
    wire.consume("held").await;
    assert_eq!(wire.deliveries(1).await, ["back"]);
    wire.send(&queue::Declare {
        queue: short("own"),
        exclusive: true,
        ..Default::default()
    })
    .await;
    wire.expect("queue.declare-ok").await;
    wire.send(&basic::Consume {
        queue: short("own"),
        no_ack: true,
        ..Default::default()
    })
    .await;
    wire.expect("basic.consume-ok").await;
}

#[track_caller]
fn check_given_back(broker: &Broker) {
    let queues = broker.queues("/").unwrap();
    let [held] = &queues[..] else {
        panic!("the queue of its own is still there");
    };
    assert_eq!((&*held.name, held.ready, held.unacked), ("held", 1, 0));
}

/// The peer has had its time to take what is left.
async fn check_ended(broker: &Broker, clock: &VirtualClock) {
    pass(broker, clock, LAST_WORDS_MS).await;
    assert_eq!(broker.connection_count(), 0);
}

/// A broker with a backend whose logins end in a minute.
async fn expiring() -> (Broker, VirtualClock) {
    let backend = Backend::new();
    let clock = VirtualClock::new();
    let end = std::time::SystemTime::UNIX_EPOCH
        + std::time::Duration::from_millis(clock.now().as_millis() + 60 * SECOND);
    backend.identities(move |identity: Identity| identity.valid_until(end));
    let builder = Broker::builder().virtual_clock(clock.clone());
    (backend.broker_with(builder).await, clock)
}

/// A broker with the user guest, who can be deleted.
async fn broker_of_guest() -> (Broker, VirtualClock) {
    let clock = VirtualClock::new();
    let accounts =
        Accounts::default().with_user(User::new("guest"), "/", Permissions::everything());
    let builder = Broker::builder().virtual_clock(clock.clone());
    (support::start(builder.accounts(accounts)).await, clock)
}

fn delete_user(broker: &Broker) {
    let name = "guest".into();
    let change = AccountChange::DeleteUser { name };
    broker.change_accounts(change).unwrap();
}

async fn beating(heartbeat: u16) -> (Broker, VirtualClock, Wire) {
    let (broker, clock) = timed_broker().await;
    let mut wire = Wire::dial_narrow(&broker).await;
    let greeting = Greeting {
        heartbeat,
        ..Greeting::default()
    };
    greeting.shake_hands(&mut wire).await;
    (broker, clock, wire)
}

#[tokio::test]
async fn what_a_silent_peer_held_goes_back_at_once() {
    let (broker, clock, mut wire) = beating(10).await;
    hold(&broker, &mut wire).await;
    fill(&broker, MIB).await;
    pass(&broker, &clock, 20 * SECOND).await;
    check_given_back(&broker);
    check_ended(&broker, &clock).await;
}

#[tokio::test]
async fn a_peer_that_reads_on_is_told_what_was_left() {
    let (broker, clock, mut wire) = beating(10).await;
    hold(&broker, &mut wire).await;
    fill(&broker, MIB).await;
    pass(&broker, &clock, 20 * SECOND).await;
    check_given_back(&broker);
    let left = wire.rest().await;
    assert!(left.len() > MIB, "{} bytes", left.len());
    assert_eq!(left.last(), Some(&0xCE), "whole frames");
    until("its end", || broker.connection_count() == 0).await;
}

#[tokio::test]
async fn an_expired_login_ends_a_connection_that_does_not_read() {
    let (broker, clock) = expiring().await;
    let mut wire = ann().open_channel(&broker).await;
    hold(&broker, &mut wire).await;
    fill(&broker, MIB).await;
    pass(&broker, &clock, 60 * SECOND).await;
    check_given_back(&broker);
    // For so long it might answer that it has heard of it.
    pass(&broker, &clock, 30 * SECOND).await;
    check_ended(&broker, &clock).await;
}

#[tokio::test]
async fn the_end_of_its_user_ends_a_connection_that_does_not_read() {
    let (broker, clock) = broker_of_guest().await;
    let mut wire = Wire::open(&broker).await;
    hold(&broker, &mut wire).await;
    fill(&broker, MIB).await;
    delete_user(&broker);
    look(&broker).await;
    pass(&broker, &clock, LAST_WORDS_MS).await;
    check_given_back(&broker);
    assert_eq!(broker.connection_count(), 0);
}

#[tokio::test]
async fn the_end_of_its_virtual_host_ends_a_connection_that_does_not_read() {
    let (broker, clock, mut wire) = beating(0).await;
    hold(&broker, &mut wire).await;
    fill(&broker, MIB).await;
    assert!(broker.delete_vhost("/"));
    look(&broker).await;
    check_ended(&broker, &clock).await;
}

/// Whoever reads a little late is told why its connection ends.
#[tokio::test]
async fn a_connection_that_reads_in_time_hears_why_it_is_closed() {
    let (broker, _clock, mut wire) = beating(0).await;
    hold(&broker, &mut wire).await;
    fill(&broker, MIB).await;
    let id = look(&broker).await.id;
    assert!(broker.close_connection(id, "enough"));
    look(&broker).await;
    while wire.channel == 1 {
        let heard = wire.hear().await.expect("a reason comes");
        if heard.channel == 0 {
            assert_eq!(heard.into_closed().text, "CONNECTION_FORCED - enough");
            break;
        }
    }
}

#[tokio::test]
async fn a_broker_that_is_gone_keeps_no_connection_that_does_not_read() {
    let (broker, clock, mut wire) = beating(0).await;
    hold(&broker, &mut wire).await;
    fill(&broker, MIB).await;
    drop(broker);
    soon("the broker's end of the socket", async {
        while wire
            .try_send_bytes(&[8, 0, 0, 0, 0, 0, 0, 0xCE])
            .await
            .is_ok()
        {
            clock.advance(std::time::Duration::from_millis(LAST_WORDS_MS));
            tokio::task::yield_now().await;
        }
    })
    .await;
}

fn beat(bytes: &mut Vec<u8>) -> &[u8] {
    bytes.clear();
    write_heartbeat(bytes);
    bytes
}

/// The heartbeats of a client that is not read from, because it has more to read than may wait, are in its socket.
#[tokio::test]
async fn a_peer_that_reads_slowly_is_not_silent() {
    let (broker, clock, mut wire) = beating(10).await;
    hold(&broker, &mut wire).await;
    fill(&broker, 16 * MIB).await;
    let mut bytes = Vec::new();
    for _ in 0..8 {
        wire.send_bytes(beat(&mut bytes)).await;
        pass(&broker, &clock, 9 * SECOND).await;
        let before = look(&broker).await;
        assert!(before.unwritten_bytes > MIB, "it is read from");
        // Some of it, by frames of 128 KiB.
        soon("something to be written", async {
            while look(&broker).await.sent_bytes == before.sent_bytes {
                wire.frame().await.unwrap();
            }
        })
        .await;
    }
    assert_eq!(broker.connection_count(), 1);
}

#[tokio::test]
async fn a_peer_that_takes_nothing_and_is_not_read_from_is_silent() {
    let (broker, clock, mut wire) = beating(10).await;
    hold(&broker, &mut wire).await;
    fill(&broker, 16 * MIB).await;
    assert!(look(&broker).await.unwritten_bytes > MIB);
    pass(&broker, &clock, 20 * SECOND - 1).await;
    assert_eq!(look(&broker).await.user.as_deref(), Some("guest"));
    pass(&broker, &clock, 1).await;
    check_given_back(&broker);
    check_ended(&broker, &clock).await;
}

/// Who may not send as fast as it would is not read from for a while, and is there all the same.
#[tokio::test]
async fn a_peer_whose_rate_is_limited_is_not_silent() {
    let clock = VirtualClock::new();
    let builder = Broker::builder()
        .virtual_clock(clock.clone())
        .messages_per_s_max(10);
    let broker = support::start(builder).await;
    let mut wire = Greeting {
        heartbeat: 3,
        ..Greeting::default()
    }
    .open_channel(&broker)
    .await;
    wire.declare("q").await;
    // Read at once, and ten seconds' worth.
    let publish = basic::Publish {
        routing_key: short("q"),
        ..basic::Publish::default()
    };
    let publish = wire.publish_bytes(&publish, &leveret_broker::Properties::default(), b"");
    let many = publish.repeat(4096 / publish.len());
    wire.send_bytes(&many).await;
    until("the messages", || broker.queues("/").unwrap()[0].ready > 60).await;
    let mut bytes = Vec::new();
    let before = look(&broker).await.reads;
    for _ in 0..3 {
        wire.send_bytes(beat(&mut bytes)).await;
        pass(&broker, &clock, 2_900).await;
    }
    let after = look(&broker).await.reads;
    assert_eq!(after, before, "it has been read from");
}

#[cfg(feature = "stomp")]
mod stomp {
    use support::Stomp;

    use super::*;

    /// Publishes to the topic `much` until the one session, which subscribes to it, is given no more.
    async fn fill_topic(broker: &Broker, body_size: usize) {
        let client = broker.client().unwrap();
        let body = vec![0; body_size];
        soon("a session that is stuck", async {
            while !is_stuck(broker).await {
                let publish = Publish::to_exchange("amq.topic", "much", &body);
                client.publish(publish).await.unwrap();
            }
        })
        .await;
    }

    /// A session that holds a delivery of the queue `held`, and reads nothing of the topic that it subscribes to.
    async fn stuck(broker: &Broker, headers: &[(&str, &str)]) -> Stomp {
        let mut stomp = Stomp::connect_with(broker, headers).await;
        stomp.publish("/queue/held", "back").await;
        stomp.subscribe("/queue/held", "0", "client").await;
        stomp.expect_message("back").await;
        stomp.subscribe("/topic/much", "1", "auto").await;
        fill_topic(broker, MIB).await;
        stomp
    }

    #[tokio::test]
    async fn what_a_silent_peer_held_goes_back_at_once() {
        let (broker, clock) = timed_broker().await;
        let headers = [("accept-version", "1.2"), ("heart-beat", "10000,0")];
        let _stomp = stuck(&broker, &headers).await;
        pass(&broker, &clock, 20 * SECOND).await;
        check_given_back(&broker);
        check_ended(&broker, &clock).await;
    }

    #[tokio::test]
    async fn the_end_of_its_user_ends_a_session_that_does_not_read() {
        let (broker, clock) = broker_of_guest().await;
        let _stomp = stuck(&broker, &[("accept-version", "1.2")]).await;
        delete_user(&broker);
        look(&broker).await;
        pass(&broker, &clock, LAST_WORDS_MS).await;
        check_given_back(&broker);
        assert_eq!(broker.connection_count(), 0);
    }

    #[tokio::test]
    async fn the_end_of_its_virtual_host_ends_a_session_that_does_not_read() {
        let (broker, clock) = timed_broker().await;
        let _stomp = stuck(&broker, &[("accept-version", "1.2")]).await;
        assert!(broker.delete_vhost("/"));
        look(&broker).await;
        check_ended(&broker, &clock).await;
    }

    #[tokio::test]
    async fn an_expired_login_ends_a_session_that_does_not_read() {
        let (broker, clock) = expiring().await;
        let headers = [("accept-version", "1.2"), ("login", "ann")];
        let _stomp = stuck(&broker, &headers).await;
        pass(&broker, &clock, 60 * SECOND).await;
        check_given_back(&broker);
        check_ended(&broker, &clock).await;
    }

    #[tokio::test]
    async fn silence_is_no_fault_of_whom_nobody_reads_from() {
        let (broker, clock) = timed_broker().await;
        let headers = [("accept-version", "1.2"), ("heart-beat", "10000,0")];
        let mut stomp = Stomp::connect_with(&broker, &headers).await;
        stomp.subscribe("/topic/much", "1", "auto").await;
        fill_topic(&broker, 16 * MIB).await;
        for _ in 0..3 {
            stomp.send_raw(b"\n").await;
            pass(&broker, &clock, 19 * SECOND).await;
            let before = look(&broker).await;
            assert!(before.unwritten_bytes > MIB, "it is read from");
            soon("something to be written", async {
                while look(&broker).await.sent_bytes == before.sent_bytes {
                    stomp.take(64 * 1024).await;
                }
            })
            .await;
        }
        pass(&broker, &clock, 20 * SECOND - 1).await;
        assert_eq!(broker.connection_count(), 1);
        pass(&broker, &clock, 1).await;
        check_ended(&broker, &clock).await;
    }
}
