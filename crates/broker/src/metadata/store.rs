//! The definitions in an embedded database.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition, TableError};

use super::accounts;
use super::change::Action;
use super::format::{self, Table, Unreadable};
use super::{Change, Definitions, OpenError, Storage, VhostKey};

/// How much memory the database may use for pages. A change touches a few dozen pages of 4 KiB; everything is read once,
/// at the start.
const CACHE_BYTES: usize = 1024 * 1024;

/// The version of the tables and their keys. Values have versions of their own. Version 2 brought accounts and limits: an
/// older leveret must not start without them. A store of version 1 has none of these, and becomes one of version 2 when it
/// is opened.
const SCHEMA: u64 = 2;

/// How far ahead of those given out keys are reserved. A run cannot use up so many, so the next run, which begins behind
/// them, never gives out one of them again, even if the last changes of this run are lost; 2^32 runs are possible.
const KEYS_RESERVED: u64 = 1 << 32;

/// The first key of all; zero means none.
const KEYS_BEGIN: u64 = 1;

/// Numbers of the store itself, by name.
const META: TableDefinition<'_, &[u8], u64> = TableDefinition::new("meta");
const META_SCHEMA: &[u8] = b"schema";
const META_NEXT_KEY: &[u8] = b"next key";

type Bytes = TableDefinition<'static, &'static [u8], &'static [u8]>;

const fn definition(table: Table) -> Bytes {
    TableDefinition::new(table.name())
}

/// See the module.
///
/// After an error nothing more can be written until [`Store::reopen`].
#[derive(Debug)]
pub(crate) struct Store {
    storage: Box<dyn Storage>,
    /// None only while it is opened anew, and when that failed.
    database: Option<Database>,
    /// No key from here on has been given out by any run.
    keys_end: u64,
}

/// What was found in a store. Nothing was written to it.
#[derive(Debug)]
pub(crate) struct Found {
    store: Store,
    /// None in a new one.
    contents: Option<(Definitions, u64)>,
}

/// A store that can be written to, and what was found in it.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) store: Store,
    pub(crate) definitions: Definitions,
    /// Where the keys of this run begin.
    pub(crate) next_key: u64,
}

impl Found {
    /// No key from here on was given out when these were the definitions.
    pub(crate) fn next_key(&self) -> u64 {
        let contents = self.contents.as_ref();
        contents.map_or(KEYS_BEGIN, |(_, next_key)| *next_key)
    }

    /// Begins to use the store: reserves the keys of this run, and makes the virtual host `/` if there is nothing yet.
    ///
    /// # Errors
    /// When it cannot be written to.
    pub(crate) fn begin(self) -> Result<Opened, OpenError> {
        guarded(self.store.storage.to_string(), || self.try_begin())
    }

    fn try_begin(self) -> Result<Opened, Problem> {
        let Self {
            mut store,
            contents,
        } = self;
        // Reserves the keys of this run, whatever else there is to write.
        if let Some((definitions, next_key)) = contents {
            store.write(&[], next_key)?;
            return Ok(Opened {
                store,
                definitions,
                next_key,
            });
        }
        let (root, next_key) = (VhostKey(KEYS_BEGIN), KEYS_BEGIN + 1);
        store.write(&[Change::add_vhost("/", root)], next_key)?;
        Ok(Opened {
            store,
            definitions: Definitions {
                vhosts: vec![("/".into(), root)],
                ..Definitions::default()
            },
            next_key,
        })
    }
}

/// Does something with a database. It takes some kinds of damage for mistakes of its own and panics; nothing that it has
/// touched is used after that.
fn guarded<R>(store: String, work: impl FnOnce() -> Result<R, Problem>) -> Result<R, OpenError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(Problem::Damaged(panic_text(&*panic))))
        .map_err(|problem| problem.of(store))
}

impl Store {
    /// Opens a store, or makes an empty one, and reads all of it. What a crash has left of it is put right, so the file may
    /// change; what it says does not.
    ///
    /// # Errors
    /// When it cannot be read or written, is in use, was written by a newer version, or makes no sense.
    pub(crate) fn find(storage: Box<dyn Storage>) -> Result<Found, OpenError> {
        guarded(storage.to_string(), || Self::try_find(storage))
    }

    /// Opens a store and begins to use it.
    #[cfg(test)]
    pub(crate) fn open(storage: Box<dyn Storage>) -> Result<Opened, OpenError> {
        Self::find(storage)?.begin()
    }

