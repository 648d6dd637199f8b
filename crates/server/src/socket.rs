//! One WebSocket of a client.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bayeux_proto::codec::{DecodeError, Decoder};
use bayeux_proto::server::{Input, LinkKind};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::Instant;
use tokio_websockets::{CloseCode, Error, Limits, Message, ServerBuilder, WebSocketStream};

use crate::hub::{Frame, Hub, Socket};

/// How long a client may take to read what it is sent at once, or to answer a goodbye.
const PATIENCE: Duration = Duration::from_secs(30);
/// So many frames are written before the socket is read from again.
const BURST: usize = 64;

/// Serves a socket until either side has had enough.
pub(crate) async fn serve<T: AsyncRead + AsyncWrite + Unpin>(hub: Arc<Hub>, mut place: Socket, io: T) {
    let limits = Limits::default().max_payload_len(Some(hub.options.max_message_size));
    let mut socket = ServerBuilder::new().limits(limits).serve(io);
    let longest = hub.options.socket_idle_timeout;
    let mut idle = pin!(tokio::time::sleep(longest));
    let mut decoder = hub.decoder();
    // While its messages are being handled, nothing more is read from it.
    let mut busy = false;
    loop {
        tokio::select! {
            frame = place.outgoing.recv() => match frame {
                Some(frame) => if !write(&mut socket, frame, &mut place).await { break },
                None => break,
            },
            _ = &mut place.dropped => break,
            () = place.ready.notified(), if busy => busy = false,
            message = socket.next(), if !busy => {
                idle.as_mut().reset(Instant::now() + longest);
                let refusal = match message {
                    Some(Ok(message)) if message.is_text() || message.is_binary() => {
                        received(&hub, &place, &mut decoder, &message.into_payload().into()).err()
                    }
                    Some(Ok(_)) => None,
                    Some(Err(Error::PayloadTooLong { .. })) => {
                        Some((CloseCode::MESSAGE_TOO_BIG, "the frame is too large"))
                    }
                    Some(Err(_)) | None => break,
                };
                busy = hub.is_busy(place.link);
                if let Some((code, reason)) = refusal {
                    close(&mut socket, code, reason).await;
                    break;
                }
            }
            () = &mut idle => {
                close(&mut socket, CloseCode::GOING_AWAY, "nothing was heard for too long").await;
                break;
            }
        }
    }
}

fn received(
    hub: &Arc<Hub>,
    place: &Socket,
    decoder: &mut Decoder,
    body: &Bytes,
) -> Result<(), (CloseCode, &'static str)> {
    match decoder.decode(body) {
        Ok(batch) if batch.skipped == 0 => {
            let messages = batch.messages;
            hub.handle(Input::Received { link: place.link, kind: LinkKind::WebSocket, messages });
            Ok(())
        }
        Err(DecodeError::TooMany { .. }) => Err((CloseCode::POLICY_VIOLATION, "too many messages at once")),
        _ => Err((CloseCode::INVALID_FRAME_PAYLOAD_DATA, "no array of messages")),
    }
}

/// Writes a frame and those that wait behind it, then flushes once. Whether the socket is still of use.
async fn write<T: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut WebSocketStream<T>,
    first: Frame,
    place: &mut Socket,
) -> bool {
    let all = async {
        let mut next = Some(first);
        for left in (0..BURST).rev() {
            let Some(frame) = next else { break };
            let size = frame.len();
            match frame {
                Frame::Text(body) => socket.feed(Message::text(body)).await?,
                Frame::Close(code, reason) => {
                    let code = CloseCode::try_from(code).unwrap_or(CloseCode::NORMAL_CLOSURE);
                    socket.send(Message::close(Some(code), reason)).await?;
                    while socket.next().await.transpose()?.is_some() {}
                    return Ok(false);
                }
            }
            place.backlog.written(size);
            next = if left > 0 { place.outgoing.try_recv().ok() } else { None };
        }
        socket.flush().await.map(|()| true)
    };
    matches!(tokio::time::timeout(PATIENCE, all).await, Ok(Ok::<bool, Error>(true)))
}

/// Says goodbye to a peer that is at fault; whether it hears of it is its affair.
async fn close<T: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut WebSocketStream<T>,
    code: CloseCode,
    reason: &str,
) {
    /// A socket that is dropped with something unread is reset, and the goodbye with it. For so long it is read.
    const LINGER: Duration = Duration::from_secs(2);
    let goodbye = async {
        // The codec may have said it already.
        let _ = socket.send(Message::close(Some(code), reason)).await;
        let _ = socket.flush().await;
    };
    if tokio::time::timeout(PATIENCE, goodbye).await.is_err() {
        return;
    }
    let rest = async {
        let mut scratch = [0; 4096];
        while socket.get_mut().read(&mut scratch).await.is_ok_and(|read| read > 0) {}
    };
    let _ = tokio::time::timeout(LINGER, rest).await;
}

#[cfg(test)]
mod tests {
    use bayeux_proto::server::{AllowAll, Config, Engine};
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_stream_of_frames_is_written_in_bursts_so_that_the_client_is_heard_in_between() {
        let engine = Engine::new(Config::default(), Box::new(AllowAll));
        let hub = Hub::new(engine, Default::default(), Default::default());
        let mut place = hub.socket(None).unwrap();
        let (frames, outgoing) = mpsc::channel(1000);
        place.outgoing = outgoing;
        for _ in 0..200 {
            frames.try_send(Frame::Text(Bytes::from_static(b"[]"))).unwrap();
        }
        let (io, _peer) = tokio::io::duplex(1 << 20);
        let mut socket = ServerBuilder::new().serve(io);
        let first = place.outgoing.recv().await.unwrap();
        assert!(write(&mut socket, first, &mut place).await);
        assert_eq!(place.outgoing.len(), 200 - BURST);
    }
}
