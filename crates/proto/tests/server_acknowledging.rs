//! The acknowledge extension at the server: what was lost on the way is sent again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod server_support;

use bayeux_proto::server::{AllowAll, Config, Input, Policy};
use bayeux_proto::{Channel, ClientId, Data, Message};
use serde_json::{Value, json};
use server_support::*;

fn acknowledging(server: &mut Server) -> Client {
    let client = server.handshake_with(None, json!({"ext": {"ack": true}}));
    server.subscribe(&client, "/a");
    client
}

/// A connect that says `batch` and must be answered at once: the events, and the number of the reply.
fn turn(server: &mut Server, client: &Client, batch: u64) -> (Vec<Value>, u64) {
    let link = server.connect(client, json!({"ext": {"ack": batch}}));
    let messages = server.messages(link);
    (events(&messages), number(&messages))
}

fn number(messages: &[Value]) -> u64 {
    connect_reply(messages)["ext"]["ack"].as_u64().expect("a number")
}

#[test]
fn case_58_the_extension_is_granted_to_those_who_offer_it() {
    let granted = |offer: Value, change: fn(&mut Config)| {
        let mut server = Server::with(change);
        let link = server.request(None, json!([handshake(json!({"ext": {"ack": offer}}))]));
        server.messages(link)[0]["ext"]["ack"].clone()
    };
    assert_eq!(granted(json!(true), |_| {}), true);
    assert_eq!(granted(json!("true"), |_| {}), Value::Null);
    assert_eq!(granted(json!(false), |_| {}), Value::Null);
    assert_eq!(granted(json!(true), |config| config.acknowledgements = false), Value::Null);
    let during = granted(json!(true), |config| config.messages_during_handshake = true);
    assert_eq!(during, json!({"enabled": true, "batch": 1}));
}

#[test]
fn case_58_each_reply_ends_a_batch_and_others_have_no_number() {
    let mut server = Server::new();
    let client = acknowledging(&mut server);
    assert_eq!(turn(&mut server, &client, 0), (vec![], 1));
    let held = server.connect(&client, json!({"ext": {"ack": 1}}));
    assert!(server.response(held).is_none(), "nothing to send again");
    let replies = server.post(&client, json!([publish("/a", json!(1))]));
    assert_eq!(
        replies,
        [json!({"channel": "/a", "id": "p", "successful": true})],
        "events wait for the connect"
    );
    let messages = server.messages(held);
    assert_eq!((events(&messages), number(&messages)), (vec![json!(1)], 2));
    let plain = server.connected();
    assert!(connect_reply(&server.connect_at_once(&plain)).get("ext").is_none());
}

#[test]
fn case_59_events_of_a_lost_reply_are_sent_again_at_once_and_first() {
    let mut server = Server::new();
    let client = acknowledging(&mut server);
    turn(&mut server, &client, 0);
    server.publish("/a", json!("m1"));
    server.publish("/a", json!("m2"));
    assert_eq!(turn(&mut server, &client, 1), (vec![json!("m1"), json!("m2")], 2));
    // That reply was lost: the client still says 1, and is answered without delay.
    assert_eq!(turn(&mut server, &client, 1), (vec![json!("m1"), json!("m2")], 3));
    server.publish("/a", json!("m3"));
    assert_eq!(turn(&mut server, &client, 1), (vec![json!("m1"), json!("m2"), json!("m3")], 4));
    let held = server.connect(&client, json!({"ext": {"ack": 4}}));
    assert!(server.response(held).is_none(), "all is acknowledged");
    server.publish("/a", json!("m4"));
    assert_eq!(events(&server.messages(held)), [json!("m4")]);
}

#[test]
fn case_59_events_are_sent_again_over_another_transport() {
    let mut server = Server::new();
    let client = acknowledging(&mut server);
    turn(&mut server, &client, 0);
    server.publish("/a", json!("m1"));
    assert_eq!(turn(&mut server, &client, 1).0, [json!("m1")]);
    let socket = server.socket_of(client.cookie.as_ref());
    let messages = server.send(socket, client.sign(json!([connect(json!({"ext": {"ack": 1}}))])));
    assert_eq!((events(&messages), number(&messages)), (vec![json!("m1")], 3));
    server.publish("/a", json!("m2"));
    assert!(server.pushed(socket).is_empty(), "nothing is pushed out of turn");
    let messages = server.send(socket, client.sign(json!([connect(json!({"ext": {"ack": 3}}))])));
    assert_eq!((events(&messages), number(&messages)), (vec![json!("m2")], 4));
    assert!(server.send(socket, client.sign(json!([connect(json!({"ext": {"ack": 4}}))]))).is_empty());
    server.lose(socket);
    let link = server.connect(&client, json!({"ext": {"ack": 4}}));
    assert!(server.response(link).is_none(), "a reply that was never sent leaves nothing behind");
}

