//! SUBSCRIBE and UNSUBSCRIBE (behaviour reference, sections 20.4 and 20.6).

use std::sync::Arc;

use leveret_amqp_codec::{ChannelId, RawTable, Table, Value};
use leveret_queue_store::{ConsumerOptions, SlowConsumer, Time};
use leveret_stomp_codec::Frame;

use super::destination::Destination;
use super::problem::Problem;
use super::queue::{is_durable, subscription_queue};
use super::reply::TEMP_QUEUE_PREFIX;
use super::send::{destination_of, not_for};
use super::subscriptions::{AckMode, Consuming, Started};
use super::{Session, headers};
use crate::access::{Resource, Right};
use crate::error::Refusal;
use crate::exchange::presence;
use crate::session::Output;
use crate::slow;
use crate::vhost::{
    BindingRequest, CannotConsume, ConsumerLink, ConsumerSeats, PositionError, QueueCell,
    QueueDelete, ResumeFrom,
};

/// To AMQP clients and in what is told about unacknowledged messages a session is a connection with this one channel.
const CHANNEL: ChannelId = ChannelId(1);

/// The tags of consumers have at most this many bytes (AMQP 4.2.5.3, short strings).
const TAG_SIZE_MAX: usize = 255;

/// A subscription to be started.
pub(super) struct Consume {
    pub(super) tag: Arc<str>,
    pub(super) destination: Arc<str>,
    pub(super) queue: Arc<QueueCell>,
    pub(super) how: Consuming,
    pub(super) priority: i64,
    /// What happens when too much waits for it.
    pub(super) slow: Option<Box<SlowConsumer>>,
}

/// The queue of a subscription to be started.
struct Found {
    queue: Arc<QueueCell>,
    /// For this subscription alone.
    created: bool,
    /// Its name was made up.
    drawn: bool,
}

impl Found {
    fn there(queue: Arc<QueueCell>) -> Self {
        Self {
            queue,
            created: false,
            drawn: false,
        }
    }
}

impl Session {
    pub(super) fn subscribe(
        &mut self,
        now: Time,
        frame: &Frame,
        out: &mut Output,
    ) -> Result<(), Problem> {
        let text = destination_of(frame, "SUBSCRIBE")?;
        let destination = Destination::parse(text)?;
        require_id_of_durable(frame)?;
        let prefetch = headers::integer::<u16>(frame, "prefetch-count")?;
        let priority = headers::integer(frame, "x-priority")?.unwrap_or(0);
        let ack = ack_mode(frame)?;
        let slow = slow_consumer(frame)?;
        let resume = resume_from(frame, &destination)?;
        let tag: Arc<str> = tag_of(frame)?.ok_or_else(Problem::processing)?.into();
        // RabbitMQ looks for the queue first, and still complains of the identifier first.
        let found = self.subscribed_queue(now, text, &destination, frame, out);
        if self.subscriptions.find(&tag).is_some() {
            if let Ok(Found {
                queue,
                created: true,
                ..
            }) = &found
            {
                self.discard_unused(now, queue);
            }
            return Err(Problem::fatal(
                "Duplicated subscription identifier",
                format!("A subscription identified by '{tag}' already exists."),
            ));
        }
        let Found {
            queue,
            created,
            drawn,
        } = found?;
        let source = destination.source();
        let vhost = self.vhost()?;
        // As in RabbitMQ the limit is the session's from now on, also for later subscriptions that name none.
        self.prefetch = prefetch.unwrap_or(self.prefetch);
        let has_history = source.is_some_and(|(exchange, _)| vhost.keeps_history(exchange));
        let consume = Consume {
            tag,
            destination: text.into(),
            queue: Arc::clone(&queue),
            how: Consuming { ack, has_history },
            priority,
            slow,
        };
        let arguments = presence_arguments(frame).to_bytes();
        let binding = source.map(|(exchange, key)| BindingRequest {
            destination: queue.name(),
            source: exchange,
            routing_key: key,
            arguments: RawTable::from_validated_bytes(&arguments),
            resume,
        });
        if let Err(problem) = self.bind_and_consume(now, consume, binding.as_ref()) {
            if created {
                self.discard_unused(now, &queue);
            }
            self.keep_name(&problem, drawn.then_some(queue.name()));
            return Err(problem);
        }
        // As in RabbitMQ, the receipt comes before what waits in the queue, which is in the outbox.
        Ok(())
    }

