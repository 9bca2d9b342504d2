//! Running the broker from start to stop.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use leveret_broker::{Broker, Builder};
use serde_json::{Value as Json, json};
use tokio::sync::Notify;

use crate::auth::{self, AuthError, Judge};
use crate::ctl::{About, ControlServer, ControlSocket, Node};
use crate::disk::FileSystem;
use crate::error::Error;
use crate::logging::LogControl;
use crate::passwords::Passwords;
use crate::settings::{Settings, in_bytes};
use crate::signals::{Hangups, Signals};
use crate::time_span::FiniteTime;
use crate::tls::{CertificateLogin, CertificateNames, Keeper, TlsError};

/// How long a client with a wrong password waits for its refusal, which makes guessing slow. As in RabbitMQ.
const REFUSAL_DELAY: Duration = Duration::from_secs(3);

/// How long clients have to say goodbye when the server stops: half of the ten seconds after which `docker stop` kills.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves until a signal says stop, and returns the code to exit with: success after an orderly end, that of the signal
/// when a second one came before it.
///
/// # Errors
/// When the server cannot start. Then nothing is left running, and nothing was announced.
pub(crate) fn run(settings: &Settings, log: LogControl) -> Result<ExitCode, Error> {
    let tls = Keeper::load(&settings.tls)?;
    if tls.is_none() && settings.listens_for_tls() {
        return Err(TlsError::Settings("a listener for TLS needs tls-cert and tls-key").into());
    }
    // Names are looked up here, where a signal still ends the process: a resolver can take long to give up.
    let judge = judge(settings)?;
    let mut builder = builder(settings, judge.clone())?;
    if let Some(tls) = &tls {
        builder = builder.tls(tls.config());
    }
    // As many worker threads as the process may use cores, which is tokio's default.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("leveret")
        .build()
        .map_err(Error::System)?;
    let outcome = runtime.block_on(serve(builder, judge, tls, log, settings));
    // Whatever still runs was given its time; dropping the runtime would wait for it.
    runtime.shutdown_background();
    outcome
}

/// Whoever is to decide about logins.
fn judge(settings: &Settings) -> Result<Judge, AuthError> {
    let loopback_users = settings.accounts.loopback_users();
    let passwords = Passwords::new(loopback_users.clone());
    let internal = CertificateLogin::before(passwords, loopback_users);
    let chain = auth::authenticator(&settings.auth, internal)?;
    let login_from = settings.tls.login_from;
    Ok(Judge::new(CertificateNames::before(chain, login_from)))
}

fn builder(settings: &Settings, judge: Judge) -> Result<Builder, Error> {
    let memory_limit = settings.memory_limit();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        memory_limit,
        "starting"
    );
    let accounts = &settings.accounts;
    let mut builder = Broker::builder()
        .accounts(accounts.accounts()?)
        .keep_accounts(accounts.first_accounts()?)
        .authenticator(judge)
        .stomp_certificate_login(settings.tls.stomp_cert_login)
        .proxy_protocol_from(settings.proxies.iter().copied())
        .memory_limit(memory_limit)
        .refusal_delay(REFUSAL_DELAY)
        .shutdown_timeout(SHUTDOWN_TIMEOUT);
    if let Some(origins) = &settings.websocket_origins {
        builder = builder.websocket_origins(origins.iter().map(|origin| &*origin.0));
    }
    builder = settings.limits.apply(builder, &in_bytes);
    if let Some(data_dir) = &settings.data_dir {
        builder = builder.data_dir(data_dir).sync_policy(settings.sync.0);
    }
    if let Some(bytes) = settings.durable_memory() {
        builder = builder.durable_memory(bytes);
    }
    if let Some(timeout) = settings.consumer_timeout.0 {
        builder = builder.consumer_timeout(timeout);
    }
    let disk_free_limit = settings.disk_free_limit();
    if let Some(data_dir) = &settings.data_dir
        && disk_free_limit > 0
    {
        builder = builder
            .disk_space(FileSystem::of(data_dir.clone()))
            .disk_free_limit(disk_free_limit);
    }
    if let Some(FiniteTime(ttl)) = settings.auth.verdict_ttl {
        builder = builder.verdict_ttl(ttl);
    }
    for vhost in accounts.vhosts() {
        builder = builder.vhost(vhost);
    }
    let addresses = settings.addresses()?;
    for address in addresses.amqp {
        builder = builder.amqp(address);
    }
    for address in addresses.stomp {
        builder = builder.stomp(address);
    }
    for address in addresses.stomp_ws {
        builder = builder.websocket(address);
    }
    for address in addresses.amqps {
        builder = builder.amqps(address);
    }
    for address in addresses.stomps {
        builder = builder.stomps(address);
    }
    for address in addresses.stomp_wss {
        builder = builder.secure_websocket(address);
    }
    Ok(builder)
}

