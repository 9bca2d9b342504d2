//! One consumer, of one queue or several.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use leveret_amqp_codec::method::basic;
use leveret_amqp_codec::{
    ContentHeader, DecodeMethod, FrameKind, Limits, Method, RawFrame, write_method,
};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::clock::Clock;
use crate::connection::{CHANNEL, CLOSE_TIMEOUT, Connection, Detached, decode, refusal};
use crate::error::Error;
use crate::inbox::next_frame;
use crate::latency::{Recorder, record};
use crate::ledger::Line;
use crate::progress::{Phase, Progress};
use crate::stamp::Stamp;

/// How much is read at once: what the kernel holds for a socket is about as much.
const READ_SIZE: usize = 512 * 1024;

/// Of how many messages the time of one is taken when producers send as fast as they may. There are millions then, and
/// taking a time costs about as much as receiving a message.
const SAMPLED_OF: u64 = 32;

/// Class and method of basic.deliver, the only method that is looked for first.
const DELIVER: [u8; 4] = [0, 60, 0, 60];

/// The buffer that the consumers of one thread read into, one at a time.
pub(crate) type SharedBuffer = Arc<Mutex<Vec<u8>>>;

/// A consumer with all that it needs, before it has begun. It was subscribed to its queues with their position in
/// `queues`, in decimal, as consumer tag.
#[derive(Debug)]
pub(crate) struct Consumer {
    pub(crate) connection: Detached,
    /// The indices of its queues.
    pub(crate) queues: Vec<u32>,
    pub(crate) producers: usize,
    pub(crate) run: u32,
    /// Acknowledge so many at once; `None` where the broker does not wait for it.
    pub(crate) ack_every: Option<u16>,
    /// Whether the time of each message is taken, or of a sample.
    pub(crate) every_latency: bool,
    pub(crate) clock: Clock,
    pub(crate) progress: Arc<Progress>,
    pub(crate) latency: Arc<Recorder>,
    pub(crate) buffer: SharedBuffer,
}

/// What a consumer has received: for each of its queues a line a producer.
#[derive(Debug)]
pub(crate) struct Harvest {
    pub(crate) queues: Vec<u32>,
    pub(crate) producers: usize,
    pub(crate) lines: Vec<Line>,
}

/// A buffer for the consumers of a thread.
pub(crate) fn shared_buffer() -> SharedBuffer {
    Arc::new(Mutex::new(vec![0; READ_SIZE]))
}

impl Harvest {
    /// The index of each queue with its lines, one a producer.
    pub(crate) fn by_queue(&self) -> impl Iterator<Item = (usize, &[Line])> {
        let queues = self.queues.iter().map(|&queue| queue as usize);
        queues.zip(self.lines.chunks(self.producers))
    }
}

impl Consumer {
    /// Consumes until the run ends. A failure is told to the run; what was received is returned in any case.
    pub(crate) async fn run(self) -> Harvest {
        let lines = vec![Line::default(); self.queues.len() * self.producers];
        let mut consuming = Consuming {
            harvest: Harvest {
                queues: self.queues,
                producers: self.producers,
                lines,
            },
            run: self.run,
            ack_every: self.ack_every.map(u64::from),
            every_latency: self.every_latency,
            message: Arriving::default(),
            last_tag: 0,
            acked_tag: 0,
            carry: Vec::new(),
            acks: Vec::new(),
            limits: Limits::default(),
        };
        let shared = Shared {
            clock: self.clock,
            progress: self.progress,
            latency: self.latency,
            buffer: self.buffer,
        };
        let ended = match self.connection.attach() {
            Ok(connection) => consuming.run(connection, &shared).await,
            Err(error) => Err(error),
        };
        if let Err(error) = ended {
            shared.progress.fail(error);
        }
        consuming.harvest
    }
}

/// What a consumer shares with others.
struct Shared {
    clock: Clock,
    progress: Arc<Progress>,
    latency: Arc<Recorder>,
    buffer: SharedBuffer,
}

/// A consumer at work, apart from its socket.
struct Consuming {
    harvest: Harvest,
    run: u32,
    ack_every: Option<u64>,
    every_latency: bool,
    message: Arriving,
    last_tag: u64,
    acked_tag: u64,
    /// The beginning of a frame whose end has not arrived.
    carry: Vec<u8>,
    /// Acknowledgements to be sent.
    acks: Vec<u8>,
    limits: Limits,
}

/// The message of which frames are arriving.
#[derive(Debug, Default)]
struct Arriving {
    /// The position of its queue among those of the consumer; `None` between messages.
    queue: Option<usize>,
    /// How much of its body is to come.
    left: u64,
    stamp: [u8; Stamp::SIZE],
    stamp_size: usize,
}

/// What was counted in one read.
#[derive(Debug, Default)]
struct Counted {
    own: u64,
    foreign: u64,
}

impl Consuming {
    async fn run(&mut self, connection: Connection, shared: &Shared) -> Result<(), Error> {
        let mut phases = shared.progress.phases();
        let Connection {
            mut stream,
            inbox,
            limits,
            ..
        } = connection;
        self.limits = limits;
        // Deliveries may have come along with the last answer.
        let early = inbox.into_rest();
        self.handle_input(&early, shared)?;
        loop {
            tokio::select! {
                biased;
                ready = stream.readable() => ready?,
                _ = phases.wait_for(|phase| *phase == Phase::Ended) => break,
            }
            self.read(&stream, shared)?;
            if !self.acks.is_empty() {
                stream.write_all(&self.acks).await?;
                self.acks.clear();
            }
        }
        self.acknowledge();
        stream.write_all(&self.acks).await?;
        let connection = Connection::resume(stream, limits, std::mem::take(&mut self.carry));
        // Whatever it has to say is no longer counted.
        let _ = timeout(CLOSE_TIMEOUT, connection.close()).await;
        Ok(())
    }

