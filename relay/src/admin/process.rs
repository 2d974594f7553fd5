//! What the kernel says about this process.

use std::fs;

/// Clock ticks per second in `/proc/self/stat`: `USER_HZ`, which Linux fixes at 100 for programs.
const TICKS_PER_SECOND: f64 = 100.0;

/// Resident memory in bytes; `None` where there is no `/proc`.
pub(super) fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    Some(kib * 1024.0)
}

/// CPU time of all threads, user and system.
pub(super) fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // proc(5): utime and stime are fields 14 and 15; field 2, the name, may hold spaces and ends with `)`.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS_PER_SECOND)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_understood() {
        assert!(resident_bytes().is_some_and(|bytes| bytes > 100_000.0));
        assert!(cpu_seconds().is_some_and(|seconds| (0.0..100_000.0).contains(&seconds)));
    }
}
