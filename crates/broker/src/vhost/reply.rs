//! Direct reply-to: answers that go straight to a waiting channel (behaviour reference, section 14).
//!
//! A channel that consumes from the pseudo-queue gets a queue of its own that nobody sees, named by a token that cannot
//! be guessed. The token is an ordinary key of the default exchange, so responders of any protocol reach it, a mandatory
//! answer comes back when the requester is gone, and the queue goes with its only consumer.

use std::sync::Arc;

use leveret_queue_store::{QueueOptions, Time};

use super::VirtualHost;
use super::arguments::QueueType;
use super::queue::{Counts, QueueCell, QueueDefinition};
use super::queues::QueueDeclared;
use crate::arguments::Arguments;
use crate::connection::ConnectionId;
use crate::error::Refusal;
use crate::metadata::Ticket;

/// What clients consume from, and put into `reply-to`.
pub(crate) const REPLY_TO: &str = "amq.rabbitmq.reply-to";

impl VirtualHost {
    /// Makes the queue behind a channel's reply consumer.
    pub(crate) fn create_reply_queue(&self, now: Time, connection: ConnectionId) -> Arc<QueueCell> {
        let definition = QueueDefinition {
            name: self.services.names.name("amq.rabbitmq.reply-to.").into(),
            queue_type: QueueType::Classic,
            durable: false,
            key: None,
            auto_delete: true,
            owner: Some(connection),
            arguments: Arguments::default(),
            dead_letter: None,
        };
        let mut topology = self.topology.write();
        let queue = topology
            .add_queue(|id| QueueCell::new(id, definition, QueueOptions::default(), self, now));
        let queue = Arc::clone(queue);
        self.topology_changed(topology);
        queue
    }

    /// Whether an answer to this token is still wanted: how a responder asks by declaring it.
    ///
    /// # Errors
    /// 404 when the requester is gone.
    pub(super) fn declare_reply_queue(&self, token: &str) -> Result<QueueDeclared, Refusal> {
        let queue = self
            .topology
            .read()
            .queue(token)
            .cloned()
            .ok_or_else(|| self.no_queue(token))?;
        Ok(QueueDeclared {
            queue,
            counts: Counts {
                consumers: 1,
                ..Counts::default()
            },
            created: false,
            ticket: Ticket::NONE,
        })
    }
}

/// Whether a name is a token of a reply consumer.
pub(super) fn is_token(name: &str) -> bool {
    name.strip_prefix(REPLY_TO)
        .is_some_and(|rest| rest.starts_with('.'))
}
