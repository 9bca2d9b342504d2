//! Answering on the control socket.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::node::Node;
use super::socket::ControlSocket;

/// How many may ask at once; more wait to be accepted.
#[cfg(unix)]
const CLIENTS_MAX: usize = 32;

/// How long a request may take to arrive.
#[cfg(unix)]
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// The task that answers. Stop it before the broker is shut down: it holds on to it.
#[derive(Debug)]
pub(crate) struct ControlServer {
    task: tokio::task::JoinHandle<()>,
    end: oneshot::Sender<()>,
}

impl ControlServer {
    /// # Errors
    /// When the runtime cannot watch the socket.
    #[expect(
        clippy::disallowed_methods,
        reason = "the task of the control socket is the server's own"
    )]
    pub(crate) fn start(socket: ControlSocket, node: Node) -> std::io::Result<Self> {
        let (end, ended) = oneshot::channel();
        #[cfg(unix)]
        let work = unix::serve(socket.listener()?, socket, Arc::new(node), ended);
        #[cfg(not(unix))]
        let work = async move {
            let _ = (socket, Arc::new(node), ended.await);
        };
        Ok(Self {
            task: tokio::spawn(work),
            end,
        })
    }

    /// Answers nobody any more; who is being answered hears nothing more. The socket's file is gone afterwards, and nothing
    /// of the node is held.
    pub(crate) async fn stop(self) {
        // It has ended by itself when nobody listens.
        let _ = self.end.send(());
        let _ = self.task.await;
    }
}

#[cfg(unix)]
mod unix {
    use std::io;
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{UnixListener, UnixStream};
    use tokio::sync::oneshot;
    use tokio::task::JoinSet;
    use zeroize::Zeroizing;

    use super::{CLIENTS_MAX, ControlSocket, Node, PATIENCE};
    use crate::ctl::frame;
    use crate::ctl::message::Request;

    pub(super) async fn serve(
        listener: UnixListener,
        _socket: ControlSocket,
        node: Arc<Node>,
        mut ended: oneshot::Receiver<()>,
    ) {
        let mut clients = JoinSet::new();
        loop {
            let has_room = clients.len() < CLIENTS_MAX;
            tokio::select! {
                accepted = listener.accept(), if has_room => match accepted {
                    Ok((stream, _)) => {
                        let node = Arc::clone(&node);
                        clients.spawn(async move {
                            if let Err(error) = talk(stream, &node).await {
                                tracing::debug!(%error, "a client of the control socket was lost");
                            }
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept on the control socket");
                        // Files or memory ran out: others have to end first.
                        tokio::time::sleep(PATIENCE / 30).await;
                    }
                },
                Some(_) = clients.join_next() => {}
                _ = &mut ended => break,
            }
        }
        // Each of them holds the broker.
        clients.shutdown().await;
    }

    /// Answers one request after the other until the client goes.
    async fn talk(mut stream: UnixStream, node: &Node) -> io::Result<()> {
        let peer = stream.peer_cred()?.uid();
        let own = rustix::process::geteuid().as_raw();
        if peer != own && peer != 0 {
            tracing::warn!(user = peer, "refused at the control socket");
            return Ok(());
        }
        while let Some(bytes) = tokio::time::timeout(PATIENCE, receive(&mut stream)).await?? {
            let request: Request = frame::decode(&bytes)?;
            drop(bytes);
            tracing::debug!(request = request.name(), "asked at the control socket");
            let reply = node.answer(request).await;
            let bytes = frame::encode(&reply)?;
            tokio::time::timeout(PATIENCE, stream.write_all(&bytes)).await??;
        }
        Ok(())
    }

    /// The next request; none when the client has gone. Memory grows with what has arrived.
    async fn receive(stream: &mut UnixStream) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        let mut announced = [0; 4];
        match stream.read_exact(&mut announced).await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        };
        let length = frame::length(announced, frame::REQUEST_MAX)?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(length.min(frame::SHORT)));
        stream.take(length as u64).read_to_end(&mut bytes).await?;
        if bytes.len() < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Some(bytes))
    }
}
