//! The way of a message from a publisher to its queues: routes remembered, messages handed over in batches.

mod keys;
mod passing;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::iter;
use std::sync::Arc;

use leveret_amqp_codec::{RawProperties, RawTable};
use leveret_queue_store::{Lsn, Message, SmallMessage, Time};
use smallvec::smallvec;

use super::VirtualHost;
use super::queue::{QueueCell, Ticket};
use super::topology::{Addressing, Capture, Route, Topology};
use crate::access::{Caller, Resource, Right};
use crate::error::Refusal;
use crate::exchange::ExchangeId;
use crate::outbox::Outbox;
use keys::{has_further_keys, routing_keys};
use passing::Passing;

pub(super) use keys::publishable_keys;

type Hasher = foldhash::fast::RandomState;

/// How many routes one publisher remembers. A publisher with more keys than this starts anew when it is full.
const CACHED_ROUTES_MAX: usize = 16_384;

/// How many places in queues the messages of a batch take beside one each before it is [heavy](PublishBatch::is_heavy): ten
/// milliseconds of work, and a megabyte and a half. To look at as many bindings takes about as long.
const PLACES_MAX: usize = 65_536;

/// To how many [places](Route::places) these lead, counted for each route: behind a fanout exchange with thousands of queues
/// every key has a list of them. A single route that has more is remembered alone.
const CACHED_PLACES_MAX: usize = 65_536;

/// What a publisher remembers of the virtual host's routing, so that a repeated (exchange, routing key) needs neither a
/// lock nor the exchange's index.
///
/// Valid for one generation of the topology and of its owner's rights: a route that is in it may be used without asking
/// again whether the publisher may. The first publish after a change finds it empty. Bounded by [`CACHED_ROUTES_MAX`] and
/// [`CACHED_PLACES_MAX`].
#[derive(Debug, Default)]
pub(crate) struct RouteCache {
    generation: u64,
    /// By exchange and routing key: the first one's length in one byte, then both.
    routes: HashMap<Box<[u8]>, Arc<Route>, Hasher>,
    /// To how many places they lead, each counted.
    places: usize,
    /// The latest answer, for publishers that always send the same way, and its key.
    latest: Option<Arc<Route>>,
    latest_key: Vec<u8>,
    /// How often another answer has become the latest, or all were forgotten.
    answers: u64,
    /// The latest answer is out, and comes [back](RouteCache::put_back).
    is_lent: bool,
    /// It is never lent, see [`RouteCache::counting`].
    counts: bool,
    /// The key that is being looked for.
    key: Vec<u8>,
    /// What was looked at for routes that were not remembered, and how many exchanges keep a message that goes by one that
    /// was, since it was last said that this is [enough for one turn](RouteCache::begin_turn).
    looked_at: usize,
}

impl RouteCache {
    /// For publishers that do not [put back](RouteCache::put_back) what they are given.
    pub(crate) fn counting() -> Self {
        Self {
            counts: true,
            ..Self::default()
        }
    }

    fn remember(&mut self, route: &Arc<Route>) {
        let more = route.places();
        if self.routes.len() >= CACHED_ROUTES_MAX || self.places + more > CACHED_PLACES_MAX {
            self.routes.clear();
            self.places = 0;
        }
        self.places += more;
        self.routes
            .insert(self.key.as_slice().into(), Arc::clone(route));
    }

    /// Takes back the latest answer, which is lent: to count who has it, a processor would wait until everything that was
    /// written before is in its cache, the message among it. What does not come back is looked up again.
    #[inline]
    pub(crate) fn put_back(&mut self, route: Arc<Route>) {
        if std::mem::take(&mut self.is_lent) {
            self.latest = Some(route);
        }
    }

