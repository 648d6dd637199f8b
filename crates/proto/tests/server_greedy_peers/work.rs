//! Work: each call does a bounded part of it, and each message costs what it changes.

use std::time::Duration;

use bayeux_proto::ClientId;
use bayeux_proto::server::{Input, LinkKind, RemovedBecause};
use serde_json::json;

use super::harness::{Server, alone, array, change, connect, handshake, message};

/// How many steps a call may take, of which the configuration names about half.
fn most(server: &Server) -> u64 {
    server.engine().config().max_steps as u64 * 5 / 2 + 100
}

/// Subscribes to a name and unsubscribes from it, many times in one request.
fn changes(id: &str, names: &[&str], times: usize) -> String {
    array((0..times).flat_map(|n| {
        let name = names[n % names.len()];
        [change(id, "subscribe", name), change(id, "unsubscribe", name)]
    }))
}

#[test]
fn a_change_costs_the_same_whatever_was_published_before() {
    let _alone = alone();
    let steps = |published: usize, names: &[&str]| {
        let mut server = Server::new();
        let (publisher, id) = (server.session(), server.session());
        // Somebody hears all of it, so that it has a route.
        let listener = server.socket();
        server.subscribe_over(&listener, "/a/**");
        for n in (0..published).step_by(1000) {
            let batch = (n..n + 1000).map(|n| message(&publisher, &format!("/a/b/{n}"), "1"));
            server.post(&array(batch));
        }
        let before = server.engine().steps();
        let replies = server.post(&changes(&id, names, 4000));
        assert_eq!(replies.len(), 8000);
        assert!(replies.iter().all(|reply| reply["successful"] == true));
        server.engine().steps() - before
    };
    for names in [&["/a/*"][..], &["/a/**"], &["/a/b/*", "/**"], &["/a/b/1", "/a/b/2", "/*"]] {
        let (few, many) = (steps(0, names), steps(16_000, names));
        assert_eq!(few, many, "{names:?}");
        assert!(many <= 8 * 8000, "{many} steps for 8,000 changes of {names:?}");
    }
}

