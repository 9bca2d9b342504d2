//! The server as a whole: whether it runs, how it is, what it may use, and its end.

use std::str::FromStr;
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::cell::visible;
use super::certificates;
use super::failure::{Exit, Failure};
use super::line::Line;
use super::message::{Reply, Request};
use super::node::Node;
use super::output::Outcome;
use super::verb::Verb;
use crate::disk_size::DiskSize;
use crate::error::Reason;
use crate::memory;

/// What can be asked about the server.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Ask {
    Ping,
    Status,
    Environment,
    Stop,
    SetLogLevel(LogLevel),
    RotateLogs,
    SetMemoryLimit(Amount),
    SetDiskFreeLimit(Amount),
}

/// How much is logged, in RabbitMQ's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum LogLevel {
    Debug,
    Info,
    Warning,
    Error,
    /// There is nothing beyond errors here, so it is the same.
    Critical,
    None,
}

impl LogLevel {
    const ALL: [Self; 6] = [
        Self::Debug,
        Self::Info,
        Self::Warning,
        Self::Error,
        Self::Critical,
        Self::None,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
            Self::None => "none",
        }
    }

    /// The same in the words of the server's own settings.
    fn as_filter(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warn",
            Self::Error | Self::Critical => "error",
            Self::None => "off",
        }
    }
}

impl FromStr for LogLevel {
    /// The names that there are.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|level| level.as_str() == text);
        found.ok_or_else(|| Self::ALL.map(Self::as_str).join(", "))
    }
}

/// Of memory or disk.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Amount {
    Bytes(u64),
    /// A share of the machine's memory.
    OfMemory(f64),
}

/// How long a server may take to start, unless something else was said; as in `rabbitmqctl`.
const STARTUP_PATIENCE: Duration = Duration::from_secs(300);

/// How often it is looked whether it has.
const STARTUP_LOOK: Duration = Duration::from_millis(50);

