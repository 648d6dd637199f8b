//! Whose session it is, how long it lives, and how it ends.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod server_support;

use std::time::Duration;

use bayeux_proto::server::{Activity, Input, QueueOverflow, RemovedBecause};
use serde_json::json;
use server_support::*;

#[test]
fn case_66_without_the_cookie_a_session_is_unknown() {
    let mut server = Server::new();
    let client = server.handshake();
    assert!(client.cookie.is_some());
    let stranger = Client { cookie: None, ..client.clone() };
    let link = server.connect(&stranger, json!({}));
    let replies = server.messages(link);
    let reply = connect_reply(&replies);
    assert_eq!(reply["error"], "402::session_unknown");
    assert_eq!(reply["advice"], json!({"reconnect": "handshake", "interval": 0}));
    assert_eq!(server.wrong_browsers, 1, "the operator can know why");
    let other = Client { cookie: Some("other".into()), ..client.clone() };
    assert_eq!(server.post(&other, json!([publish("/a", json!(1))]))[0]["error"], "402::session_unknown");
    assert_eq!(connect_reply(&server.connect_at_once(&client))["successful"], true);
}

#[test]
fn case_66_trusting_the_client_id_needs_no_cookie() {
    let mut server = Server::with(|config| config.trust_client_session = true);
    let client = server.handshake();
    let stranger = Client { cookie: None, ..client };
    assert_eq!(connect_reply(&server.connect_at_once(&stranger))["successful"], true);
    assert_eq!(server.wrong_browsers, 0);
}

#[test]
fn a_session_that_began_where_there_are_no_cookies_may_go_on_over_http() {
    let mut server = Server::new();
    let (client, socket) = server.socket_connected(json!({}));
    server.lose(socket);
    assert_eq!(connect_reply(&server.connect_at_once(&client))["successful"], true);
}

#[test]
fn case_66_a_client_id_is_not_enough_to_take_a_session_over_with_a_socket() {
    for messages in [
        json!([connect(json!({}))]),
        json!([publish("/a", json!(1))]),
        json!([{"channel": "/meta/disconnect", "id": "d"}]),
    ] {
        let mut server = Server::new();
        let victim = server.connected();
        server.subscribe(&victim, "/a");
        let stolen = std::sync::Arc::from("other");
        for socket in [server.socket(), server.socket_of(Some(&stolen)), server.socket_issued(&stolen)] {
            let replies = server.send(socket, victim.sign(messages.clone()));
            assert_eq!(replies[0]["error"], "402::session_unknown");
            server.send_to(&victim, "/a", json!(1));
            assert!(server.pushed(socket).is_empty(), "nothing is pushed to the thief");
        }
        assert_eq!(server.wrong_browsers, 3);
        assert_eq!(events(&server.connect_at_once(&victim)), [json!(1), json!(1), json!(1)]);
        let own = server.socket_of(victim.cookie.as_ref());
        let replies = server.send(own, victim.sign(json!([connect(json!({"advice": {"timeout": 0}}))])));
        assert_eq!(connect_reply(&replies)["successful"], true);
    }
    let mut server = Server::with(|config| config.trust_client_session = true);
    let client = server.connected();
    let socket = server.socket();
    let replies = server.send(socket, client.sign(json!([connect(json!({"advice": {"timeout": 0}}))])));
    assert_eq!(connect_reply(&replies)["successful"], true, "the id is trusted");
}

