//! From the outbox to the wire.

use leveret_amqp_codec::{
    ChannelId, EncodeMethod, FRAME_OVERHEAD, RawProperties, ShortStr, method::basic,
    method::connection, write_body, write_body_frame_header, write_content_header, write_delivery,
    write_frame_end, write_method,
};
use leveret_queue_store::{Delivery, Message, Time};

use super::{Failure, Session};
use crate::error::Refusal;
use crate::outbox::{AfterGap, ConsumerKey, Outgoing, pop_if_fits};
use crate::session::Output;

/// From this size on, a body that is kept on its own is written from where it is.
const WRITE_IN_PLACE_MIN: usize = 16 * 1024;

impl Session {
    /// Encodes what queues have put into the outbox as long as `out` holds no more than about `enough` bytes. True when more is
    /// waiting.
    pub(crate) fn handle_outbox(&mut self, now: Time, enough: usize, out: &mut Output) -> bool {
        self.send_deliveries(now, enough, out);
        !self.inbox.is_empty()
    }

    /// Whether something was taken out of the outbox and has not been encoded yet.
    pub(crate) fn has_deliveries(&self) -> bool {
        !self.inbox.is_empty()
    }

    pub(super) fn send_deliveries(&mut self, now: Time, enough: usize, out: &mut Output) {
        loop {
            if self.inbox.is_empty() {
                self.core.outbox.take(&mut self.inbox);
            }
            if self.inbox.is_empty() {
                return;
            }
            while let Some(item) = pop_if_fits(&mut self.inbox, out.len(), enough) {
                self.send_one(now, item, out);
            }
            if !self.inbox.is_empty() {
                return;
            }
        }
    }

    fn send_one(&mut self, now: Time, item: Outgoing, out: &mut Output) {
        match item {
            Outgoing::Deliver {
                channel,
                consumer,
                delivery,
            } => self.deliver(channel, consumer, delivery, 0, out),
            Outgoing::DeliverAfterGap {
                channel,
                consumer,
                after_gap,
            } => {
                let AfterGap { delivery, left_out } = *after_gap;
                self.deliver(channel, consumer, delivery, left_out, out);
            }
            Outgoing::ConsumerCancelled { channel, consumer } => {
                self.consumer_cancelled(channel, consumer, out)
            }
            Outgoing::ConsumerTooSlow { channel, consumer } => {
                self.consumer_too_slow(now, channel, consumer, out);
            }
            Outgoing::WindowOpened => self.poll_queues(now),
            Outgoing::Unblocked => {
                if self.core.blocked.take().is_some_and(|blocked| blocked.told) {
                    write_method(
                        out.buffer(),
                        ChannelId::CONNECTION,
                        &connection::Unblocked {},
                    );
                }
            }
            Outgoing::Close { code, text } => self.forced_close(now, code, &text, out),
        }
    }

    fn deliver(
        &mut self,
        id: ChannelId,
        key: ConsumerKey,
        delivery: Delivery,
        left_out: u64,
        out: &mut Output,
    ) {
        self.core.unwritten += delivery.message.size_bytes();
        // A consumer stays until everything for it has been taken out of the outbox.
        let Some(channel) = self.channels.get_mut(&id) else {
            return;
        };
        let Some(consumer) = channel.consumers.get(key.0 as usize) else {
            return;
        };
        let source = consumer.source;
        if let Some(gate) = &consumer.own_window {
            let (bytes, queue) = (delivery.message.size_bytes(), channel.queue_of(consumer));
            let own_windows = self.core.own_windows.get_or_insert_default();
            own_windows.add(gate, bytes, queue);
        }
        let tag = channel.take_tag();
        if channel.closing {
            // It goes back with all the others that are outstanding, in order.
            if let Some(delivery) = delivery.id {
                channel.add_unacked(tag, source, delivery);
            }
            return;
        }
        let consumer = &channel.consumers[key.0 as usize];
        let message = &delivery.message;
        let contents = message.contents();
        let stamped = channel
            .queue_of(consumer)
            .stamped_properties(&delivery, false, left_out);
        let properties =
            RawProperties::from_validated_bytes(stamped.as_deref().unwrap_or(contents.properties));
        let consumer_tag = ShortStr::truncated(&consumer.tag);
        let frame_size_max = self.core.negotiated.frame_size_max;
        match message.shared_body() {
            Some(body) if body.len() >= WRITE_IN_PLACE_MIN => {
                let deliver = basic::Deliver {
                    consumer_tag,
                    delivery_tag: tag,
                    redelivered: delivery.redelivered,
                    exchange: ShortStr::truncated(message.exchange()),
                    routing_key: ShortStr::truncated(message.routing_key()),
                };
                write_content(id, &deliver, message, properties, frame_size_max, out);
            }
            _ => {
                let delivery = leveret_amqp_codec::Delivery {
                    consumer_tag,
                    delivery_tag: tag,
                    redelivered: delivery.redelivered,
                    exchange: contents.exchange,
                    routing_key: contents.routing_key,
                    properties,
                    body: contents.body,
                };
                write_delivery(out.buffer(), id, &delivery, frame_size_max);
            }
        }
        if let Some(delivery) = delivery.id {
            channel.add_unacked(tag, source, delivery);
        }
    }