pub(super) const VERBS: &[Verb] = &[
    Verb {
        name: "status",
        usage: "status",
        about: "Says how the server is: version, memory, disk, alarms, listeners, and how much there is",
        banner: |_| Some("Status of the server ...".to_owned()),
        run: |_, peer| {
            let json = peer.ask(Request::Status(Ask::Status))?.into_json()?;
            let text = describe(&json);
            Ok(Outcome::Report { text, json })
        },
        ..Verb::PLAIN
    },
    Verb {
        name: "ping",
        usage: "ping",
        about: "Says whether the server answers",
        banner: |_| Some("Will ping the server. This only checks that it answers.".to_owned()),
        run: |_, peer| {
            peer.ask(Request::Status(Ask::Ping))?;
            Ok(Outcome::Message("Ping succeeded".to_owned()))
        },
        ..Verb::PLAIN
    },
    Verb {
        name: "await_startup",
        usage: "await_startup [--timeout <timeout>]",
        about: "Waits until the server answers, for five minutes unless another time is given",
        run: |line, peer| {
            let patience = line.timeout().unwrap_or(STARTUP_PATIENCE);
            let looks = patience.as_millis() / STARTUP_LOOK.as_millis();
            for _ in 0..looks {
                match peer.ask(Request::Status(Ask::Ping)) {
                    Ok(_) => return Ok(Outcome::Done),
                    Err(failure) if failure.exit() == Exit::Unavailable => {}
                    Err(failure) => return Err(failure),
                }
                thread::sleep(STARTUP_LOOK);
            }
            // The last look says why not.
            match peer.ask(Request::Status(Ask::Ping)) {
                Ok(_) => Ok(Outcome::Done),
                Err(failure) if failure.exit() == Exit::Unavailable => {
                    Err(Failure::timed_out("await_startup", patience.as_secs()))
                }
                Err(failure) => Err(failure),
            }
        },
        ..Verb::PLAIN
    },
    Verb {
        name: "stop",
        usage: "stop",
        about: "Has the server end in good order, as SIGTERM does; does not wait for it",
        banner: |_| Some("Stopping and halting the server ...".to_owned()),
        run: |_, peer| {
            peer.ask(Request::Status(Ask::Stop))?;
            Ok(Outcome::Done)
        },
        ..Verb::PLAIN
    },
    Verb {
        name: "environment",
        usage: "environment",
        about: "Says the settings with which the server runs",
        banner: |_| Some("Settings of the server ...".to_owned()),
        run: |_, peer| {
            let json = peer.ask(Request::Status(Ask::Environment))?.into_json()?;
            let settings = json.as_object().into_iter().flatten();
            let lines = settings.map(|(name, value)| format!("{name} = {value}"));
            let text = lines.collect::<Vec<_>>().join("\n");
            Ok(Outcome::Report { text, json })
        },
        ..Verb::PLAIN
    },
    Verb {
        name: "set_vm_memory_high_watermark",
        usage: "set_vm_memory_high_watermark <fraction> | absolute <value>",
        about: "Sets what messages may take before publishers have to wait, until the server ends",
        arguments: (1, 2),
        banner: |line| Some(threshold_said(line, "memory threshold", "absolute")),
        run: |line, peer| {
            let amount = memory_limit(line)?;
            peer.ask(Request::Status(Ask::SetMemoryLimit(amount)))?;
            Ok(Outcome::Done)
        },
        ..Verb::PLAIN
    },
    Verb {
        name: "set_disk_free_limit",
        usage: "set_disk_free_limit <disk_limit> | mem_relative <fraction>",
        about: "Sets what has to be free on the disk, or publishers have to wait, until the server ends",
        arguments: (1, 2),
        banner: |line| Some(threshold_said(line, "disk free limit", "mem_relative")),
        run: |line, peer| {
            let amount = disk_limit(line)?;
            peer.ask(Request::Status(Ask::SetDiskFreeLimit(amount)))?;
            Ok(Outcome::Done)
        },
        ..Verb::PLAIN
    },
    Verb {
        name: "set_log_level",
        usage: "set_log_level <level>",
        about: "Sets how much is logged, until the server ends: debug, info, warning, error, critical or none",
        arguments: (1, 1),
        banner: |line| {
            let level: LogLevel = line.argument(0).ok()?.parse().ok()?;
            Some(format!("Setting log level to \"{}\" ...", level.as_str()))
        },
        run: |line, peer| {
            let level = line.argument(0)?;
            let level = level.parse::<LogLevel>().map_err(|names| {
                let problem = format!("level {level} is not supported. Try one of {names}");
                Failure::new(Exit::Unavailable, problem)
            })?;
            peer.ask(Request::Status(Ask::SetLogLevel(level)))?;
            Ok(Outcome::Done)
        },
        ..Verb::PLAIN
    },
    Verb {
        name: "rotate_logs",
        usage: "rotate_logs",
        about: "Has the log file opened anew, once it has been moved away",
        banner: |_| Some("Rotating logs of the server ...".to_owned()),
        run: |_, peer| {
            peer.ask(Request::Status(Ask::RotateLogs))?;
            Ok(Outcome::Done)
        },
        ..Verb::PLAIN
    },
    Verb {
        name: "version",
        usage: "version",
        about: "Says the version of this program; asks no server",
        run: |_, _| Ok(Outcome::Document(env!("CARGO_PKG_VERSION").to_owned())),
        ..Verb::PLAIN
    },
];

fn threshold_said(line: &Line, what: &str, kind: &str) -> String {
    match line.arguments.as_slice() {
        [first, amount] if first == kind => match kind {
            "absolute" => format!("Setting {what} to {amount} bytes ..."),
            _ => format!("Setting {what} to {amount} times the total RAM ..."),
        },
        arguments => format!("Setting {what} to {} ...", arguments.join(" ")),
    }
}

fn memory_limit(line: &Line) -> Result<Amount, Failure> {
    match line.arguments.as_slice() {
        [kind, amount] if kind == "absolute" => bytes(line, amount),
        [share] => {
            let share = f64::from_str(share).map_err(|_| line.bad_value("Bad argument."))?;
            if !(0.0..=1.0).contains(&share) {
                let problem =
                    "Bad argument: The threshold should be a fraction between 0.0 and 1.0";
                return Err(line.bad_value(problem));
            }
            Ok(Amount::OfMemory(share))
        }
        _ => Err(line.bad_value("Bad argument.")),
    }
}

