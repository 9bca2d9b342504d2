//! What is owed to publishers when the disk of the messages is slow, full or broken.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use leveret_amqp_codec::method::{basic, confirm, tx};
use leveret_amqp_codec::{EncodeMethod, RawProperties, write_body, write_content_header};
use leveret_queue_store::{
    DirectoryLock, FaultyStorage as MessageDisk, OpenMode, Storage, StorageFile,
};
use parking_lot::{Condvar, Mutex};

use super::*;
use crate::{Alarm, Client, Confirm, Properties, Publish};

/// A disk whose syncs can be made to wait.
#[derive(Clone, Debug)]
struct SlowDisk {
    disk: MessageDisk,
    gate: Arc<Gate>,
}

#[derive(Debug, Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct GateState {
    closed: bool,
    waiting: usize,
}

impl SlowDisk {
    fn new() -> Self {
        Self {
            disk: MessageDisk::new(1),
            gate: Arc::default(),
        }
    }

    /// From now on syncs wait, until what is returned is dropped.
    fn hold_syncs(&self) -> Held {
        self.gate.state.lock().closed = true;
        Held(Arc::clone(&self.gate))
    }

    /// Returns once a sync waits.
    async fn sync_waits(&self) {
        while self.gate.state.lock().waiting == 0 {
            tokio::task::yield_now().await;
        }
    }
}

/// Syncs wait while this is there.
struct Held(Arc<Gate>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.state.lock().closed = false;
        self.0.changed.notify_all();
    }
}

impl Gate {
    fn pass(&self) {
        let mut state = self.state.lock();
        state.waiting += 1;
        while state.closed {
            self.changed.wait(&mut state);
        }
        state.waiting -= 1;
    }
}

