//! What a feed sends, prepared.

/// What the path asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Spec {
    pub(super) per_frame: usize,
    pub(super) size: usize,
    pub(super) channels: usize,
    pub(super) ack: bool,
    /// It begins with the first subscription, for clients that cannot publish.
    pub(super) at_once: bool,
    /// After how many seconds without a request an HTTP connection is closed; 0 for never.
    pub(super) keep: u64,
}

impl Spec {
    /// Reads `/n10-s200-c1-a0/…`; what is missing is 1 message of 200 bytes on 1 channel, without acknowledgement, begun
    /// when it is asked for, on connections that are kept.
    pub(super) fn of(path: &str) -> Self {
        let mut spec = Self { per_frame: 1, size: 200, channels: 1, ack: false, at_once: false, keep: 0 };
        let segment = path.trim_start_matches('/').split(['/', '?']).next().unwrap_or_default();
        for part in segment.split('-').filter(|part| part.is_char_boundary(1)) {
            let (key, value) = part.split_at(1);
            let Ok(number) = value.parse::<usize>() else { continue };
            match key {
                "n" => spec.per_frame = number.max(1),
                "s" => spec.size = number,
                "c" => spec.channels = number.max(1),
                "a" => spec.ack = number > 0,
                "g" => spec.at_once = number > 0,
                "k" => spec.keep = number as u64,
                _ => {}
            }
        }
        spec
    }

    fn event(&self, n: usize) -> String {
        let channel = n % self.channels;
        let event =
            |text: &str| format!(r#"{{"channel":"/feed/{channel}/x","data":{{"n":{n},"text":"{text}"}}}}"#);
        event(&"x".repeat(self.size.saturating_sub(event("").len())))
    }

    /// The events of a frame or reply, with commas between them.
    pub(super) fn events(&self, from: usize) -> String {
        let events: Vec<String> = (from..from + self.per_frame).map(|n| self.event(n % 10_000)).collect();
        events.join(",")
    }

    /// Frames for one write: at least 128 KiB, and each channel at least once.
    pub(super) fn frames(&self) -> Vec<u8> {
        const ENOUGH: usize = 128 * 1024;
        let mut frames = Vec::new();
        let mut n = 0;
        while frames.len() < ENOUGH || n < self.channels {
            frame(&mut frames, format!("[{}]", self.events(n)).as_bytes());
            n += self.per_frame;
        }
        frames
    }
}

/// Adds a text frame as a server sends it.
pub(super) fn frame(out: &mut Vec<u8>, payload: &[u8]) {
    out.push(0x81);
    match payload.len() {
        length @ ..=125 => out.push(length as u8),
        length @ ..=0xffff => {
            out.push(126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_says_what_a_feed_is() {
        let usual = Spec { per_frame: 1, size: 200, channels: 1, ack: false, at_once: false, keep: 0 };
        assert_eq!(Spec::of("/cometd"), usual);
        let spec = Spec { per_frame: 10, size: 50, channels: 3, ack: true, at_once: true, keep: 2 };
        assert_eq!(Spec::of("/n10-s50-c3-a1-g1-k2/handshake"), spec);
    }
}
