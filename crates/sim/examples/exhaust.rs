//! Lives every lifetime of some small worlds: every order of up to three faults, and every order in which what is on
//! its way at the same time may arrive.
//!
//! ```text
//! cargo run --release -p bayeux-sim --example exhaust
//! cargo run --release -p bayeux-sim --example exhaust -- --faults 2 --legs 12
//! ```

use std::process::ExitCode;
use std::time::{Duration, Instant};

use bayeux_proto::{Channel, Transport, client, server};
use bayeux_sim::{Actor, Scenario, SmallWorld, Step};

fn main() -> ExitCode {
    let option = |name: &str| -> Option<u32> {
        std::env::args().skip_while(|given| given != name).nth(1).and_then(|number| number.parse().ok())
    };
    let bounds = match (option("--faults"), option("--legs")) {
        (None, None) => BOUNDS.to_vec(),
        (faults, legs) => vec![(faults.unwrap_or(1), legs.unwrap_or(24))],
    };
    for (faults, legs) in bounds {
        println!("up to {faults} faults on the first {legs} ways through the network, in every order:");
        if search(faults, legs).is_err() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Lives all lifetimes of all worlds with so many faults, on so many ways.
fn search(faults: u32, legs: u32) -> Result<(), ()> {
    for (name, transports, ack) in [
        ("long-polling, acknowledged", vec![Transport::LongPolling], true),
        ("long-polling", vec![Transport::LongPolling], false),
        ("WebSocket, acknowledged", vec![Transport::WebSocket, Transport::LongPolling], true),
        ("WebSocket", vec![Transport::WebSocket, Transport::LongPolling], false),
    ] {
        let started = Instant::now();
        match SmallWorld::new(world(transports, ack), faults, legs).search(|_| {}) {
            Ok(searched) => println!(
                "  {name}: {} decisions, {} lifetimes, {} faults, {:.1} s",
                searched.states,
                searched.report.lifetimes,
                searched.report.faults.total(),
                started.elapsed().as_secs_f64(),
            ),
            Err(broken) => {
                println!("{name}: {broken}");
                return Err(());
            }
        }
    }
    Ok(())
}

/// How many faults there may be, and on how many ways through the network they may be: a dozen messages and their
/// replies are 24 ways. The number of lifetimes grows with the power of the faults, so more of them stay nearer to the
/// start.
const BOUNDS: [(u32, u32); 3] = [(1, 24), (2, 16), (3, 6)];

/// A client that opens, subscribes, publishes twice and asks a service.
fn world(transports: Vec<Transport>, ack: bool) -> Scenario {
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
