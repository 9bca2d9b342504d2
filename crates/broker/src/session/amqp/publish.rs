//! basic.publish: from the frames of a client to the batch for the queues (behaviour reference, section 8).

use std::sync::Arc;

use bytes::Bytes;
use leveret_amqp_codec::{
    ChannelId, Peek, Properties, RawProperties, RawTable, ReplyCode, ShortStr, method::basic,
    write_method,
};
use leveret_queue_store::{Message, MessageParts, SmallMessage, Time};

use super::Blocked;
use super::channel::{Channel, Mode};
use super::deliveries::write_content;
use super::whole::Whole;
use super::{Channels, Core, Failure, Progress, Publisher, Session};
use crate::delivery_mode;
use crate::error::Refusal;
use crate::expiration;
use crate::session::Output;
use crate::vhost::{PublishBatch, QueueCell, REPLY_TO, Route};

/// From this size on a body is on its own, so that it is not copied again on its way to its consumers.
pub(super) const SHARED_BODY_MIN: usize = 64 * 1024;

/// What a client publishes, complete.
#[derive(Clone, Copy, Debug)]
pub(super) struct Publish<'a> {
    pub(super) exchange: &'a str,
    pub(super) routing_key: &'a str,
    pub(super) mandatory: bool,
    pub(super) properties: RawProperties<'a>,
    pub(super) body: Body<'a>,
}

/// A message that knows its way.
#[derive(Debug)]
pub(super) struct RoutedPublish {
    pub(super) route: Arc<Route>,
    pub(super) message: Message,
    pub(super) mandatory: bool,
}

/// What a message will be made of.
struct NewMessage<'a> {
    /// All but the body.
    parts: MessageParts<'a>,
    body: Body<'a>,
}

impl NewMessage<'_> {
    /// One allocation that holds all that the queues and their consumers need, put together in `scratch`: what nearly every
    /// message is.
    #[inline]
    fn make_small(&self, scratch: &mut Vec<u8>) -> Option<SmallMessage> {
        match self.body {
            Body::Borrowed(body) => {
                let parts = MessageParts { body, ..self.parts };
                SmallMessage::new(&parts, scratch)
            }
            Body::Shared(_) => None,
        }
    }

    /// What the others are.
    fn make_large(&self) -> Message {
        let body = match self.body {
            Body::Borrowed(body) => Bytes::copy_from_slice(body),
            Body::Shared(body) => body.clone(),
        };
        Message::with_shared_body(&self.parts, body)
    }

    /// Puts it into a batch.
    #[inline]
    fn push(
        &self,
        batch: &mut PublishBatch,
        route: &Arc<Route>,
        ticket: u32,
        scratch: &mut Vec<u8>,
    ) {
        match self.make_small(scratch) {
            Some(message) => batch.push_small(route, message, ticket),
            None => batch.push(route, self.make_large(), ticket),
        }
    }

    #[inline(never)]
    fn make(&self, scratch: &mut Vec<u8>) -> Message {
        match self.make_small(scratch) {
            Some(message) => message.into(),
            None => self.make_large(),
        }
    }
}

