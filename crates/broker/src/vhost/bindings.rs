//! Binding and unbinding queues and exchanges (behaviour reference, section 5.4).

use std::sync::Arc;

use leveret_amqp_codec::RawTable;
use leveret_queue_store::{Message, Time};
use parking_lot::RwLockWriteGuard;

use super::VirtualHost;
use super::exchanges::refuse_default_exchange;
use super::past::ResumeFrom;
use super::presence::Asked;
use super::reply::is_token;
use super::topology::{Binding, Capture, Route, Topology};
use crate::access::{Caller, Resource, Right};
use crate::error::Refusal;
use crate::exchange::{BindingArguments, Destination, ExchangeId, ExchangeKind};
use crate::metadata::Ticket;
use crate::quota::{Reached, Seat};

/// Of how many messages that a recent-history exchange keeps a new binding is told. If it leads to an exchange, as many
/// exchanges may be asked and bindings followed for them altogether, or what one message takes: one frame of a client has
/// that done at once. As much as a connection may publish in one turn, and far more than the twenty that are kept unless
/// the exchange says otherwise.
const REPLAYED_MAX: usize = 65_536;

/// The fields of queue.bind, exchange.bind and their opposites.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BindingRequest<'a> {
    /// The queue's name, or the name of the exchange that is to receive.
    pub(crate) destination: &'a str,
    pub(crate) source: &'a str,
    pub(crate) routing_key: &'a str,
    pub(crate) arguments: RawTable<'a>,
    /// From where on a queue wants the history of the source, which then must keep one. None for what the queue's
    /// arguments say.
    pub(crate) resume: Option<ResumeFrom>,
}

impl VirtualHost {
    /// Binds a queue; nothing happens when it is bound so already. The answer waits for the ticket.
    ///
    /// # Errors
    /// 403 for the default exchange and without the rights, 404 for what is missing, 405 for another connection's exclusive
    /// queue, 406 for arguments that the exchange's type does not accept and for history that it does not keep, 541 for a
    /// durable binding that cannot be stored.
    pub(crate) fn bind_queue(
        &self,
        now: Time,
        caller: &Caller,
        request: &BindingRequest<'_>,
    ) -> Result<Ticket, Refusal> {
        let checked = self.check_queue_binding(caller, request)?;
        self.bind_queue_checked(now, caller, request, checked)
    }

    /// Binds a queue for a caller whose rights have been looked at, when the source was of that type.
    fn bind_queue_checked(
        &self,
        now: Time,
        caller: &Caller,
        request: &BindingRequest<'_>,
        checked: Option<ExchangeKind>,
    ) -> Result<Ticket, Refusal> {
        let topology = self.topology.write();
        // RabbitMQ's order: the exchange, the queue, the binding itself, and only then whose the queue is.
        let source = self.require_exchange(&topology, request.source)?;
        let kind = topology.exchange(source).kind;
        check_again(caller, request, checked, kind)?;
        let asked = match kind {
            ExchangeKind::Presence => Asked::of(caller, request)?,
            _ => Asked::Nothing,
        };
        let queue = topology
            .queue(request.destination)
            .filter(|_| !is_token(request.destination))
            .ok_or_else(|| self.no_queue(request.destination))?;
        validate(&topology, source, request)?;
        self.check_owner(queue, caller)?;
        if request.resume.is_some() && topology.past_of(&binding(source, request)).is_none() {
            return Err(Refusal::precondition_failed(format!(
                "{} keeps no history{}",
                self.exchange_phrase(request.source),
                match asked {
                    Asked::ToWatch => " of who was present",
                    Asked::ToBePresent(_) | Asked::Nothing => "",
                }
            )));
        }
        let destination = Destination::Queue(queue.id());
        asked.check_room(topology.exchange(source), destination, request.routing_key)?;
        let ends = (source, destination);
        if let Asked::ToBePresent(member) = asked {
            return self.bind(now, caller, topology, ends, request, |topology| {
                Self::make_present(topology, now, caller, ends, request, &member);
            });
        }
        self.bind(now, caller, topology, ends, request, |_| ())
    }