#[test]
fn case_59_a_client_that_asks_for_a_delay_gets_it() {
    let mut server = Server::new();
    let client = acknowledging(&mut server);
    turn(&mut server, &client, 0);
    server.publish("/a", json!("m1"));
    turn(&mut server, &client, 1);
    let link = server.connect(&client, json!({"ext": {"ack": 1}, "advice": {"timeout": 4_000}}));
    assert!(server.response(link).is_none());
    server.advance_ms(4_000);
    assert_eq!(events(&server.messages(link)), [json!("m1")]);
}

#[test]
fn a_dismissed_client_gets_what_was_not_acknowledged_and_its_farewell() {
    let mut server = Server::new();
    let client = acknowledging(&mut server);
    turn(&mut server, &client, 0);
    let held = server.connect(&client, json!({"ext": {"ack": 1}}));
    server.disconnect(&client);
    let messages = server.messages(held);
    assert_eq!(messages[0]["channel"], "/meta/disconnect");
    assert_eq!((number(&messages), &connect_reply(&messages)["advice"]["reconnect"]), (2, &json!("none")));
}

#[test]
fn who_leaves_without_a_connect_gets_what_was_never_sent_unless_something_before_it_may_be_lost() {
    let disconnect = || json!([{"channel": "/meta/disconnect", "id": "d"}]);
    let mut server = Server::new();
    let client = acknowledging(&mut server);
    turn(&mut server, &client, 0);
    server.publish("/a", json!("m1"));
    let replies = server.post(&client, disconnect());
    assert_eq!((events(&replies), replies.len()), (vec![json!("m1")], 2));

    let client = acknowledging(&mut server);
    server.publish("/a", json!("m2"));
    turn(&mut server, &client, 0);
    server.publish("/a", json!("m3"));
    assert_eq!(server.post(&client, disconnect()).len(), 1, "nobody knows whether m2 arrived");

    let (client, socket) = server.socket_connected(json!({"ext": {"ack": true}}));
    server.send_to(&client, "/a", json!("m4"));
    server.disconnect(&client);
    let messages = server.pushed(socket);
    assert_eq!((events(&messages), &messages[1]["channel"]), (vec![json!("m4")], &json!("/meta/disconnect")));
}

struct Greeter;

impl Policy for Greeter {
    fn welcome(&mut self, _: &ClientId, _: &Message) -> Vec<(Channel, Data)> {
        vec![(channel("/a"), data(json!("hello")))]
    }
}

#[test]
fn case_60_events_of_the_handshake_are_the_first_batch() {
    let mut server = Server::with_policy(Greeter, |config| config.messages_during_handshake = true);
    let link = server.request(None, json!([handshake(json!({"ext": {"ack": true}}))]));
    let Some(Response::Messages(messages, cookie)) = server.response(link) else { panic!("no reply") };
    assert_eq!(messages[0]["ext"]["ack"], json!({"enabled": true, "batch": 1}));
    assert_eq!(events(&messages), [json!("hello")]);
    let client = Client { id: messages[0]["clientId"].as_str().unwrap().to_owned(), cookie };
    // The handshake reply was processed, so the first connect says 1.
    assert_eq!(turn(&mut server, &client, 1), (vec![], 2));

    let mut server = Server::with_policy(Greeter, |_| {});
    let client = server.handshake_with(None, json!({"ext": {"ack": true}}));
    assert_eq!(turn(&mut server, &client, 0), (vec![json!("hello")], 1));
}

#[test]
fn case_61_a_refused_connect_neither_acknowledges_nor_ends_a_batch() {
    let mut server = Server::with(|config| config.multi_session_interval = std::time::Duration::ZERO);
    let other = server.connected();
    let client = server.handshake_with(other.cookie.as_ref(), json!({"ext": {"ack": true}}));
    turn(&mut server, &client, 0);
    server.connect(&other, json!({}));
    let link = server.connect(&client, json!({"ext": {"ack": 1}}));
    let messages = server.messages(link);
    assert_eq!(connect_reply(&messages)["successful"], false);
    assert!(connect_reply(&messages).get("ext").is_none());
}

#[test]
fn case_62_a_new_session_counts_from_the_beginning() {
    let mut server = Server::with_policy(AllowAll, |_| {});
    let client = acknowledging(&mut server);
    turn(&mut server, &client, 0);
    server.publish("/a", json!("m1"));
    assert_eq!(turn(&mut server, &client, 1).1, 2);
    server.handle(Input::Disconnect(ClientId::new(&client.id)));
    let client = acknowledging(&mut server);
    assert_eq!(turn(&mut server, &client, 0), (vec![], 1));
}
