//! The clock that also counts the time in which the system was suspended.

use rustix::time::{ClockId, clock_gettime};

/// Milliseconds since the system was started, as CLOCK_BOOTTIME has them. They go on while the system is suspended, and
/// while the process is stopped.
pub fn boot_time_ms() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or_default();
    seconds * 1_000 + nanoseconds / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_goes_forward() {
        let before = boot_time_ms();
        assert!(before > 0 && boot_time_ms() >= before);
    }
}
