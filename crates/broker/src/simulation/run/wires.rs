//! Clients with connections of their own, of which all that is known is what they hear.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::{Buf, BytesMut};
use leveret_amqp_codec::method::{basic, confirm, tx};
use leveret_amqp_codec::{
    ChannelId, EncodeMethod, Frame, Limits, Method, RawProperties, ShortStr, write_body,
    write_content_header, write_method,
};

use super::Run;
use super::faults::Faults;
use super::messages::Draft;
use crate::net::ByHand;
use crate::sans_io::handshake;
use crate::simulation::model::{Commit, Sent, Step};
use crate::simulation::plan::{FAN, Key, QUEUES, TOPIC};
use crate::simulation::world::{World, died_in, number_in};

/// More than one, so that they meet.
const WIRES_MAX: usize = 3;

const CHANNEL: ChannelId = ChannelId(1);

/// A client that publishes, gets and acknowledges on one channel, which confirms or is in a transaction.
pub(super) struct Wire {
    pipe: ByHand,
    unsent: BytesMut,
    heard: BytesMut,
    is_transacting: bool,
    /// Confirms count from one.
    published: u64,
    /// The numbers of messages, by what a confirm calls them.
    unconfirmed: BTreeMap<u64, u64>,
    /// What the next commit is about.
    transaction: Commit,
    committing: Option<Commit>,
    /// The queues from which it has asked for a message.
    asked: VecDeque<usize>,
    /// The delivery whose content is coming, and where it died first.
    coming: Option<(u64, usize, Option<usize>)>,
    /// What it was given, by delivery tag.
    held: BTreeMap<u64, (usize, Key)>,
    /// What the broker may let go of on its word.
    acknowledged: BTreeSet<(usize, Key)>,
    has_closed: bool,
}

/// What a client has been told.
#[derive(Debug)]
enum Told {
    Confirmed(u64),
    Committed(Commit),
}

impl Wire {
    fn new(pipe: ByHand, is_transacting: bool) -> Self {
        let mut wire = Self {
            pipe,
            unsent: BytesMut::from(&handshake(false)[..]),
            heard: BytesMut::new(),
            is_transacting,
            published: 0,
            unconfirmed: BTreeMap::new(),
            transaction: Commit::default(),
            committing: None,
            asked: VecDeque::new(),
            coming: None,
            held: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            has_closed: false,
        };
        if is_transacting {
            wire.say(&tx::Select {});
        } else {
            wire.say(&confirm::Select { no_wait: true });
        }
        wire
    }

    fn say(&mut self, method: &impl EncodeMethod) {
        let mut bytes = Vec::new();
        write_method(&mut bytes, CHANNEL, method);
        self.unsent.extend_from_slice(&bytes);
    }

    fn publish(&mut self, draft: &Draft) {
        let publish = basic::Publish {
            exchange: ShortStr::from_static(draft.exchange),
            routing_key: ShortStr::new(&draft.key).expect("keys are short"),
            ..basic::Publish::default()
        };
        self.say(&publish);
        let properties = draft.properties().to_bytes();
        let properties = RawProperties::from_validated_bytes(&properties);
        let (mut bytes, size) = (Vec::new(), draft.body.len() as u64);
        write_content_header(&mut bytes, CHANNEL, 60, size, properties);
        write_body(&mut bytes, CHANNEL, &draft.body, 131_072);
        self.unsent.extend_from_slice(&bytes);
        self.published += 1;
        if self.is_transacting {
            self.transaction.publishes.push(draft.number);
        } else {
            self.unconfirmed.insert(self.published, draft.number);
        }
    }

    fn ask(&mut self, queue: usize) {
        self.asked.push_back(queue);
        self.say(&basic::Get {
            queue: ShortStr::from_static(QUEUES[queue].name),
            no_ack: false,
        });
    }

