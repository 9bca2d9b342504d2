//! The exchanges, queues and bindings of a virtual host as a data structure: no rules about who may do what, no texts.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};

use leveret_amqp_codec::{RawProperties, RawTable};
use leveret_queue_store::QueueKey;
use slab::Slab;
use smallvec::SmallVec;

use super::PREDECLARED;
use super::delayed::{Delayed, delay_ms};
use super::history::History;
use super::past::{Passes, Past};
use super::presence::Announcer;
use super::queue::QueueCell;
use super::recorder::Recorder;
use crate::arguments::Arguments;
use crate::exchange::presence::PresenceRouter;
use crate::exchange::{
    BindingArguments, Destination, ExchangeId, ExchangeKind, QueueId, Router, Subject,
};
use crate::metadata::{BindingRecord, Change, VhostKey};

type Hasher = foldhash::fast::RandomState;

/// An exchange and the bindings in which it is the source.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) name: Arc<str>,
    pub(crate) kind: ExchangeKind,
    pub(crate) durable: bool,
    pub(crate) auto_delete: bool,
    pub(crate) internal: bool,
    pub(crate) arguments: Arguments,
    pub(crate) alternate: Option<Arc<str>>,
    router: Router,
    /// What its type does with messages beside routing them.
    capture: Option<Capture>,
    /// What has passed it, where that is kept.
    past: Option<Arc<Past>>,
    /// Under which the messages that wait in a durable one are kept.
    pub(crate) key: Option<QueueKey>,
    /// Tells those who watch what happens, where its type knows that.
    pub(crate) announcer: Option<Arc<Announcer>>,
    /// How many bindings have it as their source.
    outgoing: usize,
}

/// What an exchange does with a message beside routing it.
#[derive(Clone, Debug)]
pub(crate) enum Capture {
    /// Keeps it for its time instead of routing it.
    Delay(Arc<Delayed>),
    /// Keeps a copy for bindings to come.
    Keep(Arc<History>),
}

impl Exchange {
    pub(crate) fn new(
        name: Arc<str>,
        kind: ExchangeKind,
        router: Router,
        capture: Option<Capture>,
    ) -> Self {
        Self {
            name,
            kind,
            durable: false,
            auto_delete: false,
            internal: false,
            arguments: Arguments::default(),
            alternate: None,
            router,
            capture,
            past: None,
            key: None,
            announcer: None,
            outgoing: 0,
        }
    }

    pub(crate) fn capture(&self) -> Option<&Capture> {
        self.capture.as_ref()
    }

    pub(crate) fn past(&self) -> Option<&Arc<Past>> {
        self.past.as_ref()
    }

    /// What passes it from now on is kept.
    pub(crate) fn keep_history(&mut self, past: Arc<Past>) {
        self.past = Some(past);
    }

    /// What its type does with messages survives a restart, under this key.
    pub(crate) fn keep_under(&mut self, key: QueueKey, capture: Capture) {
        self.key = Some(key);
        self.capture = Some(capture);
    }

    /// It has been deleted, and what it holds with it. Called without a lock.
    pub(crate) fn deleted(&self) {
        if let Some(Capture::Delay(delayed)) = &self.capture {
            delayed.delete();
        }
        if let Some(past) = &self.past {
            past.delete();
        }
    }

    /// Whether a binding leads from it to anything.
    pub(crate) fn is_in_use(&self) -> bool {
        self.outgoing > 0
    }

    pub(crate) fn router(&self) -> &Router {
        &self.router
    }

    /// Who is where, and who tells of it, if its type knows that.
    pub(super) fn presence_mut(&mut self) -> Option<(&mut PresenceRouter, &Arc<Announcer>)> {
        let presence = self.router.as_presence_mut()?;
        Some((presence, self.announcer.as_ref()?))
    }
}

/// One binding, seen from its destination.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Binding {
    pub(crate) source: ExchangeId,
    pub(crate) key: Arc<str>,
    pub(crate) arguments: Option<Arc<BindingArguments>>,
}

