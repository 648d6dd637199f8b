//! Handshakes and connects: what is advised, held, answered at once, refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod server_support;

use std::time::Duration;

use bayeux_proto::server::{Denial, Input, Policy};
use bayeux_proto::{BayeuxError, Channel, ClientId, Data, Message, Reconnect, Transport};
use serde_json::{Value, json};
use server_support::*;

#[test]
fn a_handshake_reply_says_what_a_client_must_know() {
    let mut server = Server::new();
    let link = server.request(None, json!([handshake(json!({}))]));
    let Some(Response::Messages(messages, cookie)) = server.response(link) else { panic!("no reply") };
    let reply = &messages[0];
    assert_eq!(messages.len(), 1);
    assert_eq!(
        (&reply["id"], &reply["version"], &reply["minimumVersion"]),
        (&json!("h"), &json!("1.0"), &json!("1.0"))
    );
    assert_eq!(reply["supportedConnectionTypes"], json!(["websocket", "long-polling"]));
    assert_eq!(reply["advice"], json!({"reconnect": "retry", "interval": 0, "timeout": 30_000}));
    assert!(reply.get("ext").is_none() && reply.get("x-messages").is_none());
    let id = reply["clientId"].as_str().unwrap();
    assert!(id.len() >= 32 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{id}");
    assert!(cookie.is_some_and(|id| id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_alphanumeric())));
}

#[test]
fn clients_may_be_told_how_long_a_session_is_kept() {
    let mut server = Server::with(|config| config.handshake_reconnect = true);
    let link = server.request(None, json!([handshake(json!({}))]));
    assert_eq!(server.messages(link)[0]["advice"]["maxInterval"], 10_000);
}

#[test]
fn a_handshake_without_a_common_transport_is_refused() {
    let mut server = Server::with(|config| config.transports = vec![Transport::LongPolling]);
    let link =
        server.request(None, json!([handshake(json!({"supportedConnectionTypes": ["websocket", "x"]}))]));
    let reply = &server.messages(link)[0];
    assert_eq!(reply["error"], "405:c[websocket,x],s[long-polling]:no_transport");
    assert_eq!(reply["advice"], json!({"reconnect": "none"}));
    assert_eq!(server.sessions(), 0);
    let link = server.request(None, json!([{"channel": "/meta/handshake", "id": "h"}]));
    assert_eq!(server.messages(link)[0]["successful"], true, "who names none finds out");
}

#[test]
fn there_are_only_so_many_sessions() {
    let mut server = Server::with(|config| config.max_sessions = 1);
    server.handshake();
    let link = server.request(None, json!([handshake(json!({}))]));
    assert_eq!(server.messages(link)[0]["error"], "503::too_many_sessions");
}

struct Doorkeeper;

impl Policy for Doorkeeper {
    fn may_handshake(&mut self, handshake: &Message) -> Result<(), Denial> {
        match handshake.ext_value("token") {
            Some(Value::String(token)) if token == "right" => Ok(()),
            Some(_) => Err(Denial::with(BayeuxError::parse("401::expired")).advise(Reconnect::Handshake)),
            None => Err(Denial::new()),
        }
    }

    fn welcome(&mut self, _: &ClientId, _: &Message) -> Vec<(Channel, Data)> {
        vec![(channel("/news"), data(json!("first"))), (channel("/news"), data(json!("second")))]
    }
}

#[test]
fn a_denied_handshake_ends_the_matter_unless_the_policy_asks_for_another() {
    let mut server = Server::with_policy(Doorkeeper, |_| {});
    let mut reply = |ext: Value| {
        let link = server.request(None, json!([handshake(json!({"ext": ext}))]));
        server.messages(link).remove(0)
    };
    let denied = reply(json!({}));
    assert_eq!(denied["error"], "403::handshake_denied");
    assert_eq!(denied["advice"], json!({"reconnect": "none"}));
    assert!(denied.get("clientId").is_none());
    let expired = reply(json!({"token": "old"}));
    assert_eq!(
        (&expired["error"], &expired["advice"]),
        (&json!("401::expired"), &json!({"reconnect": "handshake"}))
    );
    assert_eq!(reply(json!({"token": "right"}))["successful"], true);
}

#[test]
fn messages_come_with_the_handshake_reply_only_if_allowed() {
    let ext = json!({"ext": {"token": "right"}});
    let mut server = Server::with_policy(Doorkeeper, |_| {});
    let client = server.handshake_with(None, ext.clone());
    assert_eq!(events(&server.connect_at_once(&client)), [json!("first"), json!("second")]);

    let mut server = Server::with_policy(Doorkeeper, |config| config.messages_during_handshake = true);
    let link = server.request(None, json!([handshake(ext.clone())]));
    let messages = server.messages(link);
    assert_eq!((&messages[0]["successful"], &messages[0]["x-messages"]), (&json!(true), &json!(2)));
    assert_eq!(events(&messages[1..]), [json!("first"), json!("second")]);
    let socket = server.socket();
    let messages = server.send(socket, json!([handshake(ext)]));
    assert_eq!((messages.len(), &messages[0]["x-messages"]), (3, &json!(2)));
}

