//! Files on a disk that fails in every way that disks do, on purpose and repeatably.

mod contents;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::memory::{position, read_image, write_image};
use super::{DirectoryLock, OpenMode, Storage, StorageFile};
use contents::{Change, Contents, below};

/// A directory in memory that remembers what of it is safe, and can lose the rest.
///
/// For tests of whatever keeps something on disk. Clones share their files. What happens follows
/// from the seed and the calls alone.
///
/// ```
/// use leveret_queue_store::{FaultyStorage, OpenMode, Storage};
///
/// let storage = FaultyStorage::new(7);
/// let file = storage.open("a", OpenMode::Create)?;
/// file.write_all_at(b"safe", 0)?;
/// file.sync_data()?;
/// storage.sync_directory()?;
/// file.write_all_at(b"gone, perhaps", 4)?;
/// storage.crash();
///
/// assert!(file.len().is_err(), "whoever had it open has died");
/// let mut found = [0; 4];
/// storage.open("a", OpenMode::Existing)?.read_exact_at(&mut found, 0)?;
/// assert_eq!(&found, b"safe");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct FaultyStorage {
    disk: Arc<Mutex<Disk>>,
}

#[derive(Debug)]
struct Disk {
    random: u64,
    /// Counts crashes. A handle from before the last one is dead.
    life: u64,
    locked: bool,
    files: Vec<Contents>,
    names: BTreeMap<String, usize>,
    safe_names: BTreeMap<String, usize>,
    /// What was done to names since they were last synced.
    name_changes: Vec<NameChange>,
    room_bytes: Option<u64>,
    failing_syncs: u32,
    failing_writes: u32,
    failing_opens: u32,
    /// How many more changes succeed before the power goes.
    changes_left: Option<u64>,
    reads: u64,
    writes: u64,
    syncs: u64,
}

#[derive(Clone, Debug)]
enum NameChange {
    Set(String, usize),
    Removed(String),
    Renamed(String, String),
}

impl FaultyStorage {
    /// An empty directory without any fault so far.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            disk: Arc::new(Mutex::new(Disk {
                random: seed,
                life: 0,
                locked: false,
                files: Vec::new(),
                names: BTreeMap::new(),
                safe_names: BTreeMap::new(),
                name_changes: Vec::new(),
                room_bytes: None,
                failing_syncs: 0,
                failing_writes: 0,
                failing_opens: 0,
                changes_left: None,
                reads: 0,
                writes: 0,
                syncs: 0,
            })),
        }
    }

    /// Cuts the power. Of each write that was not synced a part is kept: all of it, nothing, or
    /// some of its sectors, whatever became of those before it. Of the changes to names the first
    /// few are kept. Handles and the lock are dead, the disk is as large as it was, and nothing
    /// fails any more.
    pub fn crash(&self) {
        let mut disk = self.disk.lock();
        let disk = &mut *disk;
        for file in &mut disk.files {
            file.lose_some(&mut disk.random);
            file.image.clone_from(&file.safe);
        }
        let kept = below(&mut disk.random, disk.name_changes.len() + 1);
        for change in disk.name_changes.drain(..).take(kept) {
            change.apply(&mut disk.safe_names);
        }
        disk.names.clone_from(&disk.safe_names);
        disk.start_anew();
    }

    /// Ends the process that uses the files, but not the system: everything written is kept.
    pub fn kill(&self) {
        self.disk.lock().start_anew();
    }

    /// Has `changes` more writes, syncs and changes of names succeed, and then nothing that would
    /// change anything, until [`crash`](Self::crash): the power goes in the middle of what
    /// somebody does.
    pub fn cut_power_after(&self, changes: u64) {
        self.disk.lock().changes_left = Some(changes);
    }

    /// Makes the next `count` syncs fail, of files and of the directory. What they should have made
    /// safe is from then on safe or lost, as it happens, and no later sync changes that.
    pub fn fail_syncs(&self, count: u32) {
        self.disk.lock().failing_syncs = count;
    }

    /// Makes the next `count` writes fail with an error that is not a full disk.
    pub fn fail_writes(&self, count: u32) {
        self.disk.lock().failing_writes = count;
    }

    /// Makes the next `count` attempts to open a file fail, as they do where too many files are open.
    pub fn fail_opens(&self, count: u32) {
        self.disk.lock().failing_opens = count;
    }

    /// Leaves room for this many bytes beyond what the files have now; `None` for any number.
    pub fn leave_room(&self, bytes: Option<u64>) {
        let mut disk = self.disk.lock();
        disk.room_bytes = bytes.map(|bytes| bytes.saturating_add(disk.used_bytes()));
    }

    /// Changes one bit of the byte at `offset` of a file, for good. Says whether there is one.
    pub fn corrupt(&self, name: &str, offset: u64) -> bool {
        let mut disk = self.disk.lock();
        let disk = &mut *disk;
        let bit = 1 << below(&mut disk.random, 8);
        let (Some(&id), Ok(offset)) = (disk.names.get(name), usize::try_from(offset)) else {
            return false;
        };
        let Some(file) = disk.files.get_mut(id) else {
            return false;
        };
        if let Some(byte) = file.safe.get_mut(offset) {
            *byte ^= bit;
        }
        match file.image.get_mut(offset) {
            Some(byte) => {
                *byte ^= bit;
                true
            }
            None => false,
        }
    }

    /// How many reads have succeeded.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.disk.lock().reads
    }

    /// How many writes have succeeded.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.disk.lock().writes
    }

    /// How many syncs of files have succeeded.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.disk.lock().syncs
    }

    fn handle(&self, id: usize, life: u64) -> Arc<dyn StorageFile> {
        Arc::new(FaultyFile {
            disk: Arc::clone(&self.disk),
            id,
            life,
        })
    }
}

