//! Publishers wait while the disk is nearly full; everybody else goes on.

mod support;

use std::io;
use std::sync::Arc;

use leveret_amqp_codec::Method;
use leveret_broker::{Alarm, Broker, Builder, DiskSpace, Publish, VirtualClock};
use parking_lot::Mutex;
use support::{Wire, pass, start};

/// The time between two measurements.
const INTERVAL_MS: u64 = 10_000;

/// A disk that has as much room as a test says; none when it is to fail.
#[derive(Clone, Debug)]
struct Disk(Arc<Mutex<Option<u64>>>);

impl Disk {
    fn with(free: u64) -> Self {
        Self(Arc::new(Mutex::new(Some(free))))
    }

    fn set(&self, free: impl Into<Option<u64>>) {
        *self.0.lock() = free.into();
    }
}

impl DiskSpace for Disk {
    fn free_bytes(&self) -> io::Result<u64> {
        self.0.lock().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

async fn with_disk(
    free: u64,
    builder: impl FnOnce(Builder) -> Builder,
) -> (Broker, VirtualClock, Disk) {
    let (clock, disk) = (VirtualClock::new(), Disk::with(free));
    let watched = Broker::builder()
        .virtual_clock(clock.clone())
        .disk_space(disk.clone());
    (start(builder(watched)).await, clock, disk)
}

/// What the next publish of a client is answered with.
async fn blocked_reason(broker: &Broker) -> (Wire, String) {
    let mut wire = Wire::open(broker).await;
    wire.publish("", "nowhere", "m").await;
    let heard = wire.expect_on(0, "connection.blocked").await;
    let Method::ConnectionBlocked(blocked) = heard.method() else {
        unreachable!()
    };
    let reason = blocked.reason.as_str().to_owned();
    (wire, reason)
}

#[tokio::test]
async fn a_publisher_is_told_and_goes_on_when_there_is_room_again() {
    let (broker, clock, disk) = with_disk(49_999_999, |builder| builder).await;
    assert_eq!(
        broker.alarms(),
        [Alarm::Disk],
        "it is measured at the start"
    );
    let (mut wire, reason) = blocked_reason(&broker).await;
    assert_eq!(reason, "low on disk");
    disk.set(50_000_000);
    pass(&broker, &clock, INTERVAL_MS - 1).await;
    assert_eq!(broker.alarms(), [Alarm::Disk], "nothing was measured since");
    pass(&broker, &clock, 1).await;
    assert_eq!(broker.alarms(), []);
    wire.expect_on(0, "connection.unblocked").await;
    wire.quiet().await;
}

#[tokio::test]
async fn it_is_noticed_while_the_broker_runs() {
    let (broker, clock, disk) = with_disk(100_000_000_000, |builder| builder).await;
    let mut wire = Wire::open(&broker).await;
    wire.publish("", "nowhere", "m").await;
    wire.quiet().await;
    disk.set(1);
    pass(&broker, &clock, INTERVAL_MS).await;
    assert_eq!(
        (broker.alarms(), broker.disk_free()),
        (vec![Alarm::Disk], Some(1))
    );
    blocked_reason(&broker).await;
}

#[tokio::test]
async fn who_does_not_publish_goes_on() {
    let (broker, clock, disk) = with_disk(100_000_000_000, |builder| builder).await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    wire.publish("", "q", "m").await;
    wire.quiet().await;
    disk.set(0);
    pass(&broker, &clock, INTERVAL_MS).await;
    wire.consume("q").await;
    assert_eq!(wire.delivery().await.text(), "m");
    wire.ack(1).await;
    wire.quiet().await;
    assert_eq!(wire.count("q").await, 0);
}

#[tokio::test]
async fn a_publisher_waits_for_both_alarms_to_end() {
    let (broker, clock, disk) = with_disk(0, |builder| builder.memory_limit(1_000)).await;
    let client = broker.client().unwrap();
    client.declare_queue("q", Default::default()).await.unwrap();
    drop(client.publish(Publish::to_queue("q", &[0; 2_000])));
    assert_eq!(broker.alarms(), [Alarm::Memory, Alarm::Disk]);
    let (mut wire, reason) = blocked_reason(&broker).await;
    assert_eq!(reason, "low on disk & memory");
    client.purge_queue("q").await.unwrap();
    broker.wait_idle().await;
    disk.set(50_000_000);
    pass(&broker, &clock, INTERVAL_MS).await;
    // Had it been told after the first, it would have been blocked again, and told so.
    wire.expect_on(0, "connection.unblocked").await;
    wire.quiet().await;
}

#[tokio::test]
async fn the_limit_can_be_chosen_and_changed() {
    let (broker, _clock, _disk) = with_disk(1_000, |builder| builder.disk_free_limit(1_000)).await;
    assert_eq!((broker.alarms(), broker.disk_free_limit()), (vec![], 1_000));
    broker.set_disk_free_limit(1_001);
    let (mut wire, reason) = blocked_reason(&broker).await;
    assert_eq!(reason, "low on disk");
    broker.set_disk_free_limit(0);
    wire.expect_on(0, "connection.unblocked").await;
    wire.quiet().await;
}

#[tokio::test]
async fn the_memory_limit_can_be_changed_too() {
    let broker = start(Broker::builder()).await;
    let client = broker.client().unwrap();
    client.declare_queue("q", Default::default()).await.unwrap();
    drop(client.publish(Publish::to_queue("q", &[0; 2_000])));
    broker.set_memory_limit(1_000);
    assert_eq!(
        (broker.alarms(), broker.memory_limit()),
        (vec![Alarm::Memory], 1_000)
    );
    let (mut wire, reason) = blocked_reason(&broker).await;
    assert_eq!(reason, "low on memory");
    broker.set_memory_limit(10_000);
    wire.expect_on(0, "connection.unblocked").await;
    wire.quiet().await;
}

#[tokio::test]
async fn a_disk_that_does_not_say_how_much_it_has_changes_nothing() {
    let (broker, clock, disk) = with_disk(0, |builder| builder).await;
    disk.set(None);
    pass(&broker, &clock, INTERVAL_MS).await;
    assert_eq!(broker.alarms(), [Alarm::Disk]);
    disk.set(50_000_000);
    pass(&broker, &clock, INTERVAL_MS).await;
    assert_eq!(broker.alarms(), []);
    disk.set(None);
    pass(&broker, &clock, INTERVAL_MS).await;
    assert_eq!(
        (broker.alarms(), broker.disk_free()),
        (vec![], Some(50_000_000))
    );
}

#[tokio::test]
async fn near_the_limit_it_is_measured_ten_times_a_second() {
    let (broker, clock, disk) = with_disk(50_000_000, |builder| builder).await;
    disk.set(49_999_999);
    pass(&broker, &clock, 99).await;
    assert_eq!(broker.alarms(), []);
    pass(&broker, &clock, 1).await;
    assert_eq!(broker.alarms(), [Alarm::Disk]);
}

#[tokio::test]
async fn without_a_probe_the_disk_does_not_matter() {
    let broker = start(Broker::builder().disk_free_limit(u64::MAX)).await;
    assert_eq!((broker.alarms(), broker.disk_free()), (vec![], None));
}
