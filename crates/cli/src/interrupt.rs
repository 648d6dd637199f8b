//! The signals that end the program: SIGINT (^C), SIGTERM, and SIGHUP when the terminal is closed.

/// The exit code after SIGINT, as shells report it.
const INTERRUPTED: u8 = 130;
/// The exit code after SIGTERM.
#[cfg(unix)]
const TERMINATED: u8 = 143;
/// The exit code after SIGHUP.
#[cfg(unix)]
const HUNG_UP: u8 = 129;

/// Waits for one signal and returns its exit code.
pub(crate) async fn interrupted() -> u8 {
    Interruptions::new().next().await
}

/// All signals from now on, including those that arrive while nothing waits for them.
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

    /// Waits for the next signal and returns its exit code. No signal is lost if the future is dropped.
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
    // Bit 0 is signal 1, SIGHUP.
    ignored.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).is_some_and(|bits| bits & 1 == 1)
}

/// The same on systems without `/proc`. `nohup` detaches the terminal, so no stream is one.
#[cfg(all(unix, not(target_os = "linux")))]
fn ignores_hang_up() -> bool {
    use std::io::IsTerminal;
    !std::io::stdin().is_terminal() && !std::io::stdout().is_terminal() && !std::io::stderr().is_terminal()
}

/// Waits for a signal; for ever, if it could not be registered.
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

    /// Waits for the next signal and returns its exit code.
    pub(crate) async fn next(&mut self) -> u8 {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        INTERRUPTED
    }
}
