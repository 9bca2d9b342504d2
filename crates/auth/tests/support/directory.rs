//! A small directory that speaks LDAP on a free port of loopback, for tests: binds, and searches for one value of one
//! attribute. It ends with the process.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::service::in_background;

/// What the directory does with the next messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    #[default]
    Answers,
    /// Closes each connection when it is asked something.
    Closes,
    /// Says nothing.
    Silent,
    /// Sends what is not LDAP.
    Babbles,
    /// Answers everything with this result code.
    Fails(u8),
}

#[derive(Debug, Default)]
struct State {
    /// Distinguished names, and their attributes.
    entries: Vec<(String, Vec<(String, String)>)>,
    mood: Mood,
    connections: usize,
    /// The names that have logged in, or tried.
    binds: Vec<String>,
}

/// A running directory. Passwords are values of `userPassword`.
#[derive(Debug)]
pub(crate) struct Directory {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Directory {
    pub(crate) fn start(entries: &[(&str, &[(&str, &str)])]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let entries = entries.iter().map(|(dn, attributes)| {
            let attributes = attributes.iter();
            let attributes = attributes.map(|(name, value)| (name.to_string(), value.to_string()));
            ((*dn).to_owned(), attributes.collect())
        });
        let state = Arc::new(Mutex::new(State {
            entries: entries.collect(),
            ..State::default()
        }));
        let shared = Arc::clone(&state);
        in_background(move || {
            for stream in listener.incoming() {
                shared.lock().unwrap().connections += 1;
                let (stream, shared) = (stream.unwrap(), Arc::clone(&shared));
                in_background(move || drop(serve(stream, &shared)));
            }
        });
        Self { address, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("ldap://{}", self.address)
    }

    pub(crate) fn set_mood(&self, mood: Mood) {
        self.state.lock().unwrap().mood = mood;
    }

    pub(crate) fn connections(&self) -> usize {
        self.state.lock().unwrap().connections
    }

    /// The names that have logged in or tried since this was asked last.
    pub(crate) fn binds(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().binds)
    }
}

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const ENUMERATED: u8 = 0x0a;
const BIND: u8 = 0x60;
const BIND_DONE: u8 = 0x61;
const UNBIND: u8 = 0x42;
const SEARCH: u8 = 0x63;
const SEARCH_ENTRY: u8 = 0x64;
const SEARCH_DONE: u8 = 0x65;
const EXTENDED: u8 = 0x77;
const EXTENDED_DONE: u8 = 0x78;
const EQUALITY: u8 = 0xa3;

const SUCCESS: u8 = 0;
const PROTOCOL_ERROR: u8 = 2;
const NO_SUCH_OBJECT: u8 = 32;
const INVALID_CREDENTIALS: u8 = 49;
const BASE_OBJECT: u8 = 0;

fn serve(mut stream: TcpStream, state: &Mutex<State>) -> io::Result<()> {
    loop {
        let message = read_element(&mut stream)?;
        let mut parts = Parts(&message);
        let (_, id) = parts.next();
        let (operation, content) = parts.next();
        let mut state = state.lock().unwrap();
        match state.mood {
            Mood::Closes => return Ok(()),
            Mood::Silent => continue,
            Mood::Babbles => return stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
            Mood::Answers | Mood::Fails(_) => {}
        }
        let answers = match (operation, state.mood) {
            (UNBIND, _) => return Ok(()),
            (BIND, Mood::Fails(code)) => vec![result(BIND_DONE, code)],
            (SEARCH, Mood::Fails(code)) => vec![result(SEARCH_DONE, code)],
            (BIND, _) => vec![result(BIND_DONE, bind(&mut state, content))],
            (SEARCH, _) => search(&state, content),
            (EXTENDED, _) => vec![result(EXTENDED_DONE, PROTOCOL_ERROR)],
            (other, _) => panic!("operation {other:#x} is not known"),
        };
        drop(state);
        for answer in answers {
            let message = [element(INTEGER, id), answer].concat();
            stream.write_all(&element(SEQUENCE, &message))?;
        }
    }
}

fn bind(state: &mut State, content: &[u8]) -> u8 {
    let mut parts = Parts(content);
    parts.next();
    let dn = parts.text();
    let password = parts.text();
    state.binds.push(dn.clone());
    let entry = state.entries.iter().find(|(name, _)| *name == dn);
    let is_right = entry
        .is_some_and(|(_, attributes)| attributes.contains(&("userPassword".to_owned(), password)));
    if is_right {
        SUCCESS
    } else {
        INVALID_CREDENTIALS
    }
}

fn search(state: &State, content: &[u8]) -> Vec<Vec<u8>> {
    let mut parts = Parts(content);
    let base = parts.text();
    let (_, scope) = parts.next();
    for _ in 0..4 {
        parts.next();
    }
    let (kind, filter) = parts.next();
    let wanted = (kind == EQUALITY).then(|| {
        let mut parts = Parts(filter);
        (parts.text(), parts.text())
    });
    if !state.entries.iter().any(|(dn, _)| *dn == base) {
        return vec![result(SEARCH_DONE, NO_SUCH_OBJECT)];
    }
    let is_base = scope == [BASE_OBJECT];
    let found = state.entries.iter().filter(|(dn, attributes)| {
        let is_here = if is_base {
            *dn == base
        } else {
            dn.ends_with(&base)
        };
        is_here
            && wanted
                .as_ref()
                .is_none_or(|wanted| attributes.contains(wanted))
    });
    let entries = found.map(|(dn, attributes)| {
        let attributes = attributes.iter().map(|(name, value)| {
            let values = element(SET, &element(OCTETS, value.as_bytes()));
            element(
                SEQUENCE,
                &[element(OCTETS, name.as_bytes()), values].concat(),
            )
        });
        let attributes = element(SEQUENCE, &attributes.collect::<Vec<_>>().concat());
        element(
            SEARCH_ENTRY,
            &[element(OCTETS, dn.as_bytes()), attributes].concat(),
        )
    });
    entries.chain([result(SEARCH_DONE, SUCCESS)]).collect()
}

fn result(kind: u8, code: u8) -> Vec<u8> {
    let nothing = element(OCTETS, b"");
    element(
        kind,
        &[element(ENUMERATED, &[code]), nothing.clone(), nothing].concat(),
    )
}

fn element(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[kind, 0x82, length[0], length[1]], content].concat()
}

/// The content of the next element of a stream.
fn read_element(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = [0; 2];
    stream.read_exact(&mut head)?;
    let mut length = usize::from(head[1]);
    if length >= 0x80 {
        let mut more = vec![0; length - 0x80];
        stream.read_exact(&mut more)?;
        length = number(&more);
    }
    let mut content = vec![0; length];
    stream.read_exact(&mut content)?;
    Ok(content)
}

fn number(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .fold(0, |sum, byte| sum << 8 | usize::from(*byte))
}

/// The elements of what has been read.
struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    fn next(&mut self) -> (u8, &'a [u8]) {
        let (kind, mut length, mut rest) = (self.0[0], usize::from(self.0[1]), &self.0[2..]);
        if length >= 0x80 {
            let (more, behind) = rest.split_at(length - 0x80);
            (length, rest) = (number(more), behind);
        }
        let (content, rest) = rest.split_at(length);
        self.0 = rest;
        (kind, content)
    }

    fn text(&mut self) -> String {
        String::from_utf8(self.next().1.to_vec()).unwrap()
    }
}
