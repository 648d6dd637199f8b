//! Signals that end the program: ^C, the system's request to terminate, a terminal that is closed.

/// What a shell calls a program that ^C ended.
const INTERRUPTED: u8 = 130;
/// What a shell calls a program that was told to terminate.
#[cfg(unix)]
const TERMINATED: u8 = 143;
/// What a shell calls a program whose terminal was closed.
#[cfg(unix)]
const HUNG_UP: u8 = 129;

/// Waits for one interruption; the exit code that tells of it.
pub(crate) async fn interrupted() -> u8 {
    Interruptions::new().next().await
}

/// All interruptions from now on, those too that come while nobody waits.
#[derive(Debug)]
pub(crate) struct Interruptions {
    #[cfg(unix)]
    interrupt: Option<tokio::signal::unix::Signal>,
    #[cfg(unix)]
    terminate: Option<tokio::signal::unix::Signal>,
    #[cfg(unix)]
    hang_up: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Interruptions {
    pub(crate) fn new() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        Self {
            interrupt: signal(SignalKind::interrupt()).ok(),
            terminate: signal(SignalKind::terminate()).ok(),
            hang_up: if ignores_hang_up() { None } else { signal(SignalKind::hangup()).ok() },
        }
    }

    /// Waits for the next; the exit code that tells of it. None is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> u8 {
        tokio::select! {
            () = one(self.interrupt.as_mut()) => INTERRUPTED,
            () = one(self.terminate.as_mut()) => TERMINATED,
            () = one(self.hang_up.as_mut()) => HUNG_UP,
        }
    }
}

/// Whether the program was started to outlive its terminal, as by `nohup`.
#[cfg(target_os = "linux")]
fn ignores_hang_up() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // The signals from 1 are the bits from the right, and SIGHUP is 1.
    ignored.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).is_some_and(|bits| bits & 1 == 1)
}

/// The same where only this can be known: `nohup` takes the terminal away.
#[cfg(all(unix, not(target_os = "linux")))]
fn ignores_hang_up() -> bool {
    use std::io::IsTerminal;
    !std::io::stdin().is_terminal() && !std::io::stdout().is_terminal() && !std::io::stderr().is_terminal()
}

/// Where there is no such signal to be had, there is nothing to wait for.
#[cfg(unix)]
async fn one(signal: Option<&mut tokio::signal::unix::Signal>) {
    if let Some(signal) = signal
        && signal.recv().await.is_some()
    {
        return;
    }
    std::future::pending().await
}

#[cfg(not(unix))]
impl Interruptions {
    pub(crate) fn new() -> Self {
        Self {}
    }

    /// Waits for the next; the exit code that tells of it.
    pub(crate) async fn next(&mut self) -> u8 {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        INTERRUPTED
    }
}
