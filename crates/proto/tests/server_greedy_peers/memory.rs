//! Memory: what is allocated for sessions, subscriptions, queues and routes, and that the engine counts no less.

use std::time::Duration;

use bayeux_proto::server::{Input, LinkKind};
use bayeux_proto::{BayeuxError, ClientId};
use serde_json::json;

use super::harness::{Server, allocated, alone, array, change, connect, message};

/// Runs `act`; the bytes that are allocated more than before, and how many more the engine counts.
fn costs(server: &mut Server, act: impl FnOnce(&mut Server)) -> (usize, usize) {
    let before = server.engine().memory().total();
    let ((), kept, _) = allocated(|| act(server));
    (kept, server.engine().memory().total() - before)
}

fn names(prefix: &str, count: usize) -> String {
    (0..count).map(|n| format!("\"/{prefix}{n}\"")).collect::<Vec<_>>().join(",")
}

fn subscribe_all(server: &mut Server, id: &str, names: &str) {
    server
        .request(&format!(r#"[{{"channel":"/meta/subscribe","clientId":"{id}","subscription":[{names}]}}]"#));
    server.settle();
}

#[test]
fn a_session_costs_little_and_no_more_than_is_counted() {
    let _alone = alone();
    const SESSIONS: usize = 10_000;
    let mut server = Server::new();
    server.keep = false;
    let (kept, counted) = costs(&mut server, |server| {
        for _ in 0..SESSIONS {
            server.session();
        }
    });
    println!("a session: {} bytes, counted as {}", kept / SESSIONS, counted / SESSIONS);
    assert!(kept <= counted && counted <= 4 * kept, "{kept} bytes, counted as {counted}");
    assert!(counted / SESSIONS <= 1536, "{} bytes", counted / SESSIONS);
}

#[test]
fn a_held_connect_is_counted() {
    let _alone = alone();
    const SESSIONS: usize = 2000;
    let mut server = Server::new();
    server.keep = false;
    let ids: Vec<String> = (0..SESSIONS).map(|_| server.session()).collect();
    let long = "i".repeat(1000);
    let (kept, counted) = costs(&mut server, |server| {
        for id in &ids {
            server.request(&connect(id, "").replace(r#""id":"2""#, &format!(r#""id":"{long}""#)));
        }
    });
    println!("a held connect with a long id: {} bytes, counted as {}", kept / SESSIONS, counted / SESSIONS);
    assert!(kept <= counted, "{kept} bytes, counted as {counted}");
}

#[test]
fn a_subscription_costs_little_and_no_more_than_is_counted() {
    let _alone = alone();
    // Short names that nobody shares: 100 sessions with 10,000 each.
    let mut server = Server::with(|config| config.max_memory = 2 << 30);
    server.keep = false;
    let ids: Vec<String> = (0..100).map(|_| server.session()).collect();
    let (kept, counted) = costs(&mut server, |server| {
        for (index, id) in ids.iter().enumerate() {
            subscribe_all(server, id, &names(&format!("{index}/"), 10_000));
        }
    });
    assert_eq!(server.engine().subscriptions(), 1_000_000);
    println!(
        "a subscription to a name of its own: {} bytes, counted as {}",
        kept / 1_000_000,
        counted / 1_000_000
    );
    assert!(kept <= counted, "{kept} bytes, counted as {counted}");
    assert!(kept / 1_000_000 <= 150, "{} bytes", kept / 1_000_000);
    // And none of it stays.
    let (_, left, _) = allocated(|| {
        for id in &ids {
            server.request(&array([change(id, "disconnect", "")]));
        }
        server.settle();
    });
    assert_eq!(left, 0);
    assert_eq!(server.engine().memory().total(), 0);

    // Names that all share: 1,000 sessions with 100 each.
    let mut server = Server::new();
    server.keep = false;
    let ids: Vec<String> = (0..1000).map(|_| server.session()).collect();
    let (kept, counted) = costs(&mut server, |server| {
        for id in &ids {
            subscribe_all(server, id, &names("", 100));
        }
    });
    println!("a subscription to a shared name: {} bytes, counted as {}", kept / 100_000, counted / 100_000);
    assert!(kept <= counted, "{kept} bytes, counted as {counted}");
    assert!(kept / 100_000 <= 40, "{} bytes", kept / 100_000);

    // The worst for the sets: two for each name, one for each session.
    let mut server = Server::new();
    server.keep = false;
    let ids: Vec<String> = (0..10_000).map(|_| server.session()).collect();
    let (kept, counted) = costs(&mut server, |server| {
        for (index, id) in ids.iter().enumerate() {
            subscribe_all(server, id, &format!("\"/{}\"", index / 2));
        }
    });
    println!("a subscription of two each: {} bytes, counted as {}", kept / 10_000, counted / 10_000);
    assert!(kept <= counted, "{kept} bytes, counted as {counted}");
}

#[test]
fn what_is_published_to_new_names_leaves_nothing() {
    let _alone = alone();
    let mut server = Server::with(|config| config.max_queue = 1);
    server.keep = false;
    for _ in 0..2000 {
        let id = server.session();
        server.request(&array([change(&id, "subscribe", "/c/**")]));
    }
    server.publish("/c/first", &json!(1));
    server.settle();
    let publisher = server.session();
    let (kept, _) = costs(&mut server, |server| {
        for n in 0..16 {
            let batch = (0..1000).map(|m| message(&publisher, &format!("/c/{n}/{m}"), "1"));
            server.request(&array(batch));
            server.settle();
        }
    });
    assert!(kept < 1 << 20, "{kept} bytes");
}

#[test]
fn an_entry_of_a_queue_is_no_more_than_is_counted_and_a_shared_message_is_counted_once() {
    let _alone = alone();
    let mut server = Server::new();
    server.keep = false;
    for _ in 0..100 {
        let id = server.session();
        server.request(&array([change(&id, "subscribe", "/a")]));
    }
    let large = json!("x".repeat(100_000));
    let (kept, counted) = costs(&mut server, |server| {
        for _ in 0..50 {
            server.publish("/a", &large);
        }
    });
    println!("a message for 100 sessions: {} bytes, counted as {}", kept / 50, counted / 50);
    assert!(kept <= counted && counted < 50 * 120_000, "{kept} bytes, counted as {counted}");

    let mut server = Server::new();
    server.keep = false;
    for _ in 0..100 {
        let id = server.session();
        server.request(&array([change(&id, "subscribe", "/a")]));
    }
    let (kept, counted) = costs(&mut server, |server| {
        for _ in 0..1000 {
            server.publish("/a", &json!(1));
        }
    });
    println!("an entry: {} bytes, counted as {}", kept / 100_000, counted / 100_000);
    assert!(kept <= counted && counted <= 2 * kept, "{kept} bytes, counted as {counted}");
}

#[test]
fn what_is_on_its_way_is_counted_until_it_is_written() {
    let _alone = alone();
    let mut server = Server::new();
    let ids: Vec<String> = (0..50).map(|_| server.session_with(r#","ext":{"ack":true}"#)).collect();
    let large = json!("x".repeat(1 << 20));
    for id in &ids {
        server.subscribe(id, "/a");
    }
    let links: Vec<_> = ids.iter().map(|id| server.request(&connect(id, ""))).collect();
    let idle = server.engine().memory().total();
    server.publish("/a", &large);
    server.settle();
    // Each has a response of its own: the message, and the reply to its connect.
    assert!(links.iter().all(|link| server.sent.contains_key(link)));
    assert!(server.engine().memory().messages > 50 << 20);
    server.sent.clear();
    let left = server.engine().memory().total() - idle;
    assert!(
        (1 << 19..2 << 20).contains(&left),
        "the message itself, which may have to be sent again: {left}"
    );
}

#[test]
fn work_that_waits_is_counted_and_costs_no_more() {
    let _alone = alone();
    let mut server = Server::with(|config| config.max_steps = 1);
    server.keep = false;
    let ids: Vec<String> = (0..4).map(|_| server.session()).collect();
    let (kept, counted) = costs(&mut server, |server| {
        for id in &ids {
            server.request(&array((0..5000).map(|n| change(id, "subscribe", &format!("/{n}")))));
        }
    });
    println!("5,000 messages that wait: {} bytes, counted as {}", kept / 4, counted / 4);
    assert!(kept <= counted && counted <= 6 * kept, "{kept} bytes, counted as {counted}");
}

#[test]
fn what_a_client_does_not_know_yet_is_counted() {
    let _alone = alone();
    // Just more than fits into maps that are half as large.
    const SESSIONS: usize = 1800;
    let mut server = Server::new();
    server.keep = false;
    let reason = "r".repeat(1000);
    let (kept, counted) = costs(&mut server, |server| {
        for _ in 0..SESSIONS {
            let session = ClientId::new(&server.session());
            let reason = BayeuxError::new(403, "", &reason);
            server.handle(Input::DisconnectBecause { session, reason });
        }
    });
    println!("an end with a reason: {} bytes, counted as {}", kept / SESSIONS, counted / SESSIONS);
    assert!(kept <= counted && counted <= 2 * kept, "{kept} bytes, counted as {counted}");
    server.advance(Duration::from_secs(600));
    assert_eq!(server.engine().memory().total(), 0);
}

#[test]
fn a_link_is_counted_until_its_response_is_written() {
    let _alone = alone();
    // Just more than fits into maps that are half as large.
    const SESSIONS: usize = 1800;
    let mut server = Server::new();
    server.keep = false;
    let ids: Vec<String> = (0..SESSIONS).map(|_| server.session()).collect();
    let cookie = "c".repeat(200);
    let mut links = Vec::with_capacity(SESSIONS);
    let before = server.engine().memory().total();
    let (kept, counted) = costs(&mut server, |server| {
        for id in &ids {
            let link = server.link_of(&cookie);
            server.receive(link, LinkKind::Http, &connect(id, r#","advice":{"timeout":0}"#));
            links.push(link);
        }
    });
    println!("a link: {} bytes, counted as {}", kept / SESSIONS, counted / SESSIONS);
    assert!(kept <= counted && counted <= 3 * kept, "{kept} bytes, counted as {counted}");
    for link in links {
        server.hangs_up(link);
    }
    assert_eq!(server.engine().memory().total(), before);
}
