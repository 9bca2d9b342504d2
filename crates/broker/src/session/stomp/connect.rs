//! From CONNECT to CONNECTED (behaviour reference, section 20.2).

use std::sync::Arc;

use leveret_queue_store::Time;
use leveret_stomp_codec::{Command, Frame, HeartBeat, Limits, Version};

use super::problem::Problem;
use super::{Core, Phase, Session};
use crate::access::Caller;
use crate::auth::{Identity, Login, LoginRefused};
use crate::error::Refusal;
use crate::session::{Ask, Credentials, Newcomer, Output, Rights};

/// What a CONNECT asked for, while its login is checked.
#[derive(Debug)]
pub(super) struct Connecting {
    pub(super) deadline: Time,
    /// What has to be answered next, until it has been taken.
    pub(super) ask: Option<Ask>,
    /// Who the client is, once that has been checked.
    identity: Option<Identity>,
    username: Box<str>,
    vhost: Box<str>,
    version: Version,
    heart_beat: HeartBeat,
}

/// What `mechanism` of a [`Login`] says for a STOMP client, in analogy to SASL.
const MECHANISM: &str = "STOMP";

/// That of a client whose certificate says who it is.
const EXTERNAL: &str = "EXTERNAL";

/// The virtual host of clients that name none.
const DEFAULT_VHOST: &str = "/";

impl Session {
    /// CONNECT or STOMP; the login is to be checked next.
    pub(super) fn connect(
        &mut self,
        now: Time,
        deadline: Time,
        frame: &Frame,
        out: &mut Output,
    ) -> Result<(), Problem> {
        let Some(version) = Version::negotiate(frame.header("accept-version")) else {
            return Err(Problem::fatal(
                "Version mismatch",
                format!("Supported versions are {}\n", Version::SUPPORTED),
            ));
        };
        let heart_beat = match frame.header("heart-beat") {
            Some(text) => text.parse().map_err(|_| Problem::processing())?,
            None => HeartBeat::default(),
        };
        let mut connecting = Connecting {
            deadline,
            ask: None,
            identity: None,
            username: Box::default(),
            vhost: frame.header("host").unwrap_or(DEFAULT_VHOST).into(),
            version,
            heart_beat,
        };
        // What the web server knew is of no use any more after this.
        let (request, credentials, is_foreign) =
            match self.core.newcomer.take().map(|newcomer| *newcomer) {
                Some(Newcomer::Known(identity)) => {
                    self.finish_connecting(now, Box::new(connecting), Ok(identity), out);
                    return Ok(());
                }
                Some(Newcomer::Asked {
                    request,
                    credentials,
                    is_foreign,
                }) => (Some(request), credentials, is_foreign),
                None => (None, None, false),
            };
        let (mechanism, credentials) = match credentials {
            Some(credentials) => (MECHANISM, credentials),
            None => self.credentials(frame, is_foreign),
        };
        let Credentials { username, password } = credentials;
        connecting.username = username.as_str().into();
        let account = self.core.shared.account(&username);
        let peer = self.core.endpoints.map(|endpoints| endpoints.peer);
        connecting.ask = Some(Ask::Login(Box::new(Login {
            account,
            request,
            tls: self.core.registration.tls().cloned(),
            connect_headers: headers_without_passcode(frame),
            ..Login::new(username, password, mechanism, peer)
        })));
        self.phase = Phase::Login(Box::new(connecting));
        Ok(())
    }

    /// Who says nothing of himself is who his certificate says, where that counts, or else the default user, as in
    /// RabbitMQ. Who gives a name gives the passcode too. A foreign web page is nobody unless it gives a name.
    fn credentials(&self, frame: &Frame, is_foreign: bool) -> (&'static str, Credentials) {
        if self.core.shared.config.stomp_certificate_login
            && !is_foreign
            && frame.header("login").is_none()
            && let Some(tls) = self.core.registration.tls()
            && let Some(username) = &tls.username
        {
            let credentials = Credentials {
                username: username.clone(),
                password: Default::default(),
            };
            return (EXTERNAL, credentials);
        }
        let default = &self.core.shared.config.stomp_default_user;
        let default = default.as_ref().filter(|_| !is_foreign);
        let (username, passcode) = match (frame.header("login"), default) {
            (None, Some((name, passcode))) => {
                (&**name, frame.header("passcode").unwrap_or(passcode))
            }
            (login, _) => (
                login.unwrap_or_default(),
                frame.header("passcode").unwrap_or_default(),
            ),
        };
        let credentials = Credentials {
            username: username.to_owned(),
            password: passcode.into(),
        };
        (MECHANISM, credentials)
    }

