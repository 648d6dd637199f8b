//! The screen of the chat: lines that arrive stand above the line that is being typed.

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
    /// A line is being typed: the terminal is the editor's.
    reading: AtomicBool,
}

/// What is typed, line by line.
pub(crate) enum Typed {
    /// Unbounded, because a reader that waits here would not print what this program waits to be printed.
    AtTerminal(mpsc::UnboundedReceiver<String>),
    Plain {
        lines: Lines<BufReader<Stdin>>,
        /// The rest of a line that had carriage returns in it.
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
    /// The next line, or why there is none in its place; `None` at the end. Nothing is lost when the future is dropped.
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

/// The lines of what was pasted, whatever ends them.
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

    /// Whether the user sees what was typed.
    pub(crate) fn shows_what_is_typed(&self) -> bool {
        self.editor.is_some()
    }

    /// Shows what somebody said.
    pub(crate) fn said(&mut self, user: &str, text: &str) -> io::Result<()> {
        let style = colour(user);
        (self.print)(format!("{style}{}{style:#}: {}", harmless::text(user), harmless::text(text)))
    }

    /// Shows something that nobody said.
    pub(crate) fn note(&mut self, text: &str) -> io::Result<()> {
        (self.print)(format!("{NOTE}{}{NOTE:#}", harmless::text(text)))
    }
}

impl Drop for Screen {
    /// Gives the terminal back as it was: the editor may still be waiting for a key, and nobody will wait for it.
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

/// A line editor, and a way to print while it is at work; `None` without a terminal.
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
            // The editor has ended.
            Err(_) => output::print(line),
        }
    };
    Some((editor, Box::new(print)))
}

/// Reads until the end of the input (^D), ^C, or until nobody listens any more.
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
            // What is pasted may have line breaks in it.
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

/// Each name has a colour of its own.
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
