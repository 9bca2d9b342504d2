//! How a broker is set up.

use std::net::SocketAddr;
use std::time::Duration;

#[cfg(feature = "journal")]
use leveret_queue_store::SyncPolicy;

use crate::allowances::Allowances;
use crate::connection::LimitsOfAddresses;
use crate::login_guard::FreeFailures;
#[cfg(feature = "tls")]
use crate::net::Tls;
use crate::net::{Service, Spoken};
use crate::network::Network;
use crate::store::RESIDENT_MAX;
use crate::vhost::HistoryLimits;

/// The settings of a broker; made by [`Builder`](crate::Builder).
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) amqp_listeners: Vec<SocketAddr>,
    #[cfg(feature = "stomp")]
    pub(crate) stomp_listeners: Vec<SocketAddr>,
    /// Name and passcode of STOMP clients that give none.
    #[cfg(feature = "stomp")]
    pub(crate) stomp_default_user: Option<(String, String)>,
    #[cfg(feature = "stomp")]
    pub(crate) stomp_frame_size_max: usize,
    #[cfg(feature = "stomp")]
    pub(crate) websocket_listeners: Vec<SocketAddr>,
    #[cfg(feature = "stomp")]
    pub(crate) websocket: WebSocketConfig,
    /// Clients of STOMP that give no name are who their certificate says.
    #[cfg(feature = "stomp")]
    pub(crate) stomp_certificate_login: bool,
    #[cfg(feature = "tls")]
    pub(crate) tls: Tls,
    #[cfg(feature = "tls")]
    pub(crate) tls_listeners: Vec<(Spoken, SocketAddr)>,
    /// From where connections begin with a header of the PROXY protocol.
    pub(crate) proxies: Vec<Network>,
    pub(crate) limits_of_addresses: LimitsOfAddresses,
    pub(crate) free_login_failures: FreeFailures,
    pub(crate) durable_memory: usize,
    #[cfg(feature = "journal")]
    pub(crate) sync: SyncPolicy,
    pub(crate) memory_limit: usize,
    pub(crate) disk_free_limit: u64,
    pub(crate) handshake_timeout: Duration,
    pub(crate) authorization_timeout: Duration,
    pub(crate) verdict_ttl: Duration,
    pub(crate) consumer_timeout: Option<Duration>,
    pub(crate) refusal_delay: Duration,
    pub(crate) shutdown_timeout: Duration,
    pub(crate) connections_max: usize,
    pub(crate) queues_max: usize,
    pub(crate) exchanges_max: usize,
    pub(crate) bindings_max: usize,
    pub(crate) consumers_per_channel_max: usize,
    pub(crate) allowances: Allowances,
    pub(crate) held_max: usize,
    pub(crate) rate_limits: RateLimits,
    pub(crate) channel_max: u16,
    pub(crate) frame_size_max: u32,
    /// Of AMQP, before tune-ok.
    pub(crate) initial_frame_size_max: u32,
    pub(crate) heartbeat: Duration,
    pub(crate) message_size_max: usize,
    pub(crate) cluster_name: String,
    pub(crate) product: String,
    pub(crate) version: String,
    pub(crate) name_seed: Option<u64>,
    pub(crate) anonymous_user: Option<String>,
    /// What the exchange `amq.topic` of each virtual host keeps.
    pub(crate) topic_history: Option<HistoryLimits>,
    /// Those that are there from the start, beside `/`.
    pub(crate) vhosts: Vec<String>,
}

/// How fast each connection may send; none for no limit.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RateLimits {
    pub(crate) bytes_per_s: Option<u64>,
    pub(crate) messages_per_s: Option<u64>,
}

/// Which web pages may open WebSockets.
#[cfg(feature = "stomp")]
#[derive(Clone, Debug)]
pub(crate) enum Origins {
    /// Nothing is said of it: it depends on where the broker is asked, and by which name.
    Unlisted,
    Any,
    /// Those with one of these values in the header `Origin`.
    Listed(Vec<String>),
}

/// What clients of WebSockets meet.
#[cfg(feature = "stomp")]
#[derive(Clone, Debug)]
pub(crate) struct WebSocketConfig {
    pub(crate) path: String,
    pub(crate) origins: Origins,
    pub(crate) http_auth: bool,
    pub(crate) binary: bool,
}

