//! Many connections, each with a queue and a consumer of its own.

use std::fmt;
use std::sync::Arc;

use leveret_amqp_codec::method::{basic, queue};
use leveret_amqp_codec::{ContentHeader, FrameKind, Method, RawTable, ShortStr};
use serde::Serialize;
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::clock::Clock;
use crate::connection::{Connection, decode, refusal};
use crate::error::Error;
use crate::load::{new_run, run_name};
use crate::messages::{Look, Messages};
use crate::meter::per_cpu_second;
use crate::options;
use crate::plan::{Route, Targets, arguments_table};
use crate::report::{Rate, Thousands};
use crate::stamp::Stamp;
use crate::usage;

/// The result of opening many connections. The names of the fields are those of `--json`, and stay.
///
/// What is said of the broker's processor time and memory is 0 or none without `--broker-pid`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ConnectionsReport {
    /// `connections`
    pub scenario: &'static str,
    /// Whether each connection was opened and got its message.
    pub ok: bool,
    /// Why the run could not be carried out to its end.
    pub error: Option<String>,
    /// What the broker calls itself.
    pub broker: String,
    /// How many connections were opened, each with queue and consumer.
    pub connections: u64,
    /// Connections a second, until the last had its consumer.
    pub connects_per_second: f64,
    /// Connections for a second of the broker's processor time; none where too little was used to tell.
    pub connects_per_broker_cpu_second: Option<f64>,
    /// What the resident memory grew by for each connection.
    pub resident_bytes_per_connection: f64,
    /// Processor time that the broker used while all were idle, in seconds a second.
    pub idle_broker_cores: f64,
    /// Milliseconds from the first publish of one message to each until the last has arrived.
    pub one_each_ms: f64,
    /// Connections that got the message that was meant for them.
    pub received: u64,
}

/// Carries it out. The queues go with their connections.
///
/// # Errors
///
/// When it cannot begin. What goes wrong later is in the report.
pub(crate) async fn run(options: &options::Connections) -> Result<ConnectionsReport, Error> {
    let mut report = ConnectionsReport {
        scenario: "connections",
        ..ConnectionsReport::default()
    };
    let publisher = Connection::open(&options.common.uri).await?;
    report.broker = publisher.server().to_string();
    let done = open_and_send(options, publisher, &mut report).await;
    report.error = done.err().map(|error| error.to_string());
    report.ok = report.error.is_none() && report.received == u64::from(options.count);
    Ok(report)
}

async fn open_and_send(
    options: &options::Connections,
    mut publisher: Connection,
    report: &mut ConnectionsReport,
) -> Result<(), Error> {
    let pids = &options.common.broker_pid;
    let (clock, number) = (Clock::start(), new_run());
    let before = usage::of_tree(pids);
    let started = clock.elapsed();
    let connections = open_all(options, number).await?;
    let seconds = (clock.elapsed() - started).as_secs_f64();
    let opened = usage::of_tree(pids);
    let count = connections.len() as u64;
    report.connections = count;
    report.connects_per_second = count as f64 / seconds;
    let used = opened.cpu_seconds - before.cpu_seconds;
    report.connects_per_broker_cpu_second = per_cpu_second(count, used);

    // Once for what opening has left to do, and once to be measured.
    sleep(options.idle).await;
    let (settled, idle_since) = (usage::of_tree(pids), clock.elapsed());
    sleep(options.idle).await;
    let idle = usage::of_tree(pids).cpu_seconds - settled.cpu_seconds;
    report.idle_broker_cores = idle / (clock.elapsed() - idle_since).as_secs_f64().max(1e-9);
    let grown = settled.resident_bytes.saturating_sub(before.resident_bytes);
    report.resident_bytes_per_connection = grown as f64 / count as f64;

    let route = Route {
        exchange: String::new(),
        keys: (0..options.count)
            .map(|index| queue_name(number, index))
            .collect(),
        targets: Targets::All(1),
    };
    let look = Look {
        sizes: options.common.size[..1].to_vec(),
        persistent: false,
        run: number,
        producer: 0,
        frame_size_max: publisher.limits.frame_size_max,
    };
    let mut messages = Messages::new(&route, &look)?;
    let mut waiting: JoinSet<_> = (0..)
        .zip(connections)
        .map(|(index, connection)| receive_one(connection, index, number))
        .collect();
    let started = clock.elapsed();
    let sending = async {
        let mut sent = 0;
        while sent < count {
            let (range, batch) = messages.take(sent, count - sent, clock.nanos(), |_, _| ());
            publisher.send_bytes(messages.bytes(range)).await?;
            sent += batch;
        }
        Ok::<_, Error>(())
    };
    let patience = options.common.patience;
    let stalled = |_| Error::Stalled {
        seconds: patience.as_secs_f64(),
        what: "a message for each connection",
    };
    timeout(patience, sending).await.map_err(stalled)??;
    // Kept until all have arrived, so that closing costs nothing yet.
    let mut open = Vec::with_capacity(waiting.len());
    while let Some(joined) = timeout(patience, waiting.join_next())
        .await
        .map_err(stalled)?
    {
        open.push(joined.map_err(|error| Error::System(error.into()))??);
        report.received += 1;
    }
    report.one_each_ms = (clock.elapsed() - started).as_secs_f64() * 1e3;
    drop(open);
    publisher.close().await
}

