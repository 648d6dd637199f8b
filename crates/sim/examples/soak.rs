//! An hour of virtual time with a thousand clients that come and go over a network that fails, and how much memory that
//! takes: what is allocated beside the proof's own books must not grow.
//!
//! ```text
//! cargo run --release -p bayeux-sim --example soak
//! cargo run --release -p bayeux-sim --example soak -- 100 600     # clients, seconds
//! ```

use std::process::ExitCode;
use std::time::{Duration, Instant};

use bayeux_proto::{Channel, Transport, client};
use bayeux_sim::{Actor, Fault, Scenario, Snapshot, Step};
use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// In the last quarter there may be that much more than in the first: queues keep the room that they needed once.
const GROWTH: f64 = 1.1;

fn main() -> ExitCode {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|number| number.parse().ok()).collect();
    let clients = numbers.first().copied().unwrap_or(1000);
    let length = Duration::from_secs(numbers.get(1).copied().unwrap_or(3600));
    let started = Instant::now();
    println!(
        "  minute  connected  sessions  calls  waiting  exchanges  sockets  planned  delivered  books MiB   heap MiB   rest MiB    RSS MiB"
    );
    let (mut first, mut last) = (0.0_f64, 0.0_f64);
    let lived = scenario(clients, length).run_watched(length / 20, |now| {
        println!(
            "{:>8.1}  {:>9}  {:>8}  {:>5}  {:>7}  {:>9}  {:>7}  {:>7}  {:>9}  {:>9.1}  {:>9.1}  {:>9.1}  {:>9.1}",
            now.at.as_secs_f64() / 60.0,
            now.connected,
            now.sessions,
            now.calls,
            now.waiting,
            now.exchanges,
            now.sockets,
            now.planned,
            now.delivered,
            mebibytes(now.books),
            mebibytes(HEAP.current_usage()),
            rest(now),
            resident().unwrap_or(f64::NAN),
        );
        match now.at {
            at if at <= length / 4 => first = first.max(rest(now)),
            at if at > length * 3 / 4 => last = last.max(rest(now)),
            _ => {}
        }
    });
    match lived {
        Ok(report) => {
            print!("{report}");
            println!("{:.1} s", started.elapsed().as_secs_f64());
            println!(
                "beside the books at most {first:.1} MiB in the first quarter, {last:.1} MiB in the last"
            );
            if last > first * GROWTH {
                println!("the memory does not stay flat");
                return ExitCode::FAILURE;
            }
            ExitCode::SUCCESS
        }
        Err(broken) => {
            println!("{}", broken.violation);
            ExitCode::FAILURE
        }
    }
}

/// Clients in groups of ten, half of them over each transport. Each publishes to its group every half minute, and
/// closes and opens again every few minutes; all the time something fails for somebody.
fn scenario(clients: u64, length: Duration) -> Scenario {
    let second = Duration::from_secs(1);
    let mut scenario = Scenario::new(1).trouble(0.002, length);
    for number in 0..clients {
        let channel = Channel::from_wire(&format!("/group/{}", number / 10));
        let mut config = client::Config::default();
        config.ack = number % 4 < 2;
        config.retry_open = true;
        config.open_timeout = None;
        config.transports = match number % 2 {
            0 => vec![Transport::LongPolling],
            _ => vec![Transport::WebSocket, Transport::LongPolling],
        };
        let offset = second.mul_f64(number as f64 * 0.03);
        let churn = second * (180 + (number % 120) as u32);
        let actor = Actor::new(config)
            .at(offset, Step::Open)
            .every(offset + second..=length, churn, Step::subscribe(channel.clone()))
            .every(offset + second * 5..=length, second * 30, Step::publish(channel))
            .every(offset + churn..=length, churn, Step::Close)
            .every(offset + churn + second * 10..=length, churn, Step::Open);
        scenario = scenario.client(actor);
        if number % 20 == 0 {
            let client = number as usize;
            let at = length.mul_f64(number as f64 / clients as f64);
            scenario = scenario.fault(at, Fault::Partition { client, span: second * 45 });
        }
    }
    for quarter in 1..4 {
        scenario = scenario.fault(length * quarter / 4, Fault::Restart { server: 0, down: second * 5 });
    }
    scenario
}

/// What is allocated now, less the books, in MiB.
fn rest(now: Snapshot) -> f64 {
    mebibytes(HEAP.current_usage()) - mebibytes(now.books)
}

fn mebibytes(bytes: usize) -> f64 {
    bytes as f64 / 1_048_576.0
}

/// How much memory this process has, in MiB, where the system tells.
fn resident() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS"))?;
    let kibibytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes / 1024.0)
}
