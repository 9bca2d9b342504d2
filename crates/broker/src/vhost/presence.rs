//! Presence in a virtual host: who may be present as whom, and how those who watch are told.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use leveret_amqp_codec::{Properties, RawTable, Table, Value};
use leveret_queue_store::{Message, MessageParts, Time};
use parking_lot::{Mutex, RwLockWriteGuard};

use super::queue::{QueueCell, Ticket};
use super::topology::{Exchange, Topology};
use super::{BindingRequest, VirtualHost};
use crate::access::Caller;
use crate::connection::ConnectionId;
use crate::error::Refusal;
use crate::exchange::presence::{
    CONNECTIONS, Change, EVENT, End, Event, MEMBER, Member, NAME, PresenceRouter, Present, Role,
    SINCE, USER, has_wildcard, role,
};
use crate::exchange::{BindingArguments, Destination, ExchangeId};
use crate::timers::{Due, TimerId};

/// How many of those who do not come back are lost in one turn, before others get theirs.
const TURN_MAX: usize = 512;

/// Tells those who watch one exchange what happens, in order.
///
/// What is to be told is added while the topology is locked, so that its order is that of what happened. One thread at a
/// time carries it to the queues, without a lock, as with dead letters: whoever adds something meanwhile leaves it to that
/// one, so that a queue which goes because of an event needs no deeper stack.
#[derive(Debug)]
pub(crate) struct Announcer {
    exchange: Arc<str>,
    vhost: Weak<VirtualHost>,
    timer: TimerId,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Announcement>,
    carried: bool,
}

/// What is to be told.
#[derive(Debug)]
enum Announcement {
    /// To those who watched when it happened.
    Happened {
        event: Event,
        member: Present,
        number: u64,
    },
    /// To a queue that has just begun to watch.
    Watching {
        queue: Arc<QueueCell>,
        present: Vec<Present>,
    },
}

impl State {
    /// What is to be told next. When there is nothing, whoever carried does so no more.
    fn next(&mut self) -> Option<Announcement> {
        let next = self.waiting.pop_front();
        if next.is_none() {
            *self = Self::default();
        }
        next
    }
}

impl Announcer {
    pub(super) fn new(exchange: Arc<str>, vhost: &VirtualHost) -> Arc<Self> {
        Arc::new(Self {
            exchange,
            vhost: Weak::clone(&vhost.myself),
            timer: vhost.services().timers.new_id(),
            state: Mutex::default(),
        })
    }

    /// Tells what waits to be told, unless somebody is about it.
    fn carry(&self, vhost: &VirtualHost, now: Time) {
        if std::mem::replace(&mut self.state.lock().carried, true) {
            return;
        }
        loop {
            // On its own, so that the lock is released before anybody is told.
            let next = self.state.lock().next();
            let Some(next) = next else {
                return;
            };
            self.tell(vhost, now, next);
        }
    }

    fn tell(&self, vhost: &VirtualHost, now: Time, announcement: Announcement) {
        match announcement {
            Announcement::Watching { queue, present } => {
                let messages = present
                    .iter()
                    .map(|member| (self.message(Event::Present, member), Ticket::MAX));
                queue.publish(now, messages, &mut Vec::new());
            }
            Announcement::Happened {
                event,
                member,
                number,
            } => {
                let watchers = self.watchers(vhost, &member.key, number);
                if watchers.is_empty() {
                    return;
                }
                let message = self.message(event, &member);
                for queue in watchers {
                    let message = std::iter::once((message.clone(), Ticket::MAX));
                    queue.publish(now, message, &mut Vec::new());
                }
            }
        }
    }

    /// The queues that watched a key when the change with this number happened. None once the exchange is gone.
    fn watchers(&self, vhost: &VirtualHost, key: &str, number: u64) -> Vec<Arc<QueueCell>> {
        let topology = vhost.topology.read();
        let Some(exchange) = topology.exchange_by_name(&self.exchange) else {
            return Vec::new();
        };
        let is_this = exchange
            .announcer
            .as_ref()
            .is_some_and(|announcer| std::ptr::eq(Arc::as_ptr(announcer), self));
        let (true, Some(presence)) = (is_this, exchange.router().as_presence()) else {
            return Vec::new();
        };
        let watchers = presence.watchers_of(key, number);
        watchers
            .into_iter()
            .filter_map(|queue| topology.queue_by_id(queue).cloned())
            .collect()
    }