#[test]
fn case_69_the_first_connect_is_answered_at_once_and_the_second_is_held() {
    let mut server = Server::new();
    let client = server.handshake();
    let first = server.connect(&client, json!({}));
    let replies = server.messages(first);
    assert_eq!(connect_reply(&replies)["advice"]["timeout"], 30_000);
    let second = server.connect(&client, json!({}));
    server.advance_ms(29_999);
    assert!(server.response(second).is_none());
    server.advance_ms(1);
    assert_eq!(server.messages(second), [json!({"channel": "/meta/connect", "id": "c", "successful": true})]);
}

#[test]
fn case_69_the_same_over_a_socket() {
    let mut server = Server::new();
    let (client, socket) = server.socket_connected(json!({}));
    assert!(server.send(socket, client.sign(json!([connect(json!({}))]))).is_empty());
    server.advance_ms(30_000);
    assert_eq!(connect_reply(&server.pushed(socket))["successful"], true);
}

#[test]
fn a_connect_with_company_is_not_held_over_http() {
    let mut server = Server::new();
    let client = server.connected();
    let replies = server.post(&client, json!([connect(json!({})), publish("/a", json!(1))]));
    assert_eq!(replies.len(), 2);
}

#[test]
fn a_client_may_ask_for_a_shorter_hold_but_not_for_a_longer_one() {
    let mut server = Server::new();
    let client = server.connected();
    let link = server.connect(&client, json!({"advice": {"timeout": 5_000}}));
    server.advance_ms(5_000);
    server.messages(link);
    let link = server.connect(&client, json!({"advice": {"timeout": 500_000}}));
    server.advance_ms(30_000);
    server.messages(link);
}

#[test]
fn a_held_connect_is_answered_when_there_is_something_to_say() {
    let mut server = Server::new();
    let client = server.connected();
    server.subscribe(&client, "/a");
    let link = server.connect(&client, json!({}));
    server.publish("/a", json!({"n": 1}));
    let messages = server.messages(link);
    assert_eq!(messages[0], json!({"channel": "/a", "data": {"n": 1}}));
    assert_eq!(connect_reply(&messages)["successful"], true);
}

#[test]
fn case_70_a_second_connect_takes_the_place_of_the_first() {
    for (status, change) in [(500, None), (409, Some(409))] {
        let mut server = Server::with(|config| config.duplicate_connect_status = change.unwrap_or(500));
        let client = server.connected();
        server.subscribe(&client, "/a");
        let first = server.connect(&client, json!({}));
        let second = server.connect(&client, json!({"id": "c2"}));
        assert_eq!(server.status(first), status);
        server.publish("/a", json!(1));
        let messages = server.messages(second);
        assert_eq!((events(&messages), &messages[1]["id"]), (vec![json!(1)], &json!("c2")));
    }
}

#[test]
fn case_70_over_a_socket_the_first_is_given_up_silently() {
    let mut server = Server::new();
    let (client, socket) = server.socket_connected(json!({}));
    server.send(socket, client.sign(json!([connect(json!({"id": "c1"}))])));
    assert!(server.send(socket, client.sign(json!([connect(json!({"id": "c2"}))]))).is_empty());
    server.advance_ms(30_000);
    let ids: Vec<_> = server.pushed(socket).iter().map(|reply| reply["id"].clone()).collect();
    assert_eq!(ids, ["c2"]);
}

#[test]
fn case_71_the_second_session_of_a_browser_polls() {
    let mut server = Server::new();
    let first = server.connected();
    let second = server.handshake_with(first.cookie.as_ref(), json!({}));
    server.connect_at_once(&second);
    let held = server.connect(&first, json!({}));
    let link = server.connect(&second, json!({}));
    let messages = server.messages(link);
    let reply = connect_reply(&messages);
    assert_eq!(reply["successful"], true);
    assert_eq!(reply["advice"], json!({"reconnect": "retry", "interval": 2_000, "multiple-clients": true}));
    // It may take its time.
    server.advance_ms(11_900);
    assert_eq!(server.sessions(), 2);
    server.lose(held);
    let link = server.connect(&second, json!({"advice": {"timeout": 5_000}}));
    server.advance_ms(5_000);
    let messages = server.messages(link);
    let advice = &connect_reply(&messages)["advice"];
    assert_eq!((&advice["interval"], &advice["multiple-clients"]), (&json!(0), &json!(false)), "alone again");
}

#[test]
fn case_71_the_second_session_of_a_browser_may_be_refused() {
    let mut server = Server::with(|config| config.multi_session_interval = Duration::ZERO);
    let first = server.connected();
    let second = server.handshake_with(first.cookie.as_ref(), json!({}));
    server.connect_at_once(&second);
    server.connect(&first, json!({}));
    let link = server.connect(&second, json!({}));
    let messages = server.messages(link);
    let reply = connect_reply(&messages);
    assert_eq!((&reply["successful"], &reply["advice"]["reconnect"]), (&json!(false), &json!("none")));
}

