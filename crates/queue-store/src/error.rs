//! What a queue refuses.

/// Why a consumer was not admitted.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConsumeError {
    /// Somebody consumes alone, or the new consumer wants to and cannot: others are there, or the
    /// queue has a single active consumer. AMQP answers 403 `ACCESS_REFUSED`.
    #[error("queue in exclusive use")]
    ExclusiveUse,
}

/// The id names no delivery that is waiting to be settled: it was settled before, or belongs to
/// another queue.
///
/// For an AMQP client this is its own mistake, 406 `PRECONDITION_FAILED`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("unknown delivery")]
pub struct UnknownDelivery;
