//! WebSocket: as much of it as well-behaved clients need.

use std::io::Write;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::Mutex;
use tungstenite::handshake::derive_accept_key;

use super::protocol::{Held, Shared};
use super::stock::{Spec, frame};
use crate::Fallible;

type Writer<S> = Arc<Mutex<WriteHalf<S>>>;

pub(super) async fn serve<S>(
    stream: S,
    input: BytesMut,
    key: &str,
    spec: Spec,
    shared: Arc<Shared>,
) -> Fallible
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (reader, mut writer) = tokio::io::split(stream);
    let mut response = Vec::new();
    write!(
        response,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        derive_accept_key(key.as_bytes())
    )?;
    writer.write_all(&response).await?;
    writer.flush().await?;
    let writer = Arc::new(Mutex::new(writer));
    let mut pusher = None;
    let outcome = talk(reader, &writer, input, spec, &shared, &mut pusher).await;
    if let Some(pusher) = pusher {
        pusher.abort();
    }
    outcome
}

async fn talk<S>(
    mut reader: ReadHalf<S>,
    writer: &Writer<S>,
    mut input: BytesMut,
    spec: Spec,
    shared: &Shared,
    pusher: &mut Option<tokio::task::AbortHandle>,
) -> Fallible
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut held: Option<Held> = None;
    let mut session = None;
    let mut out = Vec::new();
    let mut events = None;
    loop {
        while let Some((opcode, payload)) = take_frame(&mut input) {
            match opcode {
                1 | 2 => {
                    let mut body = Vec::new();
                    let connect = shared.answer(&spec, &payload, &mut body)?;
                    if !body.is_empty() {
                        frame(&mut out, &body);
                    }
                    session = connect.as_ref().map(|held| Arc::clone(&held.session)).or(session);
                    held = connect.or(held);
                }
                8 => {
                    out.extend_from_slice(&[0x88, 2, 0x03, 0xe8]);
                    writer.lock().await.write_all(&out).await?;
                    return Ok(());
                }
                9 => {
                    out.extend_from_slice(&[0x8a, payload.len() as u8]);
                    out.extend_from_slice(&payload);
                }
                _ => {}
            }
            let due = held.take_if(|held| held.at_once || (spec.ack && held.is_going()));
            if let Some(connect) = due {
                let mut body = vec![b'['];
                if connect.is_going() {
                    body.extend_from_slice(events.get_or_insert_with(|| spec.events(0)).as_bytes());
                    body.push(b',');
                }
                connect.reply(&spec, &mut body)?;
                body.push(b']');
                frame(&mut out, &body);
            }
        }
        if !out.is_empty() {
            let mut writer = writer.lock().await;
            writer.write_all(&out).await?;
            writer.flush().await?;
            out.clear();
        }
        if pusher.is_none() && !spec.ack && session.as_ref().is_some_and(|session| session.is_going()) {
            *pusher = Some(tokio::spawn(push(Arc::clone(writer), spec)).abort_handle());
        }
        if input.is_empty() {
            // A client that waits costs no buffer.
            input = BytesMut::new();
        }
        if reader.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
    }
}

/// Writes the same frames again and again, as fast as they are read.
async fn push<S: AsyncWrite>(writer: Writer<S>, spec: Spec) {
    let frames = spec.frames();
    loop {
        let mut writer = writer.lock().await;
        if writer.write_all(&frames).await.is_err() || writer.flush().await.is_err() {
            return;
        }
    }
}

/// The next frame of a client, unmasked: its opcode and payload.
fn take_frame(input: &mut BytesMut) -> Option<(u8, BytesMut)> {
    let (&first, &second) = (input.first()?, input.get(1)?);
    let (length, at) = match second & 0x7f {
        126 => (usize::from(u16::from_be_bytes(input.get(2..4)?.try_into().ok()?)), 4),
        127 => (u64::from_be_bytes(input.get(2..10)?.try_into().ok()?) as usize, 10),
        short => (usize::from(short), 2),
    };
    let masked = second & 0x80 != 0;
    let start = at + if masked { 4 } else { 0 };
    if input.len() < start + length {
        input.reserve(start + length - input.len());
        return None;
    }
    let mask: [u8; 4] = if masked { input[at..start].try_into().ok()? } else { [0; 4] };
    let mut payload = input.split_to(start + length).split_off(start);
    for chunk in payload.chunks_mut(4) {
        for (byte, mask) in chunk.iter_mut().zip(mask) {
            *byte ^= mask;
        }
    }
    Some((first & 0x0f, payload))
}
