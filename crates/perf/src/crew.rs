//! The producers and consumers of a run, from their connections to what they have come to.

use std::sync::Arc;

use hdrhistogram::Histogram;
use leveret_amqp_codec::method::basic;
use leveret_amqp_codec::{ShortStr, write_method};
use tokio::time::timeout;

use crate::clock::Clock;
use crate::connection::{CHANNEL, CLOSE_TIMEOUT, Connection, Detached};
use crate::consumer::{Consumer, Harvest, shared_buffer};
use crate::error::Error;
use crate::latency::{Recorder, histogram};
use crate::ledger::{Published, Received, Verdict};
use crate::messages::{Look, Messages};
use crate::pacer::{Pace, Pacer};
use crate::plan::{Route, served_by};
use crate::progress::Progress;
use crate::publisher::{Finished, Publisher};
use crate::uri::AmqpUri;
use crate::workers::{Jobs, Workers, deal};

/// What everybody in a run has in common.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) uri: AmqpUri,
    pub(crate) run: u32,
    pub(crate) clock: Clock,
    pub(crate) progress: Arc<Progress>,
    /// The names of the queues.
    pub(crate) queues: Vec<String>,
    pub(crate) producers: u32,
    /// How many threads each side has.
    pub(crate) threads: u16,
}

/// What producers do.
#[derive(Clone, Debug)]
pub(crate) struct Publishing {
    /// One a producer.
    pub(crate) routes: Vec<Route>,
    pub(crate) sizes: Vec<usize>,
    pub(crate) persistent: bool,
    pub(crate) window: Option<u32>,
    pub(crate) count: Option<u64>,
    pub(crate) rate: Option<u32>,
}

/// What consumers do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Consuming {
    pub(crate) consumers: u32,
    pub(crate) ack_every: Option<u16>,
    pub(crate) prefetch: u16,
    /// Whether the time of each message is taken, or of a sample.
    pub(crate) every_latency: bool,
}

/// Running producers.
#[derive(Debug)]
pub(crate) struct Producers {
    workers: Workers<(u32, Finished)>,
    finished: Vec<(u32, Finished)>,
    confirm_latency: Vec<Arc<Recorder>>,
    /// Held so that it goes on; the producers wait for it.
    _pacer: Option<Pacer>,
}

/// Running consumers.
#[derive(Debug)]
pub(crate) struct Consumers {
    workers: Workers<Harvest>,
    finished: Vec<Harvest>,
    latency: Vec<Arc<Recorder>>,
}

impl Producers {
    /// Connects the producers, one after the other, and then lets all of them begin.
    ///
    /// # Errors
    ///
    /// When one cannot connect, or the messages take too much memory; then none begins.
    pub(crate) async fn start(setting: &Setting, publishing: &Publishing) -> Result<Self, Error> {
        let recorders = recorders(setting.threads);
        let mut publishers = Vec::new();
        for (producer, route) in (0..).zip(&publishing.routes) {
            let mut connection = Connection::open(&setting.uri).await?;
            if publishing.window.is_some() {
                connection.select_confirms().await?;
            }
            let look = Look {
                sizes: publishing.sizes.clone(),
                persistent: publishing.persistent,
                run: setting.run,
                producer,
                frame_size_max: connection.limits.frame_size_max,
            };
            publishers.push(Publisher {
                messages: Messages::new(route, &look)?,
                connection: connection.detach()?,
                targets: route.targets.clone(),
                queues: setting.queues.len(),
                count: publishing.count,
                window: publishing.window,
                pace: None,
                clock: setting.clock,
                progress: Arc::clone(&setting.progress),
                confirm_latency: Arc::clone(recorder(&recorders, producer)),
            });
        }
        let pacer = match publishing.rate {
            None => None,
            Some(rate) => {
                let now_ns = setting.clock.nanos();
                let paces = Pace::spread(rate, setting.producers, now_ns);
                for (publisher, pace) in publishers.iter_mut().zip(&paces) {
                    publisher.pace = Some(pace.clone());
                }
                Some(Pacer::start(paces, setting.clock).map_err(Error::System)?)
            }
        };
        let jobs = (0_u32..).zip(publishers).map(|(producer, publisher)| {
            Box::pin(async move { (producer, publisher.run().await) }) as _
        });
        let lists: Vec<Jobs<_>> = deal(jobs, setting.threads);
        Ok(Self {
            workers: Workers::start("producers", lists)?,
            finished: Vec::new(),
            confirm_latency: recorders,
            _pacer: pacer,
        })
    }

