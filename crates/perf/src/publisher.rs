//! One producer.

use std::sync::Arc;

use leveret_amqp_codec::method::basic::Ack;
use leveret_amqp_codec::{FrameKind, Limits, Method};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::confirms::{Confirms, Settlement};
use crate::connection::{Connection, Detached, decode, refusal};
use crate::error::Error;
use crate::inbox::Inbox;
use crate::latency::{Recorder, record};
use crate::ledger::Published;
use crate::messages::Messages;
use crate::pacer::Pace;
use crate::plan::Targets;
use crate::progress::{Phase, Progress};
use crate::tally::Tally;

/// A producer with all that it needs, before it has begun.
#[derive(Debug)]
pub(crate) struct Publisher {
    pub(crate) connection: Detached,
    pub(crate) messages: Messages,
    pub(crate) targets: Targets,
    /// How many queues there are.
    pub(crate) queues: usize,
    /// How many messages to send, `None` until it is told to stop.
    pub(crate) count: Option<u64>,
    /// How many may be unconfirmed, `None` without confirms.
    pub(crate) window: Option<u32>,
    pub(crate) pace: Option<Pace>,
    pub(crate) clock: Clock,
    pub(crate) progress: Arc<Progress>,
    pub(crate) confirm_latency: Arc<Recorder>,
}

/// A producer at work, apart from its socket.
struct Producing {
    inbox: Inbox,
    limits: Limits,
    messages: Messages,
    targets: Targets,
    count: Option<u64>,
    window: Option<Window>,
    pace: Option<Pace>,
    clock: Clock,
    progress: Arc<Progress>,
    confirm_latency: Arc<Recorder>,
    sequence: u64,
    published: Published,
}

struct Window {
    size: u64,
    confirms: Confirms,
}

/// A producer that has finished.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) published: Published,
    /// To be kept until all has been delivered: a broker may throw away what it has not taken in from a connection that
    /// is gone, and RabbitMQ does. `None` if it is gone.
    pub(crate) connection: Option<Detached>,
}

impl Publisher {
    /// Publishes until the count is reached or the run says to stop, and then waits for the confirms until the run ends.
    /// A failure is told to the run; what was published before is returned in any case.
    pub(crate) async fn run(self) -> Finished {
        let mut phases = self.progress.phases();
        let progress = Arc::clone(&self.progress);
        let published = match self.targets {
            Targets::All(_) => Published::Everywhere(Tally::default()),
            Targets::ByKey(_) => Published::ByQueue(vec![Tally::default(); self.queues]),
        };
        let mut connection = match self.connection.attach() {
            Ok(connection) => connection,
            Err(error) => {
                progress.fail(error);
                return Finished {
                    published,
                    connection: None,
                };
            }
        };
        let mut producing = Producing {
            inbox: std::mem::take(&mut connection.inbox),
            limits: connection.limits,
            messages: self.messages,
            targets: self.targets,
            count: self.count,
            window: self.window.map(|size| Window {
                size: u64::from(size),
                confirms: Confirms::new(),
            }),
            pace: self.pace,
            clock: self.clock,
            progress: self.progress,
            confirm_latency: self.confirm_latency,
            sequence: 0,
            published,
        };
        let ended = producing.run(&mut connection, &mut phases).await;
        connection.inbox = producing.inbox;
        let detached = match ended {
            Ok(()) => connection.detach(),
            Err(error) => Err(error),
        };
        Finished {
            published: producing.published,
            connection: detached.map_err(|error| progress.fail(error)).ok(),
        }
    }
}

impl Producing {
    async fn run(
        &mut self,
        connection: &mut Connection,
        phases: &mut watch::Receiver<Phase>,
    ) -> Result<(), Error> {
        let (mut reader, mut writer) = connection.stream.split();
        loop {
            let phase = *phases.borrow_and_update();
            if phase == Phase::Ended || (self.outstanding() == 0 && self.is_done(phase)) {
                return Ok(());
            }
            let allowed = self.allowed(phase);
            if allowed == 0 {
                let paced = self.pace.clone();
                let has_room = self.progress.has_room();
                tokio::select! {
                    read = reader.read(self.inbox.space()) => self.handle_input(read?)?,
                    () = self.progress.room(), if !has_room => {}
                    () = tick(paced.as_ref()), if has_room && paced.is_some() => {}
                    _ = phases.changed() => {}
                }
                continue;
            }
            let mut unsent = self.take(allowed);
            while !unsent.is_empty() {
                tokio::select! {
                    written = writer.write(self.messages.bytes(unsent.clone())) => unsent.start += written?,
                    read = reader.read(self.inbox.space()) => self.handle_input(read?)?,
                    _ = phases.wait_for(|phase| *phase == Phase::Ended) => return Ok(()),
                }
            }
        }
    }

