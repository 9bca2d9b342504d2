//! The scenario that everything else is a variation of: producers, queues, consumers.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::connection::Connection;
use crate::crew::{Consumers, Consuming, Producers, Publishing, Setting, compare};
use crate::error::Error;
use crate::meter::{Meter, Snapshot};
use crate::options::Load;
use crate::patience::Moved;
use crate::plan::{Plan, Route};
use crate::progress::{Phase, Progress};
use crate::report::{BrokerUsage, Report};
use crate::signals::Signals;
use crate::usage;

/// How often a line is printed.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// How long to wait at the end for what should not come: a message that was delivered already.
pub(crate) const GRACE: Duration = Duration::from_millis(100);

/// How often to look whether all has arrived.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Carries out a load.
///
/// # Errors
///
/// When it cannot begin. What goes wrong later is in the report.
pub(crate) async fn run(load: &Load, signals: &mut Signals) -> Result<Report, Error> {
    load.check()?;
    let number = new_run();
    let name = run_name(number);
    let (plan, routes) = Plan::new(load, &name);
    let mut report = Report {
        scenario: "load",
        name,
        ..Report::default()
    };
    let admin = tokio::select! {
        opened = Connection::open(&load.common.uri) => opened?,
        () = signals.next() => return Err(Error::Interrupted),
    };
    report.broker = admin.server().to_string();
    let started = tokio::select! {
        started = Run::start(load, number, &plan, routes, admin, &mut report) => started,
        () = signals.next() => Err(Error::Interrupted),
    };
    let outcome = match started {
        Ok(run) => {
            run.carry_out(load, signals, &mut report).await;
            Ok(())
        }
        Err(error) => Err(error),
    };
    // Also after a failure: what was declared before it would stay for ever.
    let deleted = delete(load, &plan).await;
    outcome?;
    if report.error.is_none() {
        report.error = deleted.err().map(|error| error.to_string());
    }
    report.ok = report.is_clean();
    Ok(report)
}

/// A number that no other run is likely to have.
pub(crate) fn new_run() -> u32 {
    let random = RandomState::new().build_hasher().finish();
    // Half of the bits are as good as all of them.
    (random >> 32) as u32
}

/// What everything that a run declares is called, or begins with.
pub(crate) fn run_name(number: u32) -> String {
    format!("leveret-perf-{number:08x}")
}

/// Deletes what is ours, on a connection of its own: the one that declared it may have been closed with an error.
async fn delete(load: &Load, plan: &Plan) -> Result<(), Error> {
    let mut connection = Connection::open(&load.common.uri).await?;
    plan.delete(&mut connection).await?;
    connection.close().await
}

/// A load under way.
struct Run {
    setting: Setting,
    producers: Producers,
    consumers: Consumers,
    meter: Meter,
}

/// Why a stage of a run is over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Over {
    /// The time is up.
    Time,
    /// All producers have finished.
    Done,
    /// A connection broke, or the broker refused something.
    Failed,
    /// Ctrl-C.
    Interrupted,
    /// Nothing moved for too long.
    Stalled,
}

impl Run {
    /// Declares, connects and begins.
    async fn start(
        load: &Load,
        number: u32,
        plan: &Plan,
        routes: Vec<Route>,
        mut admin: Connection,
        report: &mut Report,
    ) -> Result<Self, Error> {
        let clock = Clock::start();
        report.broker_usage = (!load.common.broker_pid.is_empty()).then(BrokerUsage::default);
        plan.declare(&mut admin).await?;
        bind(load, plan, &mut admin, clock, report).await?;
        admin.close().await?;

        let fan = routes[0].targets.deliveries_per_message();
        report.deliveries_per_message = fan;
        let setting = Setting {
            uri: load.common.uri.clone(),
            run: number,
            clock,
            progress: Arc::new(Progress::new(lag_max(load, fan))),
            queues: plan.queues.clone(),
            producers: load.producers,
            threads: load.threads,
        };
        let consuming = Consuming {
            consumers: load.consumer_count(),
            ack_every: load.ack_every,
            prefetch: load.prefetch,
            every_latency: load.rate.is_some(),
        };
        let publishing = Publishing {
            routes,
            sizes: load.common.size.clone(),
            persistent: load.persistent,
            window: load.confirm,
            count: load.messages,
            rate: load.rate,
        };
        let consumers = Consumers::start(&setting, consuming).await?;
        let producers = Producers::start(&setting, &publishing).await?;
        let confirms = load.confirm.is_some();
        let meter = Meter::new(clock, &load.common.broker_pid, load.common.quiet, confirms);
        Ok(Self {
            setting,
            producers,
            consumers,
            meter,
        })
    }

