//! Reading the header that a proxy sends first.

use tokio::io::{AsyncRead, AsyncReadExt};

use super::entrance::NotAdmitted;
use crate::connection::Endpoints;
use crate::proxy_protocol::{Header, Progress};

/// Reads a header and not one byte more: what follows is the client's. None when the proxy speaks for itself.
pub(super) async fn read_header(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Option<Endpoints>, NotAdmitted> {
    let mut bytes = Vec::new();
    loop {
        match Header::decode(&bytes)? {
            Progress::Needs(more) => {
                let have = bytes.len();
                bytes.resize(have + more, 0);
                stream.read_exact(&mut bytes[have..]).await?;
            }
            Progress::Complete(Header::Proxied { peer, local }) => {
                return Ok(Some(Endpoints { peer, local }));
            }
            Progress::Complete(Header::Local) => return Ok(None),
        }
    }
}
