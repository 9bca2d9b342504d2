//! Clients that talk: a classroom and a room.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{sleep, sleep_until};

use crate::socket::{self, Reader, Writer};
use crate::tally::{Tally, now};
use crate::{Error, Talk};

/// How long nothing may come before the rest counts as lost.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often progress is looked at in the end.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Before the first message, so that every client is at its place.
const LEAD: Duration = Duration::from_millis(200);

type Shared = Rc<RefCell<Tally>>;

/// Who talks to whom, and how often.
struct Plan {
    scenario: &'static str,
    clients: usize,
    time: Duration,
    p99_ms_max: Option<f64>,
}

/// One client's part in it.
struct Part {
    sender: usize,
    /// Where it writes to, and how many hear that.
    topic: &'static str,
    readers: u64,
    every: Duration,
    /// When its first message is due, after the start.
    offset: Duration,
}

/// Client 0 is the teacher.
pub(crate) async fn classroom(address: &str, talk: &Talk) -> Result<(bool, Value), Error> {
    let students = talk.clients.unwrap_or(500);
    let every = Duration::from_secs_f64(1.0 / talk.rate.unwrap_or(10.0));
    let plan = Plan::new("classroom", students + 1, talk);
    let part = |sender| Part {
        sender,
        topic: if sender == 0 { "class" } else { "questions" },
        readers: if sender == 0 { students as u64 } else { 1 },
        every,
        offset: spread(every, sender, students + 1),
    };
    let heard_at = |sender| if sender == 0 { "questions" } else { "class" };
    plan.run(address, part, heard_at).await
}

/// Everybody hears everybody, and oneself.
pub(crate) async fn room(address: &str, talk: &Talk) -> Result<(bool, Value), Error> {
    let clients = talk.clients.unwrap_or(200);
    let rate = talk.rate.unwrap_or(100.0);
    let every = Duration::from_secs_f64(clients as f64 / rate);
    let plan = Plan::new("room", clients, talk);
    let part = |sender| Part {
        sender,
        topic: "room",
        readers: clients as u64,
        every,
        offset: spread(every, sender, clients),
    };
    plan.run(address, part, |_| "room").await
}

/// So that not all speak at once.
fn spread(every: Duration, sender: usize, of: usize) -> Duration {
    every.mul_f64(sender as f64 / of as f64)
}

impl Plan {
    fn new(scenario: &'static str, clients: usize, talk: &Talk) -> Self {
        Self {
            scenario,
            clients,
            time: Duration::from_secs_f64(talk.time),
            p99_ms_max: talk.p99_ms_max,
        }
    }

    async fn run(
        &self,
        address: &str,
        part: impl Fn(usize) -> Part,
        heard_at: impl Fn(usize) -> &'static str,
    ) -> Result<(bool, Value), Error> {
        let tally = Rc::new(RefCell::new(Tally::new()?));
        let mut writers = Vec::new();
        for sender in 0..self.clients {
            let (mut reader, mut writer) = socket::open(address).await?;
            reader.subscribe(&mut writer, heard_at(sender)).await?;
            let heard = vec![0; self.clients];
            spawn_local(listen(reader, heard, Rc::clone(&tally)));
            writers.push(writer);
        }
        let start = now() + LEAD;
        let end = start + self.time;
        let speakers: Vec<JoinHandle<Writer>> = writers
            .into_iter()
            .enumerate()
            .map(|(sender, writer)| {
                let speech = speak(writer, part(sender), start, end, Rc::clone(&tally));
                spawn_local(speech)
            })
            .collect();
        // They stay connected until all has been heard.
        let mut done = Vec::new();
        for speaker in speakers {
            done.push(speaker.await?);
        }
        let time = now().duration_since(start);
        wait_for_rest(&tally).await;
        let tally = tally.borrow();
        let (is_ok, report) = tally.report(self.scenario, self.clients, time);
        let is_fast = self.p99_ms_max.is_none_or(|limit| tally.p99_ms() <= limit);
        Ok((is_ok && is_fast, report))
    }
}

async fn listen(mut reader: Reader, mut heard: Vec<u64>, tally: Shared) {
    loop {
        match reader.message().await {
            Ok(body) => tally.borrow_mut().receive(&body, &mut heard),
            Err(error) => {
                fail(&tally, &error);
                return;
            }
        }
    }
}

async fn speak(
    mut writer: Writer,
    part: Part,
    start: Instant,
    end: Instant,
    tally: Shared,
) -> Writer {
    let mut due = start + part.offset;
    let mut number = 0;
    while due < end {
        sleep_until(due.into()).await;
        let stamp = tally
            .borrow_mut()
            .stamp(part.sender, number, due, part.readers);
        let frame = format!(
            "SEND\ndestination:/topic/{}\n\n{}\0",
            part.topic,
            stamp.to_body()
        );
        if let Err(error) = writer.send(&frame).await {
            fail(&tally, &error);
            break;
        }
        number += 1;
        due += part.every;
    }
    writer
}

fn fail(tally: &Shared, error: &io::Error) {
    let text = error.to_string();
    tally.borrow_mut().failure.get_or_insert(text);
}

async fn wait_for_rest(tally: &Shared) {
    let mut received = tally.borrow().received();
    let mut since = now();
    while !tally.borrow().is_complete() && now().duration_since(since) < PATIENCE {
        sleep(LOOK_EVERY).await;
        let current = tally.borrow().received();
        if current != received {
            received = current;
            since = now();
        }
    }
    // What comes twice comes right behind.
    sleep(LOOK_EVERY).await;
}
