//! Small worlds, of which every lifetime is lived.

use std::time::Duration;

use bayeux_proto::{Channel, Transport, client};
use bayeux_sim::{Actor, Scenario, SmallWorld, Step};

fn world(transport: Transport, ack: bool) -> Scenario {
    let mut config = client::Config::default();
    config.transports = vec![transport];
    config.ack = ack;
    config.retry_open = true;
    config.open_timeout = None;
    let channel = Channel::from_wire("/a");
    let at = Duration::from_millis;
    let actor = Actor::new(config)
        .at(at(0), Step::Open)
        .at(at(200), Step::subscribe(channel.clone()))
        .at(at(400), Step::publish(channel));
    Scenario::new(1).latency(at(10)..=at(10)).client(actor)
}

#[test]
fn every_single_fault_at_every_place_is_survived() {
    for transport in [Transport::LongPolling, Transport::WebSocket] {
        for ack in [true, false] {
            let small = SmallWorld::new(world(transport, ack), 1, 20);
            let searched = small.search(|_| {}).unwrap_or_else(|broken| panic!("{broken}"));
            assert!(searched.report.lifetimes > 50, "{searched:?}");
        }
    }
}
