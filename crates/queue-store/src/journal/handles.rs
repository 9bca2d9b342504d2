//! Files of pages that are open.

use std::io;
use std::sync::Arc;

use super::names::FileName;
use super::page::PagePlace;
use crate::storage::is_out_of_files;
use crate::{OpenMode, Storage, StorageFile};

/// How many files stay open for reading: a gigabyte of pages with the default size. Any number may
/// exist, and a process may not open any number.
const OPEN_MAX: usize = 16;

/// Some open files, the one that was used last at the end.
#[derive(Debug, Default)]
pub(super) struct Handles(Vec<(FileName, Arc<dyn StorageFile>)>);

impl Handles {
    /// A file that exists. Where no more can be opened others are closed for it.
    pub(super) fn get(
        &mut self,
        storage: &dyn Storage,
        file: FileName,
    ) -> io::Result<Arc<dyn StorageFile>> {
        if let Some(at) = self.0.iter().position(|(open, _)| *open == file) {
            let open = self.0.remove(at);
            let handle = Arc::clone(&open.1);
            self.0.push(open);
            return Ok(handle);
        }
        let name = file.to_string();
        let handle = loop {
            match storage.open(&name, OpenMode::Existing) {
                Err(error) if is_out_of_files(&error) && !self.0.is_empty() => {
                    self.0.remove(0);
                }
                opened => break opened?,
            }
        };
        self.add(file, Arc::clone(&handle));
        Ok(handle)
    }

    pub(super) fn add(&mut self, file: FileName, handle: Arc<dyn StorageFile>) {
        if self.0.len() >= OPEN_MAX {
            self.0.remove(0);
        }
        self.0.push((file, handle));
    }

    /// Closes a file, which is about to be removed.
    pub(super) fn close(&mut self, file: FileName) {
        self.0.retain(|(open, _)| *open != file);
    }
}

/// Reads what stands at a place, if the file is long enough.
///
/// # Errors
///
/// When it is not, before any memory is used for what it has not.
pub(super) fn read_place(file: &dyn StorageFile, place: PagePlace) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    read_place_into(file, place, &mut bytes)?;
    Ok(bytes)
}

/// As [`read_place`], in the place of what is in `bytes`.
pub(super) fn read_place_into(
    file: &dyn StorageFile,
    place: PagePlace,
    bytes: &mut Vec<u8>,
) -> io::Result<()> {
    let too_short = || io::Error::from(io::ErrorKind::UnexpectedEof);
    if place.end() > file.len()? {
        return Err(too_short());
    }
    // What is there already is not cleared before it is written over.
    bytes.resize(usize::try_from(place.len).map_err(|_| too_short())?, 0);
    file.read_exact_at(bytes, place.offset)
}
