//! WebSockets that come to a web server of the embedding program's own.

use tokio::io::{AsyncRead, AsyncWrite};
use tungstenite::http;

use crate::auth::Identity;
use crate::broker::Broker;
use crate::net;
use crate::session::websocket::{Speaks, agree};

impl Broker {
    /// Serves STOMP on a WebSocket that the embedding program has agreed to itself, for instance as an axum or hyper
    /// handler: `stream` is the upgraded connection, on which nothing but the answer to the upgrade has been sent.
    ///
    /// The client is who `identity` says, whatever its CONNECT says; the virtual host is the one that it names there.
    /// Limits, [`Broker::shutdown`] and everything else are as for clients of the broker's own listeners. The future runs
    /// the connection until it ends; spawn it. It returns at once, and drops the stream, when the broker
    /// is shut down or has [as many connections](crate::Builder::connections_max) as it may.
    ///
    /// ```
    /// use leveret_broker::{Broker, Identity};
    /// use tokio::io::{AsyncReadExt, AsyncWriteExt};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let broker = Broker::builder().start().await?;
    /// // In an application: what `hyper::upgrade::on(request)` gives, once the request's cookie has told who asks.
    /// let (mut browser, upgraded) = tokio::io::duplex(4096);
    /// let connection = broker.serve_stomp_websocket(upgraded, Identity::new("ann"));
    ///
    /// let client = async {
    ///     // A text message with a CONNECT frame; the mask of a browser's message may be all zeros.
    ///     let connect = b"CONNECT\naccept-version:1.2\n\n\0";
    ///     browser.write_all(&[0x81, 0x80 | connect.len() as u8, 0, 0, 0, 0]).await?;
    ///     browser.write_all(connect).await?;
    ///     let mut answer = [0; 11];
    ///     browser.read_exact(&mut answer).await?;
    ///     drop(browser);
    ///     std::io::Result::Ok(answer)
    /// };
    /// let ((), answer) = tokio::join!(connection, client);
    /// assert_eq!(&answer?[2..], b"CONNECTED");
    /// # Ok(())
    /// # }
    /// ```
    pub fn serve_stomp_websocket<S>(
        &self,
        stream: S,
        identity: Identity,
    ) -> impl Future<Output = ()> + Send + use<S>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        net::serve_websocket(stream, Speaks::Stomp, identity, &self.shared)
    }

    /// As [`Broker::serve_stomp_websocket`], for clients that may speak AMQP 0-9-1 as well: the first bytes tell. What a
    /// client of AMQP says of its user does not count either.
    pub fn serve_websocket<S>(
        &self,
        stream: S,
        identity: Identity,
    ) -> impl Future<Output = ()> + Send + use<S>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        net::serve_websocket(stream, Speaks::Either, identity, &self.shared)
    }

    /// Answers a request for a WebSocket that came to a web server of the embedding program's own. Once the answer has been
    /// sent, the upgraded connection is for [`Broker::serve_websocket`]. The subprotocol is chosen from those that the
    /// client offers as on the broker's own [listeners](crate::Builder::websocket); the path is the web server's affair.
    ///
    /// Browsers send their cookies with what pages of others ask for too. Unless
    /// [origins](crate::Builder::websocket_origins) are listed, a page may therefore ask only the host that it came from:
    /// the `Origin` header, without its scheme, has to be the `Host`. Behind a proxy that changes `Host`, list the origins.
    ///
    /// The handler of such a route, with axum and hyper, is in `examples/web/src/mount.rs`.
    ///
    /// # Errors
    /// The answer to send instead: 405 or 426 for what asks for no WebSocket, 400 for what asks in a wrong way, 403 for a
    /// page from elsewhere.
    pub fn agree_to_websocket<B>(
        &self,
        request: &http::Request<B>,
    ) -> Result<http::Response<()>, http::Response<()>> {
        agree(request, &self.shared.config.websocket)
    }
}
