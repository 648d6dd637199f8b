//! A forwarder between a client and a server: it logs the traffic, and cuts connections on demand.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::outcome::Outcome;
use crate::wire::{Direction, Record};

/// How many bytes of a connection are written down, each way; the rest is only counted.
const KEPT: usize = 128 * 1024;

/// One way in for one client. What it keeps is for the log of a failure.
#[derive(Debug)]
pub(crate) struct Tap {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    listening: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    records: Mutex<Vec<Record>>,
    started: Instant,
    /// Counts the cuts; connections end when it changes.
    cuts: watch::Sender<u64>,
    refuses: AtomicBool,
    /// How many bytes may still come down until the line is cut.
    budget: AtomicI64,
    connections: AtomicUsize,
}

impl Tap {
    /// Forwards from a free port to `target`.
    pub(crate) async fn start(target: SocketAddr) -> Outcome<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            target,
            records: Mutex::default(),
            started: Instant::now(),
            cuts: watch::Sender::new(0),
            refuses: AtomicBool::new(false),
            budget: AtomicI64::new(i64::MAX),
            connections: AtomicUsize::new(0),
        });
        let listening = tokio::spawn(listen(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, listening })
    }

    /// Cuts all connections, as a cable would.
    pub(crate) fn cut(&self) {
        self.shared.cut();
    }

    /// Cuts all connections when that many more bytes have come from the server: in the midst of a message, maybe.
    pub(crate) fn cut_after(&self, bytes: i64) {
        self.shared.budget.store(bytes, Ordering::SeqCst);
    }

    /// Whether a cut is still to come.
    pub(crate) fn is_armed(&self) -> bool {
        self.shared.budget.load(Ordering::SeqCst) < i64::MAX / 2
    }

    /// Refuses all connections from now on, or accepts them again.
    pub(crate) fn refuse(&self, refuse: bool) {
        self.shared.refuses.store(refuse, Ordering::SeqCst);
        if refuse {
            self.cut();
        }
    }

    /// How many connections were made.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// All that passed, as text.
    pub(crate) fn log(&self) -> String {
        let records = self.shared.records.lock().unwrap_or_else(PoisonError::into_inner);
        crate::wire::render(&records)
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.listening.abort();
        self.shared.cut();
    }
}

impl Shared {
    fn cut(&self) {
        self.budget.store(i64::MAX, Ordering::SeqCst);
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    fn write_down(&self, record: usize, direction: Direction, bytes: &[u8]) {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(record) = records.get_mut(record) {
            record.add(direction, self.started.elapsed(), bytes, KEPT);
        }
    }
}

async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        shared.connections.fetch_add(1, Ordering::SeqCst);
        if shared.refuses.load(Ordering::SeqCst) {
            continue;
        }
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let mut cuts = shared.cuts.subscribe();
            let Ok(server) = TcpStream::connect(shared.target).await else { return };
            // Without these, small frames wait for acknowledgements of the ones before.
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            let record = {
                let mut records = shared.records.lock().unwrap_or_else(PoisonError::into_inner);
                records.push(Record::new(shared.started.elapsed()));
                records.len() - 1
            };
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::select! {
                _ = async { tokio::join!(
                    forward(&shared, record, Direction::Up, from_client, to_server),
                    forward(&shared, record, Direction::Down, from_server, to_client),
                ) } => {}
                _ = cuts.changed() => {}
            }
        });
    }
}

async fn forward(
    shared: &Shared,
    record: usize,
    direction: Direction,
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count) = from.read(&mut buffer).await {
        if count == 0 {
            break;
        }
        let mut bytes = &buffer[..count];
        let mut last = false;
        if direction == Direction::Down {
            let before = shared.budget.fetch_sub(count.try_into().unwrap_or(i64::MAX), Ordering::SeqCst);
            if let Ok(left) = usize::try_from(before)
                && left < count
            {
                bytes = &bytes[..left];
                last = true;
            }
        }
        shared.write_down(record, direction, bytes);
        if to.write_all(bytes).await.is_err() {
            break;
        }
        if last {
            shared.cut();
            break;
        }
    }
    // One side is done; the other may still send.
    let _ = to.shutdown().await;
}
