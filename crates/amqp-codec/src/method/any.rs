//! Any method.

use super::{access, basic, channel, confirm, connection, exchange, queue, tx};
use crate::encode::write_method;
use crate::read::Reader;
use crate::{ChannelId, DecodeMethod, EncodeMethod, Limits, MethodError};

/// Declares [`Method`] and what differs by variant.
macro_rules! methods {
    ($($variant:ident($module:ident::$name:ident $(<$lifetime:lifetime>)?),)*) => {
        /// Any method of any class, in either direction.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        #[non_exhaustive]
        pub enum Method<'a> {
            $(
                #[doc = concat!("See [`", stringify!($module), "::", stringify!($name), "`].")]
                $variant($module::$name $(<$lifetime>)?),
            )*
        }

        impl<'a> Method<'a> {
            /// Reads the payload of a method frame.
            ///
            /// # Errors
            ///
            /// When the class or method is unknown, or the arguments are malformed or of another length than the
            /// payload.
            #[inline]
            pub fn decode(payload: &'a [u8], limits: &Limits) -> Result<Self, MethodError> {
                let mut reader = Reader::new(payload);
                let (Ok(class_id), Ok(method_id)) = (reader.u16(), reader.u16()) else {
                    return Err(MethodError::NoMethod { length: payload.len() });
                };
                let arguments = reader.rest();
                match (class_id, method_id) {
                    $(($module::$name::CLASS_ID, $module::$name::METHOD_ID) => {
                        $module::$name::decode_arguments(arguments, limits).map(Self::$variant)
                    })*
                    _ => Err(MethodError::UnknownMethod { class_id, method_id }),
                }
            }

            /// The number of the method's class.
            #[must_use]
            pub fn class_id(&self) -> u16 {
                match self {
                    $(Self::$variant(_) => $module::$name::CLASS_ID,)*
                }
            }

            /// The number of the method within its class.
            #[must_use]
            pub fn method_id(&self) -> u16 {
                match self {
                    $(Self::$variant(_) => $module::$name::METHOD_ID,)*
                }
            }

            /// The name as AMQP has it, such as `basic.publish`.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $module::$name::NAME,)*
                }
            }

            /// Writes the payload of a method frame: class, method and arguments. The inverse of
            /// [`decode`](Self::decode).
            pub fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.class_id().to_be_bytes());
                out.extend_from_slice(&self.method_id().to_be_bytes());
                match self {
                    $(Self::$variant(method) => method.encode_arguments(out),)*
                }
            }

            /// Writes a method frame, as [`write_method`] does.
            pub fn write_frame(&self, out: &mut Vec<u8>, channel: ChannelId) {
                match self {
                    $(Self::$variant(method) => write_method(out, channel, method),)*
                }
            }
        }

        $(
            impl<'a> From<$module::$name $(<$lifetime>)?> for Method<'a> {
                fn from(method: $module::$name $(<$lifetime>)?) -> Self {
                    Self::$variant(method)
                }
            }
        )*
    };
}

methods! {
    ConnectionStart(connection::Start<'a>),
    ConnectionStartOk(connection::StartOk<'a>),
    ConnectionSecure(connection::Secure<'a>),
    ConnectionSecureOk(connection::SecureOk<'a>),
    ConnectionTune(connection::Tune),
    ConnectionTuneOk(connection::TuneOk),
    ConnectionOpen(connection::Open<'a>),
    ConnectionOpenOk(connection::OpenOk),
    ConnectionClose(connection::Close<'a>),
    ConnectionCloseOk(connection::CloseOk),
    ConnectionBlocked(connection::Blocked<'a>),
    ConnectionUnblocked(connection::Unblocked),
    ConnectionUpdateSecret(connection::UpdateSecret<'a>),
    ConnectionUpdateSecretOk(connection::UpdateSecretOk),
    ChannelOpen(channel::Open),
    ChannelOpenOk(channel::OpenOk),
    ChannelFlow(channel::Flow),
    ChannelFlowOk(channel::FlowOk),
    ChannelClose(channel::Close<'a>),
    ChannelCloseOk(channel::CloseOk),
    AccessRequest(access::Request<'a>),
    AccessRequestOk(access::RequestOk),
    ExchangeDeclare(exchange::Declare<'a>),
    ExchangeDeclareOk(exchange::DeclareOk),
    ExchangeDelete(exchange::Delete<'a>),
    ExchangeDeleteOk(exchange::DeleteOk),
    ExchangeBind(exchange::Bind<'a>),
    ExchangeBindOk(exchange::BindOk),
    ExchangeUnbind(exchange::Unbind<'a>),
    ExchangeUnbindOk(exchange::UnbindOk),
    QueueDeclare(queue::Declare<'a>),
    QueueDeclareOk(queue::DeclareOk<'a>),
    QueueBind(queue::Bind<'a>),
    QueueBindOk(queue::BindOk),
    QueuePurge(queue::Purge<'a>),
    QueuePurgeOk(queue::PurgeOk),
    QueueDelete(queue::Delete<'a>),
    QueueDeleteOk(queue::DeleteOk),
    QueueUnbind(queue::Unbind<'a>),
    QueueUnbindOk(queue::UnbindOk),
    BasicQos(basic::Qos),
    BasicQosOk(basic::QosOk),
    BasicConsume(basic::Consume<'a>),
    BasicConsumeOk(basic::ConsumeOk<'a>),
    BasicCancel(basic::Cancel<'a>),
    BasicCancelOk(basic::CancelOk<'a>),
    BasicPublish(basic::Publish<'a>),
    BasicReturn(basic::Return<'a>),
    BasicDeliver(basic::Deliver<'a>),
    BasicGet(basic::Get<'a>),
    BasicGetOk(basic::GetOk<'a>),
    BasicGetEmpty(basic::GetEmpty),
    BasicAck(basic::Ack),
    BasicReject(basic::Reject),
    BasicRecoverAsync(basic::RecoverAsync),
    BasicRecover(basic::Recover),
    BasicRecoverOk(basic::RecoverOk),
    BasicNack(basic::Nack),
    ConfirmSelect(confirm::Select),
    ConfirmSelectOk(confirm::SelectOk),
    TxSelect(tx::Select),
    TxSelectOk(tx::SelectOk),
    TxCommit(tx::Commit),
    TxCommitOk(tx::CommitOk),
    TxRollback(tx::Rollback),
    TxRollbackOk(tx::RollbackOk),
}

impl Method<'_> {
    /// Whether a content header, and a body unless it is empty, follow this method.
    #[must_use]
    pub fn has_content(&self) -> bool {
        matches!(
            self,
            Self::BasicPublish(_)
                | Self::BasicReturn(_)
                | Self::BasicDeliver(_)
                | Self::BasicGetOk(_)
        )
    }
}
