//! The budget: however much peers ask for, the engine takes no more, and who asks for little does not pay for it.

use std::time::Duration;

use bayeux_proto::server::{Input, LinkKind, QueueOverflow, RemovedBecause};
use serde_json::json;

use super::harness::{Server, allocated, alone, array, change, connect, handshake, message};

const MIB: usize = 1 << 20;

/// 500 sessions that stay away for as long as they may, and batches of messages without data for them.
fn fill(server: &mut Server, ack: &str, channel: &str) -> Vec<String> {
    let ids: Vec<String> = (0..500)
        .map(|_| {
            let id = server.handshake(ack);
            server.request(&connect(&id, r#","advice":{"timeout":0,"interval":3600000}"#));
            server.request(&array([change(&id, "subscribe", channel)]));
            id
        })
        .collect();
    let bare = format!(r#"{{"channel":"{channel}","clientId":"{}"}}"#, ids[0]);
    for _ in 0..14 {
        server.request(&array(vec![bare.clone(); 500]));
        server.settle();
    }
    ids
}

#[test]
fn queues_of_absent_sessions_stay_in_the_budget_and_others_are_served() {
    let _alone = alone();
    for (ack, overflow) in [
        ("", QueueOverflow::DropOldest),
        ("", QueueOverflow::DropNewest),
        ("", QueueOverflow::EndSession),
        (r#","ext":{"ack":true}"#, QueueOverflow::DropOldest),
    ] {
        let budget = 16 * MIB;
        let mut server = Server::with(|config| {
            config.max_memory = budget;
            config.overflow = overflow;
        });
        server.keep = false;
        // Somebody who was there before, with a few messages of its own.
        let quiet = server.session();
        server.request(&array([change(&quiet, "subscribe", "/quiet")]));
        for n in 0..10 {
            server.publish("/quiet", &json!(n));
        }
        let (_, kept, peak) = allocated(|| fill(&mut server, ack, "/a"));
        // Beyond the budget there are the bodies of the test, and what one call adds.
        assert!(kept <= budget && peak <= budget + 4 * MIB, "{kept} bytes, at most {peak}");
        assert!(server.engine().memory().total() <= budget, "{:?}", server.engine().memory());
        let lost = server.dropped
            + server.removed.iter().filter(|why| **why == RemovedBecause::Overflowed).count() as u64;
        assert!(lost > 0, "and what did not fit is not lost in silence");
        server.keep = true;
        let link = server.request(&handshake(""));
        assert_eq!(server.messages(link)[0]["successful"], true, "{:?}", server.engine().memory());
        let events = server.post(&connect(&quiet, r#","advice":{"timeout":0}"#));
        assert_eq!(events.len(), 11, "{events:?}");
    }
}

#[test]
fn the_fullest_queue_is_lost_first_and_among_equals_the_one_that_was_left_for_longest() {
    let _alone = alone();
    let mut server = Server::with(|config| config.max_memory = 16 * MIB);
    server.keep = false;
    let (full, old, new) = (server.session(), server.session(), server.session());
    for (id, channel) in [(&full, "/full"), (&old, "/old"), (&new, "/new")] {
        server.request(&array([change(id, "subscribe", channel)]));
    }
    server.oversleep(Duration::from_secs(1));
    // The newer one fetches.
    server.request(&connect(&new, r#","advice":{"timeout":0}"#));
    let data = json!("x".repeat(100_000));
    for n in 0..70 {
        server.publish("/full", &data);
        if n % 2 == 0 {
            server.publish("/old", &data);
            server.publish("/new", &data);
        }
    }
    assert_eq!(server.dropped, 0);
    let publish = |server: &mut Server, channel: &str| {
        let before = server.dropped;
        while server.dropped == before {
            server.publish(channel, &data);
        }
        server.dropped - before
    };
    // It is the full one that loses, whoever is sent more.
    assert_eq!(publish(&mut server, "/new"), 70);
    server.keep = true;
    let events = |server: &mut Server, id: &str| {
        let mut count = 0;
        loop {
            let replies = server.post(&connect(id, r#","advice":{"timeout":0}"#));
            count += replies.len() - 1;
            if replies.len() == 1 {
                return count;
            }
        }
    };
    assert_eq!(events(&mut server, &full), 0);
    server.keep = false;
    // Of two with about as much it is the one that has not fetched for longer.
    let before = server.dropped;
    while server.dropped == before {
        server.publish("/old", &data);
        server.publish("/new", &data);
    }
    server.keep = true;
    let (old, new) = (events(&mut server, &old), events(&mut server, &new));
    assert!(old < 5 && new > 60, "{old} {new}");
}

#[test]
fn subscriptions_take_their_part_and_no_more() {
    let _alone = alone();
    let mut server = Server::with(|config| config.max_memory = 16 * MIB);
    let mut refused = 0;
    for index in 0..40 {
        let id = server.session();
        let name = "n".repeat(900);
        let batch = (0..1000).map(|n| change(&id, "subscribe", &format!("/{index}/{n}/{name}")));
        let replies = server.post(&array(batch));
        let busy: Vec<_> = replies.iter().filter(|reply| reply["successful"] == false).collect();
        assert!(busy.iter().all(|reply| reply["error"] == "503::server_busy"), "{busy:?}");
        refused += busy.len();
    }
    assert!(refused > 30_000, "{refused}");
    let memory = server.engine().memory();
    assert!(memory.subscriptions < 5 * MIB && memory.total() < 6 * MIB, "{memory:?}");
    // Nobody else suffers but in what is used up.
    let id = server.session();
    let replies = server.post(&array([message(&id, "/a", "1")]));
    assert_eq!(replies[0]["successful"], true);
}

#[test]
fn the_subscriptions_of_all_sessions_together_are_limited() {
    let _alone = alone();
    let mut server = Server::with(|config| config.max_subscriptions_in_all = 5);
    let (one, other) = (server.session(), server.session());
    for n in 0..5 {
        server.subscribe(&one, &format!("/{n}"));
    }
    let refused =
        |server: &mut Server| server.post(&array([change(&other, "subscribe", "/0")]))[0]["error"].clone();
    assert_eq!(refused(&mut server), "503::server_busy");
    server.subscribe(&one, "/0");
    server.post(&array([change(&one, "unsubscribe", "/0")]));
    server.subscribe(&other, "/0");
    assert_eq!(server.engine().subscriptions(), 5);
    server.post(&array([change(&one, "disconnect", "")]));
    assert_eq!(server.engine().subscriptions(), 1);
}

#[test]
fn when_sessions_take_all_the_memory_new_ones_are_refused_for_a_while() {
    let _alone = alone();
    let budget = 4 * MIB;
    let mut server = Server::with(|config| config.max_memory = budget);
    let mut refused = None;
    let (_, kept, _) = allocated(|| {
        for _ in 0..20_000 {
            let replies = server.post(&handshake(""));
            if replies[0]["successful"] == false {
                refused = Some(replies[0].clone());
                break;
            }
        }
    });
    let refused = refused.expect("it ends");
    assert_eq!(refused["error"], "503::server_busy");
    assert_eq!(refused["advice"], json!({"reconnect": "handshake", "interval": 5000}));
    assert!(kept <= budget && server.engine().memory().total() <= budget, "{kept} bytes");
    server.advance(Duration::from_secs(11));
    assert_eq!(server.post(&handshake(""))[0]["successful"], true);
}

#[test]
fn publishing_is_refused_when_no_queue_is_left_to_be_emptied() {
    let _alone = alone();
    let mut server = Server::with(|config| config.max_memory = 4 * MIB);
    let id = server.session();
    server.subscribe(&id, "/a");
    // Responses that nobody reads.
    let listener = server.socket();
    server.subscribe_over(&listener, "/a");
    let data = format!("\"{}\"", "x".repeat(500_000));
    let errors: Vec<_> = (0..12)
        .map(|_| server.post(&array([message(&id, "/a", &data)])).last().unwrap()["error"].clone())
        .collect();
    assert!(errors[0].is_null() && errors[11] == "503::server_busy", "{errors:?}");
    assert!(server.engine().memory().total() < 5 * MIB, "{:?}", server.engine().memory());
    server.sent.clear();
    let replies = server.post(&array([message(&id, "/a", "1")]));
    assert_eq!(replies.last().unwrap()["successful"], true);
}

#[test]
fn requests_that_would_wait_are_refused_when_too_much_waits() {
    let _alone = alone();
    for kind in [LinkKind::Http, LinkKind::WebSocket] {
        let budget = 16 * MIB;
        let mut server = Server::with(|config| (config.max_memory, config.max_steps) = (budget, 4));
        let ids: Vec<String> = (0..50).map(|_| server.session()).collect();
        let request = |id: &str| array((0..1000).map(|n| change(id, "subscribe", &format!("/{n}"))));
        let (links, kept, _) = allocated(|| {
            ids.iter()
                .map(|id| {
                    let link = server.link();
                    server.receive(link, kind, &request(id));
                    link
                })
                .collect::<Vec<_>>()
        });
        let refused = links.iter().filter(|link| server.statuses.contains_key(link)).count();
        assert!(refused > 30, "{refused} refused");
        let status = if kind == LinkKind::Http { 503 } else { 1013 };
        assert!(server.statuses.values().all(|other| *other == status), "{:?}", server.statuses);
        assert!(server.engine().memory().requests <= budget / 8 && kept < budget / 8, "{kept} bytes");
        // What is small is done.
        let link = server.request(&handshake(""));
        assert_eq!(server.messages(link)[0]["successful"], true);
        server.settle();
        assert_eq!(server.engine().memory().requests, 0);
    }
}

#[test]
fn an_engine_that_is_asked_for_all_at_once_stays_within_its_budget() {
    let _alone = alone();
    let budget = 32 * MIB;
    let mut server = Server::with(|config| {
        config.max_memory = budget;
        config.max_sessions_per_browser = None;
    });
    server.keep = false;
    let (worst, kept, _) = allocated(|| {
        let mut worst = 0;
        let mut ids = Vec::new();
        for round in 0..400 {
            let ack = if round % 2 == 0 { r#","ext":{"ack":true}"# } else { "" };
            // Handshakes may be refused by now.
            let link = server.link();
            server.keep = true;
            server.receive(link, LinkKind::Http, &handshake(ack));
            server.keep = false;
            if let Some(id) = server.messages(link)[0]["clientId"].as_str() {
                ids.push(id.to_owned());
            }
            let id = &ids[round % ids.len()];
            server.request(&connect(id, r#","advice":{"timeout":0,"interval":3600000}"#));
            server.request(&array((0..500).map(|n| change(id, "subscribe", &format!("/{round}/{n}")))));
            server.request(&array((0..20).map(|n| change(id, "subscribe", &format!("/common/{}", n % 5)))));
            server.request(&array((0..500).map(|n| message(id, &format!("/common/{}", n % 5), "{}"))));
            let text = format!("\"{}\"", "x".repeat(20_000));
            server.request(&array((0..20).map(|n| message(id, &format!("/common/{}", n % 5), &text))));
            server.request(&connect(id, ""));
            for _ in 0..4 {
                server.handle(Input::Timeout);
            }
            worst = worst.max(server.engine().memory().total());
        }
        worst
    });
    // What one call adds before the queues are emptied again.
    assert!(worst <= budget + MIB, "counted: {worst}");
    println!("kept {kept}, counted {}, at most {worst}, of {budget}", server.engine().memory().total());
    assert!(kept <= budget, "{kept} bytes");
    server.settle();
    server.advance(Duration::from_secs(1000));
    server.sent.clear();
    assert_eq!(server.engine().memory().total(), 0, "{:?}", server.engine().memory());
    assert_eq!(server.engine().sessions(), 0);
}
