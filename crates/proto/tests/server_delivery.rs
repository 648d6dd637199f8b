//! How events reach their sessions: who gets them, with what, in which order, and once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod server_support;

use std::time::Duration;

use bayeux_proto::server::{Config, Denial, Input, LinkKind, Policy};
use bayeux_proto::{BayeuxError, Channel, ClientId, Message};
use serde_json::{Value, json};
use server_support::*;

#[test]
fn case_72_a_list_of_channels_is_handled_up_to_the_first_failure() {
    let mut server = Server::new();
    let client = server.connected();
    let names = json!(["/a", "/meta/x", "/b"]);
    let replies =
        server.post(&client, json!([{"channel": "/meta/subscribe", "id": "s", "subscription": names}]));
    assert_eq!(replies[0]["successful"], false);
    assert_eq!(replies[0]["error"], "403:denied_by_security_policy:subscribe_denied");
    assert_eq!(replies[0]["subscription"], names);
    server.publish("/a", json!("a"));
    server.publish("/b", json!("b"));
    assert_eq!(events(&server.connect_at_once(&client)), [json!("a")]);
}

#[test]
fn case_73_a_service_is_heard_without_a_subscription() {
    let mut server = Server::new();
    let client = server.connected();
    let other = server.connected();
    server.subscribe(&client, "/service/x");
    server.subscribe(&other, "/service/x");
    let ext = json!({"token": 1});
    let replies = server.post(&client, json!([{"channel": "/service/x", "id": "7", "data": 1, "ext": ext}]));
    assert_eq!(replies, [json!({"channel": "/service/x", "id": "7", "successful": true})]);
    let call = server.calls.remove(0);
    assert_eq!((call.session.as_str(), call.data.as_str()), (&*client.id, "1"));
    assert_eq!(call.ext.as_ref().unwrap().as_str(), r#"{"token":1}"#);
    server.handle(Input::Answer { token: call.token, answer: Ok(data(json!("answer"))) });
    let answer = json!({"channel": "/service/x", "id": "7", "successful": true, "data": "answer"});
    assert_eq!(server.connect_at_once(&client)[0], answer);
    assert_eq!(events(&server.connect_at_once(&other)), Vec::<Value>::new());
}

#[test]
fn case_74_an_event_tells_nothing_of_its_publisher() {
    let mut server = Server::new();
    let publisher = server.connected();
    let listener = server.connected();
    server.subscribe(&listener, "/a");
    let ext = json!({"token": "secret", "binary": {}});
    server.post(&publisher, json!([{"channel": "/a/", "id": "7", "data": {"x": 1}, "ext": ext, "more": 1}]));
    let event = server.connect_at_once(&listener).remove(0);
    assert_eq!(event, json!({"channel": "/a", "data": {"x": 1}, "ext": {"binary": {}}}));
}

#[test]
fn case_74_which_keys_of_ext_travel_on_is_an_option() {
    let mut server = Server::with(|config| config.broadcast_ext = vec!["trace".to_owned()]);
    let client = server.connected();
    server.subscribe(&client, "/a");
    let replies = server
        .post(&client, json!([{"channel": "/a", "id": "1", "data": 1, "ext": {"trace": [1], "binary": {}}}]));
    assert_eq!(replies[0]["ext"], json!({"trace": [1]}));
    let replies = server.post(&client, json!([{"channel": "/a", "id": "1", "data": 1, "ext": "odd"}]));
    assert!(replies[0].get("ext").is_none());
}

#[test]
fn case_74_a_publisher_may_be_left_out() {
    let mut server = Server::with(|config| config.broadcast_to_publisher = false);
    let publisher = server.connected();
    let listener = server.connected();
    server.subscribe(&publisher, "/a");
    server.subscribe(&listener, "/a");
    assert_eq!(server.post(&publisher, json!([publish("/a", json!(1))])).len(), 1);
    assert_eq!(events(&server.connect_at_once(&publisher)), Vec::<Value>::new());
    assert_eq!(events(&server.connect_at_once(&listener)), [json!(1)]);
}

#[test]
fn case_75_a_publishers_own_event_comes_with_the_reply() {
    let mut server = Server::new();
    let client = server.connected();
    server.subscribe(&client, "/a");
    let held = server.connect(&client, json!({}));
    let messages = server.post(&client, json!([publish("/a", json!(1)), publish("/a", json!(2))]));
    assert_eq!(events(&messages[..2]), [json!(1), json!(2)]);
    assert!(messages[2..].iter().all(|reply| reply["successful"] == true && reply.get("data").is_none()));
    assert!(server.response(held).is_none(), "the connect is not answered for it");
}

#[test]
fn events_may_have_to_wait_for_a_connect() {
    let mut server = Server::with(|config| config.connect_delivery_only = true);
    let client = server.connected();
    server.subscribe(&client, "/a");
    let held = server.connect(&client, json!({}));
    assert_eq!(server.post(&client, json!([publish("/a", json!(1))])).len(), 1);
    assert_eq!(events(&server.messages(held)), [json!(1)]);

    let (client, socket) = server.socket_connected(json!({}));
    server.send_to(&client, "/a", json!(2));
    assert!(server.pushed(socket).is_empty());
    let messages = server.send(socket, client.sign(json!([connect(json!({}))])));
    assert_eq!(
        (events(&messages), connect_reply(&messages)["successful"].clone()),
        (vec![json!(2)], json!(true))
    );
}

#[test]
fn case_83_over_callback_polling_events_wait_for_a_connect() {
    let mut server = Server::new();
    server.requests = LinkKind::Callback;
    let client = server.connected();
    server.subscribe(&client, "/a");
    assert_eq!(server.post(&client, json!([publish("/a", json!(1))])).len(), 1, "the reply alone");
    assert_eq!(events(&server.connect_at_once(&client)), [json!(1)]);
    let held = server.connect(&client, json!({}));
    assert_eq!(server.post(&client, json!([publish("/a", json!(2))])).len(), 1);
    assert_eq!(events(&server.messages(held)), [json!(2)]);

    let held = server.connect(&client, json!({}));
    let next = server.connect(&client, json!({}));
    assert_eq!(server.status(held), 500, "another connect takes its place");
    server.requests = LinkKind::Http;
    let replies = server.post(&client, json!([publish("/a", json!(3))]));
    assert_eq!(events(&replies), [json!(3)], "by long-polling they need not wait");
    server.send_to(&client, "/a", json!(4));
    assert!(connect_reply(&server.messages(next)).get("advice").is_none());
    server.send_to(&client, "/a", json!(5));
    let next = server.connect(&client, json!({}));
    assert!(connect_reply(&server.messages(next)).get("advice").is_some(), "of the new transport");
}

#[test]
fn over_a_socket_events_do_not_wait_for_a_connect() {
    let mut server = Server::new();
    let (client, socket) = server.socket_connected(json!({}));
    server.send(socket, client.sign(json!([connect(json!({}))])));
    server.send_to(&client, "/a", json!(1));
    assert_eq!(server.pushed(socket), [json!({"channel": "/a", "data": 1})], "the connect is still held");
    server.send_to(&client, "/a", json!(2));
    assert_eq!(server.pushed(socket).len(), 1);
}

#[test]
fn case_86_a_broadcast_is_encoded_once_for_all_who_get_it() {
    let mut server = Server::new();
    let sockets: Vec<_> = (0..100)
        .map(|_| {
            let (client, socket) = server.socket_connected(json!({}));
            let subscribe = json!([{"channel": "/meta/subscribe", "id": "s", "subscription": "/a/**"},
                {"channel": "/meta/subscribe", "id": "s", "subscription": "/a/b"}]);
            server.send(socket, client.sign(subscribe));
            socket
        })
        .collect();
    server.publish("/a/b", json!("x".repeat(1000)));
    let frames: Vec<_> = sockets.iter().flat_map(|socket| server.frames(*socket)).collect();
    assert_eq!(frames.len(), 100, "each once, however many subscriptions match");
    assert!(frames.iter().all(|frame| frame.as_ptr() == frames[0].as_ptr()), "all share the same bytes");
}

#[test]
fn a_reply_is_never_larger_than_clients_can_take() {
    let mut server = Server::with(|config| config.max_reply_bytes = 1000);
    let client = server.connected();
    for n in 0..10 {
        server.send_to(&client, "/a", json!(format!("{n}{}", "x".repeat(300))));
    }
    let mut received = Vec::new();
    while received.len() < 10 {
        let link = server.connect(&client, json!({}));
        let messages = server.messages(link);
        assert!(json!(messages).to_string().len() < 1200);
        received.extend(events(&messages).iter().map(|text| text.as_str().unwrap()[..1].to_owned()));
    }
    assert_eq!(received.concat(), "0123456789");

    let (client, socket) = server.socket_connected(json!({}));
    server.lose(socket);
    for n in 0..10 {
        server.send_to(&client, "/a", json!(format!("{n}{}", "x".repeat(300))));
    }
    let socket = server.socket();
    let frame = client.sign(json!([connect(json!({"advice": {"timeout": 0}}))]));
    assert_eq!(events(&server.send(socket, frame)).len(), 10, "a socket takes several frames");
}

/// Only what the authorizers grant: all of `/a/**` but `/a/b`.
struct Authorizers;

impl Policy for Authorizers {
    fn may_subscribe(&mut self, _: &ClientId, channel: &Channel) -> Result<(), Denial> {
        (channel.as_str() != "/secret").then_some(()).ok_or_else(Denial::new)
    }

    fn may_publish(&mut self, _: &ClientId, message: &Message) -> Result<(), Denial> {
        match message.channel().as_str() {
            "/a/b" => Err(Denial::new()),
            name if name.starts_with("/a/") => Ok(()),
            _ => Err(Denial::with(BayeuxError::new(403, "denied_by_not_granting", "publish_denied"))),
        }
    }
}

#[test]
fn case_82_the_policy_says_who_may_publish_and_subscribe() {
    let mut server = Server::with_policy(Authorizers, |_| {});
    let client = server.connected();
    server.subscribe(&client, "/**");
    let replies = server.post(
        &client,
        json!([publish("/a/c", json!(1)), publish("/a/b", json!(2)), publish("/b", json!(3)),
            {"channel": "/meta/subscribe", "id": "s", "subscription": "/secret"}]),
    );
    assert_eq!(events(&replies), [json!(1)]);
    let errors: Vec<_> = replies[1..].iter().map(|reply| reply["error"].as_str().unwrap_or("none")).collect();
    assert_eq!(
        errors,
        [
            "none",
            "403:denied_by_security_policy:publish_denied",
            "403:denied_by_not_granting:publish_denied",
            "403:denied_by_security_policy:subscribe_denied",
        ]
    );
}

#[test]
fn unsubscribing_ends_it_and_subscribing_twice_is_once() {
    let mut server = Server::with(|config| config.max_subscriptions = 2);
    let client = server.connected();
    server.subscribe(&client, "/a");
    server.subscribe(&client, "/a/");
    server.subscribe(&client, "/b");
    let full = json!([{"channel": "/meta/subscribe", "id": "s", "subscription": "/c"}]);
    assert_eq!(server.post(&client, full)[0]["error"], "403::too_many_subscriptions");
    let unsubscribe = json!([{"channel": "/meta/unsubscribe", "id": "u", "subscription": ["/a", "/b"]}]);
    assert_eq!(server.post(&client, unsubscribe)[0]["successful"], true);
    server.publish("/a", json!(1));
    server.publish("/b", json!(1));
    assert_eq!(events(&server.connect_at_once(&client)), Vec::<Value>::new());
}

fn lazy(server: &mut Server, data: Value, within_ms: u64) {
    let within = Duration::from_millis(within_ms);
    server.handle(Input::PublishLazily { channel: channel("/a"), data: data.into(), within });
}

#[test]
fn case_80_a_lazy_message_goes_with_the_next_that_is_not() {
    let mut server = Server::new();
    let client = server.connected();
    server.subscribe(&client, "/a");
    let held = server.connect(&client, json!({}));
    lazy(&mut server, json!("lazy"), 5_000);
    server.advance_ms(1_000);
    assert!(server.response(held).is_none());
    server.publish("/a", json!("now"));
    assert_eq!(events(&server.messages(held)), [json!("lazy"), json!("now")]);
}

#[test]
fn case_80_a_lazy_message_alone_waits_for_its_time() {
    let mut server = Server::new();
    let client = server.connected();
    server.subscribe(&client, "/a");
    let held = server.connect(&client, json!({}));
    lazy(&mut server, json!(1), 5_000);
    lazy(&mut server, json!(2), 2_000);
    server.advance_ms(1_999);
    assert!(server.response(held).is_none());
    server.advance_ms(1);
    assert_eq!(events(&server.messages(held)), [json!(1), json!(2)]);

    // With nobody to take it when its time comes, it answers the next connect at once.
    lazy(&mut server, json!(3), 1_000);
    server.advance_ms(1_000);
    let link = server.connect(&client, json!({}));
    assert_eq!(events(&server.messages(link)), [json!(3)]);

    // And the end of a connect takes it along.
    let link = server.connect(&client, json!({"advice": {"timeout": 1_000}}));
    lazy(&mut server, json!(4), 5_000);
    server.advance_ms(1_000);
    assert_eq!(events(&server.messages(link)), [json!(4)]);
}

#[test]
fn case_80_whole_channels_may_be_lazy() {
    let mut server = Server::with(|config: &mut Config| {
        config.lazy_channels = vec![(channel("/a/*"), Duration::from_secs(3))];
    });
    let (client, socket) = server.socket_connected(json!({}));
    server
        .send(socket, client.sign(json!([{"channel": "/meta/subscribe", "id": "s", "subscription": "/**"}])));
    server.publish("/a/b", json!("lazy"));
    assert!(server.pushed(socket).is_empty());
    server.publish("/b", json!("now"));
    assert_eq!(events(&server.pushed(socket)), [json!("lazy"), json!("now")]);
    server.publish("/a/b", json!("lazy"));
    server.advance_ms(3_000);
    assert_eq!(events(&server.pushed(socket)), [json!("lazy")]);
}
