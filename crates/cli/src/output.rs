//! What is printed: JSON lines and texts, to whom they belong.

use std::fmt::Display;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

/// Prints a line to standard output at once: whoever reads it may be waiting.
pub(crate) fn print(line: impl Display) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Prints a JSON line to standard error, whose end is nobody's concern.
pub(crate) fn print_event(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
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
    let _ = writeln!(anstream::stderr().lock(), "{}", clean(text));
}

fn labelled(style: Style, label: &str, text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{style}{label}{style:#} {}", clean(text));
}

/// Other people's text must not drive this terminal: no control characters, nothing that turns the direction of
/// what follows.
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .filter_map(|c| match c {
            '\n' | '\r' | '\t' => Some(' '),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => None,
            c if c.is_control() => None,
            c => Some(c),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn text_of_others_cannot_drive_the_terminal() {
        assert_eq!(super::clean("a\u{1b}[2Jb\nc\u{202e}d\u{7}é"), "a[2Jb cdé");
    }
}
