//! HTTP/1.1: long-polling, and the upgrade.

use std::io::Write;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::protocol::{HOLD_MS, Held, Shared};
use super::stock::Spec;
use super::websocket;
use crate::Fallible;

/// The head of a request.
struct Head {
    size: usize,
    path: String,
    /// How long the body is, unless it comes in chunks.
    length: Option<usize>,
    websocket_key: Option<String>,
}

/// Serves a connection until its end.
pub(super) async fn serve<S>(mut stream: S, shared: Arc<Shared>) -> Fallible
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut input = BytesMut::new();
    let mut stock: Option<(Spec, Vec<u8>)> = None;
    let mut keep = 0;
    loop {
        let head = loop {
            match head(&input)? {
                Some(head) => break head,
                None if read(&mut stream, &mut input, keep).await? == 0 => return Ok(()),
                None => {}
            }
        };
        input.advance(head.size);
        let spec = Spec::of(&head.path);
        keep = spec.keep;
        if let Some(key) = head.websocket_key {
            return websocket::serve(stream, input, &key, spec, shared).await;
        }
        let request = loop {
            match take_body(&mut input, head.length)? {
                Some(body) => break body,
                None if stream.read_buf(&mut input).await? == 0 => return Ok(()),
                None => {}
            }
        };
        let mut body = Vec::new();
        let held = shared.answer(&spec, &request, &mut body)?;
        drop(request);
        if input.is_empty() {
            // A client that waits costs no buffer.
            input = BytesMut::new();
        }
        if let Some(held) = held {
            let Some(going) = wait(&held, &mut stream, &mut input).await? else { return Ok(()) };
            // The other replies stand before, if there are any.
            match body.pop() {
                Some(_) => body.push(b','),
                None => body.push(b'['),
            }
            if going {
                let kept = stock.take().filter(|(known, _)| *known == spec);
                let (_, events) = stock.insert(kept.unwrap_or_else(|| (spec, spec.events(0).into_bytes())));
                body.extend_from_slice(events);
                body.push(b',');
            }
            held.reply(&spec, &mut body)?;
            body.push(b']');
        }
        let mut response = Vec::with_capacity(body.len() + 128);
        write!(
            response,
            "HTTP/1.1 200 OK\r\nContent-Type: application/json;charset=UTF-8\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )?;
        response.extend_from_slice(&body);
        stream.write_all(&response).await?;
        stream.flush().await?;
    }
}

/// Reads some more, for at most so many seconds if there is a limit. 0 is the end.
async fn read<S: AsyncRead + Unpin>(
    stream: &mut S,
    input: &mut BytesMut,
    keep: u64,
) -> std::io::Result<usize> {
    if keep == 0 {
        return stream.read_buf(input).await;
    }
    let read = tokio::time::timeout(Duration::from_secs(keep), stream.read_buf(input));
    read.await.unwrap_or(Ok(0))
}

/// Holds a connect until there is something for it, or until its timeout. Returns whether there is something; nothing if
/// the client has closed the connection, which would be kept open for a while otherwise.
async fn wait<S: AsyncRead + Unpin>(
    held: &Held,
    stream: &mut S,
    input: &mut BytesMut,
) -> Fallible<Option<bool>> {
    // From here on it is waited for; a client may have given up another connect, which waits as well.
    let went = pin!(held.session.went.notified());
    if !held.is_going() && !held.at_once {
        let mut over = pin!(tokio::time::timeout(Duration::from_millis(HOLD_MS), went));
        loop {
            tokio::select! {
                _ = &mut over => break,
                read = stream.read_buf(input) => if read? == 0 {
                    return Ok(None);
                },
            }
        }
    }
    Ok(Some(held.is_going()))
}

fn head(input: &[u8]) -> Fallible<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(size) = request.parse(input)? else { return Ok(None) };
    let header = |name: &str| {
        let found = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.and_then(|header| std::str::from_utf8(header.value).ok())
    };
    let length = header("Content-Length").and_then(|length| length.parse().ok());
    let chunked = header("Transfer-Encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
    Ok(Some(Head {
        size,
        path: request.path.unwrap_or_default().to_owned(),
        length: if chunked { None } else { length.or(Some(0)) },
        websocket_key: header("Sec-WebSocket-Key").map(str::to_owned),
    }))
}

/// A body, if it is all there, from the begin of the input.
fn take_body(input: &mut BytesMut, length: Option<usize>) -> Fallible<Option<BytesMut>> {
    if let Some(length) = length {
        return Ok((input.len() >= length).then(|| input.split_to(length)));
    }
    let mut body = BytesMut::new();
    let mut at = 0;
    loop {
        let size = httparse::parse_chunk_size(&input[at..]).map_err(|_| "a chunk without a size")?;
        let httparse::Status::Complete((line, size)) = size else { return Ok(None) };
        let (from, to) = (at + line, at + line + size as usize);
        at = to + "\r\n".len();
        if input.len() < at {
            return Ok(None);
        }
        if size == 0 {
            input.advance(at);
            return Ok(Some(body));
        }
        body.extend_from_slice(&input[from..to]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_held_connect_ends_with_its_client() {
        let held = Held { id: "1".to_owned(), session: Arc::default(), at_once: false };
        let (mut stream, client) = tokio::io::duplex(64);
        let mut input = BytesMut::new();
        drop(client);
        assert_eq!(wait(&held, &mut stream, &mut input).await.unwrap(), None);
    }

    #[test]
    fn a_body_may_come_in_chunks() {
        let whole = b"3\r\n[{}\r\n1\r\n]\r\n0\r\n\r\nPOST";
        let end = whole.len() - "POST".len();
        for some in 0..end {
            assert_eq!(take_body(&mut BytesMut::from(&whole[..some]), None).unwrap(), None, "{some}");
        }
        let mut input = BytesMut::from(&whole[..]);
        assert_eq!(take_body(&mut input, None).unwrap().as_deref(), Some(&b"[{}]"[..]));
        assert_eq!(&input[..], b"POST");
    }

    #[test]
    fn a_body_may_have_a_length() {
        let mut input = BytesMut::from(&b"[{}]POST"[..]);
        assert_eq!(take_body(&mut input, Some(4)).unwrap().as_deref(), Some(&b"[{}]"[..]));
        assert_eq!(take_body(&mut input, Some(5)).unwrap(), None);
    }
}
