//! The wish that the program ends: ^C, or the system's.

/// What a shell calls a program that ^C ended.
const INTERRUPTED: u8 = 130;
/// What a shell calls a program that was told to terminate.
#[cfg(unix)]
const TERMINATED: u8 = 143;

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
}

#[cfg(unix)]
impl Interruptions {
    pub(crate) fn new() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        Self {
            interrupt: signal(SignalKind::interrupt()).ok(),
            terminate: signal(SignalKind::terminate()).ok(),
        }
    }

    /// Waits for the next; the exit code that tells of it. None is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> u8 {
        tokio::select! {
            () = one(self.interrupt.as_mut()) => INTERRUPTED,
            () = one(self.terminate.as_mut()) => TERMINATED,
        }
    }
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
