//! The settings of a server, from all the places in which they can stand.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::PathBuf;

use leveret_broker::Network;

use crate::accounts::AccountSettings;
use crate::address::ListenAddress;
use crate::args::Args;
use crate::auth::AuthSettings;
use crate::config::ConfigFile;
use crate::ctl;
use crate::disk_size::DiskSize;
use crate::error::Error;
use crate::limits::Limits;
use crate::logging::{LogFilter, LogFormat};
use crate::memory;
use crate::size::MemorySize;
use crate::sync::SyncChoice;
use crate::time_span::TimeSpan;
use crate::tls::TlsSettings;
use crate::web_origin::WebOrigin;

/// The port that IANA has assigned to AMQP.
const AMQP_PORT: u16 = 5672;

/// RabbitMQ's port for STOMP, which has none of its own.
const STOMP_PORT: u16 = 61613;

/// RabbitMQ's port for STOMP over WebSocket.
const STOMP_WS_PORT: u16 = 15674;

/// The port that IANA has assigned to AMQP over TLS, and RabbitMQ's for STOMP and WebSockets.
const AMQPS_PORT: u16 = 5671;
const STOMPS_PORT: u16 = 61614;
const STOMP_WSS_PORT: u16 = 15673;

/// How the server is to run.
///
/// For each setting alone, the command line goes before the environment, that before the configuration file, and that
/// before the default. Lists are not joined: addresses on the command line replace those of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Where to listen for AMQP. Where no protocol has an address, all have their defaults.
    pub(crate) amqp: Option<Vec<ListenAddress>>,
    /// Where to listen for STOMP.
    pub(crate) stomp: Option<Vec<ListenAddress>>,
    /// Where to listen for WebSockets.
    pub(crate) stomp_ws: Option<Vec<ListenAddress>>,
    /// Where to listen for the same over TLS.
    pub(crate) amqps: Option<Vec<ListenAddress>>,
    pub(crate) stomps: Option<Vec<ListenAddress>>,
    pub(crate) stomp_wss: Option<Vec<ListenAddress>>,
    /// How TLS is spoken there.
    pub(crate) tls: TlsSettings,
    /// From where connections begin with a header of the PROXY protocol.
    pub(crate) proxies: Vec<Network>,
    /// Which web pages may open WebSockets; `None` for what the broker thinks right.
    pub(crate) websocket_origins: Option<Vec<WebOrigin>>,
    /// What clients may have.
    pub(crate) limits: Limits,
    /// How much memory messages may take; `None` for the default.
    pub(crate) memory: Option<MemorySize>,
    /// How much disk has to be free; `None` for the default.
    pub(crate) disk_free_limit: Option<DiskSize>,
    /// How long clients may keep a delivery.
    pub(crate) consumer_timeout: TimeSpan,
    /// The directory that keeps what is durable; without one no directory is touched.
    pub(crate) data_dir: Option<PathBuf>,
    /// When messages in it count as safe.
    pub(crate) sync: SyncChoice,
    /// How much of what is in durable queues stays in memory; `None` for the broker's default.
    pub(crate) durable_memory: Option<MemorySize>,
    /// Where `leveret ctl` asks the server; `None` for the default, a path of `off` for nowhere.
    pub(crate) ctl_socket: Option<PathBuf>,
    /// The configuration file that all this was read from, as far as it was.
    pub(crate) config: Option<PathBuf>,
    /// The file that the log goes to; `None` for stderr.
    pub(crate) log_file: Option<PathBuf>,
    /// What is logged.
    pub(crate) log_level: LogFilter,
    /// How log lines look.
    pub(crate) log_format: LogFormat,
    /// Virtual hosts, users and permissions; they stand in the configuration file alone.
    pub(crate) accounts: AccountSettings,
    /// Who is asked about users; it stands there too.
    pub(crate) auth: AuthSettings,
}

impl Settings {
    /// Completes what was said on the command line and in the environment with the configuration file, if there is to be
    /// one.
    ///
    /// # Errors
    /// When the file cannot be read or understood.
    pub(crate) fn load(args: Args) -> Result<Self, Error> {
        let file = args.config.as_deref().map(ConfigFile::read).transpose()?;
        Ok(Self::merge(args, file.unwrap_or_default()))
    }

    /// Where `leveret ctl` asks the server, if anywhere.
    pub(crate) fn control_socket(&self) -> Option<PathBuf> {
        match &self.ctl_socket {
            Some(path) if path.as_os_str() == "off" => None,
            Some(path) => Some(path.clone()),
            None => self.data_dir.as_deref().map(ctl::socket_in),
        }
    }

