//! The methods of the classes connection, channel, exchange, queue, confirm and access.

use std::sync::Arc;

use leveret_amqp_codec::{
    ChannelId, EncodeMethod, Method, ShortStr,
    method::{access, channel, confirm, connection, exchange, queue},
    write_method,
};
use leveret_queue_store::Time;

use super::Session;
use super::channel::{Channel, Mode};
use super::confirms::Confirms;
use crate::error::Refusal;
use crate::exchange::presence::End;
use crate::quota::Seat;
use crate::session::Output;
use crate::vhost::{
    BindingRequest, ExchangeDeclare, QueueDeclare, QueueDeclared, QueueDelete, REPLY_TO,
    VirtualHost,
};

/// A method sent by the server, where a client sent it.
fn unimplemented_method() -> Refusal {
    Refusal::command_invalid("unimplemented method")
}

impl Session {
    /// A method on channel 0 of an open connection.
    pub(super) fn handle_connection_method(
        &mut self,
        now: Time,
        method: &Method<'_>,
        out: &mut Output,
    ) -> Result<(), Refusal> {
        match method {
            Method::ConnectionClose(_) => {
                self.leave(now, End::InOrder);
                self.release_everything(now, out);
                write_method(out.buffer(), ChannelId::CONNECTION, &connection::CloseOk {});
                self.leave_closing_to_client(now);
                Ok(())
            }
            Method::ConnectionUpdateSecret(update) => {
                self.update_secret(update.new_secret, out);
                Ok(())
            }
            _ => Err(Refusal::channel_error(
                "unexpected method in connection state running",
            )),
        }
    }

    /// A method on another channel of an open connection.
    pub(super) fn handle_channel_method(
        &mut self,
        now: Time,
        id: ChannelId,
        method: &Method<'_>,
        out: &mut Output,
    ) -> Result<(), Refusal> {
        let Some(channel) = self.channels.get_mut(&id) else {
            return match method {
                Method::ChannelOpen(_) => self.open_channel(id, out),
                // Both sides closed at the same time, and ours was answered with a close.
                Method::ChannelCloseOk(_) => Ok(()),
                _ => Err(Refusal::channel_error("expected 'channel.open'")),
            };
        };
        if channel.closing {
            self.handle_while_closing(id, method, out);
            return Ok(());
        }
        channel.check_no_content()?;
        match method {
            Method::BasicPublish(publish) => self.begin_content(id, publish),
            Method::BasicAck(ack) => self.ack(now, id, ack.delivery_tag, ack.multiple),
            // Everything else must see what was published and acknowledged before it.
            _ => {
                self.flush(now, out);
                self.handle_flushed(now, id, method, out)
            }
        }
    }

