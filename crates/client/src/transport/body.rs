//! The body of a response: decoded and gathered in one buffer, whatever pieces it comes in, and never more than may be.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use bayeux_proto::client::{Failure, FailureKind};
use bytes::{BufMut, Bytes, BytesMut};
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, Response};
use hyper::body::{Body as _, Incoming};
use tokio::time::Instant;
use url::Url;

use super::arriving::{Arriving, too_slow};
use super::failure::{broken_body, display_url};
use super::gunzip::{Counts, Gunzip};
use super::measured::Allowance;

/// How many pieces are taken before other work gets its turn.
const PIECES: usize = 256;

/// A body that is arriving.
pub(super) struct Body {
    /// The headers of the response.
    pub(super) headers: HeaderMap,
    pieces: Incoming,
    /// Of the connection that it comes over.
    allowance: Option<Allowance>,
    /// The `Content-Length` of the response.
    promised: Option<u64>,
    gathered: Gathered,
    received: u64,
    arriving: Arriving,
    limits: Limits,
}

/// What a body may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// In bytes, after decoding.
    pub(super) size: usize,
    /// In bytes per second, before.
    pub(super) rate: u32,
}

/// How far a body has come.
#[derive(Debug)]
pub(super) enum Progress {
    /// A part has come.
    Part,
    /// All of it.
    Whole(Bytes),
}

enum Gathered {
    Nothing,
    /// One piece, which may be the whole and is then not copied.
    Piece(Bytes),
    Buffer(Capped),
    Gzip(Box<Gunzip<Capped>>),
}

/// A buffer that takes no more than so many bytes.
struct Capped {
    buffer: BytesMut,
    cap: usize,
}

impl Body {
    pub(super) fn new(mut response: Response<Incoming>, limits: Limits, url: &Url) -> Result<Self, Failure> {
        let promised = response.body().size_hint().exact();
        let gathered = match encoding(response.headers()) {
            Encoding::Identity => Gathered::Nothing,
            Encoding::Gzip => Gathered::Gzip(Box::new(Gunzip::new(Capped::new(limits.size)))),
            Encoding::Unknown(name) => {
                let text = format!(
                    "the response of {} is encoded as {name}, and only gzip was accepted",
                    display_url(url)
                );
                return Err(Failure::new(FailureKind::Malformed, text));
            }
        };
        let allowance = response.extensions().get().cloned();
        let headers = std::mem::take(response.headers_mut());
        let pieces = response.into_body();
        Ok(Self {
            headers,
            pieces,
            allowance,
            promised,
            gathered,
            received: 0,
            arriving: Arriving::default(),
            limits,
        })
    }

    /// The failure, if the `Content-Length` is too large already.
    pub(super) fn refusal(&self, url: &Url) -> Option<Failure> {
        let too_much = self.promised.is_some_and(|size| size > self.limits.size as u64);
        (too_much && matches!(self.gathered, Gathered::Nothing)).then(|| too_large(self.limits.size, url))
    }

