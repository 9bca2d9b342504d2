//! What a client says and hears: state machines without sockets, clocks or tasks.
//!
//! `net` feeds a session with bytes, deliveries and the time, and writes what it puts out.

pub(crate) mod amqp;
mod asking;
#[cfg(feature = "stomp")]
mod newcomer;
mod output;
mod published;
#[cfg(feature = "stomp")]
pub(crate) mod stomp;
mod unacked;
#[cfg(feature = "stomp")]
pub(crate) mod websocket;

use std::fmt;
use std::sync::Arc;

use leveret_queue_store::{Lsn, Time};

use crate::error::Refusal;
use crate::outbox::Outbox;
use crate::overview::ConnectionOverview;

pub(crate) use asking::{Answer, Answered, Ask, Rights, Secret};
#[cfg(feature = "stomp")]
pub(crate) use newcomer::{Credentials, Newcomer};
pub(crate) use output::Output;

/// How many bytes may be put out for what a client sends before its session pauses: as many as may wait for a client that
/// does not read.
pub(crate) const TURN_OUTPUT_MAX: usize = 1024 * 1024;

/// How many places in queues may be taken in the batches of one turn, or consumers be told that they may have room, before a
/// session pauses: some ten milliseconds of work.
pub(crate) const TURN_WORK_MAX: usize = 65_536;

/// What a session waits for to be on disk, before it tells its client so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Awaited {
    /// What the next answer needs.
    pub(crate) first: Lsn,
    /// What the last that is owed needs.
    pub(crate) last: Lsn,
}

/// A client's side of a protocol, as `net` drives it.
///
/// Every call appends what is to be sent to an [`Output`]. Once [`Protocol::is_finished`], what is left is written and
/// the socket closed. [`Protocol::handle_disconnect`] comes last, whatever happened.
pub(crate) trait Protocol: fmt::Debug {
    /// Consumes what it can of `input` and says how much that was. What it leaves is incomplete or must wait, and comes again
    /// in front of what is read next.
    ///
    /// What is asked for in few bytes may be much work or long answers: it [pauses](Protocol::has_paused) when that is
    /// [enough](TURN_OUTPUT_MAX) for one turn.
    fn handle_input(&mut self, now: Time, input: &[u8], out: &mut Output) -> usize;

    /// Whether it stopped in the middle of its input, to go on once there is room for what it says and others have had
    /// their turn, with what it left or, if it keeps that itself, with nothing.
    fn has_paused(&self) -> bool;

    /// Whether bytes should be read for it.
    fn takes_input(&self) -> bool;

    /// Nothing is to be read or delivered any more.
    fn is_finished(&self) -> bool;

    /// The client has logged in and opened a virtual host.
    fn is_open(&self) -> bool;

    /// It ended because what the client sent was not of this protocol.
    #[cfg(feature = "stomp")]
    fn had_broken_input(&self) -> bool;

    /// What it is at the moment, for people; none for one that has ended.
    fn describe(&self) -> Option<ConnectionOverview>;

    /// How many messages the client has published, or about as many. Beyond the largest number it begins anew.
    fn published(&self) -> u32;

    /// A question for the embedding program; the answer goes to [`Protocol::handle_answer`].
    fn take_ask(&mut self) -> Option<Ask>;

    /// The question that [`Protocol::take_ask`] gave has been answered. It may have come to nothing meanwhile.
    fn handle_answer(&mut self, now: Time, answer: Answer, out: &mut Output);

    /// Encodes what queues have put into the outbox as long as `out` holds no more than about `enough` bytes; a message that
    /// is larger than what is left joins up to half of them. True when more is waiting.
    fn handle_outbox(&mut self, now: Time, enough: usize, out: &mut Output) -> bool;

    /// Whether something was taken out of the outbox and has not been encoded yet.
    fn has_deliveries(&self) -> bool;

    /// What of the journal must be safe for [`Protocol::handle_safe`] to have anything to do.
    fn awaited(&self) -> Option<Awaited>;

    /// So much of the journal is safe now.
    fn handle_safe(&mut self, now: Time, safe: Lsn, out: &mut Output);

    /// The journal takes nothing more: what waits for it will never be safe.
    fn handle_journal_failure(&mut self, now: Time, out: &mut Output);

    /// Everything that was put out has been written; queues may fill the window again.
    fn handle_written(&mut self, now: Time);

    /// A connection that is behind with what this one has published, since this was last asked.
    fn take_behind(&mut self) -> Option<Arc<Outbox>>;

    /// Nothing is read from the client, for our own reasons, and it was there at this time: nobody blames it for a silence
    /// that began before.
    fn handle_unheard(&mut self, there_at: Time);

    /// When [`Protocol::handle_timeout`] must be called.
    fn next_timeout(&self) -> Option<Time>;

    /// A deadline has passed, perhaps.
    fn handle_timeout(&mut self, now: Time, out: &mut Output);

    /// What the client has asked for was done and cannot be stored. Everything from the answer on has been taken back
    /// out of `out`; the client is told why and the connection ends.
    fn handle_not_recorded(&mut self, now: Time, refusal: &Refusal, out: &mut Output);

    /// The socket is gone, or is about to be closed by us.
    fn handle_disconnect(&mut self, now: Time);
}
