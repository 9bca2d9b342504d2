//! What processes of this machine use.

use std::fs;

/// How many ticks `/proc` counts a second. A constant of Linux's interface to programs, whatever the kernel's own timer.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a group of processes has used, or uses.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Processor time in seconds since they began, of user and system.
    pub(crate) cpu_seconds: f64,
    /// Resident memory in bytes; what several of them share counts for each.
    pub(crate) resident_bytes: u64,
}

/// Looks up what these processes and all their descendants use. Those that are gone count nothing; nothing at all is
/// found on systems without Linux's `/proc`.
pub(crate) fn of_tree(roots: &[u32]) -> Usage {
    let all = processes();
    let mut members = Vec::new();
    let mut open = roots.to_vec();
    while let Some(id) = open.pop() {
        if let Some(found) = all.iter().find(|process| process.id == id)
            && !members.contains(&id)
        {
            members.push(found.id);
            let children = all.iter().filter(|process| process.parent == id);
            open.extend(children.map(|process| process.id));
        }
    }
    let chosen = all.iter().filter(|process| members.contains(&process.id));
    chosen.fold(Usage::default(), |sum, process| Usage {
        cpu_seconds: sum.cpu_seconds + process.cpu_seconds,
        resident_bytes: sum.resident_bytes + resident_bytes(process.id),
    })
}

/// The processor time in seconds that this process has used.
pub(crate) fn own_cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    parse_stat(&stat).map_or(0.0, |process| process.cpu_seconds)
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Process {
    id: u32,
    parent: u32,
    cpu_seconds: f64,
}

fn processes() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            path.file_name()?.to_str()?.parse::<u32>().ok()?;
            parse_stat(&fs::read_to_string(path.join("stat")).ok()?)
        })
        .collect()
}

/// Reads a line of `/proc/PID/stat`: see proc_pid_stat(5).
fn parse_stat(stat: &str) -> Option<Process> {
    // The name stands in brackets and may itself have brackets and spaces.
    let (id, rest) = stat.split_once(" (")?;
    let (_, rest) = rest.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    // Counted from behind the name, where the third field of the manual is the first.
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let (parent, user, system) = (number(4)?, number(14)?, number(15)?);
    Some(Process {
        id: id.parse().ok()?,
        parent: u32::try_from(parent).ok()?,
        cpu_seconds: (user + system) as f64 / TICKS_PER_SECOND,
    })
}

fn resident_bytes(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    parse_resident(&status).unwrap_or_default()
}

fn parse_resident(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_have_brackets_and_spaces() {
        let stat = "42 (a) b (c) S 7 42 42 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 4 0 1 2 3";
        let process = Process {
            id: 42,
            parent: 7,
            cpu_seconds: 3.0,
        };
        assert_eq!(parse_stat(stat), Some(process));
        assert_eq!(parse_stat("42 (short) S 7"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn memory_is_read_in_kibibytes() {
        assert_eq!(
            parse_resident("Name:\tx\nVmRSS:\t    12 kB\n"),
            Some(12_288)
        );
        assert_eq!(parse_resident("Name:\tkthreadd\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_uses_memory() {
        let own = of_tree(&[std::process::id()]);
        assert!(own.resident_bytes > 100_000, "{own:?}");
        let nobody = of_tree(&[]);
        assert_eq!(nobody.resident_bytes, 0);
    }
}
