//! Connections over the loopback interface: how much memory one holds that is idle, with its channel, and with a queue
//! and a consumer beside. The clients are bare sockets in the same process, which hold next to nothing.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use leveret_amqp_codec::method::{basic, queue};
use leveret_amqp_codec::{ChannelId, Frame, Limits, Method, RawTable, ShortStr, write_method};
use leveret_benches::Scale;
use leveret_broker::Broker;
use leveret_broker::sans_io::handshake;

use crate::memory::Growth;

const CHANNEL: ChannelId = ChannelId(1);

/// Descriptors that are not sockets of a connection: standard streams, the listener, the runtime, and some to spare.
const OTHER_DESCRIPTORS: usize = 100;

/// Prints how the process grows with connections that have opened a channel.
pub(crate) fn report_idle(scale: Scale) {
    report("connections", scale, false);
}

/// Prints how the process grows with connections that have a queue of their own and consume from it.
pub(crate) fn report_consuming(scale: Scale) {
    report("consuming connections", scale, true);
}

/// How many there are at most depends on the number of files that the process may open: each connection takes two.
fn report(what: &str, scale: Scale, consuming: bool) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("there are threads and sockets");
    let broker = runtime.block_on(Broker::builder().amqp(([127, 0, 0, 1], 0)).start());
    let broker = broker.expect("the loopback interface has a free port");
    let address = broker.amqp_addresses()[0];
    let most = (descriptors_left() - OTHER_DESCRIPTORS) / 2;
    let sizes: &[usize] = &[1_000, 2_000, 5_000, 10_000];
    let mut growth = Growth::start();
    let mut sockets = Vec::new();
    for size in scale.pick(sizes, &[10, 100]) {
        while sockets.len() < most.min(*size) {
            sockets.push(connect(address, consuming));
        }
        growth.note(sockets.len());
    }
    growth.report(what);
}

/// How many files this process may still open.
fn descriptors_left() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").expect("this is Linux");
    let limit = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let soft = limit.and_then(|line| line.split_ascii_whitespace().nth(3)?.parse().ok());
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    // `unlimited` is no number.
    soft.unwrap_or(usize::MAX).saturating_sub(open)
}

/// A client that has opened a channel, and consumes from a queue of its own if it is to.
fn connect(address: SocketAddr, consuming: bool) -> TcpStream {
    let mut socket = TcpStream::connect(address).expect("the broker listens");
    let mut said = handshake(false);
    if consuming {
        let declare = queue::Declare {
            queue: ShortStr::from_static(""),
            passive: false,
            durable: false,
            exclusive: true,
            auto_delete: false,
            no_wait: false,
            arguments: RawTable::EMPTY,
        };
        let consume = basic::Consume {
            // The queue that was declared last on this channel.
            queue: ShortStr::from_static(""),
            consumer_tag: ShortStr::from_static(""),
            no_local: false,
            no_ack: false,
            exclusive: false,
            no_wait: false,
            arguments: RawTable::EMPTY,
        };
        write_method(&mut said, CHANNEL, &declare);
        write_method(&mut said, CHANNEL, &consume);
    }
    socket.write_all(&said).expect("the broker reads");
    let is_last = |method: &Method<'_>| match method {
        Method::BasicConsumeOk(_) => true,
        Method::ChannelOpenOk(_) => !consuming,
        _ => false,
    };
    listen_until(&mut socket, is_last);
    socket
}

/// Reads until a method has come of which `is_last` is true.
fn listen_until(socket: &mut TcpStream, is_last: impl Fn(&Method<'_>) -> bool) {
    let mut heard = Vec::new();
    let mut start = 0;
    loop {
        let mut piece = [0; 4_096];
        let count = socket.read(&mut piece).expect("the broker answers");
        assert!(count > 0, "the broker has hung up");
        heard.extend_from_slice(&piece[..count]);
        while let Some((frame, size)) =
            Frame::decode(&heard[start..], &Limits::default()).expect("well formed")
        {
            start += size;
            if matches!(&frame, Frame::Method(_, method) if is_last(method)) {
                return;
            }
        }
    }
}