/// Faye's clients open their socket while they handshake over HTTP, and so without the cookie. They send again, over another
/// socket, what was not answered over one that was closed.
#[test]
fn case_66_a_socket_that_was_opened_before_there_was_a_cookie_is_closed_without_an_answer_once() {
    for before in [true, false] {
        for is_issued in [true, false] {
            let mut server = Server::new();
            let issued: std::sync::Arc<str> = "issued".into();
            let open = |server: &mut Server| {
                if is_issued { server.socket_issued(&issued) } else { server.socket() }
            };
            let early = before.then(|| open(&mut server));
            let client = server.handshake();
            let socket = early.unwrap_or_else(|| open(&mut server));
            let ask = client.sign(json!([connect(json!({"advice": {"timeout": 0}}))]));
            let subscribe =
                client.sign(json!([{"channel": "/meta/subscribe", "subscription": "/a", "id": "s"}]));
            for frame in [&ask, &subscribe, &ask] {
                assert!(server.send(socket, frame.clone()).is_empty(), "it is answered over the next socket");
            }
            assert_eq!(server.closed(socket), Some(1008));
            assert_eq!(server.wrong_browsers, 0);
            server.send_to(&client, "/a", json!(1));
            assert!(server.pushed(socket).is_empty(), "an id alone receives nothing");
            server.lose(socket);

            let thief = open(&mut server);
            let replies = server.send(thief, ask.clone());
            assert_eq!(replies[0]["error"], "402::session_unknown", "it is closed once");
            assert_eq!(server.closed(thief), None);
            assert_eq!(server.wrong_browsers, 1);

            let own = server.socket_of(client.cookie.as_ref());
            assert!(server.send(own, subscribe).iter().any(|reply| reply["successful"] == true));
            assert_eq!(connect_reply(&server.send(own, ask))["successful"], true);
        }
    }
}

#[test]
fn case_66_a_socket_from_before_the_first_request_with_the_cookie_is_closed_too() {
    let mut server = Server::new();
    let client = server.handshake();
    let early = server.socket_issued(&"issued".into());
    let ask = client.sign(json!([connect(json!({"advice": {"timeout": 0}}))]));
    let request = server.request(client.cookie.as_ref(), ask.clone());
    assert!(server.response(request).is_some());
    // Faye's client connects over HTTP while its socket is still being opened.
    let late = server.socket_issued(&"other".into());
    assert_eq!(
        server.send(late, ask.clone())[0]["error"],
        "402::session_unknown",
        "it could have the cookie"
    );
    assert!(server.send(early, ask.clone()).is_empty());
    assert_eq!(server.closed(early), Some(1008));
    let own = server.socket_of(client.cookie.as_ref());
    assert_eq!(connect_reply(&server.send(own, ask))["successful"], true);
}

#[test]
fn case_66_a_session_that_began_with_the_cookie_of_a_socket_moves_to_that_socket() {
    let mut server = Server::new();
    let own: std::sync::Arc<str> = "its own".into();
    let socket = server.socket_issued(&own);
    let client = server.handshake_with(Some(&own), json!({}));
    let ask = client.sign(json!([connect(json!({"advice": {"timeout": 0}}))]));
    assert_eq!(connect_reply(&server.send(socket, ask.clone()))["successful"], true);
    let other = server.socket_issued(&"other".into());
    assert_eq!(server.send(other, ask)[0]["error"], "402::session_unknown", "its client keeps cookies");
}

#[test]
fn case_66_a_session_is_its_clients_by_either_of_two_cookies() {
    let mut server = Server::new();
    let client = server.handshake();
    let ask = client.sign(json!([connect(json!({"advice": {"timeout": 0}}))]));
    for (second, is_own) in [(client.cookie.clone(), true), (Some("other".into()), false), (None, false)] {
        let socket = server.socket_with_second(&"first".into(), second);
        assert_eq!(connect_reply(&server.send(socket, ask.clone()))["successful"], is_own);
    }
}

#[test]
fn case_66_a_session_that_began_on_a_socket_needs_the_cookie_that_was_issued() {
    let mut server = Server::new();
    let issued: std::sync::Arc<str> = "issued".into();
    let socket = server.socket_issued(&issued);
    let replies = server.send(socket, json!([handshake(json!({}))]));
    let id = text(&replies[0]["clientId"]);
    let without = Client { id: id.clone(), cookie: None };
    let with = Client { id, cookie: Some(issued.clone()) };
    server.lose(socket);
    assert_eq!(
        server.connect_at_once(&without)[0]["error"],
        "402::session_unknown",
        "over HTTP by its id alone"
    );

    let other = server.socket_issued(&"another".into());
    let replies = server.send(other, without.sign(json!([connect(json!({"advice": {"timeout": 0}}))])));
    assert_eq!(connect_reply(&replies)["successful"], true, "a client without cookies has a new socket");
    server.lose(other);

    assert_eq!(connect_reply(&server.connect_at_once(&with))["successful"], true, "it has moved to HTTP");
    let thief = server.socket_issued(&"third".into());
    let replies = server.send(thief, without.sign(json!([connect(json!({}))])));
    assert_eq!(replies[0]["error"], "402::session_unknown", "its client keeps cookies, as is known by now");
}

