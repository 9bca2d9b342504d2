//! Keeping on disk what durable queues hold.

#![cfg_attr(
    not(test),
    deny(
        clippy::cast_possible_truncation,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

mod appender;
mod bits;
mod block;
mod check;
mod error;
mod fetch;
pub(crate) mod fuzzing;
mod handles;
#[expect(
    clippy::module_inception,
    reason = "the main type of the module is called as it is"
)]
mod journal;
mod load;
mod log_end;
mod log_file;
mod loose;
mod message_format;
mod names;
mod open;
mod options;
mod origin;
mod page;
mod page_files;
mod page_format;
mod page_table;
mod page_writer;
mod queues;
mod read_ahead;
mod record;
mod recovered;
mod repeats;
mod replay;
mod rest;
mod sectors;
mod state;
mod waiters;
mod wire;
mod writer;

pub use appender::{Appender, Lsn};
pub use check::{QueueReport, StoreReport, check, repair};
pub use error::{Damage, JournalState, NotPrepared, NotSafe, OpenError, ReadError};
pub use journal::{Journal, JournalStats, ToMove};
pub use options::{JournalOptions, SyncPolicy};
pub use queues::QueueLog;
pub use record::QueueKey;
pub use recovered::{Recovered, RecoveredItem, RecoveredQueue};
pub use writer::Worked;
