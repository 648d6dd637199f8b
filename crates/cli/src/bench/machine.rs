//! CPU time and memory of this process.

use std::time::Duration;

/// CPU time and memory, on systems that provide them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machine {
    pub(crate) cpu: Option<Duration>,
    /// The peak of memory so far, in KiB.
    pub(crate) peak_kib: Option<u64>,
}

impl Machine {
    pub(crate) fn now() -> Self {
        Self { cpu: cpu(), peak_kib: peak_kib() }
    }

    /// The usage since an earlier measurement.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let cpu = self.cpu.zip(before.cpu).map(|(now, then)| now.saturating_sub(then));
        Self { cpu, ..*self }
    }
}

#[cfg(unix)]
fn cpu() -> Option<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Some(Duration::new(time.tv_sec.try_into().ok()?, time.tv_nsec.try_into().ok()?))
}

#[cfg(not(unix))]
fn cpu() -> Option<Duration> {
    None
}

/// Read from `/proc` on Linux; unknown elsewhere.
fn peak_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}
