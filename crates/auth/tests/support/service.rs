//! A small HTTP service on a free port of loopback, for tests: each connection has a thread, and each request goes to a
//! function of the test. It ends with the process.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A request of GET or POST.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// The fields of the query, or of the form in the body.
    pub(crate) fields: BTreeMap<String, String>,
    /// By names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
}

impl Request {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }
}

/// What the service does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// Answers with this status and body.
    Answer(u16, Vec<u8>),
    /// Answers with these bytes, of whatever kind, and closes the connection.
    Bytes(Vec<u8>),
    /// Says nothing until the client goes away.
    Silence,
    /// Begins an answer, and sends a byte of it whenever the last one has been taken, without an end.
    Endless,
    /// Closes the connection without a word.
    Close,
}

impl Reply {
    pub(crate) fn ok(text: &str) -> Self {
        Self::Answer(200, text.as_bytes().to_vec())
    }
}

type Handler = dyn Fn(&Request) -> Reply + Send + Sync;

/// A running service.
#[derive(Debug)]
pub(crate) struct Service {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Service {
    pub(crate) fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        let handler: Arc<Handler> = Arc::new(handler);
        in_background(move || {
            for stream in listener.incoming() {
                counter.fetch_add(1, Ordering::SeqCst);
                let handler = Arc::clone(&handler);
                let stream = stream.unwrap();
                in_background(move || drop(serve(stream, &*handler)));
            }
        });
        Self {
            address,
            connections,
        }
    }

    /// The address of a path that begins with `/`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// How many connections there have been.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// An address at which nobody listens.
pub(crate) fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

fn serve(stream: TcpStream, handler: &Handler) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    while let Some(request) = read_request(&mut reader)? {
        match handler(&request) {
            Reply::Answer(status, body) => {
                let head = format!(
                    "HTTP/1.1 {status} Status\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                writer.write_all(head.as_bytes())?;
                writer.write_all(&body)?;
            }
            Reply::Bytes(bytes) => return writer.write_all(&bytes),
            Reply::Silence => {
                reader.read_to_end(&mut Vec::new())?;
                return Ok(());
            }
            Reply::Endless => {
                writer.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
                loop {
                    writer.write_all(b"400\r\n")?;
                    writer.write_all(&[b'a'; 0x400])?;
                    writer.write_all(b"\r\n")?;
                }
            }
            Reply::Close => return Ok(()),
        }
    }
    Ok(())
}

fn read_request(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    const TLS_HANDSHAKE: u8 = 22;
    if reader.fill_buf()?.first() == Some(&TLS_HANDSHAKE) {
        return Ok(None);
    }
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let method = words.next().unwrap_or_default().to_owned();
    let target = words.next().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut request = Request {
        method,
        path: path.to_owned(),
        fields: decode(query),
        headers: BTreeMap::new(),
    };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(':') else {
            break;
        };
        let value = value.trim().to_owned();
        request.headers.insert(name.to_ascii_lowercase(), value);
    }
    let length = request.headers.get("content-length");
    let length = length.map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    request
        .fields
        .extend(decode(&String::from_utf8(body).unwrap()));
    Ok(Some(request))
}

fn decode(form: &str) -> BTreeMap<String, String> {
    let fields = form.split('&').filter_map(|field| field.split_once('='));
    fields
        .map(|(name, value)| (decode_text(name), decode_text(value)))
        .collect()
}

fn decode_text(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits: Vec<u8> = rest.by_ref().take(2).collect();
                u8::from_str_radix(str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            byte => byte,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[expect(
    clippy::disallowed_methods,
    reason = "a service is a program of its own that happens to run in the test's process"
)]
pub(crate) fn in_background(work: impl FnOnce() + Send + 'static) {
    std::thread::spawn(work);
}