    fn message(&self, event: Event, here: &Present) -> Message {
        let Present {
            key,
            member,
            since,
            connections,
        } = here;
        let since = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        let headers: Table = [
            (EVENT, Value::from(event.as_str())),
            (NAME, Value::from(&*member.name)),
            (USER, Value::from(&*member.user)),
            (SINCE, Value::I64(since)),
            (CONNECTIONS, Value::I64(i64::from(*connections))),
        ]
        .into_iter()
        .collect();
        let properties = Properties {
            headers: Some(headers),
            ..Properties::default()
        };
        let parts = MessageParts {
            exchange: &self.exchange,
            routing_key: key,
            properties: &properties.to_bytes(),
            ..MessageParts::default()
        };
        Message::new(&parts, &mut Vec::new())
    }
}

impl Due for Announcer {
    /// Somebody may not have come back in time.
    fn run(self: Arc<Self>, now: Time) {
        let Some(vhost) = self.vhost.upgrade() else {
            return;
        };
        let mut topology = vhost.topology.write();
        let Some(id) = topology.exchange_id(&self.exchange) else {
            return;
        };
        let Some((presence, announcer)) =
            topology.exchange_mut(id).and_then(Exchange::presence_mut)
        else {
            return;
        };
        if !Arc::ptr_eq(announcer, &self) {
            return;
        }
        presence.expire(now, TURN_MAX);
        topology.to_announce.push(id);
        let announcements = topology.take_announcements();
        drop(topology);
        announcements.make(&vhost, now);
    }
}

impl Drop for Announcer {
    fn drop(&mut self) {
        if let Some(vhost) = self.vhost.upgrade() {
            vhost.services().timers.cancel(self.timer);
        }
    }
}

/// What is to be done once the topology is not locked any more. Nearly always nothing.
#[must_use = "watchers are to be told once nothing is locked"]
#[derive(Debug, Default)]
pub(super) struct Announcements(Vec<(Arc<Announcer>, Option<Time>)>);

impl Announcements {
    /// Tells those who watch, and has somebody look when the next one may be lost.
    pub(super) fn make(self, vhost: &VirtualHost, now: Time) {
        for (announcer, deadline) in self.0 {
            announcer.carry(vhost, now);
            if let Some(at) = deadline {
                let due: Weak<dyn Due> = Arc::<Announcer>::downgrade(&announcer);
                vhost.services().timers.schedule(announcer.timer, at, due);
            }
        }
    }
}

impl Topology {
    /// What has happened since the last call, to be told once this lock is released.
    pub(super) fn take_announcements(&mut self) -> Announcements {
        if self.to_announce.is_empty() {
            return Announcements::default();
        }
        let mut ids = std::mem::take(&mut self.to_announce);
        ids.sort_unstable();
        ids.dedup();
        let announcers = ids.into_iter().filter_map(|id| self.announce(id));
        Announcements(announcers.collect())
    }

    fn announce(&mut self, id: ExchangeId) -> Option<(Arc<Announcer>, Option<Time>)> {
        let (presence, announcer) = self.exchange_mut(id)?.presence_mut()?;
        let (changes, deadline) = (presence.take_changes(), presence.next_deadline());
        let announcer = Arc::clone(announcer);
        let announcements = changes.into_iter().filter_map(|change| match change {
            Change::Happened {
                event,
                member,
                number,
            } => Some(Announcement::Happened {
                event,
                member,
                number,
            }),
            Change::Watching { present, .. } if present.is_empty() => None,
            Change::Watching { queue, present } => Some(Announcement::Watching {
                queue: Arc::clone(self.queue_by_id(queue)?),
                present,
            }),
        });
        let announcements: Vec<_> = announcements.collect();
        announcer.state.lock().waiting.extend(announcements);
        Some((announcer, deadline))
    }
}

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
        let mut topology: RwLockWriteGuard<'_, Topology> = self.topology.write();
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
