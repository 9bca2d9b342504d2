//! Rates and times while a run goes on.

use std::io::{self, Write};

use hdrhistogram::Histogram;

use crate::clock::Clock;
use crate::crew::{Consumers, Producers};
use crate::latency::{Percentiles, histogram};
use crate::progress::{Counts, Progress};
use crate::report::{Rate, Report, Spread};
use crate::usage::{self, Usage};

/// Looks at the counters now and then, and keeps the times that were taken.
#[derive(Debug)]
pub(crate) struct Meter {
    clock: Clock,
    broker_pids: Vec<u32>,
    quiet: bool,
    confirms: bool,
    latency: Histogram<u64>,
    confirm_latency: Histogram<u64>,
    /// What was there when the last line was printed.
    last: (u64, Counts),
}

/// Everything that grows, at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Snapshot {
    at_ns: u64,
    counts: Counts,
    broker: Usage,
    own_cpu_seconds: f64,
}

impl Meter {
    pub(crate) fn new(clock: Clock, broker_pids: &[u32], quiet: bool, confirms: bool) -> Self {
        Self {
            clock,
            broker_pids: broker_pids.to_vec(),
            quiet,
            confirms,
            latency: histogram(),
            confirm_latency: histogram(),
            last: (clock.nanos(), Counts::default()),
        }
    }

    /// What everything stands at now.
    pub(crate) fn snapshot(&self, progress: &Progress) -> Snapshot {
        Snapshot {
            broker: usage::of_tree(&self.broker_pids),
            own_cpu_seconds: usage::own_cpu_seconds(),
            counts: progress.counts(),
            at_ns: self.clock.nanos(),
        }
    }

    /// Forgets the times taken so far.
    pub(crate) fn forget(&mut self, producers: &Producers, consumers: &Consumers) {
        self.collect(producers, consumers);
        self.latency.reset();
        self.confirm_latency.reset();
    }

    /// Takes over the times taken since the last call, and returns them.
    pub(crate) fn collect(
        &mut self,
        producers: &Producers,
        consumers: &Consumers,
    ) -> Histogram<u64> {
        let mut recent = histogram();
        consumers.drain_latency(&mut recent);
        // All histograms of this crate have the same bounds.
        let _ = self.latency.add(&recent);
        producers.drain_latency(&mut self.confirm_latency);
        recent
    }

    /// Prints what happened since the last line, to stderr.
    pub(crate) fn print(
        &mut self,
        progress: &Progress,
        producers: &Producers,
        consumers: &Consumers,
    ) {
        let recent = self.collect(producers, consumers);
        let (now_ns, counts) = (self.clock.nanos(), progress.counts());
        let (then_ns, before) = std::mem::replace(&mut self.last, (now_ns, counts));
        if self.quiet || now_ns <= then_ns {
            return;
        }
        let seconds = (now_ns - then_ns) as f64 / 1e9;
        let rate = |now: u64, then: u64| Rate((now - then) as f64 / seconds);
        let mut line = format!(
            "{:>5.0} s  sent {}  received {}",
            now_ns as f64 / 1e9,
            rate(counts.sent, before.sent),
            rate(
                counts.received + counts.foreign,
                before.received + before.foreign
            ),
        );
        if self.confirms {
            line += &format!("  confirmed {}", rate(counts.confirmed, before.confirmed));
        }
        if !recent.is_empty() {
            line += &format!("  latency {}", Spread(&Percentiles::of(&recent)));
        }
        if counts.blocked > before.blocked {
            line += "  blocked by the broker";
        }
        // When nobody reads stderr, the summary is enough.
        let _ = writeln!(io::stderr(), "{line}");
    }

    /// Enters what happened between two snapshots, and the times taken since [`forget`](Self::forget).
    pub(crate) fn report(&self, from: &Snapshot, to: &Snapshot, report: &mut Report) {
        let seconds = to.at_ns.saturating_sub(from.at_ns) as f64 / 1e9;
        // The time between two snapshots is never 0, but a clock may be coarse.
        let rate = |now: u64, then: u64| (now - then) as f64 / seconds.max(1e-9);
        let (now, then) = (&to.counts, &from.counts);
        report.seconds = seconds;
        report.sent_per_second = rate(now.sent, then.sent);
        report.received_per_second = rate(now.received, then.received);
        report.confirmed_per_second = rate(now.confirmed, then.confirmed);
        report.latency_us = Percentiles::of(&self.latency);
        report.confirm_latency_us = Percentiles::of(&self.confirm_latency);
        let own = to.own_cpu_seconds - from.own_cpu_seconds;
        report.generator_cores = own / seconds.max(1e-9);
        if let Some(usage) = &mut report.broker_usage {
            let used = to.broker.cpu_seconds - from.broker.cpu_seconds;
            let received = now.received - then.received;
            let messages = if received > 0 {
                received
            } else {
                now.sent - then.sent
            };
            usage.cores = used / seconds.max(1e-9);
            usage.messages_per_cpu_second = per_cpu_second(messages, used);
            usage.resident_bytes = to.broker.resident_bytes;
        }
    }
}

/// So many things for a second of processor time; `None` where less was used than the system can tell, a hundredth of a
/// second.
pub(crate) fn per_cpu_second(things: u64, cpu_seconds: f64) -> Option<f64> {
    (cpu_seconds > 0.0).then(|| things as f64 / cpu_seconds)
}