fn disk_limit(line: &Line) -> Result<Amount, Failure> {
    match line.arguments.as_slice() {
        [kind, share] if kind == "mem_relative" => match f64::from_str(share) {
            Ok(share) if (0.0..=100.0).contains(&share) => Ok(Amount::OfMemory(share)),
            _ => Err(line.bad_value("Bad argument.")),
        },
        [amount] => bytes(line, amount),
        _ => Err(line.bad_value("Bad argument.")),
    }
}

fn bytes(line: &Line, text: &str) -> Result<Amount, Failure> {
    match text.parse() {
        Ok(DiskSize::Bytes(bytes)) => Ok(Amount::Bytes(bytes)),
        _ => Err(line.bad_value("Bad argument.")),
    }
}

impl Amount {
    fn in_bytes(self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::OfMemory(share) => {
                let memory = memory::machine_bytes().unwrap_or(memory::ASSUMED_BYTES);
                // Shares are rough by nature; what is beyond 64 bits is all of it.
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    clippy::cast_precision_loss,
                    reason = "the share is not negative, and rounding is of no account"
                )]
                let bytes = (memory as f64 * share) as u64;
                bytes
            }
        }
    }
}

/// # Errors
/// Never, at the moment.
pub(super) async fn answer(node: &Node, ask: Ask) -> Result<Reply, Failure> {
    let broker = &node.broker;
    match ask {
        Ask::Ping => Ok(Reply::Done),
        Ask::Status => Ok(Reply::Json(status(node))),
        Ask::Environment => {
            let settings = node.about.environment.iter().cloned();
            Ok(Reply::Json(Json::Object(settings.collect())))
        }
        Ask::Stop => {
            tracing::info!("told to stop at the control socket");
            node.stop.notify_one();
            Ok(Reply::Done)
        }
        Ask::RotateLogs => match node.log.reopen("the control socket") {
            Ok(true) => Ok(Reply::Done),
            Ok(false) => {
                let problem = "The log goes to stderr; there is no log file (--log-file)";
                Err(Failure::new(Exit::Unavailable, problem))
            }
            Err(error) => {
                let problem = format!(
                    "The log file cannot be opened, and the log goes on in the old one: {}",
                    Reason(&error)
                );
                Err(Failure::new(Exit::Unavailable, problem))
            }
        },
        Ask::SetLogLevel(level) => {
            // Said before, or it might not be said at all.
            tracing::info!(
                level = level.as_str(),
                "log level set at the control socket"
            );
            node.log.set(level.as_filter());
            Ok(Reply::Done)
        }
        Ask::SetMemoryLimit(amount) => {
            let bytes = amount.in_bytes();
            broker.set_memory_limit(usize::try_from(bytes).unwrap_or(usize::MAX));
            tracing::info!(bytes, "memory limit set at the control socket");
            Ok(Reply::Done)
        }
        Ask::SetDiskFreeLimit(amount) => {
            let bytes = amount.in_bytes();
            broker.set_disk_free_limit(bytes);
            tracing::info!(bytes, "disk limit set at the control socket");
            Ok(Reply::Done)
        }
    }
}

fn status(node: &Node) -> Json {
    let broker = &node.broker;
    let listeners = [
        ("amqp", "AMQP 0-9-1", broker.amqp_addresses()),
        ("amqp/ssl", "AMQP 0-9-1 over TLS", broker.amqps_addresses()),
        ("stomp", "STOMP", broker.stomp_addresses()),
        ("stomp/ssl", "STOMP over TLS", broker.stomps_addresses()),
        (
            "http/web-stomp",
            "STOMP and AMQP over WebSockets",
            broker.websocket_addresses(),
        ),
        (
            "https/web-stomp",
            "STOMP and AMQP over WebSockets and TLS",
            broker.secure_websocket_addresses(),
        ),
    ];
    let listeners: Vec<Json> = listeners
        .into_iter()
        .flat_map(|(protocol, purpose, addresses)| {
            addresses.into_iter().map(move |address| {
                json!({
                    "interface": address.ip().to_string(), "port": address.port(), "protocol": protocol, "purpose": purpose,
                })
            })
        })
        .collect();
    let alarms: Vec<String> = broker
        .alarms()
        .iter()
        .map(|alarm| format!("{alarm:?}").to_lowercase())
        .collect();
    json!({
        "pid": std::process::id(),
        "os": std::env::consts::OS,
        "uptime": node.about.started.elapsed().as_secs(),
        "product_name": "leveret",
        "product_version": env!("CARGO_PKG_VERSION"),
        "data_directory": node.about.data_dir,
        "config_files": node.about.config_file.iter().collect::<Vec<_>>(),
        "alarms": alarms,
        "memory": { "messages": broker.memory_used() },
        "vm_memory_limit": broker.memory_limit(),
        "disk_free": broker.disk_free(),
        "disk_free_limit": broker.disk_free_limit(),
        "totals": {
            "connection_count": broker.connection_count(), "virtual_host_count": broker.vhosts().len(),
        },
        "certificates": certificates::to_json(node),
        "listeners": listeners,
    })
}

