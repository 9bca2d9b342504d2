//! What there is in a broker at the moment, for operators: connections, queues, exchanges, bindings, consumers.
//!
//! These are copies that were made when they were asked for. To make them takes locks that clients need, for a moment
//! each: they are for people and for what looks now and then, not for programs that ask all the time.

mod connections;
mod definitions;

pub(crate) use connections::Survey;
pub use connections::{ChannelOverview, ConnectionOverview, ConnectionState};
pub use definitions::{BindingOverview, ConsumerOverview, ExchangeOverview, QueueOverview};
