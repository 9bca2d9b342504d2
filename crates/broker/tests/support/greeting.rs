//! The handshake of a client, each part of which a test may choose.

use leveret_amqp_codec::method::{channel, connection};
use leveret_amqp_codec::{ChannelId, ProtocolHeader, RawTable, write_method};
use leveret_broker::{Broker, Table, Value};

use super::wire::Wire;
use super::{short, table};

/// What a client says from its first byte to connection.open. The default is what a good client says.
#[derive(Clone, Debug)]
pub(crate) struct Greeting {
    pub(crate) header: [u8; 8],
    pub(crate) capabilities: Vec<&'static str>,
    pub(crate) mechanism: &'static str,
    pub(crate) response: Vec<u8>,
    pub(crate) channel_max: u16,
    pub(crate) frame_max: u32,
    pub(crate) heartbeat: u16,
    pub(crate) vhost: &'static str,
}

impl Default for Greeting {
    fn default() -> Self {
        Self {
            header: ProtocolHeader::AMQP_0_9_1,
            capabilities: vec![
                "consumer_cancel_notify",
                "connection.blocked",
                "authentication_failure_close",
                "basic.nack",
                "publisher_confirms",
            ],
            mechanism: "PLAIN",
            response: b"\0guest\0guest".to_vec(),
            channel_max: 2047,
            frame_max: 131_072,
            heartbeat: 0,
            vhost: "/",
        }
    }
}

impl Greeting {
    /// Connects and goes through the whole handshake; no channel is open yet.
    pub(crate) async fn connect(&self, broker: &Broker) -> Wire {
        let mut wire = self.ask_to_open(broker).await;
        wire.expect_on(0, "connection.open-ok").await;
        wire
    }

    /// The same up to connection.open, and does not wait for what the broker says to that.
    pub(crate) async fn ask_to_open(&self, broker: &Broker) -> Wire {
        let mut wire = self.authenticate(broker).await;
        wire.expect_on(0, "connection.tune").await;
        self.tune(&mut wire).await;
        self.open(&mut wire).await;
        wire
    }

    /// Connects, goes through the whole handshake and opens channel 1.
    pub(crate) async fn open_channel(&self, broker: &Broker) -> Wire {
        let mut wire = self.connect(broker).await;
        wire.open_channel(1).await;
        wire
    }

    /// Connects and logs in, and does not wait for what the broker says to that.
    pub(crate) async fn authenticate(&self, broker: &Broker) -> Wire {
        let mut wire = Wire::dial(broker).await;
        self.log_in(&mut wire).await;
        wire
    }

    /// Logs in, and does not wait for what the broker says to that.
    pub(crate) async fn log_in(&self, wire: &mut Wire) {
        wire.send_bytes(&self.header).await;
        wire.expect_on(0, "connection.start").await;
        wire.send_on(0, &self.start_ok(&self.client_properties()))
            .await;
    }

    /// Goes through the whole handshake on a connection that is there, and opens channel 1.
    pub(crate) async fn shake_hands(&self, wire: &mut Wire) {
        self.log_in(wire).await;
        wire.expect_on(0, "connection.tune").await;
        self.tune(wire).await;
        self.open(wire).await;
        wire.expect_on(0, "connection.open-ok").await;
        wire.open_channel(1).await;
    }

    /// All that a client says from its first byte until channel 1 is open, for one that does not wait for answers.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.header.to_vec();
        let properties = self.client_properties();
        let tune_ok = connection::TuneOk {
            channel_max: self.channel_max,
            frame_max: self.frame_max,
            heartbeat: self.heartbeat,
        };
        let open = connection::Open {
            virtual_host: short(self.vhost),
        };
        write_method(
            &mut bytes,
            ChannelId::CONNECTION,
            &self.start_ok(&properties),
        );
        write_method(&mut bytes, ChannelId::CONNECTION, &tune_ok);
        write_method(&mut bytes, ChannelId::CONNECTION, &open);
        write_method(&mut bytes, ChannelId(1), &channel::Open {});
        bytes
    }

    pub(crate) async fn tune(&self, wire: &mut Wire) {
        let tune_ok = connection::TuneOk {
            channel_max: self.channel_max,
            frame_max: self.frame_max,
            heartbeat: self.heartbeat,
        };
        wire.frame_size_max = self.frame_max;
        wire.send_on(0, &tune_ok).await;
    }

    pub(crate) async fn open(&self, wire: &mut Wire) {
        wire.send_on(
            0,
            &connection::Open {
                virtual_host: short(self.vhost),
            },
        )
        .await;
    }

    pub(crate) fn client_properties(&self) -> Vec<u8> {
        let claims: Table = self.capabilities.iter().map(|name| (*name, true)).collect();
        table([
            ("product", Value::from("a test")),
            ("capabilities", Value::Table(claims)),
        ])
        .to_bytes()
    }

    pub(crate) fn start_ok<'a>(&'a self, client_properties: &'a [u8]) -> connection::StartOk<'a> {
        connection::StartOk {
            client_properties: RawTable::from_validated_bytes(client_properties),
            mechanism: short(self.mechanism),
            response: &self.response,
            locale: short("en_US"),
        }
    }
}
