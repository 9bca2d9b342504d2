//! The configuration file.

use std::fmt;
use std::fs;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use leveret_broker::Network;
use serde::de::{Deserialize, Deserializer, Error as _, Visitor};
use zeroize::Zeroizing;

use crate::accounts::{
    AccountSettings, PermissionEntry, TopicPermissionEntry, UserEntry, VhostEntry,
};
use crate::address::ListenAddress;
use crate::auth::AuthSettings;
use crate::disk_size::DiskSize;
use crate::error::Error;
use crate::frame_size::InitialFrameSize;
use crate::limits::Limits;
use crate::logging::{LogFilter, LogFormat};
use crate::size::MemorySize;
use crate::sync::SyncChoice;
use crate::time_span::{FiniteTime, TimeSpan};
use crate::tls::{CertificateEntry, ClientCertificates, LoginFrom, TlsVersion};
use crate::web_origin::WebOrigin;

/// What a configuration file says; keys are named as the flags are. What it does not mention is `None`.
///
/// A key that we do not know is an error: it is more likely a typing mistake than something to be passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ConfigFile {
    /// Where to listen for AMQP; at least one address.
    #[serde(default, deserialize_with = "addresses")]
    pub(crate) amqp: Option<Vec<ListenAddress>>,
    /// Where to listen for STOMP; at least one address.
    #[serde(default, deserialize_with = "addresses")]
    pub(crate) stomp: Option<Vec<ListenAddress>>,
    /// Where to listen for WebSockets; at least one address.
    #[serde(default, deserialize_with = "addresses")]
    pub(crate) stomp_ws: Option<Vec<ListenAddress>>,
    /// Where to listen for the same over TLS; at least one address each.
    #[serde(default, deserialize_with = "addresses")]
    pub(crate) amqps: Option<Vec<ListenAddress>>,
    #[serde(default, deserialize_with = "addresses")]
    pub(crate) stomps: Option<Vec<ListenAddress>>,
    #[serde(default, deserialize_with = "addresses")]
    pub(crate) stomp_wss: Option<Vec<ListenAddress>>,
    /// Files of TLS; a relative path counts from the directory in which the server was started.
    pub(crate) tls_cert: Option<PathBuf>,
    pub(crate) tls_key: Option<PathBuf>,
    pub(crate) tls_client_ca: Option<PathBuf>,
    pub(crate) tls_client_crl: Option<PathBuf>,
    /// Whether clients show certificates.
    pub(crate) tls_client_cert: Option<ClientCertificates>,
    /// The oldest version of TLS that is spoken.
    pub(crate) tls_min_version: Option<TlsVersion>,
    /// Which name in a certificate is the user's.
    pub(crate) tls_login_from: Option<LoginFrom>,
    /// Whether clients of STOMP that give no name are who their certificate says.
    pub(crate) stomp_cert_login: Option<bool>,
    /// Certificates for names that clients ask for.
    #[serde(default)]
    pub(crate) tls_certificate: Vec<CertificateEntry>,
    /// From where connections begin with a header of the PROXY protocol.
    #[serde(default, deserialize_with = "networks")]
    pub(crate) proxy_protocol_from: Option<Vec<Network>>,
    /// Which web pages may open WebSockets; an empty list lets none.
    #[serde(default, deserialize_with = "origins")]
    pub(crate) websocket_origin: Option<Vec<WebOrigin>>,
    /// How much memory messages may take; a whole number of bytes, or a text as on the command line.
    pub(crate) memory: Option<MemorySize>,
    /// How much disk has to be free; a whole number of bytes, or a text as on the command line.
    pub(crate) disk_free_limit: Option<DiskSize>,
    /// How long clients may keep a delivery; a whole number of milliseconds, or a text as on the command line.
    pub(crate) consumer_timeout: Option<TimeSpan>,
    /// A relative path counts from the directory in which the server was started.
    pub(crate) data_dir: Option<PathBuf>,
    /// When messages there count as safe.
    pub(crate) sync: Option<SyncChoice>,
    /// How much of durable queues stays in memory; a whole number of bytes, or a text as on the command line.
    pub(crate) durable_memory: Option<MemorySize>,
    /// Where `leveret ctl` asks the server, or `off`.
    pub(crate) ctl_socket: Option<PathBuf>,
    /// Where it is logged, instead of on stderr. A relative path counts from the directory in which the server was started.
    pub(crate) log_file: Option<PathBuf>,
    /// What is logged.
    pub(crate) log_level: Option<LogFilter>,
    /// How log lines look.
    pub(crate) log_format: Option<LogFormat>,
    /// Limits; whole numbers, and sizes and times as for memory and deliveries.
    connections_max: Option<usize>,
    connections_per_user_max: Option<usize>,
    connections_per_vhost_max: Option<usize>,
    connections_per_address_max: Option<usize>,
    strangers_per_address_max: Option<usize>,
    handshake_timeout: Option<FiniteTime>,
    initial_frame_size_max: Option<InitialFrameSize>,
    free_login_failures: Option<u32>,
    free_login_failures_per_address: Option<u32>,
    channel_max: Option<u16>,
    channels_per_user_max: Option<u32>,
    channels_per_vhost_max: Option<u32>,
    consumers_per_channel_max: Option<usize>,
    consumers_per_connection_max: Option<u32>,
    consumers_per_vhost_max: Option<u32>,
    queues_max: Option<usize>,
    queues_per_connection_max: Option<u32>,
    exchanges_max: Option<usize>,
    bindings_max: Option<usize>,
    bindings_per_connection_max: Option<u32>,
    message_size_max: Option<MemorySize>,
    headers_per_message_max: Option<usize>,
    held_max: Option<MemorySize>,
    bytes_per_s_max: Option<u64>,
    messages_per_s_max: Option<u64>,
    /// Who is asked about users, and how.
    #[serde(default)]
    pub(crate) auth: AuthSettings,
    /// Users who may only come from this machine.
    loopback_users: Option<Vec<String>>,
    /// Virtual hosts beside `/`.
    #[serde(default)]
    vhost: Vec<VhostEntry>,
    /// Users, instead of the default one.
    #[serde(default)]
    user: Vec<UserEntry>,
    /// What users may do.
    #[serde(default)]
    permission: Vec<PermissionEntry>,
    /// Which routing keys they may use.
    #[serde(default)]
    topic_permission: Vec<TopicPermissionEntry>,
}

