//! A client that does what it is told, right or wrong, and hears everything.

use bytes::{Buf, BytesMut};
use leveret_amqp_codec::method::{basic, channel, confirm, connection, exchange, queue};
use leveret_amqp_codec::{
    ChannelId, ContentHeader, EncodeMethod, FrameKind, Limits, Method, RawFrame, RawProperties,
    RawTable, write_body, write_content_header, write_method,
};
use leveret_broker::{Broker, Properties, Table};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::greeting::Greeting;
use super::heard::{Closed, Confirmed, Declared, Delivered, Heard};
use super::{short, soon};

/// A connection to a broker.
///
/// Methods without a channel in their name are for [`Wire::channel`]. Whatever is heard must be what was expected next;
/// only heartbeats are passed over.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    input: BytesMut,
    /// The channel that is spoken on; 1 unless set.
    pub(crate) channel: u16,
    /// Bodies are cut into frames of this size.
    pub(crate) frame_size_max: u32,
}

impl Wire {
    /// Connects and says nothing.
    pub(crate) async fn dial(broker: &Broker) -> Self {
        let stream = TcpStream::connect(broker.amqp_addresses()[0]).await;
        Self::on(stream.expect("the broker listens"))
    }

    /// A connection that is there already.
    pub(crate) fn on(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("the socket is fresh");
        Self {
            stream,
            input: BytesMut::new(),
            channel: 1,
            frame_size_max: 131_072,
        }
    }

    /// As [`Wire::dial`], with little room for what is not read.
    pub(crate) async fn dial_narrow(broker: &Broker) -> Self {
        let socket = TcpSocket::new_v4().expect("there are sockets");
        socket
            .set_recv_buffer_size(128 * 1024)
            .expect("the socket is fresh");
        let stream = socket
            .connect(broker.amqp_addresses()[0])
            .await
            .expect("the broker listens");
        Self {
            stream,
            input: BytesMut::new(),
            channel: 1,
            frame_size_max: 131_072,
        }
    }

    /// A connection with channel 1 open.
    pub(crate) async fn open(broker: &Broker) -> Self {
        Greeting::default().open_channel(broker).await
    }

    /// Opens another channel and speaks on it from now on.
    pub(crate) async fn open_channel(&mut self, channel: u16) {
        self.channel = channel;
        self.call(&channel::Open {}, "channel.open-ok").await;
    }

