//! What passed on a connection, made readable: HTTP as it is, WebSocket frames unmasked.

use std::fmt::Write as _;
use std::time::Duration;

/// How much of one frame or chunk is shown.
const SHOWN: usize = 700;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Record {
    began: Duration,
    chunks: Vec<(Direction, Duration, Vec<u8>)>,
    kept: [usize; 2],
    dropped: [usize; 2],
}

impl Record {
    pub(crate) fn new(began: Duration) -> Self {
        Self { began, chunks: Vec::new(), kept: [0; 2], dropped: [0; 2] }
    }

    /// Keeps the bytes as long as no more than `cap` of that direction are kept.
    pub(crate) fn add(&mut self, direction: Direction, at: Duration, bytes: &[u8], cap: usize) {
        let side = usize::from(direction == Direction::Down);
        if self.kept[side] + bytes.len() > cap {
            self.dropped[side] += bytes.len();
            return;
        }
        self.kept[side] += bytes.len();
        match self.chunks.last_mut() {
            Some((last, _, chunk)) if *last == direction => chunk.extend_from_slice(bytes),
            _ => self.chunks.push((direction, at, bytes.to_vec())),
        }
    }

    fn is_websocket(&self) -> bool {
        self.chunks
            .iter()
            .any(|(direction, _, chunk)| *direction == Direction::Down && chunk.starts_with(b"HTTP/1.1 101"))
    }
}

pub(crate) fn render(records: &[Record]) -> String {
    let mut text = String::new();
    for (number, record) in records.iter().enumerate() {
        let _ = writeln!(text, "  connection {} at {:.3} s", number + 1, record.began.as_secs_f64());
        let upgraded = record.is_websocket();
        let mut in_frames = [false; 2];
        for (direction, at, chunk) in &record.chunks {
            let side = usize::from(*direction == Direction::Down);
            let mut rest = chunk.as_slice();
            if !(upgraded && in_frames[side]) {
                // A connection may have carried requests before it became a WebSocket.
                let switches =
                    if *direction == Direction::Down { "http/1.1 101" } else { "upgrade: websocket" };
                let start = String::from_utf8_lossy(&rest[..rest.len().min(4096)]).to_ascii_lowercase();
                let head = end_of_head(rest).filter(|_| upgraded && start.contains(switches));
                in_frames[side] |= head.is_some();
                let (head, frames) = rest.split_at(head.unwrap_or(rest.len()));
                show_http(&mut text, *direction, *at, head);
                rest = frames;
            }
            while upgraded && !rest.is_empty() {
                let Some((shown, after)) = frame(rest) else {
                    show(&mut text, *direction, *at, &format!("({} bytes of a frame)", rest.len()));
                    break;
                };
                show(&mut text, *direction, *at, &shown);
                rest = after;
            }
        }
        if record.dropped != [0; 2] {
            let [up, down] = record.dropped;
            let _ = writeln!(text, "    … and {up} bytes up, {down} bytes down that were not kept");
        }
    }
    text
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

/// Heads in full, for they are short; of bodies the beginning.
fn show_http(text: &mut String, direction: Direction, at: Duration, bytes: &[u8]) {
    let (head, body) = bytes.split_at(end_of_head(bytes).unwrap_or(0));
    for line in String::from_utf8_lossy(head).lines() {
        show(text, direction, at, line);
    }
    show(text, direction, at, &String::from_utf8_lossy(body));
}

fn show(text: &mut String, direction: Direction, at: Duration, what: &str) {
    let arrow = if direction == Direction::Up { ">" } else { "<" };
    let what = what.trim_end();
    let cut: String = what.chars().take(SHOWN).collect();
    let more = if cut.len() < what.len() { " …" } else { "" };
    for line in cut.lines().filter(|line| !line.trim().is_empty()) {
        let _ = writeln!(text, "    {:8.3} {arrow} {line}", at.as_secs_f64());
    }
    if !more.is_empty() {
        let _ = writeln!(text, "             {arrow}{more} ({} bytes)", what.len());
    }
}

/// The first frame as text, and what comes after it.
fn frame(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (length, mut at) = match second & 0x7f {
        126 => (u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?), 10),
        short => (u64::from(short), 2),
    };
    let mask = if second & 0x80 == 0 {
        [0; 4]
    } else {
        let mask = bytes.get(at..at + 4)?.try_into().ok()?;
        at += 4;
        mask
    };
    let end = at.checked_add(usize::try_from(length).ok()?)?;
    let body: Vec<u8> =
        bytes.get(at..end)?.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    let shown = match first & 0x0f {
        0 | 1 if first & 0x40 != 0 => format!("(a compressed frame of {length} bytes)"),
        0 | 1 => String::from_utf8_lossy(&body).into_owned(),
        8 => {
            let code = body.get(..2).map(|code| u16::from_be_bytes([code[0], code[1]]));
            let reason = String::from_utf8_lossy(body.get(2..).unwrap_or_default()).into_owned();
            format!("(close {code:?} {reason:?})")
        }
        9 => "(ping)".to_owned(),
        10 => "(pong)".to_owned(),
        other => format!("(a frame of kind {other}, {length} bytes)"),
    };
    Some((shown, &bytes[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masked_frames_and_their_upgrade_are_readable() {
        let mut record = Record::new(Duration::ZERO);
        record.add(
            Direction::Up,
            Duration::ZERO,
            b"GET /cometd HTTP/1.1\r\nUpgrade: websocket\r\n\r\n",
            1000,
        );
        record.add(
            Direction::Down,
            Duration::ZERO,
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x02hi",
            1000,
        );
        record.add(Direction::Up, Duration::ZERO, &[0x81, 0x82, 1, 2, 3, 4, b'o' ^ 1, b'k' ^ 2], 1000);
        record.add(Direction::Down, Duration::ZERO, b"\x88\x02\x03\xe8", 1000);
        let text = render(&[record]);
        for line in ["< hi", "> ok", "< (close Some(1000) \"\")", "> Upgrade: websocket"] {
            assert!(text.contains(line), "{line:?} is not in\n{text}");
        }
    }

    #[test]
    fn no_more_is_kept_than_asked_for() {
        let mut record = Record::new(Duration::ZERO);
        record.add(Direction::Down, Duration::ZERO, b"12345", 6);
        record.add(Direction::Down, Duration::ZERO, b"67890", 6);
        let text = render(&[record]);
        assert!(text.contains("12345") && !text.contains("67890"), "{text}");
        assert!(text.contains("0 bytes up, 5 bytes down"), "{text}");
    }
}
