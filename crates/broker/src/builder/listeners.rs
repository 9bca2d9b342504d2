//! On which addresses clients are served, what is spoken there, and what the protocols leave open.

use std::net::SocketAddr;
#[cfg(feature = "tls")]
use std::sync::Arc;

#[cfg(feature = "tls")]
use tokio_rustls::rustls::ServerConfig;

use super::Builder;
#[cfg(feature = "stomp")]
use crate::config::Origins;
#[cfg(feature = "tls")]
use crate::net;
use crate::network::Network;

impl Builder {
    /// Listens for AMQP 0-9-1 clients on this address; port 0 has the system choose one, which
    /// [`Broker::amqp_addresses`](crate::Broker::amqp_addresses) tells. May be called several times. Without any, the
    /// broker serves its own process only.
    pub fn amqp(mut self, address: impl Into<SocketAddr>) -> Self {
        self.config.amqp_listeners.push(address.into());
        self
    }

    /// Listens for STOMP clients on this address, as [`Builder::amqp`] does for AMQP;
    /// [`Broker::stomp_addresses`](crate::Broker::stomp_addresses) tells where.
    #[cfg(feature = "stomp")]
    pub fn stomp(mut self, address: impl Into<SocketAddr>) -> Self {
        self.config.stomp_listeners.push(address.into());
        self
    }

    /// Listens for WebSockets on this address, as [`Builder::amqp`] does for AMQP;
    /// [`Broker::websocket_addresses`](crate::Broker::websocket_addresses) tells where. Within them STOMP is spoken
    /// (subprotocols `v10.stomp` to `v12.stomp`) or AMQP 0-9-1 (`amqp`); of clients that ask for neither, the first bytes
    /// tell.
    #[cfg(feature = "stomp")]
    pub fn websocket(mut self, address: impl Into<SocketAddr>) -> Self {
        self.config.websocket_listeners.push(address.into());
        self
    }

    /// The path of WebSockets, `/ws` unless set. Requests for others are answered with 404.
    #[cfg(feature = "stomp")]
    pub fn websocket_path(mut self, path: impl Into<String>) -> Self {
        self.config.websocket.path = path.into();
        self
    }

    /// Which web pages may open WebSockets: values of the `Origin` header, such as `https://app.example` or `null`. Others are
    /// answered with 403; clients without that header, which are no browsers, are let in. `*` lets any page in, and all that
    /// are let in are trusted as programs are.
    ///
    /// Unless set, it depends on the site, which is the host without its port; all names and addresses of loopback are one.
    /// Pages of the site that they ask are let in and trusted. Those of others are answered with 403 where the broker
    /// is asked at a loopback address, unless they are from loopback too: a page of the internet has no business with what
    /// listens to programs of its user's machine alone. Elsewhere they are let in, but have to log in: there is no
    /// [default user](Builder::stomp_default_user) and no [anonymous](Builder::anonymous_user) one for them, and no user by
    /// the certificate that the browser shows.
    #[cfg(feature = "stomp")]
    pub fn websocket_origins(
        mut self,
        origins: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        let origins: Vec<String> = origins.into_iter().map(Into::into).collect();
        self.config.websocket.origins = if origins.iter().any(|origin| origin == "*") {
            Origins::Any
        } else {
            Origins::Listed(origins)
        };
        self
    }

    /// Has STOMP clients log in with the `Authorization: Basic` header of the upgrade request, where there is one; what
    /// their CONNECT says does not count then. Off unless set.
    #[cfg(feature = "stomp")]
    pub fn websocket_http_auth(mut self, http_auth: bool) -> Self {
        self.config.websocket.http_auth = http_auth;
        self
    }

    /// Sends all STOMP frames as binary messages. Unless set they are sent as text, as RabbitMQ does, but for those whose
    /// body is no text.
    #[cfg(feature = "stomp")]
    pub fn websocket_binary(mut self, binary: bool) -> Self {
        self.config.websocket.binary = binary;
        self
    }

    /// Who STOMP clients are that give no `login`: a name and a passcode, which the authenticator is asked about as
    /// about any others. `guest` and `guest` unless set, as in RabbitMQ; with none, who does not log in is refused. So are
    /// web pages of another site, unless [their origin is allowed](Builder::websocket_origins).
    #[cfg(feature = "stomp")]
    pub fn stomp_default_user(mut self, user: Option<(String, String)>) -> Self {
        self.config.stomp_default_user = user;
        self
    }