    fn handle_flushed(
        &mut self,
        now: Time,
        id: ChannelId,
        method: &Method<'_>,
        out: &mut Output,
    ) -> Result<(), Refusal> {
        match method {
            Method::ChannelOpen(_) => Err(Refusal::channel_error("second 'channel.open' seen")),
            Method::ChannelClose(_) => {
                self.discard_channel(now, id, out);
                self.channels.remove(&id);
                write_method(out.buffer(), id, &channel::CloseOk {});
                Ok(())
            }
            Method::ChannelFlow(flow) if flow.active => {
                reply(out, id, &channel::FlowOk { active: true })
            }
            Method::ChannelFlow(_) => Err(Refusal::not_implemented("active=false")),
            Method::AccessRequest(_) => reply(out, id, &access::RequestOk { ticket: 1 }),
            Method::ExchangeDeclare(declare) => self.declare_exchange(id, declare, out),
            Method::ExchangeDelete(delete) => self.delete_exchange(id, delete, out),
            Method::ExchangeBind(bind) => self.bind_exchange(now, id, bind, out),
            Method::ExchangeUnbind(unbind) => self.unbind_exchange(now, id, unbind, out),
            Method::QueueDeclare(declare) => self.declare_queue(now, id, declare, out),
            Method::QueueBind(bind) => self.bind_queue(now, id, bind, out),
            Method::QueueUnbind(unbind) => self.unbind_queue(now, id, unbind, out),
            Method::QueuePurge(purge) => self.purge_queue(now, id, purge, out),
            Method::QueueDelete(delete) => self.delete_queue(now, id, delete, out),
            Method::BasicQos(qos) => self.set_qos(now, id, qos, out),
            Method::BasicConsume(consume) => self.consume(now, id, consume, out),
            Method::BasicCancel(cancel) => self.cancel(now, id, cancel, out),
            Method::BasicGet(get) => self.get(now, id, get, out),
            Method::BasicNack(nack) => {
                self.nack(now, id, nack.delivery_tag, nack.multiple, nack.requeue)
            }
            Method::BasicReject(reject) => {
                self.nack(now, id, reject.delivery_tag, false, reject.requeue)
            }
            Method::BasicRecover(recover) => self.recover(now, id, recover.requeue, true, out),
            Method::BasicRecoverAsync(recover) => {
                self.recover(now, id, recover.requeue, false, out)
            }
            Method::ConfirmSelect(select) => self.select_confirms(id, select, out),
            Method::TxSelect(_) => self.tx_select(id, out),
            Method::TxCommit(_) => self.tx_commit(now, id, out),
            Method::TxRollback(_) => self.tx_rollback(id, out),
            _ => Err(unimplemented_method()),
        }
    }

    fn open_channel(&mut self, id: ChannelId, out: &mut Output) -> Result<(), Refusal> {
        let limit = usize::from(self.core.negotiated.channel_max);
        let open = self.channels.len();
        if limit > 0 && open >= limit {
            return Err(Refusal::not_allowed(format!(
                "number of channels opened ({open}) has reached the negotiated channel_max ({limit})"
            ))
            .of_method(0, 0));
        }
        let seats = self.take_seats();
        let seats = seats.map_err(|refusal| refusal.of_method(0, 0))?;
        self.channels.insert(id, Box::new(Channel::new(seats)));
        reply(out, id, &channel::OpenOk {})
    }

    /// Room for one more channel, of the user and in the virtual host.
    fn take_seats(&self) -> Result<[Option<Seat>; 2], Refusal> {
        Ok([
            self.core.caller.open_channel()?,
            Some(self.vhost()?.open_channel()?),
        ])
    }

    fn handle_while_closing(&mut self, id: ChannelId, method: &Method<'_>, out: &mut Output) {
        match method {
            Method::ChannelCloseOk(_) => {
                self.channels.remove(&id);
            }
            // Both sides closed at once: answer, and go on waiting for the answer to ours.
            Method::ChannelClose(_) => write_method(out.buffer(), id, &channel::CloseOk {}),
            _ => {}
        }
    }

    pub(super) fn vhost(&self) -> Result<Arc<VirtualHost>, Refusal> {
        // Channels exist only once connection.open has chosen a virtual host.
        self.core
            .vhost
            .clone()
            .ok_or_else(|| Refusal::channel_error("no virtual host is open"))
    }

    fn declare_exchange(
        &self,
        id: ChannelId,
        declare: &exchange::Declare<'_>,
        out: &mut Output,
    ) -> Result<(), Refusal> {
        let vhost = self.vhost()?;
        if declare.passive {
            vhost.declare_exchange_passively(&declare.exchange)?;
        } else {
            let ticket = vhost.declare_exchange(
                &self.core.caller,
                &ExchangeDeclare {
                    name: &declare.exchange,
                    kind: &declare.kind,
                    durable: declare.durable,
                    auto_delete: declare.auto_delete,
                    internal: declare.internal,
                    arguments: declare.arguments,
                },
            )?;
            out.hold_until(ticket);
        }
        reply_unless(declare.no_wait, out, id, &exchange::DeclareOk {})
    }

