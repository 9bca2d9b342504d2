//! Binding a queue to an exchange that keeps history.

use std::sync::Arc;

use leveret_amqp_codec::{RawTable, ValueRef};
use leveret_queue_store::{Message, Time};
use parking_lot::RwLockWriteGuard;

use super::arranged::Arranged;
use super::kept::Found;
use super::position::{ResumeFrom, marked};
use super::{Loose, Past, State};
use crate::exchange::{Destination, ExchangeKind, QueueId};
use crate::metadata::Ticket;
use crate::quota::Seat;
use crate::vhost::queue::Afterwards;
use crate::vhost::topology::{Binding, Topology};
use crate::vhost::{QueueCell, VirtualHost};

/// The queue argument that says from where on the queue wants the history of what it is bound to.
pub(crate) const RESUME_FROM: &str = "x-resume-from";

/// What a new binding gives its queue at once.
struct Replay {
    messages: Vec<Message>,
    /// Messages are missing, up to this number, and the next that comes has to say so.
    missing_to: Option<u64>,
    /// From that number on the queue has everything.
    after: u64,
}

impl VirtualHost {
    /// Makes a binding to a queue that is not there yet, and gives the queue what is kept and matches it, unless it has had
    /// it. Until then no message passes the exchange. `then` is done with the topology when the binding is made.
    ///
    /// What a durable queue is given is written like any persistent message, but the answer to the binding does not wait
    /// for it: a crash within a tenth of a second may take it, and with it the history that it came from.
    pub(in crate::vhost) fn join(
        &self,
        now: Time,
        mut topology: RwLockWriteGuard<'_, Topology>,
        (past, queue): (&Arc<Past>, &Arc<QueueCell>),
        (binding, seat): (Binding, Option<Seat>),
        resume: Option<ResumeFrom>,
        then: impl FnOnce(&mut Topology),
    ) -> Ticket {
        let key = Arc::clone(&binding.key);
        let resume = resume.or_else(|| resume_of(queue.definition().arguments.table()));
        let mut state = past.state.lock();
        past.change();
        topology.bind(Destination::Queue(queue.id()), binding, seat);
        then(&mut topology);
        let announcements = topology.take_announcements();
        // From here on publishers find the queue, and wait for the history; everybody else goes on.
        let ticket = self.topology_changed(topology);
        let replay = past.replay(&mut state, now, queue.id(), &key, resume);
        state.spans.open(queue.id(), &key, replay.after);
        if let Some(number) = replay.missing_to {
            state.gaps.insert(queue.id(), number);
        }
        let messages = replay.messages.into_iter();
        let mut afterwards = Afterwards::default();
        queue.publish_locked(
            now,
            messages.map(|message| (message, u32::MAX)),
            &mut Vec::new(),
            &mut afterwards,
        );
        let loose: Loose = Past::settle_up(&mut state);
        drop(state);
        announcements.make(self, now);
        queue.follow_up(now, afterwards);
        past.follow_up(loose);
        ticket
    }
}

impl Past {
    fn replay(
        &self,
        state: &mut State,
        now: Time,
        queue: QueueId,
        key: &Arc<str>,
        resume: Option<ResumeFrom>,
    ) -> Replay {
        let last = self.positions.last();
        let nothing = |missing_to| Replay {
            messages: Vec::new(),
            missing_to,
            after: last,
        };
        let (after, is_known) = match resume {
            None | Some(ResumeFrom::Next) => return nothing(None),
            Some(ResumeFrom::First) => (0, true),
            Some(ResumeFrom::After(position)) => match self.positions.number(position) {
                Some(number) => (number, true),
                None => (0, false),
            },
            Some(ResumeFrom::AfterUnknown) => (0, false),
        };
        state.kept.expire(now);
        let Found {
            mut messages,
            lost,
            is_missing,
        } = self.find(state, now, queue, key, after);
        if !self.services.has_room_for(&messages) {
            return nothing(Some(last));
        }
        let is_missing = !is_known || (is_missing && resume != Some(ResumeFrom::First));
        let mut missing_to = is_missing.then_some(lost);
        if let Some(first) = messages.first_mut()
            && let Some(number) = missing_to.take()
        {
            *first = marked(first, self.positions.position(number));
        }
        Replay {
            messages,
            missing_to,
            after,
        }
    }

    /// What is kept after a number that the key leads to and the queue has not had.
    fn find(
        &self,
        state: &mut State,
        now: Time,
        queue: QueueId,
        key: &Arc<str>,
        after: u64,
    ) -> Found {
        let State { kept, spans, .. } = state;
        let wanted = Arranged::new(self.kind, [key]);
        let had = spans.had_by(queue, self.kind);
        let only = self.leads_to_one_key(key).then_some(&**key);
        kept.find(now, after, only, |key| {
            let had = || had.as_ref().map_or_else(Vec::new, |had| had.of(key));
            wanted.leads(key).then(had)
        })
    }

    /// Whether messages with one routing key alone, this one, can come by a binding. Clients that come back all at once
    /// to a room each must not have all rooms looked at for every one of them.
    fn leads_to_one_key(&self, binding_key: &str) -> bool {
        match self.kind {
            ExchangeKind::Direct => true,
            ExchangeKind::Topic => !binding_key.split('.').any(|word| matches!(word, "*" | "#")),
            _ => false,
        }
    }
}

/// What the arguments of a queue ask for. What they say was looked at when it was declared.
fn resume_of(arguments: RawTable<'_>) -> Option<ResumeFrom> {
    arguments
        .get(RESUME_FROM)
        .and_then(ValueRef::as_str)?
        .parse()
        .ok()
}
