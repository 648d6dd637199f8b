//! Processes of the command: started, talked to, and ended with the test whatever its outcome is.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take. Far more than it does, so that a busy machine fails no test.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(30);

/// The command, without what the environment of the test would add.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bayeux"));
    for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env_remove(name);
    }
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("BAYEUX_") {
            command.env_remove(name);
        }
    }
    // There is no such file: what the user of this machine keeps is not for tests.
    command.env("BAYEUX_CONFIG", concat!(env!("CARGO_TARGET_TMPDIR"), "/no-config.toml"));
    command.env_remove("RUST_LOG").env_remove("CLICOLOR_FORCE").env("COLUMNS", "100");
    command
}

/// The command, run to its end.
pub(crate) fn bayeux(args: &[&str]) -> snapbox::cmd::Command {
    snapbox::cmd::Command::from_std(command()).args(args).timeout(TIME_LIMIT)
}

/// The command, as long as it runs.
pub(crate) struct Running {
    child: Child,
    input: Option<ChildStdin>,
    output: Receiver<String>,
    errors: Receiver<String>,
}

impl Running {
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::of(command().args(args))
    }

    pub(crate) fn of(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command starts");
        let input = child.stdin.take();
        let output = lines(child.stdout.take().unwrap());
        let errors = lines(child.stderr.take().unwrap());
        Self { child, input, output, errors }
    }

    /// The next line of standard output.
    pub(crate) fn line(&self) -> String {
        self.output.recv_timeout(TIME_LIMIT).unwrap_or_else(|error| {
            panic!(
                "no line came: {error}; on standard error: {:?}",
                self.errors.try_iter().collect::<Vec<_>>()
            )
        })
    }

    /// The next line of standard output, if one comes in that time.
    pub(crate) fn line_within(&self, time: Duration) -> Option<String> {
        self.output.recv_timeout(time).ok()
    }

    /// The next line of standard output as JSON.
    pub(crate) fn json(&self) -> Value {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line} is no JSON: {error}"))
    }

    /// The next line of standard output that says so, as JSON; those before it are passed over.
    pub(crate) fn json_where(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let line = self.json();
            if wanted(&line) {
                return line;
            }
        }
    }

    /// Waits until a line of standard error contains the text; the line.
    pub(crate) fn error_with(&self, text: &str) -> String {
        loop {
            let line = self.errors.recv_timeout(TIME_LIMIT);
            let line = line.unwrap_or_else(|error| panic!("no line with {text:?}: {error}"));
            if line.contains(text) {
                return line;
            }
        }
    }

    /// As [`Running::say`], to a process that may have ended.
    #[cfg(unix)]
    pub(crate) fn try_to_say(&mut self, line: &str) {
        let _ = writeln!(self.input.as_mut().expect("the input is open"), "{line}");
    }

    pub(crate) fn say(&mut self, line: &str) {
        let input = self.input.as_mut().expect("the input is open");
        writeln!(input, "{line}").unwrap();
        input.flush().unwrap();
    }

    pub(crate) fn end_input(&mut self) {
        self.input = None;
    }

    /// What is left of standard output and standard error when the process has ended.
    pub(crate) fn rest(&self) -> (Vec<String>, Vec<String>) {
        (self.output.iter().collect(), self.errors.iter().collect())
    }

    /// Waits for the end; the exit code.
    pub(crate) fn exit_code(&mut self) -> i32 {
        let deadline = Instant::now() + TIME_LIMIT;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or_else(|| panic!("it was killed: {status}"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("it does not end");
    }

    /// Ends it at once, as a machine that loses its power.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    #[cfg(unix)]
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `bayeux serve`, with the URL that it printed.
pub(crate) struct Server {
    pub(crate) process: Running,
    pub(crate) url: String,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::at("0")
    }

    pub(crate) fn at(port: &str) -> Self {
        Self::with(&["--port", port])
    }

    pub(crate) fn with(options: &[&str]) -> Self {
        let process = Running::start(&[&["serve"], options].concat());
        let url = process.line();
        Self { process, url }
    }

    /// Ends it without a word to anybody, and starts another at the same port.
    pub(crate) fn restart(&mut self) {
        self.process.kill();
        *self = Self::at(&self.port());
    }

    pub(crate) fn port(&self) -> String {
        let address = self.url.strip_prefix("http://127.0.0.1:").unwrap();
        address.split('/').next().unwrap().to_owned()
    }

    /// Publishes with another process; it has reached the server when this returns.
    pub(crate) fn publish(&self, channel: &str, data: &str) {
        bayeux(&["publish", &self.url, channel, data]).assert().success();
    }
}

/// A URL of the loopback interface where nobody listens.
pub(crate) fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}/cometd", listener.local_addr().unwrap())
}

/// A new folder for the files of a test.
pub(crate) fn folder(name: &str) -> std::path::PathBuf {
    let folder = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Whether this process, and so what it starts, ignores the signal that a closed terminal sends, as after `nohup`.
#[cfg(unix)]
pub(crate) fn hang_up_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.is_some_and(|bits| u64::from_str_radix(bits.trim(), 16).unwrap() & 1 == 1)
}

/// The lines of a stream, read as they come, so that no process waits for its reader.
fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (lines, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}