impl Storage for FaultyStorage {
    fn lock(&self) -> io::Result<Box<dyn DirectoryLock>> {
        let mut disk = self.disk.lock();
        if disk.locked {
            return Err(io::Error::from(io::ErrorKind::WouldBlock));
        }
        disk.locked = true;
        Ok(Box::new(FaultyLock {
            disk: Arc::clone(&self.disk),
            life: disk.life,
        }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.disk.lock().names.keys().cloned().collect())
    }

    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn StorageFile>> {
        let mut disk = self.disk.lock();
        if disk.failing_opens > 0 {
            disk.failing_opens -= 1;
            return Err(out_of_files());
        }
        let id = match (disk.names.get(name), mode) {
            (Some(id), _) => *id,
            (None, OpenMode::Existing) => return Err(io::Error::from(io::ErrorKind::NotFound)),
            (None, OpenMode::Create | OpenMode::CreateDirect) => {
                disk.spend_power()?;
                let id = disk.files.len();
                disk.files.push(Contents::default());
                disk.change_name(NameChange::Set(name.to_owned(), id));
                id
            }
        };
        Ok(self.handle(id, disk.life))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut disk = self.disk.lock();
        if !disk.names.contains_key(name) {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        }
        disk.spend_power()?;
        disk.change_name(NameChange::Removed(name.to_owned()));
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.disk.lock();
        if !disk.names.contains_key(from) {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        }
        disk.spend_power()?;
        disk.change_name(NameChange::Renamed(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let disk = &mut *disk;
        disk.spend_power()?;
        disk.take_sync_failure()?;
        disk.name_changes.clear();
        disk.safe_names.clone_from(&disk.names);
        Ok(())
    }
}

impl Disk {
    fn start_anew(&mut self) {
        self.life += 1;
        self.locked = false;
        self.room_bytes = None;
        self.failing_syncs = 0;
        self.failing_writes = 0;
        self.failing_opens = 0;
        self.changes_left = None;
    }

    fn spend_power(&mut self) -> io::Result<()> {
        match &mut self.changes_left {
            None => Ok(()),
            Some(0) => Err(io::Error::other("the power is off")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    fn change_name(&mut self, change: NameChange) {
        change.clone().apply(&mut self.names);
        self.name_changes.push(change);
    }

    fn used_bytes(&self) -> u64 {
        let lens = self.names.values().filter_map(|id| self.files.get(*id));
        lens.map(|file| file.image.len() as u64).sum()
    }

    /// How much longer the files may get.
    fn room(&self) -> usize {
        match self.room_bytes {
            None => usize::MAX,
            Some(room) => {
                usize::try_from(room.saturating_sub(self.used_bytes())).unwrap_or(usize::MAX)
            }
        }
    }

    fn take_sync_failure(&mut self) -> io::Result<()> {
        if self.failing_syncs == 0 {
            return Ok(());
        }
        self.failing_syncs -= 1;
        Err(io::Error::other(
            "the disk failed to sync, as it was told to",
        ))
    }
}

impl NameChange {
    fn apply(self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Set(name, id) => {
                names.insert(name, id);
            }
            Self::Removed(name) => {
                names.remove(&name);
            }
            Self::Renamed(from, to) => {
                if let Some(id) = names.remove(&from) {
                    names.insert(to, id);
                }
            }
        }
    }
}

#[derive(Debug)]
struct FaultyLock {
    disk: Arc<Mutex<Disk>>,
    life: u64,
}

impl DirectoryLock for FaultyLock {}

impl Drop for FaultyLock {
    fn drop(&mut self) {
        let mut disk = self.disk.lock();
        if disk.life == self.life {
            disk.locked = false;
        }
    }
}

#[derive(Debug)]
struct FaultyFile {
    disk: Arc<Mutex<Disk>>,
    id: usize,
    life: u64,
}

impl FaultyFile {
    /// Does something to the file, unless the process that opened it has died.
    fn with<R>(&self, f: impl FnOnce(&mut Disk) -> io::Result<R>) -> io::Result<R> {
        let mut disk = self.disk.lock();
        if disk.life != self.life {
            return Err(io::Error::other("opened before the crash"));
        }
        f(&mut disk)
    }
}

fn out_of_files() -> io::Error {
    match super::OUT_OF_FILES.first() {
        Some(code) => io::Error::from_raw_os_error(*code),
        None => io::Error::other("too many files are open"),
    }
}

fn contents(files: &mut [Contents], id: usize) -> io::Result<&mut Contents> {
    let missing = || io::Error::from(io::ErrorKind::NotFound);
    files.get_mut(id).ok_or_else(missing)
}

impl StorageFile for FaultyFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.with(|disk| {
            read_image(&contents(&mut disk.files, self.id)?.image, buffer, offset)?;
            disk.reads += 1;
            Ok(())
        })
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.with(|disk| {
            disk.spend_power()?;
            if disk.failing_writes > 0 {
                disk.failing_writes -= 1;
                return Err(io::Error::other(
                    "the disk failed to write, as it was told to",
                ));
            }
            let room = disk.room();
            let file = contents(&mut disk.files, self.id)?;
            let start = position(offset)?;
            let fits = file.image.len().saturating_add(room).saturating_sub(start);
            let (written, rest) = bytes.split_at(fits.min(bytes.len()));
            write_image(&mut file.image, written, offset)?;
            file.changes.push(Change::Written {
                offset: start,
                bytes: written.to_vec(),
            });
            if !rest.is_empty() {
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            disk.writes += 1;
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|disk| {
            disk.spend_power()?;
            let failure = disk.take_sync_failure();
            let file = contents(&mut disk.files, self.id)?;
            match failure {
                Ok(()) => {
                    file.sync();
                    disk.syncs += 1;
                    Ok(())
                }
                Err(error) => {
                    file.lose_some(&mut disk.random);
                    Err(error)
                }
            }
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.with(|disk| Ok(contents(&mut disk.files, self.id)?.image.len() as u64))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|disk| {
            disk.spend_power()?;
            let room = disk.room();
            let file = contents(&mut disk.files, self.id)?;
            let len = position(len)?;
            if len > file.image.len().saturating_add(room) {
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            file.image.resize(len, 0);
            file.changes.push(Change::Resized(len));
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::contents::SECTOR_LEN;
    use super::*;

    fn contents_of(storage: &FaultyStorage, name: &str) -> Vec<u8> {
        let file = storage.open(name, OpenMode::Existing).unwrap();
        let mut found = vec![0; file.len().unwrap() as usize];
        file.read_exact_at(&mut found, 0).unwrap();
        found
    }

    #[test]
    fn what_was_not_synced_may_be_lost_torn_or_kept() {
        let (mut lost, mut torn, mut kept) = (0, 0, 0);
        for seed in 0..100 {
            let storage = FaultyStorage::new(seed);
            let file = storage.open("a", OpenMode::Create).unwrap();
            storage.sync_directory().unwrap();
            file.write_all_at(&[1; 4 * SECTOR_LEN], 0).unwrap();
            file.sync_data().unwrap();
            file.write_all_at(&[2; 4 * SECTOR_LEN], 0).unwrap();
            storage.crash();
            let found = contents_of(&storage, "a");
            match found.iter().filter(|byte| **byte == 2).count() {
                0 => lost += 1,
                len if len == found.len() => kept += 1,
                len => {
                    assert_eq!(len % SECTOR_LEN, 0);
                    torn += 1;
                }
            }
        }
        assert!(lost > 0 && torn > 0 && kept > 0, "{lost} {torn} {kept}");
    }

    #[test]
    fn a_name_that_was_not_synced_may_be_lost() {
        let found = (0..100).filter(|seed| {
            let storage = FaultyStorage::new(*seed);
            storage.open("a", OpenMode::Create).unwrap();
            storage.crash();
            !storage.list().unwrap().is_empty()
        });
        let found = found.count();
        assert!(found > 0 && found < 100, "{found}");
    }

    #[test]
    fn a_failed_sync_makes_nothing_safe_later() {
        let lost = (0..100).filter(|seed| {
            let storage = FaultyStorage::new(*seed);
            let file = storage.open("a", OpenMode::Create).unwrap();
            storage.sync_directory().unwrap();
            file.write_all_at(b"x", 0).unwrap();
            storage.fail_syncs(1);
            assert!(file.sync_data().is_err());
            assert!(file.sync_data().is_ok());
            storage.crash();
            contents_of(&storage, "a").is_empty()
        });
        assert!(lost.count() > 0);
    }

    #[test]
    fn a_full_disk_takes_what_fits() {
        let storage = FaultyStorage::new(1);
        let file = storage.open("a", OpenMode::Create).unwrap();
        storage.leave_room(Some(3));
        let error = file.write_all_at(b"abcde", 0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(contents_of(&storage, "a"), b"abc");
        file.write_all_at(b"xyz", 0).unwrap();
        storage.leave_room(None);
        file.write_all_at(b"abcde", 0).unwrap();
    }

    #[test]
    fn a_lock_ends_with_its_holder() {
        let storage = FaultyStorage::new(1);
        let lock = storage.lock().unwrap();
        assert!(storage.lock().is_err());
        storage.crash();
        let second = storage.lock().unwrap();
        drop(lock);
        assert!(storage.lock().is_err());
        drop(second);
        assert!(storage.lock().is_ok());
    }
}