    // Always: the caller that seldom asks would keep it out of the one that does for each message.
    #[inline(always)]
    fn find(&mut self, generation: u64, exchange: &str, routing_key: &str) -> Option<Arc<Route>> {
        if self.generation != generation {
            self.forget();
            self.generation = generation;
        }
        self.key.clear();
        // Names come from short strings: 255 bytes at most.
        self.key.push(exchange.len() as u8);
        self.key.extend_from_slice(exchange.as_bytes());
        self.key.extend_from_slice(routing_key.as_bytes());
        if self.latest_key == self.key
            && let Some(route) = &self.latest
        {
            if self.counts {
                return Some(Arc::clone(route));
            }
            self.is_lent = true;
            return self.latest.take();
        }
        self.find_other()
    }

    /// An answer that is not the latest, and is so from now on.
    #[inline(never)]
    fn find_other(&mut self) -> Option<Arc<Route>> {
        let route = Arc::clone(self.routes.get(self.key.as_slice())?);
        self.latest = Some(Arc::clone(&route));
        self.latest_key.clone_from(&self.key);
        self.answers += 1;
        Some(route)
    }

    /// Makes the answer to this the latest, if it is known, and says what it is to be [asked for](RouteCache::latest) by.
    /// None as well if a message that goes this way is kept by an exchange, or reaches no queue.
    #[inline(never)]
    pub(crate) fn answer(
        &mut self,
        generation: u64,
        exchange: &str,
        routing_key: &str,
    ) -> Option<u64> {
        let route = self.find(generation, exchange, routing_key)?;
        let is_plain = route.captures.is_empty() && !route.queues.is_empty();
        self.put_back(route);
        is_plain.then_some(self.answers)
    }

    /// The latest answer, if it still is the one that was called this, and holds.
    #[inline]
    pub(crate) fn latest(&self, generation: u64, answer: u64) -> Option<&Arc<Route>> {
        let is_the_same = self.generation == generation && self.answers == answer;
        self.latest.as_ref().filter(|_| is_the_same)
    }

    /// Whether finding routes has taken so much that others are to have their turn: a few bytes of a client may be a look at
    /// a hundred thousand bindings to a headers exchange, or a message that as many exchanges keep.
    #[inline]
    pub(crate) fn has_looked_far(&self) -> bool {
        self.looked_at >= PLACES_MAX
    }

    /// Others have had their turn.
    pub(crate) fn begin_turn(&mut self) {
        self.looked_at = 0;
    }

    /// Gives the memory back.
    pub(crate) fn forget(&mut self) {
        *self = Self {
            counts: self.counts,
            answers: self.answers + 1,
            ..Self::default()
        };
    }
}

/// Messages of one publisher on their way to their queues, so that each queue is locked once for all of them.
///
/// The order in which a publisher sends is kept for each queue. Nothing is routed or counted until
/// [`PublishBatch::flush`]; whoever fills a batch flushes it before doing anything that must see its messages.
#[derive(Debug, Default)]
pub(crate) struct PublishBatch {
    buckets: Vec<Bucket>,
    /// How many of the buckets are in use; the others keep their capacity for the next batch.
    used: usize,
    /// Which bucket is a queue's, by the queue's address, which the bucket keeps alive. Only consulted when the route is not that of the message before.
    places: HashMap<usize, u32, Hasher>,
    latest: Option<Arc<Route>>,
    latest_places: Vec<u32>,
    /// How many places its messages take, but for those that take one.
    places_taken: usize,
    /// A connection that is behind with what it was given.
    behind: Option<Arc<Outbox>>,
    /// What passes an exchange that keeps history, and everything behind it. Nearly always none.
    passing: Option<Box<Waiting>>,
}

/// Messages that are in no bucket yet.
#[derive(Debug, Default)]
struct Waiting {
    messages: Vec<Passing>,
}

#[derive(Debug)]
struct Bucket {
    queue: Arc<QueueCell>,
    messages: Vec<(Message, Ticket)>,
}

