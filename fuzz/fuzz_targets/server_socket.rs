//! The server's WebSocket: after an upgrade, bytes as they come, or texts in frames that are well formed.
#![no_main]

use bayeux_fuzz::wire::{frame, talk};
use libfuzzer_sys::fuzz_target;

const UPGRADE: &[u8] = b"GET /cometd HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

fuzz_target!(|input: &[u8]| {
    let received = talk(async |connection| {
        connection.send(UPGRADE).await;
        connection.settle().await;
        match input.split_first() {
            Some((b'T', lines)) => {
                for line in lines.split(|byte| *byte == b'\n').take(16) {
                    let text = String::from_utf8_lossy(line).replace('@', &connection.client_id());
                    connection.send(&frame(1, text.as_bytes())).await;
                    connection.settle().await;
                }
                connection.send(&frame(8, &[])).await;
            }
            _ => connection.send(input).await,
        }
    });
    assert!(received.starts_with(b"HTTP/1.1 101"), "{:?}", String::from_utf8_lossy(&received));
});
