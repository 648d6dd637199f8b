//! Decoding gzip, with a limit on what decodes to nothing: empty members and blocks cost work, and may come without end.

use std::io::{self, Write};

use flate2::write::GzDecoder;

/// Servers send one; each takes the decoder's whole state anew.
const MEMBERS: usize = 1000;
/// So many bytes may decode to one: the worst that a compressor makes of a byte that it flushes by itself is about 7.
const RATIO: u64 = 8;
/// And so many to nothing.
const AT_LEAST: u64 = 64 * 1024;

/// Decodes what is written to it. The parts are decoded one after the other (RFC 1952, section 2.2).
pub(super) struct Gunzip<W: Write + Counts> {
    member: Option<GzDecoder<W>>,
    members: usize,
    received: u64,
}

/// How much was written.
pub(super) trait Counts {
    fn written(&self) -> u64;
}

impl<W: Write + Counts> Gunzip<W> {
    pub(super) fn new(output: W) -> Self {
        Self { member: Some(GzDecoder::new(output)), members: 1, received: 0 }
    }

    /// Decodes a piece.
    pub(super) fn write(&mut self, mut piece: &[u8]) -> io::Result<()> {
        /// The limits hold within a piece, too.
        const SLICE: usize = 16 * 1024;
        while !piece.is_empty() {
            let Some(member) = &mut self.member else { return Err(io::ErrorKind::InvalidInput.into()) };
            let taken = member.write(&piece[..piece.len().min(SLICE)])?;
            piece = &piece[taken..];
            self.received += taken as u64;
            if self.received > AT_LEAST + RATIO * member.get_ref().written() {
                return Err(io::Error::other("there is too little in it for its length"));
            }
            if taken == 0 {
                self.next_member()?;
            }
        }
        Ok(())
    }

    fn next_member(&mut self) -> io::Result<()> {
        self.members += 1;
        if self.members > MEMBERS {
            return Err(io::Error::other(format!("it has more than {MEMBERS} parts")));
        }
        if let Some(member) = self.member.take() {
            self.member = Some(GzDecoder::new(member.finish()?));
        }
        Ok(())
    }

    /// All of it, if it is whole.
    pub(super) fn finish(self) -> io::Result<W> {
        self.member.ok_or(io::ErrorKind::InvalidInput)?.finish()
    }

    /// What was decoded so far.
    pub(super) fn so_far(&mut self) -> Option<&mut W> {
        let member = self.member.as_mut()?;
        // What is not decoded yet can wait.
        let _ = member.flush();
        Some(member.get_mut())
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    impl Counts for Vec<u8> {
        fn written(&self) -> u64 {
            self.len() as u64
        }
    }

    fn member(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    /// How much of it is taken when it comes without end.
    fn taken(part: &[u8]) -> (u64, String) {
        let mut gunzip = Gunzip::new(Vec::new());
        loop {
            if let Err(error) = gunzip.write(part) {
                return (gunzip.received, error.to_string());
            }
        }
    }

    #[test]
    fn members_are_one_text_in_whatever_pieces() {
        let body = [member(b"ab"), member(b""), member(b"c")].concat();
        for size in [1, 2, 7, 20, 21, 22, 1000] {
            let mut gunzip = Gunzip::new(Vec::new());
            for piece in body.chunks(size) {
                gunzip.write(piece).unwrap();
            }
            assert_eq!(gunzip.finish().unwrap(), b"abc", "{size}");
        }
        let mut gunzip = Gunzip::new(Vec::new());
        gunzip.write(&body[..body.len() - 1]).unwrap();
        gunzip.finish().unwrap_err();
    }

    #[test]
    fn what_decodes_to_nothing_comes_to_an_end() {
        let (bytes, error) = taken(&member(b""));
        assert!(bytes <= 20 * MEMBERS as u64 && error.contains("parts"), "{bytes}: {error}");
        let (bytes, error) = taken(&member(b"abc").repeat(100));
        assert!(bytes <= 24 * MEMBERS as u64 && error.contains("parts"), "{bytes}: {error}");
    }

    #[test]
    fn a_member_that_decodes_to_nothing_comes_to_an_end() {
        // The head of a member, then empty stored blocks.
        let mut gunzip = Gunzip::new(Vec::new());
        gunzip.write(&member(b"x")[..10]).unwrap();
        let blocks = [0, 0, 0, 0xff, 0xff].repeat(1000);
        let error = loop {
            if let Err(error) = gunzip.write(&blocks) {
                break error;
            }
        };
        assert!(
            gunzip.received <= AT_LEAST + 16 * 1024 && error.to_string().contains("too little"),
            "{error}"
        );
        // A name that never ends.
        let mut gunzip = Gunzip::new(Vec::new());
        gunzip.write(&[0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 0]).unwrap();
        while gunzip.write(&[b'n'; 1000]).is_ok() {}
        assert!(gunzip.received <= AT_LEAST + 16 * 1024);
    }

    #[test]
    fn a_text_that_is_flushed_byte_by_byte_is_taken() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        for _ in 0..50_000 {
            encoder.write_all(b"x").unwrap();
            encoder.flush().unwrap();
        }
        let body = encoder.finish().unwrap();
        assert!(body.len() > 300_000);
        let mut gunzip = Gunzip::new(Vec::new());
        gunzip.write(&body).unwrap();
        assert_eq!(gunzip.finish().unwrap().len(), 50_000);
    }
}
