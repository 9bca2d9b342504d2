//! The broker behind the web servers of the chat; see `chat_server`, which says how to run both.
//!
//! It lets in whom a web server vouches for: the request for each WebSocket names the user, and shows the key that only
//! web servers know. The user gets an account with the permissions of the chat at the first login.
#![expect(clippy::print_stdout, reason = "an example says where it is")]

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, Weak};

use clap::Parser;
use leveret_broker::{Accounts, Authenticator, Broker, Identity, Login, LoginFuture, LoginRefused};
use leveret_examples_web::{Error, chat, relay};
use subtle::ConstantTimeEq;

#[derive(Parser)]
struct Options {
    /// Where to listen for web servers.
    #[arg(long, default_value = "127.0.0.1:9000")]
    listen: SocketAddr,
    /// What web servers are known by.
    #[arg(long, env = "CHAT_KEY", hide_env_values = true)]
    key: String,
}

/// Lets in those for whom a web server asks.
struct WebServers {
    key: String,
    broker: Arc<OnceLock<Weak<Broker>>>,
}

impl WebServers {
    fn user(&self, login: &Login) -> Result<Identity, LoginRefused> {
        let request = login.request.as_ref();
        let header = |name| request.and_then(|request| request.header(name));
        let key = header(relay::KEY).unwrap_or_default();
        if !bool::from(key.as_bytes().ct_eq(self.key.as_bytes())) {
            return Err(LoginRefused::new("no web server asks"));
        }
        let user = header(relay::USER);
        let user = user.ok_or_else(|| LoginRefused::new("no user is named"))?;
        let broker = self.broker.get().and_then(Weak::upgrade);
        let broker = broker.ok_or_else(|| LoginRefused::new("the broker starts or ends"))?;
        chat::admit(&broker, user).map_err(|error| LoginRefused::new(error.to_string()))?;
        Ok(Identity::new(user))
    }
}

impl Authenticator for WebServers {
    fn authenticate(&self, login: Login) -> LoginFuture<'_> {
        Box::pin(std::future::ready(self.user(&login)))
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let options = Options::parse();
    let handle = Arc::default();
    let web_servers = WebServers {
        key: options.key,
        broker: Arc::clone(&handle),
    };
    let broker = Broker::builder()
        .websocket(options.listen)
        .authenticator(web_servers)
        .accounts(Accounts::default())
        .start()
        .await?;
    chat::prepare(&broker).await?;
    let broker = Arc::new(broker);
    handle.get_or_init(|| Arc::downgrade(&broker));
    println!("chat_broker: ws://{}/ws", broker.websocket_addresses()[0]);
    std::future::pending().await
}
