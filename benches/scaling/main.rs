//! How do costs grow with what there is: pairs of a producer and a consumer, bindings, queues, connections?
//!
//! ```text
//! cargo bench -p leveret-benches --bench scaling              every table
//! cargo bench -p leveret-benches --bench scaling -- bindings  one, see `TABLES`
//! ```
//!
//! Each table is made by a process of its own, so that none measures in the memory that another has left behind.

mod bindings;
mod connections;
mod memory;
mod pairs;
mod queues;

use std::process::Command;

use leveret_benches::Scale;

/// Prints a table.
type Report = fn(Scale);

/// The tables, by name.
const TABLES: [(&str, Report); 6] = [
    ("pairs", pairs::report),
    ("matching", bindings::report_matching),
    ("bindings", bindings::report_memory),
    ("queues", queues::report),
    ("connections", connections::report_idle),
    ("consuming", connections::report_consuming),
];

fn main() {
    let scale = Scale::from_args();
    let wanted = |name: &str| std::env::args().skip(1).any(|argument| argument == name);
    if let Some((_, report)) = TABLES.iter().find(|(name, _)| wanted(name)) {
        return report(scale);
    }
    let program = std::env::current_exe().expect("Linux knows where it has this program from");
    for (name, _) in TABLES {
        let arguments = std::env::args().skip(1);
        let status = Command::new(&program).arg(name).args(arguments).status();
        assert!(status.is_ok_and(|status| status.success()), "{name} failed");
    }
}
