//! A broker that does wrong: what is between a client and a real one.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use leveret_amqp_codec::{FrameKind, Limits, Method, RawFrame, method::basic, write_method};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// What is done to one delivery, or one confirm.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// It is not passed on.
    Drop,
    /// It is passed on twice.
    Repeat,
    /// It is passed on behind the next one.
    Swap,
    /// It is not passed on, and the next one twice.
    DropAndRepeat,
    /// The connection is closed before it.
    Cut,
    /// The confirm says that the message was not taken.
    Nack,
    /// The confirm, and all after it, are not passed on.
    Silence,
    /// None of them; but what a client sends is passed on late, and what is late when it hangs up is thrown away.
    Forget,
}

/// A listener that passes everything on to a broker but for one fault. Stops when dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// Does `fault` to the delivery or confirm of this number, counted from 1 over all connections.
    pub(crate) async fn start(broker: SocketAddr, fault: Fault, at: u64) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            let seen = Arc::new(AtomicU64::new(0));
            while let Ok((client, _)) = listener.accept().await {
                let broker = TcpStream::connect(broker).await.unwrap();
                let (mut from_client, to_client) = client.into_split();
                let (from_broker, mut to_broker) = broker.into_split();
                connections.spawn(async move {
                    let _ = match fault {
                        Fault::Forget => pass_on_late(from_client, to_broker).await,
                        _ => tokio::io::copy(&mut from_client, &mut to_broker)
                            .await
                            .map(drop),
                    };
                });
                let faulty = Faulty {
                    fault,
                    at,
                    seen: Arc::clone(&seen),
                    held: None,
                    again: false,
                };
                connections.spawn(faulty.pass_on(from_broker, to_client));
            }
        });
        Self {
            address,
            _tasks: tasks,
        }
    }
}

/// Passes on what has arrived when something else has, or nothing for a moment.
async fn pass_on_late(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
    const MOMENT: Duration = Duration::from_millis(30);
    let (mut late, mut next) = (Vec::new(), vec![0; 1024]);
    loop {
        match timeout(MOMENT, from.read(&mut next)).await {
            Ok(Ok(0)) => return Ok(()),
            Ok(read) => {
                to.write_all(&late).await?;
                late = next[..read?].to_vec();
            }
            Err(_) => {
                to.write_all(&late).await?;
                late.clear();
            }
        }
    }
}

/// The way from the broker to one client.
struct Faulty {
    fault: Fault,
    at: u64,
    seen: Arc<AtomicU64>,
    /// A delivery that waits for the next.
    held: Option<Vec<u8>>,
    /// Whether the next delivery is passed on twice.
    again: bool,
}

impl Faulty {
    async fn pass_on(mut self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let limits = Limits::default();
        let mut buffer = Vec::new();
        // The frames of a delivery until its body is there.
        let mut delivery: Vec<u8> = Vec::new();
        while let Ok(1..) = from.read_buf(&mut buffer).await {
            let mut out = Vec::new();
            let mut used = 0;
            while let Some((frame, size)) = RawFrame::decode(&buffer[used..], &limits).unwrap() {
                let bytes = &buffer[used..used + size];
                used += size;
                match frame.kind {
                    FrameKind::Header => delivery.extend_from_slice(bytes),
                    // Bodies in the tests have one frame.
                    FrameKind::Body => {
                        delivery.extend_from_slice(bytes);
                        if !self.deliver(std::mem::take(&mut delivery), &mut out) {
                            return;
                        }
                    }
                    _ => match Method::decode(frame.payload, &limits) {
                        Ok(Method::BasicDeliver(_)) => delivery.extend_from_slice(bytes),
                        Ok(Method::BasicAck(ack)) => self.confirm(frame, ack, bytes, &mut out),
                        _ => out.extend_from_slice(bytes),
                    },
                }
            }
            buffer.drain(..used);
            if to.write_all(&out).await.is_err() {
                return;
            }
        }
    }

    /// Whether to go on.
    fn deliver(&mut self, delivery: Vec<u8>, out: &mut Vec<u8>) -> bool {
        if matches!(self.fault, Fault::Nack | Fault::Silence | Fault::Forget) {
            out.extend(delivery);
            return true;
        }
        let number = self.seen.fetch_add(1, Ordering::SeqCst) + 1;
        if number == self.at {
            match self.fault {
                Fault::Drop => {}
                Fault::Cut => return false,
                Fault::Swap => self.held = Some(delivery),
                Fault::DropAndRepeat => self.again = true,
                _ => {
                    out.extend_from_slice(&delivery);
                    out.extend(delivery);
                }
            }
            return true;
        }
        out.extend_from_slice(&delivery);
        if std::mem::take(&mut self.again) {
            out.extend(delivery);
        }
        out.extend(self.held.take().unwrap_or_default());
        true
    }

    fn confirm(&self, frame: RawFrame<'_>, ack: basic::Ack, bytes: &[u8], out: &mut Vec<u8>) {
        let number = self.seen.load(Ordering::SeqCst);
        let confirms = matches!(self.fault, Fault::Nack | Fault::Silence);
        if confirms {
            self.seen.fetch_add(1, Ordering::SeqCst);
        }
        match self.fault {
            Fault::Nack if number + 1 == self.at => {
                let nack = basic::Nack {
                    delivery_tag: ack.delivery_tag,
                    multiple: ack.multiple,
                    requeue: false,
                };
                write_method(out, frame.channel, &nack);
            }
            Fault::Silence if number + 1 >= self.at => {}
            _ => out.extend_from_slice(bytes),
        }
    }
}