    /// Whether nothing more is to be published.
    fn is_done(&self, phase: Phase) -> bool {
        phase != Phase::Publishing || self.count.is_some_and(|count| self.sequence >= count)
    }

    fn outstanding(&self) -> u64 {
        let window = self.window.as_ref();
        window.map_or(0, |window| window.confirms.outstanding())
    }

    /// How many messages may be published now.
    fn allowed(&self, phase: Phase) -> u64 {
        if self.is_done(phase) || !self.progress.has_room() {
            return 0;
        }
        let mut allowed = self.count.map_or(u64::MAX, |count| count - self.sequence);
        if let Some(window) = &self.window {
            let room = window.size - window.confirms.outstanding();
            // A tenth of the window at a time, so that one confirm does not lead to one write.
            if room < (window.size / 10).min(allowed) {
                return 0;
            }
            allowed = allowed.min(room);
        }
        if let Some(pace) = &self.pace {
            let due = pace.due(self.clock.nanos());
            allowed = allowed.min(due.saturating_sub(self.sequence));
        }
        allowed
    }

    /// Takes the next messages and counts them as sent. Says where their bytes are.
    fn take(&mut self, allowed: u64) -> std::ops::Range<usize> {
        let now_ns = self.clock.nanos();
        let mut deliveries = 0;
        let (targets, published) = (&self.targets, &mut self.published);
        let (range, count) = self
            .messages
            .take(self.sequence, allowed, now_ns, |sequence, key| {
                deliveries += note(published, targets, sequence, key);
            });
        self.sequence += count;
        self.progress.add_sent(count, deliveries);
        if let Some(window) = &mut self.window {
            window.confirms.sent(count, now_ns);
        }
        range
    }

    fn handle_input(&mut self, count: usize) -> Result<(), Error> {
        self.inbox.filled(count)?;
        while let Some(frame) = self.inbox.next(&self.limits)? {
            if frame.kind != FrameKind::Method {
                continue;
            }
            let method = decode(frame.payload, &self.limits)?;
            refusal(&method)?;
            let (ack, nacked) = match method {
                Method::BasicAck(ack) => (ack, false),
                Method::BasicNack(nack) => {
                    let ack = Ack {
                        delivery_tag: nack.delivery_tag,
                        multiple: nack.multiple,
                    };
                    (ack, true)
                }
                Method::ConnectionBlocked(_) => {
                    self.progress.add_blocked();
                    continue;
                }
                _ => continue,
            };
            let Some(window) = &mut self.window else {
                return Err(Error::Unexpected("a confirm".to_owned()));
            };
            let settlement = Settlement {
                delivery_tag: ack.delivery_tag,
                multiple: ack.multiple,
            };
            let now_ns = self.clock.nanos();
            let mut settled = Ok(0);
            self.confirm_latency.with(|histogram| {
                settled = window.confirms.settle(settlement, |sent_ns| {
                    record(histogram, now_ns - sent_ns);
                });
            });
            self.progress.add_confirmed(settled?, nacked);
        }
        Ok(())
    }
}

/// Notes a message as published and says how many deliveries it is to lead to.
#[inline]
fn note(published: &mut Published, targets: &Targets, sequence: u64, key: u32) -> u64 {
    match (published, targets) {
        (Published::ByQueue(tallies), Targets::ByKey(hits)) => {
            let hits = &hits[key as usize];
            for &queue in hits {
                tallies[queue as usize].add(sequence);
            }
            hits.len() as u64
        }
        (Published::Everywhere(tally), Targets::All(queues)) => {
            tally.add(sequence);
            u64::from(*queues)
        }
        // `Publisher::run` makes the one from the other.
        _ => 0,
    }
}

/// Waits for the next message to be due; for ever without a pace.
async fn tick(pace: Option<&Pace>) {
    match pace {
        Some(pace) => pace.tick().await,
        None => std::future::pending().await,
    }
}
