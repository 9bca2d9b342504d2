//! Consuming, getting and settling (behaviour reference, sections 7 and 9).

use std::sync::Arc;

use leveret_amqp_codec::{ChannelId, RawProperties, RawTable, ShortStr, ValueRef, method::basic};
use leveret_queue_store::{ConsumerOptions, Settlement, TakeMode, Time};

use super::Session;
use super::channel::{Consumer, Mode};
use super::deliveries::write_content;
use super::methods::{reply, reply_unless, to_u32};
use super::tx::HeldSettlement;
use crate::error::Refusal;
use crate::outbox::ConsumerKey;
use crate::session::Output;
use crate::session::unacked::Outstanding;
use crate::slow;
use crate::vhost::{CannotConsume, ConsumerLink, QueueCell, REPLY_TO, VirtualHost};

const CANCEL_ON_FAILOVER: &str = "x-cancel-on-ha-failover";
const STREAM_OFFSET: &str = "x-stream-offset";

impl Session {
    pub(super) fn set_qos(
        &mut self,
        now: Time,
        id: ChannelId,
        qos: &basic::Qos,
        out: &mut Output,
    ) -> Result<(), Refusal> {
        if qos.prefetch_size != 0 {
            return Err(Refusal::not_implemented(format!(
                "prefetch_size!=0 ({})",
                qos.prefetch_size
            )));
        }
        let Some(channel) = self.channels.get_mut(&id) else {
            return Ok(());
        };
        // RabbitMQ 3.10 lifts the shared limit when it is told the one for each consumer.
        channel.global_prefetch = if qos.global { qos.prefetch_count } else { 0 };
        if !qos.global {
            channel.prefetch = qos.prefetch_count;
        }
        let limit = match channel.global_prefetch {
            0 => usize::MAX,
            count => usize::from(count),
        };
        if channel.gate.set_limit(limit) {
            channel.poll_queues(now);
            self.core.worked += channel.consumers.len();
        }
        reply(out, id, &basic::QosOk {})
    }

    pub(super) fn consume(
        &mut self,
        now: Time,
        id: ChannelId,
        consume: &basic::Consume<'_>,
        out: &mut Output,
    ) -> Result<(), Refusal> {
        let limit = self.core.shared.config.consumers_per_channel_max;
        let consumers = self.channels.get(&id).map(|channel| &channel.consumers);
        if consumers.is_some_and(|consumers| consumers.len() >= limit) {
            return Err(Refusal::not_allowed(format!(
                "reached maximum ({limit}) of consumers per channel"
            )));
        }
        let vhost = self.vhost()?;
        let name = self.queue_name(id, consume.queue)?;
        // RabbitMQ looks for a consumer of that tag before it looks for the queue.
        let tags = self.channels.get(&id).map(|channel| &channel.tags);
        if tags.is_some_and(|tags| tags.contains_key(&*consume.consumer_tag)) {
            return Err(Refusal::not_allowed(format!(
                "attempt to reuse consumer tag '{}'",
                consume.consumer_tag
            )));
        }
        let Some(channel) = self.channels.get_mut(&id) else {
            return Ok(());
        };
        let connection = self.core.registration.id();
        let is_reply_consumer = *name == *REPLY_TO;
        let queue = if is_reply_consumer {
            channel.check_reply_consumer(consume.no_ack)?;
            None
        } else {
            Some(vhost.readable_queue(&self.core.caller, &name)?)
        };
        let priority = consumer_priority(&vhost, &name, consume.arguments)?;
        if let Some(queue) = &queue {
            check_foreign_arguments(&vhost, queue, consume.arguments)?;
        }
        let slow = slow::from_arguments(consume.arguments, &vhost.queue_phrase(&name))?;
        let own_window = slow.as_ref().and_then(|slow| slow.own_window.clone());
        let tag: Arc<str> = if consume.consumer_tag.is_empty() {
            self.core.shared.services.names.name("amq.ctag-").into()
        } else {
            Arc::from(&*consume.consumer_tag)
        };
        if channel.global_prefetch > 0 && queue.as_ref().is_some_and(|queue| queue.is_quorum()) {
            let phrase = vhost.queue_phrase(&name);
            return Err(Refusal::not_implemented(format!(
                "{phrase} does not support global qos"
            )));
        }
        let seats = vhost.add_consumer(&self.core.caller, &name)?;
        // Made when nothing is refused any more: no limit counts it, and it stays until its consumer goes.
        let queue = queue.unwrap_or_else(|| vhost.create_reply_queue(now, connection));
        let source = channel.use_source(&queue);
        if channel.consumers.capacity() == 0 {
            // A slab would begin with four, and very many clients consume once.
            channel.consumers.reserve_exact(1);
        }
        let entry = channel.consumers.vacant_entry();
        let key = ConsumerKey(
            u32::try_from(entry.key()).expect("fewer than 2^32 consumers on one channel"),
        );
        let options = ConsumerOptions {
            no_ack: consume.no_ack,
            exclusive: consume.exclusive,
            priority,
            prefetch: u32::from(channel.prefetch),
            window: Some(Arc::clone(self.core.outbox.window())),
            // RabbitMQ's quorum queues know nothing of the channel's own limit.
            channel_prefetch: (!consume.no_ack && !queue.is_quorum())
                .then(|| Arc::clone(&channel.gate)),
            slow,
        };
        let link = ConsumerLink {
            outbox: Arc::clone(&self.core.outbox),
            channel: id,
            key,
            holder: connection,
            tag: Some(Arc::clone(&tag)),
            _seats: seats,
        };
        match queue.consume(now, options, link) {
            Ok(consumer) => {
                entry.insert(Consumer {
                    tag: Arc::clone(&tag),
                    source,
                    id: consumer,
                    own_window,
                });
                if is_reply_consumer {
                    channel.reply_to = Some((key, Arc::clone(queue.name())));
                } else {
                    channel.tags.insert(Arc::clone(&tag), key);
                }
                reply_unless(
                    consume.no_wait,
                    out,
                    id,
                    &basic::ConsumeOk {
                        consumer_tag: ShortStr::truncated(&tag),
                    },
                )
            }
            Err(problem) => {
                channel.release_source(source, 1);
                Err(match problem {
                    CannotConsume::QueueGone => vhost.no_queue(&name),
                    CannotConsume::Refused(_) => Refusal::access_refused(format!(
                        "{} in exclusive use",
                        vhost.queue_phrase(&name)
                    )),
                })
            }
        }
    }

