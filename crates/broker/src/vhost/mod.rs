//! A virtual host: a world of exchanges, queues and bindings of its own, and the rules for changing it.

mod arguments;
mod bindings;
mod dead_letter;
mod delayed;
mod describe;
mod durable;
mod exchanges;
mod explain;
mod history;
mod history_account;
mod limits;
mod mismatch;
mod past;
mod presence;
mod publish;
mod queue;
mod queues;
mod rebuilt;
mod recorder;
mod reply;
#[cfg(feature = "journal")]
mod restore;
mod topology;
mod undelivered;
mod unroutable;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use leveret_amqp_codec::{RawTable, ReplyCode};
use leveret_queue_store::{Message, Time};
use parking_lot::{Mutex, RwLock, RwLockWriteGuard};

use crate::access::{Caller, Resource, Right};
use crate::alarms::Alarms;
use crate::allowances::Allowances;
use crate::disk::DiskGauge;
use crate::error::Refusal;
use crate::exchange::{ExchangeId, ExchangeKind, Router};
use crate::memory::MemoryGauge;
use crate::metadata::{Change, Metadata, Ticket, VhostKey};
use crate::outbox::Outbox;
use crate::random::RandomNames;
use crate::store::Store;
use crate::timers::{TimerId, Timers};

pub(crate) use bindings::BindingRequest;
pub use delayed::Scheduled;
pub(crate) use exchanges::ExchangeDeclare;
pub use explain::{ExplainedBinding, Explanation, Step};
pub(crate) use limits::ConsumerSeats;
pub use limits::VhostLimits;
pub(crate) use mismatch::Term;
#[cfg(feature = "stomp")]
pub(crate) use past::POSITION_MARK;
pub(crate) use past::{
    HISTORY_AGE, HISTORY_GAP, HISTORY_ID, HISTORY_LENGTH, HistoryLimits, RESUME_FROM, position_in,
};
pub use past::{Position, PositionError, ResumeFrom};
pub(crate) use publish::{PublishBatch, RouteCache};
pub use queue::Unacked;
pub(crate) use queue::{CannotConsume, ConsumerLink, Counts, DeadLetter, QueueCell};
pub(crate) use queues::{QueueDeclare, QueueDeclared, QueueDelete};
pub(crate) use reply::REPLY_TO;
#[cfg(feature = "journal")]
pub(crate) use restore::StoredVhost;
pub(crate) use topology::Route;
pub use unroutable::Unroutable;

use limits::Limits;
use past::{Past, Positions};
use reply::is_token;
use topology::{Exchange, Topology};
use undelivered::Undelivered;
use unroutable::UnroutableRing;

/// What all virtual hosts of a broker share.
#[derive(Debug)]
pub(crate) struct Services {
    pub(crate) timers: Arc<Timers>,
    pub(crate) memory: MemoryGauge,
    pub(crate) disk: DiskGauge,
    /// What the two raise.
    pub(crate) alarms: Arc<Alarms>,
    pub(crate) names: RandomNames,
    /// How many queues each may have.
    pub(crate) queues_max: usize,
    /// How many exchanges each may have that clients have declared, and how many bindings.
    pub(crate) exchanges_max: usize,
    pub(crate) bindings_max: usize,
    /// How many connections may have opened each.
    pub(crate) connections_per_vhost: u32,
    pub(crate) allowances: Allowances,
    /// How many bytes a connection may hold of what no queue has yet.
    pub(crate) held_max: usize,
    /// None: messages are in memory only.
    pub(crate) store: Option<Arc<Store>>,
    pub(crate) metadata: Arc<Metadata>,
    /// What the exchange `amq.topic` of each keeps.
    pub(crate) topic_history: Option<HistoryLimits>,
    /// How much of the memory is for what exchanges keep of what has passed them.
    pub(crate) histories: AtomicUsize,
    /// How much of it is for dead letters on their way.
    pub(crate) letters: AtomicUsize,
}

impl Services {
    /// Counts messages that are in no queue: somebody held `before` bytes of them and now holds `after`. Queues make room for
    /// what has come. Must be called without a queue's lock.
    pub(crate) fn account(&self, before: usize, after: usize) {
        self.memory.account(before, after);
        if after > before {
            self.make_room();
        }
    }

