//! `bayeux chat` and colours at a terminal, which here is a pseudo terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::running::{Running, Server, TIME_LIMIT, command};

/// The command at a terminal.
struct Terminal {
    child: Child,
    keyboard: File,
    device: File,
    shown: Receiver<String>,
    seen: String,
    /// The terminal shows nothing while this is held.
    slow: Arc<Mutex<()>>,
}

impl Terminal {
    fn start(args: &[&str]) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let path = std::path::Path::new(std::ffi::OsStr::from_bytes(name.as_bytes()));
        let device = File::options().read(true).write(true).open(path).unwrap();
        tcsetwinsize(&device, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let end = || Stdio::from(device.try_clone().unwrap());
        let child = command()
            .args(args)
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        let keyboard = File::from(master);
        let mut screen = keyboard.try_clone().unwrap();
        let (sender, shown) = channel();
        let slow: Arc<Mutex<()>> = Arc::default();
        let gate = Arc::clone(&slow);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = screen.read(&mut buffer) {
                drop(gate.lock());
                if sender.send(String::from_utf8_lossy(&buffer[..read]).into_owned()).is_err() {
                    break;
                }
            }
        });
        Self { child, keyboard, device, shown, seen: String::new(), slow }
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the text is shown, after what was waited for before.
    fn sees(&mut self, text: &str) {
        let deadline = Instant::now() + TIME_LIMIT;
        loop {
            if let Some(at) = self.seen.find(text) {
                self.seen.drain(..at + text.len());
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.shown.recv_timeout(left) {
                Ok(more) => self.seen.push_str(&more),
                Err(_) => panic!("{text:?} is not shown, but {:?}", self.seen),
            }
        }
    }

    fn exit_code(&mut self) -> Option<i32> {
        let deadline = Instant::now() + TIME_LIMIT;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("it does not end");
    }

    /// Whether lines are edited by the terminal itself, as a shell expects to find it.
    fn is_as_it_was(&self) -> bool {
        let modes = tcgetattr(&self.device).unwrap().local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const UP: &str = "\u{1b}[A";

#[test]
fn lines_that_arrive_leave_alone_what_is_being_typed() {
    let server = Server::start();
    let mut ann = Terminal::start(&["chat", &server.url, "ann"]);
    ann.sees("here: ann");
    let mut bob = Running::start(&["chat", &server.url, "bob"]);
    ann.sees("bob has joined");
    ann.sees("ann> ");
    ann.press("hel");
    ann.sees("hel");
    bob.say("news");
    // It stands on a line of its own, and the line that is being typed is there again after it.
    ann.sees(": news");
    ann.sees("\n");
    ann.sees("ann> hel");
    ann.press("lo\r");
    assert_eq!(until(&bob, "ann: "), "ann: hello");

    ann.press(UP);
    ann.sees("ann> hello");
    ann.press(", again\r");
    assert_eq!(until(&bob, "ann: "), "ann: hello, again");

    ann.press("/quit\r");
    assert_eq!(ann.exit_code(), Some(0));
    assert_eq!(until(&bob, "ann has"), "ann has left");
    assert!(ann.is_as_it_was());
}

#[test]
fn control_c_leaves_the_chat() {
    let server = Server::start();
    let mut ann = Terminal::start(&["chat", &server.url, "ann"]);
    ann.sees("here: ann");
    ann.sees("ann> ");
    ann.press("\u{3}");
    assert_eq!(ann.exit_code(), Some(0));
    assert!(ann.is_as_it_was());
}

#[test]
fn a_chat_that_is_reported_to_end_gives_the_terminal_back() {
    let server = Server::start();
    let mut ann = Terminal::start(&["chat", &server.url, "ann"]);
    ann.sees("here: ann");
    // The prompt that follows is the editor's.
    ann.sees("ann> ");
    ann.press("half a li");
    ann.sees("half a li");
    assert!(!ann.is_as_it_was(), "the editor has it");
    kill_process(Pid::from_child(&ann.child), Signal::TERM).unwrap();
    assert_eq!(ann.exit_code(), Some(143));
    assert!(ann.is_as_it_was());
}

/// What is pasted, and the lines in it.
fn pastes() -> Vec<(String, Vec<String>)> {
    let lines = |name: &str, count| (1..=count).map(|n| format!("{name}{n}")).collect::<Vec<_>>();
    let ended =
        |lines: &[String], end: &str| lines.iter().map(|line| format!("{line}{end}")).collect::<String>();
    let mut pastes = Vec::new();
    for (name, end) in [("cr", "\r"), ("crlf", "\r\n"), ("lf", "\n"), ("empty", "\r\r")] {
        let lines = lines(name, 4);
        pastes.push((ended(&lines, end), lines));
    }
    // More than a terminal or the editor takes at once.
    let many = lines("a-line-that-is-one-of-many-", 120);
    pastes.push((ended(&many, "\r"), many));
    // A terminal that marks what is pasted: it is sent when the user says so.
    for (name, end) in [("marked-cr", "\r"), ("marked-crlf", "\r\n"), ("marked-lf", "\n")] {
        let lines = lines(name, 3);
        pastes.push((format!("\u{1b}[200~{}\u{1b}[201~\r", lines.join(end)), lines));
    }
    pastes
}

#[test]
fn pasted_lines_are_all_said_in_their_order() {
    let server = Server::start();
    let mut ann = Terminal::start(&["chat", &server.url, "ann"]);
    ann.sees("here: ann");
    let bob = Running::start(&["chat", &server.url, "bob"]);
    ann.sees("bob has joined");
    for slow in [false, true] {
        for (paste, lines) in pastes() {
            let slow_terminal = Arc::clone(&ann.slow);
            let held = slow.then(|| slow_terminal.lock().unwrap());
            ann.press(&paste);
            drop(held);
            for line in lines {
                assert_eq!(until(&bob, "ann: "), format!("ann: {line}"), "{paste:?}");
            }
        }
    }
    // Several times what the kernel keeps of a terminal's input.
    let many: Vec<_> = (1..=1000).map(|n| format!("one-of-a-thousand-{n}")).collect();
    ann.press(&many.iter().map(|line| format!("{line}\r")).collect::<String>());
    for line in many {
        assert_eq!(until(&bob, "ann: "), format!("ann: {line}"));
    }
    ann.press("last\rof all\r/quit\rnever\r");
    assert_eq!(ann.exit_code(), Some(0));
    assert_eq!(until(&bob, "ann: "), "ann: last");
    assert_eq!(until(&bob, "ann"), "ann: of all");
    assert_eq!(until(&bob, "ann"), "ann has left");
}

/// What a terminal would obey, or not show, and how it is written.
const RAW: &str = "\u{9b}31m\u{85}\u{202e}\u{2066}\u{2028}\u{200b}\u{7f}\u{e0041}";
const WRITTEN: &str = r"\u009b31m\u0085\u202e\u2066\u2028\u200b\u007f\udb40\udc41";

#[test]
fn what_comes_from_others_does_not_drive_the_terminal() {
    let server = Server::start();
    let data = format!("{{\"{RAW}\":\"{RAW}\"}}");
    let written = format!("{{\"{WRITTEN}\":\"{WRITTEN}\"}}");

    let mut subscriber = Terminal::start(&["subscribe", &server.url, "/a"]);
    subscriber.sees("subscribed to");
    server.publish("/a", &data);
    subscriber.sees(&format!(r#"{{"channel":"/a","data":{written}}}"#));

    let mut request = Terminal::start(&["request", &server.url, "/service/echo", &data]);
    request.sees(&written);
    assert_eq!(request.exit_code(), Some(0));

    let mut pipe = Terminal::start(&["pipe", &server.url]);
    pipe.sees("connected");
    pipe.press("{\"subscribe\":\"/a\"}\n");
    pipe.sees("\"subscribed\"");
    server.publish("/a", &data);
    pipe.sees(&format!(r#"{{"type":"message","channel":"/a","data":{written}}}"#));

    let mut log = Terminal::start(&["publish", &server.url, "/a", &data, "-v"]);
    log.sees(r"\u009b31m\u0085\u202e\u2066\u2028\u{200b}\u007f\u{e0041}");
    assert_eq!(log.exit_code(), Some(0));

    let mut ann = Terminal::start(&["chat", &server.url, "ann"]);
    ann.sees("here: ann");
    server.publish("/chat/demo", &format!(r#"{{"user":"eve{RAW}","chat":"hi{RAW}there"}}"#));
    ann.sees("eve31m");
    ann.sees("hi31m there");
}

#[test]
fn a_terminal_that_is_closed_ends_the_chat() {
    if crate::running::hang_up_is_ignored() {
        return;
    }
    let server = Server::start();
    let mut ann = Terminal::start(&["chat", &server.url, "ann"]);
    ann.sees("here: ann");
    let bob = Running::start(&["chat", &server.url, "bob"]);
    ann.sees("bob has joined");
    kill_process(Pid::from_child(&ann.child), Signal::HUP).unwrap();
    assert_eq!(ann.exit_code(), Some(129));
    // The session was closed, and not left for the server to find out.
    assert_eq!(until(&bob, "ann has"), "ann has left");
}

#[test]
fn colours_are_for_terminals() {
    let server = Server::start();
    let mut terminal = Terminal::start(&["inspect", &server.url]);
    terminal.sees("\u{1b}[32mwebsocket");
    assert_eq!(terminal.exit_code(), Some(0));
    let plain = Running::start(&["inspect", &server.url]);
    assert!(plain.line().starts_with("websocket "));
}

#[test]
fn a_subscriber_at_a_terminal_is_reported_that_it_listens() {
    let server = Server::start();
    let mut terminal = Terminal::start(&["subscribe", &server.url, "/a", "/b"]);
    terminal.sees("subscribed to /a, /b over websocket; ^C ends");
}

/// The next line that begins so; those before it are passed over.
fn until(process: &Running, beginning: &str) -> String {
    loop {
        let line = process.line();
        if line.starts_with(beginning) {
            return line;
        }
    }
}