#[test]
fn the_time_of_a_session_starts_when_its_response_has_been_written() {
    let mut server = Server::with(|config| {
        config.max_interval = Duration::from_secs(3);
        config.response_timeout = Duration::from_secs(60);
    });
    let client = server.connected();
    let link = server.connect(&client, json!({}));
    server.send_to(&client, "/a", json!("x".repeat(1000)));
    server.advance(Duration::from_secs(50));
    assert!(server.alive(&client), "the response is being written");
    server.lose(link);
    server.advance(Duration::from_millis(2_900));
    assert!(server.alive(&client), "its time has just begun");
    server.advance(Duration::from_millis(200));
    assert!(!server.alive(&client));

    let client = server.connected();
    server.connect(&client, json!({}));
    server.send_to(&client, "/a", json!(1));
    server.advance(Duration::from_secs(62));
    assert!(server.alive(&client));
    server.advance(Duration::from_secs(2));
    assert!(!server.alive(&client), "nobody may read for ever");
}

#[test]
fn the_time_of_a_session_starts_when_its_socket_has_been_flushed() {
    let mut server = Server::with(|config| {
        config.max_interval = Duration::from_secs(3);
        config.response_timeout = Duration::from_secs(60);
    });
    let (client, socket) = server.socket_connected(json!({}));
    server.handle(Input::Writing(socket));
    server.advance(Duration::from_secs(50));
    assert!(server.alive(&client), "its frames are being written");
    server.handle(Input::Written(socket));
    server.advance(Duration::from_millis(2_900));
    assert!(server.alive(&client));
    server.advance(Duration::from_millis(200));
    assert!(!server.alive(&client));

    let (client, socket) = server.socket_connected(json!({}));
    server.handle(Input::Writing(socket));
    server.advance(Duration::from_secs(20));
    server.lose(socket);
    server.advance(Duration::from_secs(4));
    assert!(!server.alive(&client), "nothing is written to a socket that is lost");
}

#[test]
fn a_session_is_ended_for_a_reason() {
    let reason = || bayeux_proto::BayeuxError::new(403, "", "banned");
    let mut server = Server::new();
    let held = server.connected();
    let link = server.connect(&held, json!({}));
    let (pushed, socket) = server.socket_connected(json!({}));
    let away = server.connected();
    for client in [&held, &pushed, &away] {
        server.handle(Input::DisconnectBecause {
            session: bayeux_proto::ClientId::new(&client.id),
            reason: reason(),
        });
    }
    let last_message = json!({"channel": "/meta/disconnect", "successful": true, "error": "403::banned"});
    assert_eq!(server.messages(link)[0], last_message);
    assert_eq!(server.pushed(socket)[0], last_message);
    assert_eq!(server.connect_at_once(&away)[0], last_message);
}

#[test]
fn a_refused_handshake_is_an_output() {
    let mut server = Server::with(|config| config.max_sessions = 0);
    let link = server.request(None, json!([handshake(json!({}))]));
    assert_eq!(server.messages(link)[0]["error"], "503::too_many_sessions");
    assert_eq!(server.refused, ["503::too_many_sessions"]);
}

#[test]
fn a_shutdown_spreads_the_returns_of_clients() {
    for (sessions, spread, longest) in
        [(1_u64, 5_000_u64, 1_u64), (400, 5_000, 400), (400, 100, 100), (400, 0, 0)]
    {
        let mut server = Server::with(|config| config.shutdown_spread = Duration::from_millis(spread));
        let clients: Vec<_> = (0..sessions).map(|_| server.connected()).collect();
        let links: Vec<_> = clients.iter().map(|client| server.connect(client, json!({}))).collect();
        server.handle(Input::Shutdown);
        let pauses: std::collections::BTreeSet<u64> = links
            .into_iter()
            .map(|link| connect_reply(&server.messages(link))["advice"]["interval"].as_u64().unwrap())
            .collect();
        assert!(pauses.iter().all(|pause| *pause <= longest), "{pauses:?}");
        assert!(pauses.len() as u64 > longest / 4, "they differ: {pauses:?}");
    }
}

