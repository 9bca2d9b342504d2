//! How those who watch a presence exchange are told what happens there.

use std::sync::{Arc, Weak};

use leveret_amqp_codec::{Properties, Table, Value};
use leveret_queue_store::{Message, MessageParts, Time};

use super::carried::Carried;
use crate::exchange::ExchangeId;
use crate::exchange::presence::{CONNECTIONS, Change, EVENT, Event, NAME, Present, SINCE, USER};
use crate::timers::{Due, TimerId};
use crate::vhost::VirtualHost;
use crate::vhost::queue::{QueueCell, Ticket};
use crate::vhost::topology::{Exchange, Topology};

/// How many messages' worth may wait to be told before those who add to it wait as well: telling it to many takes longer than
/// coming and going.
const WAITING_MAX: usize = 4096;

/// How many of those who do not come back are lost in one turn, before others get theirs.
const TURN_MAX: usize = 512;

/// Tells those who watch one exchange what happens, in order.
///
/// What is to be told is added while the topology is locked, so that its order is that of what happened. One thread at a
/// time carries it to the queues, without a lock, as with dead letters.
#[derive(Debug)]
pub(crate) struct Announcer {
    exchange: Arc<str>,
    vhost: Weak<VirtualHost>,
    timer: TimerId,
    waiting: Carried<Announcement>,
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

impl Announcement {
    /// How many messages it comes to, for one who watches.
    fn worth(&self) -> usize {
        match self {
            Self::Happened { .. } => 1,
            Self::Watching { present, .. } => present.len(),
        }
    }
}

impl Announcer {
    pub(in crate::vhost) fn new(exchange: Arc<str>, vhost: &VirtualHost) -> Arc<Self> {
        Arc::new(Self {
            exchange,
            vhost: Weak::clone(&vhost.myself),
            timer: vhost.services().timers.new_id(),
            waiting: Carried::new(WAITING_MAX),
        })
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
pub(in crate::vhost) struct Announcements(Vec<(Arc<Announcer>, Option<Time>)>);

impl Announcements {
    /// Tells those who watch, and has somebody look when the next one may be lost.
    pub(in crate::vhost) fn make(self, vhost: &VirtualHost, now: Time) {
        for (announcer, deadline) in self.0 {
            let announcer = &announcer;
            announcer
                .waiting
                .carry(|next| announcer.tell(vhost, now, next));
            if let Some(at) = deadline {
                let due: Weak<dyn Due> = Arc::<Announcer>::downgrade(announcer);
                vhost.services().timers.schedule(announcer.timer, at, due);
            }
        }
    }
}

impl Topology {
    /// What has happened since the last call, to be told once this lock is released.
    pub(in crate::vhost) fn take_announcements(&mut self) -> Announcements {
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
        for announcement in announcements {
            announcer.waiting.add(announcement.worth(), announcement);
        }
        Some((announcer, deadline))
    }
}
