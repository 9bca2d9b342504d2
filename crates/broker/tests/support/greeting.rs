//! The handshake of a client, each part of which a test may choose.

use leveret_amqp_codec::method::connection;
use leveret_amqp_codec::{ProtocolHeader, RawTable};
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
        let mut wire = self.authenticate(broker).await;
        wire.expect_on(0, "connection.tune").await;
        self.tune(&mut wire).await;
        self.open(&mut wire).await;
        wire.expect_on(0, "connection.open-ok").await;
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
        wire.send_bytes(&self.header).await;
        wire.expect_on(0, "connection.start").await;
        wire.send_on(0, &self.start_ok(&self.client_properties()))
            .await;
        wire
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
