//! The screen of the chat: received lines are printed above the line that is being typed.

use std::collections::VecDeque;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anstyle::{AnsiColor, Style};
use rustyline::error::ReadlineError;
use rustyline::{Config, DefaultEditor, ExternalPrinter};
use tokio::io::{BufReader, Stdin};
use tokio::sync::mpsc;

use crate::input::{self, Line, Lines};
use crate::{harmless, output};

const NOTE: Style = Style::new().dimmed();

/// Where lines are shown.
pub(crate) struct Screen {
    print: Print,
    editor: Option<Arc<EditorState>>,
    #[cfg(unix)]
    before: Option<rustix::termios::Termios>,
}

type Print = Box<dyn FnMut(String) -> io::Result<()> + Send>;

#[derive(Default)]
struct EditorState {
    /// A terminal with a line editor.
    reading: AtomicBool,
}

/// The lines that the user types.
pub(crate) enum Typed {
    /// Unbounded: if the editor thread waited here, it would not print, and this program waits for it to print.
    AtTerminal(mpsc::UnboundedReceiver<String>),
    Plain {
        lines: Lines<BufReader<Stdin>>,
        /// The rest of a line that contained carriage returns.
        rest: VecDeque<String>,
    },
}

/// Opens the screen: what is typed until its end or the line `last`, and where to show things. Without a terminal that
/// is standard input and output.
pub(crate) fn open(prompt: String, last: &'static str) -> (Typed, Screen) {
    match editor() {
        Some((editor, print)) => {
            let (lines, typed) = mpsc::unbounded_channel();
            let screen = Screen::of_terminal(print);
            let state = screen.editor.clone().unwrap_or_default();
            std::thread::spawn(move || read_terminal(editor, &prompt, last, &state, &lines));
            (Typed::AtTerminal(typed), screen)
        }
        None => (Typed::Plain { lines: input::stdin(), rest: VecDeque::new() }, Screen::plain()),
    }
}

impl Typed {
    /// The next line, or why it cannot be used; `None` at the end. Nothing is lost if the future is dropped.
    pub(crate) async fn next(&mut self) -> Option<Result<String, String>> {
        match self {
            Self::AtTerminal(lines) => lines.recv().await.map(Ok),
            Self::Plain { lines, rest } => loop {
                if let Some(line) = rest.pop_front() {
                    return Some(Ok(line));
                }
                match lines.next().await {
                    Ok(Some(Line { text: Ok(text), .. })) => rest.extend(separate(&text).map(str::to_owned)),
                    Ok(Some(Line { number, text: Err(why) })) => {
                        return Some(Err(format!("line {number} {why}")));
                    }
                    Ok(None) | Err(_) => return None,
                }
            },
        }
    }
}

/// Splits pasted text into lines, at any kind of line end.
fn separate(text: &str) -> impl Iterator<Item = &str> {
    text.split(['\n', '\r']).filter(|line| !line.trim().is_empty())
}

impl Screen {
    fn plain() -> Self {
        Self {
            print: Box::new(output::print),
            editor: None,
            #[cfg(unix)]
            before: None,
        }
    }

    fn of_terminal(print: Print) -> Self {
        Self {
            print,
            editor: Some(Arc::default()),
            #[cfg(unix)]
            before: rustix::termios::tcgetattr(io::stdin()).ok(),
        }
    }

    /// Whether the terminal shows what the user types.
    pub(crate) fn shows_what_is_typed(&self) -> bool {
        self.editor.is_some()
    }

    /// Shows a line of a user.
    pub(crate) fn said(&mut self, user: &str, text: &str) -> io::Result<()> {
        let style = colour(user);
        (self.print)(format!("{style}{}{style:#}: {}", harmless::text(user), harmless::text(text)))
    }

    /// Shows a notice.
    pub(crate) fn note(&mut self, text: &str) -> io::Result<()> {
        (self.print)(format!("{NOTE}{}{NOTE:#}", harmless::text(text)))
    }
}

impl Drop for Screen {
    /// Restores the terminal. The editor may still wait for a key, and its thread is not joined.
    fn drop(&mut self) {
        if self.editor.as_ref().is_some_and(|editor| editor.reading.load(Ordering::SeqCst)) {
            // Pastes come as they are again, and what follows begins on a line of its own.
            let _ = output::print("\u{1b}[?2004l");
            #[cfg(unix)]
            if let Some(before) = &self.before {
                let _ =
                    rustix::termios::tcsetattr(io::stdin(), rustix::termios::OptionalActions::Now, before);
            }
        }
    }
}

/// A line editor, and a printer that works while it runs; `None` without a terminal.
fn editor() -> Option<(DefaultEditor, Print)> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return None;
    }
    let config = Config::builder().auto_add_history(true).build();
    let mut editor = DefaultEditor::with_config(config).ok()?;
    let mut printer = editor.create_external_printer().ok()?;
    let colours = anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never;
    let print = move |line: String| {
        let line = if colours { line } else { anstream::adapter::strip_str(&line).to_string() };
        match printer.print(format!("{line}\n")) {
            Ok(()) => Ok(()),
            // The editor thread has ended.
            Err(_) => output::print(line),
        }
    };
    Some((editor, Box::new(print)))
}

/// Reads lines until the end of the input (^D), ^C, or until the receiver is dropped.
fn read_terminal(
    mut editor: DefaultEditor,
    prompt: &str,
    last: &str,
    state: &EditorState,
    lines: &mpsc::UnboundedSender<String>,
) {
    loop {
        state.reading.store(true, Ordering::SeqCst);
        let line = editor.readline(prompt);
        state.reading.store(false, Ordering::SeqCst);
        match line {
            // Pasted text may contain line breaks.
            Ok(pasted) => {
                for line in separate(&pasted) {
                    if lines.send(line.to_owned()).is_err() || line.trim() == last {
                        return;
                    }
                }
            }
            Err(ReadlineError::Signal(_)) => {}
            Err(_) => return,
        }
    }
}

/// The colour of a name.
fn colour(name: &str) -> Style {
    const COLOURS: [AnsiColor; 6] = [
        AnsiColor::Cyan,
        AnsiColor::Green,
        AnsiColor::Yellow,
        AnsiColor::Blue,
        AnsiColor::Magenta,
        AnsiColor::Red,
    ];
    let sum = name.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
    COLOURS[sum % COLOURS.len()].on_default().bold()
}