impl PublishBatch {
    /// [`PublishBatch::push`] for publishers that always send the same way to one queue: their messages go to its bucket from
    /// registers, for the reason given at [`SmallMessage`].
    #[inline]
    pub(crate) fn push_small(&mut self, route: &Arc<Route>, message: SmallMessage, ticket: Ticket) {
        if self.is_latest(route)
            && let [place] = self.latest_places[..]
        {
            let messages = &mut self.buckets[place as usize].messages;
            // Not `push`, whose argument goes through memory.
            return messages.extend(iter::once_with(|| (message.into(), ticket)));
        }
        self.push(route, message.into(), ticket);
    }

    /// Adds a message for every queue of the route.
    pub(crate) fn push(&mut self, route: &Arc<Route>, message: Message, ticket: Ticket) {
        if !self.is_latest(route) {
            if route.passes.is_some() || self.passing.is_some() {
                // Nothing may be looked up as if it had been the latest in a bucket.
                self.latest = None;
                let kept = route.passes.as_ref().map_or(0, |passes| passes.entries());
                self.places_taken += route.queues.len() + kept;
                let waiting = self.passing.get_or_insert_default();
                return waiting.messages.push(Passing::new(route, message, ticket));
            }
            self.find_places(route);
        }
        self.place_found(message, ticket);
    }

    /// Whether the buckets of this route were looked up last.
    fn is_latest(&self, route: &Arc<Route>) -> bool {
        let latest = self.latest.as_ref();
        latest.is_some_and(|latest| Arc::ptr_eq(latest, route))
    }

    /// Adds a message to the buckets of its route.
    fn place(&mut self, route: &Arc<Route>, message: Message, ticket: Ticket) {
        if !self.is_latest(route) {
            self.find_places(route);
        }
        self.place_found(message, ticket);
    }

    /// Adds to the bucket of each queue of a route what `make` makes for it.
    fn place_each(
        &mut self,
        route: &Arc<Route>,
        ticket: Ticket,
        mut make: impl FnMut(&QueueCell) -> Message,
    ) {
        self.find_places(route);
        for (queue, place) in route.queues.iter().zip(&self.latest_places) {
            let messages = &mut self.buckets[*place as usize].messages;
            messages.push((make(queue), ticket));
        }
    }

    /// Adds a message to the buckets that were looked up.
    fn place_found(&mut self, message: Message, ticket: Ticket) {
        let Some((&last, others)) = self.latest_places.split_last() else {
            return;
        };
        if others.is_empty() {
            return self.buckets[last as usize].messages.push((message, ticket));
        }
        self.places_taken += others.len();
        for &place in others {
            // Made where it stays, for the reason given at [`SmallMessage`].
            let messages = &mut self.buckets[place as usize].messages;
            messages.extend(iter::once_with(|| (message.clone(), ticket)));
        }
        self.buckets[last as usize].messages.push((message, ticket));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.used == 0 && self.passing.is_none()
    }

    /// Whether it is to be flushed before more is added, so that others get their turn: a few bytes of a client may be a
    /// message for each of a hundred thousand queues.
    #[inline]
    pub(crate) fn is_heavy(&self) -> bool {
        self.places_taken >= PLACES_MAX
    }

    /// What it counts until it is heavy, or flushed.
    pub(crate) fn places_taken(&self) -> usize {
        self.places_taken
    }

    fn find_places(&mut self, route: &Arc<Route>) {
        self.latest_places.clear();
        for queue in &route.queues {
            let place = *self
                .places
                .entry(Arc::as_ptr(queue) as usize)
                .or_insert_with(|| {
                    match self.buckets.get_mut(self.used) {
                        Some(bucket) => bucket.queue = Arc::clone(queue),
                        None => self.buckets.push(Bucket {
                            queue: Arc::clone(queue),
                            messages: Vec::new(),
                        }),
                    }
                    self.used += 1;
                    // A batch comes from one read, which has room for fewer messages than this.
                    (self.used - 1) as u32
                });
            self.latest_places.push(place);
        }
        self.latest = Some(Arc::clone(route));
    }

