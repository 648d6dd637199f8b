//! The lines of standard input.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader, Stdin};

/// The longest line or value that is read, in bytes.
pub(crate) const LONGEST: usize = 16 * 1024 * 1024;

/// A stream of lines. Blank lines are skipped.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    reader: R,
    /// The beginning of a line that is not complete yet.
    begun: Vec<u8>,
    /// The line that has begun is longer than permitted.
    too_long: bool,
    longest: usize,
    number: u64,
}

/// A line that is not blank, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Counted from one, blank lines too.
    pub(crate) number: u64,
    /// The text, or why the line has none.
    pub(crate) text: Result<String, String>,
}

/// The lines of standard input.
pub(crate) fn stdin() -> Lines<BufReader<Stdin>> {
    Lines::new(BufReader::new(tokio::io::stdin()), LONGEST)
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    fn new(reader: R, longest: usize) -> Self {
        Self { reader, begun: Vec::new(), too_long: false, longest, number: 0 }
    }

    /// The next line; `None` at the end. Nothing is lost if the future is dropped.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            let bytes = self.reader.fill_buf().await?;
            let at_end = bytes.is_empty();
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(bytes.len(), |end| end + 1);
            let part = &bytes[..end.unwrap_or(bytes.len())];
            if self.begun.len() + part.len() > self.longest {
                self.too_long = true;
                self.begun = Vec::new();
            } else if !self.too_long {
                self.begun.extend_from_slice(part);
            }
            self.reader.consume(taken);
            if end.is_none() && !at_end {
                continue;
            }
            self.number += 1;
            if let Some(text) = self.take() {
                return Ok(Some(Line { number: self.number, text }));
            }
            if at_end {
                return Ok(None);
            }
        }
    }

    /// The line that is complete; `None` if it is blank.
    fn take(&mut self) -> Option<Result<String, String>> {
        if std::mem::take(&mut self.too_long) {
            self.begun = Vec::new();
            return Some(Err(format!("is longer than {} bytes", self.longest)));
        }
        match String::from_utf8(std::mem::take(&mut self.begun)) {
            Ok(text) => {
                // Some editors begin a file with a byte order mark.
                let text = text.trim_start_matches('\u{feff}').trim();
                if text.is_empty() { None } else { Some(Ok(text.to_owned())) }
            }
            Err(_) => Some(Err("is not UTF-8".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    fn line(number: u64, text: &str) -> Option<Line> {
        Some(Line { number, text: Ok(text.to_owned()) })
    }

    #[tokio::test]
    async fn a_line_in_parts_survives_a_dropped_future() {
        let (mut writer, reader) = tokio::io::duplex(64);
        let mut lines = Lines::new(BufReader::new(reader), 100);
        writer.write_all(b"\n  {\"publish\":").await.unwrap();
        for _ in 0..3 {
            tokio::select! {
                biased;
                line = lines.next() => panic!("half a line is none: {line:?}"),
                () = tokio::task::yield_now() => {}
            }
        }
        writer.write_all(b" 1}\r\nlast").await.unwrap();
        drop(writer);
        assert_eq!(lines.next().await.unwrap(), line(2, "{\"publish\": 1}"));
        assert_eq!(lines.next().await.unwrap(), line(3, "last"));
        assert_eq!(lines.next().await.unwrap(), None);
    }

    #[tokio::test]
    async fn lines_that_cannot_be_are_reported_and_passed_over() {
        let input: &[u8] = b"\xef\xbb\xbf12345678901\n\xff\xfe\n\xef\xbb\xbfok\r\n";
        let mut lines = Lines::new(input, 10);
        let too_long = lines.next().await.unwrap().unwrap();
        assert_eq!((too_long.number, too_long.text), (1, Err("is longer than 10 bytes".to_owned())));
        let garbage = lines.next().await.unwrap().unwrap();
        assert_eq!((garbage.number, garbage.text), (2, Err("is not UTF-8".to_owned())));
        assert_eq!(lines.next().await.unwrap(), line(3, "ok"));
        assert_eq!(lines.next().await.unwrap(), None);
    }
}
