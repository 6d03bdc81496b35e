//! Where the figures come from: the kernel's own books of this process and this thread.

use std::{fs, io};

fn numbers(path: &str) -> io::Result<Vec<u64>> {
    let text = fs::read_to_string(path)?;
    Ok(text.split_whitespace().filter_map(|word| word.parse().ok()).collect())
}

/// Time that this thread spent on a processor, in nanoseconds, the kernel's work for it included.
pub(crate) fn thread_time() -> io::Result<u64> {
    numbers("/proc/thread-self/schedstat")?.first().copied().ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Memory of this process that is in use, in bytes.
pub(crate) fn resident() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.map(|kib| kib * 1_024).ok_or_else(|| io::ErrorKind::InvalidData.into())
}
