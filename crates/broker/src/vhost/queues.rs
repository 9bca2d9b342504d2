//! Declaring and deleting queues (behaviour reference, sections 6.1 and 6.4).

use std::sync::Arc;

use leveret_amqp_codec::RawTable;
use leveret_queue_store::{QueueOptions, Time};

use super::arguments::{self, QueueType, equivalent};
use super::mismatch::describe_mismatch;
use super::queue::{Counts, QueueCell, QueueDefinition};
use super::reply::is_token;
use super::topology::Topology;
use super::{VirtualHost, without_line_breaks};
use crate::access::{Caller, Resource, Right};
use crate::arguments::Arguments;
use crate::error::Refusal;
#[cfg(feature = "journal")]
use crate::metadata::QueueRecord;
use crate::metadata::Ticket;
use crate::quota::Reached;

/// The fields of queue.declare.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueDeclare<'a> {
    /// Empty to have the broker make a name.
    pub(crate) name: &'a str,
    pub(crate) durable: bool,
    pub(crate) exclusive: bool,
    pub(crate) auto_delete: bool,
    pub(crate) arguments: RawTable<'a>,
}

impl QueueDeclare<'_> {
    /// An exclusive queue is never durable, whatever the client asked for, because it goes with its connection.
    fn outlives_connection(&self) -> bool {
        self.durable && !self.exclusive
    }
}

/// The fields of queue.delete.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueDelete<'a> {
    pub(crate) name: &'a str,
    pub(crate) if_unused: bool,
    pub(crate) if_empty: bool,
}

/// What a declaration came to.
#[derive(Debug)]
pub(crate) struct QueueDeclared {
    pub(crate) queue: Arc<QueueCell>,
    pub(crate) counts: Counts,
    /// It did not exist before.
    pub(crate) created: bool,
    /// What the answer waits for.
    pub(crate) ticket: Ticket,
}

/// What a deletion came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueDeleted {
    /// How many messages were ready in it.
    pub(crate) ready: u64,
    /// What the answer waits for.
    pub(crate) ticket: Ticket,
}

impl VirtualHost {
    /// Declares a queue; an equivalent one that exists is used as it is, and the lease of a classic one renewed. The answer
    /// waits for the ticket.
    ///
    /// # Errors
    /// 403 for a reserved name and without the rights, 405 for a queue that is exclusive to another connection, 406 for
    /// arguments that are not acceptable or differ from those of the queue that exists, and for a queue too many, 541 for a
    /// durable queue that cannot be stored.
    pub(crate) fn declare_queue(
        &self,
        now: Time,
        caller: &Caller,
        declare: &QueueDeclare<'_>,
    ) -> Result<QueueDeclared, Refusal> {
        let name = without_line_breaks(declare.name);
        if is_token(&name) {
            return self.declare_reply_queue(&name);
        }
        if name.starts_with("amq.") {
            return Err(Refusal::access_refused(format!(
                "queue name '{name}' contains reserved prefix 'amq.*'"
            )));
        }
        // Rights to a queue that the broker names are rights to the name that it gets.
        let name: Arc<str> = if name.is_empty() {
            refuse_if_quorum(declare)?;
            self.draw_name(caller).into()
        } else {
            Arc::from(&*name)
        };
        let declared = self.declare_queue_as(now, caller, &name, declare);
        if let Err(refusal) = &declared
            && refusal.is_open()
            && declare.name.is_empty()
        {
            // The next try is about the queue that is asked about now.
            caller.keep_name(&name);
        }
        declared
    }

    /// A name for a queue that is declared without one.
    pub(crate) fn draw_name(&self, caller: &Caller) -> String {
        caller.draw_name(&self.services.names, "amq.gen-")
    }

