//! From the protocol header to connection.open-ok (behaviour reference, section 2).

use leveret_amqp_codec::{
    ChannelId, Method, ProtocolHeader, RawTable, ReplyCode, ShortStr, Table, Value, ValueRef,
    method::connection, write_method,
};
use leveret_queue_store::Time;

use super::introduction::Introduction;
use super::{Core, Phase, Progress, Session, sasl};
use crate::access::Caller;
use crate::auth::{Identity, Login, LoginRefused};
use crate::error::Refusal;
#[cfg(feature = "stomp")]
use crate::session::Newcomer;
use crate::session::Output;
use crate::vhost::VirtualHost;

/// The largest frame that is sent before tune-ok: what RabbitMQ 4 takes, and more than the handshake needs.
const SENT_FRAME_SIZE_MAX: u32 = 8192;

/// What a client may ask for at the least (RabbitMQ 3; AMQP 4.2.3 `frame-min-size`).
const FRAME_SIZE_MIN: u32 = 4096;

/// What both sides agreed upon.
#[derive(Clone, Copy, Debug)]
pub(super) struct Negotiated {
    pub(super) channel_max: u16,
    pub(super) frame_size_max: u32,
    /// 0: no heartbeats.
    pub(super) heartbeat_s: u16,
}

impl Default for Negotiated {
    fn default() -> Self {
        Self {
            channel_max: 0,
            frame_size_max: SENT_FRAME_SIZE_MAX,
            heartbeat_s: 0,
        }
    }
}

/// What a client says it understands; it is only told what it claims.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ClientCapabilities {
    pub(super) consumer_cancel_notify: bool,
    pub(super) connection_blocked: bool,
    pub(super) authentication_failure_close: bool,
}

impl ClientCapabilities {
    fn from_properties(properties: RawTable<'_>) -> Self {
        let Some(ValueRef::Table(capabilities)) = properties.get("capabilities") else {
            return Self::default();
        };
        let claims = |name| matches!(capabilities.get(name), Some(ValueRef::Bool(true)));
        Self {
            consumer_cancel_notify: claims("consumer_cancel_notify"),
            connection_blocked: claims("connection.blocked"),
            authentication_failure_close: claims("authentication_failure_close"),
        }
    }
}

/// What RabbitMQ 3.13 claims, and this broker does.
const CAPABILITIES: [&str; 9] = [
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "consumer_priorities",
    "authentication_failure_close",
    "per_consumer_qos",
    "direct_reply_to",
];

impl Session {
    pub(super) fn handle_protocol_header(
        &mut self,
        input: &[u8],
        deadline: Time,
        out: &mut Output,
    ) -> Progress {
        let Some(header) = ProtocolHeader::parse(input) else {
            return Progress::Wait;
        };
        match header {
            ProtocolHeader::Amqp091 | ProtocolHeader::Amqp09 => {
                let properties = self.server_properties().to_bytes();
                let has_name = self.core.certified().is_some();
                let has_anonymous = self.core.shared.config.anonymous_user.is_some();
                let start = connection::Start {
                    version_major: 0,
                    version_minor: 9,
                    server_properties: RawTable::from_validated_bytes(&properties),
                    mechanisms: sasl::offered(has_name, has_anonymous).as_bytes(),
                    locales: b"en_US",
                };
                write_method(out.buffer(), ChannelId::CONNECTION, &start);
                self.phase = Phase::StartOk { deadline };
            }
            other => {
                if is_tls(input) {
                    tracing::info!(connection = %self.core.name(), "not AMQP 0-9-1: a client of TLS, on a port without it");
                } else {
                    tracing::info!(connection = %self.core.name(), "not AMQP 0-9-1: {other:?}");
                }
                out.buffer().extend_from_slice(&ProtocolHeader::AMQP_0_9_1);
                self.phase = Phase::Closed;
            }
        }
        Progress::Consumed(ProtocolHeader::SIZE)
    }

    fn server_properties(&self) -> Table {
        let config = &self.core.shared.config;
        let capabilities: Table = CAPABILITIES
            .iter()
            .map(|name| ((*name).to_owned(), Value::Bool(true)))
            .collect();
        let mut properties = Table::default();
        properties.insert("capabilities", Value::Table(capabilities));
        properties.insert("cluster_name", Value::from(config.cluster_name()));
        properties.insert("copyright", Value::from("The leveret developers"));
        properties.insert(
            "information",
            Value::from("Licensed under MIT or Apache-2.0"),
        );
        properties.insert("platform", Value::from("Rust"));
        properties.insert("product", Value::from(config.product()));
        properties.insert("version", Value::from(config.version()));
        properties
    }

