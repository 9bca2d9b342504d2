//! The consumers of a queue: they come, they go, and they are told where their deliveries are.

use std::iter;
use std::sync::Arc;

use leveret_amqp_codec::ChannelId;
use leveret_queue_store::{
    ConsumeError, ConsumerId, ConsumerOptions, DeliveryId, Effect, Settlement, Time,
};

use super::{QueueCell, State};
use crate::connection::ConnectionId;
use crate::outbox::{ConsumerKey, Outbox};
use crate::vhost::ConsumerSeats;

/// The broker's side of a consumer: where its deliveries go.
#[derive(Debug)]
pub(crate) struct ConsumerLink {
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) channel: ChannelId,
    pub(crate) key: ConsumerKey,
    pub(crate) holder: ConnectionId,
    /// The consumer's tag, where it has one.
    pub(crate) tag: Option<Arc<str>>,
    pub(crate) _seats: ConsumerSeats,
}

/// Why a consumer could not be registered.
#[derive(Debug)]
pub(crate) enum CannotConsume {
    Refused(ConsumeError),
    QueueGone,
}

impl QueueCell {
    /// Registers a consumer. Its deliveries may be in its outbox before this returns. A quorum queue lets others consume beside
    /// an exclusive one, as in RabbitMQ.
    ///
    /// # Errors
    /// When an exclusive consumer stands in the way, or the queue was deleted after it had been looked up.
    pub(crate) fn consume(
        self: &Arc<Self>,
        now: Time,
        mut options: ConsumerOptions,
        link: ConsumerLink,
    ) -> Result<ConsumerId, CannotConsume> {
        options.exclusive &= !self.is_quorum();
        self.with(now, |state, now, effects| {
            if state.deleted {
                return Err(CannotConsume::QueueGone);
            }
            let id = state
                .queue
                .consume(now, options, effects)
                .map_err(CannotConsume::Refused)?;
            let at = id.index();
            if state.links.capacity() == 0 {
                // A vector would begin with four, and very many queues have one consumer.
                state.links.reserve_exact(1);
            }
            if state.links.len() <= at {
                state.links.resize_with(at + 1, || None);
            }
            state.links[at] = Some((id, link));
            state.had_consumer = true;
            Ok(id)
        })
    }

    /// Takes a consumer away; nothing is put into its outbox from now on. An auto-delete queue goes with its last one.
    pub(crate) fn cancel(self: &Arc<Self>, now: Time, consumer: ConsumerId) {
        self.cancel_and_return(now, consumer, Vec::new);
    }

    /// Takes a consumer away, then gives back what `unseen` tells was assigned to it and never looked at. An auto-delete
    /// queue goes with its last consumer.
    pub(crate) fn cancel_and_return(
        self: &Arc<Self>,
        now: Time,
        consumer: ConsumerId,
        unseen: impl FnOnce() -> Vec<DeliveryId>,
    ) {
        let unused = self.take_out(now, consumer);
        // Serves others, also when nothing comes back.
        self.settle(now, unseen().into_iter(), Settlement::Abandon);
        if unused {
            self.go_if_unused(now);
        }
    }

    /// Takes a consumer away whose deliveries are about to come back, without serving others before they have. To be
    /// followed by [`QueueCell::serve`]. An auto-delete queue goes with its last consumer.
    pub(crate) fn withdraw(self: &Arc<Self>, now: Time, consumer: ConsumerId) {
        if self.take_out(now, consumer) {
            self.go_if_unused(now);
        }
    }

    /// Serves others in the place of consumers that were withdrawn.
    pub(crate) fn serve(self: &Arc<Self>, now: Time) {
        self.settle(now, iter::empty(), Settlement::Abandon);
    }

    /// True when it was the last one.
    fn take_out(self: &Arc<Self>, now: Time, consumer: ConsumerId) -> bool {
        self.with(now, |state, now, _| {
            if state.deleted {
                return false;
            }
            state.queue.withdraw(now, consumer);
            // One that was too slow is there no more, and somebody else may have its place.
            if let Some(link) = state.links.get_mut(consumer.index()) {
                link.take_if(|(id, _)| *id == consumer);
            }
            state.had_consumer && state.queue.consumer_len() == 0
        })
    }

    fn go_if_unused(self: &Arc<Self>, now: Time) {
        if self.definition.auto_delete
            && let Some(vhost) = self.vhost.upgrade()
        {
            vhost.remove_queue_if(self, now, |counts| counts.consumers == 0);
        }
    }
}

impl State {
    /// The connection that is to write what was published last, if it is [behind](Outbox::is_behind). The effects are those
    /// of the publishing.
    pub(super) fn behind(&self, effects: &[Effect]) -> Option<Arc<Outbox>> {
        let consumer = match effects.last() {
            Some(Effect::Deliver { consumer, .. }) => *consumer,
            _ if self.queue.ready_len() > 0 => self.queue.held_consumer()?,
            _ => return None,
        };
        let (id, link) = self.links.get(consumer.index())?.as_ref()?;
        (*id == consumer && link.outbox.is_behind()).then(|| Arc::clone(&link.outbox))
    }
}
