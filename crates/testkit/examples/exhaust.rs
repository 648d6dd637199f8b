//! Lives every lifetime of some small worlds: every order of up to three faults, and every order in which what is on
//! its way at the same time may arrive.
//!
//! ```text
//! cargo run --release -p bayeux-testkit --example exhaust
//! cargo run --release -p bayeux-testkit --example exhaust -- --faults 2
//! ```

use std::process::ExitCode;
use std::time::{Duration, Instant};

use bayeux_proto::{Channel, ConnectionType, client, server};
use bayeux_testkit::sim::{Actor, Scenario, SmallWorld, Step};

fn main() -> ExitCode {
    let faults = std::env::args().skip_while(|name| name != "--faults").nth(1);
    let most: u32 = faults.and_then(|faults| faults.parse().ok()).unwrap_or(3);
    for (name, transports, ack) in [
        ("long-polling, acknowledged", vec![ConnectionType::LongPolling], true),
        ("long-polling", vec![ConnectionType::LongPolling], false),
        ("WebSocket, acknowledged", vec![ConnectionType::WebSocket, ConnectionType::LongPolling], true),
        ("WebSocket", vec![ConnectionType::WebSocket, ConnectionType::LongPolling], false),
    ] {
        let started = Instant::now();
        match SmallWorld::new(world(transports, ack), most, LEGS).search(|_| {}) {
            Ok(searched) => println!(
                "{name}: {} states, {} lifetimes, {} faults, {:.1} s",
                searched.states,
                searched.report.lifetimes,
                searched.report.faults.total(),
                started.elapsed().as_secs_f64(),
            ),
            Err(broken) => {
                println!("{name}: {broken}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// How many ways through the network may fail: those of a dozen messages and their replies.
const LEGS: u32 = 24;

/// A client that opens, subscribes, publishes twice and asks a service.
fn world(transports: Vec<ConnectionType>, ack: bool) -> Scenario {
    let mut config = client::Config::default();
    config.transports = transports;
    config.ack = ack;
    config.retry_open = true;
    config.open_timeout = None;
    let mut server = server::Config::default();
    server.timeout = Duration::from_secs(3);
    let channel = Channel::from_wire("/a");
    let at = Duration::from_millis;
    let actor = Actor::new(config)
        .at(at(0), Step::Open)
        .at(at(200), Step::subscribe(channel.clone()))
        .at(at(400), Step::publish(channel.clone()))
        .at(at(405), Step::Request(Channel::from_wire("/service/echo"), None))
        .at(at(600), Step::publish(channel));
    Scenario::new(1).server(server).latency(at(10)..=at(10)).client(actor)
}