#[test]
fn case_67_a_batch_is_of_one_session() {
    let mut server = Server::new();
    let client = server.connected();
    let victim = server.handshake_with(client.cookie.as_ref(), json!({}));
    let replies = server.post(
        &client,
        json!([publish("/a", json!(1)),
            {"channel": "/a", "id": "2", "data": 2, "clientId": victim.id}, publish("/a", json!(3))]),
    );
    let outcomes: Vec<_> = replies.iter().map(|reply| reply["successful"].clone()).collect();
    assert_eq!(outcomes, [true, false, true]);
    assert_eq!(replies[1]["error"], "402::session_unknown");
    assert!(replies[1].get("advice").is_none());
}

#[test]
fn case_67_a_socket_is_of_one_session() {
    let mut server = Server::new();
    let (victim, victims_socket) = server.socket_connected(json!({}));
    let (_, socket) = server.socket_connected(json!({}));
    let replies = server.send(socket, victim.sign(json!([publish("/a", json!(1))])));
    assert_eq!(replies[0]["error"], "402::session_unknown");
    assert_eq!(server.closed(victims_socket), None);
}

#[test]
fn case_68_a_handshake_with_company_is_rejected_as_a_whole() {
    let mut server = Server::new();
    let listener = server.connected();
    server.subscribe(&listener, "/a");
    let link = server.request(None, json!([handshake(json!({})), publish("/a", json!(1))]));
    assert_eq!(server.status(link), 400);
    assert_eq!(server.sessions(), 1);
    assert_eq!(events(&server.connect_at_once(&listener)), Vec::<serde_json::Value>::new());
    let link = server.request(None, json!([]));
    assert_eq!(server.status(link), 400);
}

#[test]
fn too_many_messages_at_once_are_rejected() {
    let mut server = Server::with(|config| config.max_batch = 2);
    let client = server.connected();
    let three =
        client.sign(json!([publish("/a", json!(1)), publish("/a", json!(2)), publish("/a", json!(3))]));
    let link = server.request(client.cookie.as_ref(), three);
    assert_eq!(server.status(link), 413);
}

#[test]
fn case_77_a_session_expires_unless_it_connects_or_says_something() {
    let mut server = Server::with(|config| {
        config.interval = Duration::from_secs(2);
        config.max_interval = Duration::from_secs(8);
    });
    let client = server.connected();
    server.advance_ms(9_900);
    server.post(&client, json!([publish("/a", json!(1))]));
    server.advance_ms(9_900);
    assert_eq!(server.sessions(), 1, "the publish extended it");
    server.advance_ms(200);
    assert_eq!((server.sessions(), &*server.removed), (0, &[RemovedBecause::Expired][..]));
    let link = server.connect(&client, json!({}));
    assert_eq!(connect_reply(&server.messages(link))["advice"]["reconnect"], "handshake");
}

#[test]
fn case_77_a_held_connect_keeps_the_session_and_its_reply_starts_the_clock() {
    let mut server = Server::with(|config| config.timeout = Duration::from_secs(60));
    let client = server.connected();
    let link = server.connect(&client, json!({}));
    server.advance_ms(59_900);
    assert!(server.response(link).is_none());
    server.advance_ms(100);
    assert_eq!(connect_reply(&server.messages(link))["successful"], true);
    server.advance_ms(9_900);
    assert_eq!(server.sessions(), 1);
    server.advance_ms(100);
    assert_eq!(server.sessions(), 0);
}

#[test]
fn case_77_a_client_may_ask_for_a_longer_pause_but_not_for_ever() {
    let mut server = Server::new();
    let client = server.connected();
    let link = server.connect(&client, json!({"advice": {"timeout": 0, "interval": 60_000}}));
    let replies = server.messages(link);
    assert_eq!(connect_reply(&replies)["advice"]["interval"], 60_000);
    server.advance_ms(69_900);
    assert_eq!(server.sessions(), 1);
    server.advance_ms(100);
    assert_eq!(server.sessions(), 0);

    let client = server.connected();
    let link = server.connect(&client, json!({"advice": {"timeout": 0, "interval": 1e15}}));
    server.messages(link);
    server.advance(Duration::from_secs(3_700));
    assert_eq!(server.sessions(), 0);
}

