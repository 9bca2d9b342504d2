//! What a run has come to.

use std::fmt;

use serde::Serialize;

use crate::connection::Server;
use crate::latency::Percentiles;
use crate::ledger::Verdict;
use crate::progress::Counts;

/// The result of a load. The names of the fields are those of `--json`, and stay.
///
/// Counts are of the whole run, rates and percentiles of the time after the warm-up.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// `load`
    pub scenario: &'static str,
    /// Whether all went well: each message arrived once and in order, none was refused, and no connection broke.
    pub ok: bool,
    /// Why the run could not be carried out or ended early.
    pub error: Option<String>,
    /// What the broker calls itself.
    pub broker: String,
    /// What the exchange of this run was called, and how its queues began unless they were named by the user.
    pub name: String,
    /// How long was measured.
    pub seconds: f64,
    /// How many deliveries a message leads to, on average.
    pub deliveries_per_message: f64,
    /// Messages that were published.
    pub sent: u64,
    /// Deliveries of messages of this run.
    pub received: u64,
    /// Publishes that the broker confirmed.
    pub confirmed: u64,
    /// Publishes that the broker said it could not take.
    pub nacked: u64,
    /// Publishes that were never confirmed, with confirms.
    pub unconfirmed: u64,
    /// Deliveries that were due and did not come.
    pub lost: u64,
    /// Deliveries of what had been delivered before.
    pub repeated: u64,
    /// Deliveries behind one that was published later, by the same producer in the same queue to the same consumer.
    pub out_of_order: u64,
    /// Deliveries of messages that this run did not publish.
    pub foreign: u64,
    /// How often the broker said that it takes no more for now (`connection.blocked`).
    pub blocked: u64,
    /// Publishes a second.
    pub sent_per_second: f64,
    /// Deliveries a second.
    pub received_per_second: f64,
    /// Confirms a second, 0 without confirms.
    pub confirmed_per_second: f64,
    /// From the write of a message to the read of its delivery. Of a sample only, unless there is a rate.
    pub latency_us: Percentiles,
    /// From the write of a message to the read of its confirm.
    pub confirm_latency_us: Percentiles,
    /// Bindings that were made, and how many a second; 0 where there are none.
    pub bindings: u64,
    /// Bindings a second; only the last one is waited for.
    pub bindings_per_second: f64,
    /// Processor time that the generator used while measuring, in seconds a second.
    pub generator_cores: f64,
    /// What the broker used; only with `--broker-pid`.
    pub broker_usage: Option<BrokerUsage>,
}

/// What the processes of the broker used, and what a message cost them.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct BrokerUsage {
    /// Processor time in seconds a second.
    pub cores: f64,
    /// Deliveries for a second of processor time. Publishes, where nobody consumes. None where too little was used to
    /// tell.
    pub messages_per_cpu_second: Option<f64>,
    /// Resident memory at the end of the measured time.
    pub resident_bytes: u64,
    /// What the resident memory grew by for each binding.
    pub resident_bytes_per_binding: f64,
}

impl Report {
    /// Enters the counters of a whole run.
    pub(crate) fn add_counts(&mut self, counts: Counts) {
        self.sent = counts.sent;
        self.received = counts.received;
        self.confirmed = counts.confirmed;
        self.nacked = counts.nacked;
        self.foreign = counts.foreign;
        self.blocked = counts.blocked;
    }

    /// Enters what comparing the published with the received has shown.
    pub(crate) fn add_verdict(&mut self, verdict: Verdict) {
        self.lost = verdict.lost;
        self.repeated = verdict.repeated;
        self.out_of_order = verdict.out_of_order;
    }

