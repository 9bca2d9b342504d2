//! Presence in a virtual host: who may be present as whom, and when somebody comes or goes.

mod announcer;
mod carried;

use std::sync::Arc;

use leveret_amqp_codec::RawTable;
use leveret_queue_store::Time;

#[cfg(feature = "stomp")]
use super::queue::QueueCell;
use super::topology::{Exchange, Topology};
use super::{BindingRequest, VirtualHost};
use crate::access::Caller;
use crate::connection::ConnectionId;
use crate::error::Refusal;
use crate::exchange::presence::{
    End, MEMBER, Member, PresenceRouter, Present, Role, has_wildcard, role,
};
use crate::exchange::{BindingArguments, Destination, ExchangeId};

pub(crate) use announcer::Announcer;

/// What a binding to a presence exchange asks for.
#[derive(Debug)]
pub(super) enum Asked {
    /// That this member is present.
    ToBePresent(Member),
    ToWatch,
    /// Neither.
    Nothing,
}

impl Asked {
    /// # Errors
    /// 406 for arguments that mean nothing.
    pub(super) fn of(caller: &Caller, request: &BindingRequest<'_>) -> Result<Self, Refusal> {
        Ok(match role(request.arguments)? {
            Role::Watch => Self::ToWatch,
            Role::Present if !has_wildcard(request.routing_key) => {
                member(caller, request.arguments).map_or(Self::Nothing, Self::ToBePresent)
            }
            Role::Present | Role::Hidden => Self::Nothing,
        })
    }

    /// # Errors
    /// 406 when the exchange knows as many members, or the queue watches as much, as they may.
    pub(super) fn check_room(
        &self,
        exchange: &Exchange,
        destination: Destination,
        key: &str,
    ) -> Result<(), Refusal> {
        let Some(presence) = exchange.router().as_presence() else {
            return Ok(());
        };
        let problem = match self {
            Self::ToBePresent(member) if !presence.has_room(key, member) => {
                "knows as many members as it may"
            }
            Self::ToWatch if !presence.has_room_to_watch(destination) => {
                "is watched by as many bindings of the queue as it may"
            }
            _ => return Ok(()),
        };
        let text = format!("presence exchange '{}' {problem}", exchange.name);
        Err(Refusal::precondition_failed(text))
    }
}

/// Who becomes present by a binding. Nobody takes another user's name who may not speak for others: what somebody calls
/// himself stands behind his own. The embedding program is nobody unless it says who.
fn member(caller: &Caller, arguments: RawTable<'_>) -> Option<Member> {
    let asked = arguments.get(MEMBER).and_then(|name| name.as_str());
    let (name, user): (Arc<str>, Arc<str>) = match (asked, caller.user()) {
        (None, None) => return None,
        (Some(name), None) => (name.into(), name.into()),
        (None, Some(user)) => (Arc::clone(user), Arc::clone(user)),
        (Some(name), Some(user)) if *name == **user || caller.is_impersonator() => {
            (name.into(), name.into())
        }
        (Some(name), Some(user)) => (format!("{user}/{name}").into(), Arc::clone(user)),
    };
    Some(Member { name, user })
}

impl VirtualHost {
    /// # Errors
    /// 404 when the exchange does not exist, 406 when it does not know who is subscribed.
    pub(crate) fn require_presence(&self, exchange: &str) -> Result<(), Refusal> {
        self.with_presence(exchange, |_| ())
    }

    /// Who is present at the keys that match a pattern.
    ///
    /// # Errors
    /// As [`VirtualHost::require_presence`].
    pub(crate) fn present(&self, exchange: &str, pattern: &str) -> Result<Vec<Present>, Refusal> {
        self.with_presence(exchange, |presence| presence.present(pattern))
    }

    /// How many connections make somebody present, counted at each place.
    pub(crate) fn present_connections(&self) -> usize {
        let topology = self.topology.read();
        let presences = topology.presences.iter();
        let present = presences
            .filter_map(|id| topology.exchange(*id).router().as_presence())
            .flat_map(|presence| presence.present("#"));
        present.map(|here| here.connections as usize).sum()
    }

    fn with_presence<R>(
        &self,
        name: &str,
        look: impl FnOnce(&PresenceRouter) -> R,
    ) -> Result<R, Refusal> {
        let topology = self.topology.read();
        let exchange = topology.exchange(self.require_exchange(&topology, name)?);
        let presence = exchange.router().as_presence().ok_or_else(|| {
            let phrase = self.exchange_phrase(name);
            Refusal::precondition_failed(format!("{phrase} does not know who is subscribed"))
        })?;
        Ok(look(presence))
    }

    /// A caller has asked for a binding that exists now.
    pub(super) fn make_present(
        topology: &mut Topology,
        now: Time,
        caller: &Caller,
        (source, destination): (ExchangeId, Destination),
        request: &BindingRequest<'_>,
        member: &Member,
    ) {
        let exchange = topology.exchange_mut(source);
        let Some((presence, _)) = exchange.and_then(Exchange::presence_mut) else {
            return;
        };
        let arguments = BindingArguments::new(request.arguments);
        presence.join(
            now,
            destination,
            &Arc::from(request.routing_key),
            arguments.as_ref(),
            (caller.connection(), member),
        );
        topology.to_announce.push(source);
    }

    /// A connection ends: whom it made present has left, or may come back. To be called before its consumers and queues
    /// go, which by themselves mean that it left.
    pub(crate) fn leave_with_connection(&self, now: Time, connection: ConnectionId, end: End) {
        self.leave(now, connection, |presence| {
            presence.connection_ended(now, connection, end);
        });
    }

    /// A connection does not use a queue any more, which may stay.
    #[cfg(feature = "stomp")]
    pub(crate) fn leave_with_queue(&self, now: Time, connection: ConnectionId, queue: &QueueCell) {
        self.leave(now, connection, |presence| {
            presence.queue_unused(now, connection, queue.id());
        });
    }

    fn leave(
        &self,
        now: Time,
        connection: ConnectionId,
        mut change: impl FnMut(&mut PresenceRouter),
    ) {
        let is_concerned = |topology: &Topology, id: &ExchangeId| {
            let presence = topology.exchange(*id).router().as_presence();
            presence.is_some_and(|presence| presence.is_present(connection))
        };
        {
            let topology = self.topology.read();
            if !topology
                .presences
                .iter()
                .any(|id| is_concerned(&topology, id))
            {
                return;
            }
        }
        let mut topology = self.topology.write();
        for id in topology.presences.clone() {
            if !is_concerned(&topology, &id) {
                continue;
            }
            let exchange = topology.exchange_mut(id);
            if let Some((presence, _)) = exchange.and_then(Exchange::presence_mut) {
                change(presence);
                topology.to_announce.push(id);
            }
        }
        let announcements = topology.take_announcements();
        drop(topology);
        announcements.make(self, now);
    }
}