/// How a value of the status is written for people.
fn text(value: &Json) -> String {
    match value {
        Json::String(text) => visible(text),
        Json::Null => "unknown".to_owned(),
        other => other.to_string(),
    }
}

/// A line for each listener.
pub(super) fn describe_listeners(status: &Json) -> String {
    let listeners = status["listeners"].as_array().map(Vec::as_slice);
    let lines = listeners.unwrap_or_default().iter().map(|listener| {
        format!(
            "Interface: {}, port: {}, protocol: {}, purpose: {}",
            text(&listener["interface"]),
            text(&listener["port"]),
            text(&listener["protocol"]),
            text(&listener["purpose"]),
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A line for each certificate.
fn describe_certificates(status: &Json) -> String {
    let certificates = status["certificates"].as_array().map(Vec::as_slice);
    let lines = certificates.unwrap_or_default().iter().map(|certificate| {
        format!(
            "File: {}, kind: {}, days left: {}",
            text(&certificate["file"]),
            text(&certificate["kind"]),
            text(&certificate["days_left"]),
        )
    });
    match lines.collect::<Vec<_>>().join("\n") {
        none if none.is_empty() => "(none)".to_owned(),
        lines => lines,
    }
}

/// The same for people, in the order of `rabbitmqctl status`.
fn describe(status: &Json) -> String {
    let gigabytes = |value: &Json| match value.as_f64() {
        Some(bytes) => format!("{:.4} gb", bytes / 1e9),
        None => "unknown".to_owned(),
    };
    let list = |value: &Json, none: &str| {
        let entries = value.as_array().map(Vec::as_slice).unwrap_or_default();
        if entries.is_empty() {
            return none.to_owned();
        }
        let lines: Vec<_> = entries
            .iter()
            .map(|entry| format!(" * {}", text(entry)))
            .collect();
        lines.join("\n")
    };
    format!(
        "Runtime\n\nOS PID: {}\nOS: {}\nUptime (seconds): {}\nleveret version: {}\n\n\
         Data directory\n\nNode data directory: {}\n\n\
         Config files\n\n{}\n\n\
         Alarms\n\n{}\n\n\
         Memory\n\nMessages: {}\nMemory high watermark setting: {}\n\n\
         Free Disk Space\n\nLow free disk space watermark: {}\nFree disk space: {}\n\n\
         Totals\n\nConnection count: {}\nVirtual host count: {}\n\n\
         Certificates\n\n{}\n\n\
         Listeners\n\n{}",
        text(&status["pid"]),
        text(&status["os"]),
        text(&status["uptime"]),
        text(&status["product_version"]),
        match &status["data_directory"] {
            Json::Null => "none".to_owned(),
            dir => text(dir),
        },
        list(&status["config_files"], "(none)"),
        list(&status["alarms"], "(none)"),
        gigabytes(&status["memory"]["messages"]),
        gigabytes(&status["vm_memory_limit"]),
        gigabytes(&status["disk_free_limit"]),
        gigabytes(&status["disk_free"]),
        text(&status["totals"]["connection_count"]),
        text(&status["totals"]["virtual_host_count"]),
        describe_certificates(status),
        describe_listeners(status),
    )
}