    /// Removes a queue's binding; one that does not exist is fine, and so is a queue or exchange that does not. The
    /// answer waits for the ticket.
    ///
    /// # Errors
    /// 403 for the default exchange and without the rights, 405 for a binding of another connection's exclusive queue;
    /// RabbitMQ looks at the owner only when there is something to remove. 541 for a durable binding whose end cannot be
    /// stored.
    pub(crate) fn unbind_queue(
        &self,
        now: Time,
        caller: &Caller,
        request: &BindingRequest<'_>,
    ) -> Result<Ticket, Refusal> {
        let checked = self.check_queue_binding(caller, request)?;
        let topology = self.topology.write();
        let (Some(queue), Some(source)) = (
            topology.queue(request.destination),
            topology.exchange_id(request.source),
        ) else {
            return Ok(self.settled(true));
        };
        check_again(caller, request, checked, topology.exchange(source).kind)?;
        let destination = Destination::Queue(queue.id());
        if topology.is_bound(destination, &binding(source, request)) {
            self.check_owner(queue, caller)?;
        }
        self.unbind(now, topology, source, destination, request)
    }

    /// Binds an exchange to another; nothing happens when it is bound so already. The answer waits for the ticket.
    ///
    /// # Errors
    /// As [`VirtualHost::bind_queue`].
    pub(crate) fn bind_exchange(
        &self,
        now: Time,
        caller: &Caller,
        request: &BindingRequest<'_>,
    ) -> Result<Ticket, Refusal> {
        let checked = self.check_exchange_binding(caller, request)?;
        let topology = self.topology.write();
        // Where both are missing RabbitMQ names the source.
        let source = self.require_exchange(&topology, request.source)?;
        let kind = topology.exchange(source).kind;
        check_again(caller, request, checked, kind)?;
        if kind == ExchangeKind::Presence && matches!(Asked::of(caller, request)?, Asked::ToWatch) {
            return Err(Refusal::precondition_failed(
                "only queues can watch who is present",
            ));
        }
        let destination = self.require_exchange(&topology, request.destination)?;
        validate(&topology, source, request)?;
        let destination = Destination::Exchange(destination);
        let ends = (source, destination);
        self.bind(now, caller, topology, ends, request, |_| ())
    }

    /// Removes a binding between exchanges; what does not exist is fine. The answer waits for the ticket.
    ///
    /// # Errors
    /// 403 for the default exchange and without the rights, 541 for a durable binding whose end cannot be stored.
    pub(crate) fn unbind_exchange(
        &self,
        now: Time,
        caller: &Caller,
        request: &BindingRequest<'_>,
    ) -> Result<Ticket, Refusal> {
        let checked = self.check_exchange_binding(caller, request)?;
        let topology = self.topology.write();
        let (Some(destination), Some(source)) = (
            topology.exchange_id(request.destination),
            topology.exchange_id(request.source),
        ) else {
            return Ok(self.settled(true));
        };
        check_again(caller, request, checked, topology.exchange(source).kind)?;
        self.unbind(
            now,
            topology,
            source,
            Destination::Exchange(destination),
            request,
        )
    }

    /// Tells of what type the source is, if it exists.
    fn check_queue_binding(
        &self,
        caller: &Caller,
        request: &BindingRequest<'_>,
    ) -> Result<Option<ExchangeKind>, Refusal> {
        caller.require(Right::Write, Resource::Queue(request.destination))?;
        self.check_source(caller, request)
    }

    fn check_exchange_binding(
        &self,
        caller: &Caller,
        request: &BindingRequest<'_>,
    ) -> Result<Option<ExchangeKind>, Refusal> {
        caller.require(Right::Write, Resource::Exchange(request.destination))?;
        refuse_default_exchange(request.destination)?;
        self.check_source(caller, request)
    }

