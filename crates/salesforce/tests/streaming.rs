//! The facts of Salesforce's Streaming API, each against the simulated org, in virtual time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use bayeux::replay::{MemoryStore, Replay, ReplayFallback, ReplayStore, ReplayStream};
use bayeux::{Client, Error, Event, Events, Transport};
use bayeux_salesforce::{
    ChangeEvent, ChangeType, GenericEvent, Limit, Login, PlatformEvent, PushTopicEvent, Salesforce,
};
use bayeux_testkit::{FakeSalesforce, Refusal};
use serde::Deserialize;
use serde_json::{Value, json};

const ORDERS: &str = "/event/Order__e";

#[derive(Debug, Deserialize)]
struct Order {
    n: u64,
}

async fn salesforce(org: &FakeSalesforce) -> Salesforce {
    Salesforce::login(Login::client_credentials(org.url(), "app", "app-secret")).await.unwrap()
}

async fn open(org: &FakeSalesforce) -> Client {
    let client =
        salesforce(org).await.client().proxy(bayeux::Proxy::none()).outage_timeout(None).build().unwrap();
    client.open().await.unwrap();
    client
}

async fn orders(client: &Client, begin: Replay) -> ReplayStream<PlatformEvent<Order>> {
    client.stream_from(ORDERS, begin).await.unwrap()
}

fn order(org: &FakeSalesforce, n: u64) -> i64 {
    org.platform_event(ORDERS, json!({"n": n}))
}

async fn next(stream: &mut ReplayStream<PlatformEvent<Order>>) -> u64 {
    stream.next().await.unwrap().unwrap().payload.n
}

