//! Getting messages out of the log once it is known which of them are needed.
//!
//! Most messages that a log has are gone, or in pages, as is found further on in it. So while it is read it is only noted where
//! each stands; those that are left are read afterwards, in the order in which they stand there.

use std::io;
use std::num::NonZeroU64;
use std::sync::Arc;

use super::error::{Damage, OpenError};
use super::load::io_error;
use super::loose::{LogPlace, Loose};
use super::message_format::take_message;
use super::names::FileName;
use super::wire::Reader;
use crate::{Message, OpenMode, PagedMessage, Storage, StorageFile, Stored};

/// How much of a file is read at once: thousands of small messages.
const WINDOW_LEN: usize = 256 << 10;

/// Reads the messages of queues that are nowhere but in the log: for each queue in ascending order of numbers.
///
/// # Errors
///
/// When a file cannot be read, or is not any more what it was.
pub(super) fn fetch(
    storage: &dyn Storage,
    queues: &[&Loose],
) -> Result<Vec<Vec<PagedMessage>>, OpenError> {
    let mut wanted: Vec<(LogPlace, usize, NonZeroU64)> = Vec::new();
    let mut found = Vec::with_capacity(queues.len());
    for (queue, loose) in queues.iter().enumerate() {
        let places = loose
            .iter()
            .filter_map(|it| Some((it.place?, queue, it.number)));
        wanted.extend(places);
        found.push(Vec::with_capacity(loose.len()));
    }
    wanted.sort_unstable();
    let mut window: Option<Window> = None;
    // One that entered many queues stands there once.
    let mut last: Option<(LogPlace, Message)> = None;
    for (place, queue, number) in wanted {
        let message = match &last {
            Some((at, message)) if *at == place => message.clone(),
            _ => {
                let window = match &mut window {
                    Some(window) if window.name == FileName::Log(place.file) => window,
                    _ => window.insert(Window::open(storage, place.file)?),
                };
                window.message_at(place.offset.get().into())?
            }
        };
        last = Some((place, message.clone()));
        let loose = queues.get(queue).and_then(|loose| loose.get(number));
        if let (Some(loose), Some(messages)) = (loose, found.get_mut(queue)) {
            messages.push(PagedMessage {
                message,
                stored: Some(Stored { number, home: None }),
                deadline: loose.deadline,
                delivery_count: loose.delivery_count,
            });
        }
    }
    for messages in &mut found {
        // They nearly are: one that entered several queues stands before what came into others meanwhile.
        messages.sort_by_key(|it| it.stored.map(|stored| stored.number));
    }
    Ok(found)
}

/// A part of a file of the log.
struct Window {
    name: FileName,
    file: Arc<dyn StorageFile>,
    file_len: u64,
    start: u64,
    bytes: Vec<u8>,
    scratch: Vec<u8>,
}

impl Window {
    fn open(storage: &dyn Storage, number: u32) -> Result<Self, OpenError> {
        let name = FileName::Log(number);
        let opened = storage.open(&name.to_string(), OpenMode::Existing);
        let file = opened.map_err(io_error(name))?;
        let file_len = file.len().map_err(io_error(name))?;
        Ok(Self {
            name,
            file,
            file_len,
            start: 0,
            bytes: Vec::new(),
            scratch: Vec::new(),
        })
    }

    /// The message that stands at this place. It has been looked at before, so that it is there and makes sense.
    fn message_at(&mut self, offset: u64) -> Result<Message, OpenError> {
        let mut len = WINDOW_LEN;
        loop {
            if let Some(message) = self.take(offset) {
                return Ok(message);
            }
            if self.start == offset && self.end() == self.file_len {
                return Err(OpenError::Damaged(Damage {
                    file: self.name.to_string(),
                    offset,
                    what: "a message is not there any more that was there a moment ago".to_owned(),
                }));
            }
            // It begins before what is in memory, or ends behind it.
            self.read(offset, len).map_err(io_error(self.name))?;
            len = len.saturating_mul(2);
        }
    }

    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    fn take(&mut self, offset: u64) -> Option<Message> {
        let at = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        let bytes = self.bytes.get(at..)?;
        take_message(&mut Reader::new(bytes), &mut self.scratch).ok()
    }

    fn read(&mut self, offset: u64, len: usize) -> io::Result<()> {
        let left = usize::try_from(self.file_len.saturating_sub(offset)).unwrap_or(usize::MAX);
        self.start = offset;
        self.bytes.resize(len.min(left), 0);
        self.file.read_exact_at(&mut self.bytes, offset)
    }
}