    /// RabbitMQ's order: the right to write to the destination comes before this, and all of it before the question what
    /// exists.
    fn check_source(
        &self,
        caller: &Caller,
        request: &BindingRequest<'_>,
    ) -> Result<Option<ExchangeKind>, Refusal> {
        refuse_default_exchange(request.source)?;
        caller.require(Right::Read, Resource::Exchange(request.source))?;
        let kind = {
            let topology = self.topology.read();
            let source = topology.exchange_by_name(request.source);
            source.map(|exchange| exchange.kind)
        };
        if let Some(kind) = kind {
            check_topic(caller, request, kind)?;
        }
        Ok(kind)
    }

    /// Binds, and does `then` whether or not that was bound before.
    fn bind(
        &self,
        now: Time,
        caller: &Caller,
        mut topology: RwLockWriteGuard<'_, Topology>,
        (source, destination): (ExchangeId, Destination),
        request: &BindingRequest<'_>,
        then: impl FnOnce(&mut Topology),
    ) -> Result<Ticket, Refusal> {
        let durable = topology.is_durable(source, destination);
        self.check_recordable(durable)?;
        let binding = binding(source, request);
        let is_new = !topology.is_bound(destination, &binding);
        let seat = if is_new {
            self.make_room(caller, &topology, request)?
        } else {
            None
        };
        if let Destination::Queue(_) = destination
            && is_new
            && let Some(past) = topology.past_of(&binding).map(Arc::clone)
            && let Some(queue) = topology.queue(request.destination).map(Arc::clone)
        {
            let ends = (&past, &queue);
            let place = (binding, seat);
            return Ok(self.join(now, topology, ends, place, request.resume, then));
        }
        topology.bind(destination, binding, seat);
        then(&mut topology);
        let announcements = topology.take_announcements();
        if !is_new {
            drop(topology);
            announcements.make(self, now);
            return Ok(self.settled(durable));
        }
        let history = match topology.exchange(source).capture() {
            Some(Capture::Keep(history)) => history.latest(REPLAYED_MAX),
            _ => Vec::new(),
        };
        let name = Arc::clone(topology.destination_name(destination));
        let ticket = self.topology_changed(topology);
        announcements.make(self, now);
        // A new binding of a recent-history exchange is told what it missed, all of it or nothing.
        if self.services.has_room_for(&history) {
            self.replay(now, destination, &name, history);
        }
        Ok(ticket)
    }

    /// Gives messages to what has been bound, as long as there is room for them.
    fn replay(&self, now: Time, destination: Destination, name: &str, history: Vec<Message>) {
        let has_room =
            |message: &Message| self.services.has_room_for(std::slice::from_ref(message));
        if let Destination::Queue(_) = destination {
            let told = history.iter().take_while(|message| has_room(message));
            told.for_each(|message| self.publish_to_queue(now, name, message));
            return;
        }
        for (message, route) in self.ways_from(name, history) {
            if !has_room(&message) {
                break;
            }
            self.publish_by(now, route, &message);
        }
    }

    /// The latest of these messages, in order, with their ways from an exchange, as far as these do not come to too much. What
    /// lies behind it may be many queues.
    fn ways_from(&self, exchange: &str, history: Vec<Message>) -> Vec<(Message, Route)> {
        let mut ways = Vec::new();
        let mut looked_at = 0;
        for message in history.into_iter().rev() {
            let Some(route) = self.route_internally(exchange, &message) else {
                break;
            };
            looked_at += route.looked_at;
            if looked_at > REPLAYED_MAX && !ways.is_empty() {
                break;
            }
            ways.push((message, route));
        }
        ways.reverse();
        ways
    }

