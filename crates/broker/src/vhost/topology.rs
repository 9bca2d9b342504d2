//! The exchanges, queues and bindings of a virtual host as a data structure: no rules about who may do what, no texts.

mod exchange;
mod incoming;
mod left;
mod reached;
mod route;
mod visited;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use slab::Slab;

use super::PREDECLARED;
use super::history::History;
use super::past::Past;
use super::queue::QueueCell;
use super::recorder::Recorder;
use crate::arguments::Arguments;
use crate::exchange::{BindingArguments, Destination, ExchangeId, QueueId};
use crate::metadata::{BindingRecord, Change, VhostKey};
use crate::quota::Seat;
use incoming::Incoming;
use left::Left;

pub(crate) use exchange::{Capture, Exchange};
pub(crate) use route::{Addressing, Route};

type Hasher = foldhash::fast::RandomState;

/// One binding, seen from its destination.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Binding {
    pub(crate) source: ExchangeId,
    pub(crate) key: Arc<str>,
    pub(crate) arguments: Option<Arc<BindingArguments>>,
}

/// See the module.
///
/// Every binding is held twice: at its source, arranged for routing, and at its destination as the record of its
/// identity. Both are changed together, here only. Whatever is changed in between durable things is noted for the store.
#[derive(Debug, Default)]
pub(crate) struct Topology {
    exchanges: Slab<Exchange>,
    closed: bool,
    queues: Slab<Arc<QueueCell>>,
    exchange_names: HashMap<Arc<str>, ExchangeId, Hasher>,
    queue_names: HashMap<Arc<str>, QueueId, Hasher>,
    /// Exchanges that were removed under this lock. Dropping what they hold may wake somebody, so it waits for the end
    /// of the lock.
    removed: Vec<Exchange>,
    /// How many bindings there are.
    binding_len: usize,
    /// The bindings that lead to a destination; no entry where there are none.
    incoming: HashMap<Destination, Incoming, Hasher>,
    /// The histories that queues were bound to, which know of that as long as the queue is there.
    left: HashMap<QueueId, Left, Hasher>,
    recorder: Recorder,
    /// The exchanges that know who is subscribed.
    pub(super) presences: BTreeSet<ExchangeId>,
    /// Those of them in which something has changed under this lock, perhaps several times.
    pub(super) to_announce: Vec<ExchangeId>,
}

impl Topology {
    pub(crate) fn queue_len(&self) -> usize {
        self.queues.len()
    }

    pub(crate) fn binding_len(&self) -> usize {
        self.binding_len
    }

    /// How many exchanges there are beside those that a virtual host begins with.
    pub(crate) fn declared_exchange_len(&self) -> usize {
        self.exchanges.len().saturating_sub(PREDECLARED.len())
    }

    /// From now on what is done to durable things is noted, as done in the virtual host of this key.
    pub(crate) fn start_recording(&mut self, vhost: VhostKey) {
        self.recorder.start(vhost);
    }

    /// Nothing is noted any more: the store has been told to forget the virtual host.
    pub(crate) fn stop_recording(&mut self) {
        self.recorder.stop();
    }

