//! A queue that fills while nobody consumes, and is drained.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use leveret_amqp_codec::method::queue;
use leveret_amqp_codec::{RawTable, ShortStr};
use serde::Serialize;

use crate::clock::Clock;
use crate::connection::Connection;
use crate::crew::{Consumers, Consuming, Producers, Publishing, Setting, compare};
use crate::error::Error;
use crate::load::{GRACE, new_run, run_name};
use crate::meter::per_cpu_second;
use crate::options::Backlog;
use crate::patience::Moved;
use crate::plan::{Route, Targets, arguments_table};
use crate::progress::{Counts, Phase, Progress};
use crate::report::{Rate, Thousands};
use crate::usage;

/// Publishes that may be unconfirmed, and deliveries unacknowledged, when messages are persistent.
const WINDOW: u16 = 1_000;

/// How many deliveries are acknowledged at once.
const ACK_EVERY: u16 = 100;

/// How long a full queue is left alone before its memory is looked at, and an empty one before it is deleted.
const SETTLE: Duration = Duration::from_secs(1);

/// How often to look how many messages there are.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// The result of filling and draining a queue. The names of the fields are those of `--json`, and stay.
///
/// Without `--broker-pid`, what is said in resident bytes is 0. What is said per second of the broker's processor time is
/// none then, and where too little was used to tell.
#[derive(Clone, Debug, Default, Serialize)]
pub struct BacklogReport {
    /// `backlog`
    pub scenario: &'static str,
    /// Whether each message arrived once and in order, and the queue was empty at the end.
    pub ok: bool,
    /// Why the run could not be carried out to its end.
    pub error: Option<String>,
    /// What the broker calls itself.
    pub broker: String,
    /// How many messages were to be published.
    pub messages: u64,
    /// Publishes a second, until all were in the queue.
    pub publish_per_second: f64,
    /// Publishes for a second of the broker's processor time.
    pub publish_per_broker_cpu_second: Option<f64>,
    /// Deliveries a second.
    pub drain_per_second: f64,
    /// Deliveries for a second of the broker's processor time.
    pub drain_per_broker_cpu_second: Option<f64>,
    /// Resident memory of the broker before the first message.
    pub resident_bytes_before: u64,
    /// Resident memory of the broker with the full queue.
    pub resident_bytes_full: u64,
    /// What it grew by for each message.
    pub resident_bytes_per_message: f64,
    /// Publishes that the broker said it could not take.
    pub nacked: u64,
    /// Messages that did not arrive.
    pub lost: u64,
    /// Deliveries of what had been delivered before.
    pub repeated: u64,
    /// Deliveries behind one that was published later.
    pub out_of_order: u64,
}

/// Carries it out until it is done or `interrupted`. The queue is deleted whatever happens.
///
/// # Errors
///
/// When it cannot begin. What goes wrong later is in the report.
pub(crate) async fn run(
    backlog: &Backlog,
    interrupted: impl Future<Output = ()>,
) -> Result<BacklogReport, Error> {
    let mut report = BacklogReport {
        scenario: "backlog",
        messages: backlog.messages,
        ..BacklogReport::default()
    };
    let number = new_run();
    let queue = format!("{}-backlog", run_name(number));
    let mut admin = Connection::open(&backlog.common.uri).await?;
    report.broker = admin.server().to_string();
    let arguments = arguments_table(&backlog.common.queue_arg);
    let declare = queue::Declare {
        queue: ShortStr::new(&queue)?,
        durable: backlog.persistent,
        arguments: RawTable::from_validated_bytes(&arguments),
        ..queue::Declare::default()
    };
    admin.declare_queue(&declare).await?;

    let setting = Setting {
        uri: backlog.common.uri.clone(),
        run: number,
        clock: Clock::start(),
        progress: Arc::new(Progress::new(None)),
        queues: vec![queue.clone()],
        producers: 1,
        threads: 1,
    };
    let done = tokio::select! {
        done = fill_and_drain(backlog, &setting, &mut admin, &mut report) => done,
        () = interrupted => Err(Error::Interrupted),
    };
    setting.progress.enter(Phase::Ended);
    let failure = setting.progress.take_failure();
    report.error = failure
        .or_else(|| done.err())
        .map(|error| error.to_string());
    // The connection may have been closed with an error.
    let mut last = Connection::open(&backlog.common.uri).await?;
    last.delete_queue(&queue).await?;
    last.close().await?;
    let wrong = report.nacked + report.lost + report.repeated + report.out_of_order;
    report.ok = report.error.is_none() && wrong == 0;
    Ok(report)
}