/// Where the bytes of a body are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Body<'a> {
    /// In a buffer that will be used again: to be copied.
    Borrowed(&'a [u8]),
    /// On their own: to be kept.
    Shared(&'a Bytes),
}

impl Session {
    /// Takes a publish whose method, header and body lie in the input in one piece, which is the way of nearly every
    /// message. None when what comes next is something else, or must be looked at frame by frame.
    pub(super) fn publish_whole(
        &mut self,
        now: Time,
        rest: &[u8],
        out: &mut Output,
    ) -> Result<Option<Progress>, Failure> {
        if let Some(progress) = self.publish_again(rest, out) {
            return Ok(Some(progress));
        }
        let Some(whole) = Whole::decode(rest, &self.core.limits) else {
            return Ok(None);
        };
        if self.must_block(out) {
            return Ok(Some(Progress::Wait));
        }
        if !self
            .channels
            .get(&whole.channel)
            .is_some_and(|channel| !channel.closing && channel.content.is_none())
        {
            return Ok(None);
        }
        let size = whole.size;
        let own;
        let body = if whole.body.len() < SHARED_BODY_MIN {
            Body::Borrowed(whole.body)
        } else {
            own = Bytes::copy_from_slice(whole.body);
            Body::Shared(&own)
        };
        self.publish_decoded(now, &whole, body, out)?;
        self.core.remember(&whole);
        Ok(Some(self.core.progress(size, out)))
    }

    /// Takes a publish that is like the one before, without decoding it. None when it is not, or would have to be looked at
    /// again.
    fn publish_again(&mut self, rest: &[u8], out: &mut Output) -> Option<Progress> {
        let repeat = self.core.publisher.repeat.as_mut()?;
        let again = repeat.find(rest, &self.core.limits)?;
        if self.must_block(out) {
            return Some(Progress::Wait);
        }
        let generation = self.core.vhost.as_ref()?.generation();
        let publisher = &mut self.core.publisher;
        let repeat = publisher.repeat.as_ref()?;
        let route = publisher.cache.latest(generation, repeat.answer())?;
        let owes_acks =
            self.has_acks && owe_acks_to(&self.channels, &self.unsettled, &route.queues);
        if owes_acks || again.body.len() > self.core.shared.config.message_size_max() {
            return None;
        }
        let id = repeat.channel();
        let channel = self.channels.get_mut(&id)?;
        if channel.closing || channel.content.is_some() {
            return None;
        }
        let number = match &mut channel.mode {
            Mode::Transaction(_) => return None,
            Mode::Confirm(confirms) => Some(confirms.count()),
            Mode::Plain => None,
        };
        if number.is_some() && !self.unsettled.contains(&id) {
            self.unsettled.push(id);
        }
        publisher.published.add_one();
        let ticket = ticket(&mut publisher.tickets, id, number);
        let new = NewMessage {
            parts: repeat.parts(&[]),
            body: Body::Borrowed(again.body),
        };
        new.push(&mut publisher.batch, route, ticket, &mut publisher.scratch);
        Some(match publisher.batch.is_heavy() {
            true => Progress::Paused(again.size),
            false => Progress::Consumed(again.size),
        })
    }

    fn publish_decoded(
        &mut self,
        now: Time,
        whole: &Whole<'_>,
        body: Body<'_>,
        out: &mut Output,
    ) -> Result<(), Failure> {
        let publish = Publish {
            exchange: &whole.publish.exchange,
            routing_key: &whole.publish.routing_key,
            mandatory: whole.publish.mandatory,
            properties: whole.properties,
            body,
        };
        check_immediate(&whole.publish)
            .and_then(|()| self.publish(now, whole.channel, &publish, out))
            .map_err(|refusal| Failure::of_publish(whole.channel, refusal))
    }

    /// Whether an alarm stops this connection, which it tells the client about.
    pub(super) fn must_block(&mut self, out: &mut Output) -> bool {
        let alarms = &self.core.shared.services.alarms;
        if !alarms.is_any_raised() || !alarms.wait_until_released(&self.core.outbox) {
            return false;
        }
        let reason = alarms.reason();
        let tells = alarms.are_to_be_told() && self.core.client.connection_blocked;
        self.core.blocked = Some(Blocked { told: tells });
        if tells {
            let blocked = leveret_amqp_codec::method::connection::Blocked {
                reason: ShortStr::from_static(reason),
            };
            write_method(out.buffer(), ChannelId::CONNECTION, &blocked);
        }
        true
    }

    /// Routes a message and adds it to the batch, or to the channel's transaction.
    pub(super) fn publish(
        &mut self,
        now: Time,
        id: ChannelId,
        publish: &Publish<'_>,
        out: &mut Output,
    ) -> Result<(), Refusal> {
        let Some(channel) = self.channels.get_mut(&id) else {
            return Ok(());
        };
        let Some(vhost) = &self.core.vhost else {
            return Ok(());
        };
        check_size(
            publish.body_len(),
            self.core.shared.config.message_size_max(),
        )?;
        let peek = if publish.properties.is_empty() {
            Peek::default()
        } else {
            publish.properties.peek()
        };
        if let Some(headers) = peek.headers {
            let limit = self.core.shared.config.allowances.headers_per_message;
            check_header_count(headers, limit)?;
        }
        let Publish {
            exchange,
            routing_key,
            properties,
            ..
        } = *publish;
        let routed = vhost.route(
            &self.core.caller,
            &mut self.core.publisher.cache,
            exchange,
            routing_key,
            properties,
            peek.headers,
        );
        // RabbitMQ looks at the exchange first and at the further keys, whose headers are all that routing finds fault with
        // otherwise, last.
        if let Err(refusal) = &routed
            && refusal.code != ReplyCode::PreconditionFailed
        {
            return Err(refusal.clone());
        }
        let reply_to = channel.reply_address(&peek)?;
        self.core.caller.check_user_id(peek.user_id.as_deref())?;
        let expiration_ms = expiration::of(&peek)?;
        let route = routed?;
        let persistent = delivery_mode::is_persistent(&peek)?;
        let rewritten = rewritten(properties, &peek, reply_to.as_deref());
        let new = NewMessage {
            parts: MessageParts {
                exchange,
                routing_key,
                properties: rewritten
                    .as_deref()
                    .unwrap_or_else(|| properties.as_bytes()),
                body: &[],
                persistent,
                priority: peek.priority.unwrap_or(0),
                expiration_ms,
            },
            body: publish.body,
        };
        if self.has_acks && owe_acks_to(&self.channels, &self.unsettled, &route.queues) {
            // A queue has room for a message, and a consumer for it, once it knows what was acknowledged before.
            self.flush(now, out);
        }
        let Some(channel) = self.channels.get_mut(&id) else {
            return Ok(());
        };
        let publisher = &mut self.core.publisher;
        publisher.published.add_one();
        let mandatory = publish.mandatory;
        let number = match &mut channel.mode {
            Mode::Transaction(transaction) => {
                return transaction.hold(RoutedPublish {
                    route,
                    message: new.make(&mut publisher.scratch),
                    mandatory,
                });
            }
            Mode::Confirm(confirms) => Some(confirms.count()),
            Mode::Plain => None,
        };
        if number.is_some() && !self.unsettled.contains(&id) {
            self.unsettled.push(id);
        }
        if route.captures.is_empty() && !route.queues.is_empty() {
            let ticket = ticket(&mut publisher.tickets, id, number);
            new.push(&mut publisher.batch, &route, ticket, &mut publisher.scratch);
            publisher.cache.put_back(route);
        } else {
            let publish = RoutedPublish {
                route,
                message: new.make(&mut publisher.scratch),
                mandatory,
            };
            self.core.send(now, id, publish, number, out);
        }
        Ok(())
    }
}

/// Whether any of these queues has yet to be told of acknowledgements on one of the unsettled channels.
fn owe_acks_to(channels: &Channels, unsettled: &[ChannelId], queues: &[Arc<QueueCell>]) -> bool {
    let mut unsettled = unsettled.iter().filter_map(|id| channels.get(id));
    unsettled.any(|channel| channel.owes_acks_to(queues))
}

/// What a message of the batch is called, whose number among the confirms of its channel this is.
fn ticket(tickets: &mut Vec<(ChannelId, u64)>, channel: ChannelId, number: Option<u64>) -> u32 {
    let Some(number) = number else {
        return u32::MAX;
    };
    tickets.push((channel, number));
    // One read has room for fewer publishes than this.
    u32::try_from(tickets.len() - 1).unwrap_or(u32::MAX)
}

impl Core {
    /// Remembers a publish that was taken, for those that are like it.
    fn remember(&mut self, whole: &Whole<'_>) {
        let Some(vhost) = &self.vhost else {
            return;
        };
        let Publisher { cache, repeat, .. } = &mut self.publisher;
        let repeat = repeat.get_or_insert_default();
        repeat.remember(whole, cache, vhost.generation());
    }

    /// Adds a message to the batch, or returns it when nobody is there to take it.
    pub(super) fn send(
        &mut self,
        now: Time,
        channel: ChannelId,
        publish: RoutedPublish,
        number: Option<u64>,
        out: &mut Output,
    ) {
        let RoutedPublish {
            route,
            message,
            mandatory,
        } = publish;
        if !route.captures.is_empty()
            && let Some(vhost) = &self.vhost
        {
            let safe_at = vhost.capture(now, &route, &message);
            self.publisher.captured = self.publisher.captured.max(safe_at);
        }
        if route.queues.is_empty() {
            if route.captures.is_empty()
                && route.passes.is_none()
                && let Some(vhost) = &self.vhost
            {
                vhost.note_unroutable(now, &message);
            }
            if mandatory {
                self.write_return(channel, &message, out);
            }
            if route.passes.is_none() {
                return;
            }
        }
        let ticket = ticket(&mut self.publisher.tickets, channel, number);
        self.publisher.batch.push(&route, message, ticket);
    }

    fn write_return(&self, channel: ChannelId, message: &Message, out: &mut Output) {
        let returned = basic::Return {
            reply_code: ReplyCode::NoRoute.code(),
            reply_text: ShortStr::from_static("NO_ROUTE"),
            exchange: ShortStr::truncated(message.exchange()),
            routing_key: ShortStr::truncated(message.routing_key()),
        };
        let properties = RawProperties::from_validated_bytes(message.properties());
        let frame_size_max = self.negotiated.frame_size_max;
        write_content(channel, &returned, message, properties, frame_size_max, out);
    }
}

impl Publish<'_> {
    fn body_len(&self) -> usize {
        match self.body {
            Body::Borrowed(body) => body.len(),
            Body::Shared(body) => body.len(),
        }
    }
}

