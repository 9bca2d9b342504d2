//! What was sent, and what came of it.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::Error;

/// What a message says: its sender, its number, and when it was sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    pub(crate) sender: usize,
    pub(crate) number: u64,
    pub(crate) sent_us: u64,
}

impl Stamp {
    pub(crate) fn to_body(self) -> String {
        format!("{} {} {}", self.sender, self.number, self.sent_us)
    }

    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        let mut numbers = str::from_utf8(body).ok()?.split(' ');
        Some(Self {
            sender: numbers.next()?.parse().ok()?,
            number: numbers.next()?.parse().ok()?,
            sent_us: numbers.next()?.parse().ok()?,
        })
    }
}

/// What takes longer counts as this: a minute, far beyond any limit that would be set.
const LATENCY_US_MAX: u64 = 60_000_000;

/// The books of a run.
#[derive(Debug)]
pub(crate) struct Tally {
    start: Instant,
    /// Messages, and the deliveries that have to come of them.
    sent: u64,
    expected: u64,
    received: u64,
    repeated: u64,
    out_of_order: u64,
    foreign: u64,
    late_us_max: u64,
    latency_us: Histogram<u64>,
    pub(crate) failure: Option<String>,
}

#[expect(
    clippy::disallowed_methods,
    reason = "a measurement is about the real clock"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

impl Tally {
    pub(crate) fn new() -> Result<Self, Error> {
        Ok(Self {
            start: now(),
            sent: 0,
            expected: 0,
            received: 0,
            repeated: 0,
            out_of_order: 0,
            foreign: 0,
            late_us_max: 0,
            latency_us: Histogram::new_with_bounds(1, LATENCY_US_MAX, 3)?,
            failure: None,
        })
    }

    fn now_us(&self) -> u64 {
        u64::try_from(now().duration_since(self.start).as_micros()).unwrap_or(u64::MAX)
    }

    /// A message is about to be written that should have been at `due`, and that so many will get.
    pub(crate) fn stamp(
        &mut self,
        sender: usize,
        number: u64,
        due: Instant,
        readers: u64,
    ) -> Stamp {
        let late = now().saturating_duration_since(due);
        let late_us = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
        self.late_us_max = self.late_us_max.max(late_us);
        self.sent += 1;
        self.expected += readers;
        Stamp {
            sender,
            number,
            sent_us: self.now_us(),
        }
    }

    /// A delivery has come to a reader that has heard `heard[sender]` messages of each sender.
    pub(crate) fn receive(&mut self, body: &[u8], heard: &mut [u64]) {
        let stamp = Stamp::parse(body);
        let count = stamp.and_then(|stamp| heard.get_mut(stamp.sender));
        let (Some(stamp), Some(count)) = (stamp, count) else {
            self.foreign += 1;
            return;
        };
        let latency_us = self.now_us().saturating_sub(stamp.sent_us);
        self.latency_us.saturating_record(latency_us);
        match stamp.number.cmp(count) {
            std::cmp::Ordering::Less => self.repeated += 1,
            std::cmp::Ordering::Equal => {
                self.received += 1;
                *count += 1;
            }
            std::cmp::Ordering::Greater => {
                self.received += 1;
                self.out_of_order += 1;
                *count = stamp.number + 1;
            }
        }
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.received >= self.expected
    }

    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Whether all went well, and the figures.
    pub(crate) fn report(&self, scenario: &str, clients: usize, time: Duration) -> (bool, Value) {
        let lost = self.expected - self.received.min(self.expected);
        let wrong = lost + self.repeated + self.out_of_order + self.foreign;
        let is_ok = wrong == 0 && self.failure.is_none() && self.received > 0;
        let percentile = |part| self.latency_us.value_at_quantile(part);
        let report = json!({
            "scenario": scenario,
            "ok": is_ok,
            "error": self.failure,
            "clients": clients,
            "seconds": time.as_secs_f64(),
            "sent": self.sent,
            "expected": self.expected,
            "received": self.received,
            "lost": lost,
            "repeated": self.repeated,
            "out_of_order": self.out_of_order,
            "foreign": self.foreign,
            "latency_us": {
                "p50": percentile(0.5),
                "p90": percentile(0.9),
                "p99": percentile(0.99),
                "p99_9": percentile(0.999),
                "max": self.latency_us.max(),
            },
            "late_us_max": self.late_us_max,
        });
        (is_ok, report)
    }

    pub(crate) fn p99_ms(&self) -> f64 {
        let us = u32::try_from(self.latency_us.value_at_quantile(0.99)).unwrap_or(u32::MAX);
        f64::from(us) / 1000.0
    }
}
