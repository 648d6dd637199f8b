//! Ten thousand lifetimes over a network that fails, each checked against all laws.

use std::time::Duration;

use bayeux_proto::{Channel, Transport, client};
use bayeux_sim::{Actor, Fault, Law, Report, Scenario, Simulation, Step};

const SEEDS: u64 = 10_000;

#[test]
fn ten_thousand_lifetimes_break_no_law() {
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let shares: Vec<Report> = std::thread::scope(|scope| {
        let jobs: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || {
                    let mut report = Report::default();
                    for seed in (thread..SEEDS).step_by(threads as usize) {
                        let lived = Simulation::new(seed).run();
                        report.add(&lived.unwrap_or_else(|broken| panic!("{broken}")));
                    }
                    report
                })
            })
            .collect();
        jobs.into_iter().map(|job| job.join().unwrap()).collect()
    });
    let mut report = Report::default();
    shares.iter().for_each(|share| report.add(share));
    println!("{report}");
    assert_eq!(report.lifetimes, SEEDS);
    // A proof in which little happens proves little.
    assert!(report.faults.total() > SEEDS && report.delivered > 10 * SEEDS && report.missed > 0);
    assert!(report.doubled > 0, "publishes at least once are sent again now and then");
}

#[test]
fn a_seed_always_gives_the_same_lifetime() {
    for seed in [3, 14, 159] {
        let [(_, one), (_, other)] = [(); 2].map(|()| Simulation::new(seed).trace().unwrap());
        assert!(one.lines().count() > 50);
        assert_eq!(one.to_string(), other.to_string());
    }
}

#[test]
fn a_promise_that_cannot_be_kept_is_noticed() {
    // A client that says it never pauses longer than 2 s, and does.
    let second = Duration::from_secs(1);
    let actor =
        Actor::new(client::Config::default()).pauses(second..=second * 2).at(Duration::ZERO, Step::Open);
    let scenario =
        Scenario::new(1).client(actor).fault(second, Fault::Restart { server: 0, down: second * 60 });
    let broken = scenario.run().unwrap_err();
    assert_eq!(broken.violation.law, Law::Backoff);
    assert!(broken.trace.to_string().contains("Restart"));
}

#[test]
fn a_message_during_a_partition_arrives_when_it_is_over() {
    let second = Duration::from_secs(1);
    let channel = Channel::parse("/news").unwrap();
    let listener = Actor::new(client::Config::default())
        .at(Duration::ZERO, Step::Open)
        .at(second, Step::subscribe(channel.clone()));
    let speaker = Actor::new(client::Config::default())
        .at(Duration::ZERO, Step::Open)
        .at(second * 15, Step::publish(channel));
    let scenario = Scenario::new(7)
        .client(listener)
        .client(speaker)
        .fault(second * 10, Fault::Partition { client: 0, span: second * 8 });
    let report = scenario.run().unwrap();
    // The message, and the last one of every scenario; nothing was missed, because the server acknowledges.
    assert_eq!((report.published, report.delivered, report.missed), (2, 2, 0));
}

/// A client that hears large events over a link of so many bytes a second, for a minute, from another.
fn over_a_slow_link(transport: Transport, bytes_per_second: u32, request_timeout: Duration) -> Scenario {
    let second = Duration::from_secs(1);
    let channel = Channel::from_wire("/news");
    let mut config = client::Config::default();
    config.transports = vec![transport];
    config.request_timeout = request_timeout;
    let listener =
        Actor::new(config).at(Duration::ZERO, Step::Open).at(second, Step::subscribe(channel.clone()));
    let speaker = Actor::new(client::Config::default()).at(Duration::ZERO, Step::Open).every(
        second * 5..=second * 60,
        second * 5,
        Step::Publish(channel, 10_000),
    );
    Scenario::new(9)
        .client(listener)
        .client(speaker)
        .fault(second * 3, Fault::SlowLink { client: 0, span: second * 90, bytes_per_second })
}

#[test]
fn a_slow_link_is_not_given_up_over_either_transport() {
    for transport in [Transport::WebSocket, Transport::LongPolling] {
        for bytes_per_second in [400, 1000, 3000] {
            let scenario = over_a_slow_link(transport, bytes_per_second, Duration::from_secs(10));
            let report = scenario.run().unwrap_or_else(|broken| panic!("{transport} {broken}"));
            assert_eq!(report.faults.of("link slow for a while"), 1);
        }
    }
}

#[test]
fn a_slow_link_that_is_given_up_is_noticed() {
    for transport in [Transport::WebSocket, Transport::LongPolling] {
        // Its pieces come more than five seconds apart, which this client does not wait for.
        let scenario = over_a_slow_link(transport, 100, Duration::from_secs(2));
        let broken = scenario.run().unwrap_err();
        assert_eq!(broken.violation.law, Law::Progress, "{transport}: {broken}");
    }
}