#[cfg(feature = "stomp")]
impl Default for WebSocketConfig {
    fn default() -> Self {
        Self {
            path: "/ws".to_owned(),
            origins: Origins::Unlisted,
            http_auth: false,
            binary: false,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            amqp_listeners: Vec::new(),
            #[cfg(feature = "stomp")]
            stomp_listeners: Vec::new(),
            #[cfg(feature = "stomp")]
            stomp_default_user: Some(("guest".to_owned(), "guest".to_owned())),
            #[cfg(feature = "stomp")]
            stomp_frame_size_max: 4 * 1024 * 1024,
            #[cfg(feature = "stomp")]
            websocket_listeners: Vec::new(),
            #[cfg(feature = "stomp")]
            websocket: WebSocketConfig::default(),
            #[cfg(feature = "stomp")]
            stomp_certificate_login: false,
            #[cfg(feature = "tls")]
            tls: Tls::default(),
            #[cfg(feature = "tls")]
            tls_listeners: Vec::new(),
            proxies: Vec::new(),
            limits_of_addresses: LimitsOfAddresses {
                strangers_max: 10_000,
                connections_max: None,
            },
            free_login_failures: FreeFailures {
                of_user: 10,
                of_address: 100,
            },
            durable_memory: RESIDENT_MAX,
            #[cfg(feature = "journal")]
            sync: SyncPolicy::default(),
            memory_limit: usize::MAX,
            disk_free_limit: 50_000_000,
            handshake_timeout: Duration::from_secs(10),
            authorization_timeout: Duration::from_secs(15),
            verdict_ttl: Duration::from_secs(60),
            consumer_timeout: None,
            refusal_delay: Duration::ZERO,
            shutdown_timeout: Duration::from_secs(5),
            connections_max: 100_000,
            queues_max: 2_000_000,
            exchanges_max: 100_000,
            bindings_max: 10_000_000,
            consumers_per_channel_max: 10_000,
            allowances: Allowances::default(),
            held_max: 256 * 1024 * 1024,
            rate_limits: RateLimits::default(),
            channel_max: 2047,
            frame_size_max: 131_072,
            initial_frame_size_max: 8192,
            heartbeat: Duration::from_secs(60),
            message_size_max: 134_217_728,
            cluster_name: "leveret".to_owned(),
            product: "leveret".to_owned(),
            version: "3.13.7".to_owned(),
            name_seed: None,
            anonymous_user: None,
            topic_history: None,
            vhosts: Vec::new(),
        }
    }
}

impl Config {
    /// Every address to listen on, and what is spoken there.
    pub(crate) fn listeners(&self) -> impl Iterator<Item = (Service, SocketAddr)> + '_ {
        let listeners = each(Spoken::Amqp, &self.amqp_listeners);
        #[cfg(feature = "stomp")]
        let listeners = listeners
            .chain(each(Spoken::Stomp, &self.stomp_listeners))
            .chain(each(Spoken::WebSocket, &self.websocket_listeners));
        #[cfg(feature = "tls")]
        let listeners = listeners.chain(
            self.tls_listeners
                .iter()
                .map(|(spoken, address)| (spoken.over_tls(), *address)),
        );
        listeners
    }

    pub(crate) fn handshake_timeout_ms(&self) -> u64 {
        to_ms(self.handshake_timeout)
    }

    pub(crate) fn authorization_timeout_ms(&self) -> u64 {
        to_ms(self.authorization_timeout)
    }

    pub(crate) fn verdict_ttl_ms(&self) -> u64 {
        to_ms(self.verdict_ttl)
    }

    /// None when clients may take as long as they like.
    pub(crate) fn consumer_timeout_ms(&self) -> Option<u64> {
        self.consumer_timeout.map(to_ms)
    }

    pub(crate) fn refusal_delay_ms(&self) -> u64 {
        to_ms(self.refusal_delay)
    }

    pub(crate) fn channel_max(&self) -> u16 {
        self.channel_max
    }

    pub(crate) fn frame_size_max(&self) -> u32 {
        self.frame_size_max
    }

    pub(crate) fn heartbeat_s(&self) -> u16 {
        u16::try_from(self.heartbeat.as_secs()).unwrap_or(u16::MAX)
    }

    pub(crate) fn message_size_max(&self) -> usize {
        self.message_size_max
    }

    /// How many bytes a connection may hold: at least the largest message, with its properties and names.
    pub(crate) fn held_max(&self) -> usize {
        const NAMES_MAX: usize = 2 * 255;
        let properties_max = usize::try_from(self.frame_size_max).unwrap_or(usize::MAX);
        let largest = self.message_size_max.saturating_add(properties_max);
        let largest = largest.saturating_add(NAMES_MAX);
        self.held_max.max(largest)
    }

    /// The largest frame of STOMP, and message of a WebSocket, of a client that has not logged in: enough for any CONNECT but
    /// one with a large token, for which there is a setting.
    #[cfg(feature = "stomp")]
    pub(crate) fn strangers_frame_size_max(&self) -> usize {
        const ENOUGH: u32 = 16 * 1024;
        self.initial_frame_size_max.max(ENOUGH) as usize
    }

    pub(crate) fn cluster_name(&self) -> &str {
        &self.cluster_name
    }

    pub(crate) fn product(&self) -> &str {
        &self.product
    }

    pub(crate) fn version(&self) -> &str {
        &self.version
    }
}