    /// The queue behind a subscription.
    fn subscribed_queue(
        &mut self,
        now: Time,
        text: &str,
        destination: &Destination<'_>,
        frame: &Frame,
        out: &mut Output,
    ) -> Result<Found, Problem> {
        match destination {
            Destination::Queue(name) => {
                self.know_queue(now, name, frame, out)?;
                let queue = self.vhost()?.readable_queue(&self.core.caller, name)?;
                Ok(Found::there(queue))
            }
            Destination::AmqQueue(name) | Destination::ReplyQueue(name) => {
                let queue = self.vhost()?.readable_queue(&self.core.caller, name)?;
                Ok(Found::there(queue))
            }
            Destination::Topic(_) | Destination::Exchange { .. } => {
                let source = destination.source().unwrap_or_default();
                let mut drawn = None;
                let name = match subscription_queue(source, self.core.username(), frame)? {
                    Some(name) => name,
                    None => drawn.insert(self.draw_subscription_queue()).clone(),
                };
                let declared = self
                    .foresee_subscription(&name, source)
                    .and_then(|()| self.declare_subscription_queue(now, &name, frame))
                    .inspect_err(|problem| self.keep_name(problem, drawn.as_deref()))?;
                Ok(Found {
                    queue: declared.queue,
                    created: declared.created,
                    drawn: drawn.is_some(),
                })
            }
            Destination::TempQueue(_) => Err(not_for(text, "SUBSCRIBE")),
        }
    }

    /// Has all that a subscription to an exchange needs asked before its queue is made.
    fn foresee_subscription(
        &self,
        name: &str,
        (exchange, key): (&str, &str),
    ) -> Result<(), Problem> {
        let caller = &self.core.caller;
        if !caller.is_asked() {
            return Ok(());
        }
        let vhost = self.vhost()?;
        let queue = Resource::Queue(name);
        let rights = [
            (Right::Configure, queue),
            (Right::Read, queue),
            (Right::Write, queue),
            (Right::Read, Resource::Exchange(exchange)),
        ];
        let topic = vhost.has_topics(exchange).then_some((exchange, key));
        Ok(caller.foresee(&rights, topic)?)
    }

    /// The next try of the same frame is about the same queue.
    fn keep_name(&self, problem: &Problem, drawn: Option<&str>) {
        if let Some(name) = drawn
            && problem.is_open()
        {
            self.core.caller.keep_name(name);
        }
    }

    /// Starts a subscription, whose queue is bound first where there is something to bind it to: nothing is in the queue yet
    /// if that is refused.
    fn bind_and_consume(
        &mut self,
        now: Time,
        consume: Consume,
        binding: Option<&BindingRequest<'_>>,
    ) -> Result<(), Problem> {
        let vhost = self.vhost()?;
        // RabbitMQ consumes before it binds.
        if binding.is_some() {
            vhost.readable_queue(&self.core.caller, consume.queue.name())?;
        }
        let seats = self.take_seats(&consume.queue)?;
        if let Some(binding) = binding {
            if !binding.arguments.is_empty() {
                vhost.require_presence(binding.source)?;
            }
            let ticket = vhost.bind_queue(now, &self.core.caller, binding)?;
            self.core.unstored = self.core.unstored.max(ticket);
        }
        self.consume_queue(now, consume, seats)
    }

    /// Room for one more subscription.
    pub(super) fn take_seats(&self, queue: &QueueCell) -> Result<ConsumerSeats, Problem> {
        let limit = self.core.shared.config.consumers_per_channel_max;
        if self.subscriptions.len() >= limit {
            let refusal = format!("reached maximum ({limit}) of subscriptions per session");
            return Err(Refusal::not_allowed(refusal).into());
        }
        let vhost = self.vhost()?;
        Ok(vhost.add_consumer(&self.core.caller, queue.name())?)
    }