#[test]
fn case_71_the_limit_is_an_option_and_does_not_hold_for_http_2() {
    let held = |limit: Option<usize>, multiplexed: bool| {
        let mut server = Server::with(|config| config.max_sessions_per_browser = limit);
        let first = server.connected();
        let others = [(); 2].map(|()| {
            let client = server.handshake_with(first.cookie.as_ref(), json!({}));
            server.connect_at_once(&client);
            client
        });
        let mut count = 0;
        for client in std::iter::once(&first).chain(&others) {
            let message = client.sign(json!([connect(json!({}))]));
            let link = server.request_over(client.cookie.as_ref(), multiplexed, message);
            count += usize::from(server.response(link).is_none());
        }
        count
    };
    assert_eq!(
        [held(Some(0), false), held(Some(1), false), held(Some(2), false), held(None, false)],
        [0, 1, 2, 3]
    );
    assert_eq!(held(Some(1), true), 3);
}

#[test]
fn case_71_a_lost_or_ended_connect_makes_room_for_another() {
    let mut server = Server::new();
    let first = server.connected();
    let second = server.handshake_with(first.cookie.as_ref(), json!({}));
    server.connect_at_once(&second);
    for round in 0..3 {
        let link = server.connect(&first, json!({}));
        match round {
            0 => server.lose(link),
            1 => server.send_to(&first, "/a", json!(1)),
            _ => server.disconnect(&first),
        }
        let link = server.connect(&second, json!({}));
        assert!(server.response(link).is_none(), "round {round}: held");
        server.lose(link);
    }
}

#[test]
fn case_76_messages_that_are_wrong_in_themselves_are_refused() {
    let mut server = Server::new();
    let client = server.connected();
    let long = format!("/{}", "x".repeat(2000));
    let replies = server.post(
        &client,
        json!([
            {"channel": "/a", "id": "a-b", "data": 1},
            {"channel": "/a?b", "id": "1", "data": 1},
            {"id": "2", "data": 1},
            {"channel": "/a//b", "id": "3", "data": 1},
            {"channel": "/a/*/b", "id": "4", "data": 1},
            {"channel": long, "id": "5", "data": 1},
            {"channel": "/a/*", "id": "6", "data": 1},
            {"channel": "/meta/unheard", "id": "7"},
            {"channel": "/meta/subscribe", "id": "8"},
            {"channel": "/meta/subscribe", "id": "9", "subscription": []},
            {"channel": "/meta/subscribe", "id": "10", "subscription": "/a?b"},
            {"channel": "/meta/unsubscribe", "id": "11", "subscription": "/nobody/knows"},
        ]),
    );
    let errors: Vec<_> = replies.iter().map(|reply| reply["error"].as_str().unwrap()).collect();
    assert_eq!(
        errors,
        [
            "405::message_id_invalid",
            "405::channel_invalid",
            "400::channel_missing",
            "405::channel_invalid",
            "405::channel_invalid",
            "405::channel_invalid",
            "400:/a/*:publish_to_pattern",
            "404:/meta/unheard:unknown_meta_channel",
            "403::subscription_missing",
            "403::subscription_missing",
            "403::subscription_invalid",
            "400::channel_missing",
        ]
    );
    assert!(replies.iter().all(|reply| reply.to_string().len() < 200), "nothing long is echoed");
    let link = server.request(None, json!([handshake(json!({"id": "a-b"}))]));
    assert_eq!(server.messages(link)[0]["error"], "405::message_id_invalid");
}

#[test]
fn the_time_is_told_with_what_a_connect_was_held() {
    let mut server = Server::new();
    let ask = json!({"ext": {"timesync": {"tc": 1_000, "l": 0, "o": 0}}});
    let link = server.request(None, json!([handshake(ask.clone())]));
    assert!(server.messages(link)[0].get("ext").is_none(), "nobody told the engine the time");
    server.handle(Input::WallClock(Duration::from_secs(1_700_000_000)));
    let link = server.request(None, json!([handshake(ask.clone())]));
    assert_eq!(
        server.messages(link)[0]["ext"]["timesync"],
        json!({"tc": 1_000, "ts": 1_700_000_000_000_i64, "p": 0, "a": 1_000 - 1_700_000_000_000_i64})
    );
    let client = server.connected();
    let old = json!({"ext": {"timesync": {"tc": 1_000}}});
    let link = server.connect(&client, old);
    server.advance_ms(30_000);
    let messages = server.messages(link);
    assert_eq!(
        connect_reply(&messages)["ext"]["timesync"],
        json!({"tc": 1_000, "ts": 1_700_000_000_000_i64, "p": 30_000})
    );
    let reply = server.post(&client, json!([{"channel": "/a", "id": "1", "data": 1, "ext": ask["ext"]}]));
    assert!(reply[0].get("ext").is_none(), "only meta messages ask for the time");
}