impl Channel {
    /// What `reply-to` is to be replaced with, for a request that wants a direct reply.
    fn reply_address(&self, peek: &Peek<'_>) -> Result<Option<Arc<str>>, Refusal> {
        if peek.reply_to.is_none_or(|reply_to| *reply_to != *REPLY_TO) {
            return Ok(None);
        }
        match &self.reply_to {
            Some((_, token)) => Ok(Some(Arc::clone(token))),
            None => Err(Refusal::precondition_failed(
                "fast reply consumer does not exist",
            )),
        }
    }
}

/// The only changes the broker makes to what a client publishes: BCC is for routing and nobody is to see it (behaviour
/// reference, section 8), and a request for a direct reply carries its token. None if there is nothing to change.
fn rewritten(
    properties: RawProperties<'_>,
    peek: &Peek<'_>,
    reply_to: Option<&str>,
) -> Option<Vec<u8>> {
    let headers = peek.headers;
    let has_bcc = headers.is_some_and(|headers| headers.get("BCC").is_some());
    (has_bcc || reply_to.is_some()).then(|| rewrite(properties, reply_to))
}

fn rewrite(properties: RawProperties<'_>, reply_to: Option<&str>) -> Vec<u8> {
    let mut properties = Properties::from(properties);
    if let Some(headers) = &mut properties.headers {
        headers.remove("BCC");
    }
    if let Some(reply_to) = reply_to {
        properties.reply_to = Some(reply_to.to_owned());
    }
    properties.to_bytes()
}

pub(super) fn check_immediate(publish: &basic::Publish<'_>) -> Result<(), Refusal> {
    if publish.immediate {
        return Err(Refusal::not_implemented("immediate=true"));
    }
    Ok(())
}

/// Counts headers only where there could be too many: each takes two bytes at least, its name's length and a type.
fn check_header_count(headers: RawTable<'_>, limit: usize) -> Result<(), Refusal> {
    if headers.len() / 2 <= limit {
        return Ok(());
    }
    let count = headers.iter().count();
    if count > limit {
        return Err(Refusal::precondition_failed(format!(
            "message has {count} headers, which is more than the configured maximum ({limit})"
        )));
    }
    Ok(())
}

pub(super) fn check_size(size: usize, limit: usize) -> Result<(), Refusal> {
    if size > limit {
        return Err(Refusal::precondition_failed(format!(
            "message size {size} is larger than configured max size {limit}"
        )));
    }
    Ok(())
}