    fn declare_queue_as(
        &self,
        now: Time,
        caller: &Caller,
        name: &Arc<str>,
        declare: &QueueDeclare<'_>,
    ) -> Result<QueueDeclared, Refusal> {
        caller.require(Right::Configure, Resource::Queue(name))?;
        let mut topology = self.topology.write();
        self.check_open(&topology)?;
        if let Some(queue) = topology.queue(name).cloned() {
            drop(topology);
            self.check_equivalent_queue(&queue, caller, declare)?;
            self.check_recordable(declare.outlives_connection())?;
            queue.asked_for(now);
            return Ok(QueueDeclared {
                counts: queue.counts(),
                queue,
                created: false,
                ticket: self.settled(declare.outlives_connection()),
            });
        }
        let limit = self.queues_max();
        if topology.queue_len() >= limit {
            return Err(Refusal::precondition_failed(format!(
                "cannot declare queue '{name}': queue limit in vhost '{}' ({limit}) is reached",
                self.name
            )));
        }
        if let Some(exchange) = arguments::dead_letter_exchange(declare.arguments) {
            caller.require(Right::Read, Resource::Queue(name))?;
            caller.require(Right::Write, Resource::Exchange(&exchange))?;
        }
        let defined = self.define(Arc::clone(name), caller, declare)?;
        self.check_recordable(defined.0.durable)?;
        let limit = self.services.allowances.queues_per_connection;
        let seat = caller.make_queue(limit).map_err(|Reached(limit)| {
            let name = &defined.0.name;
            Refusal::precondition_failed(format!(
                "cannot declare queue '{name}': queue limit of this connection ({limit}) is reached"
            ))
        })?;
        let queue = self.add_queue(&mut topology, now, defined);
        queue.made_by(seat);
        let ticket = self.topology_changed(topology);
        // The lease begins, if it has one; not under the topology's lock, because a timer may be woken.
        queue.touch(now);
        Ok(QueueDeclared {
            queue,
            counts: Counts::default(),
            created: true,
            ticket,
        })
    }

    pub(super) fn add_queue(
        &self,
        topology: &mut Topology,
        now: Time,
        (definition, options): (QueueDefinition, QueueOptions),
    ) -> Arc<QueueCell> {
        let queue = topology.add_queue(|id| QueueCell::new(id, definition, options, self, now));
        Arc::clone(queue)
    }

    /// Whether a queue exists, whatever its properties. Renews the lease of a classic one.
    ///
    /// # Errors
    /// 404 when it does not, 405 when it is exclusive to another connection.
    pub(crate) fn declare_queue_passively(
        &self,
        now: Time,
        caller: &Caller,
        name: &str,
    ) -> Result<QueueDeclared, Refusal> {
        let name = without_line_breaks(name);
        if is_token(&name) {
            return self.declare_reply_queue(&name);
        }
        let queue = self.queue(caller, &name)?;
        queue.asked_for(now);
        Ok(QueueDeclared {
            counts: queue.counts(),
            created: false,
            ticket: self.settled(queue.definition().key.is_some()),
            queue,
        })
    }

    /// Deletes a queue and tells how many messages were ready in it; none when it does not exist, which is fine. The
    /// answer waits for the ticket.
    ///
    /// # Errors
    /// 403 without the right, 405 when it is exclusive to another connection, 406 when it must be unused or empty and is
    /// not. Quorum queues know neither condition: 540. 541 for a durable queue whose end cannot be stored.
    pub(crate) fn delete_queue(
        &self,
        now: Time,
        caller: &Caller,
        delete: &QueueDelete<'_>,
    ) -> Result<QueueDeleted, Refusal> {
        caller.require(Right::Configure, Resource::Queue(delete.name))?;
        let queue = self.topology.read().queue(delete.name).cloned();
        let Some(queue) = queue.filter(|_| !is_token(delete.name)) else {
            return Ok(QueueDeleted {
                ready: 0,
                ticket: self.settled(true),
            });
        };
        self.check_owner(&queue, caller)?;
        let phrase = self.queue_phrase(delete.name);
        if queue.definition().queue_type == QueueType::Quorum {
            for (flag, name) in [
                (delete.if_unused, "if-unused"),
                (delete.if_empty, "if-empty"),
            ] {
                if flag {
                    return Err(Refusal::not_implemented(format!(
                        "cannot delete {phrase}. queue.delete operations with {name} flag set are not supported by quorum \
                         queues"
                    )));
                }
            }
        }
        self.check_recordable(queue.definition().key.is_some())?;
        let mut problem = None;
        let deleted = self.remove_queue_if(&queue, now, |counts| {
            if delete.if_empty && counts.ready > 0 {
                problem = Some("not empty");
            } else if delete.if_unused && counts.consumers > 0 {
                problem = Some("in use");
            }
            problem.is_none()
        });
        match problem {
            Some(problem) => Err(Refusal::precondition_failed(format!("{phrase} {problem}"))),
            // None: somebody else deleted it between the look-up and now.
            None => Ok(deleted.unwrap_or_else(|| QueueDeleted {
                ready: 0,
                ticket: self.settled(true),
            })),
        }
    }

