//! How much memory a process has resident, from `/proc`.

use std::fs;

/// Resident bytes of the process, as proc_pid_statm(5) counts them; shared pages count in full. `None` when it is gone.
pub(crate) fn resident_bytes(pid: u32) -> Option<u64> {
    if pid == 0 {
        return None;
    }
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory_and_none_is_not_one() {
        assert!(resident_bytes(std::process::id()).is_some_and(|bytes| bytes > 100_000));
        assert_eq!(resident_bytes(0), None);
        assert_eq!(resident_bytes(u32::MAX), None);
    }
}