#[test]
fn case_77_a_lost_link_starts_the_clock() {
    let mut server = Server::new();
    let client = server.connected();
    let link = server.connect(&client, json!({}));
    server.advance_ms(5_000);
    server.lose(link);
    server.advance_ms(9_900);
    assert_eq!(server.sessions(), 1);
    server.advance_ms(100);
    assert_eq!(server.sessions(), 0);

    let (client, socket) = server.socket_connected(json!({}));
    server.send(socket, client.sign(json!([connect(json!({}))])));
    server.advance_ms(5_000);
    server.lose(socket);
    server.advance_ms(10_000);
    assert_eq!(server.sessions(), 0);
}

#[test]
fn a_socket_whose_session_expires_is_closed() {
    let mut server = Server::new();
    let (_, socket) = server.socket_connected(json!({}));
    server.advance_ms(10_000);
    assert_eq!((server.sessions(), server.closed(socket)), (0, Some(1000)));
}

#[test]
fn case_79_a_session_moves_to_a_new_socket_with_all_that_waits() {
    let mut server = Server::new();
    let (client, old) = server.socket_connected(json!({}));
    server.send(old, client.sign(json!([{"channel": "/meta/subscribe", "id": "s", "subscription": "/a"}])));
    server.lose(old);
    server.publish("/a", json!("missed"));
    server.advance_ms(9_000);
    let new = server.socket();
    let replies = server.send(new, client.sign(json!([connect(json!({"advice": {"timeout": 0}}))])));
    assert_eq!(events(&replies), [json!("missed")]);
    assert_eq!(connect_reply(&replies)["successful"], true);
    server.publish("/a", json!("new"));
    assert_eq!(events(&server.pushed(new)), [json!("new")]);
}

#[test]
fn case_79_a_session_leaves_a_socket_that_only_seems_alive() {
    let mut server = Server::new();
    let (client, old) = server.socket_connected(json!({}));
    server.send(old, client.sign(json!([connect(json!({}))])));
    let new = server.socket();
    let replies = server.send(new, client.sign(json!([connect(json!({"advice": {"timeout": 0}}))])));
    assert_eq!(connect_reply(&replies)["successful"], true);
    assert_eq!(server.closed(old), Some(1000));
    server.lose(old);
    server.send_to(&client, "/a", json!(1));
    assert_eq!(events(&server.pushed(new)), [json!(1)]);
    assert!(server.pushed(old).is_empty());
}

#[test]
fn case_79_a_socket_may_have_to_handshake_first() {
    let mut server = Server::with(|config| config.require_handshake_per_connection = true);
    let (client, old) = server.socket_connected(json!({}));
    server.lose(old);
    let new = server.socket();
    let replies = server.send(new, client.sign(json!([connect(json!({}))])));
    let reply = connect_reply(&replies);
    assert_eq!(
        (&reply["error"], &reply["advice"]["reconnect"]),
        (&json!("402::session_unknown"), &json!("handshake"))
    );
}

#[test]
fn a_session_is_not_tied_to_the_transport_of_its_handshake() {
    let mut server = Server::new();
    let client = server.handshake();
    let socket = server.socket_of(client.cookie.as_ref());
    let replies = server.send(socket, client.sign(json!([connect(json!({"connectionType": "websocket"}))])));
    assert_eq!(connect_reply(&replies)["successful"], true);
    server.send_to(&client, "/a", json!(1));
    assert_eq!(events(&server.pushed(socket)), [json!(1)]);
    let back = server.connect_at_once(&client);
    assert_eq!(connect_reply(&back)["advice"]["timeout"], 30_000, "another transport, so advice again");
    server.send_to(&client, "/a", json!(2));
    assert!(server.pushed(socket).is_empty(), "it went over to HTTP");
    assert_eq!(events(&server.connect_at_once(&client)), [json!(2)]);
}

#[test]
fn case_81_a_dismissed_client_is_told_with_its_held_connect() {
    let mut server = Server::new();
    let client = server.connected();
    let link = server.connect(&client, json!({}));
    server.disconnect(&client);
    let messages = server.messages(link);
    assert_eq!(messages[0], json!({"channel": "/meta/disconnect", "successful": true}));
    assert_eq!(connect_reply(&messages)["advice"], json!({"reconnect": "none"}));
    assert_eq!(server.removed, [RemovedBecause::Dismissed]);
    let later = server.post(&client, json!([publish("/a", json!(1))]));
    assert_eq!(later[0]["error"], "402::session_unknown");
}