impl ConfigFile {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// When it cannot be read or is not UTF-8, and when it is not what we expect; the error then says where.
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path);
        // Passwords may stand in it.
        let text = Zeroizing::new(text.map_err(|source| Error::ConfigUnreadable {
            path: path.to_owned(),
            source,
        })?);
        Self::parse(&text, path)
    }

    /// `path` is only named in errors.
    fn parse(text: &str, path: &Path) -> Result<Self, Error> {
        let invalid = |offset, message| {
            let (line, column) = line_and_column(text, offset);
            Error::ConfigInvalid {
                path: path.to_owned(),
                line,
                column,
                message,
            }
        };
        let file: Self = toml::from_str(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            // One line, whatever the parser has to say.
            invalid(
                offset,
                error.message().lines().collect::<Vec<_>>().join(", "),
            )
        })?;
        let accounts = file.accounts();
        let consistent = accounts.check().and_then(|()| file.auth.check());
        consistent.map_err(|problem| invalid(problem.span.start, problem.message))?;
        Ok(file)
    }

    /// What it says of limits.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            connections_max: self.connections_max,
            connections_per_user_max: self.connections_per_user_max,
            connections_per_vhost_max: self.connections_per_vhost_max,
            connections_per_address_max: self.connections_per_address_max,
            strangers_per_address_max: self.strangers_per_address_max,
            handshake_timeout: self.handshake_timeout,
            initial_frame_size_max: self.initial_frame_size_max,
            free_login_failures: self.free_login_failures,
            free_login_failures_per_address: self.free_login_failures_per_address,
            channel_max: self.channel_max,
            channels_per_user_max: self.channels_per_user_max,
            channels_per_vhost_max: self.channels_per_vhost_max,
            consumers_per_channel_max: self.consumers_per_channel_max,
            consumers_per_connection_max: self.consumers_per_connection_max,
            consumers_per_vhost_max: self.consumers_per_vhost_max,
            queues_max: self.queues_max,
            queues_per_connection_max: self.queues_per_connection_max,
            exchanges_max: self.exchanges_max,
            bindings_max: self.bindings_max,
            bindings_per_connection_max: self.bindings_per_connection_max,
            message_size_max: self.message_size_max,
            headers_per_message_max: self.headers_per_message_max,
            held_max: self.held_max,
            bytes_per_s_max: self.bytes_per_s_max,
            messages_per_s_max: self.messages_per_s_max,
        }
    }

    /// What it says of virtual hosts, users and permissions.
    pub(crate) fn accounts(&self) -> AccountSettings {
        AccountSettings {
            vhosts: self.vhost.clone(),
            users: self.user.clone(),
            permissions: self.permission.clone(),
            topic_permissions: self.topic_permission.clone(),
            loopback_users: self.loopback_users.clone(),
        }
    }
}

/// The place of a byte in a text, counted from 1; columns count characters. An offset that is past the end or within a
/// character means the character before.
fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(offset)];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (
        before.matches('\n').count() + 1,
        before[line_start..].chars().count() + 1,
    )
}

fn addresses<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<ListenAddress>>, D::Error> {
    let addresses = texts(deserializer)?;
    if addresses.is_empty() {
        return Err(D::Error::custom(
            "at least one address is needed; leave the key out for the default",
        ));
    }
    Ok(Some(addresses))
}

fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Network>>, D::Error> {
    texts(deserializer).map(Some)
}

fn origins<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<WebOrigin>>, D::Error> {
    texts(deserializer).map(Some)
}

/// The place of an error here is that of the whole list, so the message names the text.
fn texts<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    let texts = Vec::<String>::deserialize(deserializer)?;
    let parse = |text: &String| {
        text.parse()
            .map_err(|error| D::Error::custom(format!("'{text}': {error}")))
    };
    texts.iter().map(parse).collect()
}

impl<'de> Deserialize<'de> for MemorySize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text_or_number(deserializer)
    }
}

/// A value that is written as on the command line, where a whole number needs no quotes.
pub(crate) fn text_or_number<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    deserializer.deserialize_any(TextOrNumber(PhantomData))
}

struct TextOrNumber<T>(PhantomData<T>);

impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for TextOrNumber<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number, or a text with a number and a unit")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    /// TOML's whole numbers have 64 bits and a sign. As text they are checked as all others are.
    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}

#[cfg(test)]
mod tests;
