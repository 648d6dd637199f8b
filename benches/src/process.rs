//! What runs beside: the feeds, and others that end by themselves.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Fallible;

/// The feeds, in processes of their own.
pub(crate) struct Feeds {
    pub(crate) plain: Feed,
    pub(crate) tls: Feed,
    pub(crate) certificate: PathBuf,
}

pub(crate) struct Feed {
    child: Child,
    pub(crate) port: u16,
}

impl Feeds {
    pub(crate) fn start() -> Fallible<Self> {
        let certificate = std::env::temp_dir().join(format!("bayeux-bench-{}.pem", std::process::id()));
        let tls = certificate.to_string_lossy().into_owned();
        Ok(Self { plain: Feed::start(&[])?, tls: Feed::start(&["--tls", &tls])?, certificate })
    }
}

impl Drop for Feeds {
    fn drop(&mut self) {
        // It is in a folder for what need not stay.
        let _ = std::fs::remove_file(&self.certificate);
    }
}

impl Feed {
    fn start(arguments: &[&str]) -> Fallible<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("feed").args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let mut line = String::new();
        let output = child.stdout.take().ok_or("no output")?;
        BufReader::new(output).read_line(&mut line)?;
        Ok(Self { child, port: line.trim().parse()? })
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a process prints, if it ends well in time.
pub(crate) fn output(command: &mut Command, longest: Duration) -> Fallible<String> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    let errors = std::thread::spawn(move || {
        let mut text = String::new();
        // What cannot be read is no text.
        let _ = stderr.take().map(|mut pipe| pipe.read_to_string(&mut text));
        text
    });
    let printed = std::thread::spawn(move || {
        let mut text = String::new();
        let _ = stdout.take().map(|mut pipe| pipe.read_to_string(&mut text));
        text
    });
    let began = Instant::now();
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None if began.elapsed() > longest => {
                child.kill()?;
                child.wait()?;
                return Err(format!("not done within {longest:?}").into());
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    let (printed, errors) = (printed.join().unwrap_or_default(), errors.join().unwrap_or_default());
    if status.success() {
        Ok(printed)
    } else {
        Err(format!("{status}: {}", errors.trim().lines().last().unwrap_or_default()).into())
    }
}
