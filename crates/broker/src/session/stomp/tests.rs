//! When a COMMIT has its receipt, on a disk that is told when to sync.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use leveret_queue_store::{FaultyStorage, JournalOptions};

use super::*;
use crate::auth::UserTable;
use crate::beginning::Beginning;
use crate::clock::{Clock, VirtualClock};
use crate::config::Config;
use crate::metadata::{OnFiles, Store};
use crate::session::{Answer, Ask};

/// A session that has logged in to a broker without threads. What it says is kept, and nothing is synced.
struct Peer {
    session: Session,
    said: Output,
    now: Time,
    _definitions: Store,
}

impl Peer {
    fn connect() -> Self {
        let clock = VirtualClock::new();
        let now = clock.now();
        let files = Arc::new(FaultyStorage::new(1));
        let definitions = Box::new(OnFiles(files.clone()));
        let beginning = Beginning::on(definitions, files, JournalOptions::default(), None).unwrap();
        let started = beginning.start_by_hand(|metadata, messages| {
            let users = Arc::new(UserTable::guest());
            let clock = Clock::Virtual(clock.clone());
            Shared::new(
                Config::default(),
                clock,
                users,
                None,
                None,
                metadata,
                messages,
            )
        });
        let (shared, definitions) = started.unwrap().expect("there is a store");
        let outbox = Outbox::new(shared.busy.clone());
        let registration = shared.registry.register(&outbox, Kind::Socket, None);
        let registration = registration.expect("the broker runs");
        let mut peer = Self {
            session: Session::new(Arc::clone(&shared), registration, outbox, None, now),
            said: Output::default(),
            now,
            _definitions: definitions,
        };
        peer.hear("CONNECT\n\n\0");
        let Some(Ask::Login(login)) = peer.session.take_ask() else {
            panic!("nobody asks who the client is");
        };
        let answer = pin!(shared.authenticator.authenticate(*login));
        let Poll::Ready(result) = answer.poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("a table of users answers at once");
        };
        let answer = Answer::Login(result);
        peer.session.handle_answer(now, answer, &mut peer.said);
        peer
    }

    fn hear(&mut self, frames: &str) {
        let mut left = frames.as_bytes();
        loop {
            let taken = self.session.handle_input(self.now, left, &mut self.said);
            left = &left[taken..];
            if !self.session.has_paused() {
                break;
            }
        }
        assert!(left.is_empty(), "{} bytes are left", left.len());
    }

    fn has_said(&mut self, words: &str) -> bool {
        String::from_utf8_lossy(self.said.buffer()).contains(words)
    }

    #[track_caller]
    fn check_receipt_waits(&mut self) {
        assert!(!self.has_said("RECEIPT"), "nothing is on the disk yet");
        assert!(!self.has_said("ERROR"));
        let awaited = self.session.awaited().expect("a message to wait for");
        self.session
            .handle_safe(self.now, awaited.last, &mut self.said);
        assert!(self.has_said("RECEIPT\nreceipt-id:done\n"));
    }
}

#[test]
fn a_commit_has_its_receipt_once_its_messages_are_on_the_disk() {
    let mut peer = Peer::connect();
    peer.hear("BEGIN\ntransaction:t\n\n\0");
    peer.hear("SEND\ndestination:/queue/q\npersistent:true\ntransaction:t\n\nm\0");
    peer.hear("COMMIT\ntransaction:t\nreceipt:done\n\n\0");
    peer.check_receipt_waits();
}

#[test]
fn a_commit_waits_for_the_first_part_of_many_messages_too() {
    let mut peer = Peer::connect();
    peer.hear("BEGIN\ntransaction:t\n\n\0");
    peer.hear("SEND\ndestination:/queue/q\npersistent:true\ntransaction:t\n\nm\0");
    send_to_many(&mut peer);
    peer.hear("COMMIT\ntransaction:t\nreceipt:done\n\n\0");
    peer.check_receipt_waits();
}