    pub(super) fn consumer_cancelled(&mut self, id: ChannelId, key: ConsumerKey, out: &mut Output) {
        let Some(channel) = self.channels.get_mut(&id) else {
            return;
        };
        let Some(consumer) = channel.consumers.get(key.0 as usize) else {
            return;
        };
        if self.core.client.consumer_cancel_notify && !channel.closing {
            let cancel = basic::Cancel {
                consumer_tag: ShortStr::truncated(&consumer.tag),
                no_wait: true,
            };
            write_method(out.buffer(), id, &cancel);
        }
        channel.forget_consumer(key);
    }
}

impl Session {
    /// A consumer that did not want to fall behind is told that it has. One that would not understand basic.cancel loses
    /// its channel, or it would wait for ever.
    fn consumer_too_slow(&mut self, now: Time, id: ChannelId, key: ConsumerKey, out: &mut Output) {
        let Some(channel) = self.channels.get(&id) else {
            return;
        };
        let Some(consumer) = channel.consumers.get(key.0 as usize) else {
            return;
        };
        let queue = channel.queue_of(consumer).name();
        let text = format!(
            "consumer '{}' of queue '{queue}' was too slow",
            consumer.tag
        );
        tracing::info!(connection = %self.core.name(), channel = id.0, "{text}");
        if self.core.client.consumer_cancel_notify || channel.closing {
            self.consumer_cancelled(id, key, out);
            return;
        }
        let failure = Failure {
            scope: id,
            refusal: Refusal::precondition_failed(text),
            method: (0, 0),
        };
        self.fail(now, failure, out);
    }
}

/// A method with the message that it brings. What is large is not copied.
pub(super) fn write_content<M: EncodeMethod>(
    id: ChannelId,
    method: &M,
    message: &Message,
    properties: RawProperties<'_>,
    frame_size_max: u32,
    out: &mut Output,
) {
    let body = message.body();
    write_method(out.buffer(), id, method);
    write_content_header(out.buffer(), id, M::CLASS_ID, body.len() as u64, properties);
    if body.len() >= WRITE_IN_PLACE_MIN && message.shared_body().is_some() {
        write_body_in_place(id, message, frame_size_max, out);
    } else {
        write_body(out.buffer(), id, body, frame_size_max);
    }
}

/// Body frames whose payload is not copied.
fn write_body_in_place(
    channel: ChannelId,
    message: &Message,
    frame_size_max: u32,
    out: &mut Output,
) {
    let Some(body) = message.shared_body() else {
        return;
    };
    let payload_max = (frame_size_max as usize)
        .saturating_sub(FRAME_OVERHEAD)
        .max(1);
    let mut start = 0;
    while start < body.len() {
        let end = body.len().min(start + payload_max);
        // A frame's payload is shorter than the frame size, which has 32 bits.
        write_body_frame_header(out.buffer(), channel, (end - start) as u32);
        out.push_large(body.slice(start..end));
        write_frame_end(out.buffer());
        start = end;
    }
}