impl Storage for SlowDisk {
    fn lock(&self) -> io::Result<Box<dyn DirectoryLock>> {
        self.disk.lock()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn StorageFile>> {
        Ok(Arc::new(SlowFile {
            file: self.disk.open(name, mode)?,
            gate: Arc::clone(&self.gate),
        }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.gate.pass();
        self.disk.sync_directory()
    }
}

#[derive(Debug)]
struct SlowFile {
    file: Arc<dyn StorageFile>,
    gate: Arc<Gate>,
}

impl StorageFile for SlowFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.gate.pass();
        self.file.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
}

/// A broker with messages on `disk` and a durable queue, and a client of it.
async fn broker_on(disk: &SlowDisk) -> (Broker, Client) {
    broker_with(disk, JournalOptions::default()).await
}

async fn broker_with(disk: &SlowDisk, options: JournalOptions) -> (Broker, Client) {
    let definitions = Box::new(FaultyStorage::default());
    let messages = Arc::new(disk.clone());
    let beginning = Beginning::on(definitions, messages, options, None).unwrap();
    let builder = Broker::builder().amqp(([127, 0, 0, 1], 0));
    #[cfg(feature = "stomp")]
    let builder = builder.stomp(([127, 0, 0, 1], 0));
    let broker = builder.start_from(beginning).await.unwrap();
    let client = broker.client().unwrap();
    client.declare_queue("q", durable()).await.unwrap();
    (broker, client)
}

fn persistent() -> Properties {
    Properties {
        delivery_mode: Some(2),
        ..Properties::default()
    }
}

fn publish(client: &Client, body: &str) -> Confirm {
    client.publish(Publish {
        properties: Some(persistent()),
        ..Publish::to_queue("q", body.as_bytes())
    })
}

/// Fails unless the confirm is still owed.
#[track_caller]
fn assert_owed(confirm: &mut Confirm) {
    let mut context = Context::from_waker(Waker::noop());
    assert!(matches!(pin!(confirm).poll(&mut context), Poll::Pending));
}

/// Waits for the next message and takes it, as a consumer would.
async fn take(client: &Client) -> String {
    let delivery = loop {
        if let Some(delivery) = client.get("q").await.unwrap() {
            break delivery;
        }
        tokio::task::yield_now().await;
    };
    let body = String::from_utf8(delivery.body().to_vec()).unwrap();
    delivery.ack();
    body
}

impl Wire {
    async fn send(&mut self, method: &impl EncodeMethod) {
        let mut bytes = Vec::new();
        write_method(&mut bytes, ChannelId(1), method);
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// Publishes a persistent message to the durable queue.
    async fn publish(&mut self, body: &str) {
        let (mut bytes, channel) = (Vec::new(), ChannelId(1));
        let to_queue = basic::Publish {
            routing_key: ShortStr::new("q").unwrap(),
            ..basic::Publish::default()
        };
        write_method(&mut bytes, channel, &to_queue);
        let properties = persistent().to_bytes();
        let properties = RawProperties::from_validated_bytes(&properties);
        write_content_header(&mut bytes, channel, 60, body.len() as u64, properties);
        write_body(&mut bytes, channel, body.as_bytes(), 4096);
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// A connection whose channel confirms.
    async fn confirming(broker: &Broker) -> Self {
        let mut wire = Self::open(broker).await;
        wire.send(&confirm::Select { no_wait: false }).await;
        wire.expect("ConfirmSelectOk").await;
        wire
    }

    /// A connection whose channel is in a transaction.
    async fn transacting(broker: &Broker) -> Self {
        let mut wire = Self::open(broker).await;
        wire.send(&tx::Select {}).await;
        wire.expect("TxSelectOk").await;
        wire
    }

    /// Hears something that begins so.
    async fn expect(&mut self, beginning: &str) -> String {
        let heard = self.hear().await.expect("the connection is there");
        assert!(heard.starts_with(beginning), "{heard}");
        heard
    }

    #[cfg(feature = "stomp")]
    async fn stomp(broker: &Broker) -> Self {
        let address = broker.stomp_addresses()[0];
        let mut stomp = Self {
            stream: TcpStream::connect(address).await.unwrap(),
            input: Vec::new(),
        };
        let connect = b"CONNECT\naccept-version:1.2\nhost:/\nlogin:guest\npasscode:guest\n\n\0";
        stomp.stream.write_all(connect).await.unwrap();
        assert!(stomp.hear_frame().await.starts_with("CONNECTED\n"));
        stomp
    }

    #[cfg(feature = "stomp")]
    async fn send_with_receipt(&mut self) {
        let send = b"SEND\ndestination:/amq/queue/q\npersistent:true\nreceipt:1\n\nstomp\0";
        self.stream.write_all(send).await.unwrap();
    }
}

#[tokio::test]
async fn whoever_is_owed_an_answer_gets_it_after_the_sync_and_consumers_need_not_wait() {
    let disk = SlowDisk::new();
    let (broker, client) = broker_on(&disk).await;
    let mut confirming = Wire::confirming(&broker).await;
    let mut transacting = Wire::transacting(&broker).await;
    #[cfg(feature = "stomp")]
    let mut stomp = Wire::stomp(&broker).await;

    let held = disk.hold_syncs();
    let mut confirm = publish(&client, "in process");
    confirming.publish("confirmed").await;
    transacting.publish("committed").await;
    transacting.send(&tx::Commit {}).await;
    #[cfg(feature = "stomp")]
    stomp.send_with_receipt().await;
    disk.sync_waits().await;
    confirming.assert_quiet(&broker).await;
    transacting.assert_quiet(&broker).await;
    #[cfg(feature = "stomp")]
    stomp.assert_quiet(&broker).await;
    assert_owed(&mut confirm);
    let count = if cfg!(feature = "stomp") { 4 } else { 3 };
    let mut taken = Vec::new();
    for _ in 0..count {
        taken.push(take(&client).await);
    }
    assert_eq!(taken[0], "in process");

    drop(held);
    confirm.await.unwrap();
    confirming.expect("BasicAck").await;
    transacting.expect("TxCommitOk").await;
    #[cfg(feature = "stomp")]
    assert!(stomp.hear_frame().await.starts_with("RECEIPT"));
}

#[tokio::test]
async fn publishers_that_wait_together_share_a_sync() {
    let disk = SlowDisk::new();
    let (_broker, client) = broker_on(&disk).await;
    publish(&client, "the log has been begun").await.unwrap();
    let held = disk.hold_syncs();
    let mut first = publish(&client, "first");
    assert_owed(&mut first);
    disk.sync_waits().await;
    let mut confirms: Vec<_> = (0..100).map(|n| publish(&client, &n.to_string())).collect();
    confirms.iter_mut().for_each(assert_owed);
    let before = disk.disk.syncs();
    drop(held);
    first.await.unwrap();
    for confirm in confirms {
        confirm.await.unwrap();
    }
    assert_eq!(disk.disk.syncs() - before, 2);
}

#[tokio::test]
async fn after_a_failed_sync_publishers_are_refused_and_consumers_go_on() {
    let disk = SlowDisk::new();
    let (broker, client) = broker_on(&disk).await;
    publish(&client, "safe").await.unwrap();
    let mut confirming = Wire::confirming(&broker).await;
    let mut transacting = Wire::transacting(&broker).await;
    #[cfg(feature = "stomp")]
    let mut stomp = Wire::stomp(&broker).await;

    disk.disk.fail_syncs(1);
    confirming.publish("confirmed").await;
    confirming.expect("BasicNack").await;
    assert!(
        publish(&client, "in process")
            .await
            .unwrap_err()
            .is_not_stored()
    );
    confirming.publish("once more").await;
    confirming.expect("BasicNack").await;
    transacting.publish("committed").await;
    transacting.send(&tx::Commit {}).await;
    let heard = transacting.expect("").await;
    assert!(!heard.starts_with("TxCommitOk"), "{heard}");
    #[cfg(feature = "stomp")]
    {
        stomp.send_with_receipt().await;
        assert!(stomp.hear_frame().await.starts_with("ERROR\n"));
    }
    assert_eq!(take(&client).await, "safe");
    // What is not kept needs no disk.
    client
        .publish(Publish::to_queue("q", b"transient"))
        .await
        .unwrap();
}

#[tokio::test]
async fn on_a_full_disk_publishers_wait_for_room_and_consumers_do_not() {
    let disk = SlowDisk::new();
    let (broker, client) = broker_on(&disk).await;
    publish(&client, "safe").await.unwrap();
    let mut confirming = Wire::confirming(&broker).await;

    disk.disk.leave_room(Some(0));
    // More than the journal has made room for.
    let large = "1".repeat(300_000);
    confirming.publish(&large).await;
    until_alarms_are(&broker, &[Alarm::DiskFull]).await;
    confirming.publish("2").await;
    let mut confirm = publish(&client, "in process");
    confirming.assert_quiet(&broker).await;
    assert_owed(&mut confirm);
    assert_eq!(take(&client).await, "safe");

    disk.disk.leave_room(None);
    confirm.await.unwrap();
    let mut confirmed = 0;
    while confirmed < 2 {
        let heard = confirming.expect("BasicAck").await;
        confirmed += if heard.contains("delivery_tag: 2") {
            2
        } else {
            1
        };
    }
    assert!(broker.alarms().is_empty());
    let mut taken = [
        take(&client).await,
        take(&client).await,
        take(&client).await,
    ];
    taken.sort();
    assert_eq!(taken, [&large, "2", "in process"]);
}

#[tokio::test]
async fn a_commit_of_nothing_but_acknowledgements_waits_for_the_disk_too() {
    let disk = SlowDisk::new();
    let (broker, client) = broker_on(&disk).await;
    publish(&client, "taken").await.unwrap();
    let mut transacting = Wire::transacting(&broker).await;
    transacting
        .stream
        // basic.get from "q", which has to be acknowledged.
        .write_all(b"\x01\0\x01\0\0\0\x09\0\x3c\0\x46\0\0\x01q\0\xce")
        .await
        .unwrap();
    // The frames of the content are not methods.
    while transacting
        .stream
        .read_buf(&mut transacting.input)
        .await
        .unwrap()
        > 0
        && !transacting.input.ends_with(b"taken\xce")
    {}
    transacting.input.clear();

    let held = disk.hold_syncs();
    let ack = basic::Ack {
        delivery_tag: 1,
        multiple: false,
    };
    transacting.send(&ack).await;
    transacting.send(&tx::Commit {}).await;
    disk.sync_waits().await;
    transacting.assert_quiet(&broker).await;
    drop(held);
    transacting.expect("TxCommitOk").await;
    assert!(client.get("q").await.unwrap().is_none());
}

/// A declaration and a message for its queue, on a disk on which there is no room for the declaration: whether the broker
/// has learned of the full disk from that.
#[tokio::test]
async fn a_full_disk_that_a_declaration_meets_first_stops_publishers_and_not_the_journal() {
    let definitions = FaultyStorage::default();
    let messages = SlowDisk::new();
    let options = JournalOptions::default();
    let on = Box::new(definitions.clone());
    let beginning = Beginning::on(on, Arc::new(messages.clone()), options, None).unwrap();
    let broker = Broker::builder().start_from(beginning).await.unwrap();
    let client = broker.client().unwrap();
    client.declare_queue("q", durable()).await.unwrap();
    publish(&client, "safe").await.unwrap();

    definitions.fail_with(Some(ErrorKind::StorageFull));
    let mut declare = Box::pin(client.declare_queue("late", durable()));
    let mut context = Context::from_waker(Waker::noop());
    assert!(declare.as_mut().poll(&mut context).is_pending());
    let mut confirm = publish(&client, "waits");
    until_alarms_are(&broker, &[Alarm::DiskFull]).await;
    assert_owed(&mut confirm);
    assert_eq!(take(&client).await, "safe");

    definitions.fail_with(None);
    declare.await.unwrap();
    confirm.await.unwrap();
    // The journal's thread may have more to do before it says so.
    until_alarms_are(&broker, &[]).await;
}

/// Waits until publishers are told of these alarms.
async fn until_alarms_are(broker: &Broker, wanted: &[Alarm]) {
    let told = async {
        while broker.alarms() != wanted {
            tokio::task::yield_now().await;
        }
    };
    let in_time = tokio::time::timeout(DEADLINE, told).await;
    in_time.expect("publishers are told in time");
}

/// The broker ends while the disk is too full for a declaration: what was published since must not count as safe.
#[tokio::test]
async fn what_waits_for_a_declaration_when_the_broker_ends_is_refused() {
    let definitions = FaultyStorage::default();
    let messages = SlowDisk::new();
    let options = JournalOptions::default();
    let on = Box::new(definitions.clone());
    let beginning = Beginning::on(on, Arc::new(messages.clone()), options, None).unwrap();
    let broker = Broker::builder().start_from(beginning).await.unwrap();
    let client = broker.client().unwrap();
    definitions.fail_with(Some(ErrorKind::StorageFull));
    let mut declare = Box::pin(client.declare_queue("q", durable()));
    let mut context = Context::from_waker(Waker::noop());
    assert!(declare.as_mut().poll(&mut context).is_pending());
    let confirm = publish(&client, "waits");
    broker.shutdown().await;
    drop(declare);
    drop(client);
    let refused = tokio::time::timeout(DEADLINE, confirm).await;
    let refused = refused.expect("the publisher is told in time").unwrap_err();
    assert!(refused.is_not_stored(), "{refused}");
}

#[tokio::test]
async fn acknowledgements_are_synced_though_nobody_waits_for_them() {
    let disk = SlowDisk::new();
    let (_broker, client) = broker_on(&disk).await;
    publish(&client, "taken").await.unwrap();
    let writes = disk.disk.writes();
    assert_eq!(take(&client).await, "taken");
    while disk.disk.writes() == writes {
        tokio::task::yield_now().await;
    }
    let syncs = disk.disk.syncs();
    while disk.disk.syncs() == syncs {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn publishers_that_are_held_up_go_on_when_the_journal_has_written() {
    let disk = SlowDisk::new();
    let options = JournalOptions {
        pending_max: 300,
        ..JournalOptions::default()
    };
    let (broker, client) = broker_with(&disk, options).await;
    let mut confirming = Wire::confirming(&broker).await;
    for number in 0..20 {
        // Each is enough to hold up the next.
        confirming.publish(&format!("{number:0>1000}")).await;
    }
    // Nothing else is told to the journal meanwhile.
    while !confirming
        .expect("BasicAck")
        .await
        .contains("delivery_tag: 20,")
    {}
    publish(&client, "in process").await.unwrap();
}
