//! What may be said on the command line and in the environment.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use leveret_broker::Network;

use crate::disk_size::DiskSize;
use crate::limits::Limits;
use crate::listeners::ListenArgs;
use crate::logging::{LogFilter, LogFormat};
use crate::size::MemorySize;
use crate::store::StoreCommand;
use crate::sync::SyncChoice;
use crate::time_span::TimeSpan;
use crate::tls::TlsArgs;
use crate::web_origin::WebOrigin;

/// Follows the options in `--help`.
const NOTES: &str = "\
An option on the command line goes before its environment variable, that before the
configuration file, and that before the default.

  --amqp        Port 0 takes a free one; in the environment, commas separate addresses.
                Default: 127.0.0.1:5672 and, on machines with IPv6, [::1]:5672
  --stomp, --stomp-ws
                Defaults: the same with ports 61613 and 15674; the path is /ws. Naming an
                address for one protocol replaces the defaults of all: what is not named is
                not served.
  --amqps, --stomps, --stomp-wss
                Defaults with a certificate: the same with ports 5671, 61614 and 15673
  --tls-cert, --tls-key
                New files are taken when they are there, or on SIGHUP; clients stay connected
  --tls-client-ca, --tls-client-cert
                With the first, the second is required unless it says optional: every client
                shows a certificate, and AMQP's EXTERNAL logs it in as the user it names
  --tls-client-crl
                Read anew with the certificates. Every authority below the topmost needs a list
  --tls-login-from
                common-name, distinguished-name, san-dns, san-email or san-uri
  --proxy-protocol-from
                From there connections begin with a header of the PROXY protocol, version 1
                or 2, and count as those of the client that it names
  --websocket-origin
                As browsers say it: https://app.example; repeat it. Others are refused then.
                Default: at addresses of this machine, its own pages and those of the host
                that they ask; elsewhere any, but those of other hosts have to log in
  --connections-max and the others that end in -max
                What is more is refused. The README of leveret-server has their defaults
  --memory      Beyond it, publishers have to wait. Shares are of the memory that the
                machine or its container has. Default: 40%
  --disk-free-limit
                The disk is that of the data directory; without one it is not watched. Shares
                are of the memory, 0 watches nothing. Default: 50MB
  --consumer-timeout
                A channel that keeps a delivery for longer is closed. Default: off
  --data-dir    Holds virtual hosts, durable exchanges, queues and bindings, and persistent
                messages in durable queues. Created if missing, and locked while the server
                runs. Default: none, nothing is kept
  --sync        When a publisher is told that a message is safe. A server that ends, however,
                loses nothing of that; a power cut loses nothing with every-confirm, what was
                confirmed in the last MS milliseconds with interval:MS, and with os what the
                system has not written yet. Default: every-confirm
  --durable-memory
                What is more waits in the data directory. Default: 8MiB
  --ctl-socket  For this user and root alone. Default: ctl.sock in the data directory; without
                one there is none
  --log-file    Lines are added at its end. Opened anew on SIGHUP and by leveret ctl
                rotate_logs. Default: none, the log goes to stderr
  --log-level   off, error, warn, info, debug, trace, or for example
                info,leveret_broker=debug. Default: info
  --log-format  Default: text

Users, permissions and virtual hosts stand in the configuration file, or are made by
`leveret ctl` and kept in the data directory. At first, and without users in the file, there is
guest with password guest, from this machine only.

SIGTERM and Ctrl-C tell clients to go and then stop the server; a second one stops it at
once.";

/// Flags and environment variables, not yet mixed with the configuration file: what was not given is none or empty.
//
// The comments on the fields are the lines of `--help`, which stay short enough for a terminal.
#[derive(Debug, Default, Parser)]
#[command(
    name = "leveret",
    version,
    about,
    long_about = None,
    after_help = NOTES,
    args_conflicts_with_subcommands = true
)]
pub(crate) struct Args {
    /// Something else than to run a server.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    #[command(flatten)]
    pub(crate) listen: ListenArgs,

    #[command(flatten)]
    pub(crate) tls: TlsArgs,

