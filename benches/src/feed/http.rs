//! HTTP/1.1: long-polling, and the upgrade.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::protocol::{HOLD_MS, Held, Shared};
use super::stock::Spec;
use super::websocket;
use crate::Fallible;

/// What the head of a request says.
struct Head {
    size: usize,
    path: String,
    body: usize,
    websocket_key: Option<String>,
}

/// Serves a connection until its end.
pub(super) async fn serve<S>(mut stream: S, shared: Arc<Shared>) -> Fallible
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut input = BytesMut::new();
    let mut stock: Option<(Spec, Vec<u8>)> = None;
    loop {
        let head = loop {
            match head(&input)? {
                Some(head) => break head,
                None if stream.read_buf(&mut input).await? == 0 => return Ok(()),
                None => {}
            }
        };
        input.advance(head.size);
        let spec = Spec::of(&head.path);
        if let Some(key) = head.websocket_key {
            return websocket::serve(stream, input, &key, spec, shared).await;
        }
        while input.len() < head.body {
            if stream.read_buf(&mut input).await? == 0 {
                return Ok(());
            }
        }
        let request = input.split_to(head.body);
        let mut body = Vec::new();
        let held = shared.answer(&spec, &request, &mut body)?;
        drop(request);
        if input.is_empty() {
            // A client that waits costs no buffer.
            input = BytesMut::new();
        }
        if let Some(held) = held {
            let going = wait(&held).await;
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

/// Holds a connect until there is something for it, or for long enough. Whether there is something.
async fn wait(held: &Held) -> bool {
    if !held.is_going() && !held.at_once {
        let hold = Duration::from_millis(HOLD_MS);
        let _ = tokio::time::timeout(hold, held.session.went.notified()).await;
    }
    held.is_going()
}

fn head(input: &[u8]) -> Fallible<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(size) = request.parse(input)? else { return Ok(None) };
    let header = |name: &str| {
        let found = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.and_then(|header| std::str::from_utf8(header.value).ok())
    };
    Ok(Some(Head {
        size,
        path: request.path.unwrap_or_default().to_owned(),
        body: header("Content-Length").and_then(|length| length.parse().ok()).unwrap_or(0),
        websocket_key: header("Sec-WebSocket-Key").map(str::to_owned),
    }))
}
