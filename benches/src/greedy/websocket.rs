//! A WebSocket that sends frames and never reads.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::pace::Pace;
use crate::Fallible;

pub(crate) struct Deaf {
    stream: TcpStream,
    pace: Pace,
}

impl Deaf {
    pub(crate) async fn connect(server: SocketAddr, pace: Pace) -> Fallible<Self> {
        let mut stream = TcpStream::connect(server).await?;
        let head = format!(
            "GET /cometd HTTP/1.1\r\nHost: {server}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        pace.take(head.len()).await;
        stream.write_all(head.as_bytes()).await?;
        let mut read = Vec::new();
        while !read.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut read).await? == 0 {
                return Err("the server closed the connection".into());
            }
        }
        Ok(Self { stream, pace })
    }

    /// Sends pings of 125 bytes until the connection ends.
    pub(crate) async fn ping(&mut self) -> Fallible {
        let mut ping = vec![0x89, 0x80 | 125, 0, 0, 0, 0];
        ping.extend([b'p'; 125]);
        let pings = ping.repeat(64);
        loop {
            self.pace.take(pings.len()).await;
            self.stream.write_all(&pings).await?;
        }
    }
}
