//! One WebSocket of a client.

use std::sync::Arc;
use std::time::Duration;

use bayeux_proto::codec::Decoder;
use bayeux_proto::server::{Input, LinkId, LinkKind};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_websockets::{CloseCode, Error, Limits, Message, ServerBuilder, WebSocketStream};

use crate::hub::{Frame, Hub};

/// How many frames wait for a client that does not read; one that falls further behind is dropped, and its session's
/// queue goes on collecting.
const BOUND: usize = 1024;
/// How long a client may take to read a frame or to answer a goodbye.
const PATIENCE: Duration = Duration::from_secs(30);

/// Serves a socket until either side has had enough.
pub(crate) async fn serve<T: AsyncRead + AsyncWrite + Unpin>(hub: Arc<Hub>, io: T) {
    let limits = Limits::default().max_payload_len(Some(hub.max_message_size));
    let mut socket = ServerBuilder::new().limits(limits).serve(io);
    let link = hub.new_link();
    let (mut outgoing, mut dropped) = hub.socket(link, BOUND);
    let gone = Gone { hub: &hub, link };
    let mut decoder = Decoder::new();
    loop {
        tokio::select! {
            _ = &mut dropped => break,
            frame = outgoing.recv() => match frame {
                Some(frame) => if !write(&mut socket, frame, &mut outgoing).await { break },
                None => break,
            },
            message = socket.next() => match message {
                Some(Ok(message)) if message.is_text() || message.is_binary() => {
                    let body: Bytes = message.into_payload().into();
                    match decoder.decode(&body) {
                        Ok(batch) if batch.skipped == 0 => {
                            let messages = batch.messages;
                            hub.handle(Input::Received { link, kind: LinkKind::WebSocket, messages });
                        }
                        _ => {
                            close(&mut socket, CloseCode::INVALID_FRAME_PAYLOAD_DATA, "no array of messages").await;
                            break;
                        }
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(Error::PayloadTooLong { .. })) => {
                    close(&mut socket, CloseCode::MESSAGE_TOO_BIG, "the frame is too large").await;
                    break;
                }
                Some(Err(_)) | None => break,
            },
        }
    }
    drop(gone);
}

/// Tells the hub when the socket is gone, however that comes about.
struct Gone<'a> {
    hub: &'a Arc<Hub>,
    link: LinkId,
}

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.hub.gone(self.link);
    }
}

/// Writes a frame and all that wait behind it, then flushes once. Whether the socket is still of use.
async fn write<T: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut WebSocketStream<T>,
    first: Frame,
    outgoing: &mut tokio::sync::mpsc::Receiver<Frame>,
) -> bool {
    let all = async {
        let mut next = Some(first);
        while let Some(frame) = next {
            match frame {
                Frame::Text(body) => socket.feed(Message::text(body)).await?,
                Frame::Close(code, reason) => {
                    let code = CloseCode::try_from(code).unwrap_or(CloseCode::NORMAL_CLOSURE);
                    socket.send(Message::close(Some(code), reason)).await?;
                    while socket.next().await.transpose()?.is_some() {}
                    return Ok(false);
                }
            }
            next = outgoing.try_recv().ok();
        }
        socket.flush().await.map(|()| true)
    };
    matches!(tokio::time::timeout(PATIENCE, all).await, Ok(Ok::<bool, Error>(true)))
}

async fn close<T: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut WebSocketStream<T>,
    code: CloseCode,
    reason: &str,
) {
    // The peer is at fault; whether it hears of it is its affair.
    let _ = tokio::time::timeout(PATIENCE, socket.send(Message::close(Some(code), reason))).await;
}