async fn event(events: &mut Events, fits: impl Fn(&Event) -> bool) -> Event {
    loop {
        let event = events.next().await.unwrap();
        if fits(&event) {
            return event;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn only_long_polling_with_a_token_and_cookies() {
    let org = FakeSalesforce::start().await;
    let salesforce = salesforce(&org).await;
    let client = open(&org).await;
    assert_eq!(client.transport(), Some(Transport::LongPolling));
    let _orders = orders(&client, Replay::Tip).await;
    let handshake = &org.received("/meta/handshake")[0];
    assert_eq!(handshake["ext"]["replay"], true);
    assert_eq!(handshake["supportedConnectionTypes"], json!(["long-polling"]));
    for request in org.requests().iter().filter(|request| request.path.starts_with("/cometd/64.0")) {
        assert!(request.header("authorization").unwrap().starts_with("Bearer access-token"));
        assert!(request.header("content-type").unwrap().starts_with("application/json"));
        assert!(
            request.name() == "/meta/handshake"
                || request.header("cookie").unwrap().contains("BAYEUX_BROWSER")
        );
    }
    client.close().await.unwrap();
    // A client without the options of this crate learns why it fails.
    let without = Client::builder(salesforce.streaming_url()).proxy(bayeux::Proxy::none()).build().unwrap();
    let error = without.open().await.unwrap_err();
    assert!(error.to_string().contains("401::Request requires authentication"), "{error}");
    let old = salesforce
        .api_version("36.0")
        .client()
        .proxy(bayeux::Proxy::none())
        .outage_timeout(None)
        .build()
        .unwrap();
    let error = old.open().await.unwrap_err();
    assert!(error.to_string().contains("API version in the URL is mandatory"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn idle_connects_are_answered_each_110_seconds_and_the_session_stays() {
    let org = FakeSalesforce::start().await;
    let client = open(&org).await;
    let mut stream = orders(&client, Replay::Tip).await;
    let before = org.received("/meta/connect").len();
    tokio::time::sleep(Duration::from_secs(1105)).await;
    let connects = org.received("/meta/connect").len() - before;
    assert!((9..=12).contains(&connects), "{connects}");
    order(&org, 1);
    assert_eq!(next(&mut stream).await, 1);
    assert_eq!(org.received("/meta/handshake").len(), 1);
    assert!(stream.last_message().unwrap() < Duration::from_secs(1));
    tokio::time::sleep(Duration::from_secs(50)).await;
    assert!(stream.last_message().unwrap() >= Duration::from_secs(50));
    assert!(client.last_activity().unwrap() < Duration::from_secs(111));
}

#[tokio::test(start_paused = true)]
async fn the_stickiness_cookie_ends_after_three_hours_and_nothing_is_lost() {
    let org = FakeSalesforce::start().await;
    let client = open(&org).await;
    let mut stream = orders(&client, Replay::Tip).await;
    for n in 0..24 {
        order(&org, n);
        assert_eq!(next(&mut stream).await, n);
        tokio::time::sleep(Duration::from_secs(1200)).await;
    }
    assert!(org.received("/meta/handshake").len() >= 3);
    assert!(org.logins().len() >= 4, "tokens are valid for 2 h");
}

#[tokio::test(start_paused = true)]
async fn complaint_05_a_token_that_ran_out_is_renewed_wherever_that_shows() {
    // Shown by a connect with advice none.
    let org = FakeSalesforce::start().await;
    let client = open(&org).await;
    let mut stream = orders(&client, Replay::Tip).await;
    org.expire_tokens();
    order(&org, 1);
    assert_eq!(next(&mut stream).await, 1);
    assert_eq!(org.logins().len(), 2);
    // By a handshake, with ext.sfdc.failureReason and advice none.
    org.expire_tokens();
    org.change_node();
    order(&org, 2);
    assert_eq!(next(&mut stream).await, 2);
    assert_eq!(org.logins().len(), 3);
    assert!(!client.is_closed());
}

#[tokio::test(start_paused = true)]
async fn all_clients_of_a_login_renew_it_once() {
    let org = FakeSalesforce::start().await;
    let salesforce = salesforce(&org).await;
    let mut streams = Vec::new();
    for _ in 0..5 {
        let client = salesforce.client().proxy(bayeux::Proxy::none()).outage_timeout(None).build().unwrap();
        client.open().await.unwrap();
        streams.push((orders(&client, Replay::Tip).await, client));
    }
    org.expire_tokens();
    order(&org, 1);
    for (stream, _) in &mut streams {
        assert_eq!(next(stream).await, 1);
    }
    assert_eq!(org.logins().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_cannot_be_renewed_ends_the_client_with_the_reason() {
    let org = FakeSalesforce::start().await;
    let token = salesforce(&org).await.access_token().await.unwrap();
    let salesforce = Salesforce::login(Login::token(org.url(), token)).await.unwrap();
    let client = salesforce.client().proxy(bayeux::Proxy::none()).build().unwrap();
    client.open().await.unwrap();
    let mut stream = orders(&client, Replay::Tip).await;
    org.expire_tokens();
    let error = stream.next().await.unwrap().unwrap_err();
    assert!(error.to_string().contains("not valid any more"), "{error}");
    assert!(client.is_closed());
}

#[tokio::test(start_paused = true)]
async fn complaint_02_a_marker_that_is_too_old_follows_the_users_choice() {
    let org = FakeSalesforce::start().await;
    for fallback in [ReplayFallback::All, ReplayFallback::Fail] {
        let store = std::sync::Arc::new(MemoryStore::new());
        let old = order(&org, 1);
        store.save(ORDERS, old).unwrap();
        // Platform events are kept for 72 h.
        tokio::time::sleep(Duration::from_secs(73 * 3600)).await;
        order(&org, 2);
        let builder = salesforce(&org).await.client().proxy(bayeux::Proxy::none()).outage_timeout(None);
        let client =
            builder.replay_store(std::sync::Arc::clone(&store)).replay_fallback(fallback).build().unwrap();
        let mut events = client.events();
        client.open().await.unwrap();
        let opened: Result<ReplayStream<PlatformEvent<Order>>, Error> =
            client.stream_from(ORDERS, Replay::Tip).await;
        event(&mut events, |event| matches!(event, Event::ReplayUnavailable { .. })).await;
        match opened {
            Ok(mut stream) => assert_eq!(next(&mut stream).await, 2),
            Err(error) => {
                assert!(error.is_replay_unavailable() && fallback == ReplayFallback::Fail, "{error}")
            }
        }
        client.close().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn filtered_topics_have_their_own_markers() {
    let org = FakeSalesforce::start().await;
    let client = open(&org).await;
    let name = "/topic/Accounts?Industry='Energy'";
    let mut energy: ReplayStream<PushTopicEvent<Value>> =
        client.stream_from(name, Replay::Tip).await.unwrap();
    org.push_topic("/topic/Accounts", "created", json!({"Industry": "Media", "Name": "A"}));
    org.push_topic("/topic/Accounts", "updated", json!({"Industry": "Energy", "Name": "B"}));
    let message = energy.next().await.unwrap().unwrap();
    assert_eq!((&message.sobject["Name"], &*message.event.kind), (&json!("B"), "updated"));
    let id = message.replay_id().unwrap();
    drop(message);
    org.change_node();
    org.push_topic("/topic/Accounts", "updated", json!({"Industry": "Energy", "Name": "C"}));
    assert_eq!(energy.next().await.unwrap().unwrap().sobject["Name"], "C");
    assert_eq!(org.received("/meta/subscribe")[1]["ext"]["replay"], json!({name: id}));
}

#[tokio::test(start_paused = true)]
async fn complaint_06_disconnects_and_storms_are_survived() {
    let org = FakeSalesforce::start().await;
    let client = open(&org).await;
    let mut stream = orders(&client, Replay::Tip).await;
    order(&org, 1);
    assert_eq!(next(&mut stream).await, 1);
    org.disconnect();
    tokio::time::sleep(Duration::from_secs(60)).await;
    order(&org, 2);
    assert_eq!(next(&mut stream).await, 2);
    let before = tokio::time::Instant::now();
    org.refuse(Refusal::Storm, 6);
    tokio::time::sleep(Duration::from_secs(1)).await;
    order(&org, 3);
    assert_eq!(next(&mut stream).await, 3);
    assert!(before.elapsed() > Duration::from_secs(10), "the pauses grow: {:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn complaint_20_limits_are_typed_and_not_tried_again_at_once() {
    let org = FakeSalesforce::start().await;
    org.refuse(Refusal::ClientLimit, 1);
    let client =
        salesforce(&org).await.client().proxy(bayeux::Proxy::none()).outage_timeout(None).build().unwrap();
    let logins = org.logins().len();
    let error = client.open().await.unwrap_err();
    assert_eq!(Limit::of(&error), Some(Limit::ConcurrentClients), "{error}");
    assert_eq!(org.logins().len(), logins, "another token does not help");

    client.open().await.unwrap();
    let mut stream = orders(&client, Replay::Tip).await;
    let mut events = client.events();
    org.refuse(Refusal::Busy, 1);
    let Event::Retrying { delay, .. } =
        event(&mut events, |event| matches!(event, Event::Retrying { .. })).await
    else {
        unreachable!()
    };
    assert!(delay >= Limit::ServerBusy.pause(), "{delay:?}");
    order(&org, 1);
    assert_eq!(next(&mut stream).await, 1);

    org.refuse(Refusal::DailyLimit, 1);
    let closed = event(&mut events, |event| matches!(event, Event::Closed(_))).await;
    assert_eq!(Limit::of_event(&closed), Some(Limit::DailyEvents));
    let error = stream.next().await.unwrap().unwrap_err();
    assert_eq!(Limit::of(&error), Some(Limit::DailyEvents), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_org_without_the_feature_says_so() {
    let org = FakeSalesforce::start().await;
    org.refuse_channel("/data/ChangeEvents", "403::Change Data Capture is not enabled for this org");
    let client = open(&org).await;
    let error = client.stream_from::<Value>("/data/ChangeEvents", Replay::Tip).await.unwrap_err();
    assert!(error.code() == Some(403) && error.to_string().contains("not enabled"), "{error}");
    let error = client.publish(ORDERS, &json!({})).await.unwrap_err();
    assert!(error.to_string().contains("use REST"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_forms_of_events() {
    let org = FakeSalesforce::start().await;
    let client = open(&org).await;
    let mut changes: ReplayStream<ChangeEvent<Order>> =
        client.stream_from("/data/OrderChangeEvent", Replay::Tip).await.unwrap();
    let mut generic: ReplayStream<GenericEvent> = client.stream_from("/u/news", Replay::Tip).await.unwrap();
    let header = |kind: &str| {
        json!({
            "entityName": "Order", "recordIds": ["801000000000001AAA"], "changeType": kind, "changeOrigin": "",
            "transactionKey": "key", "sequenceNumber": 1, "commitTimestamp": 1_780_000_000_000_i64, "commitNumber": 7,
            "commitUser": "005", "changedFields": ["n"], "nulledFields": [], "diffFields": [],
        })
    };
    org.change_event("/data/OrderChangeEvent", header("UPDATE"), json!({"n": 1}));
    org.change_event("/data/OrderChangeEvent", header("GAP_UPDATE"), json!({}));
    org.change_event("/data/OrderChangeEvent", header("GAP_OVERFLOW"), json!({}));
    org.change_event("/data/OrderChangeEvent", header("DELETE"), json!({}));
    org.change_event("/data/OrderChangeEvent", header("CREATE"), json!({"other": 1}));
    let first = changes.next().await.unwrap().unwrap();
    assert_eq!((first.record.as_ref().unwrap().n, &first.header.change_type), (1, &ChangeType::Update));
    assert_eq!(
        (first.header.commit_timestamp, &first.header.changed_fields[..]),
        (1_780_000_000_000, &["n".to_owned()][..])
    );
    let gap = changes.next().await.unwrap().unwrap();
    assert!(gap.record.is_none() && gap.header.change_type.is_gap() && !gap.header.change_type.is_overflow());
    assert!(changes.next().await.unwrap().unwrap().header.change_type.is_overflow());
    assert!(changes.next().await.unwrap().unwrap().record.is_none());
    let error = changes.next().await.unwrap().unwrap_err();
    assert!(error.to_string().contains("missing field `n`"), "{error}");
    org.generic_event("/u/news", "hello");
    assert_eq!(generic.next().await.unwrap().unwrap().payload, "hello");
}
