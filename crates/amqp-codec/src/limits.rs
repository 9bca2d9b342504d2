//! What a peer may ask of us.

/// How large the things a peer sends may be.
///
/// Every limit is finite by default. A length is compared with its limit when it is announced, before the bytes
/// behind it are waited for.
///
/// ```
/// use leveret_amqp_codec::Limits;
///
/// // Until tune-ok a broker takes small frames only.
/// let handshake = Limits { frame_size_max: 8_192, ..Limits::default() };
/// assert_eq!(handshake.table_depth_max, Limits::default().table_depth_max);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// The largest frame in bytes, the header of 7 and the end octet included: what connection.tune calls frame-max.
    ///
    /// As RabbitMQ does, decoding lets a frame have 8 bytes more than this, because several clients forget that
    /// frame-max counts the frame's own overhead. Encoding keeps to the limit.
    pub frame_size_max: u32,

    /// How many tables and arrays may stand inside one another, the outermost counted.
    pub table_depth_max: u8,

    /// The largest body of a message in bytes, over all of its frames.
    pub body_size_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // What RabbitMQ proposes in connection.tune.
            frame_size_max: 131_072,
            // Decoding recurses once a level, so this bounds the stack. The deepest tables that brokers and clients
            // make of themselves are three levels (headers, the array x-death, its tables); JSON documents sent as
            // headers reach ten or so. 32 leaves room for both and costs a few KiB of stack at the worst.
            table_depth_max: 32,
            // RabbitMQ's largest message, 512 MiB.
            body_size_max: 536_870_912,
        }
    }
}