    pub(super) fn cancel(
        &mut self,
        now: Time,
        id: ChannelId,
        cancel: &basic::Cancel<'_>,
        out: &mut Output,
    ) -> Result<(), Refusal> {
        let Some(channel) = self.channels.get_mut(&id) else {
            return Ok(());
        };
        if let Some(key) = channel.find_consumer(&cancel.consumer_tag) {
            let consumer = &channel.consumers[key.0 as usize];
            let queue = Arc::clone(channel.queue_of(consumer));
            queue.cancel(now, consumer.id);
            // What the queue had assigned to it already is sent before cancel-ok, and nothing after.
            self.send_deliveries(now, usize::MAX, out);
            if let Some(channel) = self.channels.get_mut(&id) {
                channel.forget_consumer(key);
            }
        }
        reply_unless(
            cancel.no_wait,
            out,
            id,
            &basic::CancelOk {
                consumer_tag: cancel.consumer_tag,
            },
        )
    }

    pub(super) fn get(
        &mut self,
        now: Time,
        id: ChannelId,
        get: &basic::Get<'_>,
        out: &mut Output,
    ) -> Result<(), Refusal> {
        let name = self.queue_name(id, get.queue)?;
        let queue = self.vhost()?.gettable_queue(&self.core.caller, &name)?;
        let mode = if get.no_ack {
            TakeMode::NoAck
        } else {
            TakeMode::Ack
        };
        let Some((delivery, remaining)) = queue.take(now, mode) else {
            return reply(out, id, &basic::GetEmpty {});
        };
        let Some(channel) = self.channels.get_mut(&id) else {
            return Ok(());
        };
        let tag = channel.take_tag();
        if let Some(delivery) = delivery.id {
            let source = channel.use_source(&queue);
            channel.add_unacked(tag, source, delivery);
            channel.release_source(source, 1);
        }
        let message = &delivery.message;
        let ok = basic::GetOk {
            delivery_tag: tag,
            redelivered: delivery.redelivered,
            exchange: ShortStr::truncated(message.exchange()),
            routing_key: ShortStr::truncated(message.routing_key()),
            message_count: to_u32(remaining),
        };
        let stamped = queue.stamped_properties(&delivery, true, 0);
        let properties = RawProperties::from_validated_bytes(
            stamped.as_deref().unwrap_or_else(|| message.properties()),
        );
        let frame_size_max = self.core.negotiated.frame_size_max;
        write_content(id, &ok, message, properties, frame_size_max, out);
        Ok(())
    }