    /// Hands everything to the queues. The tickets of messages that a queue refused are added to `refused`, in no
    /// particular order and perhaps several times. Tells up to where the journal must be safe before the messages are,
    /// if any of them has to be.
    pub(crate) fn flush(&mut self, now: Time, refused: &mut Vec<Ticket>) -> Option<Lsn> {
        if self.is_empty() {
            return None;
        }
        let mut safe_at = self.hand_over(now, refused);
        if let Some(waiting) = self.passing.take() {
            safe_at = safe_at.max(self.flush_passing(now, waiting.messages, refused));
        }
        if std::mem::take(&mut self.places_taken) > PLACES_MAX / 4 {
            self.give_back();
        }
        safe_at
    }

    /// Gives back what was for more than a batch takes: each of many buckets may have been the large one once.
    fn give_back(&mut self) {
        let kept = self.buckets.iter().map(|bucket| bucket.messages.capacity());
        if kept.sum::<usize>() > 2 * PLACES_MAX {
            self.buckets = Vec::new();
        }
    }

    /// Hands what is in the buckets to the queues.
    fn hand_over(&mut self, now: Time, refused: &mut Vec<Ticket>) -> Option<Lsn> {
        let mut safe_at = None;
        for bucket in &mut self.buckets[..self.used] {
            let accepted = bucket
                .queue
                .publish(now, bucket.messages.drain(..), refused);
            safe_at = safe_at.max(accepted.safe_at);
            if accepted.behind.is_some() {
                self.behind = accepted.behind;
            }
        }
        self.forget_places();
        safe_at
    }

    fn forget_places(&mut self) {
        self.used = 0;
        self.places.clear();
        self.latest = None;
    }

    /// The connection of a consumer that could not be given all that was flushed, because it has enough to write. Who
    /// publishes more than it can take may [wait](crate::outbox::Pace) for it.
    pub(crate) fn take_behind(&mut self) -> Option<Arc<Outbox>> {
        self.behind.take()
    }
}

impl VirtualHost {
    /// Where a caller's message goes. The answer comes from the cache when it can, which is that caller's own.
    ///
    /// # Errors
    /// 403 without the right to write to the exchange or to use the key, 404 when it does not exist, 403 when it is
    /// internal, 406 for CC or BCC headers that are not arrays or have too many keys.
    pub(crate) fn route(
        &self,
        caller: &Caller,
        cache: &mut RouteCache,
        exchange: &str,
        routing_key: &str,
        properties: RawProperties<'_>,
        headers: Option<RawTable<'_>>,
    ) -> Result<Arc<Route>, Refusal> {
        // What was lent before and has not come back stays away: another route in its place would be taken for it.
        cache.is_lent = false;
        // A route in the cache followed from its key alone, but a message with further keys goes further.
        let has_further_keys = headers.is_some_and(has_further_keys);
        let generation = self.generation();
        if !has_further_keys && let Some(route) = cache.find(generation, exchange, routing_key) {
            // Whoever asks hands them the message, and not by a batch.
            cache.looked_at += route.captures.len();
            return Ok(route);
        }
        caller.require(Right::Write, Resource::Exchange(exchange))?;
        let topology = self.topology.read();
        let id = self.require_publishable(&topology, exchange)?;
        let headers = headers.unwrap_or(RawTable::EMPTY);
        let keys = match has_further_keys {
            true => publishable_keys(routing_key, headers)?,
            false => smallvec![routing_key],
        };
        if topology.exchange(id).kind.has_topics() {
            // RabbitMQ 4 looks at the further keys too; without that, a header would be a way around.
            caller.require_keys(Right::Write, exchange, &keys)?;
        }
        let route = Arc::new(topology.route(
            id,
            &Addressing {
                keys,
                headers,
                properties,
            },
        ));
        drop(topology);
        cache.looked_at += route.looked_at;
        if route.follows_from_key && !has_further_keys {
            cache.remember(&route);
        }
        Ok(route)
    }

