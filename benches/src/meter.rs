//! Clocks and memory of this process.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::job::{Job, Measured, Task};

/// How often the clock is looked at: reading it for each message would be measured, too.
const STRIDE: u64 = 64;

/// Counts messages, first to warm up, then in earnest.
#[derive(Debug)]
pub(crate) struct Meter {
    warm: Duration,
    /// How many messages come first, in any case.
    after: u64,
    time: Duration,
    seen: u64,
    next: u64,
    stage: Stage,
    calls: Vec<u32>,
}

#[derive(Debug)]
enum Stage {
    Ready,
    Warming(Instant),
    Measuring { since: Instant, cpu: Duration, from: u64 },
}

impl Meter {
    pub(crate) fn of(job: &Job) -> Self {
        // A long run is warmed up by what comes first, so that it can be short, too.
        let (warm, after) = match job.task {
            Task::Long => (Duration::ZERO, job.count as u64),
            _ => (job.warm(), 0),
        };
        Self { warm, after, time: job.time(), seen: 0, next: 1, stage: Stage::Ready, calls: Vec::new() }
    }

    /// One message came. The measurement, when it is over.
    #[inline]
    pub(crate) fn message(&mut self) -> Option<Measured> {
        self.messages(1)
    }

    /// Some messages came.
    #[inline]
    pub(crate) fn messages(&mut self, count: u64) -> Option<Measured> {
        self.seen += count;
        if self.seen < self.next { None } else { self.look() }
    }

    /// One call was answered, which began then.
    pub(crate) fn call(&mut self, began: Instant) -> Option<Measured> {
        if matches!(self.stage, Stage::Measuring { .. }) {
            self.calls.push(began.elapsed().as_nanos().min(u128::from(u32::MAX)) as u32);
        }
        self.next = self.seen + 1;
        self.messages(1)
    }

    fn look(&mut self) -> Option<Measured> {
        self.next = self.seen + STRIDE;
        let now = Instant::now();
        match self.stage {
            Stage::Ready => self.stage = Stage::Warming(now),
            Stage::Warming(since) if now - since >= self.warm && self.seen >= self.after => {
                self.stage = Stage::Measuring { since: now, cpu: cpu_time(), from: self.seen };
            }
            Stage::Measuring { since, cpu, from } if now - since >= self.time => {
                return Some(Measured {
                    messages: (self.seen - from) as f64,
                    seconds: (now - since).as_secs_f64(),
                    cpu_seconds: (cpu_time() - cpu).as_secs_f64(),
                    peak_kib: status_kib("VmHWM"),
                    p50_us: self.median_call(),
                    ..Measured::default()
                });
            }
            Stage::Warming(_) | Stage::Measuring { .. } => {}
        }
        None
    }

    fn median_call(&mut self) -> f64 {
        self.calls.sort_unstable();
        self.calls.get(self.calls.len() / 2).map_or(0.0, |nanos| f64::from(*nanos) / 1000.0)
    }
}

/// The CPU time of this process.
pub(crate) fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// A line of `/proc/self/status`, such as `VmRSS`; 0 where there is no such file.
pub(crate) fn status_kib(line: &str) -> f64 {
    kib_of("/proc/self/status", line)
}

/// The same of another file.
pub(crate) fn kib_of(file: &str, line: &str) -> f64 {
    let status = std::fs::read_to_string(file).unwrap_or_default();
    let value = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'));
    value.and_then(|text| text.split_whitespace().next()?.parse().ok()).unwrap_or(0.0)
}
