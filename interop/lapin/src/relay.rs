//! A TCP relay that stands between a client and the broker and misbehaves on request.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lapin::uri::AMQPUri;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// Forwards every connection made to it on loopback to the broker, for as long as the runtime lives.
pub(crate) struct Relay {
    port: u16,
    switches: Arc<Switches>,
}

#[derive(Default)]
struct Switches {
    muted: AtomicBool,
    cut: Notify,
}

impl Relay {
    /// Starts a relay to the broker at `upstream`.
    pub(crate) async fn to(upstream: &AMQPUri) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let switches = Arc::new(Switches::default());
        let target = (upstream.authority.host.clone(), upstream.authority.port);
        tokio::spawn(accept(listener, target, Arc::clone(&switches)));
        Ok(Self { port, switches })
    }

    /// `upstream` by way of this relay.
    pub(crate) fn uri(&self, upstream: &AMQPUri) -> AMQPUri {
        let mut uri = upstream.clone();
        "127.0.0.1".clone_into(&mut uri.authority.host);
        uri.authority.port = self.port;
        uri
    }

    /// Swallows what the client says from now on: the broker sees a peer that is connected but silent, while
    /// the client keeps hearing the broker.
    pub(crate) fn mute(&self) {
        self.switches.muted.store(true, Ordering::Relaxed);
    }

    /// Resets every connection that goes through the relay, so that neither side sees a connection.close.
    /// New ones are still accepted.
    pub(crate) fn cut(&self) {
        self.switches.cut.notify_waiters();
    }
}

async fn accept(listener: TcpListener, target: (String, u16), switches: Arc<Switches>) {
    while let Ok((client, _)) = listener.accept().await {
        let target = target.clone();
        let switches = Arc::clone(&switches);
        tokio::spawn(async move {
            // An error here ends this one connection; the client sees its end.
            let _ = forward(client, target, &switches).await;
        });
    }
}

async fn forward(client: TcpStream, target: (String, u16), switches: &Switches) -> io::Result<()> {
    let broker = TcpStream::connect(target).await?;
    for stream in [&client, &broker] {
        stream.set_nodelay(true)?;
        // Lingering for zero seconds turns the close into a reset.
        stream.set_zero_linger()?;
    }
    let (from_client, to_client) = client.into_split();
    let (from_broker, to_broker) = broker.into_split();
    tokio::select! {
        // Listening to the switch comes first, so that no cut is missed.
        biased;
        () = switches.cut.notified() => Ok(()),
        end = pump(from_client, to_broker, Some(&switches.muted)) => end,
        end = pump(from_broker, to_client, None) => end,
    }
}

async fn pump(
    mut source: OwnedReadHalf,
    mut sink: OwnedWriteHalf,
    muted: Option<&AtomicBool>,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = source.read(&mut buffer).await?;
        if length == 0 {
            return sink.shutdown().await;
        }
        if !muted.is_some_and(|muted| muted.load(Ordering::Relaxed)) {
            sink.write_all(&buffer[..length]).await?;
        }
    }
}
