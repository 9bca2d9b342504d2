//! A connection to the broker with one channel, from the greeting to the goodbye.

use std::io;
use std::time::Duration;

use leveret_amqp_codec::method::{basic, channel, confirm, connection, exchange, queue};
use leveret_amqp_codec::{
    ChannelId, EncodeMethod, FrameKind, Limits, Method, ProtocolHeader, RawTable, ShortStr, Table,
    ValueRef, write_method,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::error::Error;
use crate::inbox::Inbox;
use crate::uri::AmqpUri;

/// The one channel of each connection.
pub(crate) const CHANNEL: ChannelId = ChannelId(1);

/// How long a broker may take for one step of opening or closing. RabbitMQ takes three seconds to refuse a password.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the broker has to say goodbye when a run is over and nothing depends on it any more.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The largest frame that we agree to, RabbitMQ's proposal.
const FRAME_SIZE_MAX: u32 = 131_072;

/// A connection whose channel is open. Dropping it closes the socket without a word.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    pub(crate) inbox: Inbox,
    pub(crate) limits: Limits,
    server: Server,
}

/// What the broker says of itself, as it says it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Server {
    pub(crate) product: String,
    pub(crate) version: String,
}

/// A [`Connection`] on its way to another thread.
#[derive(Debug)]
pub(crate) struct Detached {
    stream: std::net::TcpStream,
    inbox: Inbox,
    limits: Limits,
    server: Server,
}

impl Connection {
    /// Connects, logs in and opens the channel.
    ///
    /// # Errors
    ///
    /// When there is nobody, or whoever is there does not let us in or speaks something else.
    pub(crate) async fn open(uri: &AmqpUri) -> Result<Self, Error> {
        let address = uri.address();
        let failed = |source| Error::Connect {
            address: address.clone(),
            source,
        };
        let connecting = TcpStream::connect((uri.host.as_str(), uri.port));
        let stream = match timeout(STEP_TIMEOUT, connecting).await {
            Ok(connected) => connected.map_err(failed)?,
            Err(_) => return Err(failed(io::ErrorKind::TimedOut.into())),
        };
        stream.set_nodelay(true)?;
        let mut connection = Self {
            stream,
            inbox: Inbox::default(),
            limits: Limits::default(),
            server: Server::default(),
        };
        connection.log_in(uri).await?;
        connection.send(&channel::Open {}).await?;
        connection
            .answer("channel.open-ok", |method| {
                matches!(method, Method::ChannelOpenOk(_)).then_some(())
            })
            .await?;
        Ok(connection)
    }

    /// What the broker says of itself.
    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    async fn log_in(&mut self, uri: &AmqpUri) -> Result<(), Error> {
        let mut out = ProtocolHeader::AMQP_0_9_1.to_vec();
        self.send_bytes(&out).await?;
        let (server, mechanisms) = self
            .answer("connection.start", |method| match method {
                Method::ConnectionStart(start) => {
                    let mechanisms = String::from_utf8_lossy(start.mechanisms).into_owned();
                    Some((Server::of(start.server_properties), mechanisms))
                }
                _ => None,
            })
            .await?;
        if !mechanisms.split(' ').any(|mechanism| mechanism == "PLAIN") {
            return Err(Error::NoPlain {
                offered: mechanisms,
            });
        }
        self.server = server;

        let properties = client_properties();
        let start_ok = connection::StartOk {
            client_properties: RawTable::from_validated_bytes(&properties),
            mechanism: ShortStr::from_static("PLAIN"),
            response: &[b"\0", uri.user.as_bytes(), b"\0", uri.password.as_bytes()].concat(),
            locale: ShortStr::from_static("en_US"),
        };
        out.clear();
        write_method(&mut out, ChannelId::CONNECTION, &start_ok);
        self.send_bytes(&out).await?;
        let tune = self
            .answer("connection.tune", |method| match method {
                Method::ConnectionTune(tune) => Some(*tune),
                _ => None,
            })
            .await?;

        // Zero is no limit.
        let frame_max = match tune.frame_max {
            0 => FRAME_SIZE_MAX,
            proposed => proposed.min(FRAME_SIZE_MAX),
        };
        let tune_ok = connection::TuneOk {
            channel_max: tune.channel_max,
            frame_max,
            // Whether the other side is there is told by what arrives, or does not.
            heartbeat: 0,
        };
        self.limits.frame_size_max = frame_max;
        out.clear();
        write_method(&mut out, ChannelId::CONNECTION, &tune_ok);
        let virtual_host = ShortStr::new(&uri.virtual_host)?;
        write_method(
            &mut out,
            ChannelId::CONNECTION,
            &connection::Open { virtual_host },
        );
        self.send_bytes(&out).await?;
        self.answer("connection.open-ok", |method| {
            matches!(method, Method::ConnectionOpenOk(_)).then_some(())
        })
        .await
    }