    /// Proxies that name their clients: 10.0.0.0/8; repeat it
    #[arg(
        long,
        value_name = "CIDR",
        env = "LEVERET_PROXY_PROTOCOL_FROM",
        hide_env_values = true,
        value_delimiter = ','
    )]
    pub(crate) proxy_protocol_from: Vec<Network>,

    /// Web pages that may open WebSockets, or * for any
    #[arg(
        long,
        value_name = "ORIGIN",
        env = "LEVERET_WEBSOCKET_ORIGIN",
        hide_env_values = true,
        value_delimiter = ','
    )]
    pub(crate) websocket_origin: Vec<WebOrigin>,

    #[command(flatten)]
    pub(crate) limits: Limits,

    /// Memory for messages: bytes, 512MiB, 2GB or 40%
    #[arg(
        long,
        value_name = "SIZE",
        env = "LEVERET_MEMORY",
        hide_env_values = true
    )]
    pub(crate) memory: Option<MemorySize>,

    /// Disk to keep free, or publishers wait: bytes, 2GB, 100%
    #[arg(
        long,
        value_name = "SIZE",
        env = "LEVERET_DISK_FREE_LIMIT",
        hide_env_values = true
    )]
    pub(crate) disk_free_limit: Option<DiskSize>,

    /// Time to acknowledge a delivery: milliseconds, 30min, off
    #[arg(
        long,
        value_name = "TIME",
        env = "LEVERET_CONSUMER_TIMEOUT",
        hide_env_values = true
    )]
    pub(crate) consumer_timeout: Option<TimeSpan>,

    /// Directory for what is durable; see below
    #[arg(
        long,
        value_name = "DIR",
        env = "LEVERET_DATA_DIR",
        hide_env_values = true
    )]
    pub(crate) data_dir: Option<PathBuf>,

    /// When messages are safe: every-confirm, interval:MS, os
    #[arg(
        long,
        value_name = "WHEN",
        env = "LEVERET_SYNC",
        hide_env_values = true
    )]
    pub(crate) sync: Option<SyncChoice>,

    /// Memory for durable queues: bytes, 64MiB, 1GB or 5%
    #[arg(
        long,
        value_name = "SIZE",
        env = "LEVERET_DURABLE_MEMORY",
        hide_env_values = true
    )]
    pub(crate) durable_memory: Option<MemorySize>,

    /// Socket for `leveret ctl`, or off; see below
    #[arg(
        long,
        value_name = "PATH",
        env = "LEVERET_CTL_SOCKET",
        hide_env_values = true
    )]
    pub(crate) ctl_socket: Option<PathBuf>,

    /// TOML file with the same settings
    #[arg(
        long,
        value_name = "FILE",
        env = "LEVERET_CONFIG",
        hide_env_values = true
    )]
    pub(crate) config: Option<PathBuf>,

    /// File for the log, instead of stderr; see below
    #[arg(
        long,
        value_name = "PATH",
        env = "LEVERET_LOG_FILE",
        hide_env_values = true
    )]
    pub(crate) log_file: Option<PathBuf>,

    /// Level of the log, or a filter of tracing
    #[arg(
        long,
        value_name = "LEVEL",
        env = "LEVERET_LOG_LEVEL",
        hide_env_values = true
    )]
    pub(crate) log_level: Option<LogFilter>,

    /// Form of the log: text or json
    #[arg(
        long,
        value_name = "FORMAT",
        env = "LEVERET_LOG_FORMAT",
        hide_env_values = true,
        hide_possible_values = true
    )]
    pub(crate) log_format: Option<LogFormat>,
}

/// What the program does when it is not to be a server.
//
// What the subcommands take is put together when one of them is named: a server has no use for it, and keeps what its
// start has touched.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum Command {
    /// Puts load on a broker, this one or another, and checks every message
    Perf(Box<leveret_perf::Args>),
    /// Checks or repairs the messages in a data directory
    #[command(subcommand)]
    Store(StoreCommand),
    /// Looks after a running server, as rabbitmqctl does
    Ctl(crate::ctl::Args),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn the_readme_names_every_option_and_variable() {
        let readme = include_str!("../README.md");
        let command = Args::command();
        let mut options = 0;
        for option in command.get_arguments() {
            let flag = format!("`--{}", option.get_long().unwrap());
            assert!(readme.contains(&flag), "{flag}` is not in the README");
            if let Some(variable) = option.get_env() {
                let variable = format!("`{}`", variable.to_str().unwrap());
                assert!(
                    readme.contains(&variable),
                    "{variable} is not in the README"
                );
                options += 1;
            }
        }
        assert_eq!(options, 51);
    }
}