    fn merge(args: Args, file: ConfigFile) -> Self {
        Self {
            accounts: file.accounts(),
            limits: args.limits.or(file.limits()),
            ctl_socket: args.ctl_socket.or(file.ctl_socket),
            config: args.config,
            amqp: given(args.listen.amqp).or(file.amqp),
            stomp: given(args.listen.stomp).or(file.stomp),
            stomp_ws: given(args.listen.stomp_ws).or(file.stomp_ws),
            amqps: given(args.listen.amqps).or(file.amqps),
            stomps: given(args.listen.stomps).or(file.stomps),
            stomp_wss: given(args.listen.stomp_wss).or(file.stomp_wss),
            tls: TlsSettings {
                cert: args.tls.tls_cert.or(file.tls_cert),
                key: args.tls.tls_key.or(file.tls_key),
                client_ca: args.tls.tls_client_ca.or(file.tls_client_ca),
                client_cert: args.tls.tls_client_cert.or(file.tls_client_cert),
                client_crl: args.tls.tls_client_crl.or(file.tls_client_crl),
                min_version: args
                    .tls
                    .tls_min_version
                    .or(file.tls_min_version)
                    .unwrap_or_default(),
                login_from: args
                    .tls
                    .tls_login_from
                    .or(file.tls_login_from)
                    .unwrap_or_default(),
                certificates: file.tls_certificate,
                stomp_cert_login: file.stomp_cert_login.unwrap_or_default(),
            },
            proxies: given(args.proxy_protocol_from)
                .or(file.proxy_protocol_from)
                .unwrap_or_default(),
            websocket_origins: given(args.websocket_origin).or(file.websocket_origin),
            memory: args.memory.or(file.memory),
            disk_free_limit: args.disk_free_limit.or(file.disk_free_limit),
            consumer_timeout: args
                .consumer_timeout
                .or(file.consumer_timeout)
                .unwrap_or_default(),
            data_dir: args.data_dir.or(file.data_dir),
            sync: args.sync.or(file.sync).unwrap_or_default(),
            durable_memory: args.durable_memory.or(file.durable_memory),
            log_file: args.log_file.or(file.log_file),
            log_level: args.log_level.or(file.log_level).unwrap_or_default(),
            log_format: args.log_format.or(file.log_format).unwrap_or_default(),
            auth: file.auth,
        }
    }

    /// Whether an address for TLS is named.
    pub(crate) fn listens_for_tls(&self) -> bool {
        let named = [&self.amqps, &self.stomps, &self.stomp_wss];
        named.iter().any(|addresses| addresses.is_some())
    }

    /// The addresses to open. Looks up names, and logs what has to be left out.
    ///
    /// # Errors
    /// When a name has no address.
    pub(crate) fn addresses(&self) -> Result<Addresses, Error> {
        let asked = [
            &self.amqp,
            &self.stomp,
            &self.stomp_ws,
            &self.amqps,
            &self.stomps,
            &self.stomp_wss,
        ];
        if asked.iter().all(|addresses| addresses.is_none()) {
            let has_tls = self.tls.cert.is_some();
            return Ok(Addresses::default_ones(has_tls, |probe| {
                TcpListener::bind(probe).map(drop)
            }));
        }
        Ok(Addresses {
            amqp: resolve(self.amqp.as_deref())?,
            stomp: resolve(self.stomp.as_deref())?,
            stomp_ws: resolve(self.stomp_ws.as_deref())?,
            amqps: resolve(self.amqps.as_deref())?,
            stomps: resolve(self.stomps.as_deref())?,
            stomp_wss: resolve(self.stomp_wss.as_deref())?,
        })
    }

    /// How many bytes messages may take. Asks the system how much memory there is, when a share of it is meant.
    pub(crate) fn memory_limit(&self) -> usize {
        in_bytes(self.memory.unwrap_or(MemorySize::DEFAULT))
    }

    /// How many bytes of durable queues stay in memory, if that was said. Asks the system as
    /// [`memory_limit`](Self::memory_limit) does.
    pub(crate) fn durable_memory(&self) -> Option<usize> {
        self.durable_memory.map(in_bytes)
    }

    /// How many bytes of disk have to be free. Asks the system how much memory there is, when a share of it is meant.
    pub(crate) fn disk_free_limit(&self) -> u64 {
        let size = self.disk_free_limit.unwrap_or(DiskSize::DEFAULT);
        size.of_machine(memory_of_machine(matches!(
            size,
            DiskSize::PercentOfMemory(_)
        )))
    }
}

/// How many bytes a size is on this machine.
pub(crate) fn in_bytes(size: MemorySize) -> usize {
    let machine_bytes = memory_of_machine(matches!(size, MemorySize::Percent(_)));
    // More than can be addressed is no limit.
    usize::try_from(size.of_machine(machine_bytes)).unwrap_or(usize::MAX)
}

