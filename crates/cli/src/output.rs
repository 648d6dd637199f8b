//! Printing: results to standard output, everything else to standard error.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};

use crate::harmless;

/// Prints a line for people to standard output and flushes it, with colours at a terminal.
pub(crate) fn print(line: impl Display) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(|error| in_output(&error))
}

/// Prints a line of JSON to standard output and flushes it, because a reader may be waiting for it. At a terminal,
/// control characters are escaped; elsewhere, data from a peer is printed unchanged.
pub(crate) fn print_json(line: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let at_terminal = out.is_terminal();
    json_line(&mut out, at_terminal, line).and_then(|()| out.flush()).map_err(|error| in_output(&error))
}

/// Prints bytes for another program, unchanged.
pub(crate) fn print_bytes(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| in_output(&error))
}

/// Prints a JSON line to standard error, as [`print_json`] does. Errors are ignored.
pub(crate) fn print_event(line: impl Display) {
    let mut out = io::stderr().lock();
    let at_terminal = out.is_terminal();
    let _ = json_line(&mut out, at_terminal, line);
}

fn json_line(out: &mut impl Write, at_terminal: bool, line: impl Display) -> io::Result<()> {
    if at_terminal { writeln!(out, "{}", harmless::json(&line.to_string())) } else { writeln!(out, "{line}") }
}

/// Adds where it failed to an error.
fn in_output(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot write to standard output: {error}"))
}

/// Waits until the reader of standard output closes it. Without this, the program would notice only when it prints the
/// next message. Never completes on systems where this cannot be detected.
pub(crate) async fn reader_closed() {
    #[cfg(unix)]
    {
        use rustix::event::{PollFd, PollFlags, poll};
        let (closed, notice) = tokio::sync::oneshot::channel();
        // The thread may block until the program exits; nothing joins it.
        std::thread::spawn(move || {
            let stdout = io::stdout();
            // No events are requested: poll always reports ERR and HUP.
            let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
            while poll(&mut watched, None) == Err(rustix::io::Errno::INTR) {}
            if watched[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) {
                let _ = closed.send(());
            }
        });
        if notice.await.is_ok() {
            return;
        }
    }
    std::future::pending::<()>().await;
}

/// Prints the error with which a command fails.
pub(crate) fn error(text: &str) {
    labelled(AnsiColor::Red.on_default().bold(), "error:", text);
}

/// Prints a hint.
pub(crate) fn hint(text: &str) {
    labelled(AnsiColor::Cyan.on_default(), " hint:", text);
}

/// Prints a problem that does not end the command.
pub(crate) fn warning(text: &str) {
    labelled(AnsiColor::Yellow.on_default(), "warning:", text);
}

/// Prints a piece of information.
pub(crate) fn note(text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{}", harmless::text(text));
}

fn labelled(style: Style, label: &str, text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{style}{label}{style:#} {}", harmless::text(text));
}

/// The writer for logs: standard error, one event per line, with control characters escaped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Log;

impl Write for Log {
    /// The formatter writes each event with one call.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let line = harmless::log_line(&String::from_utf8_lossy(event));
        io::stderr().lock().write_all(line.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
