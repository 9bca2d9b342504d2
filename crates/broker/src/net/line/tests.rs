use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;

/// Long enough for whatever comes to have come, on any machine.
const LIMIT: Duration = Duration::from_secs(20);

/// More than the buffers of two sockets take.
const MUCH: usize = 64 * 1024 * 1024;

/// A client, and the broker's end of its connection.
async fn connect() -> (TcpStream, Line) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    (client.unwrap(), Line::new(accepted.unwrap().0))
}

/// The same, of whose client so many bytes have been read without a pause that nobody watches it.
async fn busy() -> (TcpStream, Line) {
    let (mut client, mut line) = connect().await;
    client.write_all(&[7; 64]).await.unwrap();
    let mut bytes = [0; 64];
    line.read_exact(&mut bytes[..1]).await.unwrap();
    for byte in &mut bytes[1..] {
        read_at_once(&mut line, std::slice::from_mut(byte));
        *byte = 0;
    }
    assert!(is_unwatched(&line));
    (client, line)
}

fn is_unwatched(line: &Line) -> bool {
    matches!(line.state, State::Unwatched(_))
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn poll_read(line: &mut Line, waker: &Waker, bytes: &mut [u8]) -> Poll<usize> {
    let mut buffer = ReadBuf::new(bytes);
    let mut cx = Context::from_waker(waker);
    let read = Pin::new(line).poll_read(&mut cx, &mut buffer);
    read.map(|read| read.map(|()| buffer.filled().len()).unwrap())
}

#[track_caller]
fn read_at_once(line: &mut Line, bytes: &mut [u8]) {
    let read = poll_read(line, Waker::noop(), bytes);
    assert_eq!(read, Poll::Ready(bytes.len()), "it has arrived");
}

#[tokio::test]
async fn a_pause_begins_a_streak_anew() {
    let (mut client, mut line) = connect().await;
    for _ in 0..3 * STREAK {
        let mut byte = [0];
        let read = poll_read(&mut line, Waker::noop(), &mut byte);
        assert!(read.is_pending(), "nothing is there yet");
        client.write_all(&[7]).await.unwrap();
        line.read_exact(&mut byte).await.unwrap();
        assert!(!is_unwatched(&line));
    }
}

#[tokio::test]
async fn who_waits_for_bytes_is_woken_though_nobody_watched() {
    let (mut client, mut line) = busy().await;
    let woken = Arc::new(Woken::default());
    let mut bytes = [0; 8];
    let read = poll_read(&mut line, &Waker::from(Arc::clone(&woken)), &mut bytes);
    assert!(read.is_pending());
    assert!(!is_unwatched(&line));
    client.write_all(b"more").await.unwrap();
    let wait = async {
        while !woken.0.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LIMIT, wait).await.expect("it is woken");
    read_at_once(&mut line, &mut bytes[..4]);
    assert_eq!(&bytes[..4], b"more");
}

#[tokio::test]
async fn an_end_is_seen_though_nobody_watched() {
    let (client, mut line) = busy().await;
    drop(client);
    let read = timeout(LIMIT, line.read(&mut [0; 8])).await;
    assert_eq!(read.expect("it has ended").unwrap(), 0);
}

#[tokio::test]
async fn who_writes_more_than_fits_goes_on_when_it_does() {
    let (mut client, mut line) = busy().await;
    let write = async {
        line.write_all(&vec![8; MUCH]).await.unwrap();
        assert!(!is_unwatched(&line));
        line.shutdown().await.unwrap();
    };
    let read = async {
        let mut all = Vec::new();
        client.read_to_end(&mut all).await.unwrap();
        all.len()
    };
    let ((), read) = timeout(LIMIT, async { tokio::join!(write, read) })
        .await
        .expect("everything arrives");
    assert_eq!(read, MUCH);
}

#[tokio::test]
async fn a_line_is_watched_as_long_as_a_write_waits() {
    let (mut client, mut line) = connect().await;
    let much = vec![8; MUCH];
    let mut sent = 0;
    let full = poll_fn(|cx| {
        while let Poll::Ready(written) = Pin::new(&mut line).poll_write(cx, &much[sent..]) {
            sent += written.unwrap();
        }
        Poll::Ready(())
    });
    full.await;
    assert!(sent < MUCH, "the socket is full");
    client.write_all(&[7; 64]).await.unwrap();
    let mut bytes = [0; 64];
    line.read_exact(&mut bytes[..1]).await.unwrap();
    for byte in &mut bytes[1..] {
        read_at_once(&mut line, std::slice::from_mut(byte));
        assert!(!is_unwatched(&line));
    }
}

/// As with any stream of the runtime: else a peer that sends without end would keep a loop of reads from ever being left, by
/// a timeout for example, and a thread from everybody else.
#[tokio::test]
async fn a_peer_that_never_pauses_lets_others_in() {
    const LEN: usize = 10_000;
    let (mut client, mut line) = busy().await;
    client.write_all(&[7; LEN]).await.unwrap();
    tokio::task::yield_now().await;
    let reads = poll_fn(|cx| {
        let mut byte = [0];
        let reads = (0..LEN).take_while(|_| poll_read(&mut line, cx.waker(), &mut byte).is_ready());
        Poll::Ready(reads.count())
    });
    let reads = reads.await;
    assert!((1..1_000).contains(&reads), "{reads} reads in one turn");
    assert!(is_unwatched(&line));
    let mut rest = vec![0; LEN - reads];
    let rest = line.read_exact(&mut rest);
    timeout(LIMIT, rest).await.expect("it goes on").unwrap();
}

/// However reads and writes alternate with pauses, everything comes in its order.
#[tokio::test]
async fn an_echo_gives_back_what_it_got() {
    let (client, line) = connect().await;
    let (mut client_reads, mut client_writes) = client.into_split();
    let sent: Vec<u8> = (0..4 * 1024 * 1024_u32).map(|n| (n % 251) as u8).collect();
    let echo = async {
        let mut line = line;
        let mut buffer = vec![0; 3000];
        let mut was_unwatched = false;
        loop {
            let read = line.read(&mut buffer).await.unwrap();
            if read == 0 {
                line.shutdown().await.unwrap();
                return was_unwatched;
            }
            was_unwatched |= is_unwatched(&line);
            line.write_all(&buffer[..read]).await.unwrap();
        }
    };
    let write = async {
        for piece in sent.chunks(100_000) {
            client_writes.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        client_writes.shutdown().await.unwrap();
    };
    let read = async {
        let mut all = Vec::new();
        client_reads.read_to_end(&mut all).await.unwrap();
        all
    };
    let (was_unwatched, (), got) = timeout(LIMIT, async { tokio::join!(echo, write, read) })
        .await
        .expect("everything comes back");
    assert!(was_unwatched);
    assert!(got == sent);
}
