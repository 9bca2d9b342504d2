//! Declaring and deleting exchanges (behaviour reference, sections 5.2 and 5.3).

use std::sync::Arc;

use leveret_amqp_codec::{RawTable, ValueRef};
use leveret_queue_store::QueueKey;

use super::arguments::equivalent;
use super::delayed::Delayed;
use super::history::History;
use super::mismatch::describe_mismatch;
use super::past::{HISTORY_ARGUMENTS, HistoryLimits, Past};
use super::presence::Announcer;
use super::topology::{Capture, Exchange};
use super::{VirtualHost, without_line_breaks};
use crate::access::{Caller, Resource, Right};
use crate::arguments::Arguments;
use crate::error::Refusal;
use crate::exchange::{ExchangeKind, Router};
use crate::metadata::Ticket;

/// The fields of exchange.declare.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExchangeDeclare<'a> {
    pub(crate) name: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) durable: bool,
    pub(crate) auto_delete: bool,
    pub(crate) internal: bool,
    pub(crate) arguments: RawTable<'a>,
}

const ALTERNATE_EXCHANGE: &str = "alternate-exchange";

impl VirtualHost {
    /// Declares an exchange; nothing happens when an equivalent one exists. The answer waits for the ticket.
    ///
    /// # Errors
    /// 503 for an unknown type, 403 for the default exchange, for reserved names and without the rights, 406 when one of
    /// that name exists with other properties, 541 for a durable one that cannot be stored.
    pub(crate) fn declare_exchange(
        &self,
        caller: &Caller,
        declare: &ExchangeDeclare<'_>,
    ) -> Result<Ticket, Refusal> {
        let kind = ExchangeKind::from_name(declare.kind)?;
        let name = without_line_breaks(declare.name);
        refuse_default_exchange(&name)?;
        caller.require(Right::Configure, Resource::Exchange(&name))?;
        let mut topology = self.topology.write();
        self.check_open(&topology)?;
        if let Some(exchange) = topology.exchange_by_name(&name) {
            self.check_equivalent(exchange, kind, declare)?;
            self.check_recordable(declare.durable)?;
            return Ok(self.settled(declare.durable));
        }
        if name.starts_with("amq.") {
            return Err(Refusal::access_refused(format!(
                "exchange name '{name}' contains reserved prefix 'amq.*'"
            )));
        }
        let limit = self.services.exchanges_max;
        if topology.declared_exchange_len() >= limit {
            return Err(Refusal::precondition_failed(format!(
                "cannot declare exchange '{name}' in vhost '{}': exchange limit of {limit} is reached",
                self.name
            )));
        }
        if let Some(alternate) = self.alternate_exchange(&name, declare.arguments)? {
            caller.require(Right::Read, Resource::Exchange(&name))?;
            caller.require(Right::Write, Resource::Exchange(&alternate))?;
        }
        let mut exchange = self.make_exchange(&ExchangeDeclare {
            name: &name,
            ..*declare
        })?;
        self.check_recordable(declare.durable)?;
        if declare.durable && matches!(exchange.capture(), Some(Capture::Delay(_))) {
            self.keep_delayed(&mut exchange, self.services.metadata.new_queue_key());
        }
        topology.add_exchange(exchange);
        Ok(self.topology_changed(topology))
    }

    /// The exchange that a declaration asks for, as yet in no topology.
    ///
    /// # Errors
    /// For an unknown type, and for arguments that are not acceptable.
    pub(super) fn make_exchange(&self, declare: &ExchangeDeclare<'_>) -> Result<Exchange, Refusal> {
        let kind = ExchangeKind::from_name(declare.kind)?;
        let alternate = self.alternate_exchange(declare.name, declare.arguments)?;
        let name: Arc<str> = Arc::from(declare.name);
        let router = Router::new(kind, declare.arguments, self.services.names.seed())?;
        let capture = match kind {
            ExchangeKind::Delayed => Some(Capture::Delay(Delayed::new(Arc::clone(&name), self))),
            ExchangeKind::RecentHistory => {
                let history = History::from_arguments(declare.arguments, &self.services)?;
                Some(Capture::Keep(Arc::new(history)))
            }
            _ => None,
        };
        let announcer =
            (kind == ExchangeKind::Presence).then(|| Announcer::new(Arc::clone(&name), self));
        let phrase = self.exchange_phrase(declare.name);
        let limits = HistoryLimits::from_arguments(kind, declare.arguments, &phrase)?;
        let mut exchange = Exchange::new(name, kind, router, capture);
        exchange.announcer = announcer;
        if let Some(limits) = limits {
            exchange.keep_history(Past::new(self, kind, limits));
        }
        exchange.durable = declare.durable;
        exchange.auto_delete = declare.auto_delete;
        exchange.internal = declare.internal;
        exchange.arguments = Arguments::new(declare.arguments);
        // The default exchange takes nothing in anybody's place (RabbitMQ).
        exchange.alternate = alternate.filter(|alternate| !alternate.is_empty());
        Ok(exchange)
    }

    /// Has what waits in a new delayed exchange kept under this key, with what is there already.
    pub(super) fn keep_delayed(&self, exchange: &mut Exchange, key: QueueKey) {
        let delayed = Delayed::durable(Arc::clone(&exchange.name), self, key);
        exchange.keep_under(key, Capture::Delay(delayed));
    }

