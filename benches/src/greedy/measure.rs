//! What is measured beside an attack: the handshakes of another client, and the server's memory.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::Fallible;

/// How long each handshake took, from the connection to the last byte of the reply.
#[derive(Debug)]
pub(crate) struct Handshakes {
    /// Sorted.
    spans: Vec<Duration>,
    /// How many failed or were refused.
    failed: usize,
}

impl Handshakes {
    pub(crate) fn count(&self) -> usize {
        self.spans.len()
    }

    pub(crate) fn failed(&self) -> usize {
        self.failed
    }

    pub(crate) fn quantile_ms(&self, quantile: f64) -> f64 {
        let at = (quantile * self.spans.len().saturating_sub(1) as f64).round() as usize;
        self.spans.get(at).map_or(f64::NAN, |span| span.as_secs_f64() * 1000.0)
    }

    pub(crate) fn longest(&self) -> Duration {
        self.spans.last().copied().unwrap_or_default()
    }

    pub(crate) fn longest_ms(&self) -> f64 {
        self.longest().as_secs_f64() * 1000.0
    }
}

/// Handshakes, one after the other, each over a connection of its own, for that long.
pub(crate) fn handshakes_beside(server: SocketAddr, span: Duration) -> JoinHandle<Handshakes> {
    const PAUSE: Duration = Duration::from_millis(20);
    std::thread::spawn(move || {
        let began = Instant::now();
        let mut handshakes = Handshakes { spans: Vec::new(), failed: 0 };
        while began.elapsed() < span {
            match handshake(server) {
                Ok(span) => handshakes.spans.push(span),
                Err(error) => {
                    eprintln!("another client: {error}");
                    handshakes.failed += 1;
                }
            }
            std::thread::sleep(PAUSE);
        }
        handshakes.spans.sort_unstable();
        handshakes
    })
}

fn handshake(server: SocketAddr) -> Fallible<Duration> {
    const BODY: &str =
        r#"[{"channel":"/meta/handshake","version":"1.0","supportedConnectionTypes":["long-polling"]}]"#;
    let began = Instant::now();
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let head = format!(
        "POST /cometd HTTP/1.1\r\nHost: {server}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        BODY.len()
    );
    stream.write_all((head + BODY).as_bytes())?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    if !reply.windows(17).any(|window| window == b"\"successful\":true") {
        return Err(format!("a handshake was refused: {}", String::from_utf8_lossy(&reply)).into());
    }
    Ok(began.elapsed())
}

/// What the server took.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) before_mib: f64,
    pub(crate) peak_mib: f64,
}

/// Reads the memory of a process now and then, for that long.
pub(crate) fn memory_beside(process: u32, span: Duration) -> JoinHandle<Memory> {
    std::thread::spawn(move || {
        let mib = || crate::meter::kib_of(&format!("/proc/{process}/status"), "VmRSS") / 1024.0;
        let before_mib = mib();
        let began = Instant::now();
        let mut peak_mib = before_mib;
        while began.elapsed() < span {
            peak_mib = peak_mib.max(mib());
            std::thread::sleep(Duration::from_millis(20));
        }
        Memory { before_mib, peak_mib }
    })
}
