//! WebSocket frames (RFC 6455, section 5), written without a library so that they can be invalid.

use tokio::io::{AsyncRead, AsyncReadExt};

pub(super) const TEXT: u8 = 1;
pub(super) const CLOSE: u8 = 8;
pub(super) const PING: u8 = 9;
pub(super) const PONG: u8 = 10;

/// A complete frame from a server.
pub(super) fn encode(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        length @ 0..126 => frame.push(length as u8),
        length @ 126..0x1_0000 => {
            frame.push(126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

/// Reads the next frame from a client: opcode and payload. The clients under test do not fragment messages.
pub(super) async fn read(from: &mut (impl AsyncRead + Unpin)) -> std::io::Result<(u8, Vec<u8>)> {
    const MOST: u64 = 64 * 1024 * 1024;
    let opcode = from.read_u8().await? & 0x0f;
    let second = from.read_u8().await?;
    let length = match second & 0x7f {
        126 => u64::from(from.read_u16().await?),
        127 => from.read_u64().await?,
        length => u64::from(length),
    };
    if length > MOST {
        return Err(std::io::Error::other("the frame is too large"));
    }
    let mut mask = [0; 4];
    if second & 0x80 != 0 {
        from.read_exact(&mut mask).await?;
    }
    let mut payload = vec![0; length as usize];
    from.read_exact(&mut payload).await?;
    for (at, byte) in payload.iter_mut().enumerate() {
        *byte ^= mask[at % 4];
    }
    Ok((opcode, payload))
}