    /// Sends a method on the channel.
    pub(crate) async fn send<M: EncodeMethod>(&mut self, method: &M) -> Result<(), Error> {
        let mut out = Vec::new();
        write_method(&mut out, CHANNEL, method);
        self.send_bytes(&out).await
    }

    /// Sends bytes as they are.
    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        Ok(self.stream.write_all(bytes).await?)
    }

    /// Waits for the answer that `pick` makes something of. Before it, only frames that come by themselves may arrive.
    ///
    /// # Errors
    ///
    /// When the broker closes channel or connection, sends another method, or nothing for too long.
    pub(crate) async fn answer<T>(
        &mut self,
        what: &'static str,
        pick: impl Fn(&Method<'_>) -> Option<T>,
    ) -> Result<T, Error> {
        self.answer_within(STEP_TIMEOUT, what, pick).await
    }

    /// As [`answer`](Self::answer), for what may take so long without a byte from the broker.
    pub(crate) async fn answer_within<T>(
        &mut self,
        limit: Duration,
        what: &'static str,
        pick: impl Fn(&Method<'_>) -> Option<T>,
    ) -> Result<T, Error> {
        self.read_methods(limit, what, |method| match (pick(method), method) {
            (Some(answer), _) => Ok(Some(answer)),
            (
                None,
                Method::BasicDeliver(_)
                | Method::ConnectionBlocked(_)
                | Method::ConnectionUnblocked(_),
            ) => Ok(None),
            (None, other) => {
                refusal(other)?;
                Err(Error::Unexpected(other.name().to_owned()))
            }
        })
        .await
    }

    /// Shows `visit` each method that arrives until it returns something, and passes over contents and heartbeats.
    async fn read_methods<T>(
        &mut self,
        limit: Duration,
        what: &'static str,
        visit: impl Fn(&Method<'_>) -> Result<Option<T>, Error>,
    ) -> Result<T, Error> {
        loop {
            while let Some(frame) = self.inbox.next(&self.limits)? {
                if frame.kind == FrameKind::Method
                    && let Some(found) = visit(&decode(frame.payload, &self.limits)?)?
                {
                    return Ok(found);
                }
            }
            let reading = self.stream.read(self.inbox.space());
            let count = timeout(limit, reading).await.map_err(|_| Error::Stalled {
                seconds: limit.as_secs_f64(),
                what,
            })??;
            self.inbox.filled(count)?;
        }
    }

    /// Declares an exchange, one that does not outlive the broker.
    pub(crate) async fn declare_exchange(&mut self, name: &str, kind: &str) -> Result<(), Error> {
        let declare = exchange::Declare {
            exchange: ShortStr::new(name)?,
            kind: ShortStr::new(kind)?,
            ..exchange::Declare::default()
        };
        self.send(&declare).await?;
        self.answer("exchange.declare-ok", |method| {
            matches!(method, Method::ExchangeDeclareOk(_)).then_some(())
        })
        .await
    }

    /// Declares a queue, and says how many messages it has.
    pub(crate) async fn declare_queue(
        &mut self,
        declare: &queue::Declare<'_>,
    ) -> Result<u32, Error> {
        self.send(declare).await?;
        self.answer("queue.declare-ok", |method| match method {
            Method::QueueDeclareOk(declared) => Some(declared.message_count),
            _ => None,
        })
        .await
    }

    /// How many messages wait in a queue that there is.
    pub(crate) async fn message_count(&mut self, name: &str) -> Result<u32, Error> {
        let declare = queue::Declare {
            queue: ShortStr::new(name)?,
            passive: true,
            ..queue::Declare::default()
        };
        self.declare_queue(&declare).await
    }

    /// Deletes a queue with what is in it.
    pub(crate) async fn delete_queue(&mut self, name: &str) -> Result<(), Error> {
        let delete = queue::Delete {
            queue: ShortStr::new(name)?,
            ..queue::Delete::default()
        };
        self.send(&delete).await?;
        self.answer("queue.delete-ok", |method| {
            matches!(method, Method::QueueDeleteOk(_)).then_some(())
        })
        .await
    }

    /// Deletes an exchange with its bindings.
    pub(crate) async fn delete_exchange(&mut self, name: &str) -> Result<(), Error> {
        let delete = exchange::Delete {
            exchange: ShortStr::new(name)?,
            ..exchange::Delete::default()
        };
        self.send(&delete).await?;
        self.answer("exchange.delete-ok", |method| {
            matches!(method, Method::ExchangeDeleteOk(_)).then_some(())
        })
        .await
    }

    /// Has the channel confirm what is published on it.
    pub(crate) async fn select_confirms(&mut self) -> Result<(), Error> {
        self.send(&confirm::Select { no_wait: false }).await?;
        self.answer("confirm.select-ok", |method| {
            matches!(method, Method::ConfirmSelectOk(_)).then_some(())
        })
        .await
    }

    /// Limits what each consumer to come may have unacknowledged.
    pub(crate) async fn limit_prefetch(&mut self, prefetch: u16) -> Result<(), Error> {
        self.send(&basic::Qos {
            prefetch_count: prefetch,
            ..basic::Qos::default()
        })
        .await?;
        self.answer("basic.qos-ok", |method| {
            matches!(method, Method::BasicQosOk(_)).then_some(())
        })
        .await
    }

    /// Says goodbye and waits for the answer. What arrives before it is thrown away, so this ends when the broker has
    /// sent what it was about to send.
    pub(crate) async fn close(mut self) -> Result<(), Error> {
        let close = connection::Close {
            reply_code: 200,
            reply_text: ShortStr::from_static("goodbye"),
            ..connection::Close::default()
        };
        let mut out = Vec::new();
        write_method(&mut out, ChannelId::CONNECTION, &close);
        self.send_bytes(&out).await?;
        // Confirms and answers may have been on their way.
        self.read_methods(STEP_TIMEOUT, "connection.close-ok", |method| {
            Ok(matches!(method, Method::ConnectionCloseOk(_)).then_some(()))
        })
        .await
    }

    /// A connection that was taken apart to be used, with the bytes that were read and not used.
    pub(crate) fn resume(stream: TcpStream, limits: Limits, rest: Vec<u8>) -> Self {
        Self {
            stream,
            inbox: Inbox::with(rest),
            limits,
            server: Server::default(),
        }
    }

    /// Lets go of the runtime that the connection was opened on.
    pub(crate) fn detach(self) -> Result<Detached, Error> {
        Ok(Detached {
            stream: self.stream.into_std()?,
            inbox: self.inbox,
            limits: self.limits,
            server: self.server,
        })
    }
}

impl Detached {
    /// Takes the connection into the runtime that this is called in.
    pub(crate) fn attach(self) -> Result<Connection, Error> {
        Ok(Connection {
            stream: TcpStream::from_std(self.stream)?,
            inbox: self.inbox,
            limits: self.limits,
            server: self.server,
        })
    }
}

impl Server {
    fn of(properties: RawTable<'_>) -> Self {
        let text = |name| {
            let value = properties.get(name).and_then(ValueRef::as_str);
            // From a peer, and printed: without what could move the cursor.
            let printable = |text: &str| text.chars().filter(|c| !c.is_control()).collect();
            value.map(printable).unwrap_or_default()
        };
        Self {
            product: text("product"),
            version: text("version"),
        }
    }
}

/// Reads a method, with errors as this crate has them.
pub(crate) fn decode<'a>(payload: &'a [u8], limits: &Limits) -> Result<Method<'a>, Error> {
    Method::decode(payload, limits).map_err(|error| Error::Malformed(error.into()))
}

/// Makes an error of a method that ends the channel or the connection.
pub(crate) fn refusal(method: &Method<'_>) -> Result<(), Error> {
    let (code, text) = match method {
        Method::ConnectionClose(close) => (close.reply_code, close.reply_text),
        Method::ChannelClose(close) => (close.reply_code, close.reply_text),
        _ => return Ok(()),
    };
    Err(Error::Refused {
        code,
        text: text.chars().filter(|c| !c.is_control()).collect(),
    })
}

/// Without these, RabbitMQ closes the socket instead of saying why a password is wrong, and does not say that it is
/// blocked.
fn client_properties() -> Vec<u8> {
    let capabilities = Table::from_iter([
        ("authentication_failure_close", true),
        ("basic.nack", true),
        ("connection.blocked", true),
        ("consumer_cancel_notify", true),
        ("publisher_confirms", true),
    ]);
    let mut properties = Table::new();
    properties.insert("product", "leveret perf");
    properties.insert("version", env!("CARGO_PKG_VERSION"));
    properties.insert("capabilities", capabilities);
    properties.to_bytes()
}