    /// Whether an exchange exists, whatever its properties.
    ///
    /// # Errors
    /// 404 when it does not, 403 for the default exchange.
    pub(crate) fn declare_exchange_passively(&self, name: &str) -> Result<(), Refusal> {
        let name = without_line_breaks(name);
        refuse_default_exchange(&name)?;
        self.require_exchange(&self.topology.read(), &name)
            .map(|_| ())
    }

    /// Deletes an exchange with its bindings. One that does not exist is fine. The answer waits for the ticket.
    ///
    /// # Errors
    /// 403 for the default exchange, the predeclared ones and without the right, 406 when it must be unused and is not,
    /// 541 when it is durable and its end cannot be stored.
    pub(crate) fn delete_exchange(
        &self,
        caller: &Caller,
        name: &str,
        if_unused: bool,
    ) -> Result<Ticket, Refusal> {
        let name = without_line_breaks(name);
        refuse_default_exchange(&name)?;
        if name.starts_with("amq.") {
            let phrase = self.exchange_phrase(&name);
            return Err(Refusal::access_refused(format!(
                "deletion of system {phrase} not allowed"
            )));
        }
        caller.require(Right::Configure, Resource::Exchange(&name))?;
        let mut topology = self.topology.write();
        let Some(id) = topology.exchange_id(&name) else {
            return Ok(self.settled(true));
        };
        if if_unused && topology.exchange(id).is_in_use() {
            return Err(Refusal::precondition_failed(format!(
                "{} in use",
                self.exchange_phrase(&name)
            )));
        }
        self.check_recordable(topology.exchange(id).durable)?;
        topology.remove_exchange(id);
        Ok(self.topology_changed(topology))
    }

    /// Whether an exchange exists for whose routing keys there are rights of their own.
    #[cfg(feature = "stomp")]
    pub(crate) fn has_topics(&self, name: &str) -> bool {
        let topology = self.topology.read();
        let exchange = topology.exchange_by_name(name);
        exchange.is_some_and(|exchange| exchange.kind.has_topics())
    }

    /// Whether an exchange exists that keeps what passes it for bindings to come.
    #[cfg(feature = "stomp")]
    pub(crate) fn keeps_history(&self, name: &str) -> bool {
        let topology = self.topology.read();
        let exchange = topology.exchange_by_name(name);
        exchange.is_some_and(|exchange| exchange.past().is_some())
    }

    /// The messages that wait in a delayed exchange.
    ///
    /// # Errors
    /// 404 when it does not exist, 406 when it is of another type.
    pub(crate) fn delayed(&self, name: &str) -> Result<Arc<Delayed>, Refusal> {
        let topology = self.topology.read();
        let id = self.require_exchange(&topology, name)?;
        match topology.exchange(id).capture() {
            Some(Capture::Delay(delayed)) => Ok(Arc::clone(delayed)),
            _ => Err(Refusal::precondition_failed(format!(
                "{} does not delay messages",
                self.exchange_phrase(name)
            ))),
        }
    }

    fn alternate_exchange(
        &self,
        name: &str,
        arguments: RawTable<'_>,
    ) -> Result<Option<Arc<str>>, Refusal> {
        match arguments.get(ALTERNATE_EXCHANGE) {
            None => Ok(None),
            Some(ValueRef::LongString(alternate)) => {
                Ok(Some(Arc::from(String::from_utf8_lossy(alternate).as_ref())))
            }
            Some(other) => Err(Refusal::precondition_failed(format!(
                "invalid type '{}' for arg '{ALTERNATE_EXCHANGE}' in {}",
                other.type_name(),
                self.exchange_phrase(name)
            ))),
        }
    }

    /// Of all arguments only the alternate exchange is compared, and how much history is kept.
    fn check_equivalent(
        &self,
        exchange: &Exchange,
        kind: ExchangeKind,
        declare: &ExchangeDeclare<'_>,
    ) -> Result<(), Refusal> {
        let phrase = self.exchange_phrase(&exchange.name);
        let differs = |what: &str, how: String| {
            Refusal::precondition_failed(format!("inequivalent arg '{what}' for {phrase}: {how}"))
        };
        if exchange.kind != kind {
            let how = format!(
                "received '{}' but current is '{}'",
                kind.name(),
                exchange.kind.name()
            );
            return Err(differs("type", how));
        }
        for (what, received, current) in [
            ("durable", declare.durable, exchange.durable),
            ("auto_delete", declare.auto_delete, exchange.auto_delete),
            ("internal", declare.internal, exchange.internal),
        ] {
            if received != current {
                return Err(differs(
                    what,
                    format!("received '{received}' but current is '{current}'"),
                ));
            }
        }
        for name in std::iter::once(ALTERNATE_EXCHANGE).chain(HISTORY_ARGUMENTS) {
            let received = declare.arguments.get(name);
            let current = exchange.arguments.table().get(name);
            if !equivalent(received, current) {
                return Err(differs(name, describe_mismatch(received, current)));
            }
        }
        Ok(())
    }
}

pub(super) fn refuse_default_exchange(name: &str) -> Result<(), Refusal> {
    if name.is_empty() {
        return Err(Refusal::access_refused(
            "operation not permitted on the default exchange",
        ));
    }
    Ok(())
}