    fn acknowledge(&mut self, delivery_tag: u64) {
        let Some((queue, key)) = self.held.remove(&delivery_tag) else {
            return;
        };
        self.acknowledged.insert((queue, key));
        if self.is_transacting {
            self.transaction.acks.push((queue, key));
        }
        self.say(&basic::Ack {
            delivery_tag,
            multiple: false,
        });
    }

    /// Has the broker work on what was sent. Says whether it did.
    fn turn(&mut self) -> bool {
        self.pipe.send(&mut self.unsent);
        let turned = self.pipe.turn();
        self.pipe.hear(&mut self.heard);
        turned
    }

    /// Takes in what has come.
    fn hear(&mut self) -> Vec<Told> {
        let mut told = Vec::new();
        let heard = std::mem::take(&mut self.heard);
        let mut rest = &heard[..];
        while let Some((frame, size)) =
            Frame::decode(rest, &Limits::default()).expect("the broker says nothing but frames")
        {
            self.take_in(frame, &mut told);
            rest.advance(size);
        }
        self.heard.extend_from_slice(rest);
        told
    }

    fn take_in(&mut self, frame: Frame<'_>, told: &mut Vec<Told>) {
        match frame {
            Frame::Method(_, Method::BasicAck(ack)) => {
                let settled = self.settle(ack.delivery_tag, ack.multiple);
                told.extend(settled.into_values().map(Told::Confirmed));
            }
            Frame::Method(_, Method::BasicNack(nack)) => {
                self.settle(nack.delivery_tag, nack.multiple);
            }
            Frame::Method(_, Method::TxCommitOk(_)) => {
                let commit = self.committing.take().expect("something was committed");
                told.push(Told::Committed(commit));
            }
            Frame::Method(_, Method::BasicGetEmpty(_)) => drop(self.asked.pop_front()),
            Frame::Method(_, Method::BasicGetOk(got)) => {
                let queue = self.asked.pop_front().expect("it has asked");
                self.coming = Some((got.delivery_tag, queue, None));
            }
            Frame::Header(_, header) => {
                if let Some((_, _, died)) = &mut self.coming {
                    *died = died_in(header.properties);
                }
            }
            Frame::Body(_, body) => {
                let (tag, queue, died_in) = self.coming.take().expect("a message comes");
                let number = number_in(body);
                self.held.insert(tag, (queue, Key { number, died_in }));
            }
            Frame::Method(_, Method::ChannelClose(_) | Method::ConnectionClose(_)) => {
                self.has_closed = true;
            }
            Frame::Method(..) | Frame::Heartbeat => {}
        }
    }

    fn settle(&mut self, tag: u64, multiple: bool) -> BTreeMap<u64, u64> {
        if multiple {
            let later = self.unconfirmed.split_off(&(tag + 1));
            return std::mem::replace(&mut self.unconfirmed, later);
        }
        let number = self.unconfirmed.remove(&tag);
        number.map(|number| (tag, number)).into_iter().collect()
    }

    fn is_over(&self) -> bool {
        self.has_closed || self.pipe.has_ended()
    }
}

impl Run {
    /// A client comes, goes, or says something.
    pub(super) fn talk(&mut self, world: &World) {
        if self.wires.is_empty() || self.wires.len() < WIRES_MAX && self.below(4) == 0 {
            let is_transacting = self.below(2) == 0;
            let pipe = world.connect();
            let wire = pipe.map(|pipe| Wire::new(pipe, is_transacting));
            self.wires.extend(wire);
            return;
        }
        let at = self.below(self.wires.len() as u64) as usize;
        // A client that waits for a commit says nothing meanwhile.
        if self.wires[at].committing.is_some() {
            return;
        }
        match self.below(10) {
            0..=3 => self.publish_on(at),
            4..=5 => {
                for _ in 0..=self.below(3) {
                    let queue = self.live_queue();
                    if let Some(queue) = queue {
                        self.wires[at].ask(queue);
                    }
                }
            }
            6..=7 => {
                for _ in 0..=self.below(3) {
                    let held: Vec<u64> = self.wires[at].held.keys().copied().collect();
                    if !held.is_empty() {
                        let tag = held[self.below(held.len() as u64) as usize];
                        self.wires[at].acknowledge(tag);
                    }
                }
            }
            8 if self.wires[at].is_transacting => self.end_transaction(at),
            9 if self.below(4) == 0 => self.hang_up(at),
            _ => {}
        }
    }