    /// Starts a subscription. Its deliveries may be in the outbox when this returns.
    pub(super) fn consume_queue(
        &mut self,
        now: Time,
        consume: Consume,
        seats: ConsumerSeats,
    ) -> Result<(), Problem> {
        let vhost = self.vhost()?;
        let Consume {
            tag,
            destination,
            queue,
            how,
            priority,
            slow,
        } = consume;
        let own_window = slow.as_ref().and_then(|slow| slow.own_window.clone());
        let vacancy = self.subscriptions.vacancy();
        let options = ConsumerOptions {
            no_ack: how.ack == AckMode::Auto,
            exclusive: false,
            priority,
            prefetch: u32::from(self.prefetch),
            window: Some(Arc::clone(self.core.outbox.window())),
            channel_prefetch: None,
            slow,
        };
        let link = ConsumerLink {
            outbox: Arc::clone(&self.core.outbox),
            channel: CHANNEL,
            key: vacancy.key(),
            holder: self.core.registration.id(),
            tag: Some(Arc::clone(&tag)),
            _seats: seats,
        };
        match queue.consume(now, options, link) {
            Ok(consumer) => {
                vacancy.fill(Started {
                    tag,
                    destination: (&*destination).into(),
                    how,
                    queue,
                    consumer,
                    own_window,
                });
                Ok(())
            }
            Err(CannotConsume::QueueGone) => Err(vhost.no_queue(queue.name()).into()),
            Err(CannotConsume::Refused(_)) => {
                let phrase = vhost.queue_phrase(queue.name());
                Err(Refusal::access_refused(format!("{phrase} in exclusive use")).into())
            }
        }
    }

    /// Deletes a queue that was made for a subscription which then could not be, whatever it was to be, as RabbitMQ does.
    fn discard_unused(&self, now: Time, queue: &QueueCell) {
        let request = QueueDelete {
            name: queue.name(),
            if_unused: true,
            if_empty: true,
        };
        if let Some(vhost) = &self.core.vhost {
            // It is in use, or somebody else's: then it stays.
            let _ = vhost.delete_queue(now, &self.core.caller, &request);
        }
    }

    pub(super) fn unsubscribe(
        &mut self,
        now: Time,
        frame: &Frame,
        out: &mut Output,
    ) -> Result<(), Problem> {
        if frame
            .header("id")
            .is_some_and(|id| id.starts_with(TEMP_QUEUE_PREFIX))
        {
            return Err(Problem::new(
                "Invalid id",
                format!("UNSUBSCRIBE 'id' may not start with {TEMP_QUEUE_PREFIX}\n"),
            ));
        }
        let tag = tag_of(frame)?.ok_or_else(|| {
            Problem::new(
                "Missing destination or id",
                "UNSUBSCRIBE must include a 'destination' or 'id' header",
            )
        })?;
        require_id_of_durable(frame)?;
        let Some(key) = self.subscriptions.find(&tag) else {
            return Err(not_subscribed(frame));
        };
        let subscription = self.subscriptions.get(key);
        let destination = subscription.map(|it| it.destination.clone());
        if self.core.caller.is_asked()
            && is_durable(frame)?
            && let Some(destination) = &destination
            && let Some(name) = self.durable_queue(destination, frame)?
        {
            // Before the subscription ends, which it can only once.
            let rights = [(Right::Configure, Resource::Queue(&name))];
            self.core.caller.foresee(&rights, None)?;
        }
        let queue = subscription.map(|it| Arc::clone(&it.queue));
        self.subscriptions.begin_to_end(now, key);
        // What came without acknowledgement is still sent, and nothing after; word that the queue is gone, or that the
        // broker ends, may come first.
        self.send_deliveries(now, usize::MAX, out);
        if self.subscriptions.find(&tag) == Some(key) {
            self.subscriptions.forget(now, key);
        }
        if let Some(queue) = queue {
            self.leave_queue(now, &queue);
        }
        if is_durable(frame)?
            && let Some(destination) = destination
        {
            self.delete_durable(now, &destination, frame)?;
        }
        Ok(())
    }

    /// Whom a subscription that has ended made present is not present by it any more, though its binding may stay.
    pub(super) fn leave_queue(&self, now: Time, queue: &QueueCell) {
        // An auto-delete queue takes its binding along.
        if let Some(vhost) = &self.core.vhost
            && !queue.definition().auto_delete
        {
            vhost.leave_with_queue(now, self.core.registration.id(), queue);
        }
    }

    /// The queue of a durable subscription to a topic, by the headers of UNSUBSCRIBE.
    fn durable_queue(&self, destination: &str, frame: &Frame) -> Result<Option<String>, Problem> {
        let Destination::Topic(key) = Destination::parse(destination)? else {
            return Ok(None);
        };
        let source = (super::destination::TOPIC_EXCHANGE, &*key);
        subscription_queue(source, self.core.username(), frame)
    }

