//! JSON lines: out to standard output and error, in from standard input.

use std::io::{self, Write};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Stdin};

/// The longest line that is read, in bytes.
const LONGEST: u64 = 16 * 1024 * 1024;

/// Prints a line to standard output at once: whoever reads it may be waiting.
pub(crate) fn print(line: &Value) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Prints a line to standard error, whose end is nobody's concern.
pub(crate) fn print_error(line: &Value) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// The lines of standard input.
#[derive(Debug)]
pub(crate) struct Input {
    reader: BufReader<Stdin>,
}

impl Input {
    pub(crate) fn new() -> Self {
        Self { reader: BufReader::new(tokio::io::stdin()) }
    }

    /// The next line that is not blank; `None` at the end.
    pub(crate) async fn next(&mut self) -> io::Result<Option<String>> {
        loop {
            let mut line = Vec::new();
            let read = (&mut self.reader).take(LONGEST).read_until(b'\n', &mut line).await?;
            if read == 0 {
                return Ok(None);
            }
            if read as u64 == LONGEST {
                return Err(io::Error::other(format!("a line of the input is longer than {LONGEST} bytes")));
            }
            let line = String::from_utf8_lossy(&line).trim().to_owned();
            if !line.is_empty() {
                return Ok(Some(line));
            }
        }
    }
}
