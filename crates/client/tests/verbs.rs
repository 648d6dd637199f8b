//! The verbs of the client, each over both transports.

mod fixture;

use std::time::Duration;

use bayeux::{Client, CloseReason, Error, ErrorKind, Event, State};
use bayeux_server::{Server, ServiceError};
use bayeux_testkit::{Answer, Peer, Request, TestServer};
use fixture::*;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Trade {
    symbol: String,
    price: f64,
}

#[tokio::test]
async fn open_subscribe_publish_receive_close() {
    let server = TestServer::start().await;
    for transport in BOTH {
        let client = over(transport, &server.url()).build().unwrap();
        assert_eq!((client.state(), client.is_closed()), (State::Disconnected, true));
        assert_eq!(client.transport(), None);
        assert!(matches!(client.close_reason(), Some(CloseReason::NotOpen)));
        within(client.open()).await.unwrap();
        assert_eq!((client.state(), client.is_closed()), (State::Connected, false));
        assert_eq!(client.transport(), Some(transport));
        assert_eq!(client.close_reason(), None);

        client.subscribe("/chat/demo").await.unwrap();
        client.subscribe("/chat/demo").await.unwrap();
        let reply = client.publish("/chat/demo", &json!({"chat": "hi"})).await.unwrap();
        assert!(reply.is_successful() && !reply.has_data());
        let message = within(client.receive()).await.unwrap();
        assert_eq!((message.channel().as_str(), message.data().as_str()), ("/chat/demo", r#"{"chat":"hi"}"#));

        within(client.close()).await.unwrap();
        assert!(client.is_closed());
        assert!(matches!(client.close_reason(), Some(CloseReason::Requested)));
        assert!(within(client.receive()).await.unwrap_err().is_closed());
        assert!(within(client.next()).await.is_none());
    }
}

#[tokio::test]
async fn calls_before_open_and_after_close_say_so() {
    let server = TestServer::start().await;
    let client = quick(&server.url()).build().unwrap();
    for round in 0..2 {
        let errors = [
            client.publish("/a", &1).await.unwrap_err(),
            client.subscribe("/a").await.unwrap_err(),
            client.unsubscribe("/a").await.unwrap_err(),
            client.request::<Value>("/service/echo", &1).await.unwrap_err(),
            client.stream::<Value>("/a").await.unwrap_err(),
            within(client.receive()).await.unwrap_err(),
        ];
        for error in errors {
            assert!(error.is_closed() && !error.is_fate_unknown(), "{round}: {error}");
        }
        assert!(client.publish("/a\tb", &1).await.is_err_and(|error| error.kind() == ErrorKind::Invalid));
        within(client.open()).await.unwrap();
        let again = client.open().await.unwrap_err();
        assert_eq!(again.kind(), ErrorKind::Busy, "{again}");
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn a_scope_closes_in_any_case() {
    let server = TestServer::start().await;
    for transport in BOTH {
        let client = over(transport, &server.url()).build().unwrap();
        let answer: Result<String, Error> =
            within(client.run(async |client| client.request("/service/echo", "hello").await)).await;
        assert_eq!(answer.unwrap(), "hello");
        assert!(client.is_closed());

        let failed: Result<(), Box<dyn std::error::Error>> = within(client.run(async |client: &Client| {
            assert!(!client.is_closed());
            Err("the scope has its own errors".into())
        }))
        .await;
        assert_eq!(failed.unwrap_err().to_string(), "the scope has its own errors");
        assert!(client.is_closed());
        assert_eq!(server.server().sessions(), 0, "the server was told");
    }
}

#[tokio::test]
async fn subscriptions_come_and_go() {
    let server = TestServer::start().await;
    for transport in BOTH {
        let client = open(transport, &server.url()).await;
        client.subscribe("/b/*").await.unwrap();
        client.subscribe("/a").await.unwrap();
        client.subscribe("/service/private").await.unwrap();
        let names: Vec<_> = client.subscriptions().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["/a", "/b/*", "/service/private"]);
        client.unsubscribe("/a").await.unwrap();
        server.publish("/a", "no more");
        server.publish("/b/c", "but this");
        assert_eq!(next(&client).await, r#""but this""#);
        let error = client.unsubscribe("/a").await.unwrap_err();
        assert!(error.to_string().contains("not subscribed to /a"), "{error}");
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn the_inbox_is_counted_and_is_a_stream() {
    let server = TestServer::start().await;
    for transport in BOTH {
        let mut client = open(transport, &server.url()).await;
        client.subscribe("/n").await.unwrap();
        for n in 0..10 {
            client.publish("/n", &n).await.unwrap();
        }
        // The last event may come behind its reply.
        while client.pending_count() < 10 {
            tokio::task::yield_now().await;
        }
        let three: Vec<_> = within(StreamExt::by_ref(&mut client).take(3).collect()).await;
        let three: Vec<String> = three.into_iter().map(|item| item.unwrap().data().to_string()).collect();
        assert_eq!(three, ["0", "1", "2"]);
        assert_eq!(client.pending_count(), 7);
        within(client.close()).await.unwrap();
        assert_eq!(client.pending_count(), 7, "what was received stays receivable");
        let rest = within(StreamExt::count(&mut client)).await;
        assert_eq!(rest, 7, "and the stream ends");
    }
}

#[tokio::test]
async fn a_bad_payload_is_one_err_item_of_a_stream() {
    let server = TestServer::start().await;
    for transport in BOTH {
        let client = open(transport, &server.url()).await;
        let mut trades = client.stream::<Trade>("/trades/*").await.unwrap();
        server.publish("/trades/a", &Trade { symbol: "a".into(), price: 1.5 });
        server.publish("/trades/b", &json!({"symbol": 7}));
        server.publish("/trades/c", &Trade { symbol: "c".into(), price: 2.5 });
        assert_eq!(within(trades.next()).await.unwrap().unwrap().symbol, "a");
        let error = within(trades.next()).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode);
        assert!(error.to_string().contains("/trades/b"), "{error}");
        assert_eq!(within(trades.next()).await.unwrap().unwrap().symbol, "c");
        assert_eq!(client.pending_count(), 0, "a stream's messages do not go to the inbox");
        within(client.close()).await.unwrap();
        assert!(within(trades.next()).await.is_none());
    }
}

#[tokio::test]
async fn two_receivers_share_a_subscription_and_the_last_one_ends_it() {
    for transport in BOTH {
        let peer = Peer::decent().await;
        let client = open(transport, &peer.url()).await;
        let one = client.messages("/foo").await.unwrap();
        client.subscribe("/foo").await.unwrap();
        assert_eq!(peer.received("/meta/subscribe").len(), 1);
        drop(one);
        client.publish("/after", &1).await.unwrap();
        assert!(peer.received("/meta/unsubscribe").is_empty());
        client.unsubscribe("/foo").await.unwrap();
        assert_eq!(peer.received("/meta/unsubscribe").len(), 1);
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn requests_are_answered_or_refused() {
    let options = || {
        Server::builder()
            .service("/service/double", |request| async move {
                let number: i64 = request.data.decode()?;
                Ok(Some(json!(number * 2).into()))
            })
            .service("/service/broken", |_| async { Err(ServiceError::new(503, "out of order")) })
    };
    let server = TestServer::builder().options(options).start().await;
    for transport in BOTH {
        let client = open(transport, &server.url()).await;
        assert_eq!(within(client.request::<i64>("/service/double", &21)).await.unwrap(), 42);
        let error = within(client.request::<i64>("/service/double", "text")).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Server, Some(400)), "{error}");
        let error = within(client.request::<Value>("/service/broken", &1)).await.unwrap_err();
        assert_eq!(error.code(), Some(503));
        assert!(error.to_string().contains("out of order"), "{error}");
        let error = within(client.request::<String>("/service/double", &21)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode);
        let error = client.request::<Value>("/no/service", &1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn a_request_that_nobody_answers_ends_with_a_timeout() {
    for transport in BOTH {
        let peer = Peer::decent().await;
        let client = opened(over(transport, &peer.url()).request_timeout(millis(300))).await;
        let error = within(client.request::<Value>("/service/silent", &1)).await.unwrap_err();
        assert!(error.is_timeout() && error.is_retryable(), "{error}");
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn a_batch_is_one_payload_with_an_outcome_for_each() {
    for transport in BOTH {
        let peer = Peer::start(|request| match request.message("/denied") {
            Some(_) => {
                Answer::messages(request.messages.iter().map(|message| match message["channel"].as_str() {
                    Some("/denied") => Request::refusal_of(message, "403::publish_denied"),
                    _ => Request::reply_to(message),
                }))
            }
            None => request.decently(),
        })
        .await;
        let client = open(transport, &peer.url()).await;
        let outcomes = within(client.batch(|batch| {
            batch.publish("/a", &1)?;
            batch.publish("/denied", &2)?;
            batch.subscribe("/c")
        }))
        .await
        .unwrap();
        assert_eq!(outcomes.len(), 3);
        assert!(outcomes[0].is_ok() && outcomes[2].is_ok());
        assert_eq!(outcomes[1].as_ref().unwrap_err().code(), Some(403));
        let request = peer.wait_for(|request| request.has("/a")).await;
        assert_eq!(request.messages.len(), 3, "one payload");
        let nothing = client.batch(|batch| batch.publish("not a channel", &1)).await.unwrap_err();
        assert_eq!(nothing.kind(), ErrorKind::Invalid);
        assert!(client.batch(|_| Ok(())).await.unwrap().is_empty());
        within(client.close()).await.unwrap();
    }
}

#[tokio::test]
async fn events_cover_the_whole_session() {
    let server = TestServer::start().await;
    for transport in BOTH {
        let client = over(transport, &server.url()).build().unwrap();
        let mut events = client.events();
        within(client.open()).await.unwrap();
        connected(&mut events).await;
        assert_eq!(client.state(), State::Connected);
        // A session that is between two long polls when it is dismissed comes back as another one.
        within(async {
            while !client.is_closed() {
                server.dismiss_sessions().await;
                tokio::time::sleep(millis(5)).await;
            }
        })
        .await;
        let closed = event(&mut events, |event| matches!(event, Event::Closed(_))).await;
        assert!(matches!(closed, Event::Closed(CloseReason::Server(_))), "{closed:?}");
        assert!(client.is_closed());
        let error = within(client.next()).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Server, "{error}");
        assert!(within(client.next()).await.is_none());
    }
}

#[tokio::test]
async fn an_event_never_runs_ahead_of_the_state() {
    let server = TestServer::start().await;
    let client = quick(&server.url()).build().unwrap();
    let mut events = client.events();
    let watching = client.clone();
    let (seen, mut told) = tokio::sync::mpsc::unbounded_channel();
    // On a thread of its own, to look in the very moment.
    let watcher = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            for _ in 0..20 {
                while !matches!(events.next().await, Some(Event::Connected { .. })) {}
                seen.send(watching.state()).unwrap();
                while !matches!(events.next().await, Some(Event::Closed(_))) {}
                seen.send(watching.state()).unwrap();
            }
        });
    });
    for _ in 0..20 {
        within(client.open()).await.unwrap();
        assert_eq!(within(told.recv()).await, Some(State::Connected));
        within(client.close()).await.unwrap();
        assert_eq!(within(told.recv()).await, Some(State::Disconnected));
    }
    tokio::task::spawn_blocking(move || watcher.join().unwrap()).await.unwrap();
}

#[tokio::test]
async fn many_receivers_of_one_inbox_get_each_message_once_and_rest_meanwhile() {
    let server = TestServer::start().await;
    let client = open(BOTH[0], &server.url()).await;
    client.subscribe("/n").await.unwrap();
    let (got, mut all) = tokio::sync::mpsc::unbounded_channel();
    let receivers: Vec<_> = (0..100)
        .map(|_| {
            let (client, got) = (client.clone(), got.clone());
            tokio::spawn(async move {
                while let Some(Ok(message)) = client.next().await {
                    got.send(message.data().decode::<u32>().unwrap()).unwrap();
                }
            })
        })
        .collect();
    drop(got);
    for n in 0..50_u32 {
        client.publish("/n", &n).await.unwrap();
    }
    let mut seen = Vec::new();
    while seen.len() < 50 {
        seen.push(within(all.recv()).await.unwrap());
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..50).collect::<Vec<_>>());
    within(client.close()).await.unwrap();
    for receiver in receivers {
        within(receiver).await.unwrap();
    }
}

#[tokio::test]
async fn the_longest_and_shortest_waits_panic_nowhere() {
    for transport in BOTH {
        let server = TestServer::start().await;
        let all = |wait: Duration| {
            over(transport, &server.url())
                .outage_timeout(wait)
                .connect_timeout(wait)
                .request_timeout(wait)
                .open_timeout(wait)
                .close_timeout(wait)
                .call_timeout(wait)
                .ping_interval(wait)
                .max_advised_wait(wait)
                .transport_cooldown(wait)
                .auth_timeout(wait)
        };
        let client = opened(all(Duration::MAX)).await;
        client.subscribe("/n").await.unwrap();
        client.publish("/n", &1).await.unwrap();
        within(client.receive()).await.unwrap();
        within(client.close()).await.unwrap();
        let client = all(Duration::ZERO).build().unwrap();
        let _ = within(client.open()).await;
        let _ = within(client.close()).await;
    }
}

#[tokio::test]
async fn try_next_ends_a_loop_with_the_session_and_returns_its_errors() {
    async fn received(client: &Client) -> Result<Vec<String>, Error> {
        let mut all = Vec::new();
        while let Some(message) = within(client.try_next()).await? {
            all.push(message.data().to_string());
        }
        Ok(all)
    }
    async fn streamed(stream: &mut bayeux::Subscription<u32>) -> Result<Vec<u32>, Error> {
        let mut all = Vec::new();
        while let Some(number) = within(stream.try_next()).await? {
            all.push(number);
        }
        Ok(all)
    }
    for transport in BOTH {
        let server = TestServer::start().await;
        let client = open(transport, &server.url()).await;
        client.subscribe("/a").await.unwrap();
        let mut stream = client.stream::<u32>("/n").await.unwrap();
        for n in 1..=3 {
            client.publish("/a", &n).await.unwrap();
            client.publish("/n", &n).await.unwrap();
        }
        client.publish("/n", "text").await.unwrap();
        client.publish("/n", &4).await.unwrap();
        within(client.close()).await.unwrap();
        assert_eq!(received(&client).await.unwrap(), ["1", "2", "3"]);
        let mut first = Vec::new();
        let error = loop {
            match within(stream.try_next()).await {
                Ok(number) => first.extend(number),
                Err(error) => break error,
            }
        };
        assert_eq!((first, error.kind()), (vec![1, 2, 3], ErrorKind::Decode));
        assert_eq!(streamed(&mut stream).await.unwrap(), [4], "an error does not end the stream");
    }
}

#[tokio::test]
async fn a_refused_call_returns_the_error_of_the_server() {
    for transport in BOTH {
        let peer = Peer::start(|request| match request.name() {
            "/meta/subscribe" => Answer::messages([Request::refusal_of(
                &request.messages[0],
                "403:/secret,ann:subscribe_denied",
            )]),
            _ => request.decently(),
        })
        .await;
        let client = open(transport, &peer.url()).await;
        let error = within(client.subscribe("/secret")).await.unwrap_err();
        assert!(error.is_server() && !error.is_retryable());
        let server_error = error.server_error().unwrap();
        assert_eq!(server_error.code(), Some(403));
        assert_eq!(
            error.to_string(),
            "subscribe to /secret: the server refused: 403:/secret,ann:subscribe_denied"
        );
        assert!(client.subscriptions().is_empty());
        let _ = within(client.subscribe("/secret")).await.unwrap_err();
        assert_eq!(peer.received("/meta/subscribe").len(), 2, "a later call asks again");
        within(client.close()).await.unwrap();
    }
}