    fn delete_exchange(
        &self,
        id: ChannelId,
        delete: &exchange::Delete<'_>,
        out: &mut Output,
    ) -> Result<(), Refusal> {
        let vhost = self.vhost()?;
        let ticket =
            vhost.delete_exchange(&self.core.caller, &delete.exchange, delete.if_unused)?;
        out.hold_until(ticket);
        reply_unless(delete.no_wait, out, id, &exchange::DeleteOk {})
    }

    fn bind_exchange(
        &self,
        now: Time,
        id: ChannelId,
        bind: &exchange::Bind<'_>,
        out: &mut Output,
    ) -> Result<(), Refusal> {
        let request = BindingRequest {
            destination: &bind.destination,
            source: &bind.source,
            routing_key: &bind.routing_key,
            arguments: bind.arguments,
            resume: None,
        };
        let vhost = self.vhost()?;
        out.hold_until(vhost.bind_exchange(now, &self.core.caller, &request)?);
        reply_unless(bind.no_wait, out, id, &exchange::BindOk {})
    }

    fn unbind_exchange(
        &self,
        now: Time,
        id: ChannelId,
        unbind: &exchange::Unbind<'_>,
        out: &mut Output,
    ) -> Result<(), Refusal> {
        let request = BindingRequest {
            destination: &unbind.destination,
            source: &unbind.source,
            routing_key: &unbind.routing_key,
            arguments: unbind.arguments,
            resume: None,
        };
        let vhost = self.vhost()?;
        out.hold_until(vhost.unbind_exchange(now, &self.core.caller, &request)?);
        reply_unless(unbind.no_wait, out, id, &exchange::UnbindOk {})
    }

    fn declare_queue(
        &mut self,
        now: Time,
        id: ChannelId,
        declare: &queue::Declare<'_>,
        out: &mut Output,
    ) -> Result<(), Refusal> {
        let vhost = self.vhost()?;
        if *declare.queue == *REPLY_TO {
            let ok = queue::DeclareOk {
                queue: declare.queue,
                message_count: 0,
                consumer_count: 1,
            };
            return reply_unless(declare.no_wait, out, id, &ok);
        }
        let declared = if declare.passive {
            // RabbitMQ looks for a queue of no name here, not for the last declared one.
            vhost.declare_queue_passively(now, &self.core.caller, &declare.queue)?
        } else {
            let request = QueueDeclare {
                name: &declare.queue,
                durable: declare.durable,
                exclusive: declare.exclusive,
                auto_delete: declare.auto_delete,
                arguments: declare.arguments,
            };
            vhost.declare_queue(now, &self.core.caller, &request)?
        };
        self.remember_queue(id, &declared);
        out.hold_until(declared.ticket);
        let ok = queue::DeclareOk {
            queue: ShortStr::truncated(declared.queue.name()),
            message_count: to_u32(declared.counts.ready),
            consumer_count: to_u32(declared.counts.consumers),
        };
        reply_unless(declare.no_wait, out, id, &ok)
    }

    fn remember_queue(&mut self, id: ChannelId, declared: &QueueDeclared) {
        if let Some(channel) = self.channels.get_mut(&id) {
            channel.last_queue = Some(Arc::clone(declared.queue.name()));
        }
        if declared.created && declared.queue.definition().owner.is_some() {
            let exclusive = &mut self.core.exclusive;
            if exclusive.len() == exclusive.capacity() {
                // A client that declares and deletes for ever must not make the list grow.
                exclusive.retain(|queue| queue.strong_count() > 0);
            }
            exclusive.push(Arc::downgrade(&declared.queue));
        }
    }

    fn bind_queue(
        &self,
        now: Time,
        id: ChannelId,
        bind: &queue::Bind<'_>,
        out: &mut Output,
    ) -> Result<(), Refusal> {
        let name = self.queue_name(id, bind.queue)?;
        // Neither a queue nor a key: the queue declared last, by its name.
        let by_name = bind.queue.is_empty() && bind.routing_key.is_empty();
        let request = BindingRequest {
            destination: &name,
            source: &bind.exchange,
            routing_key: if by_name { &name } else { &bind.routing_key },
            arguments: bind.arguments,
            resume: None,
        };
        let vhost = self.vhost()?;
        out.hold_until(vhost.bind_queue(now, &self.core.caller, &request)?);
        reply_unless(bind.no_wait, out, id, &queue::BindOk {})
    }

