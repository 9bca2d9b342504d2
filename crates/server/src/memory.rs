//! How much memory this process may use.

use std::fs;

/// What is assumed where the machine cannot be asked, which is anywhere but on Linux. RabbitMQ assumes the same.
pub(crate) const ASSUMED_BYTES: u64 = 1 << 30;

/// Where Linux mounts its control groups: version 2 directly there, version 1 in a directory for each controller.
const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// The memory of this machine, or of the container in which this process runs, in bytes.
///
/// The smallest of what the kernel has and of the limits of all control groups around this process. `None` on systems
/// that have no `/proc/meminfo`.
pub(crate) fn machine_bytes() -> Option<u64> {
    machine_bytes_from(|path| fs::read_to_string(path).ok())
}

fn machine_bytes_from(read: impl Fn(&str) -> Option<String>) -> Option<u64> {
    let total = meminfo_total(&read("/proc/meminfo")?)?;
    let groups = read("/proc/self/cgroup").unwrap_or_default();
    let limits = limit_files(&groups)
        .into_iter()
        .filter_map(|path| read(&path)?.trim().parse().ok());
    // Version 2 writes `max` for no limit, which is no number; version 1 a number larger than any machine.
    Some(limits.fold(total, u64::min))
}

/// The line `MemTotal:       16316412 kB`, whose unit is really KiB.
fn meminfo_total(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kib.checked_mul(1024)
}

/// The files that may hold a limit for the groups listed in `/proc/self/cgroup`, whose lines are
/// `hierarchy:controllers:path`. A limit of a parent holds for its children, so every level counts, up to the root:
/// in a container the root is often all that is visible.
fn limit_files(groups: &str) -> Vec<String> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let (root, file) = if controllers.is_empty() {
            (CGROUP_ROOT.to_owned(), "memory.max")
        } else if controllers
            .split(',')
            .any(|controller| controller == "memory")
        {
            (format!("{CGROUP_ROOT}/memory"), "memory.limit_in_bytes")
        } else {
            continue;
        };
        let mut group = path.trim_end_matches('/');
        loop {
            files.push(format!("{root}{group}/{file}"));
            let Some((parent, _)) = group.rsplit_once('/') else {
                break;
            };
            group = parent;
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;
    const MEMINFO: &str = "MemTotal:        8388608 kB\nMemFree:          123456 kB\n";

    #[track_caller]
    fn check(files: &[(&str, &str)], want: Option<u64>) {
        let read = |path: &str| {
            files
                .iter()
                .find(|(name, _)| *name == path)
                .map(|(_, text)| (*text).to_owned())
        };
        assert_eq!(machine_bytes_from(read), want);
    }

    #[test]
    fn without_groups_it_is_what_the_kernel_has() {
        check(&[("/proc/meminfo", MEMINFO)], Some(8 * GIB));
    }

    #[test]
    fn a_system_that_says_nothing_has_no_known_memory() {
        check(&[], None);
        check(&[("/proc/meminfo", "MemFree: 1 kB\n")], None);
        check(&[("/proc/meminfo", "MemTotal: many kB\n")], None);
    }

    #[test]
    fn a_limit_of_the_own_group_counts() {
        check(
            &[
                ("/proc/meminfo", MEMINFO),
                ("/proc/self/cgroup", "0::/system.slice/leveret.service\n"),
                (
                    "/sys/fs/cgroup/system.slice/leveret.service/memory.max",
                    "2147483648\n",
                ),
                ("/sys/fs/cgroup/system.slice/memory.max", "max\n"),
            ],
            Some(2 * GIB),
        );
    }

    #[test]
    fn a_limit_of_a_parent_counts_when_it_is_smaller() {
        check(
            &[
                ("/proc/meminfo", MEMINFO),
                ("/proc/self/cgroup", "0::/a/b\n"),
                ("/sys/fs/cgroup/a/b/memory.max", "2147483648\n"),
                ("/sys/fs/cgroup/a/memory.max", "1073741824\n"),
            ],
            Some(GIB),
        );
    }

    #[test]
    fn in_a_container_the_root_is_read() {
        check(
            &[
                ("/proc/meminfo", MEMINFO),
                ("/proc/self/cgroup", "0::/\n"),
                ("/sys/fs/cgroup/memory.max", "1073741824\n"),
            ],
            Some(GIB),
        );
    }

    #[test]
    fn version_1_groups_count_and_their_huge_default_does_not() {
        let groups = "5:cpu,cpuacct:/docker/1\n4:memory:/docker/1\n";
        let own = "/sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes";
        let unlimited = "9223372036854771712\n";
        check(
            &[
                ("/proc/meminfo", MEMINFO),
                ("/proc/self/cgroup", groups),
                (own, "1073741824\n"),
            ],
            Some(GIB),
        );
        check(
            &[
                ("/proc/meminfo", MEMINFO),
                ("/proc/self/cgroup", groups),
                (own, unlimited),
            ],
            Some(8 * GIB),
        );
    }

    #[test]
    fn garbage_in_the_list_of_groups_is_passed_over() {
        check(
            &[
                ("/proc/meminfo", MEMINFO),
                ("/proc/self/cgroup", "nonsense\n0:\n::::\n"),
            ],
            Some(8 * GIB),
        );
    }
}