    // Sending.

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        soon("room in the socket", self.stream.write_all(bytes))
            .await
            .expect("the broker reads");
    }

    /// As [`Wire::send_bytes`], for a broker that may have closed the socket.
    pub(crate) async fn try_send_bytes(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        soon("room in the socket", self.stream.write_all(bytes)).await
    }

    /// Sends the same bytes again and again until the broker reads no more, or `limit` bytes are sent. How many it took,
    /// with what fits the system's buffers.
    pub(crate) async fn send_until_full(&self, bytes: &[u8], limit: usize) -> usize {
        /// Turns of the runtime in which not one byte is taken, each with a look at the sockets.
        const IDLE_TURNS: usize = 20_000;
        let (mut sent, mut turns) = (0, 0);
        while sent < limit && turns < IDLE_TURNS {
            match self.stream.try_write(&bytes[sent % bytes.len()..]) {
                Ok(written) => (sent, turns) = (sent + written, 0),
                Err(error) => {
                    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                    turns += 1;
                }
            }
            tokio::task::yield_now().await;
        }
        sent
    }

    /// Says that nothing more will be sent, and goes on listening.
    pub(crate) async fn send_end(&mut self) {
        self.stream.shutdown().await.expect("the socket is open");
    }

    pub(crate) async fn send(&mut self, method: &impl EncodeMethod) {
        self.send_on(self.channel, method).await;
    }

    pub(crate) async fn send_on(&mut self, channel: u16, method: &impl EncodeMethod) {
        let mut bytes = Vec::new();
        write_method(&mut bytes, ChannelId(channel), method);
        self.send_bytes(&bytes).await;
    }

    /// Sends a method and hears its answer.
    pub(crate) async fn call(&mut self, method: &impl EncodeMethod, answer: &str) -> Heard {
        self.send(method).await;
        self.expect(answer).await
    }

    /// The three kinds of frames of a publish.
    pub(crate) fn publish_bytes(
        &self,
        publish: &basic::Publish<'_>,
        properties: &Properties,
        body: &[u8],
    ) -> Vec<u8> {
        let (mut bytes, channel) = (Vec::new(), ChannelId(self.channel));
        let properties = properties.to_bytes();
        write_method(&mut bytes, channel, publish);
        let properties = RawProperties::from_validated_bytes(&properties);
        write_content_header(&mut bytes, channel, 60, body.len() as u64, properties);
        write_body(&mut bytes, channel, body, self.frame_size_max);
        bytes
    }

    pub(crate) async fn publish(
        &mut self,
        exchange: &str,
        routing_key: &str,
        body: impl AsRef<[u8]>,
    ) {
        self.publish_with(exchange, routing_key, &Properties::default(), body)
            .await;
    }

    pub(crate) async fn publish_with(
        &mut self,
        exchange: &str,
        routing_key: &str,
        properties: &Properties,
        body: impl AsRef<[u8]>,
    ) {
        let publish = basic::Publish {
            exchange: short(exchange),
            routing_key: short(routing_key),
            ..basic::Publish::default()
        };
        self.send_bytes(&self.publish_bytes(&publish, properties, body.as_ref()))
            .await;
    }

    pub(crate) async fn publish_mandatory(
        &mut self,
        exchange: &str,
        routing_key: &str,
        body: impl AsRef<[u8]>,
    ) {
        let publish = basic::Publish {
            exchange: short(exchange),
            routing_key: short(routing_key),
            mandatory: true,
            immediate: false,
        };
        self.send_bytes(&self.publish_bytes(&publish, &Properties::default(), body.as_ref()))
            .await;
    }

    /// Publishes texts to a queue by way of the default exchange.
    pub(crate) async fn publish_all(
        &mut self,
        queue: &str,
        texts: impl IntoIterator<Item = impl ToString>,
    ) {
        for text in texts {
            self.publish("", queue, text.to_string()).await;
        }
    }

    /// As [`Wire::send_end`], for a broker that may have closed the socket.
    pub(crate) async fn try_send_end(&mut self) -> std::io::Result<()> {
        self.stream.shutdown().await
    }

    // Hearing.

    /// The next frame, as it is; none at the end of the stream.
    pub(crate) async fn frame(&mut self) -> Option<(FrameKind, u16, Vec<u8>)> {
        loop {
            let decoded =
                RawFrame::decode(&self.input, &Limits::default()).expect("the broker sends frames");
            if let Some((frame, size)) = decoded {
                let frame = (frame.kind, frame.channel.0, frame.payload.to_vec());
                self.input.advance(size);
                return Some(frame);
            }
            match soon("a frame", self.stream.read_buf(&mut self.input)).await {
                Ok(0) => {
                    assert!(self.input.is_empty(), "the stream ends within a frame");
                    return None;
                }
                Ok(_) => {}
                // What a broker that closes a socket with unread input does to us.
                Err(_) => return None,
            }
        }
    }

    /// Listens until the broker has closed the socket, in whatever way.
    pub(crate) async fn wait_for_end(&mut self) {
        let mut rest = Vec::new();
        let _ = soon("the end of the stream", self.stream.read_to_end(&mut rest)).await;
    }

    /// Everything that comes until the end of the stream, as bytes.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.input).to_vec();
        soon("the end of the stream", self.stream.read_to_end(&mut rest))
            .await
            .expect("the stream ends in good order");
        rest
    }

    /// The next method with its content; none at the end of the stream.
    pub(crate) async fn hear(&mut self) -> Option<Heard> {
        loop {
            let (kind, channel, payload) = self.frame().await?;
            match kind {
                FrameKind::Heartbeat => continue,
                FrameKind::Method => {}
                _ => panic!("{kind:?} without a method before it"),
            }
            let method =
                Method::decode(&payload, &Limits::default()).expect("the broker sends methods");
            let has_content = matches!(
                method,
                Method::BasicDeliver(_) | Method::BasicGetOk(_) | Method::BasicReturn(_)
            );
            let content = if has_content {
                Some(self.hear_content(channel).await)
            } else {
                None
            };
            return Some(Heard {
                channel,
                payload,
                content,
            });
        }
    }

    async fn hear_content(&mut self, channel: u16) -> (Properties, Vec<u8>) {
        let (kind, at, payload) = self.frame().await.expect("a content header comes");
        assert_eq!((kind, at), (FrameKind::Header, channel));
        let header = ContentHeader::decode(&payload, &Limits::default())
            .expect("the broker sends content headers");
        let properties = Properties::from(header.properties);
        let size = usize::try_from(header.body_size).expect("the body fits the memory");
        let mut body = Vec::new();
        while body.len() < size {
            let (kind, at, payload) = self.frame().await.expect("the body goes on");
            assert_eq!((kind, at), (FrameKind::Body, channel));
            assert!(!payload.is_empty(), "empty body frames are not sent");
            assert!(
                payload.len() + 8 <= self.frame_size_max as usize,
                "frames are as small as agreed"
            );
            body.extend_from_slice(&payload);
        }
        assert_eq!(body.len(), size);
        (properties, body)
    }

    /// The next method must have this name and be on the current channel.
    pub(crate) async fn expect(&mut self, name: &str) -> Heard {
        self.expect_on(self.channel, name).await
    }

    pub(crate) async fn expect_on(&mut self, channel: u16, name: &str) -> Heard {
        let heard = self
            .hear()
            .await
            .unwrap_or_else(|| panic!("the stream ended before {name}"));
        assert_eq!(
            (heard.method().name(), heard.channel),
            (name, channel),
            "heard {:?}",
            heard.method()
        );
        heard
    }

    /// Nothing but heartbeats comes any more.
    pub(crate) async fn expect_end(&mut self) {
        if let Some(heard) = self.hear().await {
            panic!("no end, but {:?}", heard.method());
        }
    }

    /// The broker closes the current channel; this is answered, and the channel is free again.
    pub(crate) async fn expect_channel_closed(&mut self) -> Closed {
        let closed = self.expect("channel.close").await.into_closed();
        self.send(&channel::CloseOk {}).await;
        closed
    }

    /// The broker closes the connection; this is answered, and the socket closed.
    pub(crate) async fn expect_connection_closed(&mut self) -> Closed {
        let closed = self.expect_on(0, "connection.close").await.into_closed();
        // It may be gone already.
        let mut bytes = Vec::new();
        write_method(&mut bytes, ChannelId::CONNECTION, &connection::CloseOk {});
        let _ = self.try_send_bytes(&bytes).await;
        self.expect_end().await;
        closed
    }

    /// A round trip in which nothing else comes: whatever the broker had for this connection has been heard, and
    /// whatever was sent on it has been carried out.
    pub(crate) async fn quiet(&mut self) {
        self.call(&channel::Flow { active: true }, "channel.flow-ok")
            .await;
    }

    pub(crate) async fn delivery(&mut self) -> Delivered {
        self.expect("basic.deliver").await.into_delivered()
    }

    /// The texts of the next deliveries.
    pub(crate) async fn deliveries(&mut self, count: usize) -> Vec<String> {
        let mut texts = Vec::new();
        while texts.len() < count {
            texts.push(self.delivery().await.text().to_owned());
        }
        texts
    }

    pub(crate) async fn returned(&mut self) -> Delivered {
        self.expect("basic.return").await.into_delivered()
    }

    pub(crate) async fn confirmed(&mut self) -> Confirmed {
        let heard = self.hear().await.expect("a confirm comes");
        assert_eq!(heard.channel, self.channel);
        match heard.method() {
            Method::BasicAck(ack) => Confirmed::Ack {
                tag: ack.delivery_tag,
                multiple: ack.multiple,
            },
            Method::BasicNack(nack) => Confirmed::Nack {
                tag: nack.delivery_tag,
                multiple: nack.multiple,
            },
            other => panic!("no confirm: {other:?}"),
        }
    }

    // Asking.

    /// Declares a queue without any options.
    pub(crate) async fn declare(&mut self, name: &str) -> Declared {
        self.declare_queue(&queue::Declare {
            queue: short(name),
            ..queue::Declare::default()
        })
        .await
    }

    pub(crate) async fn declare_with(&mut self, name: &str, arguments: &Table) -> Declared {
        let arguments = arguments.to_bytes();
        let declare = queue::Declare {
            queue: short(name),
            arguments: RawTable::from_validated_bytes(&arguments),
            ..queue::Declare::default()
        };
        self.declare_queue(&declare).await
    }

    pub(crate) async fn declare_queue(&mut self, declare: &queue::Declare<'_>) -> Declared {
        let heard = self.call(declare, "queue.declare-ok").await;
        let Method::QueueDeclareOk(ok) = heard.method() else {
            unreachable!("its name was looked at")
        };
        Declared {
            name: ok.queue.as_str().to_owned(),
            messages: ok.message_count,
            consumers: ok.consumer_count,
        }
    }

    /// How many messages are ready in a queue.
    pub(crate) async fn count(&mut self, name: &str) -> u32 {
        self.look(name).await.messages
    }

    pub(crate) async fn look(&mut self, name: &str) -> Declared {
        self.declare_queue(&queue::Declare {
            queue: short(name),
            passive: true,
            ..queue::Declare::default()
        })
        .await
    }

    /// As [`Wire::look`], on a channel that was closed and answered.
    pub(crate) async fn look_after_reopening(&mut self, name: &str) -> Declared {
        self.open_channel(self.channel).await;
        self.look(name).await
    }

    /// Asks for a queue that is not there; the channel that this costs is opened anew.
    pub(crate) async fn expect_no_queue(&mut self, name: &str) {
        let declare = queue::Declare {
            queue: short(name),
            passive: true,
            ..queue::Declare::default()
        };
        self.send(&declare).await;
        let closed = self.expect_channel_closed().await;
        assert_eq!(closed.code, 404);
        assert_eq!(
            closed.text,
            format!("NOT_FOUND - no queue '{name}' in vhost '/'")
        );
        self.open_channel(self.channel).await;
    }

    pub(crate) async fn declare_exchange(&mut self, name: &str, kind: &str) {
        self.declare_exchange_with(name, kind, &Table::default())
            .await;
    }

    pub(crate) async fn declare_exchange_with(
        &mut self,
        name: &str,
        kind: &str,
        arguments: &Table,
    ) {
        let arguments = arguments.to_bytes();
        let declare = exchange::Declare {
            exchange: short(name),
            kind: short(kind),
            arguments: RawTable::from_validated_bytes(&arguments),
            ..exchange::Declare::default()
        };
        self.call(&declare, "exchange.declare-ok").await;
    }

    pub(crate) async fn bind(&mut self, queue: &str, exchange: &str, routing_key: &str) {
        self.bind_with(queue, exchange, routing_key, &Table::default())
            .await;
    }

    pub(crate) async fn bind_with(
        &mut self,
        queue: &str,
        exchange: &str,
        routing_key: &str,
        arguments: &Table,
    ) {
        let arguments = arguments.to_bytes();
        let bind = queue::Bind {
            queue: short(queue),
            exchange: short(exchange),
            routing_key: short(routing_key),
            no_wait: false,
            arguments: RawTable::from_validated_bytes(&arguments),
        };
        self.call(&bind, "queue.bind-ok").await;
    }

    pub(crate) async fn bind_exchange(
        &mut self,
        destination: &str,
        source: &str,
        routing_key: &str,
    ) {
        let bind = exchange::Bind {
            destination: short(destination),
            source: short(source),
            routing_key: short(routing_key),
            ..exchange::Bind::default()
        };
        self.call(&bind, "exchange.bind-ok").await;
    }

    pub(crate) async fn delete(&mut self, name: &str) {
        let delete = queue::Delete {
            queue: short(name),
            ..queue::Delete::default()
        };
        self.call(&delete, "queue.delete-ok").await;
    }

    /// Starts a consumer that has to acknowledge; its tag is the queue's name.
    pub(crate) async fn consume(&mut self, queue: &str) {
        self.consume_with(&basic::Consume {
            queue: short(queue),
            consumer_tag: short(queue),
            ..basic::Consume::default()
        })
        .await;
    }

    pub(crate) async fn consume_no_ack(&mut self, queue: &str) {
        self.consume_with(&basic::Consume {
            queue: short(queue),
            consumer_tag: short(queue),
            no_ack: true,
            ..basic::Consume::default()
        })
        .await;
    }

    /// Starts a consumer and returns its tag.
    pub(crate) async fn consume_with(&mut self, consume: &basic::Consume<'_>) -> String {
        let heard = self.call(consume, "basic.consume-ok").await;
        let Method::BasicConsumeOk(ok) = heard.method() else {
            unreachable!("its name was looked at")
        };
        ok.consumer_tag.as_str().to_owned()
    }

    pub(crate) async fn cancel(&mut self, consumer_tag: &str) {
        let cancel = basic::Cancel {
            consumer_tag: short(consumer_tag),
            no_wait: false,
        };
        self.call(&cancel, "basic.cancel-ok").await;
    }

    pub(crate) async fn prefetch(&mut self, prefetch_count: u16, global: bool) {
        self.call(
            &basic::Qos {
                prefetch_size: 0,
                prefetch_count,
                global,
            },
            "basic.qos-ok",
        )
        .await;
    }

    /// Takes a message, to be acknowledged, if there is one.
    pub(crate) async fn get(&mut self, queue: &str) -> Option<Delivered> {
        self.send(&basic::Get {
            queue: short(queue),
            no_ack: false,
        })
        .await;
        let heard = self.hear().await.expect("an answer comes");
        match heard.method() {
            Method::BasicGetEmpty(_) => None,
            _ => Some(heard.into_delivered()),
        }
    }

    /// Takes everything that is in a queue, as texts.
    pub(crate) async fn drain(&mut self, queue: &str) -> Vec<String> {
        let mut texts = Vec::new();
        while let Some(delivered) = self.get(queue).await {
            self.ack(delivered.tag).await;
            texts.push(delivered.text().to_owned());
        }
        texts
    }

    pub(crate) async fn ack(&mut self, delivery_tag: u64) {
        self.send(&basic::Ack {
            delivery_tag,
            multiple: false,
        })
        .await;
    }

    pub(crate) async fn ack_up_to(&mut self, delivery_tag: u64) {
        self.send(&basic::Ack {
            delivery_tag,
            multiple: true,
        })
        .await;
    }

    pub(crate) async fn nack(&mut self, delivery_tag: u64, requeue: bool) {
        self.send(&basic::Nack {
            delivery_tag,
            multiple: false,
            requeue,
        })
        .await;
    }

    pub(crate) async fn select_confirms(&mut self) {
        self.call(&confirm::Select { no_wait: false }, "confirm.select-ok")
            .await;
    }

    pub(crate) async fn close_channel(&mut self) {
        let close = channel::Close {
            reply_code: 200,
            reply_text: short("bye"),
            class_id: 0,
            method_id: 0,
        };
        self.call(&close, "channel.close-ok").await;
    }

    /// Says goodbye and hears that it was heard; the socket is still open.
    pub(crate) async fn say_goodbye(&mut self) {
        let close = connection::Close {
            reply_code: 200,
            reply_text: short("bye"),
            class_id: 0,
            method_id: 0,
        };
        self.send_on(0, &close).await;
        self.expect_on(0, "connection.close-ok").await;
    }

    /// Says goodbye, and closes the socket as a client does.
    pub(crate) async fn close(mut self) {
        self.say_goodbye().await;
        self.send_end().await;
        self.expect_end().await;
    }
}