    /// What the store must know of the changes since the last call.
    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        self.recorder.take()
    }

    pub(crate) fn queues(&self) -> impl Iterator<Item = &Arc<QueueCell>> {
        self.queues.iter().map(|(_, queue)| queue)
    }

    pub(crate) fn exchanges(&self) -> impl Iterator<Item = &Exchange> {
        self.exchanges.iter().map(|(_, exchange)| exchange)
    }

    /// Nothing is added from now on; all exchanges go.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.exchange_names.clear();
        self.incoming.clear();
        self.presences.clear();
        self.to_announce.clear();
        self.binding_len = 0;
        let exchanges = std::mem::take(&mut self.exchanges);
        self.removed
            .extend(exchanges.into_iter().map(|(_, exchange)| exchange));
    }

    /// What passes this exchange from now on is kept.
    pub(crate) fn keep_history(&mut self, name: &str, past: Arc<Past>) {
        if let Some(id) = self.exchange_id(name) {
            self.exchanges[id.0 as usize].keep_history(past);
        }
    }

    /// The histories of all exchanges that keep one.
    pub(crate) fn pasts(&self) -> impl Iterator<Item = &Arc<Past>> {
        self.exchanges.iter().filter_map(|(_, it)| it.past())
    }

    /// What the exchanges have that replay their latest messages.
    pub(crate) fn histories(&self) -> impl Iterator<Item = &Arc<History>> {
        self.exchanges().filter_map(|it| match it.capture() {
            Some(Capture::Keep(history)) => Some(history),
            _ => None,
        })
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(crate) fn exchange_id(&self, name: &str) -> Option<ExchangeId> {
        self.exchange_names.get(name).copied()
    }

    pub(crate) fn exchange(&self, id: ExchangeId) -> &Exchange {
        &self.exchanges[id.0 as usize]
    }

    /// The exchange of this id, if it is still there, to be changed in what it knows beside its bindings.
    pub(super) fn exchange_mut(&mut self, id: ExchangeId) -> Option<&mut Exchange> {
        self.exchanges.get_mut(id.0 as usize)
    }

    /// The queue of this id, if it is still there.
    pub(super) fn queue_by_id(&self, id: QueueId) -> Option<&Arc<QueueCell>> {
        self.queues.get(id.0 as usize)
    }

    pub(crate) fn exchange_by_name(&self, name: &str) -> Option<&Exchange> {
        self.exchange_id(name).map(|id| self.exchange(id))
    }

    pub(crate) fn queue(&self, name: &str) -> Option<&Arc<QueueCell>> {
        self.queue_names
            .get(name)
            .map(|id| &self.queues[id.0 as usize])
    }

    /// Adds an exchange whose name is free.
    pub(crate) fn add_exchange(&mut self, exchange: Exchange) {
        self.recorder.exchange_added(&exchange);
        let name = Arc::clone(&exchange.name);
        let knows_presence = exchange.announcer.is_some();
        let id = ExchangeId(to_id(self.exchanges.insert(exchange)));
        if knows_presence {
            self.presences.insert(id);
        }
        self.exchange_names.insert(name, id);
    }

    /// Adds a queue whose name is free; it is made when its id is known.
    pub(crate) fn add_queue(
        &mut self,
        make: impl FnOnce(QueueId) -> Arc<QueueCell>,
    ) -> &Arc<QueueCell> {
        let entry = self.queues.vacant_entry();
        let id = QueueId(to_id(entry.key()));
        let queue = entry.insert(make(id));
        self.recorder.queue_added(queue.definition());
        self.queue_names.insert(Arc::clone(queue.name()), id);
        queue
    }

    /// Adds a binding, which keeps the seat; false when it was there already.
    pub(crate) fn bind(
        &mut self,
        destination: Destination,
        binding: Binding,
        seat: Option<Seat>,
    ) -> bool {
        let record = self.durable_binding(destination, &binding);
        let bindings = self.incoming.entry(destination).or_default();
        if bindings.contains(&binding) {
            return false;
        }
        let source = &mut self.exchanges[binding.source.0 as usize];
        source
            .router
            .insert(destination, &binding.key, binding.arguments.as_ref());
        source.outgoing += 1;
        if source.announcer.is_some() {
            self.to_announce.push(binding.source);
        }
        self.binding_len += 1;
        bindings.insert(binding, seat);
        if let Some(record) = record {
            self.recorder.binding_added(&record);
        }
        true
    }

    pub(crate) fn is_bound(&self, destination: Destination, binding: &Binding) -> bool {
        self.incoming
            .get(&destination)
            .is_some_and(|bindings| bindings.contains(binding))
    }

    /// Removes a binding, and auto-delete exchanges that thereby lose their last one; false when it was not there.
    pub(crate) fn unbind(&mut self, destination: Destination, binding: &Binding) -> bool {
        let Some(bindings) = self.incoming.get_mut(&destination) else {
            return false;
        };
        if !bindings.remove(binding) {
            return false;
        }
        if bindings.is_empty() {
            self.incoming.remove(&destination);
        }
        if let Destination::Queue(queue) = destination
            && let Some(past) = self.past_of(binding)
        {
            past.leave(queue, &binding.key);
            let past = Arc::clone(past);
            self.left.entry(queue).or_default().add(&past);
        }
        if let Some(record) = self.durable_binding(destination, binding) {
            self.recorder.binding_removed(&record);
        }
        let unused = self.forget_outgoing(destination, binding);
        self.remove_exchanges(unused.into_iter().collect());
        true
    }

    /// Removes a queue with its bindings, and auto-delete exchanges that thereby lose their last one.
    pub(crate) fn remove_queue(&mut self, id: QueueId) {
        let queue = self.queues.remove(id.0 as usize);
        self.queue_names.remove(queue.name());
        self.recorder.queue_removed(queue.definition());
        let left = self.left.remove(&id).unwrap_or_default();
        left.into_pasts().for_each(|past| past.forget_queue(id));
        let mut unused = Vec::new();
        self.remove_incoming(Destination::Queue(id), &mut unused);
        self.remove_exchanges(unused);
    }

    /// Removes an exchange with all its bindings, and auto-delete exchanges that thereby lose their last one.
    pub(crate) fn remove_exchange(&mut self, id: ExchangeId) {
        self.remove_exchanges(vec![id]);
    }

    /// Removes these exchanges and those that go with them, one after the other: clients nest exchanges as deeply as
    /// they like, and the stack must not follow.
    fn remove_exchanges(&mut self, mut doomed: Vec<ExchangeId>) {
        while let Some(id) = doomed.pop() {
            self.remove_one_exchange(id, &mut doomed);
        }
    }

    fn remove_one_exchange(&mut self, id: ExchangeId, unused: &mut Vec<ExchangeId>) {
        let mut destinations = self.exchange(id).router.destinations();
        destinations.sort_unstable();
        destinations.dedup();
        for destination in destinations {
            let Some(bindings) = self.incoming.get_mut(&destination) else {
                continue;
            };
            let removed = bindings.take_from(id);
            if bindings.is_empty() {
                self.incoming.remove(&destination);
            }
            for binding in &removed {
                if let Some(record) = self.durable_binding(destination, binding) {
                    self.recorder.binding_removed(&record);
                }
            }
        }
        let exchange = self.exchanges.remove(id.0 as usize);
        if exchange.announcer.is_some() {
            self.presences.remove(&id);
        }
        self.binding_len -= exchange.outgoing;
        self.exchange_names.remove(&exchange.name);
        self.recorder.exchange_removed(&exchange);
        self.removed.push(exchange);
        self.remove_incoming(Destination::Exchange(id), unused);
    }

    /// What has been removed since the last call, to be dropped without a lock.
    pub(crate) fn take_removed(&mut self) -> Vec<Exchange> {
        std::mem::take(&mut self.removed)
    }

    /// Removes the bindings that lead to a destination, and adds the auto-delete exchanges that thereby lose their last
    /// one to `unused`.
    fn remove_incoming(&mut self, destination: Destination, unused: &mut Vec<ExchangeId>) {
        let incoming = self.incoming.remove(&destination).unwrap_or_default();
        for binding in incoming.into_bindings() {
            if let Destination::Queue(queue) = destination
                && let Some(past) = self.past_of(&binding)
            {
                past.forget_queue(queue);
            }
            unused.extend(self.forget_outgoing(destination, &binding));
        }
    }

    /// The history of what comes by a binding, if its source keeps one; the source may have gone in the same sweep.
    pub(super) fn past_of(&self, binding: &Binding) -> Option<&Arc<Past>> {
        let source = self.exchanges.get(binding.source.0 as usize)?;
        let past = source.past()?;
        let has_messages = source.router.leads_messages(binding.arguments.as_ref());
        has_messages.then_some(past)
    }

    /// The source's half of removing a binding. Returns the source when it is an auto-delete exchange without bindings
    /// now; that happens once, because it is removed before anything can be bound again.
    fn forget_outgoing(
        &mut self,
        destination: Destination,
        binding: &Binding,
    ) -> Option<ExchangeId> {
        // The source may have gone in the same sweep, when two exchanges were bound to each other.
        let source = self.exchanges.get_mut(binding.source.0 as usize)?;
        source
            .router
            .remove(destination, &binding.key, binding.arguments.as_ref());
        source.outgoing -= 1;
        if source.announcer.is_some() {
            self.to_announce.push(binding.source);
        }
        self.binding_len -= 1;
        (source.auto_delete && source.outgoing == 0).then_some(binding.source)
    }

    /// Whether a binding from this source to this destination would outlive the broker: both ends do.
    pub(crate) fn is_durable(&self, source: ExchangeId, destination: Destination) -> bool {
        let destination_is = match destination {
            Destination::Queue(id) => self.queues[id.0 as usize].definition().key.is_some(),
            Destination::Exchange(id) => self.exchange(id).durable,
        };
        destination_is && self.exchange(source).durable
    }

    /// The record of a binding for the store. None for one that goes with the broker, and without a store.
    fn durable_binding(&self, to: Destination, binding: &Binding) -> Option<BindingRecord> {
        if !self.recorder.is_on() || !self.is_durable(binding.source, to) {
            return None;
        }
        let arguments = binding.arguments.as_ref();
        Some(BindingRecord {
            source: Arc::clone(&self.exchange(binding.source).name),
            destination: Arc::clone(self.destination_name(to)),
            to_exchange: matches!(to, Destination::Exchange(_)),
            routing_key: Arc::clone(&binding.key),
            arguments: arguments.map_or_else(Arguments::default, |arguments| {
                Arguments::new(arguments.table())
            }),
        })
    }

    /// Every binding with its destination, in no particular order.
    pub(crate) fn bindings(&self) -> impl Iterator<Item = (Destination, &Binding)> {
        self.incoming.iter().flat_map(|(destination, incoming)| {
            let to = *destination;
            incoming.iter().map(move |binding| (to, binding))
        })
    }

    /// The name of a binding's destination.
    pub(crate) fn destination_name(&self, destination: Destination) -> &Arc<str> {
        match destination {
            Destination::Queue(id) => self.queues[id.0 as usize].name(),
            Destination::Exchange(id) => &self.exchange(id).name,
        }
    }
}

/// Slab keys are dense: more than four billion exchanges or queues would not fit any memory.
fn to_id(key: usize) -> u32 {
    u32::try_from(key).expect("fewer than 2^32 exchanges or queues")
}