#[test]
fn case_81_a_dismissed_client_that_is_away_is_told_when_it_connects() {
    let mut server = Server::new();
    let client = server.connected();
    server.disconnect(&client);
    assert_eq!(server.sessions(), 0);
    assert_eq!(server.post(&client, json!([publish("/a", json!(1))]))[0]["error"], "402::session_unknown");
    let link = server.connect(&client, json!({}));
    let messages = server.messages(link);
    assert_eq!(messages[0]["channel"], "/meta/disconnect");
    assert_eq!(connect_reply(&messages)["advice"], json!({"reconnect": "none"}));
    let link = server.connect(&client, json!({}));
    assert_eq!(connect_reply(&server.messages(link))["advice"]["reconnect"], "handshake", "told once");

    let client = server.connected();
    server.disconnect(&client);
    server.advance_ms(10_000);
    let link = server.connect(&client, json!({}));
    assert_eq!(connect_reply(&server.messages(link))["advice"]["reconnect"], "handshake", "forgotten");
}

#[test]
fn case_81_a_dismissed_client_with_a_socket_is_told_there() {
    let mut server = Server::new();
    let (client, socket) = server.socket_connected(json!({}));
    server.disconnect(&client);
    assert_eq!(server.pushed(socket), [json!({"channel": "/meta/disconnect", "successful": true})]);
}

#[test]
fn a_client_that_disconnects_gets_both_replies() {
    let mut server = Server::new();
    let client = server.connected();
    let held = server.connect(&client, json!({}));
    let reply = server.post(&client, json!([{"channel": "/meta/disconnect", "id": "d"}]));
    assert_eq!(reply, [json!({"channel": "/meta/disconnect", "id": "d", "successful": true})]);
    assert_eq!(connect_reply(&server.messages(held))["advice"], json!({"reconnect": "none"}));
    assert_eq!(server.removed, [RemovedBecause::Disconnected]);
}

#[test]
fn a_session_that_only_connects_ends_after_too_long() {
    let idle = |activity, busy: fn(&mut Server, &Client)| {
        let mut server = Server::with(|config| {
            config.max_interval = Duration::from_secs(30);
            config.max_inactivity = Some(Duration::from_secs(60));
            config.activity = activity;
        });
        let client = server.connected();
        for _ in 0..4 {
            let link = server.connect(&client, json!({}));
            server.advance_ms(16_000);
            busy(&mut server, &client);
            server.advance_ms(14_000);
            let Some(Response::Messages(messages, _)) = server.response(link) else { panic!("no response") };
            if connect_reply(&messages)["successful"] == false {
                assert_eq!(messages[0]["channel"], "/meta/disconnect");
                assert_eq!(connect_reply(&messages)["advice"], json!({"reconnect": "none"}));
                return server.removed;
            }
        }
        server.removed
    };
    let from_server = |server: &mut Server, client: &Client| server.send_to(client, "/a", json!(1));
    let from_client = |server: &mut Server, client: &Client| {
        server.post(client, json!([publish("/a", json!(1))]));
    };
    assert_eq!(idle(Activity::Client, |_, _| {}), [RemovedBecause::Inactive]);
    assert_eq!(idle(Activity::Client, from_server), [RemovedBecause::Inactive]);
    assert_eq!(idle(Activity::Client, from_client), []);
    assert_eq!(idle(Activity::ClientAndServer, from_server), []);
}

#[test]
fn case_78_what_waits_for_an_absent_client_is_bounded_and_told() {
    let mut server = Server::with(|config| config.max_queue = 3);
    let client = server.connected();
    for n in 0..5 {
        server.send_to(&client, "/a", json!(n));
    }
    assert_eq!(server.dropped, 2);
    assert_eq!(events(&server.connect_at_once(&client)), [json!(2), json!(3), json!(4)]);
}