async fn serve(
    builder: Builder,
    judge: Judge,
    tls: Option<Keeper>,
    log: LogControl,
    settings: &Settings,
) -> Result<ExitCode, Error> {
    let mut signals = Signals::catch().map_err(Error::System)?;
    let hangups = Hangups::catch().map_err(Error::System)?;
    let broker = Arc::new(builder.start().await.map_err(Error::Broker)?);
    let stop = Arc::new(Notify::new());
    let about = about(settings);
    let certificates = Keeper::certificates(tls.as_ref());
    let node = Node::new(
        Arc::clone(&broker),
        judge,
        about,
        certificates,
        log.clone(),
        Arc::clone(&stop),
    );
    let control = control(node, settings)?;
    if let Err(error) = announce(&broker, settings) {
        tracing::warn!(%error, "cannot write to stdout; the server runs all the same");
    }

    tokio::select! {
        signal = signals.stop() => {
            tracing::info!(%signal, connections = broker.connection_count(), "stopping; once more to stop at once");
        }
        () = stop.notified() => {
            tracing::info!(connections = broker.connection_count(), "stopping");
        }
        failed = Keeper::run(tls, &broker) => match failed {
            Ok(never) => match never {},
            Err(error) => return Err(Error::System(error)),
        },
        never = log.follow(hangups) => match never {},
    }
    if let Some(control) = control {
        control.stop().await;
    }
    let Some(broker) = Arc::into_inner(broker) else {
        return Err(Error::System(io::Error::other(
            "the broker is still in use",
        )));
    };
    tokio::select! {
        () = broker.shutdown() => {
            tracing::info!("stopped");
            Ok(ExitCode::SUCCESS)
        }
        signal = signals.stop() => {
            tracing::warn!(%signal, "stopped before all clients were gone");
            Ok(signal.exit_code())
        }
    }
}

/// Answers on the control socket, if there is to be one.
///
/// # Errors
/// When it cannot be made. Its place in the data directory is not asked for: there the server does without.
fn control(node: Node, settings: &Settings) -> Result<Option<ControlServer>, Error> {
    let Some(path) = settings.control_socket() else {
        return Ok(None);
    };
    let started = ControlSocket::bind(&path).and_then(|socket| {
        tracing::debug!(path = %socket.path().display(), "control socket");
        ControlServer::start(socket, node)
    });
    match started {
        Ok(control) => Ok(Some(control)),
        Err(error) if settings.ctl_socket.is_none() => {
            let path = path.display();
            tracing::warn!(%error, %path, "leveret ctl cannot ask this server: no control socket");
            Ok(None)
        }
        Err(source) => Err(Error::ControlSocket { path, source }),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "for how long the process has run has nothing to do with the broker's clock"
)]
fn about(settings: &Settings) -> About {
    About {
        started: Instant::now(),
        data_dir: settings.data_dir.clone(),
        config_file: settings.config.clone(),
        configured_vhosts: settings.accounts.fixed_vhosts(),
        environment: environment(settings),
    }
}

/// The settings that hold, as they are written in the configuration file. Nothing of users stands there.
fn environment(settings: &Settings) -> Vec<(String, Json)> {
    let path = |path: &Option<PathBuf>| json!(path.as_ref().map(|path| path.display().to_string()));
    let timeout = settings.consumer_timeout.0;
    let entries = [
        ("memory", json!(settings.memory_limit())),
        ("disk-free-limit", json!(settings.disk_free_limit())),
        (
            "consumer-timeout",
            json!(timeout.map(|timeout| timeout.as_millis())),
        ),
        ("data-dir", path(&settings.data_dir)),
        ("ctl-socket", path(&settings.control_socket())),
        ("config", path(&settings.config)),
        ("durable-memory", json!(settings.durable_memory())),
        ("log-file", path(&settings.log_file)),
        ("log-level", json!(settings.log_level.to_string())),
        ("auth.backends", json!(settings.auth.names())),
        ("loopback-users", json!(settings.accounts.loopback_users())),
    ];
    let entries = entries.into_iter();
    entries
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// Says on stdout where clients are served, a line for each address, who may log in, and what is kept. Programs that start the server
/// may wait for these lines: connections are accepted from now on.
fn announce(broker: &Broker, settings: &Settings) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    for address in broker.amqp_addresses() {
        writeln!(stdout, "leveret: listening for AMQP on {address}")?;
    }
    for address in broker.stomp_addresses() {
        writeln!(stdout, "leveret: listening for STOMP on {address}")?;
    }
    for address in broker.websocket_addresses() {
        writeln!(stdout, "leveret: listening for WebSockets on {address}")?;
    }
    for address in broker.amqps_addresses() {
        writeln!(stdout, "leveret: listening for AMQP over TLS on {address}")?;
    }
    for address in broker.stomps_addresses() {
        writeln!(stdout, "leveret: listening for STOMP over TLS on {address}")?;
    }
    for address in broker.secure_websocket_addresses() {
        writeln!(
            stdout,
            "leveret: listening for WebSockets over TLS on {address}"
        )?;
    }
    let accounts = broker.accounts().unwrap_or_default();
    let hint = if settings.auth.is_internal() {
        settings.accounts.hint(&accounts)
    } else {
        settings.auth.hint()
    };
    writeln!(stdout, "leveret: {hint}")?;
    match &settings.data_dir {
        Some(dir) => writeln!(
            stdout,
            "leveret: keeping what is durable in {}",
            dir.display()
        )?,
        None => writeln!(
            stdout,
            "leveret: keeping nothing after the end; --data-dir DIR keeps what is durable"
        )?,
    }
    stdout.flush()
}