/// Opens all connections, so many at a time, and returns them in order.
async fn open_all(options: &options::Connections, number: u32) -> Result<Vec<Connection>, Error> {
    let uri = Arc::new(options.common.uri.clone());
    let arguments = Arc::new(arguments_table(&options.common.queue_arg));
    let mut opening = JoinSet::new();
    let mut open = Vec::with_capacity(options.count as usize);
    let mut next = 0;
    while open.len() < options.count as usize {
        while next < options.count && opening.len() < options.parallel as usize {
            let (uri, arguments, index) = (Arc::clone(&uri), Arc::clone(&arguments), next);
            opening.spawn(async move {
                let mut connection = Connection::open(&uri).await?;
                subscribe(&mut connection, &queue_name(number, index), &arguments).await?;
                Ok::<_, Error>((index, connection))
            });
            next += 1;
        }
        if let Some(joined) = opening.join_next().await {
            open.push(joined.map_err(|error| Error::System(error.into()))??);
        }
    }
    open.sort_unstable_by_key(|(index, _)| *index);
    Ok(open.into_iter().map(|(_, connection)| connection).collect())
}

fn queue_name(number: u32, index: u32) -> String {
    format!("{}-{index}", run_name(number))
}

/// Declares a queue that goes with the connection, and a consumer.
async fn subscribe(connection: &mut Connection, name: &str, arguments: &[u8]) -> Result<(), Error> {
    let declare = queue::Declare {
        queue: ShortStr::new(name)?,
        exclusive: true,
        auto_delete: true,
        arguments: RawTable::from_validated_bytes(arguments),
        ..queue::Declare::default()
    };
    connection.declare_queue(&declare).await?;
    let consume = basic::Consume {
        queue: ShortStr::new(name)?,
        no_ack: true,
        ..basic::Consume::default()
    };
    connection.send(&consume).await?;
    connection
        .answer("basic.consume-ok", |method| {
            matches!(method, Method::BasicConsumeOk(_)).then_some(())
        })
        .await
}

/// Waits for one message, which must be the one for this connection. Gives the connection back.
async fn receive_one(
    mut connection: Connection,
    index: u64,
    number: u32,
) -> Result<Connection, Error> {
    let mut left = None;
    let mut beginning = Vec::with_capacity(Stamp::SIZE);
    while left != Some(0) {
        let Some(frame) = connection.inbox.next(&connection.limits)? else {
            let count = connection.stream.read(connection.inbox.space()).await?;
            connection.inbox.filled(count)?;
            continue;
        };
        match frame.kind {
            FrameKind::Method => refusal(&decode(frame.payload, &connection.limits)?)?,
            FrameKind::Header => {
                let header = ContentHeader::decode(frame.payload, &connection.limits)
                    .map_err(|error| Error::Malformed(error.into()))?;
                left = Some(header.body_size);
            }
            FrameKind::Body => {
                let missing = Stamp::SIZE - beginning.len();
                beginning.extend(frame.payload.iter().take(missing));
                left = left.map(|left| left.saturating_sub(frame.payload.len() as u64));
            }
            FrameKind::Heartbeat => {}
        }
    }
    let stamp = beginning.first_chunk().map(Stamp::from_bytes);
    if stamp.is_none_or(|stamp| (stamp.run, stamp.sequence) != (number, index)) {
        return Err(Error::Unexpected(
            "the message of another connection".to_owned(),
        ));
    }
    Ok(connection)
}

impl fmt::Display for ConnectionsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "broker      {}", self.broker)?;
        writeln!(
            f,
            "opened      {}, {}",
            Thousands(self.connections),
            Rate(self.connects_per_second)
        )?;
        if let Some(connects) = self.connects_per_broker_cpu_second {
            writeln!(
                f,
                "broker used {:.1} kB for each; {} connections for a second of processor time; {:.3} cores idle",
                self.resident_bytes_per_connection / 1e3,
                Thousands(connects as u64),
                self.idle_broker_cores,
            )?;
        }
        write!(
            f,
            "received    {}, one message each in {:.0} ms",
            Thousands(self.received),
            self.one_each_ms
        )?;
        if let Some(error) = &self.error {
            write!(f, "\n{error}")?;
        }
        Ok(())
    }
}