    /// Removes a queue if it still exists and `condition` holds, judged while nothing can change it. Its consumers are
    /// told.
    pub(super) fn remove_queue_if(
        &self,
        queue: &Arc<QueueCell>,
        now: Time,
        condition: impl FnOnce(Counts) -> bool,
    ) -> Option<QueueDeleted> {
        let (deleted, announcements, ticket) = {
            let mut topology = self.topology.write();
            let deleted = queue.delete(now, condition)?;
            topology.remove_queue(queue.id());
            let announcements = topology.take_announcements();
            (deleted, announcements, self.topology_changed(topology))
        };
        announcements.make(self, now);
        queue.follow_up(now, deleted.afterwards);
        Some(QueueDeleted {
            ready: deleted.ready,
            ticket,
        })
    }

    fn define(
        &self,
        name: Arc<str>,
        caller: &Caller,
        declare: &QueueDeclare<'_>,
    ) -> Result<(QueueDefinition, QueueOptions), Refusal> {
        let phrase = self.queue_phrase(&name);
        let parsed = arguments::parse(declare.arguments, &phrase)?;
        if parsed.queue_type == QueueType::Quorum {
            refuse_for_quorum(declare, &phrase)?;
        }
        let definition = QueueDefinition {
            name,
            queue_type: parsed.queue_type,
            durable: declare.outlives_connection(),
            key: declare
                .outlives_connection()
                .then(|| self.services.metadata.new_queue_key()),
            auto_delete: declare.auto_delete,
            owner: declare.exclusive.then_some(caller.connection()),
            arguments: Arguments::new(declare.arguments),
            dead_letter: parsed.dead_letter.map(Box::new),
        };
        Ok((definition, parsed.options))
    }

    fn check_equivalent_queue(
        &self,
        queue: &QueueCell,
        caller: &Caller,
        declare: &QueueDeclare<'_>,
    ) -> Result<(), Refusal> {
        self.check_owner(queue, caller)?;
        let current = queue.definition();
        if declare.exclusive != current.owner.is_some() {
            return Err(self.locked(queue.name()));
        }
        let phrase = self.queue_phrase(queue.name());
        let differs = |what: &str, how: String| {
            Refusal::precondition_failed(format!("inequivalent arg '{what}' for {phrase}: {how}"))
        };
        for (what, received, current) in [
            ("durable", declare.outlives_connection(), current.durable),
            ("auto_delete", declare.auto_delete, current.auto_delete),
        ] {
            if received != current {
                return Err(differs(
                    what,
                    format!("received '{received}' but current is '{current}'"),
                ));
            }
        }
        for name in arguments::compared() {
            let (received, current) = (
                declare.arguments.get(name),
                current.arguments.table().get(name),
            );
            let both_classic = name == arguments::QUEUE_TYPE
                && received.is_none_or(arguments::is_classic)
                && current.is_none_or(arguments::is_classic);
            if !both_classic && !equivalent(received, current) {
                return Err(differs(name, describe_mismatch(received, current)));
            }
        }
        Ok(())
    }
}

/// What a stored queue was declared with.
///
/// # Errors
/// When its arguments mean nothing; `phrase` names it in the text.
#[cfg(feature = "journal")]
pub(super) fn restored(
    record: QueueRecord,
    phrase: &str,
) -> Result<(QueueDefinition, QueueOptions), Refusal> {
    let parsed = arguments::parse_stored(record.arguments.table(), phrase)?;
    let definition = QueueDefinition {
        name: record.name,
        queue_type: parsed.queue_type,
        durable: true,
        key: Some(record.key),
        auto_delete: record.auto_delete,
        owner: None,
        arguments: record.arguments,
        dead_letter: parsed.dead_letter.map(Box::new),
    };
    Ok((definition, parsed.options))
}

/// Quorum queues are named by their clients, which RabbitMQ looks at before anything else.
fn refuse_if_quorum(declare: &QueueDeclare<'_>) -> Result<(), Refusal> {
    if arguments::names_quorum(declare.arguments) {
        let module = QueueType::Quorum.module();
        return Err(Refusal::precondition_failed(format!(
            "Cannot declare a server-named queue for type {module}"
        )));
    }
    Ok(())
}

/// Quorum queues are durable and shared (behaviour reference, section 15.1).
fn refuse_for_quorum(declare: &QueueDeclare<'_>, phrase: &str) -> Result<(), Refusal> {
    let problem = if !declare.durable {
        "non-durable"
    } else if declare.exclusive {
        "exclusive-owner"
    } else if declare.auto_delete {
        "auto-delete"
    } else {
        return Ok(());
    };
    Err(Refusal::precondition_failed(format!(
        "invalid property '{problem}' for {phrase}"
    )))
}
