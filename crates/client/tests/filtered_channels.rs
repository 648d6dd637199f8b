//! Channels with a filter, and other names outside the grammar: sent as they are given.
#![allow(clippy::unwrap_used, clippy::panic)]

mod fixture;

use bayeux::ErrorKind;
use bayeux_testkit::{Peer, TestServer};
use fixture::*;
use serde_json::json;

#[tokio::test]
async fn messages_of_filtered_channels_reach_the_inbox_and_streams() {
    for transport in BOTH {
        let peer = Peer::decent().await;
        let client = open(transport, &peer.url()).await;
        within(client.subscribe("/topic/T?Industry='Energy'")).await.unwrap();
        within(client.subscribe("/topic/T")).await.unwrap();
        let mut stream = within(client.stream::<u32>("/topic/T?Industry='Media'")).await.unwrap();
        let asked: Vec<_> =
            peer.received("/meta/subscribe").iter().map(|message| message["subscription"].clone()).collect();
        assert_eq!(asked, ["/topic/T?Industry='Energy'", "/topic/T", "/topic/T?Industry='Media'"]);
        peer.push([json!({"channel": "/topic/T", "data": 1}), json!({"channel": "/topic/T", "data": 2})]);
        assert_eq!([next(&client).await, next(&client).await], ["1", "2"]);
        assert_eq!(within(stream.next()).await.unwrap().unwrap(), 1);
        let names: Vec<_> = client.subscriptions().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["/topic/T", "/topic/T?Industry='Energy'", "/topic/T?Industry='Media'"]);
        within(client.unsubscribe("/topic/T?Industry='Energy'")).await.unwrap();
        assert_eq!(client.subscriptions().len(), 2);
        within(client.close()).await.unwrap();
        assert_eq!(client.pending_count(), 0);
    }
}

#[tokio::test]
async fn a_server_that_does_not_know_such_names_refuses_them() {
    for transport in BOTH {
        let server = TestServer::start().await;
        let client = open(transport, &server.url()).await;
        let error = within(client.subscribe("/topic/T?Industry='Energy'")).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Server, Some(403)), "{error}");
        let error = within(client.publish("/a=b", &1)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Server, "{error}");
        assert_eq!(client.subscribe("/a\nb").await.unwrap_err().kind(), ErrorKind::Invalid);
        within(client.close()).await.unwrap();
    }
}
