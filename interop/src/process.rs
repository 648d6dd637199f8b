//! A process that another one wrote the program of: started, listened to, ended.

use std::collections::VecDeque;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;

use crate::outcome::Outcome;

/// How long a process may take until it can be talked to; a Java VM on a busy machine takes a while.
const START: Duration = Duration::from_secs(90);
/// How long it may take to end after its input did.
const END: Duration = Duration::from_secs(5);
/// How many lines of its standard error are kept for the message of a failure.
const KEPT: usize = 60;

/// A process that runs. It ends when its standard input does, which is when this is dropped, or this process dies.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) name: String,
    child: Child,
    input: Option<ChildStdin>,
    said: Arc<Mutex<VecDeque<String>>>,
}

/// The lines that a process writes to its standard output.
pub(crate) type Lines = mpsc::Receiver<String>;

impl Process {
    /// Starts it and waits until it prints `READY`; the rest of that line is returned.
    pub(crate) async fn start(name: &str, mut command: Command) -> Outcome<(Self, Lines, String)> {
        // In a group of its own, so that ^C ends it through its input, after what it started itself.
        let spawned = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn();
        let mut child = spawned.map_err(|error| format!("{name} cannot be started: {error}"))?;
        let said = Arc::default();
        let (sender, mut lines) = mpsc::channel(100_000);
        if let Some(errors) = child.stderr.take() {
            tokio::spawn(keep(errors, Arc::clone(&said)));
        }
        let output = child.stdout.take().ok_or("a process without output")?;
        tokio::spawn(async move {
            let mut output = BufReader::new(output).lines();
            while let Ok(Some(line)) = output.next_line().await {
                if sender.send(line).await.is_err() {
                    break;
                }
            }
        });
        let input = child.stdin.take();
        let process = Self { name: name.to_owned(), child, input, said };
        let ready = async {
            while let Some(line) = lines.recv().await {
                if let Some(rest) = line.strip_prefix("READY") {
                    return Some(rest.trim().to_owned());
                }
            }
            None
        };
        match tokio::time::timeout(START, ready).await {
            Ok(Some(ready)) => Ok((process, lines, ready)),
            Ok(None) => {
                tokio::time::sleep(Duration::from_millis(200)).await;
                Err(format!("{name} ended before it was ready:\n{}", process.said()).into())
            }
            Err(_) => Err(format!("{name} is not ready after {START:?}:\n{}", process.said()).into()),
        }
    }

    /// Writes a line to its input.
    pub(crate) async fn write(&mut self, line: &str) -> Outcome {
        let input = self.input.as_mut().ok_or("the process is being stopped")?;
        input.write_all(format!("{line}\n").as_bytes()).await?;
        input.flush().await.map_err(Into::into)
    }

    /// The last lines of its standard error.
    pub(crate) fn said(&self) -> String {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.iter().map(|line| format!("    {line}\n")).collect()
    }

    /// Ends it at once, as a crash would.
    pub(crate) async fn kill(mut self) -> Outcome {
        self.child.kill().await.map_err(Into::into)
    }

    /// Ends it in good order, or else by force.
    pub(crate) async fn stop(mut self) -> Outcome {
        drop(self.input.take());
        if tokio::time::timeout(END, self.child.wait()).await.is_ok() {
            return Ok(());
        }
        self.child.kill().await?;
        Err(format!("{} did not end with its input and was killed", self.name).into())
    }
}

async fn keep(stream: impl AsyncRead + Unpin, said: Arc<Mutex<VecDeque<String>>>) {
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() == KEPT {
            said.pop_front();
        }
        said.push_back(line);
    }
}