    pub(super) fn handle_handshake(
        &mut self,
        now: Time,
        method: &Method<'_>,
        out: &mut Output,
    ) -> Result<(), Refusal> {
        match (&self.phase, method) {
            (Phase::StartOk { deadline }, Method::ConnectionStartOk(start_ok)) => {
                let deadline = *deadline;
                self.handle_start_ok(now, deadline, start_ok, out);
                Ok(())
            }
            (Phase::TuneOk { deadline }, Method::ConnectionTuneOk(tune_ok)) => {
                let deadline = *deadline;
                self.handle_tune_ok(deadline, tune_ok)
            }
            (Phase::Open { .. }, Method::ConnectionOpen(open)) => self.handle_open(now, open, out),
            (_, Method::ConnectionClose(_)) => {
                write_method(out.buffer(), ChannelId::CONNECTION, &connection::CloseOk {});
                self.phase = Phase::Closed;
                Ok(())
            }
            _ => Err(Refusal::channel_error(format!(
                "unexpected method {} in connection handshake",
                method.name()
            ))),
        }
    }

    fn handle_start_ok(
        &mut self,
        now: Time,
        deadline: Time,
        start_ok: &connection::StartOk<'_>,
        out: &mut Output,
    ) {
        self.core.client = ClientCapabilities::from_properties(start_ok.client_properties);
        let introduction = Introduction::new(start_ok.client_properties);
        self.core.introduction = Some(Box::new(introduction));
        #[cfg(feature = "stomp")]
        let (request, is_foreign) = match self.core.newcomer.take().map(|newcomer| *newcomer) {
            Some(Newcomer::Known(identity)) => {
                self.let_in(now, deadline, identity, out);
                return;
            }
            Some(Newcomer::Asked {
                request,
                is_foreign,
                ..
            }) => (Some(request), is_foreign),
            None => (None, false),
        };
        #[cfg(not(feature = "stomp"))]
        let is_foreign = false;
        // Any page can have a browser connect, from wherever the browser is: it is not let in without a login for that.
        if *start_ok.mechanism == *sasl::ANONYMOUS
            && !is_foreign
            && let Some(user) = &self.core.shared.config.anonymous_user
        {
            let identity = Identity::new(user.as_str());
            self.let_in(now, deadline, identity, out);
            return;
        }
        // A browser shows its user's certificate for pages of others too.
        let certified = self.core.certified().filter(|_| !is_foreign);
        match sasl::parse(&start_ok.mechanism, start_ok.response, certified) {
            Ok(credentials) => {
                let peer = self.core.endpoints.map(|endpoints| endpoints.peer);
                let mechanism = credentials.mechanism;
                let mut login =
                    Login::new(credentials.username, credentials.password, mechanism, peer);
                login.account = self.core.shared.account(&login.username);
                login.tls = self.core.registration.tls().cloned();
                #[cfg(feature = "stomp")]
                {
                    login.request = request;
                }
                self.phase = Phase::Login {
                    deadline,
                    asked: Some(Box::new(login)),
                    mechanism,
                };
            }
            Err(error) => {
                tracing::warn!(connection = %self.core.name(), mechanism = start_ok.mechanism.as_str(), ?error, "login refused");
                self.drop_silently(now);
            }
        }
    }

    /// Somebody of whom nothing needs to be checked.
    fn let_in(&mut self, now: Time, deadline: Time, identity: Identity, out: &mut Output) {
        self.phase = Phase::Login {
            deadline,
            asked: None,
            mechanism: sasl::ANONYMOUS,
        };
        self.handle_login(now, Ok(identity), out);
    }

    /// A login to be checked; the answer goes to [`Session::handle_login`].
    pub(super) fn take_login(&mut self) -> Option<Login> {
        match &mut self.phase {
            Phase::Login { asked, .. } => asked.take().map(|login| *login),
            _ => None,
        }
    }

    /// The login that [`Session::take_login`] gave has been checked.
    pub(super) fn handle_login(
        &mut self,
        now: Time,
        result: Result<Identity, LoginRefused>,
        out: &mut Output,
    ) {
        let Phase::Login {
            deadline,
            mechanism,
            ..
        } = self.phase
        else {
            return;
        };
        match result {
            Ok(identity) => {
                self.core.is_now(identity);
                if let Some(introduction) = &mut self.core.introduction {
                    introduction.mechanism = Some(mechanism);
                }
                let config = &self.core.shared.config;
                let tune = connection::Tune {
                    channel_max: config.channel_max(),
                    frame_max: config.frame_size_max(),
                    heartbeat: config.heartbeat_s(),
                };
                write_method(out.buffer(), ChannelId::CONNECTION, &tune);
                self.phase = Phase::TuneOk { deadline };
            }
            Err(refused) => {
                refused.log(&self.core.name(), mechanism);
                self.refuse_login(now, mechanism, out);
            }
        }
    }