    /// How many bytes came, before decoding.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Takes what is there.
    pub(super) fn poll(&mut self, url: &Url, cx: &mut Context<'_>) -> Poll<Result<Progress, Failure>> {
        let before = self.received;
        for _ in 0..PIECES {
            match Pin::new(&mut self.pieces).poll_frame(cx) {
                Poll::Pending if self.received == before => return Poll::Pending,
                Poll::Pending => break,
                Poll::Ready(None) => return Poll::Ready(self.whole(url)),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(broken_body(&error, url))),
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers have nothing for us.
                    let Ok(piece) = frame.into_data() else { continue };
                    if let Some(allowance) = &self.allowance {
                        allowance.body(piece.len());
                    }
                    self.received += piece.len() as u64;
                    if let Err(error) = self.take(piece) {
                        return Poll::Ready(Err(self.decoding_failure(&error, url)));
                    }
                }
            }
        }
        let rate = self.limits.rate;
        if self.arriving.is_too_slow(self.received, rate, Instant::now()) {
            return Poll::Ready(Err(too_slow("the response", &display_url(url), rate)));
        }
        if self.received == before {
            // Nothing but empty pieces; the rest has its turn later.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(Progress::Part))
    }

    fn take(&mut self, piece: Bytes) -> io::Result<()> {
        match &mut self.gathered {
            Gathered::Nothing if piece.len() > self.limits.size => Err(over()),
            Gathered::Nothing => {
                self.gathered = Gathered::Piece(piece);
                Ok(())
            }
            Gathered::Piece(first) => {
                let mut buffer = Capped::new(self.limits.size);
                buffer.expect(self.promised, self.received);
                buffer.write_all(first)?;
                buffer.write_all(&piece)?;
                self.gathered = Gathered::Buffer(buffer);
                Ok(())
            }
            Gathered::Buffer(buffer) => {
                buffer.expect(self.promised, self.received);
                buffer.write_all(&piece)
            }
            Gathered::Gzip(decoder) => decoder.write(&piece),
        }
    }

    fn whole(&mut self, url: &Url) -> Result<Progress, Failure> {
        let bytes = match std::mem::replace(&mut self.gathered, Gathered::Nothing) {
            Gathered::Nothing => Bytes::new(),
            Gathered::Piece(piece) => piece,
            Gathered::Buffer(buffer) => buffer.into_bytes(),
            // Of an empty body there is nothing to decode.
            Gathered::Gzip(_) if self.received == 0 => Bytes::new(),
            Gathered::Gzip(decoder) => {
                decoder.finish().map_err(|error| self.decoding_failure(&error, url))?.into_bytes()
            }
        };
        Ok(Progress::Whole(bytes))
    }

    /// What was gathered so far, of a body that need not be whole.
    pub(super) fn so_far(self) -> Bytes {
        match self.gathered {
            Gathered::Nothing => Bytes::new(),
            Gathered::Piece(piece) => piece,
            Gathered::Buffer(buffer) => buffer.into_bytes(),
            Gathered::Gzip(mut decoder) => {
                decoder.so_far().map(|output| std::mem::take(&mut output.buffer).freeze()).unwrap_or_default()
            }
        }
    }

    fn decoding_failure(&self, error: &io::Error, url: &Url) -> Failure {
        if is_over(error) {
            return too_large(self.limits.size, url);
        }
        let text = format!("the response of {} is not valid gzip: {error}", display_url(url));
        Failure::new(FailureKind::Malformed, text)
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Encoding {
    Identity,
    Gzip,
    Unknown(String),
}

/// RFC 9110, section 8.4.1: names in any case, and `x-gzip` is `gzip`.
fn encoding(headers: &HeaderMap) -> Encoding {
    let names: Vec<_> = headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(|name| name.trim_ascii())
        .filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case(b"identity"))
        .collect();
    match names.as_slice() {
        [] => Encoding::Identity,
        [name] if name.eq_ignore_ascii_case(b"gzip") || name.eq_ignore_ascii_case(b"x-gzip") => {
            Encoding::Gzip
        }
        names => {
            const SHOWN: usize = 60;
            let names = names.join(&b", "[..]);
            Encoding::Unknown(String::from_utf8_lossy(&names).chars().take(SHOWN).collect())
        }
    }
}

impl Capped {
    fn new(cap: usize) -> Self {
        Self { buffer: BytesMut::new(), cap }
    }

    /// Reserves memory for the promised length, but at most twice what has arrived: a promise alone costs nothing.
    fn expect(&mut self, promised: Option<u64>, received: u64) {
        let wanted = promised.unwrap_or_default().min(received.saturating_mul(2)).min(self.cap as u64);
        let length = self.buffer.len() as u64;
        if wanted > self.buffer.capacity() as u64 {
            self.buffer.reserve((wanted - length) as usize);
        }
    }

    /// The buffer, without the free part if that is large.
    fn into_bytes(self) -> Bytes {
        if self.buffer.capacity() / 2 > self.buffer.len() {
            return Bytes::copy_from_slice(&self.buffer);
        }
        self.buffer.freeze()
    }
}

impl Counts for Capped {
    fn written(&self) -> u64 {
        self.buffer.len() as u64
    }
}

impl Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.cap - self.buffer.len() {
            return Err(over());
        }
        self.buffer.put_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn over() -> io::Error {
    io::ErrorKind::FileTooLarge.into()
}

fn is_over(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::FileTooLarge
}

fn too_large(cap: usize, url: &Url) -> Failure {
    let text = format!(
        "the response of {} is larger than {cap} bytes; max_message_size raises the limit",
        display_url(url)
    );
    Failure::new(FailureKind::TooLarge, text)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_names_of_gzip() {
        let of = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_ENCODING, HeaderValue::from_static(value));
            }
            encoding(&headers)
        };
        for values in [&[][..], &[""], &["identity"], &["identity, Identity"]] {
            assert_eq!(of(values), Encoding::Identity, "{values:?}");
        }
        for name in ["gzip", "x-gzip", "GZIP", "X-GZip", " gzip ", "identity, x-gzip"] {
            assert_eq!(of(&[name]), Encoding::Gzip, "{name:?}");
        }
        assert_eq!(of(&["br"]), Encoding::Unknown("br".to_owned()));
        assert_eq!(of(&["gzip", "x-gzip"]), Encoding::Unknown("gzip, x-gzip".to_owned()));
    }

    #[test]
    fn a_capped_buffer_takes_what_it_may_and_costs_what_it_has() {
        let mut buffer = Capped::new(10);
        buffer.expect(Some(1 << 40), 3);
        assert!(buffer.buffer.capacity() <= 64);
        assert!(buffer.write_all(b"0123456789").is_ok());
        assert!(is_over(&buffer.write_all(b"x").unwrap_err()));
        assert_eq!(buffer.into_bytes(), "0123456789");
    }
}
