//! A message queue as a state machine.
//!
//! [`Queue`] decides what RabbitMQ's classic and quorum queues decide: who gets which message, what
//! comes back after a refusal and where it is put, when a message is too old, one too many or
//! delivered too often. It does nothing about it. Every call returns at once and appends
//! [`Effect`]s to a list of the caller's: hand this [`Delivery`] to that consumer, this message is
//! dead and why. The caller carries them out, in their order.
//!
//! A queue reads no clock, takes no lock, does not wait and knows no protocol: [`Time`] is an argument,
//! a [`Message`]'s properties are bytes, and the same calls give the same effects. A test lets an
//! hour pass by saying so.
//!
//! ```
//! use leveret_queue_store::{
//!     ConsumerOptions, Effect, Message, MessageParts, Queue, QueueOptions, Settlement, Time,
//! };
//!
//! let now = Time::from_millis(1_000);
//! let (mut effects, mut scratch) = (Vec::new(), Vec::new());
//! let mut queue = Queue::new(QueueOptions::default(), now);
//! let worker = queue.consume(now, ConsumerOptions::default(), &mut effects)?;
//!
//! let job = MessageParts { routing_key: "resize", body: b"cat.png", ..MessageParts::default() };
//! assert!(queue.publish(now, Message::new(&job, &mut scratch), &mut effects).is_accepted());
//!
//! let Some(Effect::Deliver { consumer, delivery }) = effects.pop() else {
//!     panic!("a worker was waiting");
//! };
//! assert_eq!(consumer, worker);
//! assert_eq!(delivery.message.body(), b"cat.png");
//! if let Some(id) = delivery.id {
//!     queue.settle(now, id, Settlement::Ack, &mut effects)?;
//! }
//! assert_eq!((queue.ready_len(), queue.unacked_len()), (0, 0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # At the edges
//!
//! - A queue without limits grows until memory ends; [`QueueOptions::max_length`] and
//!   [`QueueOptions::max_length_bytes`] bound it.
//! - A consumer without [`ConsumerOptions::prefetch`] and without a [`Gate`] is given everything
//!   there is in one call.
//! - Time may stand still or go back: a deadline passes when a call says so, no message is lost or
//!   duplicated by it.
//! - Dropping a queue drops its messages. What is to survive the process the caller keeps on disk,
//!   as the effects of a [durable](QueueOptions::durable) queue say; [`Queue::rebuild`] makes the
//!   queue again.
//! - When memory is short, waiting messages can be [paged out](Queue::page_out) and come back when
//!   they are [wanted](Queue::wanted_page).
//!
//! # What survives
//!
//! [`Journal`] keeps messages on disk: one write-ahead log for all queues, and pages for what does
//! not have to be in memory. It starts no thread and reads no clock either; a thread of the caller's
//! does its work. It reaches files through [`Storage`]: [`FileStorage`], [`MemoryStorage`], and
//! [`FaultyStorage`] for tests of what is on top of it. The crate's FORMAT.md has its files byte by
//! byte.
//!
//! # What a message costs
//!
//! A waiting message is one allocation and sixteen bytes of the queue, or thirty-two if it is kept
//! on disk; see [`Message`].
//! `tests/memory_of_messages.rs` holds the sum, allocator included, below 64 bytes beyond what the message
//! says.

mod effect;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod gate;
mod journal;
mod message;
mod options;
mod queue;
mod storage;
mod stored;
mod time;

pub use effect::{DeathReason, Delivery, DeliveryId, Effect, Published};
pub use error::{ConsumeError, UnknownDelivery};
pub use gate::Gate;
pub use journal::{
    Appender, Damage, Journal, JournalOptions, JournalState, JournalStats, Lsn, NotPrepared,
    NotSafe, OpenError, QueueKey, QueueLog, QueueReport, ReadError, Recovered, RecoveredItem,
    RecoveredQueue, StoreReport, SyncPolicy, ToMove, Worked, check, repair,
};
pub use message::{Message, MessageContents, MessageParts, SmallMessage};
pub use options::{
    ConsumerOptions, Overflow, QueueOptions, RequeueOrder, Settlement, SlowAction, SlowConsumer,
    TakeMode,
};
pub use queue::{Browsed, BrowsedItem, ConsumerId, PagedOut, Queue, Rebuilt, UnackedDelivery};
pub use storage::{
    DirectoryLock, FaultyStorage, FileStorage, MemoryStorage, OpenMode, Storage, StorageFile,
};
pub use stored::{PageId, PageSlot, PagedMessage, Stored};
pub use time::Time;

/// Runs the example of the README as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