    fn try_find(storage: Box<dyn Storage>) -> Result<Found, Problem> {
        let mut database = open_database(&*storage)?;
        if !database.check_integrity()? {
            tracing::warn!(store = %storage, "the database was damaged and has been repaired");
        }
        let contents = read_all(&database)?;
        let store = Self {
            storage,
            database: Some(database),
            keys_end: 0,
        };
        Ok(Found { store, contents })
    }

    /// Makes changes in one transaction: they are on the disk when this returns, all of them, or none when it fails.
    /// Keys below `next_key` have been given out.
    ///
    /// # Errors
    /// When the disk is full or broken, or a write failed before and the store was not reopened.
    pub(crate) fn apply(&mut self, changes: &[Change], next_key: u64) -> Result<(), WriteError> {
        self.write(changes, next_key).map_err(WriteError)
    }

    /// Closes the database and opens it anew, which is what it takes after an error.
    ///
    /// # Errors
    /// When it cannot be opened; it may be tried again.
    pub(crate) fn reopen(&mut self) -> Result<(), WriteError> {
        self.database = None;
        self.database = Some(open_database(&*self.storage).map_err(WriteError)?);
        Ok(())
    }

    fn write(&mut self, changes: &[Change], next_key: u64) -> Result<(), Problem> {
        let Some(database) = &self.database else {
            return Err(Problem::Io(io::Error::other("it is not open")));
        };
        let transaction = database.begin_write().map_err(redb::Error::from)?;
        let mut keys_end = self.keys_end;
        if keys_end.saturating_sub(next_key) < KEYS_RESERVED / 2 {
            keys_end = next_key.saturating_add(KEYS_RESERVED);
            let mut meta = transaction.open_table(META)?;
            meta.insert(META_SCHEMA, SCHEMA)?;
            meta.insert(META_NEXT_KEY, keys_end)?;
        }
        {
            let mut tables = Vec::new();
            for table in Table::ALL {
                tables.push((table, transaction.open_table(definition(table))?));
            }
            for change in changes {
                let found = tables.iter_mut().find(|(table, _)| *table == change.table);
                let Some((_, table)) = found else { continue };
                let key = &*change.key;
                match &change.action {
                    Action::Put(value) => drop(table.insert(key, &**value)?),
                    Action::Remove => drop(table.remove(key)?),
                    Action::RemoveAll => match end_of_prefix(key) {
                        Some(end) => table.retain_in(key..&*end, |_, _| false)?,
                        None => table.retain_in(key.., |_, _| false)?,
                    },
                }
            }
        }
        transaction.commit().map_err(redb::Error::from)?;
        self.keys_end = keys_end;
        Ok(())
    }
}

/// The first key that does not begin with `prefix` and comes after those that do; none when there is none.
fn end_of_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix.get(..=last)?.to_vec();
    if let Some(byte) = end.last_mut() {
        *byte += 1;
    }
    Some(end)
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!(
        "the database gave up: {}",
        text.unwrap_or("no reason known")
    )
}

fn open_database(storage: &dyn Storage) -> Result<Database, Problem> {
    storage.make_safe().map_err(Problem::Io)?;
    let mut builder = redb::Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    Ok(storage.open(&builder)?)
}

