//! A thousand clients over real sockets, in real time, that come and go while their connections are cut: whether memory
//! stays flat, whether sockets or tasks are left behind, and whether a message was lost without a word.
//!
//! ```text
//! cargo run --release -p bayeux-testkit --example churn
//! cargo run --release -p bayeux-testkit --example churn -- --clients 100 --minutes 2
//! ```
//!
//! The server is in this process, behind ten networks. Every client publishes to the ten clients of its group, over
//! WebSocket or long-polling, with acknowledgements or without. Now and then it unsubscribes, closes and opens again, or
//! is dropped without a goodbye; and every few seconds all connections of one network are cut. In the end all clients
//! close, and nothing may be left of them. The exit code is 1 when
//!
//! - memory has grown by more than 15 % and 8 MiB between the end of the warm-up (the first third) and the end,
//! - a session, a socket or a task is left 40 s after the last client was closed,
//! - a client missed a message that was published, and no event told it that it might have.

use std::collections::HashMap;
use std::io::{Error, Result};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bayeux::{Client, Event, Overflow, Transport};
use bayeux_server::{Running, Server};
use bayeux_testkit::FaultProxy;
use serde_json::json;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};

const GROUP: u64 = 10;
const NETWORKS: u64 = 10;
const REPORT: Duration = Duration::from_secs(10);
/// An event that explains a missing message may come this much later than what shows that it is missing.
const EXPLANATION: Duration = Duration::from_secs(10);
/// What is left of sessions without a goodbye is gone after this: 10 s at the server, and some more for sockets.
const AFTERMATH: Duration = Duration::from_secs(40);
const GROWTH: f64 = 0.15;
const GROWTH_MIB: f64 = 8.0;

fn main() -> Result<ExitCode> {
    let clients = option("--clients")?.unwrap_or(1000.0) as u64;
    let minutes = option("--minutes")?.unwrap_or(10.0);
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(soak(clients, Duration::from_secs_f64(minutes * 60.0)))
}

fn option(name: &str) -> Result<Option<f64>> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name).skip(1);
    match arguments.next().map(|value| value.parse()) {
        None => Ok(None),
        Some(Ok(number)) => Ok(Some(number)),
        Some(Err(_)) => Err(Error::other(format!("{name} wants a number"))),
    }
}

/// What all clients count.
#[derive(Default)]
struct Totals {
    connected: AtomicU64,
    published: AtomicU64,
    failed: AtomicU64,
    received: AtomicU64,
    /// Missing, and an event said that something may be.
    told: AtomicU64,
    /// Missing without a word.
    untold: AtomicU64,
    lost_connections: AtomicU64,
    reopened: AtomicU64,
}

/// Which publishes of each client the server has confirmed: their number, and when they were begun.
type Confirmed = Vec<Mutex<Vec<(u64, Instant)>>>;

struct Figures {
    at: Instant,
    rss_mib: f64,
    sockets: usize,
    tasks: usize,
}

impl Figures {
    fn now() -> Result<Self> {
        let tasks = Handle::current().metrics().num_alive_tasks();
        Ok(Self { at: Instant::now(), rss_mib: rss_mib()?, sockets: sockets()?, tasks })
    }
}

fn rss_mib() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.map(|kib| kib / 1024.0).ok_or_else(|| Error::other("no VmRSS in /proc/self/status"))
}

fn sockets() -> Result<usize> {
    let mut count = 0;
    for entry in std::fs::read_dir("/proc/self/fd")? {
        // One may have been closed since.
        let target = entry.and_then(|entry| std::fs::read_link(entry.path()));
        count += usize::from(target.is_ok_and(|target| target.to_string_lossy().starts_with("socket:")));
    }
    Ok(count)
}