    /// Whether messages of a history may go into a queue: whoever asks for them again and again must not be able to stop all
    /// publishers.
    pub(crate) fn has_room_for(&self, messages: &[Message]) -> bool {
        let bytes = messages.iter().map(|message| message.size_bytes() as u64);
        let cost = MemoryGauge::cost(messages.len(), bytes.sum());
        messages.is_empty() || self.memory.has_room_for(cost)
    }

    /// Whether what the broker stores by itself has to wait, as publishers have to.
    pub(crate) fn is_congested(&self) -> bool {
        let store = self.store.as_ref();
        store.is_some_and(|store| store.is_congested())
    }

    /// Has queues give up memory if there is too little.
    pub(crate) fn make_room(&self) {
        if self.memory.excess() > 0
            && let Some(store) = &self.store
        {
            store.note_shortage();
        }
    }
}

/// See the module.
///
/// The topology's lock is the outermost of all. Routing reads it when a connection's [`RouteCache`] has no answer;
/// declaring and binding write it, and then raise [`VirtualHost::generation`], which makes the caches forget.
#[derive(Debug)]
pub(crate) struct VirtualHost {
    name: Arc<str>,
    services: Arc<Services>,
    topology: RwLock<Topology>,
    generation: AtomicU64,
    dying: Mutex<Dying>,
    dying_timer: TimerId,
    undelivered: Arc<Undelivered>,
    unroutable: UnroutableRing,
    /// For what passes exchanges that keep history; made with the first of these.
    positions: OnceLock<Arc<Positions>>,
    /// The connections that have opened it, to be told when it is deleted.
    members: Mutex<Members>,
    limits: Limits,
    /// To hand to the queues, which must not keep the virtual host alive.
    myself: Weak<Self>,
}

/// Messages on their way to a dead letter exchange.
#[derive(Debug, Default)]
struct Dying {
    letters: VecDeque<DeadLetter>,
    /// Somebody carries letters at the moment and will take what is added.
    carried: bool,
    /// The timers know that some wait for a turn of their own.
    has_timer: bool,
    /// That turn comes when the store takes more.
    is_held: bool,
    /// When timers have carried some last, and how much of their turn they have used at that time.
    turn: (Time, usize),
}

/// Who is in a virtual host.
#[derive(Debug, Default)]
struct Members {
    outboxes: Vec<Weak<Outbox>>,
    /// It has been deleted: nobody comes in any more.
    deleted: bool,
}

/// The exchanges of every virtual host (behaviour reference, section 5.1).
const PREDECLARED: [(&str, ExchangeKind, bool); 7] = [
    ("", ExchangeKind::Direct, false),
    ("amq.direct", ExchangeKind::Direct, false),
    ("amq.fanout", ExchangeKind::Fanout, false),
    ("amq.topic", ExchangeKind::Topic, false),
    ("amq.headers", ExchangeKind::Headers, false),
    ("amq.match", ExchangeKind::Headers, false),
    ("amq.rabbitmq.trace", ExchangeKind::Topic, true),
];

impl VirtualHost {
    pub(crate) fn new(name: Arc<str>, services: Arc<Services>) -> Arc<Self> {
        let mut topology = Topology::default();
        for (name, kind, internal) in PREDECLARED {
            let router = Router::new(kind, RawTable::EMPTY, 0)
                .expect("the predeclared types need no arguments");
            let mut exchange = Exchange::new(Arc::from(name), kind, router, None);
            exchange.durable = true;
            exchange.internal = internal;
            topology.add_exchange(exchange);
        }
        let timer = services.timers.new_id();
        let dying_timer = services.timers.new_id();
        let vhost = Arc::new_cyclic(|myself| Self {
            name,
            services,
            topology: RwLock::new(topology),
            generation: AtomicU64::new(0),
            dying: Mutex::default(),
            dying_timer,
            undelivered: Undelivered::new(Weak::clone(myself), timer),
            unroutable: UnroutableRing::default(),
            positions: OnceLock::new(),
            members: Mutex::default(),
            limits: Limits::default(),
            myself: Weak::clone(myself),
        });
        if let Some(limits) = vhost.services.topic_history {
            vhost.keep_topic_history(limits);
        }
        vhost
    }

    /// Has the exchange `amq.topic` keep what passes it from now on.
    pub(crate) fn keep_topic_history(&self, limits: HistoryLimits) {
        let past = Past::new(self, ExchangeKind::Topic, limits);
        self.topology.write().keep_history("amq.topic", past);
    }