    /// Reads once, without waiting.
    fn read(&mut self, stream: &TcpStream, shared: &Shared) -> Result<(), Error> {
        let mut buffer = shared.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        let carried = self.carry.len();
        // A frame of the largest size has to fit.
        debug_assert!(carried < buffer.len());
        buffer[..carried].copy_from_slice(&self.carry);
        let count = match stream.try_read(&mut buffer[carried..]) {
            Ok(0) => return Err(Error::Closed),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        self.handle_input(&buffer[..carried + count], shared)
    }

    fn handle_input(&mut self, bytes: &[u8], shared: &Shared) -> Result<(), Error> {
        let now_ns = shared.clock.nanos();
        let mut counted = Counted::default();
        let mut used = 0;
        let mut outcome = Ok(());
        shared.latency.with(|histogram| {
            let mut on_time = |sent_ns: u64| record(histogram, now_ns.saturating_sub(sent_ns));
            outcome = loop {
                match next_frame(&bytes[used..], &self.limits) {
                    Ok(Some((frame, size))) => {
                        used += size;
                        if let Err(error) = self.handle_frame(frame, &mut counted, &mut on_time) {
                            break Err(error);
                        }
                    }
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                }
            };
        });
        self.carry.clear();
        self.carry.extend_from_slice(&bytes[used..]);
        shared.progress.add_received(counted.own, counted.foreign);
        outcome
    }

    #[inline]
    fn handle_frame(
        &mut self,
        frame: RawFrame<'_>,
        counted: &mut Counted,
        on_time: &mut impl FnMut(u64),
    ) -> Result<(), Error> {
        match frame.kind {
            FrameKind::Method => self.handle_method(frame.payload),
            FrameKind::Header => {
                let header = ContentHeader::decode(frame.payload, &self.limits)
                    .map_err(|error| Error::Malformed(error.into()))?;
                self.message.left = header.body_size;
                if header.body_size == 0 {
                    self.finish(counted, on_time);
                }
                Ok(())
            }
            FrameKind::Body => {
                self.message.add(frame.payload);
                if self.message.left == 0 {
                    self.finish(counted, on_time);
                }
                Ok(())
            }
            FrameKind::Heartbeat => Ok(()),
        }
    }

    #[inline]
    fn handle_method(&mut self, payload: &[u8]) -> Result<(), Error> {
        let Some(arguments) = payload.strip_prefix(&DELIVER) else {
            let method = decode(payload, &self.limits)?;
            refusal(&method)?;
            return match method {
                Method::BasicCancel(_) => Err(Error::Cancelled),
                _ => Ok(()),
            };
        };
        let deliver = basic::Deliver::decode_arguments(arguments, &self.limits)
            .map_err(|error| Error::Malformed(error.into()))?;
        let queue = deliver.consumer_tag.parse().ok();
        let queue = queue.filter(|&queue: &usize| queue < self.harvest.queues.len());
        if queue.is_none() {
            let tag = deliver.consumer_tag.escape_debug();
            return Err(Error::Unexpected(format!("a delivery for consumer {tag}")));
        }
        self.message = Arriving {
            queue,
            ..Arriving::default()
        };
        self.last_tag = deliver.delivery_tag;
        Ok(())
    }

    /// Enters the message that has arrived whole.
    #[inline]
    fn finish(&mut self, counted: &mut Counted, on_time: &mut impl FnMut(u64)) {
        let Some(queue) = self.message.queue.take() else {
            return;
        };
        let stamp = Stamp::from_bytes(&self.message.stamp);
        let producer = stamp.producer as usize;
        let complete = self.message.stamp_size == Stamp::SIZE;
        if complete && stamp.run == self.run && producer < self.harvest.producers {
            let line = queue * self.harvest.producers + producer;
            self.harvest.lines[line].add(stamp.sequence);
            counted.own += 1;
            if self.every_latency || stamp.sequence.is_multiple_of(SAMPLED_OF) {
                on_time(stamp.sent_ns);
            }
        } else {
            counted.foreign += 1;
        }
        if let Some(every) = self.ack_every
            && self.last_tag - self.acked_tag >= every
        {
            self.acknowledge();
        }
    }

    /// Puts an acknowledgement of everything so far behind those that are to be sent.
    fn acknowledge(&mut self) {
        if self.ack_every.is_some() && self.last_tag > self.acked_tag {
            self.acked_tag = self.last_tag;
            let ack = basic::Ack {
                delivery_tag: self.last_tag,
                multiple: true,
            };
            write_method(&mut self.acks, CHANNEL, &ack);
        }
    }
}

impl Arriving {
    /// Adds a piece of the body, of which the first bytes are kept.
    #[inline]
    fn add(&mut self, payload: &[u8]) {
        let wanted = (Stamp::SIZE - self.stamp_size).min(payload.len());
        let place = &mut self.stamp[self.stamp_size..self.stamp_size + wanted];
        place.copy_from_slice(&payload[..wanted]);
        self.stamp_size += wanted;
        self.left = self.left.saturating_sub(payload.len() as u64);
    }
}
