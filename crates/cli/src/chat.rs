//! `bayeux chat`: a room in the terminal.

use std::collections::BTreeSet;
use std::io::IsTerminal;

use anstyle::{AnsiColor, Style};
use bayeux::{Client, Message};
use rustyline::error::ReadlineError;
use rustyline::{DefaultEditor, ExternalPrinter};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::mpsc;

use crate::args::Chat;
use crate::failure::Failure;
use crate::{report, session};

const NOTE: Style = Style::new().dimmed();

/// What travels on `/chat/ROOM`.
#[derive(Debug, Deserialize)]
struct Line {
    user: String,
    chat: String,
}

/// Prints above the line that is being typed.
type Screen = Box<dyn FnMut(String) + Send>;

pub(crate) async fn run(options: Chat) -> Result<(), Failure> {
    let client = session::open(&options.url, &options.connection).await?;
    let chat = format!("/chat/{}", options.room);
    let members = format!("/members/{}", options.room);
    let work = async {
        client.subscribe(&chat).await?;
        client.subscribe(&members).await?;
        join(&client, &options).await?;
        talk(&client, &options, &chat).await
    };
    session::until_interrupted(&client, work).await
}

/// Tells the demo's service who is here; a server without it has no list of members.
async fn join(client: &Client, options: &Chat) -> Result<(), Failure> {
    let join = json!({"user": options.nickname, "room": format!("/chat/{}", options.room)});
    match client.publish("/service/members", &join).await {
        Err(error) if !error.is_server() => Err(error.into()),
        _ => Ok(()),
    }
}

async fn talk(client: &Client, options: &Chat, chat: &str) -> Result<(), Failure> {
    let (mut typed, mut screen) = terminal();
    let mut events = client.events();
    let mut present = BTreeSet::new();
    screen(format!(
        "{NOTE}You are {} in {}. /who lists the members, /quit leaves.{NOTE:#}",
        options.nickname, options.room
    ));
    loop {
        tokio::select! {
            message = client.receive() => match message {
                Ok(message) => show(&message, options, &mut present, &mut screen),
                Err(error) if error.is_timeout() => screen(format!("{NOTE}{error}{NOTE:#}")),
                Err(error) => return Err(error.into()),
            },
            Some(event) = events.next() => {
                if let Some(sentence) = report::sentence(&event) {
                    screen(format!("{NOTE}{sentence}{NOTE:#}"));
                }
                // A new session has to join anew.
                if matches!(event, bayeux::Event::Rehandshaken) {
                    join(client, options).await?;
                }
            },
            line = typed.recv() => match line.as_deref().map(str::trim) {
                None | Some("/quit") => return Ok(()),
                Some("") => {}
                Some("/who") => screen(format!("{NOTE}here: {}{NOTE:#}", list(&present))),
                Some(command) if command.starts_with('/') => {
                    screen(format!("{NOTE}{command} is no command; /who lists the members, /quit leaves{NOTE:#}"));
                }
                Some(text) => {
                    if let Err(error) = client.publish(chat, &json!({"user": options.nickname, "chat": text})).await {
                        screen(format!("{NOTE}not sent: {error}{NOTE:#}"));
                    }
                }
            },
        }
    }
}

fn show(message: &Message, options: &Chat, present: &mut BTreeSet<String>, screen: &mut Screen) {
    if message.channel().as_str().starts_with("/members/") {
        let Ok(now) = message.data().decode::<BTreeSet<String>>() else { return };
        for name in now.difference(present).filter(|name| **name != options.nickname) {
            screen(format!("{NOTE}{name} is here{NOTE:#}"));
        }
        for name in present.difference(&now) {
            screen(format!("{NOTE}{name} has gone{NOTE:#}"));
        }
        *present = now;
    } else if let Ok(line) = message.data().decode::<Line>() {
        let style = colour(&line.user);
        // Other people's text must not drive this terminal.
        let clean = |text: &str| text.chars().filter(|c| !c.is_control()).collect::<String>();
        screen(format!("{style}{}{style:#}: {}", clean(&line.user), clean(&line.chat)));
    }
}

fn list(present: &BTreeSet<String>) -> String {
    if present.is_empty() {
        return "this server does not tell".to_owned();
    }
    present.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
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

/// Lines as they are typed, and a way to print between them. Without a terminal, plain input and output.
fn terminal() -> (mpsc::Receiver<String>, Screen) {
    let (lines, typed) = mpsc::channel(16);
    let plain: Screen = Box::new(|line| anstream::println!("{line}"));
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        std::thread::spawn(move || {
            for line in std::io::stdin().lines() {
                let Ok(line) = line else { break };
                if lines.blocking_send(line).is_err() {
                    break;
                }
            }
        });
        return (typed, plain);
    }
    let Ok(mut editor) = DefaultEditor::new() else { return (typed, plain) };
    let screen: Screen = match editor.create_external_printer() {
        Ok(mut printer) => Box::new(move |line| {
            // A terminal that is gone shows nothing.
            let _ = printer.print(format!("{line}\n"));
        }),
        Err(_) => plain,
    };
    std::thread::spawn(move || {
        loop {
            match editor.readline("> ") {
                Ok(line) => {
                    let _ = editor.add_history_entry(&line);
                    if lines.blocking_send(line).is_err() {
                        return;
                    }
                }
                Err(ReadlineError::Eof | ReadlineError::Interrupted) => {
                    let _ = lines.blocking_send("/quit".to_owned());
                    return;
                }
                Err(_) => return,
            }
        }
    });
    (typed, screen)
}