#[test]
fn a_commit_waits_for_what_came_before_an_acknowledgement_too() {
    let mut peer = Peer::connect();
    peer.hear("SUBSCRIBE\ndestination:/queue/seldom\nid:1\nack:client\n\n\0");
    peer.hear("SEND\ndestination:/queue/seldom\n\nfirst\0");
    let (session, now) = (&mut peer.session, peer.now);
    session.handle_outbox(now, usize::MAX, &mut peer.said);
    let said = String::from_utf8_lossy(peer.said.buffer()).into_owned();
    let (_, ack) = said.split_once("message-id:").expect("a message");
    let id = ack.lines().next().expect("its id").to_owned();
    peer.hear("BEGIN\ntransaction:t\n\n\0");
    peer.hear("SEND\ndestination:/queue/q\npersistent:true\ntransaction:t\n\nm\0");
    peer.hear(&format!(
        "ACK\nsubscription:1\nmessage-id:{id}\ntransaction:t\n\n\0"
    ));
    // The queue is told of the acknowledgement before it is given this, which is not for the disk.
    peer.hear("SEND\ndestination:/queue/seldom\ntransaction:t\n\nlast\0");
    peer.hear("COMMIT\ntransaction:t\nreceipt:done\n\n\0");
    peer.check_receipt_waits();
}

#[test]
fn a_commit_without_messages_for_the_disk_has_its_receipt_at_once() {
    let mut peer = Peer::connect();
    peer.hear("BEGIN\ntransaction:t\n\n\0");
    peer.hear("SEND\ndestination:/topic/x\ntransaction:t\n\nm\0");
    peer.hear("COMMIT\ntransaction:t\nreceipt:done\n\n\0");
    assert!(peer.has_said("RECEIPT\nreceipt-id:done\n"));
}

/// Subscribes to a topic often enough that what is sent to it in the transaction is more than one turn's work.
fn send_to_many(peer: &mut Peer) {
    for id in 0..70 {
        peer.hear(&format!("SUBSCRIBE\ndestination:/topic/x\nid:{id}\n\n\0"));
    }
    peer.hear(&"SEND\ndestination:/topic/x\ntransaction:t\n\n\0".repeat(1000));
}

#[test]
fn a_commit_of_many_messages_takes_several_turns() {
    let mut peer = Peer::connect();
    peer.hear("BEGIN\ntransaction:t\n\n\0");
    send_to_many(&mut peer);
    peer.hear("SEND\ndestination:/topic/x\ntransaction:t\nreceipt:last\n\n\0");
    let commit = "COMMIT\ntransaction:t\nreceipt:done\n\n\0";
    let unsubscribe = "UNSUBSCRIBE\nid:0\nreceipt:gone\n\n\0";
    let frames = format!("{commit}{unsubscribe}");
    let (now, frames) = (peer.now, frames.as_bytes());
    let consumed = peer.session.handle_input(now, frames, &mut peer.said);
    assert!(peer.session.has_paused());
    let held = peer.session.core.outbox.held();
    assert!(held > 0, "what is left counts still");
    assert_eq!(
        consumed,
        commit.len(),
        "nothing goes before the rest of the COMMIT"
    );
    assert!(!peer.has_said("RECEIPT"));
    peer.hear(unsubscribe);
    assert_eq!(peer.session.core.outbox.held(), 0);
    let said = String::from_utf8_lossy(peer.said.buffer()).into_owned();
    let place = |receipt: &str| said.find(receipt).expect("a receipt");
    let receipts = ["receipt-id:last", "receipt-id:done", "receipt-id:gone"].map(place);
    assert!(receipts.is_sorted(), "{said}");
}

#[test]
fn a_session_may_end_within_a_commit() {
    let mut peer = Peer::connect();
    peer.hear("BEGIN\ntransaction:t\n\n\0");
    send_to_many(&mut peer);
    let commit = b"COMMIT\ntransaction:t\n\n\0";
    peer.session.handle_input(peer.now, commit, &mut peer.said);
    assert!(peer.session.has_paused());
    peer.session.handle_disconnect(peer.now);
    assert!(!peer.session.has_paused());
}

#[test]
fn a_commit_has_no_receipt_when_a_message_was_refused() {
    let mut peer = Peer::connect();
    let full = "destination:/queue/full\nx-max-length:1\nx-overflow:reject-publish\n";
    peer.hear(&format!("SEND\n{full}\nm\0"));
    for refused in [1, 0] {
        peer.hear("BEGIN\ntransaction:t\n\n\0");
        for _ in 0..refused {
            peer.hear("SEND\ndestination:/queue/full\ntransaction:t\n\nm\0");
        }
        peer.hear("SEND\ndestination:/topic/x\ntransaction:t\n\nm\0");
        assert!(!peer.has_said("RECEIPT"));
        peer.hear("COMMIT\ntransaction:t\nreceipt:done\n\n\0");
        assert_eq!(peer.has_said("ERROR\n"), refused == 1);
        assert_eq!(peer.has_said("RECEIPT\n"), refused == 0);
        peer.said.clear();
    }
}