    fn unbind_queue(
        &self,
        now: Time,
        id: ChannelId,
        unbind: &queue::Unbind<'_>,
        out: &mut Output,
    ) -> Result<(), Refusal> {
        let name = self.queue_name(id, unbind.queue)?;
        let by_name = unbind.queue.is_empty() && unbind.routing_key.is_empty();
        let request = BindingRequest {
            destination: &name,
            source: &unbind.exchange,
            routing_key: if by_name { &name } else { &unbind.routing_key },
            arguments: unbind.arguments,
            resume: None,
        };
        let vhost = self.vhost()?;
        out.hold_until(vhost.unbind_queue(now, &self.core.caller, &request)?);
        reply(out, id, &queue::UnbindOk {})
    }

    fn purge_queue(
        &self,
        now: Time,
        id: ChannelId,
        purge: &queue::Purge<'_>,
        out: &mut Output,
    ) -> Result<(), Refusal> {
        let name = self.queue_name(id, purge.queue)?;
        let purged = self
            .vhost()?
            .readable_queue(&self.core.caller, &name)?
            .purge(now);
        reply_unless(
            purge.no_wait,
            out,
            id,
            &queue::PurgeOk {
                message_count: to_u32(purged),
            },
        )
    }

    fn delete_queue(
        &self,
        now: Time,
        id: ChannelId,
        delete: &queue::Delete<'_>,
        out: &mut Output,
    ) -> Result<(), Refusal> {
        let name = self.queue_name(id, delete.queue)?;
        let request = QueueDelete {
            name: &name,
            if_unused: delete.if_unused,
            if_empty: delete.if_empty,
        };
        let deleted = self
            .vhost()?
            .delete_queue(now, &self.core.caller, &request)?;
        out.hold_until(deleted.ticket);
        reply_unless(
            delete.no_wait,
            out,
            id,
            &queue::DeleteOk {
                message_count: to_u32(deleted.ready),
            },
        )
    }

    fn select_confirms(
        &mut self,
        id: ChannelId,
        select: &confirm::Select,
        out: &mut Output,
    ) -> Result<(), Refusal> {
        let Some(channel) = self.channels.get_mut(&id) else {
            return Ok(());
        };
        match channel.mode {
            Mode::Plain => channel.mode = Mode::Confirm(Confirms::new()),
            Mode::Confirm(_) => {}
            Mode::Transaction(_) => {
                return Err(Refusal::precondition_failed(
                    "cannot switch from tx to confirm mode",
                ));
            }
        }
        reply_unless(select.no_wait, out, id, &confirm::SelectOk {})
    }

    /// The queue a method names; an empty name stands for the one that was declared last on the channel.
    pub(super) fn queue_name(
        &self,
        id: ChannelId,
        name: ShortStr<'_>,
    ) -> Result<Arc<str>, Refusal> {
        if !name.is_empty() {
            return Ok(Arc::from(&*name));
        }
        self.channels
            .get(&id)
            .and_then(|channel| channel.last_queue.clone())
            .ok_or_else(|| Refusal::not_found("no previously declared queue"))
    }
}

pub(super) fn reply<M: EncodeMethod>(
    out: &mut Output,
    id: ChannelId,
    method: &M,
) -> Result<(), Refusal> {
    write_method(out.buffer(), id, method);
    Ok(())
}

pub(super) fn reply_unless<M: EncodeMethod>(
    no_wait: bool,
    out: &mut Output,
    id: ChannelId,
    method: &M,
) -> Result<(), Refusal> {
    if no_wait {
        Ok(())
    } else {
        reply(out, id, method)
    }
}

/// Counts on the wire have 32 bits; more than that is reported as that.
pub(super) fn to_u32(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
