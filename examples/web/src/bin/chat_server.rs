//! A web server of the chat that has no broker in it, one of as many as there have to be.
//!
//! ```text
//!  browsers ──► chat_server ──┐
//!  browsers ──► chat_server ──┼──► chat_broker
//!  browsers ──► chat_server ──┘
//! ```
//!
//! ```sh
//! export CHAT_KEY=$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')
//! cargo run -p leveret-examples-web --bin chat_broker -- --listen 127.0.0.1:9000
//! cargo run -p leveret-examples-web --bin chat_server -- --listen 127.0.0.1:8081 --broker 127.0.0.1:9000 --sessions /tmp/chat
//! cargo run -p leveret-examples-web --bin chat_server -- --listen 127.0.0.1:8082 --broker 127.0.0.1:9000 --sessions /tmp/chat
//! ```
//!
//! Why so: rooms, order, what is kept and who is there are in one place, whichever server a page has come to. A web server
//! holds nothing but open connections: it can be added, stopped and updated at any time, and its pages come back by
//! another with `resume-from`. It would also do to be an AMQP client of the broker and to speak something of one's own with
//! pages; but then acknowledgements, flow control and resuming would have to be made again in each web server. Passing on
//! bytes costs next to nothing, and the broker still knows every user by name.
//!
//! The broker trusts the web servers, which share a key with it, and listens where only they can reach it. The sessions
//! are in a directory that all of them see, in the place of an application's database.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{FromRef, Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use clap::Parser;
use leveret_examples_web::login::{self, Login, User};
use leveret_examples_web::relay::Upstream;
use leveret_examples_web::sessions::Sessions;
use leveret_examples_web::{Error, chat, pages};

#[derive(Parser)]
struct Options {
    /// Where to listen for browsers.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Host and port on which `chat_broker` listens.
    #[arg(long)]
    broker: String,
    /// What the broker knows its web servers by.
    #[arg(long, env = "CHAT_KEY", hide_env_values = true)]
    key: String,
    /// A directory that all web servers share.
    #[arg(long)]
    sessions: PathBuf,
}

#[derive(Clone)]
struct App {
    upstream: Upstream,
    sessions: Arc<Sessions>,
}

impl FromRef<App> for Arc<Sessions> {
    fn from_ref(app: &App) -> Self {
        Self::clone(&app.sessions)
    }
}

async fn log_in(State(app): State<App>, Json(login): Json<Login>) -> Response {
    login::answer(app.sessions.begin(&login.name))
}

async fn log_out(State(app): State<App>, User(name): User) -> Response {
    app.sessions.end(&name);
    login::goodbye()
}

async fn web_socket(State(app): State<App>, User(name): User, request: Request) -> Response {
    app.upstream.relay(&name, request).await
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let options = Options::parse();
    let app = App {
        upstream: Upstream {
            address: options.broker,
            key: options.key,
        },
        sessions: Arc::new(Sessions::in_directory(&options.sessions)?),
    };
    let routes = Router::new()
        .route("/login", post(log_in))
        .route("/logout", post(log_out))
        .route("/me", get(login::me))
        .route("/ws", get(web_socket))
        .merge(pages::routes(&chat::FILES))
        .with_state(app);
    pages::serve("chat_server", options.listen, routes).await
}
