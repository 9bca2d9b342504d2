//! Binding and unbinding queues and exchanges (behaviour reference, section 5.4).

use std::sync::Arc;

use leveret_amqp_codec::RawTable;

use super::exchanges::refuse_default_exchange;
use super::topology::{Binding, Topology};
use super::VirtualHost;
use crate::connection::ConnectionId;
use crate::error::Refusal;
use crate::exchange::{BindingArguments, Destination};

/// The fields of queue.bind, exchange.bind and their opposites.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BindingRequest<'a> {
    /// The queue's name, or the name of the exchange that is to receive.
    pub(crate) destination: &'a str,
    pub(crate) source: &'a str,
    pub(crate) routing_key: &'a str,
    pub(crate) arguments: RawTable<'a>,
}

impl VirtualHost {
    /// Binds a queue; nothing happens when it is bound so already.
    ///
    /// # Errors
    /// 403 for the default exchange, 404 for what is missing, 405 for another connection's exclusive queue, 406 for
    /// arguments that the exchange's type does not accept.
    pub(crate) fn bind_queue(&self, connection: ConnectionId, request: &BindingRequest<'_>) -> Result<(), Refusal> {
        refuse_default_exchange(request.source)?;
        let mut topology = self.topology.write();
        // Where both are missing RabbitMQ names the exchange.
        self.require_exchange(&topology, request.source)?;
        let destination = self.queue_destination(&topology, connection, request)?;
        self.bind(&mut topology, destination, request)
    }

    /// Removes a queue's binding; one that does not exist is fine, and so is a queue or exchange that does not.
    ///
    /// # Errors
    /// 403 for the default exchange, 405 for another connection's exclusive queue.
    pub(crate) fn unbind_queue(&self, connection: ConnectionId, request: &BindingRequest<'_>) -> Result<(), Refusal> {
        refuse_default_exchange(request.source)?;
        let mut topology = self.topology.write();
        if topology.queue(request.destination).is_none() {
            return Ok(());
        }
        let destination = self.queue_destination(&topology, connection, request)?;
        self.unbind(&mut topology, destination, request);
        Ok(())
    }

    /// Binds an exchange to another; nothing happens when it is bound so already.
    ///
    /// # Errors
    /// As [`VirtualHost::bind_queue`].
    pub(crate) fn bind_exchange(&self, request: &BindingRequest<'_>) -> Result<(), Refusal> {
        refuse_default_exchange(request.destination)?;
        refuse_default_exchange(request.source)?;
        let mut topology = self.topology.write();
        let destination = self.require_exchange(&topology, request.destination)?;
        self.bind(&mut topology, Destination::Exchange(destination), request)
    }

    /// Removes a binding between exchanges; what does not exist is fine.
    ///
    /// # Errors
    /// 403 for the default exchange.
    pub(crate) fn unbind_exchange(&self, request: &BindingRequest<'_>) -> Result<(), Refusal> {
        refuse_default_exchange(request.destination)?;
        refuse_default_exchange(request.source)?;
        let mut topology = self.topology.write();
        if let Some(destination) = topology.exchange_id(request.destination) {
            self.unbind(&mut topology, Destination::Exchange(destination), request);
        }
        Ok(())
    }

    fn queue_destination(
        &self,
        topology: &Topology,
        connection: ConnectionId,
        request: &BindingRequest<'_>,
    ) -> Result<Destination, Refusal> {
        let queue = topology.queue(request.destination).ok_or_else(|| self.no_queue(request.destination))?;
        self.check_owner(queue, connection)?;
        Ok(Destination::Queue(queue.id()))
    }

    fn bind(
        &self,
        topology: &mut Topology,
        destination: Destination,
        request: &BindingRequest<'_>,
    ) -> Result<(), Refusal> {
        let source = self.require_exchange(topology, request.source)?;
        topology.exchange(source).router().validate(request.arguments)?;
        let binding = Binding {
            source,
            key: Arc::from(request.routing_key),
            arguments: BindingArguments::new(request.arguments),
        };
        if topology.bind(destination, binding) {
            self.topology_changed();
        }
        Ok(())
    }

    fn unbind(&self, topology: &mut Topology, destination: Destination, request: &BindingRequest<'_>) {
        let Some(source) = topology.exchange_id(request.source) else { return };
        let binding = Binding {
            source,
            key: Arc::from(request.routing_key),
            arguments: BindingArguments::new(request.arguments),
        };
        if topology.unbind(destination, &binding) {
            self.topology_changed();
        }
    }
}