    /// The hot path of settling: remembered here, told to the queues once per batch.
    pub(super) fn ack(
        &mut self,
        now: Time,
        id: ChannelId,
        tag: u64,
        multiple: bool,
    ) -> Result<(), Refusal> {
        let Some(channel) = self.channels.get_mut(&id) else {
            return Ok(());
        };
        if matches!(channel.mode, Mode::Transaction(_)) {
            return self.settle(now, id, tag, multiple, Settlement::Ack);
        }
        let first = if multiple {
            channel.ack_up_to(tag).ok()
        } else {
            channel
                .unacked
                .take(tag)
                .ok()
                .map(|delivery| channel.ack(delivery))
        };
        self.has_acks |= first == Some(true);
        match first {
            None => Err(unknown_tag(tag)),
            Some(true) if !self.unsettled.contains(&id) => {
                self.unsettled.push(id);
                Ok(())
            }
            Some(_) => Ok(()),
        }
    }

    pub(super) fn nack(
        &mut self,
        now: Time,
        id: ChannelId,
        tag: u64,
        multiple: bool,
        requeue: bool,
    ) -> Result<(), Refusal> {
        let how = if requeue {
            Settlement::Requeue
        } else {
            Settlement::Discard
        };
        self.settle(now, id, tag, multiple, how)
    }

    fn settle(
        &mut self,
        now: Time,
        id: ChannelId,
        tag: u64,
        multiple: bool,
        how: Settlement,
    ) -> Result<(), Refusal> {
        let Some(channel) = self.channels.get_mut(&id) else {
            return Ok(());
        };
        let deliveries: Vec<(u64, Outstanding)> = if multiple {
            channel
                .unacked
                .take_up_to(tag)
                .map_err(|_| unknown_tag(tag))?
                .collect()
        } else {
            vec![(
                tag,
                channel.unacked.take(tag).map_err(|_| unknown_tag(tag))?,
            )]
        };
        if let Mode::Transaction(transaction) = &mut channel.mode {
            transaction
                .settlements
                .push(HeldSettlement { deliveries, how });
            return Ok(());
        }
        let deliveries: Vec<_> = deliveries
            .into_iter()
            .map(|(_, delivery)| delivery)
            .collect();
        channel.settle(now, &deliveries, how);
        self.core.worked += channel.prefetch_opened(now);
        Ok(())
    }

    pub(super) fn recover(
        &mut self,
        now: Time,
        id: ChannelId,
        requeue: bool,
        answer: bool,
        out: &mut Output,
    ) -> Result<(), Refusal> {
        if !requeue {
            return Err(Refusal::not_implemented("requeue=false"));
        }
        let Some(channel) = self.channels.get_mut(&id) else {
            return Ok(());
        };
        let deliveries: Vec<_> = channel.unacked.take_all().collect();
        if !deliveries.is_empty() {
            channel.settle(now, &deliveries, Settlement::Requeue);
            self.core.worked += channel.prefetch_opened(now);
        }
        reply_unless(!answer, out, id, &basic::RecoverOk {})
    }
}

fn unknown_tag(tag: u64) -> Refusal {
    Refusal::precondition_failed(format!("unknown delivery tag {tag}"))
}

/// There are neither mirrors nor streams, but clients that mean them are told what RabbitMQ tells them.
fn check_foreign_arguments(
    vhost: &VirtualHost,
    queue: &QueueCell,
    arguments: RawTable<'_>,
) -> Result<(), Refusal> {
    let refused = |name: &str, problem: String| {
        let phrase = vhost.queue_phrase(queue.name());
        Err(Refusal::precondition_failed(format!(
            "invalid arg '{name}' for {phrase}{problem}"
        )))
    };
    if !queue.is_quorum()
        && let Some(value) = arguments.get(CANCEL_ON_FAILOVER)
        && !matches!(value, ValueRef::Bool(_))
    {
        let problem = format!(": {{unacceptable_type,{}}}", value.type_name());
        return refused(CANCEL_ON_FAILOVER, problem);
    }
    let is_foreign = |name: &[u8]| {
        name == STREAM_OFFSET.as_bytes()
            || name == CANCEL_ON_FAILOVER.as_bytes() && queue.is_quorum()
    };
    match arguments.iter().find(|(name, _)| is_foreign(name)) {
        None => Ok(()),
        Some((name, _)) => {
            let module = queue.definition().queue_type.module();
            refused(
                &String::from_utf8_lossy(name),
                format!(" of queue type {module}"),
            )
        }
    }
}

fn consumer_priority(
    vhost: &VirtualHost,
    queue: &str,
    arguments: RawTable<'_>,
) -> Result<i64, Refusal> {
    let Some(value) = arguments.get("x-priority") else {
        return Ok(0);
    };
    value.as_integer().ok_or_else(|| {
        Refusal::precondition_failed(format!(
            "invalid arg 'x-priority' for {}: \"expected integer, got {}\"",
            vhost.queue_phrase(queue),
            value.type_name()
        ))
    })
}
