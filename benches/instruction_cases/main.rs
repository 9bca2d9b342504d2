//! What `benches/instructions` has valgrind count: each case of it, one at a time.
//!
//! ```text
//! instruction_cases --list     the names, one a line
//! instruction_cases NAME       prepares, works in `measured`, checks, and prints how many things it did there
//! ```
//!
//! Without a name, as `cargo bench` calls it, every case runs once: whether it still works is the question then.

#[path = "../codec/traffic.rs"]
mod amqp_traffic;
mod broker;
mod codec;
mod journal;
mod queue;
mod session;
mod stomp;
#[path = "../stomp/traffic.rs"]
mod stomp_traffic;
mod trie;

use std::hint::black_box;

/// Something to be counted.
#[derive(Clone, Copy)]
struct Case {
    /// `PART/WHAT`, the key of the record.
    name: &'static str,
    /// Returns how many times the thing was done within [`measured`]. Everything around it counts for nothing.
    run: fn() -> usize,
}

impl Case {
    const fn new(name: &'static str, run: fn() -> usize) -> Self {
        Self { name, run }
    }
}

/// What happens in here, on this thread, is counted: the name of this function turns the counter on and off.
#[inline(never)]
fn measured<R>(work: impl FnOnce() -> R) -> R {
    black_box(work())
}

#[expect(clippy::print_stdout, reason = "this is the result")]
fn main() {
    let cases = [
        codec::CASES,
        stomp::CASES,
        trie::CASES,
        queue::CASES,
        journal::CASES,
        broker::CASES,
        session::CASES,
    ]
    .concat();
    // `cargo bench` adds arguments of its own, which begin with a hyphen.
    let argument = std::env::args().nth(1).unwrap_or_default();
    match argument.as_str() {
        "--list" => cases.iter().for_each(|case| println!("{}", case.name)),
        name if !name.is_empty() && !name.starts_with('-') => {
            let found = cases.iter().find(|case| case.name == name);
            println!("{}", (found.expect("a name from the list").run)());
        }
        _ => {
            for case in cases {
                println!("{}: {} times", case.name, (case.run)());
            }
        }
    }
}