    /// A route found some time ago, with the queues that have its queues' names now. Bindings do not count again.
    pub(crate) fn renew(&self, route: Arc<Route>) -> Arc<Route> {
        let topology = self.topology.read();
        let is_there = |queue: &Arc<QueueCell>| {
            let now = topology.queue(queue.name());
            now.is_some_and(|now| Arc::ptr_eq(now, queue))
        };
        if route.queues.iter().all(is_there) {
            return route;
        }
        let queues = route.queues.iter();
        Arc::new(Route {
            queues: queues
                .filter_map(|queue| topology.queue(queue.name()).cloned())
                .collect(),
            captures: route.captures.clone(),
            passes: route.passes.clone(),
            follows_from_key: false,
            looked_at: 0,
        })
    }
}

impl VirtualHost {
    /// The exchange of this name, for a client that publishes to it.
    pub(super) fn require_publishable(
        &self,
        topology: &Topology,
        name: &str,
    ) -> Result<ExchangeId, Refusal> {
        let id = self.require_exchange(topology, name)?;
        if topology.exchange(id).internal {
            let phrase = self.exchange_phrase(name);
            return Err(Refusal::access_refused(format!(
                "cannot publish to internal {phrase}"
            )));
        }
        Ok(id)
    }

    /// Hands a message to the exchanges on its way that keep it. Tells up to where the journal must be safe before they
    /// have it for good, if they are to.
    #[inline]
    pub(crate) fn capture(&self, now: Time, route: &Route, message: &Message) -> Option<Lsn> {
        // Hardly any exchange keeps messages.
        if route.captures.is_empty() {
            return None;
        }
        Self::capture_all(now, route, message)
    }

    fn capture_all(now: Time, route: &Route, message: &Message) -> Option<Lsn> {
        let mut safe_at = None;
        for (capture, delay_ms) in &route.captures {
            match capture {
                Capture::Delay(delayed) => {
                    safe_at = safe_at.max(delayed.schedule(now, *delay_ms, message));
                }
                Capture::Keep(history) => history.keep(message),
            }
        }
        safe_at
    }

    /// Routes a message that no client publishes, or not now: nobody is told what becomes of it. An exchange that does
    /// not exist (any more) swallows it.
    pub(super) fn publish_internally(&self, now: Time, exchange: &str, message: &Message) {
        if let Some(route) = self.route_internally(exchange, message) {
            self.publish_by(now, route, message);
        }
    }

    /// The same by a way that has been found.
    pub(super) fn publish_by(&self, now: Time, route: Route, message: &Message) {
        self.capture(now, &route, message);
        if route.passes.is_some() {
            Self::pass(now, Arc::new(route), message.clone(), &mut Vec::new());
            return;
        }
        for queue in &route.queues {
            queue.publish(
                now,
                iter::once((message.clone(), Ticket::MAX)),
                &mut Vec::new(),
            );
        }
    }

    /// Where a message goes by its own key and its CC header.
    pub(super) fn route_internally(&self, exchange: &str, message: &Message) -> Option<Route> {
        let properties = RawProperties::from_validated_bytes(message.properties());
        let headers = properties.headers().unwrap_or(RawTable::EMPTY);
        // The headers were acceptable when the message was published.
        let own = message.routing_key();
        let keys = routing_keys(own, headers).unwrap_or_else(|_| smallvec![own]);
        let topology = self.topology.read();
        let exchange = topology.exchange_id(exchange)?;
        Some(topology.route(
            exchange,
            &Addressing {
                keys,
                headers,
                properties,
            },
        ))
    }

    pub(super) fn publish_to_queue(&self, now: Time, queue: &str, message: &Message) {
        let queue = self.topology.read().queue(queue).cloned();
        if let Some(queue) = queue {
            queue.publish(
                now,
                iter::once((message.clone(), Ticket::MAX)),
                &mut Vec::new(),
            );
        }
    }
}