#[test]
fn no_call_does_more_than_its_share_whatever_is_asked_for() {
    let _alone = alone();
    let mut server = Server::with(|config| config.max_queue = 100);
    server.keep = false;
    let sessions: Vec<String> = (0..3000).map(|_| server.session()).collect();
    for id in &sessions {
        server.request(&array([change(id, "subscribe", "/many")]));
    }
    let greedy = server.handshake("");
    let names =
        |prefix: &str| (0..10_000).map(|n| format!("\"/{prefix}/{n}\"")).collect::<Vec<_>>().join(",");
    let list = |what: &str, names: &str| {
        format!(r#"[{{"channel":"/meta/{what}","id":"l","clientId":"{greedy}","subscription":[{names}]}}]"#)
    };
    let deep = format!("/{}", ["d"; 500].join("/"));
    server.request(&array([change(&greedy, "subscribe", "/**")]));
    let requests = [
        ("many names at once", list("subscribe", &names("n"))),
        ("and again", list("unsubscribe", &names("n"))),
        ("messages for many", array((0..100).map(|_| message(&greedy, "/many", "{}")))),
        ("changes", changes(&greedy, &["/many", "/x/*"], 5000)),
        ("deep names", array((0..500).map(|_| message(&greedy, &deep, "1")))),
        ("much text", array((0..9).map(|_| message(&greedy, "/n", &format!("\"{}\"", "x".repeat(100_000)))))),
        ("connects", array((0..5000).map(|_| change(&greedy, "connect", "/x")))),
    ];
    for (what, request) in requests {
        server.driver.take_longest();
        let before = server.engine().steps();
        server.request(&request);
        assert!(
            server.settle() > 0 || server.engine().steps() - before < most(&server),
            "{what} in one call"
        );
        assert!(
            server.driver.longest() <= most(&server),
            "{what}: {} steps in one call",
            server.driver.longest()
        );
    }
    // The application's message, for all.
    server.driver.take_longest();
    server.publish("/many", &json!(1));
    assert!(server.settle() > 0);
    assert!(server.driver.longest() <= most(&server), "a broadcast: {}", server.driver.longest());
    // A session with many subscriptions ends.
    server.request(&list("subscribe", &names("n")));
    server.settle();
    // One of the ten thousand that it may have is a pattern.
    assert_eq!(server.engine().subscriptions(), 13_000);
    server.driver.take_longest();
    server.handle(Input::Disconnect(ClientId::new(&greedy)));
    assert!(server.settle() > 0);
    assert_eq!(server.engine().subscriptions(), 3000);
    assert!(server.driver.longest() <= most(&server), "an end: {}", server.driver.longest());
    // All are silent at once.
    server.driver.take_longest();
    server.advance(Duration::from_secs(100));
    assert_eq!((server.engine().sessions(), server.engine().subscriptions()), (0, 0));
    assert!(server.driver.longest() <= most(&server), "silence: {}", server.driver.longest());
}

#[test]
fn a_server_with_many_sessions_goes_down_and_answers_held_connects_in_slices() {
    let _alone = alone();
    let mut server = Server::with(|config| config.max_sessions_per_browser = None);
    server.keep = false;
    for _ in 0..3000 {
        let id = server.session();
        server.request(&array([change(&id, "subscribe", "/many")]));
        server.request(&connect(&id, ""));
    }
    server.driver.take_longest();
    server.publish("/many", &json!(1));
    assert!(server.settle() > 0 && server.driver.longest() <= most(&server), "{}", server.driver.longest());
    server.driver.take_longest();
    server.handle(Input::Shutdown);
    assert!(server.settle() > 0 && server.driver.longest() <= most(&server), "{}", server.driver.longest());
    assert_eq!(server.engine().sessions(), 0);
    assert_eq!(server.removed, [RemovedBecause::Shutdown; 3000]);
}

#[test]
fn a_shutdown_in_slices_spreads_the_returns_of_all_clients_over_the_same_time() {
    let _alone = alone();
    const SESSIONS: usize = 1000;
    let mut server = Server::with(|config| config.max_steps = 8);
    let ids: Vec<String> = (0..SESSIONS).map(|_| server.session()).collect();
    let links: Vec<_> = ids.iter().map(|id| server.request(&connect(id, ""))).collect();
    server.handle(Input::Shutdown);
    assert!(server.settle() > 100);
    let mut pause = |link| server.messages(link)[0]["advice"]["interval"].as_u64().unwrap();
    let pauses: Vec<u64> = links.into_iter().map(&mut pause).collect();
    assert!(pauses.iter().all(|pause| *pause <= SESSIONS as u64), "1 ms for each session: {pauses:?}");
    for part in pauses.chunks(100) {
        assert!(part.iter().any(|pause| *pause > 500), "the last as the first: {pauses:?}");
    }
}

#[test]
fn a_handshake_is_answered_by_the_call_that_brings_it_however_much_waits() {
    let _alone = alone();
    let mut server = Server::new();
    let greedy: Vec<String> = (0..50).map(|_| server.session()).collect();
    for id in &greedy {
        server.request(&changes(id, &["/a/*"], 4000));
    }
    let (_, socket) = {
        let link = server.link();
        server.receive(link, LinkKind::WebSocket, &handshake(""));
        let id = server.messages(link)[0]["clientId"].as_str().unwrap().to_owned();
        (id, link)
    };
    server.driver.take_longest();
    let link = server.request(&handshake(""));
    let id = server.messages(link)[0]["clientId"].as_str().unwrap().to_owned();
    let link = server.request(&connect(&id, ""));
    assert_eq!(server.messages(link)[0]["successful"], true);
    let link = server.request(&array([change(&id, "subscribe", "/quiet")]));
    assert_eq!(server.messages(link)[0]["successful"], true);
    let link = server.request(&array([message(&id, "/quiet", "1")]));
    assert_eq!(server.messages(link).len(), 2, "its own message, and the reply");
    assert!(server.engine().has_work() && server.engine().memory().requests > 0);
    assert!(server.driver.longest() <= most(&server));
    assert!(!server.engine().is_busy(socket));
    server.settle();
    assert_eq!(server.engine().memory().requests, 0);
}

#[test]
fn a_lane_takes_only_so_much_and_the_rest_is_refused() {
    let _alone = alone();
    let mut server = Server::new();
    let id = server.session();
    let links: Vec<_> = (0..200).map(|_| server.request(&changes(&id, &["/a"], 4000))).collect();
    let refused = links.iter().filter(|link| server.statuses.get(link) == Some(&503)).count();
    assert!(refused >= 100, "{refused}");
    server.settle();
    let answered = links.iter().filter(|link| server.sent.contains_key(link)).count();
    assert_eq!(answered + refused, 200, "each has its answer");
}

/// What moves or drops many entries, or looks at many segments, counts as several steps: a slice takes about the same time
/// whatever it is of.
#[test]
fn large_queues_and_long_names_are_more_work() {
    let _alone = alone();
    let mut server = Server::new();
    server.keep = false;
    let sessions: Vec<String> = (0..100).map(|_| server.session()).collect();
    for id in &sessions {
        server.request(&array([change(id, "subscribe", "/many")]));
        server.settle();
    }
    let steps = |server: &mut Server, act: &dyn Fn(&mut Server)| {
        let before = server.engine().steps();
        act(server);
        server.settle();
        server.engine().steps() - before
    };
    // All queues grow at the same messages, and each moves all its entries then.
    server.driver.take_longest();
    let publishes: Vec<u64> =
        (0..5000).map(|n| steps(&mut server, &|server| server.publish("/many", &json!(n)))).collect();
    let (least, most_steps) = (publishes.iter().min().unwrap(), publishes.iter().max().unwrap());
    assert!(*least <= 2 * 100 + 10, "{least} steps for a message to 100 sessions");
    assert!(*most_steps >= 100 * 4096 / 4, "{most_steps} steps to move 4,096 entries of each");
    assert!(server.driver.longest() <= most(&server), "{} steps in one call", server.driver.longest());
    // And they are dropped with their session.
    let bye = format!(r#"[{{"channel":"/meta/disconnect","clientId":"{}"}}]"#, sessions[0]);
    let dropped = steps(&mut server, &|server| _ = server.request(&bye));
    assert!((1000..5000).contains(&dropped), "{dropped} steps to drop 5,000 entries");

    let long = format!("/{}b", "a/".repeat(500));
    for (name, range) in [("/a/b", 1..10), (long.as_str(), 15..30)] {
        let id = &server.session();
        let subscribe = array([change(id, "subscribe", name)]);
        let taken = steps(&mut server, &|server| _ = server.request(&subscribe));
        assert!(range.contains(&(taken as usize)), "{taken} steps to subscribe");
        let publish = array([message(id, name, "1")]);
        let taken = steps(&mut server, &|server| _ = server.request(&publish));
        assert!((range.start..range.end + 10).contains(&(taken as usize)), "{taken} steps to publish");
    }
}

#[test]
fn sessions_that_are_due_while_their_requests_wait_do_not_keep_those_from_being_handled() {
    let _alone = alone();
    for (max_steps, sessions) in [(1, 1), (2, 5), (16, 40)] {
        let mut server = Server::with(|config| config.max_steps = max_steps);
        let ids: Vec<String> = (0..sessions).map(|_| server.session()).collect();
        let requests: Vec<_> =
            ids.iter().map(|id| server.request(&array((0..50).map(|_| message(id, "/a", "1"))))).collect();
        // The server was busy for so long that all sessions are due.
        server.oversleep(Duration::from_secs(60));
        for _ in 0..sessions * 200 {
            server.oversleep(Duration::from_millis(2));
            server.handle(Input::Timeout);
        }
        for link in requests {
            let replies = server.messages(link);
            assert_eq!(replies.len(), 50, "{max_steps} steps for {sessions} sessions");
            assert!(replies.iter().all(|reply| reply["successful"] == true));
        }
    }
}

#[test]
fn however_few_steps_a_call_may_do_all_is_delivered_in_the_end() {
    let _alone = alone();
    for max_steps in 1..=4 {
        let mut server = Server::with(|config| (config.max_steps, config.max_queue) = (max_steps, 3));
        let mut sockets = Vec::new();
        for _ in 0..3 {
            let link = server.link();
            server.receive(link, LinkKind::WebSocket, &handshake(""));
            finish(&mut server);
            let id = server.messages(link)[0]["clientId"].as_str().unwrap().to_owned();
            server.receive(link, LinkKind::WebSocket, &connect(&id, ""));
            server.receive(link, LinkKind::WebSocket, &array([change(&id, "subscribe", "/a")]));
            finish(&mut server);
            server.messages(link);
            sockets.push((id, link));
        }
        let batch = array((0..20).map(|n| message(&sockets[0].0, "/a", &n.to_string())));
        server.receive(sockets[0].1, LinkKind::WebSocket, &batch);
        finish(&mut server);
        for (_, link) in &sockets {
            let messages = server.messages(*link);
            let last = messages.iter().filter_map(|message| message["data"].as_u64()).max();
            assert_eq!(last, Some(19), "{max_steps} steps: {messages:?}");
        }
    }
}

/// Calls the engine until nothing is left that need not wait.
fn finish(server: &mut Server) {
    for _ in 0..2000 {
        if !server.engine().has_work() {
            return;
        }
        server.handle(Input::Timeout);
    }
    panic!("it has work without end, with {} steps a call", server.engine().config().max_steps);
}