    fn refuse_login(&mut self, now: Time, mechanism: &str, out: &mut Output) {
        if !self.core.client.authentication_failure_close {
            self.drop_silently(now);
            return;
        }
        let refusal = Refusal::access_refused(format!(
            "Login was refused using authentication mechanism {mechanism}. For details see the broker logfile."
        ));
        let text = refusal.reply_text();
        let close = connection::Close {
            reply_code: ReplyCode::AccessRefused.code(),
            reply_text: ShortStr::truncated(&text),
            class_id: 0,
            method_id: 0,
        };
        write_method(out.buffer(), ChannelId::CONNECTION, &close);
        // Long enough for the client to read it; whoever asks again has waited meanwhile.
        self.drop_silently(now);
    }

    fn handle_tune_ok(
        &mut self,
        deadline: Time,
        tune_ok: &connection::TuneOk,
    ) -> Result<(), Refusal> {
        let config = &self.core.shared.config;
        check_negotiated(
            "channel_max",
            u32::from(tune_ok.channel_max),
            u32::from(config.channel_max()),
            1,
        )?;
        check_negotiated(
            "frame_max",
            tune_ok.frame_max,
            config.frame_size_max(),
            FRAME_SIZE_MIN,
        )?;
        let frame_size_max = if tune_ok.frame_max == 0 {
            u32::MAX
        } else {
            tune_ok.frame_max
        };
        self.core.negotiated = Negotiated {
            channel_max: tune_ok.channel_max,
            frame_size_max,
            heartbeat_s: tune_ok.heartbeat,
        };
        self.core.limits.frame_size_max = frame_size_max;
        self.phase = Phase::Open { deadline };
        Ok(())
    }

    fn handle_open(
        &mut self,
        now: Time,
        open: &connection::Open<'_>,
        out: &mut Output,
    ) -> Result<(), Refusal> {
        let name = &*open.virtual_host;
        let missing = || Refusal::not_allowed(format!("vhost {name} not found"));
        let vhost = self.core.shared.vhost(name).ok_or_else(missing)?;
        self.core.caller = self.core.admit(&vhost)?;
        if !vhost.enter(&self.core.outbox) {
            return Err(missing());
        }
        self.core.vhost = Some(vhost);
        self.core.registration.is_no_stranger();
        self.core.sent_at = now;
        self.phase = Phase::Running;
        write_method(out.buffer(), ChannelId::CONNECTION, &connection::OpenOk {});
        let user = self
            .core
            .identity
            .as_ref()
            .map(|identity| &**identity.username());
        tracing::debug!(connection = %self.core.name(), user, vhost = name, "connection opened");
        Ok(())
    }
}

/// A record of TLS with a handshake message, of any version (RFC 8446, section 5.1).
fn is_tls(input: &[u8]) -> bool {
    input.starts_with(&[22, 3])
}

impl Core {
    /// Who the client's certificate says it is.
    fn certified(&self) -> Option<&str> {
        self.registration.tls()?.username.as_deref()
    }

    /// Who the connection is in a virtual host.
    ///
    /// # Errors
    /// 530 when its user has no permissions there, or when that has to be asked.
    fn admit(&self, vhost: &VirtualHost) -> Result<Caller, Refusal> {
        let identity = self.identity.as_ref();
        // Nobody gets as far as this without a login.
        let identity = identity.ok_or_else(|| Refusal::not_allowed("no user has logged in"))?;
        let id = self.registration.id();
        let (ends, outbox) = (self.endpoints, &self.outbox);
        self.shared
            .admit(identity, id, ends, vhost, outbox, self.may_enter)
    }
}

/// The client may lower what the server proposed, but not below `least`; 0 stands for no limit at all.
fn check_negotiated(what: &str, asked: u32, proposed: u32, least: u32) -> Result<(), Refusal> {
    if proposed != 0 && (asked == 0 || asked > proposed) {
        let unlimited = if asked == 0 { " (no limit)" } else { "" };
        return Err(Refusal::not_allowed(format!(
            "negotiated {what} = {asked}{unlimited} is higher than the maximum allowed value ({proposed})"
        )));
    }
    if asked != 0 && asked < least {
        return Err(Refusal::not_allowed(format!(
            "negotiated {what} = {asked} is lower than the minimum allowed value ({least})"
        )));
    }
    Ok(())
}