/// Everything in the database, and the first free key; none when it is new.
fn read_all(database: &Database) -> Result<Option<(Definitions, u64)>, Problem> {
    let transaction = database.begin_read().map_err(redb::Error::from)?;
    let meta = match transaction.open_table(META) {
        Ok(meta) => meta,
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let number = |name: &[u8]| -> Result<u64, Problem> {
        match meta.get(name)? {
            Some(number) => Ok(number.value()),
            None => Err(Problem::Damaged("it has no version".to_owned())),
        }
    };
    let schema = number(META_SCHEMA)?;
    if schema > SCHEMA {
        return Err(Problem::Newer(format!(
            "it has version {schema} and this leveret knows versions up to {SCHEMA}"
        )));
    }
    let next_key = number(META_NEXT_KEY)?;
    let mut found = Definitions::default();
    for table in Table::ALL {
        let entries = match transaction.open_table(definition(table)) {
            Ok(entries) => entries,
            Err(TableError::TableDoesNotExist(_)) => continue,
            Err(error) => return Err(error.into()),
        };
        for entry in entries.iter()? {
            let (key, value) = entry?;
            read_entry(table, key.value(), value.value(), &mut found)
                .map_err(|problem| Problem::of_entry(table, key.value(), problem))?;
        }
    }
    Ok(Some((found, next_key)))
}

fn read_entry(
    table: Table,
    key: &[u8],
    value: &[u8],
    found: &mut Definitions,
) -> Result<(), Unreadable> {
    match table {
        Table::Vhosts => found.vhosts.push(format::read_vhost(key, value)?),
        Table::Exchanges => found.exchanges.push(format::read_exchange(key, value)?),
        Table::Queues => found.queues.push(format::read_queue(key, value)?),
        Table::Bindings => found.bindings.push(format::read_binding(key, value)?),
        Table::VhostLimits => {
            let limits = accounts::read_vhost_limits(key, value)?;
            found.vhost_limits.push(limits);
        }
        Table::Users => found
            .accounts
            .accounts
            .users
            .push(accounts::read_user(key, value)?),
        Table::Permissions => {
            let entry = accounts::read_permissions(key, value)?;
            found.accounts.accounts.permissions.push(entry);
        }
        Table::TopicPermissions => {
            let entry = accounts::read_topic_permissions(key, value)?;
            found.accounts.accounts.topic_permissions.push(entry);
        }
        Table::Settings => found.accounts.begun |= accounts::read_begun(key, value)?,
    }
    Ok(())
}

/// Why changes could not be written.
#[derive(Debug)]
pub(crate) struct WriteError(Problem);

impl WriteError {
    /// There is no room: worth another try, once somebody has made some.
    pub(crate) fn is_disk_full(&self) -> bool {
        matches!(
            &self.0,
            Problem::Io(error) if matches!(
                error.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
            )
        )
    }
}

impl std::fmt::Display for WriteError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Problem::Io(error) => error.fmt(f),
            Problem::InUse => f.write_str("it is in use by another process"),
            Problem::Newer(what) | Problem::Damaged(what) => f.write_str(what),
        }
    }
}

/// What is wrong with a store whose name is not at hand.
#[derive(Debug)]
enum Problem {
    Io(io::Error),
    InUse,
    Newer(String),
    Damaged(String),
}

impl Problem {
    fn of_entry(table: Table, key: &[u8], problem: Unreadable) -> Self {
        let what = format!(
            "an entry of table {}: {problem}; its key is {}",
            table.name(),
            key.escape_ascii()
        );
        match problem {
            Unreadable::Newer(_) => Self::Newer(what),
            _ => Self::Damaged(what),
        }
    }

    fn of(self, store: String) -> OpenError {
        match self {
            Self::Io(source) => OpenError::Io { store, source },
            Self::InUse => OpenError::StoreInUse { store },
            Self::Newer(what) => OpenError::Newer { store, what },
            Self::Damaged(what) => OpenError::Damaged { store, what },
        }
    }
}

impl From<redb::Error> for Problem {
    fn from(error: redb::Error) -> Self {
        match error {
            // What is no database at all, among others.
            redb::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                Self::Damaged(error.to_string())
            }
            redb::Error::Io(error) => Self::Io(error),
            redb::Error::PreviousIo | redb::Error::DatabaseClosed => {
                Self::Io(io::Error::other(error.to_string()))
            }
            redb::Error::DatabaseAlreadyOpen => Self::InUse,
            redb::Error::UpgradeRequired(_) => Self::Newer(error.to_string()),
            _ => Self::Damaged(error.to_string()),
        }
    }
}

impl From<DatabaseError> for Problem {
    fn from(error: DatabaseError) -> Self {
        redb::Error::from(error).into()
    }
}

impl From<TableError> for Problem {
    fn from(error: TableError) -> Self {
        redb::Error::from(error).into()
    }
}

impl From<redb::StorageError> for Problem {
    fn from(error: redb::StorageError) -> Self {
        redb::Error::from(error).into()
    }
}

/// Writes another version into a store.
#[cfg(test)]
pub(super) fn pretend_schema(storage: &dyn Storage, schema: u64) {
    let database = open_database(storage).unwrap();
    let transaction = database.begin_write().unwrap();
    let mut meta = transaction.open_table(META).unwrap();
    meta.insert(META_SCHEMA, schema).unwrap();
    drop(meta);
    transaction.commit().unwrap();
}

/// The version that a store says it has.
#[cfg(test)]
pub(super) fn schema_of(storage: &dyn Storage) -> u64 {
    let database = open_database(storage).unwrap();
    let transaction = database.begin_read().unwrap();
    let meta = transaction.open_table(META).unwrap();
    meta.get(META_SCHEMA).unwrap().unwrap().value()
}
