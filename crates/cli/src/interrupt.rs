//! The wish that the program ends: ^C, or the system's.

/// What a shell calls a program that ^C ended.
const INTERRUPTED: u8 = 130;
/// What a shell calls a program that was told to terminate.
#[cfg(unix)]
const TERMINATED: u8 = 143;

/// Waits for ^C, or for the wish of the system that we end. The exit code that tells of it.
pub(crate) async fn interrupted() -> u8 {
    #[cfg(unix)]
    if let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        return tokio::select! {
            code = control_c() => code,
            _ = terminate.recv() => TERMINATED,
        };
    }
    control_c().await
}

async fn control_c() -> u8 {
    // Where there is no such signal to be had, there is nothing to wait for.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
    INTERRUPTED
}