/// Where a message goes: each queue once.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) queues: Box<[Arc<QueueCell>]>,
    /// Exchanges on the way that keep the message, with how long where they delay it.
    pub(crate) captures: Box<[(Capture, u64)]>,
    /// Exchanges on the way that keep history; few routes have any.
    pub(crate) passes: Option<Box<Passes>>,
    /// Nothing but exchange and routing key led here, so it may be remembered by them.
    pub(crate) follows_from_key: bool,
}

/// The routing keys of a message (its own and those of its CC and BCC headers) and its headers.
#[derive(Clone, Debug)]
pub(crate) struct Addressing<'a> {
    pub(crate) keys: SmallVec<[&'a str; 1]>,
    pub(crate) headers: RawTable<'a>,
    pub(crate) properties: RawProperties<'a>,
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
    incoming: HashMap<Destination, HashSet<Binding, Hasher>, Hasher>,
    /// The histories that queues were bound to, which know of that as long as the queue is there.
    left: HashMap<QueueId, Vec<Weak<Past>>, Hasher>,
    recorder: Recorder,
    /// The exchanges that know who is subscribed.
    pub(super) presences: Vec<ExchangeId>,
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
            self.presences.push(id);
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

    /// Adds a binding; false when it was there already.
    pub(crate) fn bind(&mut self, destination: Destination, binding: Binding) -> bool {
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
        bindings.insert(binding);
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
            let past = Arc::downgrade(past);
            let left = self.left.entry(queue).or_default();
            left.retain(|other| other.strong_count() > 0 && !other.ptr_eq(&past));
            left.push(past);
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
        let left = self.left.remove(&id).into_iter().flatten();
        for past in left.filter_map(|past| past.upgrade()) {
            past.forget_queue(id);
        }
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
            let of_this = |binding: &Binding| binding.source == id;
            let removed: Vec<_> = bindings.extract_if(of_this).collect();
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
            self.presences.retain(|other| *other != id);
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
        for binding in self.incoming.remove(&destination).into_iter().flatten() {
            if let Destination::Queue(queue) = destination
                && let Some(past) = self.past_of(&binding)
            {
                past.forget_queue(queue);
            }
            unused.extend(self.forget_outgoing(destination, &binding));
        }
    }

    /// What its source keeps, which may have gone in the same sweep.
    fn past_of(&self, binding: &Binding) -> Option<&Arc<Past>> {
        self.exchanges.get(binding.source.0 as usize)?.past()
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
        let of_each = |(destination, bindings): (&Destination, _)| (*destination, bindings);
        self.incoming
            .iter()
            .map(of_each)
            .flat_map(|(to, bindings): (_, &HashSet<_, _>)| {
                bindings.iter().map(move |binding| (to, binding))
            })
    }

    /// Where one exchange alone sends a message, whatever lies behind; nothing is known of the default exchange.
    pub(crate) fn destinations(
        &self,
        id: ExchangeId,
        addressing: &Addressing<'_>,
    ) -> Vec<Destination> {
        let Addressing {
            headers,
            properties,
            ..
        } = *addressing;
        let mut found = Vec::new();
        for routing_key in &addressing.keys {
            let subject = Subject {
                routing_key,
                headers,
                properties,
            };
            self.exchange(id)
                .router
                .route(&subject, &mut |destination| found.push(destination));
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// For how long an exchange keeps a message before it routes it.
    pub(crate) fn delay_ms(&self, id: ExchangeId, addressing: &Addressing<'_>) -> Option<u64> {
        match self.exchange(id).capture {
            Some(Capture::Delay(_)) => delay_ms(addressing.headers),
            _ => None,
        }
    }

    /// The name of a binding's destination.
    pub(crate) fn destination_name(&self, destination: Destination) -> &Arc<str> {
        match destination {
            Destination::Queue(id) => self.queues[id.0 as usize].name(),
            Destination::Exchange(id) => &self.exchange(id).name,
        }
    }

    /// Where a message published to `exchange` goes.
    ///
    /// Exchanges behind exchanges are visited breadth first and at most once each, so cycles end; an exchange whose
    /// bindings lead nowhere passes the message to its alternate exchange (behaviour reference, 5.4 and 5.9).
    pub(crate) fn route(&self, exchange: ExchangeId, addressing: &Addressing<'_>) -> Route {
        let mut visited: SmallVec<[ExchangeId; 4]> = SmallVec::new();
        let mut queues: SmallVec<[QueueId; 8]> = SmallVec::new();
        let mut captures = Vec::new();
        let mut pasts: SmallVec<[(Arc<Past>, u64); 1]> = SmallVec::new();
        let mut follows_from_key = addressing.keys.len() == 1;
        visited.push(exchange);
        let mut next = 0;
        while let Some(&id) = visited.get(next) {
            next += 1;
            let exchange = self.exchange(id);
            follows_from_key &= exchange.router.looks_at_key_only();
            match &exchange.capture {
                None => {}
                Some(delayed @ Capture::Delay(_)) => {
                    // The header decides.
                    follows_from_key = false;
                    if let Some(delay_ms) = delay_ms(addressing.headers) {
                        captures.push((delayed.clone(), delay_ms));
                        continue;
                    }
                }
                Some(keep @ Capture::Keep(_)) => captures.push((keep.clone(), 0)),
            }
            if let Some(past) = exchange.past() {
                pasts.push((Arc::clone(past), past.version()));
            }
            if !self.route_one(exchange, addressing, &mut queues, &mut visited) {
                let alternate = exchange
                    .alternate
                    .as_ref()
                    .and_then(|name| self.exchange_id(name));
                visit(&mut visited, alternate);
            }
        }
        queues.sort_unstable();
        queues.dedup();
        let queues = queues
            .iter()
            .map(|id| Arc::clone(&self.queues[id.0 as usize]))
            .collect();
        Route {
            queues,
            captures: captures.into(),
            passes: self.passes(exchange, pasts, addressing),
            follows_from_key,
        }
    }

    fn passes(
        &self,
        from: ExchangeId,
        mut pasts: SmallVec<[(Arc<Past>, u64); 1]>,
        addressing: &Addressing<'_>,
    ) -> Option<Box<Passes>> {
        if pasts.is_empty() {
            return None;
        }
        pasts.sort_unstable_by_key(|(past, _)| past.rank());
        let further_keys = addressing.keys.iter().skip(1);
        Some(Box::new(Passes {
            pasts,
            from: Arc::clone(&self.exchange(from).name),
            further_keys: further_keys.map(|key| Box::from(*key)).collect(),
        }))
    }

    /// Whether the exchange had any destination for the message.
    fn route_one(
        &self,
        exchange: &Exchange,
        addressing: &Addressing<'_>,
        queues: &mut SmallVec<[QueueId; 8]>,
        visited: &mut SmallVec<[ExchangeId; 4]>,
    ) -> bool {
        let mut found_any = false;
        for routing_key in &addressing.keys {
            if exchange.name.is_empty() {
                // The default exchange: every queue is bound to it by its name.
                if let Some(id) = self.queue_names.get(*routing_key) {
                    queues.push(*id);
                    found_any = true;
                }
                continue;
            }
            let Addressing {
                headers,
                properties,
                ..
            } = *addressing;
            let subject = Subject {
                routing_key,
                headers,
                properties,
            };
            exchange.router.route(&subject, &mut |destination| {
                found_any = true;
                match destination {
                    Destination::Queue(id) => queues.push(id),
                    Destination::Exchange(id) => visit(visited, Some(id)),
                }
            });
        }
        found_any
    }
}

fn visit(visited: &mut SmallVec<[ExchangeId; 4]>, exchange: Option<ExchangeId>) {
    if let Some(id) = exchange
        && !visited.contains(&id)
    {
        visited.push(id);
    }
}

/// Slab keys are dense: more than four billion exchanges or queues would not fit any memory.
fn to_id(key: usize) -> u32 {
    u32::try_from(key).expect("fewer than 2^32 exchanges or queues")
}
