//! How much memory the process has, as the machine sees it: whatever the allocator adds is in it.

/// Resident bytes of this process. Other tests in the same process would be counted too, so a file that uses this
/// has one test.
pub(crate) fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .expect("it names the resident size");
    let kib = line
        .split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse::<usize>().ok());
    kib.expect("a number of KiB") * 1024
}
