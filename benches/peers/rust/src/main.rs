//! The crate cometd-client. src/job.rs of the benchmarks describes its arguments, src/meter.rs how it measures.

use std::time::{Duration, Instant};

use cometd_client::types::{CometdClientEvent, CometdEventReceiver};
use cometd_client::{CometdClient, CometdClientBuilder};
use serde_json::{Value, json};

type Fallible<T = ()> = Result<T, Box<dyn std::error::Error>>;

struct Job {
    url: url::Url,
    task: String,
    warm: Duration,
    time: Duration,
    count: usize,
}

fn main() -> Fallible {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, task, _, warm, time, count, _, _] = &arguments[..] else { return Err("URL TASK …".into()) };
    // It adds names to the path, in the place of the last segment.
    let url = format!("{}/", url.trim_end_matches('/')).parse()?;
    let millis = |text: &str| text.parse().map(Duration::from_millis);
    let job =
        Job { url, task: task.clone(), warm: millis(warm)?, time: millis(time)?, count: count.parse()? };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let measured = runtime.block_on(async {
        match job.task.as_str() {
            "receive" => receive(&job).await,
            "idle" => idle(&job).await,
            other => Err(format!("it cannot {other}").into()),
        }
    })?;
    println!("{measured}");
    // Its tasks have no end.
    std::process::exit(0);
}

async fn open(job: &Job) -> Fallible<(CometdClient<Value>, CometdEventReceiver<Value>)> {
    let client = CometdClientBuilder::new(&job.url).build()?;
    let events = client.rx();
    client.subscribe(&["/feed/**"]).await;
    Ok((client, events))
}

async fn receive(job: &Job) -> Fallible<Value> {
    let (_client, mut events) = open(job).await?;
    let mut seen = 0;
    let mut began = None;
    let mut measuring = None;
    loop {
        match events.recv().await.ok_or("it ended")? {
            CometdClientEvent::Message(messages) => seen += messages.len(),
            CometdClientEvent::Error(error) => return Err(error.to_string().into()),
        }
        let now = Instant::now();
        if now - *began.get_or_insert(now) < job.warm {
            continue;
        }
        let (since, cpu, from) = *measuring.get_or_insert_with(|| (now, cpu_seconds(), seen));
        if now - since >= job.time {
            return Ok(json!({
                "messages": seen - from,
                "seconds": (now - since).as_secs_f64(),
                "cpu_seconds": cpu_seconds() - cpu,
                "peak_kib": kib("VmHWM"),
            }));
        }
    }
}

async fn idle(job: &Job) -> Fallible<Value> {
    const AT_ONCE: usize = 50;
    let before = kib("VmRSS");
    let mut clients = Vec::new();
    while clients.len() < job.count {
        let from = clients.len();
        for _ in 0..AT_ONCE.min(job.count - from) {
            clients.push(open(job).await?);
        }
        // The first connect is answered at once, without events.
        for (_, events) in &mut clients[from..] {
            events.recv().await.ok_or("it ended")?;
        }
    }
    tokio::time::sleep(job.time).await;
    Ok(json!({
        "messages": job.count,
        "seconds": job.time.as_secs_f64(),
        "cpu_seconds": 0,
        "peak_kib": kib("VmHWM"),
        "client_kib": (kib("VmRSS") - before) / job.count as f64,
    }))
}

fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn kib(line: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let value = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'));
    value.and_then(|text| text.split_whitespace().next()?.parse().ok()).unwrap_or(0.0)
}
