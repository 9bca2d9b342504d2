//! What the process has used so far, as Linux counts it in `/proc`.

use std::fs;
use std::time::Duration;

/// The size of a page on the machines that the benches know: x86-64, and aarch64 as most distributions set it up.
const PAGE_BYTES: usize = 4096;

/// Processor time of the calling thread.
///
/// # Panics
/// Where there is no `/proc/thread-self/schedstat`.
pub(crate) fn thread_cpu_time() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("this is Linux");
    let ns = text.split_ascii_whitespace().next();
    let ns = ns.and_then(|ns| ns.parse().ok());
    Duration::from_nanos(ns.expect("the first number is the nanoseconds that the thread ran"))
}

/// How much memory is resident. What the allocator keeps for later counts, so only growth by much says something.
///
/// # Panics
/// Where there is no `/proc/self/statm`.
#[must_use]
pub fn resident_bytes() -> usize {
    let text = fs::read_to_string("/proc/self/statm").expect("this is Linux");
    let pages = text.split_ascii_whitespace().nth(1);
    let pages: usize = pages
        .and_then(|pages| pages.parse().ok())
        .expect("the second number is the resident pages");
    pages * PAGE_BYTES
}