    /// Waits until all have finished. Their connections stay open.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub(crate) async fn finish(&mut self) {
        self.workers.finish(&mut self.finished).await;
    }

    /// Says goodbye on the connections of those that have finished. Where the broker does not answer in time the socket
    /// is closed without.
    pub(crate) async fn close(&mut self) {
        for (_, finished) in &mut self.finished {
            let attached = finished.connection.take().map(Detached::attach);
            if let Some(Ok(connection)) = attached {
                let _ = timeout(CLOSE_TIMEOUT, connection.close()).await;
            }
        }
    }

    /// Moves the times of confirms taken so far to the end of `total`.
    pub(crate) fn drain_latency(&self, total: &mut Histogram<u64>) {
        drain(&self.confirm_latency, total);
    }
}

impl Consumers {
    /// Connects and subscribes the consumers, one after the other, and then lets all of them begin.
    ///
    /// # Errors
    ///
    /// When one cannot connect; then none begins.
    pub(crate) async fn start(setting: &Setting, consuming: Consuming) -> Result<Self, Error> {
        let recorders = recorders(setting.threads);
        let buffers: Vec<_> = recorders.iter().map(|_| shared_buffer()).collect();
        let mut jobs = Vec::new();
        for index in 0..consuming.consumers {
            let mut connection = Connection::open(&setting.uri).await?;
            if consuming.ack_every.is_some() {
                connection.limit_prefetch(consuming.prefetch).await?;
            }
            let count = u32::try_from(setting.queues.len()).unwrap_or(u32::MAX);
            let queues = served_by(index, consuming.consumers, count);
            let mut out = Vec::new();
            for (position, &queue) in queues.iter().enumerate() {
                let tag = position.to_string();
                let consume = basic::Consume {
                    queue: ShortStr::new(&setting.queues[queue as usize])?,
                    consumer_tag: ShortStr::new(&tag)?,
                    no_ack: consuming.ack_every.is_none(),
                    // The answer would stand behind deliveries; a refusal comes all the same.
                    no_wait: true,
                    ..basic::Consume::default()
                };
                write_method(&mut out, CHANNEL, &consume);
            }
            connection.send_bytes(&out).await?;
            let consumer = Consumer {
                connection: connection.detach()?,
                queues,
                producers: setting.producers as usize,
                run: setting.run,
                ack_every: consuming.ack_every,
                every_latency: consuming.every_latency,
                clock: setting.clock,
                progress: Arc::clone(&setting.progress),
                latency: Arc::clone(recorder(&recorders, index)),
                buffer: Arc::clone(&buffers[index as usize % buffers.len()]),
            };
            jobs.push(Box::pin(consumer.run()) as _);
        }
        let lists: Vec<Jobs<_>> = deal(jobs, setting.threads);
        Ok(Self {
            workers: Workers::start("consumers", lists)?,
            finished: Vec::new(),
            latency: recorders,
        })
    }

    /// Waits until all have finished.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub(crate) async fn finish(&mut self) {
        self.workers.finish(&mut self.finished).await;
    }

    /// Moves the times of deliveries taken so far to the end of `total`.
    pub(crate) fn drain_latency(&self, total: &mut Histogram<u64>) {
        drain(&self.latency, total);
    }
}

/// Compares what finished producers have published with what finished consumers have received.
pub(crate) fn compare(setting: &Setting, producers: &Producers, consumers: &Consumers) -> Verdict {
    let mut received = Received::new(setting.queues.len(), setting.producers as usize);
    for harvest in &consumers.finished {
        for (queue, lines) in harvest.by_queue() {
            received.add(queue, lines);
        }
    }
    let mut finished: Vec<_> = producers.finished.iter().collect();
    finished.sort_unstable_by_key(|(producer, _)| *producer);
    let published: Vec<&Published> = finished.iter().map(|(_, done)| &done.published).collect();
    received.verdict(&published)
}

/// One recorder a thread.
fn recorders(threads: u16) -> Vec<Arc<Recorder>> {
    (0..threads).map(|_| Arc::new(Recorder::new())).collect()
}

/// The recorder of the thread that [`deal`] gives this job to.
fn recorder(recorders: &[Arc<Recorder>], job: u32) -> &Arc<Recorder> {
    &recorders[job as usize % recorders.len()]
}

fn drain(recorders: &[Arc<Recorder>], total: &mut Histogram<u64>) {
    let mut drained = histogram();
    for recorder in recorders {
        recorder.drain_into(&mut drained);
    }
    // All histograms of this crate have the same bounds.
    let _ = total.add(drained);
}
