//! Who goes first on a busy machine.

/// Who goes first on a busy machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Priority {
    /// The engine, before all ordinary threads, where that is permitted: root, `CAP_SYS_NICE`, or `RLIMIT_RTPRIO`.
    #[default]
    RealTime,
    /// Whoever the scheduler picks.
    Ordinary,
}

/// While it lives, the thread that made it goes first if it may.
#[derive(Debug)]
pub(crate) struct Raised {
    is_real_time: bool,
}

impl Raised {
    /// Raises the calling thread as asked, as far as it may.
    pub(crate) fn to(priority: Priority) -> Self {
        let is_real_time = match priority {
            Priority::RealTime => real_time(),
            Priority::Ordinary => false,
        };
        Self { is_real_time }
    }

    /// Whether it goes before ordinary threads.
    pub(crate) const fn is_real_time(&self) -> bool {
        self.is_real_time
    }
}

#[cfg(target_os = "linux")]
fn real_time() -> bool {
    crate::lab::real_time().is_ok()
}

/// Nothing is known of other systems.
#[cfg(not(target_os = "linux"))]
const fn real_time() -> bool {
    false
}

impl Drop for Raised {
    fn drop(&mut self) {
        #[cfg(target_os = "linux")]
        if self.is_real_time {
            // A thread may always lower itself; one that cannot ends as it is.
            let _ = crate::lab::ordinary_priority();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_raised_without_asking() {
        assert!(!Raised::to(Priority::Ordinary).is_real_time());
    }
}