    /// The largest STOMP frame in bytes, headers and all; a larger one ends its session. 4 MiB unless set. Clients that
    /// have not logged in are held to 64 KiB.
    #[cfg(feature = "stomp")]
    pub fn stomp_frame_size_max(mut self, bytes: usize) -> Self {
        self.config.stomp_frame_size_max = bytes;
        self
    }

    /// How TLS is spoken by the listeners that have it: certificates, versions, and whether clients have to show a
    /// certificate. Needed before the first of [`Builder::amqps`] and its like;
    /// [`Broker::set_tls`](crate::Broker::set_tls) replaces it later.
    ///
    /// The provider of cryptography is that of the configuration. Its limits hold: rustls takes handshake messages of at
    /// most 64 KiB. A client has [the time of a handshake](Builder::handshake_timeout) for TLS and its login together,
    /// and no memory is taken for TLS before it has sent something.
    ///
    /// Where clients log in by certificates, the configuration should let nobody resume a session: rustls gives a client that
    /// does the certificate of before without verifying it, even if it has expired or been revoked since. That takes
    /// `session_storage` to be rustls' `NoServerSessionStorage`, `send_tls13_tickets` to be 0, and no `ticketer`, which is
    /// none unless you set one.
    ///
    /// Nobody is warned before a certificate ends: [`certificate_expiry`](crate::certificate_expiry) tells when that is, for a
    /// metric of yours.
    #[cfg(feature = "tls")]
    pub fn tls(self, config: Arc<ServerConfig>) -> Self {
        self.config.tls.set(config);
        self
    }

    /// Listens for AMQP over TLS on this address, as [`Builder::amqp`] does without;
    /// [`Broker::amqps_addresses`](crate::Broker::amqps_addresses) tells where.
    #[cfg(feature = "tls")]
    pub fn amqps(mut self, address: impl Into<SocketAddr>) -> Self {
        let listener = (net::Spoken::Amqp, address.into());
        self.config.tls_listeners.push(listener);
        self
    }

    /// Listens for STOMP over TLS on this address; [`Broker::stomps_addresses`](crate::Broker::stomps_addresses) tells
    /// where.
    #[cfg(all(feature = "stomp", feature = "tls"))]
    pub fn stomps(mut self, address: impl Into<SocketAddr>) -> Self {
        let listener = (net::Spoken::Stomp, address.into());
        self.config.tls_listeners.push(listener);
        self
    }

    /// Listens for WebSockets over TLS (`wss`) on this address, for what [`Builder::websocket`] serves without;
    /// [`Broker::secure_websocket_addresses`](crate::Broker::secure_websocket_addresses) tells where.
    #[cfg(all(feature = "stomp", feature = "tls"))]
    pub fn secure_websocket(mut self, address: impl Into<SocketAddr>) -> Self {
        let listener = (net::Spoken::WebSocket, address.into());
        self.config.tls_listeners.push(listener);
        self
    }

    /// Has STOMP clients that give no `login` log in as whom their certificate says they are
    /// ([`Authenticator::certificate_user`](crate::Authenticator::certificate_user)), where they have shown one. Off
    /// unless set, as in RabbitMQ (`stomp.ssl_cert_login`).
    #[cfg(feature = "stomp")]
    pub fn stomp_certificate_login(mut self, certificate_login: bool) -> Self {
        self.config.stomp_certificate_login = certificate_login;
        self
    }

    /// Load balancers in these networks begin each connection with a header of the PROXY protocol, version 1 or 2, which
    /// tells whom they speak for: that address is what the [`Authenticator`](crate::Authenticator), limits and the log
    /// see. Without a header a connection from there is closed; from anywhere else none is read. None unless set.
    ///
    /// Name the addresses of the proxies and nothing else: who may send a header may claim any address, `127.0.0.1`
    /// included.
    pub fn proxy_protocol_from(mut self, networks: impl IntoIterator<Item = Network>) -> Self {
        self.config.proxies.extend(networks);
        self
    }
}