    fn positions(&self) -> &Arc<Positions> {
        let make = || Arc::new(Positions::new(self.services.names.seed()));
        self.positions.get_or_init(make)
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Lets a connection in, which will be asked to close when the virtual host is deleted. False when it is already.
    pub(crate) fn enter(&self, outbox: &Arc<Outbox>) -> bool {
        let mut members = self.members.lock();
        if members.deleted {
            return false;
        }
        if members.outboxes.len() == members.outboxes.capacity() {
            members.outboxes.retain(|outbox| outbox.strong_count() > 0);
        }
        members.outboxes.push(Arc::downgrade(outbox));
        true
    }

    /// Changes are recorded from now on, if there is a store.
    pub(crate) fn start_recording(&self, key: VhostKey) {
        if self.services.metadata.is_on() {
            self.topology.write().start_recording(key);
        }
    }

    /// Its changes are of no interest from now on: the store forgets all of it. Whoever deletes it does this first, so
    /// that nothing is recorded of a virtual host that is no longer there.
    pub(crate) fn forget(&self, key: VhostKey) {
        let mut topology = self.topology.write();
        topology.stop_recording();
        let changes = Change::remove_vhost(&self.name, key);
        self.services.metadata.record(changes);
    }

    /// Empties it for good: its connections are asked to close, its queues and exchanges removed with all they hold.
    pub(crate) fn delete(&self, now: Time) {
        let outboxes = {
            let mut members = self.members.lock();
            members.deleted = true;
            std::mem::take(&mut members.outboxes)
        };
        for outbox in outboxes.iter().filter_map(Weak::upgrade) {
            let text = format!("vhost '{}' is deleted", self.name);
            outbox.ask_to_close(ReplyCode::ConnectionForced, text);
        }
        for queue in self.queues() {
            self.remove_queue_if(&queue, now, |_| true);
        }
        self.undelivered.forget(&self.services.memory);
        let mut topology = self.topology.write();
        topology.close();
        self.topology_changed(topology);
    }

    /// # Errors
    /// 404 when it has been deleted under a client of this process, which is not asked to close.
    fn check_open(&self, topology: &Topology) -> Result<(), Refusal> {
        if topology.is_closed() {
            return Err(Refusal::not_found(format!(
                "vhost '{}' is deleted",
                self.name
            )));
        }
        Ok(())
    }

    /// A message that reached no queue is remembered for a while.
    pub(crate) fn note_unroutable(&self, now: Time, message: &Message) {
        self.unroutable.push(now, message);
    }

    /// The latest messages that reached no queue, oldest first.
    pub(crate) fn unroutable(&self) -> Vec<Unroutable> {
        self.unroutable.list()
    }

    pub(crate) fn services(&self) -> &Arc<Services> {
        &self.services
    }

    /// Changes whenever a message might take another way than before, and whenever somebody may do something else.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Makes publishers ask for their routes again, because what they may do has changed.
    pub(crate) fn forget_routes(&self) {
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Has the exchanges that keep history push out what is too much since the memory limit was changed.
    pub(crate) fn trim_histories(&self) {
        let (pasts, histories) = {
            let topology = self.topology.read();
            let pasts: Vec<_> = topology.pasts().cloned().collect();
            let histories: Vec<_> = topology.histories().cloned().collect();
            (pasts, histories)
        };
        pasts.iter().for_each(|past| past.trim());
        histories.iter().for_each(|history| history.trim());
    }

    /// What died in a queue and waits for its turn or a place to go, as it was there.
    #[cfg(all(test, feature = "journal"))]
    pub(crate) fn undelivered_of(&self, queue: &str) -> Vec<Message> {
        let mut undelivered = self.undelivered.of(queue);
        let dying = self.dying.lock();
        let of_queue = dying
            .letters
            .iter()
            .filter(|letter| **letter.queue.name() == *queue);
        undelivered.extend(of_queue.map(|letter| letter.message.clone()));
        undelivered
    }

    /// Ends a change to the topology: it is recorded, routes that were remembered are forgotten, and what was removed is
    /// dropped once the lock is. The ticket is that of the change; [`Ticket::NONE`] when nothing durable was concerned.
    fn topology_changed(&self, mut topology: RwLockWriteGuard<'_, Topology>) -> Ticket {
        let ticket = self.services.metadata.record(topology.take_changes());
        self.generation.fetch_add(1, Ordering::Release);
        let removed = topology.take_removed();
        drop(topology);
        removed.iter().for_each(Exchange::deleted);
        ticket
    }

    /// What a client has to wait for that finds something as it wants it: whoever has just changed it may be waiting
    /// still.
    fn settled(&self, durable: bool) -> Ticket {
        if durable {
            self.services.metadata.latest()
        } else {
            Ticket::NONE
        }
    }

    /// # Errors
    /// 541 for a change to something durable once the store cannot be written.
    fn check_recordable(&self, durable: bool) -> Result<(), Refusal> {
        if durable {
            self.services.metadata.check()?;
        }
        Ok(())
    }

    /// The queue of this name, for a caller that wants what is in it: to consume, to get or to purge.
    ///
    /// # Errors
    /// 403 without the right to read from it, 404 when there is none, 405 when it is exclusive to another connection.
    pub(crate) fn readable_queue(
        &self,
        caller: &Caller,
        name: &str,
    ) -> Result<Arc<QueueCell>, Refusal> {
        caller.require(Right::Read, Resource::Queue(name))?;
        self.queue(caller, name)
    }

    /// The queue of this name, for a caller that wants one message out of it.
    ///
    /// # Errors
    /// Those of [`VirtualHost::readable_queue`]; 405 also when it is a quorum queue with a single active consumer.
    pub(crate) fn gettable_queue(
        &self,
        caller: &Caller,
        name: &str,
    ) -> Result<Arc<QueueCell>, Refusal> {
        let queue = self.readable_queue(caller, name)?;
        if queue.is_quorum() && queue.has_single_active_consumer() {
            return Err(Refusal::resource_locked(format!(
                "cannot obtain access to locked {}. basic.get operations are not supported by quorum queues with single \
                 active consumer",
                self.queue_phrase(name)
            )));
        }
        Ok(queue)
    }

    fn queue(&self, caller: &Caller, name: &str) -> Result<Arc<QueueCell>, Refusal> {
        let topology = self.topology.read();
        let queue = topology
            .queue(name)
            .filter(|_| !is_token(name))
            .ok_or_else(|| self.no_queue(name))?;
        self.check_owner(queue, caller)?;
        Ok(Arc::clone(queue))
    }

    /// All queues, in no particular order.
    pub(crate) fn queues(&self) -> Vec<Arc<QueueCell>> {
        self.topology.read().queues().cloned().collect()
    }

    fn check_owner(&self, queue: &QueueCell, caller: &Caller) -> Result<(), Refusal> {
        match queue.definition().owner {
            Some(owner) if owner != caller.connection() => Err(self.locked(queue.name())),
            _ => Ok(()),
        }
    }

    fn locked(&self, name: &str) -> Refusal {
        Refusal::resource_locked(format!(
            "cannot obtain exclusive access to locked {}. It could be originally declared on another connection or the \
             exclusive property value does not match that of the original declaration.",
            self.queue_phrase(name)
        ))
    }

    pub(crate) fn no_queue(&self, name: &str) -> Refusal {
        Refusal::not_found(format!("no {}", self.queue_phrase(name)))
    }

    pub(crate) fn no_exchange(&self, name: &str) -> Refusal {
        Refusal::not_found(format!("no {}", self.exchange_phrase(name)))
    }

    /// How error texts speak of a queue.
    pub(crate) fn queue_phrase(&self, name: &str) -> String {
        format!("queue '{name}' in vhost '{}'", self.name)
    }

    /// How error texts speak of an exchange.
    pub(crate) fn exchange_phrase(&self, name: &str) -> String {
        if name.is_empty() {
            return format!("default exchange in vhost '{}'", self.name);
        }
        format!("exchange '{name}' in vhost '{}'", self.name)
    }

    /// Removes the exclusive queues of a connection that has ended.
    pub(crate) fn connection_closed(
        &self,
        now: Time,
        queues: impl IntoIterator<Item = Weak<QueueCell>>,
    ) {
        for queue in queues.into_iter().filter_map(|queue| queue.upgrade()) {
            self.remove_queue_if(&queue, now, |_| true);
        }
    }

    fn require_exchange(&self, topology: &Topology, name: &str) -> Result<ExchangeId, Refusal> {
        topology
            .exchange_id(name)
            .ok_or_else(|| self.no_exchange(name))
    }
}

/// RabbitMQ takes line breaks out of the names that clients declare (behaviour reference, 5.2 and 6.1).
fn without_line_breaks(name: &str) -> std::borrow::Cow<'_, str> {
    if name.contains(['\r', '\n']) {
        return name.replace(['\r', '\n'], "").into();
    }
    name.into()
}
