//! Messages whose way leads through exchanges that keep history.
//!
//! What goes to one of those does not go into the buckets when it is published, but waits in order with everything behind
//! it. When the batch is handed over, the histories of each run of messages are locked once: under that lock each message
//! gets its position, is kept, and the queues get all of them. See [`super::super::past`] for why.

use std::sync::Arc;

use leveret_amqp_codec::{RawProperties, RawTable};
use leveret_queue_store::{Lsn, Message, Time};
use smallvec::SmallVec;

use super::PublishBatch;
use crate::vhost::VirtualHost;
use crate::vhost::dead_letter::Cycle;
use crate::vhost::past::{Crossing, Passes};
use crate::vhost::queue::{Afterwards, QueueCell, Ticket};
use crate::vhost::topology::{Addressing, Route, Topology};

/// How often a way is found anew without keeping bindings from being changed meanwhile. Where queues are bound at a great
/// rate the publisher then makes them wait, so that its message gets through.
const TRIES_MAX: usize = 3;

/// A message that waits for its turn.
#[derive(Debug)]
pub(super) struct Passing {
    route: Arc<Route>,
    message: Message,
    ticket: Ticket,
    /// Where a dead letter does not return to, whichever way it finds.
    cycle: Option<Cycle>,
}

impl Passing {
    pub(super) fn new(route: &Arc<Route>, message: Message, ticket: Ticket) -> Self {
        Self {
            route: Arc::clone(route),
            message,
            ticket,
            cycle: None,
        }
    }

    /// Whether both pass the same histories, and found their ways at the same state of these.
    fn goes_with(&self, next: &Self) -> bool {
        match (&self.route.passes, &next.route.passes) {
            (None, None) => true,
            (Some(one), Some(other)) => {
                one.pasts.len() == other.pasts.len()
                    && one
                        .pasts
                        .iter()
                        .zip(&other.pasts)
                        .all(|(one, other)| Arc::ptr_eq(&one.0, &other.0) && one.1 == other.1)
            }
            _ => false,
        }
    }

    /// None when it passes nothing, or the broker is gone.
    fn vhost(&self) -> Option<Arc<VirtualHost>> {
        let (past, _) = self.route.passes.as_ref()?.pasts.first()?;
        past.vhost()
    }

    /// The way as it is now; None when the exchange where it begins is gone.
    fn find_way(&self, topology: &Topology) -> Option<Arc<Route>> {
        let passes = self.route.passes.as_ref()?;
        let properties = RawProperties::from_validated_bytes(self.message.properties());
        let mut keys = SmallVec::from_buf([self.message.routing_key()]);
        keys.extend(passes.further_keys.iter().map(|key| &**key));
        let addressing = Addressing {
            keys,
            headers: properties.headers().unwrap_or(RawTable::EMPTY),
            properties,
        };
        let mut route = topology.route(topology.exchange_id(&passes.from)?, &addressing);
        if let Some(cycle) = &self.cycle {
            let queues = std::mem::take(&mut route.queues).into_iter();
            route.queues = queues.filter(|queue| !cycle.has(queue.name())).collect();
        }
        Some(Arc::new(route))
    }
}

impl PublishBatch {
    /// Hands over what has waited, in order.
    pub(super) fn flush_passing(
        &mut self,
        now: Time,
        passing: Vec<Passing>,
        refused: &mut Vec<Ticket>,
    ) -> Option<Lsn> {
        let mut safe_at = None;
        let mut rest = passing.into_iter().peekable();
        while let Some(first) = rest.next() {
            let mut run: Vec<Passing> = vec![first];
            while let Some(next) = rest.next_if(|next| run[0].goes_with(next)) {
                run.push(next);
            }
            safe_at = safe_at.max(self.flush_run(now, run, refused));
        }
        safe_at
    }

    fn flush_run(
        &mut self,
        now: Time,
        run: Vec<Passing>,
        refused: &mut Vec<Ticket>,
    ) -> Option<Lsn> {
        let route = Arc::clone(&run[0].route);
        let Some(passes) = &route.passes else {
            return self.hand_over_plain(now, run, refused);
        };
        let crossing = Crossing::begin(passes);
        if crossing.is_current() {
            return self.cross(now, crossing, passes, run, refused);
        }
        drop(crossing);
        let mut safe_at = None;
        for passing in run {
            safe_at = safe_at.max(self.cross_anew(now, passing, refused));
        }
        safe_at
    }