async fn soak(clients: u64, length: Duration) -> Result<ExitCode> {
    let server = Server::builder()
        .timeout(Duration::from_secs(15))
        .build()
        .map_err(std::io::Error::other)?
        .bind("127.0.0.1:0")
        .await?;
    sleep(Duration::from_secs(1)).await;
    let before = Figures::now()?;
    println!(
        "   time   clients  sessions  RSS MiB  sockets  tasks  published   failed   received  missing  untold  cuts  reopened"
    );

    let totals = Arc::new(Totals::default());
    let networks = networks(server.local_addr()).await;
    let confirmed: Arc<Confirmed> = Arc::new((0..clients).map(|_| Mutex::default()).collect());
    let (stop, stopped) = watch::channel(false);
    let mut lives = JoinSet::new();
    for number in 0..clients {
        let url = networks[(number % NETWORKS) as usize].url();
        let life = Life {
            number,
            url,
            totals: Arc::clone(&totals),
            confirmed: Arc::clone(&confirmed),
            stopped: stopped.clone(),
        };
        lives.spawn(life.live(length.min(Duration::from_secs(20))));
    }

    let measured = watch_over(&server, &networks, &totals, length).await?;
    // Who listens is there: the lives have not ended.
    let _ = stop.send(true);
    while lives.join_next().await.is_some() {}
    drop(networks);
    drop(confirmed);
    let after = aftermath(&server, &before).await?;
    print(&server, &totals, &after, before.at);
    let faults = faults(&server, &totals, &measured, (&before, &after));
    for fault in &faults {
        println!("FAILED: {fault}");
    }
    if faults.is_empty() {
        println!("passed");
    }
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn networks(target: SocketAddr) -> Vec<FaultProxy> {
    let mut networks = Vec::new();
    for _ in 0..NETWORKS {
        networks.push(FaultProxy::to(target).await);
    }
    networks
}

/// Measures and reports; every few seconds it cuts all that goes over one network.
async fn watch_over(
    server: &Running,
    networks: &[FaultProxy],
    totals: &Totals,
    length: Duration,
) -> Result<Vec<Figures>> {
    let started = Instant::now();
    let mut measured = Vec::new();
    let mut report = interval(REPORT);
    let mut cut = interval(Duration::from_secs(7));
    report.tick().await;
    let mut victims = networks.iter().cycle();
    while started.elapsed() < length {
        tokio::select! {
            _ = report.tick() => {
                let now = Figures::now()?;
                print(server, totals, &now, started);
                measured.push(now);
            }
            _ = cut.tick() => {
                if let Some(victim) = victims.next() {
                    victim.cut();
                }
            }
        }
    }
    Ok(measured)
}

/// Waits until as much is left as there was before, but not for ever.
async fn aftermath(server: &Running, before: &Figures) -> Result<Figures> {
    let ended = Instant::now();
    loop {
        let now = Figures::now()?;
        let clean =
            server.server().sessions() == 0 && now.sockets <= before.sockets && now.tasks <= before.tasks;
        if clean || ended.elapsed() > AFTERMATH {
            return Ok(now);
        }
        sleep(Duration::from_millis(500)).await;
    }
}

fn print(server: &Running, totals: &Totals, now: &Figures, started: Instant) {
    let of = |total: &AtomicU64| total.load(Ordering::Relaxed);
    println!(
        "{:>6.0}s  {:>8}  {:>8}  {:>7.1}  {:>7}  {:>5}  {:>9}  {:>7}  {:>9}  {:>7}  {:>6}  {:>4}  {:>8}",
        now.at.duration_since(started).as_secs_f64(),
        of(&totals.connected),
        server.server().sessions(),
        now.rss_mib,
        now.sockets,
        now.tasks,
        of(&totals.published),
        of(&totals.failed),
        of(&totals.received),
        of(&totals.told),
        of(&totals.untold),
        of(&totals.lost_connections),
        of(&totals.reopened),
    );
}

fn faults(
    server: &Running,
    totals: &Totals,
    measured: &[Figures],
    (before, after): (&Figures, &Figures),
) -> Vec<String> {
    let mut faults = Vec::new();
    let mean =
        |figures: &[Figures]| figures.iter().map(|now| now.rss_mib).sum::<f64>() / figures.len() as f64;
    let (warm, window) = (measured.len() / 3, (measured.len() / 10).max(1));
    if let (Some(early), Some(late)) =
        (measured.get(warm..warm + window), measured.get(measured.len().saturating_sub(window)..))
    {
        let (early, late) = (mean(early), mean(late));
        println!("memory after the warm-up {early:.1} MiB, at the end {late:.1} MiB");
        if late > early * (1.0 + GROWTH) && late > early + GROWTH_MIB {
            faults.push(format!("memory grew from {early:.1} to {late:.1} MiB"));
        }
    }
    let sessions = server.server().sessions();
    if sessions > 0 {
        faults.push(format!("{sessions} sessions are left"));
    }
    if after.sockets > before.sockets {
        faults.push(format!("{} sockets are left", after.sockets - before.sockets));
    }
    if after.tasks > before.tasks {
        faults.push(format!("{} tasks are left", after.tasks - before.tasks));
    }
    let untold = totals.untold.load(Ordering::Relaxed);
    if untold > 0 {
        faults.push(format!("{untold} messages were missed without a word"));
    }
    if totals.received.load(Ordering::Relaxed) == 0 {
        faults.push("nothing was received".to_owned());
    }
    faults
}

/// One client's life, or rather lives.
struct Life {
    number: u64,
    url: String,
    totals: Arc<Totals>,
    confirmed: Arc<Confirmed>,
    stopped: watch::Receiver<bool>,
}

/// What has been seen of the others' messages since the last break that is known of.
#[derive(Default)]
struct Seen {
    last: HashMap<u64, u64>,
    /// For each message that is missing: since when that is known, and when it was published.
    suspects: Vec<(Instant, Instant)>,
    explained: Option<Instant>,
}

impl Life {
    async fn live(mut self, spread: Duration) {
        // Not all at once.
        sleep(spread.mul_f64(fastrand::f64())).await;
        while !*self.stopped.borrow() {
            let Ok(client) = self.client().build() else { return };
            self.one(&client).await;
            self.totals.reopened.fetch_add(1, Ordering::Relaxed);
            // Half of them are dropped without a goodbye.
            if *self.stopped.borrow() || fastrand::bool() {
                let _ = client.close().await;
            }
        }
    }

    fn client(&self) -> bayeux::Builder {
        let order = if self.number.is_multiple_of(2) {
            vec![Transport::WebSocket, Transport::LongPolling]
        } else {
            vec![Transport::LongPolling]
        };
        Client::builder(&self.url)
            .transports(order)
            .outage_timeout(None)
            .retry_open(true)
            .acknowledge(self.number % 4 < 2)
            .inbox(1000, Overflow::Pause)
    }

    /// From an opening to the end of a client.
    async fn one(&mut self, client: &Client) {
        let channel = format!("/group/{}", self.number / GROUP);
        let mut events = client.events();
        let mut seen = Seen::default();
        for _ in 0..1 + fastrand::u32(0..4) {
            if client.open().await.is_err() || client.subscribe(channel.as_str()).await.is_err() {
                return;
            }
            seen.breaks();
            self.totals.connected.fetch_add(1, Ordering::Relaxed);
            let span = Duration::from_secs(10 + fastrand::u64(0..50));
            let stopping = self.stopped.clone();
            let _ = timeout(span, self.exchange(client, &channel, &mut events, &mut seen, stopping)).await;
            self.totals.connected.fetch_sub(1, Ordering::Relaxed);
            self.settle(&mut seen, true);
            if *self.stopped.borrow() {
                return;
            }
            if fastrand::bool() {
                let _ = client.unsubscribe(channel.as_str()).await;
            }
            let _ = client.close().await;
        }
    }

    /// Publishes and receives until the time is over.
    async fn exchange(
        &self,
        client: &Client,
        channel: &str,
        events: &mut bayeux::Events,
        seen: &mut Seen,
        mut stopping: watch::Receiver<bool>,
    ) {
        let publishing = async {
            loop {
                sleep(Duration::from_millis(1000 + fastrand::u64(0..4000))).await;
                self.publish(client, channel).await;
            }
        };
        let mut check = interval(Duration::from_secs(1));
        tokio::pin!(publishing);
        loop {
            tokio::select! {
                () = &mut publishing => {}
                message = client.next() => match message {
                    Some(Ok(message)) => self.received(seen, &message),
                    Some(Err(_)) => {}
                    None => return,
                },
                event = events.next() => match event {
                    Some(Event::GapPossible { .. } | Event::SlowConsumer { .. } | Event::EventsMissed(_)) => seen.breaks(),
                    Some(Event::Lost { .. }) => drop(self.totals.lost_connections.fetch_add(1, Ordering::Relaxed)),
                    Some(_) => {}
                    None => return,
                },
                _ = check.tick() => self.settle(seen, false),
                _ = stopping.changed() => return,
            }
        }
    }

    async fn publish(&self, client: &Client, channel: &str) {
        // Numbers go on over all lives of this client; nobody else uses them.
        static LAST: AtomicU64 = AtomicU64::new(0);
        let id = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        let begun = Instant::now();
        match client.publish(channel, &json!({ "from": self.number, "id": id })).await {
            Ok(_) => {
                self.totals.published.fetch_add(1, Ordering::Relaxed);
                let mut confirmed =
                    self.confirmed[self.number as usize].lock().unwrap_or_else(PoisonError::into_inner);
                confirmed.push((id, begun));
                // Those that are missing are found out long before.
                if confirmed.len() > 256 {
                    confirmed.drain(..128);
                }
            }
            Err(_) => drop(self.totals.failed.fetch_add(1, Ordering::Relaxed)),
        }
    }

    /// Whoever gets a message knows of all that its sender had confirmed before.
    fn received(&self, seen: &mut Seen, message: &bayeux::Message) {
        self.totals.received.fetch_add(1, Ordering::Relaxed);
        let Ok(data) = message.data().decode::<serde_json::Value>() else { return };
        let (Some(from), Some(id)) = (data["from"].as_u64(), data["id"].as_u64()) else { return };
        if let Some(last) = seen.last.insert(from, id) {
            let confirmed = self.confirmed[from as usize].lock().unwrap_or_else(PoisonError::into_inner);
            let missing = confirmed.iter().filter(|(other, _)| (last + 1..id).contains(other));
            let now = Instant::now();
            seen.suspects.extend(missing.map(|(_, begun)| (now, *begun)));
        }
    }

    /// Decides on what is missing: an event has told of it by now, or none will.
    fn settle(&self, seen: &mut Seen, all: bool) {
        let explained = seen.explained;
        seen.suspects.retain(|(since, begun)| {
            // Whatever lost it came after it was published, and the word of that after the loss.
            let told = explained.is_some_and(|at| at >= *begun);
            let due = told || all || since.elapsed() > EXPLANATION;
            if due && (told || all) {
                self.totals.told.fetch_add(1, Ordering::Relaxed);
            } else if due {
                self.totals.untold.fetch_add(1, Ordering::Relaxed);
                println!(
                    "client {} missed a message of {:.1} s ago; the last word of that was {:.1?} ago",
                    self.number,
                    begun.elapsed().as_secs_f64(),
                    explained.map(|at| at.elapsed()),
                );
            }
            !due
        });
    }
}

impl Seen {
    /// Messages may be missing from here on, and the client has said so.
    fn breaks(&mut self) {
        self.explained = Some(Instant::now());
        self.last.clear();
    }
}