    /// Whether nothing is wrong with any message.
    pub(crate) fn is_clean(&self) -> bool {
        self.error.is_none()
            && [
                self.nacked,
                self.unconfirmed,
                self.lost,
                self.repeated,
                self.out_of_order,
            ]
            .iter()
            .all(|&count| count == 0)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            latency_us,
            confirm_latency_us,
            ..
        } = self;
        writeln!(f, "broker      {}", self.broker)?;
        writeln!(f, "measured    {:.1} s", self.seconds)?;
        writeln!(
            f,
            "sent        {} in all, {}",
            Thousands(self.sent),
            Rate(self.sent_per_second)
        )?;
        writeln!(
            f,
            "received    {} in all, {}",
            Thousands(self.received),
            Rate(self.received_per_second)
        )?;
        if self.confirmed + self.nacked + self.unconfirmed > 0 {
            writeln!(
                f,
                "confirmed   {} in all, {}; refused {}, open {}",
                Thousands(self.confirmed),
                Rate(self.confirmed_per_second),
                Thousands(self.nacked),
                Thousands(self.unconfirmed),
            )?;
        }
        if latency_us.count > 0 {
            writeln!(f, "latency     {}", Spread(latency_us))?;
        }
        if confirm_latency_us.count > 0 {
            writeln!(f, "confirms    {}", Spread(confirm_latency_us))?;
        }
        if self.bindings > 0 {
            writeln!(
                f,
                "bindings    {}, {}",
                Thousands(self.bindings),
                Rate(self.bindings_per_second)
            )?;
        }
        if let Some(usage) = &self.broker_usage {
            write!(
                f,
                "broker used {:.2} cores, {:.1} MB",
                usage.cores,
                usage.resident_bytes as f64 / 1e6,
            )?;
            if let Some(messages) = usage.messages_per_cpu_second {
                let messages = Thousands(messages as u64);
                write!(f, "; {messages} messages for a second of processor time")?;
            }
            writeln!(f)?;
        }
        writeln!(f, "generator   {:.2} cores", self.generator_cores)?;
        if self.foreign > 0 {
            writeln!(
                f,
                "foreign     {} messages of others",
                Thousands(self.foreign)
            )?;
        }
        if self.blocked > 0 {
            writeln!(f, "blocked     {} times", Thousands(self.blocked))?;
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

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.product.as_str(), self.version.as_str()) {
            ("", _) => f.write_str("unnamed"),
            (product, version) => write!(f, "{product} {version}"),
        }
    }
}

/// A number with commas between its thousands.
pub(crate) struct Thousands(pub(crate) u64);

impl fmt::Display for Thousands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        let mut text = String::with_capacity(digits.len() * 4 / 3 + 1);
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        f.pad(&text)
    }
}

/// So many a second.
pub(crate) struct Rate(pub(crate) f64);

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", Thousands(self.0.round() as u64))
    }
}

/// Percentiles in one line.
pub(crate) struct Spread<'a>(pub(crate) &'a Percentiles);

impl fmt::Display for Spread<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Percentiles {
            p50,
            p90,
            p99,
            p99_9,
            max,
            ..
        } = self.0;
        write!(
            f,
            "p50 {p50:.0} us, p90 {p90:.0}, p99 {p99:.0}, p99.9 {p99_9:.0}, max {max:.0}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (12_345, "12,345"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(Thousands(number).to_string(), text);
        }
        assert_eq!(format!("{:>6}", Thousands(1_000)), " 1,000");
    }

    #[test]
    fn the_readme_names_every_field() {
        let readme = include_str!("../README.md");
        let report = Report {
            broker_usage: Some(BrokerUsage::default()),
            ..Report::default()
        };
        let mut open = vec![serde_json::to_value(report).unwrap()];
        while let Some(value) = open.pop() {
            for (name, inner) in value.as_object().into_iter().flatten() {
                let name = format!("`{name}`");
                assert!(readme.contains(&name), "{name} is not in the README");
                open.push(inner.clone());
            }
        }
    }

    #[test]
    fn one_wrong_message_spoils_the_run() {
        assert!(Report::default().is_clean());
        let spoilt: [fn(&mut Report); 6] = [
            |report| report.lost = 1,
            |report| report.repeated = 1,
            |report| report.out_of_order = 1,
            |report| report.nacked = 1,
            |report| report.unconfirmed = 1,
            |report| report.error = Some(String::new()),
        ];
        for spoil in spoilt {
            let mut report = Report::default();
            spoil(&mut report);
            assert!(!report.is_clean());
        }
    }
}
