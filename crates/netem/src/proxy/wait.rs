//! Sleeping until a packet comes or the next one is due, as precisely as the system allows.

#[cfg(unix)]
pub(crate) use unix::{Precise, cpu_us, until_ready};

#[cfg(not(unix))]
pub(crate) use other::{Precise, cpu_us, until_ready};

#[cfg(unix)]
mod unix {
    use super::super::port::Port;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::io::Errno;
    use rustix::time::{ClockId, clock_gettime};
    use std::io;
    use std::time::Duration;

    /// While it lives, the thread that made it wakes up when it asked to, not up to 50 us later.
    #[derive(Debug)]
    pub(crate) struct Precise {
        #[cfg(target_os = "linux")]
        before: Option<std::num::NonZeroU64>,
    }

    impl Precise {
        #[cfg(target_os = "linux")]
        pub(crate) fn new() -> Self {
            use rustix::thread::{current_timer_slack, set_current_timer_slack};
            let before = current_timer_slack().ok().and_then(std::num::NonZeroU64::new);
            // Without it every wake-up is 50 us late, which the lateness in the report says.
            let _ = set_current_timer_slack(std::num::NonZeroU64::new(1));
            Self { before }
        }

        #[cfg(not(target_os = "linux"))]
        pub(crate) fn new() -> Self {
            Self {}
        }
    }

    #[cfg(target_os = "linux")]
    impl Drop for Precise {
        fn drop(&mut self) {
            let _ = rustix::thread::set_current_timer_slack(self.before);
        }
    }

    /// Sleeps until one of `ports` has something or `timeout` is over, and tells of each in `ready`.
    pub(crate) fn until_ready<'a>(
        ports: impl Iterator<Item = &'a Port>,
        timeout: Duration,
        ready: &mut Vec<bool>,
    ) -> io::Result<()> {
        let mut polled: Vec<_> = ports.map(|port| PollFd::new(port.socket(), PollFlags::IN)).collect();
        // A conversion that fails is far above any timeout of ours.
        let timeout = Timespec::try_from(timeout).unwrap_or_default();
        match poll(&mut polled, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        ready.clear();
        ready.extend(polled.iter().map(|polled| !polled.revents().is_empty()));
        Ok(())
    }

    /// CPU time of the calling thread in microseconds.
    pub(crate) fn cpu_us() -> u64 {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        let micros = time.tv_sec.saturating_mul(1_000_000).saturating_add(time.tv_nsec / 1000);
        u64::try_from(micros).unwrap_or(0)
    }
}

#[cfg(not(unix))]
mod other {
    use super::super::port::Port;
    use std::io;
    use std::time::Duration;

    /// How often sockets are looked at where nothing wakes us up.
    const LOOK: Duration = Duration::from_micros(500);

    /// Nothing is to be had here.
    #[derive(Debug)]
    pub(crate) struct Precise;

    impl Precise {
        pub(crate) const fn new() -> Self {
            Self
        }
    }

    /// Sleeps a little, at most `timeout`; any of `ports` may have something then.
    pub(crate) fn until_ready<'a>(
        ports: impl Iterator<Item = &'a Port>,
        timeout: Duration,
        ready: &mut Vec<bool>,
    ) -> io::Result<()> {
        std::thread::sleep(timeout.min(LOOK));
        ready.clear();
        ready.extend(ports.map(|_| true));
        Ok(())
    }

    /// Not told here.
    pub(crate) const fn cpu_us() -> u64 {
        0
    }
}