fn to_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn each(
    spoken: Spoken,
    addresses: &[SocketAddr],
) -> impl Iterator<Item = (Service, SocketAddr)> + '_ {
    addresses
        .iter()
        .map(move |address| (spoken.in_the_clear(), *address))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What SECURITY.md says of limits, of which none may become infinite unnoticed.
    #[test]
    fn limits_are_those_that_are_documented() {
        let config = Config::default();
        let addresses = config.limits_of_addresses;
        let allowances = config.allowances;
        assert_eq!(config.connections_max, 100_000);
        assert_eq!(allowances.connections_per_user(100_000), 90_000);
        assert_eq!(allowances.connections_per_vhost(100_000), 100_000);
        // As many as in all.
        assert_eq!(addresses.connections_max, None);
        assert_eq!(addresses.strangers_max, 10_000);
        assert_eq!(config.handshake_timeout, Duration::from_secs(10));
        assert_eq!(config.initial_frame_size_max, 8 * 1024);
        assert_eq!(config.frame_size_max, 128 * 1024);
        assert_eq!(config.message_size_max, 128 * 1024 * 1024);
        assert_eq!(allowances.headers_per_message, 1000);
        assert_eq!(config.free_login_failures.of_user, 10);
        assert_eq!(config.free_login_failures.of_address, 100);
        assert_eq!(config.channel_max, 2047);
        assert_eq!(allowances.channels_per_user, 1_000_000);
        assert_eq!(allowances.channels_per_vhost, 2_000_000);
        assert_eq!(config.consumers_per_channel_max, 10_000);
        assert_eq!(allowances.consumers_per_connection, 50_000);
        assert_eq!(allowances.consumers_per_vhost, 2_000_000);
        assert_eq!(config.queues_max, 2_000_000);
        assert_eq!(allowances.queues_per_connection, 250_000);
        assert_eq!(config.exchanges_max, 100_000);
        assert_eq!(config.bindings_max, 10_000_000);
        assert_eq!(allowances.bindings_per_connection, 1_000_000);
        assert_eq!(config.held_max(), 256 * 1024 * 1024);
        assert_eq!(config.authorization_timeout, Duration::from_secs(15));
        assert_eq!(config.verdict_ttl, Duration::from_secs(60));
        // These are for whoever embeds the broker to set.
        assert_eq!(config.memory_limit, usize::MAX);
        let rates = config.rate_limits;
        assert_eq!((rates.bytes_per_s, rates.messages_per_s), (None, None));
    }

    #[cfg(feature = "stomp")]
    #[test]
    fn limits_of_stomp_are_those_that_are_documented() {
        use leveret_stomp_codec::Limits;
        assert_eq!(Config::default().strangers_frame_size_max(), 16 * 1024);
        assert_eq!(Limits::BEFORE_LOGIN.header_count_max, 100);
        assert_eq!(Limits::default().header_count_max, 100);
        assert_eq!(Config::default().stomp_frame_size_max, 4 * 1024 * 1024);
    }
}
