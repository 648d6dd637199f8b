//! A connection of HTTP/1.1 that sends given bodies, at the attacker's pace.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::pace::Pace;
use crate::Fallible;

/// How much is sent at once.
const PIECE: usize = 16 * 1024;

pub(crate) struct Http {
    stream: TcpStream,
    server: SocketAddr,
    pace: Pace,
    cookie: Option<String>,
}

impl Http {
    pub(crate) async fn connect(server: SocketAddr, pace: Pace) -> Fallible<Self> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, server, pace, cookie: None })
    }

    /// Begins a session, with more fields in its handshake; the id that it gets.
    pub(crate) async fn handshake(&mut self, fields: &str) -> Fallible<String> {
        let body = format!(
            r#"[{{"channel":"/meta/handshake","version":"1.0","supportedConnectionTypes":["long-polling"]{fields}}}]"#
        );
        let reply = self.post(&body).await?;
        let reply: Value = serde_json::from_slice(&reply)?;
        let id = reply[0]["clientId"].as_str().ok_or_else(|| format!("no session: {reply}"))?;
        Ok(id.to_owned())
    }

    /// Sends a body and reads the response.
    pub(crate) async fn post(&mut self, body: &str) -> Fallible<Vec<u8>> {
        let head = format!(
            "POST /cometd HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{}\r\n",
            self.server,
            body.len(),
            self.cookie(),
        );
        self.send(head.as_bytes()).await?;
        self.send(body.as_bytes()).await?;
        self.response().await
    }

    /// Sends a body in chunks of one byte, and reads the response.
    pub(crate) async fn post_in_bytes(&mut self, body: &str) -> Fallible<Vec<u8>> {
        let head = format!(
            "POST /cometd HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n{}\r\n",
            self.server,
            self.cookie(),
        );
        self.send(head.as_bytes()).await?;
        let chunks: Vec<u8> =
            body.bytes().flat_map(|byte| [b'1', b'\r', b'\n', byte, b'\r', b'\n']).collect();
        self.send(&chunks).await?;
        self.send(b"0\r\n\r\n").await?;
        self.response().await
    }

    /// The cookie of the session, as a request carries it.
    pub(crate) fn cookie_value(&self) -> Option<String> {
        self.cookie.clone()
    }

    fn cookie(&self) -> String {
        self.cookie.as_ref().map(|cookie| format!("Cookie: {cookie}\r\n")).unwrap_or_default()
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Fallible {
        for piece in bytes.chunks(PIECE) {
            self.pace.take(piece.len()).await;
            self.stream.write_all(piece).await?;
        }
        Ok(())
    }

    async fn response(&mut self) -> Fallible<Vec<u8>> {
        let mut read = Vec::new();
        loop {
            if self.stream.read_buf(&mut read).await? == 0 {
                return Err("the server closed the connection".into());
            }
            let mut headers = [httparse::EMPTY_HEADER; 32];
            let mut response = httparse::Response::new(&mut headers);
            let httparse::Status::Complete(head) = response.parse(&read)? else { continue };
            let header = |name: &str| {
                let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
                found.and_then(|header| std::str::from_utf8(header.value).ok())
            };
            let length: usize = header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
            if let Some(cookie) = header("set-cookie") {
                self.cookie = cookie.split(';').next().map(str::to_owned);
            }
            while read.len() < head + length {
                if self.stream.read_buf(&mut read).await? == 0 {
                    return Err("the server closed the connection".into());
                }
            }
            return Ok(read.split_off(head));
        }
    }
}