    /// Whether there may be one more binding; it then counts as one of its connection's for as long as the seat is held.
    fn make_room(
        &self,
        caller: &Caller,
        topology: &Topology,
        request: &BindingRequest<'_>,
    ) -> Result<Option<Seat>, Refusal> {
        let refused = |whose: &str, limit: u64| {
            Refusal::precondition_failed(format!(
                "cannot bind to '{}': binding limit {whose} ({limit}) is reached",
                request.destination
            ))
        };
        let limit = self.services.bindings_max;
        if topology.binding_len() >= limit {
            return Err(refused(&format!("in vhost '{}'", self.name), limit as u64));
        }
        let limit = self.services.allowances.bindings_per_connection;
        let seat = caller.make_binding(limit);
        seat.map_err(|Reached(_)| refused("of this connection", limit.into()))
    }

    fn unbind(
        &self,
        now: Time,
        mut topology: RwLockWriteGuard<'_, Topology>,
        source: ExchangeId,
        destination: Destination,
        request: &BindingRequest<'_>,
    ) -> Result<Ticket, Refusal> {
        let durable = topology.is_durable(source, destination);
        let binding = binding(source, request);
        if !topology.is_bound(destination, &binding) {
            return Ok(self.settled(durable));
        }
        self.check_recordable(durable)?;
        topology.unbind(destination, &binding);
        let announcements = topology.take_announcements();
        let ticket = self.topology_changed(topology);
        announcements.make(self, now);
        Ok(ticket)
    }
}

/// The right to use the key with the source, where that is of a type that asks for it.
fn check_topic(
    caller: &Caller,
    request: &BindingRequest<'_>,
    kind: ExchangeKind,
) -> Result<(), Refusal> {
    if kind.has_topics() {
        caller.require_keys(Right::Read, request.source, &[request.routing_key])?;
    }
    Ok(())
}

/// The same for the source as it is now. It may have been declared anew, as another type, since its type was `checked`.
fn check_again(
    caller: &Caller,
    request: &BindingRequest<'_>,
    checked: Option<ExchangeKind>,
    kind: ExchangeKind,
) -> Result<(), Refusal> {
    if checked == Some(kind) {
        return Ok(());
    }
    check_topic(caller, request, kind)
}

/// Whether the source's type accepts the binding.
fn validate(
    topology: &Topology,
    source: ExchangeId,
    request: &BindingRequest<'_>,
) -> Result<(), Refusal> {
    let router = topology.exchange(source).router();
    router.validate(request.routing_key, request.arguments)
}

fn binding(source: ExchangeId, request: &BindingRequest<'_>) -> Binding {
    Binding {
        source,
        key: Arc::from(request.routing_key),
        arguments: BindingArguments::new(request.arguments),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::ConnectionId;
    use crate::{Broker, ExchangeOptions, ExchangeType, QueueOptions};

    #[tokio::test]
    async fn what_has_become_a_topic_exchange_is_bound_with_its_permission_only() {
        let broker = Broker::builder().start().await.unwrap();
        let client = broker.client().unwrap();
        client
            .declare_exchange("x", ExchangeType::Topic, ExchangeOptions::default())
            .await
            .unwrap();
        client
            .declare_queue("q", QueueOptions::default())
            .await
            .unwrap();
        let vhost = broker.shared.vhost("/").unwrap();
        let now = broker.shared.now();
        let request = BindingRequest {
            destination: "q",
            source: "x",
            routing_key: "#",
            arguments: RawTable::EMPTY,
            resume: None,
        };
        // Nobody has the permission. What was there before was a fanout exchange, or nothing.
        let caller = Caller::nobody(ConnectionId(u64::MAX));
        for checked in [Some(ExchangeKind::Fanout), None] {
            let bound = vhost.bind_queue_checked(now, &caller, &request, checked);
            assert!(bound.is_err(), "{checked:?}");
        }
        assert_eq!(vhost.topology.read().binding_len(), 0);
        let checked = Some(ExchangeKind::Topic);
        let bound = vhost.bind_queue_checked(now, &caller, &request, checked);
        assert!(bound.is_ok(), "it was looked at before");
    }
}
