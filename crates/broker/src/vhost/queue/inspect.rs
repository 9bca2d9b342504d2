//! How a queue stands and what is in it, for those who look and touch nothing.

use std::sync::Arc;

use leveret_queue_store::{BrowsedItem, ConsumerOptions, DeliveryId, Message, Time};

use super::{ConsumerLink, QueueCell, State};
use crate::connection::ConnectionId;

/// A message that somebody holds and has not settled.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Unacked {
    /// The consumer's tag. None for a message that was got without a consumer, for one whose consumer has been cancelled,
    /// and for consumers in this process.
    pub consumer_tag: Option<Arc<str>>,
    /// The channel of the consumer on its connection.
    pub channel: Option<u16>,
    /// The connection's name, `PEER_IP:PEER_PORT -> LOCAL_IP:LOCAL_PORT`, where the consumer has a socket.
    pub connection: Option<String>,
    /// When it was delivered.
    pub since: Time,
    /// How often it had come back before.
    pub delivery_count: u32,
    /// The message.
    pub message: Message,
    pub(crate) holder: Option<ConnectionId>,
}

/// How a queue stands, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) ready: u64,
    pub(crate) unacked: u64,
    pub(crate) consumers: u64,
}

/// The same, with what it takes.
#[derive(Clone, Copy, Debug)]
pub(in crate::vhost) struct QueueStanding {
    pub(in crate::vhost) counts: Counts,
    pub(in crate::vhost) ready_bytes: u64,
    pub(in crate::vhost) unacked_bytes: u64,
    pub(in crate::vhost) resident: u64,
    pub(in crate::vhost) memory_bytes: u64,
}

impl QueueCell {
    pub(crate) fn counts(&self) -> Counts {
        let state = self.state.lock();
        state.counts()
    }

    /// Calls `look` with each ready message in delivery order until it returns false. Nothing is touched; the queue is
    /// locked meanwhile, so `look` must be quick.
    pub(crate) fn browse(&self, mut look: impl FnMut(&Message, bool) -> bool) {
        let state = self.state.lock();
        for item in state.queue.browse() {
            let goes_on = match item {
                BrowsedItem::Message(browsed) => look(browsed.message, browsed.redelivered),
                BrowsedItem::Page { page, slots, .. } => self
                    .disk
                    .as_ref()
                    .is_none_or(|disk| disk.browse_page(page, slots, &mut look)),
            };
            if !goes_on {
                break;
            }
        }
    }

    /// When a message was delivered that is not settled yet.
    pub(crate) fn delivered_at(&self, id: DeliveryId) -> Option<Time> {
        self.state.lock().queue.delivered_at(id)
    }

    /// What is delivered and not settled, and who has it, in the order of delivery. The connections' names are
    /// left out.
    pub(crate) fn unacked(&self) -> Vec<Unacked> {
        let state = self.state.lock();
        let mut held: Vec<_> = state.queue.unacked().collect();
        held.sort_unstable_by_key(|held| held.id);
        let held = held.into_iter().map(|held| {
            let link = held
                .consumer
                .and_then(|consumer| state.links.get(consumer.index())?.as_ref());
            let link = link.map(|(_, link)| link);
            Unacked {
                consumer_tag: link.and_then(|link| link.tag.clone()),
                channel: link
                    .filter(|link| link.tag.is_some())
                    .map(|link| link.channel.0),
                connection: None,
                since: held.since,
                delivery_count: held.delivery_count,
                message: held.message.clone(),
                holder: link.map(|link| link.holder),
            }
        });
        held.collect()
    }

    /// How the queue stands, with what it takes.
    pub(in crate::vhost) fn standing(&self) -> QueueStanding {
        let state = self.state.lock();
        QueueStanding {
            counts: state.counts(),
            ready_bytes: state.queue.ready_bytes(),
            unacked_bytes: state.queue.unacked_bytes(),
            resident: state.queue.resident_len() as u64,
            memory_bytes: state.accounted as u64,
        }
    }

    /// What `look` makes of each consumer that has not been cancelled. The queue is locked meanwhile.
    pub(in crate::vhost) fn each_consumer<T>(
        &self,
        look: impl Fn(&ConsumerLink, &ConsumerOptions, bool) -> T,
    ) -> Vec<T> {
        let state = self.state.lock();
        let links = state.links.iter().flatten();
        links
            .filter_map(|(id, link)| {
                let options = state.queue.consumer_options(*id)?;
                Some(look(link, options, state.queue.is_active(*id)))
            })
            .collect()
    }
}

impl State {
    pub(super) fn counts(&self) -> Counts {
        Counts {
            ready: self.queue.ready_len() as u64,
            unacked: self.queue.unacked_len() as u64,
            consumers: self.queue.consumer_len() as u64,
        }
    }
}
