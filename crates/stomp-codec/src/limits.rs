/// How large the parts of a frame may be that a [`Decoder`](crate::Decoder) accepts.
///
/// All sizes are bytes as they stand on the wire, escapes not yet resolved. A part that is exactly as large as its limit
/// is accepted. The defaults are those of RabbitMQ, so that whatever a client could send there it can send here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// The command line without its line feed. Default 32: the longest command has 11 letters, and a peer that does not
    /// speak STOMP at all is usually found out here.
    pub command_size_max: usize,
    /// The number of headers. Default 100.
    pub header_count_max: usize,
    /// One header line without its line feed. Default 100 KiB: room for the largest tokens and cookies that travel in
    /// headers.
    pub header_line_size_max: usize,
    /// The body. Default 4 MiB; a broker lowers it to the largest message it stores.
    pub body_size_max: usize,
    /// The whole frame from the first letter of the command to its NUL. Default 4 MiB, so that with the other defaults
    /// it is this limit that a large body meets. It also bounds what a connection makes its owner buffer.
    pub frame_size_max: usize,
}

impl Limits {
    /// The defaults with frames of at most 64 KiB, for peers that have not logged in yet: enough for any CONNECT. Whoever
    /// expects thousands of strangers that send half of one may want less.
    pub const BEFORE_LOGIN: Self = Self {
        frame_size_max: 64 * 1024,
        ..Self::DEFAULT
    };

    /// The default as a constant.
    const DEFAULT: Self = Self {
        command_size_max: 32,
        header_count_max: 100,
        header_line_size_max: 100 * 1024,
        body_size_max: 4 * 1024 * 1024,
        frame_size_max: 4 * 1024 * 1024,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