    /// The login has been checked.
    pub(super) fn finish_connecting(
        &mut self,
        now: Time,
        mut connecting: Box<Connecting>,
        result: Result<Identity, LoginRefused>,
        out: &mut Output,
    ) {
        match result {
            Ok(identity) => connecting.identity = Some(identity),
            Err(refused) => {
                let Connecting { username, .. } = &*connecting;
                refused.log(&self.core.connection(), MECHANISM);
                self.refuse_connect(now, format!("Access refused for user '{username}'\n"), out);
                return;
            }
        }
        self.enter(now, connecting, None, out);
    }

    /// Opens the virtual host, once it is known that the user may, if that has to be asked.
    pub(super) fn enter(
        &mut self,
        now: Time,
        mut connecting: Box<Connecting>,
        may_enter: Option<bool>,
        out: &mut Output,
    ) {
        let Some(identity) = connecting.identity.take() else {
            return;
        };
        let name = &*connecting.vhost;
        let user = identity.username();
        let caller = match self.core.enter(name, &identity, may_enter) {
            Ok(caller) => caller,
            Err(mut refusal) => {
                if let Some(questions) = refusal.take_questions()
                    && let Some(authorizer) = identity.rights_from()
                {
                    connecting.ask = Some(Ask::Rights(Box::new(Rights {
                        authorizer: Arc::clone(authorizer),
                        user: Arc::clone(user),
                        questions,
                        until_refused: true,
                    })));
                    connecting.identity = Some(identity);
                    self.phase = Phase::Login(connecting);
                    return;
                }
                let reason = refusal.explanation;
                tracing::warn!(connection = %self.core.connection(), user = &**user, vhost = name, reason, "virtual host refused");
                self.refuse_connect(now, format!("Virtual host '{name}' access denied"), out);
                return;
            }
        };
        self.core.caller = caller;
        if let Err(refusal) = self.core.take_seats() {
            let reason = refusal.explanation;
            tracing::warn!(connection = %self.core.connection(), user = &**user, vhost = name, reason, "session refused");
            self.fail(
                now,
                &Problem::fatal("Processing error", "Processing error"),
                out,
            );
            return;
        }
        tracing::debug!(
            connection = %self.core.connection(), user = &**user, vhost = name, version = %connecting.version, "session opened",
        );
        self.core.is_now(identity);
        self.open(now, &connecting, out);
    }

    fn open(&mut self, now: Time, connecting: &Connecting, out: &mut Output) {
        let config = &self.core.shared.config;
        let answer = connecting.heart_beat.answer();
        self.decoder.set_version(connecting.version);
        self.decoder.set_limits(Limits {
            body_size_max: config.message_size_max().min(config.stomp_frame_size_max),
            frame_size_max: config.stomp_frame_size_max,
            ..Limits::default()
        });
        self.writer.set_version(connecting.version);
        self.core.name = self.core.shared.services.names.name("session-").into();
        self.core.heart_beat = answer;
        self.core.sent_at = now;
        self.core.received_at = now;
        let headers = [
            (
                "server",
                &*format!("{}/{}", config.product(), config.version()),
            ),
            ("session", &*self.core.name),
            ("heart-beat", &*answer.to_string()),
            ("version", connecting.version.as_str()),
        ];
        self.writer.frame(out, Command::Connected, &headers, b"");
        self.core.registration.is_no_stranger();
        self.phase = Phase::Running;
    }

    /// Tells why, and keeps the client waiting before its socket is closed, so that guessing passwords is slow.
    fn refuse_connect(&mut self, now: Time, why: String, out: &mut Output) {
        self.write_error(&Problem::fatal("Bad CONNECT", why), &[], out);
        let until = now.saturating_add(self.core.shared.config.refusal_delay_ms());
        self.phase = Phase::Dropping { until };
    }
}

fn headers_without_passcode(frame: &Frame) -> Vec<(String, String)> {
    let headers = frame.headers.iter();
    headers
        .filter(|(name, _)| *name != "passcode")
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

impl Core {
    /// Opens a virtual host.
    ///
    /// # Errors
    /// When there is none of this name, the user may not use it, or that has to be asked.
    fn enter(
        &mut self,
        name: &str,
        identity: &Identity,
        may_enter: Option<bool>,
    ) -> Result<Caller, Refusal> {
        let missing = || Refusal::not_allowed(format!("vhost {name} not found"));
        let vhost = self.shared.vhost(name).ok_or_else(missing)?;
        let connection = self.registration.id();
        let (ends, outbox) = (self.endpoints, &self.outbox);
        let caller = self
            .shared
            .admit(identity, connection, ends, &vhost, outbox, may_enter)?;
        if !vhost.enter(&self.outbox) {
            return Err(missing());
        }
        self.vhost = Some(vhost);
        Ok(caller)
    }

    /// Counts the session as a channel of its user and in its virtual host.
    ///
    /// # Errors
    /// When there are as many as there may be.
    fn take_seats(&mut self) -> Result<(), Refusal> {
        let in_vhost = self.vhost.as_ref();
        self.seats = [
            self.caller.open_channel()?,
            in_vhost.map(|vhost| vhost.open_channel()).transpose()?,
        ];
        Ok(())
    }
}
