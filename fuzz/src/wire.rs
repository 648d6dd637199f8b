//! A server behind one connection in memory, in virtual time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bayeux_server::{Request, Server, ServiceError};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, WriteHalf};

/// What a client's side of the connection may do.
pub struct Connection {
    write: WriteHalf<DuplexStream>,
    received: Arc<Mutex<Vec<u8>>>,
}

/// Runs `client` against a server, lets the connection end, and checks what must hold after it: the server answered
/// with HTTP or not at all, let go of the connection, and forgot all sessions in time.
pub fn talk<F>(client: F) -> Vec<u8>
where
    F: AsyncFnOnce(&mut Connection),
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(async move {
        let server = Server::builder()
            .max_message_size(16 * 1024)
            .timeout(Duration::from_secs(2))
            .service(
                "/service/echo",
                |request: Request| async move { Ok::<_, ServiceError>(Some(request.data)) },
            )
            .build()
            .expect("valid options");
        let (ours, theirs) = tokio::io::duplex(8 * 1024);
        let service = TowerToHyperService::new(server.service());
        let serving = tokio::spawn(async move {
            let builder = auto::Builder::new(TokioExecutor::new());
            // How a connection ends is the peer's affair.
            let _ = builder.serve_connection_with_upgrades(TokioIo::new(theirs), service).await;
        });
        let (mut read, write) = tokio::io::split(ours);
        let received = Arc::new(Mutex::new(Vec::new()));
        let reading = tokio::spawn({
            let received = Arc::clone(&received);
            async move {
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = read.read(&mut buffer).await {
                    received.lock().expect("no panic").extend_from_slice(&buffer[..count]);
                }
            }
        });
        let mut connection = Connection { write, received: Arc::clone(&received) };
        client(&mut connection).await;
        let _ = connection.write.shutdown().await;
        drop(connection);
        // Held requests are answered after 2 s, sessions end within the hour that a client may ask for.
        let hour = Duration::from_secs(3700);
        tokio::time::timeout(hour, serving)
            .await
            .expect("the connection ends")
            .expect("no panic while serving");
        tokio::time::timeout(hour, reading)
            .await
            .expect("the connection is closed")
            .expect("no panic while reading");
        let forgotten = async {
            while server.sessions() > 0 {
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
        };
        tokio::time::timeout(hour, forgotten).await.expect("sessions end");
        let received = std::mem::take(&mut *received.lock().expect("no panic"));
        let answered =
            received.is_empty() || received.starts_with(b"HTTP/1.") || received.starts_with(&[0, 0]);
        assert!(answered, "no HTTP: {:?}", String::from_utf8_lossy(&received));
        received
    })
}

impl Connection {
    /// Sends bytes as they are, for as long as the server takes them.
    pub async fn send(&mut self, bytes: &[u8]) {
        // A server that has had enough stops reading.
        let _ = tokio::time::timeout(Duration::from_secs(60), self.write.write_all(bytes)).await;
    }

    /// Waits until the server has nothing more to say for now.
    pub async fn settle(&mut self) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    /// The id of the last session that the server spoke of.
    pub fn client_id(&self) -> String {
        let received = self.received.lock().expect("no panic");
        let text = String::from_utf8_lossy(&received);
        let after = text.rsplit("\"clientId\":\"").next().unwrap_or_default();
        after.split('"').next().filter(|id| id.len() < 64).unwrap_or_default().to_owned()
    }
}

/// A masked WebSocket frame, whole.
pub fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | (opcode & 0x0f)];
    match payload.len() {
        short @ 0..=125 => frame.push(0x80 | short as u8),
        medium @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    const MASK: [u8; 4] = [1, 2, 3, 4];
    frame.extend_from_slice(&MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}