#[test]
fn case_78_a_session_whose_queue_must_not_lose_anything_ends() {
    for (ack, overflow) in [(false, QueueOverflow::EndSession), (true, QueueOverflow::DropOldest)] {
        let mut server = Server::with(|config| {
            config.max_queue = 3;
            config.overflow = overflow;
        });
        let client = server.handshake_with(None, json!({"ext": {"ack": ack}}));
        server.connect_at_once(&client);
        for n in 0..4 {
            server.send_to(&client, "/a", json!(n));
        }
        assert_eq!((server.dropped, &*server.removed), (0, &[RemovedBecause::Overflowed][..]));
        let link = server.connect(&client, json!({}));
        assert_eq!(connect_reply(&server.messages(link))["advice"]["reconnect"], "handshake");
    }
}

#[test]
fn case_78_a_large_batch_does_not_fill_the_queue_of_who_can_be_reached() {
    let mut server = Server::with(|config| config.max_queue = 8);
    let (listener, socket) = server.socket_connected(json!({}));
    server.send(
        socket,
        listener.sign(json!([{"channel": "/meta/subscribe", "id": "s", "subscription": "/a"}])),
    );
    let publisher = server.connected();
    let batch: Vec<_> = (0..100).map(|n| publish("/a", json!(n))).collect();
    server.post(&publisher, json!(batch));
    assert_eq!(events(&server.pushed(socket)).len(), 100);
    assert_eq!(server.dropped, 0);
}

#[test]
fn a_server_that_goes_down_answers_everybody() {
    let mut server = Server::new();
    let client = server.connected();
    let held = server.connect(&client, json!({}));
    let (_, socket) = server.socket_connected(json!({}));
    server.handle(Input::Shutdown);
    assert_eq!(connect_reply(&server.messages(held))["advice"]["reconnect"], "handshake");
    assert_eq!(server.closed(socket), Some(1001));
    assert_eq!(server.sessions(), 0);
    let link = server.request(None, json!([handshake(json!({}))]));
    assert_eq!(server.status(link), 503);
}

#[test]
fn a_socket_that_was_left_for_http_can_be_taken_up_again() {
    let mut server = Server::new();
    let (client, socket) = server.socket_connected(json!({}));
    server.connect_at_once(&client);
    server
        .send(socket, client.sign(json!([{"channel": "/meta/subscribe", "id": "s", "subscription": "/a"}])));
    server.publish("/a", json!(1));
    assert_eq!(events(&server.pushed(socket)), [json!(1)]);
}

#[test]
fn events_of_who_waits_at_a_socket_all_go_there() {
    let mut server = Server::new();
    let (client, socket) = server.socket_connected(json!({}));
    server
        .send(socket, client.sign(json!([{"channel": "/meta/subscribe", "id": "s", "subscription": "/a"}])));
    server.send(socket, client.sign(json!([connect(json!({}))])));
    assert_eq!(server.post(&client, json!([publish("/a", json!(1))])).len(), 1);
    assert_eq!(events(&server.pushed(socket)), [json!(1)]);
    server.advance_ms(30_000);
    assert_eq!(connect_reply(&server.pushed(socket))["successful"], true, "a late request costs it nothing");
}

#[test]
fn who_goes_over_to_http_before_it_connects_loses_nothing_to_its_old_socket() {
    let mut server = Server::new();
    let (client, socket) = server.socket_connected(json!({}));
    let messages = json!([{"channel": "/meta/subscribe", "id": "s", "subscription": "/a"},
        publish("/a", json!(1))]);
    assert_eq!(events(&server.post(&client, messages)), [json!(1)]);
    server.publish("/a", json!(2));
    assert!(server.pushed(socket).is_empty());
    assert_eq!(events(&server.connect_at_once(&client)), [json!(2)]);
}

#[test]
fn a_socket_that_handshakes_again_hears_no_more_of_its_old_session() {
    let mut server = Server::new();
    let (old, socket) = server.socket_connected(json!({}));
    server.send(socket, old.sign(json!([connect(json!({}))])));
    let replies = server.send(socket, json!([handshake(json!({}))]));
    assert_ne!(replies[0]["clientId"], old.id);
    server.send_to(&old, "/a", json!(1));
    server.advance_ms(9_000);
    assert!(server.pushed(socket).is_empty());
    assert_eq!(server.closed(socket), None);
}
