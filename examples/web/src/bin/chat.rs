//! A chat in one process: a web server with the broker in it.
//!
//! Run it with `cargo run -p leveret-examples-web --bin chat`, open the address that it prints in two browsers, or in a
//! window of each kind, and log in with two names.
//!
//! Rooms and conversations of two are topics. Who comes, or comes back, asks for what it has not seen, with the header
//! `resume-from`; the broker keeps the latest messages. Calls between two pages are arranged by messages as well.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{FromRef, Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use clap::Parser;
use leveret_broker::{Accounts, Broker, UserTable};
use leveret_examples_web::login::{self, Login, User};
use leveret_examples_web::sessions::{Denied, Sessions};
use leveret_examples_web::{Error, chat, mount, pages};

#[derive(Debug, Parser)]
struct Options {
    /// Where to listen for browsers.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
}

#[derive(Clone, Debug)]
struct App {
    broker: Arc<Broker>,
    sessions: Arc<Sessions>,
}

impl FromRef<App> for Arc<Sessions> {
    fn from_ref(app: &App) -> Self {
        Self::clone(&app.sessions)
    }
}

async fn log_in(State(app): State<App>, Json(login): Json<Login>) -> Response {
    let begun = app.sessions.begin(&login.name);
    if begun.is_ok() && chat::admit(&app.broker, &login.name).is_err() {
        app.sessions.end(&login.name);
        return login::answer(Err(Denied::Full));
    }
    login::answer(begun)
}

async fn log_out(State(app): State<App>, User(name): User) -> Response {
    app.sessions.end(&name);
    chat::dismiss(&app.broker, &name);
    login::goodbye()
}

async fn web_socket(State(app): State<App>, User(name): User, request: Request) -> Response {
    mount::mount(&app.broker, &name, request)
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let options = Options::parse();
    let broker = Broker::builder()
        // Nobody comes in but by way of the web server.
        .authenticator(UserTable::new())
        .accounts(Accounts::default())
        .start()
        .await?;
    chat::prepare(&broker).await?;
    let app = App {
        broker: Arc::new(broker),
        sessions: Arc::default(),
    };
    let routes = Router::new()
        .route("/login", post(log_in))
        .route("/logout", post(log_out))
        .route("/me", get(login::me))
        .route("/ws", get(web_socket))
        .merge(pages::routes(&chat::FILES))
        .with_state(app);
    pages::serve("chat", options.listen, routes).await
}