    /// Messages that pass nothing, but come after others that do.
    fn hand_over_plain(
        &mut self,
        now: Time,
        run: Vec<Passing>,
        refused: &mut Vec<Ticket>,
    ) -> Option<Lsn> {
        for passing in run {
            self.place(&passing.route, passing.message, passing.ticket);
        }
        self.hand_over(now, refused)
    }

    /// The bindings were changed since the way was found.
    fn cross_anew(
        &mut self,
        now: Time,
        mut passing: Passing,
        refused: &mut Vec<Ticket>,
    ) -> Option<Lsn> {
        let Some(vhost) = passing.vhost() else {
            return self.hand_over_plain(now, vec![passing], refused);
        };
        for tries in 1.. {
            let topology = vhost.topology.read();
            let Some(route) = passing.find_way(&topology) else {
                // As for any message on its way from an exchange that is deleted.
                drop(topology);
                return self.hand_over_plain(now, vec![passing], refused);
            };
            let unchanged = (tries > TRIES_MAX).then_some(topology);
            passing.route = Arc::clone(&route);
            let Some(passes) = &route.passes else {
                break;
            };
            let crossing = Crossing::begin(passes);
            if crossing.is_current() {
                drop(unchanged);
                return self.cross(now, crossing, passes, vec![passing], refused);
            }
        }
        self.hand_over_plain(now, vec![passing], refused)
    }

    fn cross(
        &mut self,
        now: Time,
        mut crossing: Crossing<'_>,
        passes: &Passes,
        run: Vec<Passing>,
        refused: &mut Vec<Ticket>,
    ) -> Option<Lsn> {
        for Passing {
            route,
            message,
            ticket,
            ..
        } in run
        {
            let own = route.passes.as_deref().unwrap_or(passes);
            let message = crossing.pass(now, own, &message);
            if crossing.has_gaps() {
                self.place_each(&route, ticket, |queue| {
                    let marked = crossing.marked(queue.id(), &message);
                    marked.unwrap_or_else(|| message.clone())
                });
            } else {
                self.place(&route, message, ticket);
            }
        }
        let mut following = Vec::new();
        let safe_at = self.hand_over_locked(now, refused, &mut following);
        let loose = crossing.end();
        for (queue, afterwards) in following {
            queue.follow_up(now, afterwards);
        }
        Crossing::follow_up(passes, loose);
        safe_at
    }

    /// [`PublishBatch::hand_over`] for a caller that holds locks.
    fn hand_over_locked(
        &mut self,
        now: Time,
        refused: &mut Vec<Ticket>,
        following: &mut Vec<(Arc<QueueCell>, Afterwards)>,
    ) -> Option<Lsn> {
        let mut safe_at = None;
        for bucket in &mut self.buckets[..self.used] {
            let messages = bucket.messages.drain(..);
            let mut afterwards = Afterwards::default();
            let accepted = bucket
                .queue
                .publish_locked(now, messages, refused, &mut afterwards);
            safe_at = safe_at.max(accepted.safe_at);
            if accepted.behind.is_some() {
                self.behind = accepted.behind;
            }
            following.push((Arc::clone(&bucket.queue), afterwards));
        }
        self.forget_places();
        safe_at
    }
}

impl VirtualHost {
    /// Publishes one message whose way leads through histories. The tickets of those that a queue refused are added to
    /// `refused`.
    pub(crate) fn pass(
        now: Time,
        route: Arc<Route>,
        message: Message,
        refused: &mut Vec<Ticket>,
    ) -> Option<Lsn> {
        let passing = Passing::new(&route, message, 0);
        PublishBatch::default().flush_passing(now, vec![passing], refused)
    }

    /// The same for a dead letter.
    pub(in crate::vhost) fn pass_letter(
        now: Time,
        mut route: Route,
        message: Message,
        cycle: Cycle,
        refused: &mut Vec<Ticket>,
    ) -> Option<Lsn> {
        let queues = std::mem::take(&mut route.queues).into_iter();
        route.queues = queues.filter(|queue| !cycle.has(queue.name())).collect();
        let passing = Passing {
            cycle: Some(cycle),
            ..Passing::new(&Arc::new(route), message, 0)
        };
        PublishBatch::default().flush_passing(now, vec![passing], refused)
    }
}
