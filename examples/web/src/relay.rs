//! A route whose WebSockets go on to a broker in another process.
//!
//! The web server asks the broker for a WebSocket in its own name, says for which user, and from then on passes bytes.
//! What the page sends, and what it may do, is between it and the broker; who it is, between the web server and the broker.

use std::fmt;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{
    CONNECTION, HOST, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::Error;

/// The user for whom a web server asks.
pub const USER: &str = "x-chat-user";

/// What only web servers and the broker know.
pub const KEY: &str = "x-chat-key";

/// What goes from the browser's request to the broker's; no cookie does.
const ASKED: [HeaderName; 5] = [
    CONNECTION,
    UPGRADE,
    SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION,
];

/// What goes back with the answer.
const ANSWERED: [HeaderName; 4] = [
    CONNECTION,
    UPGRADE,
    SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_PROTOCOL,
];

/// Where the broker is, and what it is to be shown.
#[derive(Clone)]
pub struct Upstream {
    /// Host and port of its WebSocket listener.
    pub address: String,
    /// The value of [`KEY`].
    pub key: String,
}

impl fmt::Debug for Upstream {
    /// The key is left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Upstream {
    /// Answers a request for a WebSocket of this user's as the broker does, and connects the two.
    pub async fn relay(&self, user: &str, request: Request) -> Response {
        if !is_same_host(request.headers()) {
            return StatusCode::FORBIDDEN.into_response();
        }
        match self.try_relay(user, request).await {
            Ok(response) => response,
            // The page tries again in a while.
            Err(_) => StatusCode::BAD_GATEWAY.into_response(),
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "each connection is a task of its own"
    )]
    async fn try_relay(&self, user: &str, mut request: Request) -> Result<Response, Error> {
        let mut response = self.ask(user, request.headers()).await?;
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = response.status();
        copy(&ANSWERED, response.headers(), answer.headers_mut());
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let browser = hyper::upgrade::on(&mut request);
            let broker = hyper::upgrade::on(&mut response);
            tokio::spawn(async move {
                if let (Ok(browser), Ok(broker)) = tokio::join!(browser, broker) {
                    let (mut browser, mut broker) = (TokioIo::new(browser), TokioIo::new(broker));
                    // Either end may break off; the other learns of it.
                    drop(tokio::io::copy_bidirectional(&mut browser, &mut broker).await);
                }
            });
        }
        Ok(answer)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "hyper's client has a task for its connection"
    )]
    async fn ask(
        &self,
        user: &str,
        headers: &HeaderMap,
    ) -> Result<axum::http::Response<hyper::body::Incoming>, Error> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection.with_upgrades());
        let mut request = axum::http::Request::get("/ws").body(Body::empty())?;
        copy(&ASKED, headers, request.headers_mut());
        let own = request.headers_mut();
        own.insert(HOST, HeaderValue::from_str(&self.address)?);
        own.insert(USER, HeaderValue::from_bytes(user.as_bytes())?);
        own.insert(KEY, HeaderValue::from_str(&self.key)?);
        Ok(sender.send_request(request).await?)
    }
}

fn copy(names: &[HeaderName], from: &HeaderMap, to: &mut HeaderMap) {
    for name in names {
        for value in from.get_all(name) {
            to.append(name, value.clone());
        }
    }
}

/// Whether the request is that of a page that came from here, or of no page at all. Browsers send cookies for others too.
fn is_same_host(headers: &HeaderMap) -> bool {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let Some(origin) = text(ORIGIN) else {
        return !headers.contains_key(ORIGIN);
    };
    origin.split_once("://").map(|(_, host)| host) == text(HOST)
}