/// The memory of this machine in bytes, or an assumption, of which the log tells if it `matters`.
fn memory_of_machine(matters: bool) -> u64 {
    memory::machine_bytes().unwrap_or_else(|| {
        if matters {
            tracing::warn!("cannot tell how much memory this machine has; 1 GiB is assumed");
        }
        memory::ASSUMED_BYTES
    })
}

/// What was given at least once.
fn given<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn resolve(asked: Option<&[ListenAddress]>) -> Result<Vec<SocketAddr>, Error> {
    let mut addresses = Vec::new();
    for address in asked.unwrap_or_default() {
        let found = address.resolve();
        addresses.extend(found.map_err(|source| Error::UnknownHost {
            address: address.clone(),
            source,
        })?);
    }
    Ok(addresses)
}

/// The addresses to open for each protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Addresses {
    pub(crate) amqp: Vec<SocketAddr>,
    pub(crate) stomp: Vec<SocketAddr>,
    pub(crate) stomp_ws: Vec<SocketAddr>,
    pub(crate) amqps: Vec<SocketAddr>,
    pub(crate) stomps: Vec<SocketAddr>,
    pub(crate) stomp_wss: Vec<SocketAddr>,
}

impl Addresses {
    /// Loopback of both families. Nobody asked for IPv6, so a machine without it is served without it; a port that is
    /// taken is an error all the same, which is why the family is tried with a port of the system's choice.
    fn default_ones(has_tls: bool, can_bind: impl Fn(SocketAddr) -> io::Result<()>) -> Self {
        let has_ipv6 = match can_bind(SocketAddr::from((Ipv6Addr::LOCALHOST, 0))) {
            Ok(()) => true,
            Err(error) => {
                tracing::info!(%error, "no IPv6 on this machine; [::1] is left out");
                false
            }
        };
        let loopback = |port| -> Vec<SocketAddr> {
            let ipv6 = has_ipv6.then(|| SocketAddr::from((Ipv6Addr::LOCALHOST, port)));
            let ipv4 = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            std::iter::once(ipv4).chain(ipv6).collect()
        };
        let over_tls = |port| {
            if has_tls { loopback(port) } else { Vec::new() }
        };
        Self {
            amqp: loopback(AMQP_PORT),
            stomp: loopback(STOMP_PORT),
            stomp_ws: loopback(STOMP_WS_PORT),
            amqps: over_tls(AMQPS_PORT),
            stomps: over_tls(STOMPS_PORT),
            stomp_wss: over_tls(STOMP_WSS_PORT),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    const FILE: &str = "amqp = ['127.0.0.1:1', '127.0.0.1:2']\nmemory = '10%'\ndisk-free-limit = '1GB'\n\
        consumer-timeout = '1h'\ndata-dir = 'from-file'\nsync = 'os'\ndurable-memory = '1MB'\n\
        log-level = 'warn'\nlog-format = 'json'\n";

    fn merge(flags: &[&str], file: &str) -> Settings {
        let args = Args::parse_from(["leveret"].iter().chain(flags));
        Settings::merge(args, toml::from_str(file).unwrap())
    }

    #[test]
    fn without_anything_the_defaults_hold() {
        let settings = merge(&[], "");
        assert_eq!(settings, Settings::default());
        assert_eq!(settings.log_level, "info".parse().unwrap());
        assert_eq!(settings.log_format, LogFormat::Text);
    }

    #[test]
    fn the_file_goes_before_the_defaults() {
        let settings = merge(&[], FILE);
        assert_eq!(
            settings.amqp,
            Some(vec![
                "127.0.0.1:1".parse().unwrap(),
                "127.0.0.1:2".parse().unwrap()
            ])
        );
        assert_eq!(settings.memory, Some(MemorySize::Percent(10)));
        assert_eq!(settings.disk_free_limit(), 1_000_000_000);
        assert_eq!(settings.consumer_timeout, "1h".parse().unwrap());
        assert_eq!(settings.data_dir, Some("from-file".into()));
        assert_eq!(settings.sync, "os".parse().unwrap());
        assert_eq!(settings.durable_memory(), Some(1_000_000));
        assert_eq!(settings.log_level, "warn".parse().unwrap());
        assert_eq!(settings.log_format, LogFormat::Json);
    }

    #[test]
    fn flags_go_before_the_file_each_for_itself() {
        let settings = merge(&["--amqp", "127.0.0.1:3", "--memory=1GB"], FILE);
        assert_eq!(settings.amqp, Some(vec!["127.0.0.1:3".parse().unwrap()]));
        assert_eq!(settings.memory, Some(MemorySize::Bytes(1_000_000_000)));
        assert_eq!(settings.data_dir, Some("from-file".into()));

        let settings = merge(
            &[
                "--data-dir",
                "flag",
                "--sync=interval:50",
                "--durable-memory=2MB",
                "--log-level",
                "debug",
                "--log-format",
                "text",
            ],
            FILE,
        );
        assert_eq!(settings.memory, Some(MemorySize::Percent(10)));
        assert_eq!(settings.data_dir, Some("flag".into()));
        assert_eq!(settings.sync, "interval:50".parse().unwrap());
        assert_eq!(settings.durable_memory(), Some(2_000_000));
        assert_eq!(settings.log_level, "debug".parse().unwrap());
        assert_eq!(settings.log_format, LogFormat::Text);
    }

    #[test]
    fn limits_of_flags_go_before_those_of_the_file() {
        let limits = |flags: &[&str]| merge(flags, "queues-max = 5\nheld-max = '1MiB'").limits;
        assert_eq!(limits(&[]).queues_max, Some(5));
        assert_eq!(limits(&["--queues-max=7"]).queues_max, Some(7));
        assert_eq!(
            limits(&["--queues-max=7"]).held_max,
            Some(MemorySize::Bytes(1 << 20))
        );
        assert_eq!(limits(&[]).bindings_max, None);
    }

    #[test]
    fn the_default_is_loopback_of_both_families() {
        let parse = |texts: [&str; 2]| -> Vec<SocketAddr> {
            texts.map(|text| text.parse().unwrap()).into()
        };
        let want = Addresses {
            amqp: parse(["127.0.0.1:5672", "[::1]:5672"]),
            stomp: parse(["127.0.0.1:61613", "[::1]:61613"]),
            stomp_ws: parse(["127.0.0.1:15674", "[::1]:15674"]),
            ..Addresses::default()
        };
        assert_eq!(Addresses::default_ones(false, |_| Ok(())), want);
        let with_tls = Addresses {
            amqps: parse(["127.0.0.1:5671", "[::1]:5671"]),
            stomps: parse(["127.0.0.1:61614", "[::1]:61614"]),
            stomp_wss: parse(["127.0.0.1:15673", "[::1]:15673"]),
            ..want
        };
        assert_eq!(Addresses::default_ones(true, |_| Ok(())), with_tls);
    }

    #[test]
    fn the_default_does_without_ipv6_where_there_is_none() {
        let no_ipv6 = |_| Err(io::Error::from(io::ErrorKind::AddrNotAvailable));
        let found = Addresses::default_ones(false, no_ipv6);
        assert_eq!(found.amqp, ["127.0.0.1:5672".parse().unwrap()]);
        assert_eq!(found.stomp, ["127.0.0.1:61613".parse().unwrap()]);
    }

    #[test]
    fn naming_an_address_for_one_protocol_replaces_the_defaults_of_all() {
        let found = merge(&["--stomp", "127.0.0.1:7"], "").addresses().unwrap();
        assert_eq!(found.amqp, []);
        assert_eq!(found.stomp, ["127.0.0.1:7".parse().unwrap()]);
        let found = merge(&[], "amqp = ['127.0.0.1:7']").addresses().unwrap();
        assert_eq!(found.stomp, []);
    }

    #[test]
    fn a_host_without_an_address_is_an_error() {
        // Refused before any resolver is asked, so that the test needs no network.
        let refused = merge(&["--amqp", "no\0body:1"], "")
            .addresses()
            .unwrap_err();
        assert_eq!(refused.exit_code(), 68);
        assert!(
            refused
                .to_string()
                .starts_with("cannot find the address of no\0body:1: "),
            "{refused}"
        );
    }

    #[test]
    fn addresses_that_were_asked_for_are_all_opened() {
        let settings = merge(
            &["--amqp", "127.0.0.1:0,127.0.0.1:0", "--amqp", "[::1]:7"],
            "",
        );
        let want: Vec<SocketAddr> = ["127.0.0.1:0", "127.0.0.1:0", "[::1]:7"]
            .map(|text| text.parse().unwrap())
            .into();
        assert_eq!(settings.addresses().unwrap().amqp, want);
    }

    #[test]
    fn a_limit_in_bytes_is_taken_as_it_is() {
        assert_eq!(merge(&["--memory", "12345"], "").memory_limit(), 12345);
    }

    #[test]
    fn disk_and_time_can_be_chosen_for_one_run() {
        let settings = merge(&["--disk-free-limit=200%", "--consumer-timeout=off"], FILE);
        assert_eq!(settings.consumer_timeout, TimeSpan::default());
        let memory = merge(&["--memory=100%"], "").memory_limit() as u64;
        assert_eq!(settings.disk_free_limit(), 2 * memory);
        assert_eq!(merge(&[], "").disk_free_limit(), 50_000_000);
    }

    #[test]
    fn a_larger_share_is_more() {
        let default = merge(&[], "").memory_limit();
        assert_eq!(merge(&["--memory", "40%"], "").memory_limit(), default);
        assert!(merge(&["--memory", "80%"], "").memory_limit() > default);
    }
}