    /// Measures, lets everything arrive, and reports.
    async fn carry_out(mut self, load: &Load, signals: &mut Signals, report: &mut Report) {
        // Of a slow producer nothing is expected between two messages.
        let patience = load.common.patience + load.rate.map_or(Duration::ZERO, period);
        let mut over = self
            .measure(Some(load.warmup_time()), patience, signals)
            .await;
        let from = self.meter.snapshot(&self.setting.progress);
        self.meter.forget(&self.producers, &self.consumers);
        if over == Over::Time {
            over = self.measure(load.measured_time(), patience, signals).await;
        }
        let consumed = load.consumer_count() > 0;
        let to = if over == Over::Done {
            over = self.drain(consumed, patience, signals).await;
            self.snapshot()
        } else {
            let to = self.snapshot();
            if over != Over::Failed {
                over = self.drain(consumed, patience, signals).await;
            }
            to
        };
        if over == Over::Done {
            tokio::time::sleep(GRACE).await;
        }
        let Self {
            setting, producers, ..
        } = &mut self;
        setting.progress.enter(Phase::Ended);
        producers.finish().await;
        self.consumers.finish().await;
        self.producers.close().await;

        let counts = self.setting.progress.counts();
        report.add_counts(counts);
        if consumed {
            report.add_verdict(compare(&self.setting, &self.producers, &self.consumers));
        }
        if load.confirm.is_some() {
            report.unconfirmed = counts.sent - counts.confirmed - counts.nacked;
        }
        self.meter.report(&from, &to, report);
        let failure = self.setting.progress.take_failure();
        let failure = failure.or_else(|| (over == Over::Interrupted).then_some(Error::Interrupted));
        report.error = failure.map(|error| error.to_string());
    }

    /// Prints a line a second until the time is up; without a time, until nothing moves for as long as patience lasts; or
    /// something else ends it.
    async fn measure(
        &mut self,
        time: Option<Duration>,
        patience: Duration,
        signals: &mut Signals,
    ) -> Over {
        let started = self.setting.clock.elapsed();
        let mut next_line = started + LINE_EVERY;
        let mut moved = Moved::new(started, patience);
        loop {
            let now = self.setting.clock.elapsed();
            let left = match time {
                Some(time) => (started + time).saturating_sub(now),
                None => moved.patience_left(now, self.setting.progress.counts()),
            };
            if left.is_zero() {
                return time.map_or(Over::Stalled, |_| Over::Time);
            }
            if now >= next_line {
                let progress = &self.setting.progress;
                self.meter.print(progress, &self.producers, &self.consumers);
                next_line += LINE_EVERY;
            }
            let line_in = next_line.saturating_sub(now);
            tokio::select! {
                () = self.setting.progress.failed() => return Over::Failed,
                () = signals.next() => return Over::Interrupted,
                () = self.producers.finish() => return Over::Done,
                () = tokio::time::sleep(left.min(line_in)) => {}
            }
        }
    }

    /// Stops the producers and waits until all is confirmed and delivered, or nothing moves for as long as patience
    /// lasts.
    async fn drain(&mut self, consumed: bool, patience: Duration, signals: &mut Signals) -> Over {
        let Self {
            setting, producers, ..
        } = self;
        let (progress, clock) = (&setting.progress, setting.clock);
        progress.enter(Phase::Draining);
        let mut moved = Moved::new(clock.elapsed(), patience);
        let mut published = false;
        loop {
            let counts = progress.counts();
            if published && (!consumed || counts.received >= counts.owed) {
                return Over::Done;
            }
            if moved.patience_left(clock.elapsed(), counts).is_zero() {
                return Over::Stalled;
            }
            tokio::select! {
                () = progress.failed() => return Over::Failed,
                () = signals.next() => return Over::Interrupted,
                () = producers.finish(), if !published => published = true,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    fn snapshot(&mut self) -> Snapshot {
        self.meter.collect(&self.producers, &self.consumers);
        self.meter.snapshot(&self.setting.progress)
    }
}

/// The time between two messages.
fn period(rate: u32) -> Duration {
    Duration::from_secs(1) / rate
}

/// Makes the bindings and reports how long they took and what they cost.
async fn bind(
    load: &Load,
    plan: &Plan,
    admin: &mut Connection,
    clock: Clock,
    report: &mut Report,
) -> Result<(), Error> {
    let count = plan.bindings.len();
    if count == 0 {
        return Ok(());
    }
    let before = usage::of_tree(&load.common.broker_pid);
    let started = clock.elapsed();
    plan.bind(admin).await?;
    let seconds = (clock.elapsed() - started).as_secs_f64();
    let after = usage::of_tree(&load.common.broker_pid);
    report.bindings = count as u64;
    report.bindings_per_second = count as f64 / seconds.max(1e-9);
    if let Some(usage) = &mut report.broker_usage {
        let grown = after.resident_bytes.saturating_sub(before.resident_bytes);
        usage.resident_bytes_per_binding = grown as f64 / count as f64;
    }
    Ok(())
}

/// How many deliveries may be on their way, `None` for any number.
fn lag_max(load: &Load, fan: f64) -> Option<u64> {
    /// What a steady state is about: deep enough that nobody waits for the other for long, and far from the memory
    /// limit of any broker.
    const DELIVERIES: f64 = 200_000.0;
    let messages = match load.max_lag {
        Some(0) => return None,
        Some(messages) => messages as f64,
        None => (DELIVERIES / fan).clamp(1_000.0, 50_000.0),
    };
    (load.consumer_count() > 0).then_some((messages * fan).ceil() as u64)
}