async fn fill_and_drain(
    backlog: &Backlog,
    setting: &Setting,
    admin: &mut Connection,
    report: &mut BacklogReport,
) -> Result<(), Error> {
    let pids = &backlog.common.broker_pid;
    let (clock, progress) = (setting.clock, &setting.progress);
    let publishing = Publishing {
        routes: vec![Route {
            exchange: String::new(),
            keys: setting.queues.clone(),
            targets: Targets::ByKey(Arc::new(vec![vec![0]])),
        }],
        sizes: backlog.common.size.clone(),
        persistent: backlog.persistent,
        window: backlog.persistent.then_some(u32::from(WINDOW)),
        count: Some(backlog.messages),
        rate: None,
    };
    let (before, started) = (usage::of_tree(pids), clock.elapsed());
    let mut producers = Producers::start(setting, &publishing).await?;
    let mut moved = Moved::new(clock.elapsed(), backlog.common.patience);
    while !moved
        .patience_left(clock.elapsed(), progress.counts())
        .is_zero()
    {
        tokio::select! {
            () = producers.finish() => break,
            () = progress.failed() => break,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
    stop_if_failed(setting)?;
    // Sent is not in the queue: wait for the broker to have taken it all.
    let name = &setting.queues[0];
    let full = |count: u32| u64::from(count) >= backlog.messages;
    wait_for_depth(backlog, clock, admin, name, full).await?;
    let (filled, seconds) = (usage::of_tree(pids), clock.elapsed() - started);
    report.publish_per_second = backlog.messages as f64 / seconds.as_secs_f64();
    let used = filled.cpu_seconds - before.cpu_seconds;
    report.publish_per_broker_cpu_second = per_cpu_second(backlog.messages, used);

    tokio::time::sleep(SETTLE).await;
    let settled = usage::of_tree(pids);
    let grown = settled.resident_bytes.saturating_sub(before.resident_bytes);
    report.resident_bytes_before = before.resident_bytes;
    report.resident_bytes_full = settled.resident_bytes;
    report.resident_bytes_per_message = grown as f64 / backlog.messages as f64;

    let consuming = Consuming {
        consumers: 1,
        ack_every: backlog.persistent.then_some(ACK_EVERY),
        prefetch: WINDOW,
        every_latency: false,
    };
    let started = clock.elapsed();
    let mut consumers = Consumers::start(setting, consuming).await?;
    let mut moved = Moved::new(started, backlog.common.patience);
    let all_received = |counts: Counts| counts.received >= counts.owed;
    while !all_received(progress.counts())
        && !moved
            .patience_left(clock.elapsed(), progress.counts())
            .is_zero()
    {
        tokio::select! {
            () = progress.failed() => break,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
    let (drained, seconds) = (usage::of_tree(pids), clock.elapsed() - started);
    report.drain_per_second = progress.counts().received as f64 / seconds.as_secs_f64();
    let used = drained.cpu_seconds - settled.cpu_seconds;
    report.drain_per_broker_cpu_second = per_cpu_second(backlog.messages, used);
    // What should not come, a message that was delivered already, would come now.
    tokio::time::sleep(GRACE).await;

    progress.enter(Phase::Ended);
    consumers.finish().await;
    producers.close().await;
    let verdict = compare(setting, &producers, &consumers);
    report.nacked = progress.counts().nacked;
    report.lost = verdict.lost;
    report.repeated = verdict.repeated;
    report.out_of_order = verdict.out_of_order;
    stop_if_failed(setting)?;
    wait_for_depth(backlog, clock, admin, name, |count| count == 0).await
}

/// The failure of a producer or consumer, if there was one.
fn stop_if_failed(setting: &Setting) -> Result<(), Error> {
    setting.progress.take_failure().map_or(Ok(()), Err)
}

/// Waits until as many messages are in the queue as `reached` wants.
async fn wait_for_depth(
    backlog: &Backlog,
    clock: Clock,
    admin: &mut Connection,
    queue: &str,
    reached: impl Fn(u32) -> bool,
) -> Result<(), Error> {
    let patience = backlog.common.patience;
    let mut moved = (0, clock.elapsed());
    loop {
        let count = admin.message_count(queue).await?;
        if reached(count) {
            return Ok(());
        }
        if count != moved.0 {
            moved = (count, clock.elapsed());
        } else if clock.elapsed() - moved.1 > patience {
            return Err(Error::Stalled {
                seconds: patience.as_secs_f64(),
                what: "the number of messages in the queue",
            });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

impl fmt::Display for BacklogReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "broker      {}", self.broker)?;
        writeln!(
            f,
            "filled      {} messages, {}",
            Thousands(self.messages),
            Rate(self.publish_per_second)
        )?;
        writeln!(f, "drained     {}", Rate(self.drain_per_second))?;
        if self.resident_bytes_full > 0 {
            writeln!(
                f,
                "broker has  {:.1} MB with the queue full, {:.0} bytes for each message",
                self.resident_bytes_full as f64 / 1e6,
                self.resident_bytes_per_message
            )?;
        }
        write!(
            f,
            "lost {}, repeated {}, out of order {}",
            Thousands(self.lost),
            Thousands(self.repeated),
            Thousands(self.out_of_order)
        )?;
        if let Some(error) = &self.error {
            write!(f, "\n{error}")?;
        }
        Ok(())
    }
}
