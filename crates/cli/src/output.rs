//! What is printed: JSON lines and texts, to whom they belong.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};

use crate::harmless;

/// Prints a line for people to standard output at once, with colours at a terminal.
pub(crate) fn print(line: impl Display) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(|error| in_output(&error))
}

/// Prints a line of JSON to standard output at once: whoever reads it may be waiting. At a terminal, what a terminal
/// would obey is escaped; elsewhere, what came from a peer is printed as it came.
pub(crate) fn print_json(line: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let at_terminal = out.is_terminal();
    json_line(&mut out, at_terminal, line).and_then(|()| out.flush()).map_err(|error| in_output(&error))
}

/// Prints what is for another program, as it is.
pub(crate) fn print_bytes(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| in_output(&error))
}

/// Prints a JSON line to standard error, as [`print_json`]; nothing depends on its outcome.
pub(crate) fn print_event(line: impl Display) {
    let mut out = io::stderr().lock();
    let at_terminal = out.is_terminal();
    let _ = json_line(&mut out, at_terminal, line);
}

fn json_line(out: &mut impl Write, at_terminal: bool, line: impl Display) -> io::Result<()> {
    if at_terminal { writeln!(out, "{}", harmless::json(&line.to_string())) } else { writeln!(out, "{line}") }
}

/// Says where it failed.
fn in_output(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot write to standard output: {error}"))
}

/// Waits until whoever reads standard output has gone, which a write would otherwise tell only when the next message
/// comes. Waits for ever where that cannot be known.
pub(crate) async fn reader_gone() {
    #[cfg(unix)]
    {
        use rustix::event::{PollFd, PollFlags, poll};
        let (gone, told) = tokio::sync::oneshot::channel();
        // The thread may wait for as long as the program runs; nobody waits for it.
        std::thread::spawn(move || {
            let stdout = io::stdout();
            // Nothing is asked for: that the other end has gone is always told.
            let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
            while poll(&mut watched, None) == Err(rustix::io::Errno::INTR) {}
            if watched[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) {
                let _ = gone.send(());
            }
        });
        if told.await.is_ok() {
            return;
        }
    }
    std::future::pending::<()>().await;
}

/// Tells why a command fails.
pub(crate) fn error(text: &str) {
    labelled(AnsiColor::Red.on_default().bold(), "error:", text);
}

/// Tells what may help.
pub(crate) fn hint(text: &str) {
    labelled(AnsiColor::Cyan.on_default(), " hint:", text);
}

/// Tells what happened that does not end the command.
pub(crate) fn warning(text: &str) {
    labelled(AnsiColor::Yellow.on_default(), "warning:", text);
}

/// Tells how things stand.
pub(crate) fn note(text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{}", harmless::text(text));
}

fn labelled(style: Style, label: &str, text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{style}{label}{style:#} {}", harmless::text(text));
}

/// Where logs are written: standard error, one event a line, and without what a terminal would obey.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Log;

impl Write for Log {
    /// The formatter writes each event at once.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let line = harmless::log_line(&String::from_utf8_lossy(event));
        io::stderr().lock().write_all(line.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