    fn live_queue(&mut self) -> Option<usize> {
        let queue = self.queue();
        self.model.live(queue).is_some().then_some(queue)
    }

    fn publish_on(&mut self, at: usize) {
        for _ in 0..=self.below(5) {
            let draft = self.draft();
            let exists = |exchange| {
                let fact = self.model.exchanges.get(exchange);
                fact.is_some_and(|fact| fact.exists)
            };
            // The channel would be closed.
            if [FAN, TOPIC].contains(&draft.exchange) && !exists(draft.exchange) {
                continue;
            }
            let sent = Sent {
                priority: draft.priority,
                expiration_ms: draft.expiration,
                arrived: None,
            };
            self.model.sent.insert(draft.number, sent);
            self.trace.note(format_args!("{at} sends {}", draft.number));
            self.wires[at].publish(&draft);
        }
    }

    fn end_transaction(&mut self, at: usize) {
        let commits = self.below(4) > 0;
        let wire = &mut self.wires[at];
        let transaction = std::mem::take(&mut wire.transaction);
        if commits {
            wire.say(&tx::Commit {});
            self.model.commits.push(transaction.clone());
            wire.committing = Some(transaction);
            return;
        }
        wire.say(&tx::Rollback {});
        // They are as if nobody had spoken of them, and nobody speaks of them again.
        for ack in transaction.acks {
            wire.acknowledged.remove(&ack);
        }
    }

    fn hang_up(&mut self, at: usize) {
        self.trace.note(format_args!("{at} hangs up"));
        self.wires.swap_remove(at);
        self.model.step += 1;
    }

    /// Has the broker work on what clients say, one by one, and takes in what they are told.
    pub(super) fn turn_wires(&mut self, world: &World) {
        let mut wires = std::mem::take(&mut self.wires);
        for wire in &mut wires {
            self.model.step += 1;
            if wire.turn() {
                let may_go = &wire.acknowledged;
                self.observe(world, |queue, key| may_go.contains(&(queue, key)));
                self.model.step += 1;
            }
            for told in wire.hear() {
                self.trace.note(format_args!("{told:?}"));
                self.take_told(told);
            }
        }
        let len = wires.len();
        wires.retain(|wire| !wire.is_over());
        if wires.len() < len {
            // What they held is ready again.
            self.observe(world, |_, _| false);
        }
        self.wires = wires;
    }

    fn take_told(&mut self, told: Told) {
        match told {
            Told::Confirmed(number) => self.note_safe(number, Faults::check_confirm),
            Told::Committed(commit) => {
                // It is what has been promised, and not only what may be.
                for number in commit.publishes {
                    self.note_safe(number, Faults::check_commit);
                }
                for (queue, key) in commit.acks {
                    self.model.acknowledged_safely(queue, key);
                }
            }
        }
    }

    fn note_safe(&mut self, number: u64, check: impl Fn(&Faults, Step, bool)) {
        if let Some((arrived, queues)) = self.model.confirmed_on_the_wire(number) {
            let waited = self.model.waits_for_the_disk(number, &queues);
            check(&self.faults, arrived, waited);
        }
    }

    /// Every client has been told what it was owed.
    pub(super) fn check_that_wires_wait_for_nothing(&self) {
        for wire in &self.wires {
            assert!(wire.unconfirmed.is_empty(), "publishers are told");
            assert!(wire.committing.is_none(), "commits are answered");
        }
    }
}
