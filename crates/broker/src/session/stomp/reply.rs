//! Temporary queues for replies (behaviour reference, section 20.5).

use std::sync::Arc;

use leveret_amqp_codec::RawTable;
use leveret_queue_store::Time;

use super::Session;
use super::destination::Destination;
use super::problem::Problem;
use super::subscribe::Consume;
use super::subscriptions::{AckMode, Consuming};
use crate::access::{Resource, Right};
use crate::session::Output;
use crate::vhost::QueueDeclare;

/// The subscription to a temporary queue is called after it. No client may choose such an id.
pub(super) const TEMP_QUEUE_PREFIX: &str = "/temp-queue/";

impl<'a> Destination<'a> {
    /// Reads a `reply-to` header.
    ///
    /// # Errors
    /// For what cannot be a destination, as in RabbitMQ.
    pub(super) fn parse_reply_to(address: &'a str) -> Result<Self, Problem> {
        Self::parse(address).map_err(|_| Problem::processing())
    }
}

impl Session {
    /// The queue behind a temporary one. The first use of the name makes it, for this session alone, and subscribes.
    pub(super) fn reply_queue(
        &mut self,
        now: Time,
        name: &str,
        out: &mut Output,
    ) -> Result<Arc<str>, Problem> {
        let tag: Arc<str> = format!("{TEMP_QUEUE_PREFIX}{name}").into();
        let known = self.subscriptions.find(&tag);
        if let Some(subscription) = known.and_then(|key| self.subscriptions.get(key)) {
            return Ok(Arc::clone(subscription.queue.name()));
        }
        self.foresee_reply_queue()?;
        self.flush(now, out);
        let declared = self.declare_queue(
            now,
            &QueueDeclare {
                name: "",
                durable: false,
                exclusive: true,
                auto_delete: true,
                arguments: RawTable::EMPTY,
            },
        )?;
        let queue = declared.queue;
        let name = Arc::clone(queue.name());
        // Whoever may not read from it cannot have the reply, as with basic.consume.
        let vhost = self.vhost()?;
        vhost.readable_queue(&self.core.caller, &name)?;
        let seats = self.take_seats(&queue)?;
        self.consume_queue(
            now,
            Consume {
                destination: Arc::clone(&tag),
                tag,
                queue,
                how: Consuming {
                    ack: AckMode::Auto,
                    has_history: false,
                },
                priority: 0,
                slow: None,
            },
            seats,
        )?;
        Ok(name)
    }

    /// Has all that a temporary queue needs asked before it is made.
    fn foresee_reply_queue(&self) -> Result<(), Problem> {
        let caller = &self.core.caller;
        if !caller.is_asked() {
            return Ok(());
        }
        let name = self.vhost()?.draw_name(caller);
        let queue = Resource::Queue(&name);
        let rights = [(Right::Configure, queue), (Right::Read, queue)];
        let foreseen = caller.foresee(&rights, None);
        // What is declared then, or asked about in the next try, is this queue.
        caller.keep_name(&name);
        Ok(foreseen?)
    }
}
