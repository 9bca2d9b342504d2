//! A route of an axum server whose WebSockets are the embedded broker's.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use hyper_util::rt::TokioIo;
use leveret_broker::{Broker, Identity};

/// Answers a request for a WebSocket, and has the broker serve it. Its session is that of `user`, whatever the page says.
///
/// The answer is an error when the request asks for no WebSocket, or comes from a page of another host.
#[expect(
    clippy::disallowed_methods,
    reason = "each connection is a task of its own"
)]
pub fn mount(broker: &Arc<Broker>, user: &str, request: Request) -> Response {
    let answer = match broker.agree_to_websocket(&request) {
        Ok(answer) => answer,
        Err(answer) => return answer.map(|()| Body::empty()),
    };
    let broker = Arc::clone(broker);
    let identity = Identity::new(user);
    tokio::spawn(async move {
        // The connection is ours once the answer has been sent. A browser that has gone meanwhile is no error.
        if let Ok(upgraded) = hyper::upgrade::on(request).await {
            let stream = TokioIo::new(upgraded);
            broker.serve_websocket(stream, identity).await;
        }
    });
    answer.map(|()| Body::empty())
}