    /// Ends a durable subscription for good. The queue is found by the headers of UNSUBSCRIBE, as in RabbitMQ.
    fn delete_durable(
        &mut self,
        now: Time,
        destination: &str,
        frame: &Frame,
    ) -> Result<(), Problem> {
        if let Some(name) = self.durable_queue(destination, frame)? {
            let request = QueueDelete {
                name: &name,
                if_unused: false,
                if_empty: false,
            };
            let deleted = self
                .vhost()?
                .delete_queue(now, &self.core.caller, &request)?;
            self.core.unstored = self.core.unstored.max(deleted.ticket);
        }
        Ok(())
    }
}

/// A durable subscription is found again by its id.
fn require_id_of_durable(frame: &Frame) -> Result<(), Problem> {
    if is_durable(frame)? && frame.header("id").is_none() {
        return Err(Problem::new(
            "Missing Header",
            "Header 'id' is required for durable subscriptions",
        ));
    }
    Ok(())
}

/// The consumer's tag that a frame leads to: by its id, or by its destination if it has none. None without either.
///
/// # Errors
/// When it is too long, or looks like that of a temporary queue.
fn tag_of(frame: &Frame) -> Result<Option<String>, Problem> {
    let tag = match (frame.header("id"), frame.header("destination")) {
        (Some(id), _) if id.starts_with(TEMP_QUEUE_PREFIX) => return Err(Problem::processing()),
        (Some(id), _) => format!("T_{id}"),
        (None, Some(destination)) => format!("Q_{destination}"),
        (None, None) => return Ok(None),
    };
    if tag.len() > TAG_SIZE_MAX {
        return Err(Problem::processing());
    }
    Ok(Some(tag))
}

fn ack_mode(frame: &Frame) -> Result<AckMode, Problem> {
    match frame.header("ack") {
        None | Some("auto") => Ok(AckMode::Auto),
        Some("client") => Ok(AckMode::Cumulative),
        Some("client-individual") => Ok(AckMode::Individual),
        Some(_) => Err(Problem::processing()),
    }
}

/// What the frame says of a subscription that is slow. The same words in arguments have AMQP clients told the same.
fn slow_consumer(frame: &Frame) -> Result<Option<Box<SlowConsumer>>, Problem> {
    let mut arguments = Table::default();
    if let Some(action) = frame.header(slow::ACTION) {
        arguments.append(slow::ACTION, action);
    }
    for name in [slow::LIMIT, slow::LIMIT_BYTES] {
        if let Some(limit) = headers::integer::<i64>(frame, name)? {
            arguments.append(name, Value::I64(limit));
        }
    }
    if arguments.is_empty() {
        return Ok(None);
    }
    let arguments = arguments.to_bytes();
    let arguments = RawTable::from_validated_bytes(&arguments);
    let destination = frame.header("destination").unwrap_or_default();
    let slow = slow::from_arguments(arguments, &format!("destination '{destination}'"))?;
    Ok(slow)
}

/// The arguments of the binding to a presence exchange.
fn presence_arguments(frame: &Frame) -> Table {
    let mut arguments = Table::default();
    for name in [presence::MODE, presence::MEMBER] {
        if let Some(text) = frame.header(name) {
            arguments.append(name, text);
        }
    }
    arguments
}

/// From where on a subscription wants the history of its exchange.
fn resume_from(
    frame: &Frame,
    destination: &Destination<'_>,
) -> Result<Option<ResumeFrom>, Problem> {
    let Some(text) = frame.header("resume-from") else {
        return Ok(None);
    };
    if destination.source().is_none() {
        return Err(Problem::new(
            "Invalid header",
            "'resume-from' is for /topic and /exchange destinations: a queue keeps what it has not delivered.\n",
        ));
    }
    text.parse().map(Some).map_err(|problem: PositionError| {
        Problem::new(
            "Invalid header",
            format!("\"SUBSCRIBE\" must include a valid \"resume-from\" header: {problem}\n"),
        )
    })
}

fn not_subscribed(frame: &Frame) -> Problem {
    let description = match (frame.header("id"), frame.header("destination")) {
        (None, Some(destination)) => format!("destination='{destination}'"),
        (id, _) => format!("id='{}'", id.unwrap_or_default()),
    };
    Problem::new(
        "No subscription found",
        format!(
            "UNSUBSCRIBE must refer to an existing subscription.\nSubscription to \"{description}\" not found.\n"
        ),
    )
}
