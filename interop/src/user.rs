//! A user of any client: ours in this process, or a driven one.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bayeux::{Backoff, Client, Event, Proxy, TimeSync, TlsOptions, Transport};
use serde_json::{Value, json};

use crate::driven::Driven;
use crate::outcome::{Failed, Outcome};

/// How long a message may take that must come.
const TIME_LIMIT: Duration = Duration::from_secs(25);

/// How to open.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    pub(crate) url: String,
    pub(crate) transport: Transport,
    /// Asks the server to refuse the handshake.
    pub(crate) deny: bool,
    /// For browsers: the one whose window this is; else each user has a browser of its own.
    pub(crate) browser: Option<&'static str>,
    /// For our client alone: a proxy and TLS.
    pub(crate) proxy: Proxy,
    pub(crate) tls: TlsOptions,
    /// As the client comes, without the options that the scenarios of the other tables need.
    pub(crate) plain: Option<Plain>,
}

/// A client with its defaults.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub(crate) struct Plain {
    /// Whether it has both transports, to fall back from one to the other.
    pub(crate) fallback: bool,
    /// Whether it has the acknowledge extension, if that must be asked for.
    pub(crate) ack: bool,
    /// Whether the user is busy for 3 s with the first message.
    pub(crate) slow: bool,
}

impl Open {
    pub(crate) fn new(address: SocketAddr, path: &str, transport: Transport) -> Self {
        let url = format!("http://{address}{path}");
        Self {
            url,
            transport,
            deny: false,
            browser: None,
            proxy: Proxy::none(),
            tls: TlsOptions::new(),
            plain: None,
        }
    }
}

/// A client of a server.
#[derive(Debug)]
pub(crate) enum User {
    Ours(Client, Arc<Mutex<Vec<Event>>>),
    Driven(Driven),
}

impl User {
    /// Our client, not yet open.
    pub(crate) fn ours(options: &Open) -> Outcome<Self> {
        let mut builder = Client::builder(&options.url).proxy(options.proxy.clone()).tls(options.tls.clone());
        if !options.plain.is_some_and(|plain| plain.fallback) {
            builder = builder.transports([options.transport]);
        }
        if options.plain.is_none() {
            builder = builder
                .extension(TimeSync::new())
                .max_send_size(4 * 1024 * 1024)
                // The sessions of these servers do not live as long as pauses may become.
                .retry(Backoff::exponential(Duration::from_millis(200)..=Duration::from_secs(2)).jittered())
                // Some servers ask for it, and the others pass it over.
                .handshake_field("minimumVersion", "1.0");
        }
        if options.deny {
            builder = builder.handshake_ext("interop", "deny");
        }
        let client = builder.build()?;
        let events = Arc::default();
        tokio::spawn(listen(client.events(), Arc::clone(&events)));
        Ok(Self::Ours(client, events))
    }

    pub(crate) async fn open(&self, options: &Open) -> Result<(), Failed> {
        match self {
            Self::Ours(client, _) => client.open().await.map_err(failed),
            Self::Driven(driven) => {
                let ext = if options.deny { json!({"interop": "deny"}) } else { json!({}) };
                let transport = options.transport.as_str();
                let mut line = json!({"url": options.url, "transport": transport, "ext": ext, "browser": options.browser});
                if let Some(plain) = options.plain {
                    line["plain"] = json!(plain);
                }
                driven.call("open", line).await.map(drop)
            }
        }
    }

    pub(crate) async fn subscribe(&self, channel: &str) -> Result<(), Failed> {
        match self {
            Self::Ours(client, _) => client.subscribe(channel).await.map_err(failed),
            Self::Driven(driven) => driven.call("subscribe", json!({"channel": channel})).await.map(drop),
        }
    }

    pub(crate) async fn unsubscribe(&self, channel: &str) -> Result<(), Failed> {
        match self {
            Self::Ours(client, _) => client.unsubscribe(channel).await.map_err(failed),
            Self::Driven(driven) => driven.call("unsubscribe", json!({"channel": channel})).await.map(drop),
        }
    }

    /// Publishes and waits for the server's word.
    pub(crate) async fn publish(&self, channel: &str, data: &Value) -> Result<(), Failed> {
        match self {
            Self::Ours(client, _) => client.publish(channel, data).await.map(drop).map_err(failed),
            Self::Driven(driven) => {
                driven.call("publish", json!({"channel": channel, "data": data})).await.map(drop)
            }
        }
    }

    /// Publishes several in one go, and waits for the server's word on each.
    pub(crate) async fn batch(&self, messages: &[(String, Value)]) -> Result<(), Failed> {
        match self {
            Self::Ours(client, _) => {
                let outcomes = client.batch(|batch| {
                    messages.iter().try_for_each(|(channel, data)| batch.publish(channel.as_str(), data))
                });
                let outcomes: Result<Vec<_>, _> = outcomes.await.map_err(failed)?.into_iter().collect();
                outcomes.map(drop).map_err(failed)
            }
            Self::Driven(driven) => driven.batch(messages).await,
        }
    }

    /// Asks a service and waits for its answer.
    pub(crate) async fn request(&self, channel: &str, data: &Value) -> Result<Value, Failed> {
        match self {
            Self::Ours(client, _) => client.request(channel, data).await.map_err(failed),
            Self::Driven(driven) => driven.call("request", json!({"channel": channel, "data": data})).await,
        }
    }

    /// The next message, within a time that suffices for one that must come.
    pub(crate) async fn receive(&self) -> Outcome<(String, Value)> {
        let received = tokio::time::timeout(TIME_LIMIT, self.next()).await;
        received.unwrap_or_else(|_| Err(format!("no message came within {TIME_LIMIT:?}").into()))
    }

    /// The next message, whenever it comes.
    pub(crate) async fn next(&self) -> Outcome<(String, Value)> {
        match self {
            Self::Ours(client, _) => loop {
                match client.receive().await {
                    Ok(message) => {
                        let channel = message.channel().as_str().to_owned();
                        break Ok((channel, message.data().decode()?));
                    }
                    // It goes on trying, and so do we.
                    Err(error) if error.is_timeout() => {}
                    Err(error) => break Err(error.into()),
                }
            },
            Self::Driven(driven) => driven.receive().await.ok_or_else(|| "the client has ended".into()),
        }
    }

    /// The next message must be this one.
    pub(crate) async fn expect(&self, channel: &str, data: &Value) -> Outcome {
        let (from, got) =
            self.receive().await.map_err(|error| format!("{channel} {}: {error}", brief(data)))?;
        if from == channel && got == *data {
            return Ok(());
        }
        Err(format!("expected {channel} {}, received {from} {}", brief(data), brief(&got)).into())
    }

    /// Whether a message comes within a moment.
    pub(crate) async fn receives_within(&self, wait: Duration) -> Option<(String, Value)> {
        tokio::time::timeout(wait, self.receive()).await.ok()?.ok()
    }

    pub(crate) async fn close(&self) -> Result<(), Failed> {
        match self {
            Self::Ours(client, _) => client.close().await.map_err(failed),
            Self::Driven(driven) => driven.call("close", json!({})).await.map(drop),
        }
    }

    /// Whether the client reports that it is connected. A driven one that does not know counts as connected.
    pub(crate) async fn is_connected(&self) -> Result<bool, Failed> {
        match self {
            Self::Ours(client, _) => Ok(client.state() == bayeux::State::Connected),
            Self::Driven(driven) => {
                driven.call("connected", json!({})).await.map(|said| said.as_bool().unwrap_or(true))
            }
        }
    }

    /// What the client reported of its connection: ours all events, others the failures that no command asked for.
    pub(crate) fn reported(&self) -> Vec<String> {
        match self {
            Self::Ours(_, events) => {
                let events = events.lock().unwrap_or_else(PoisonError::into_inner);
                events.iter().map(|event| format!("{event:?}")).collect()
            }
            Self::Driven(driven) => driven.reported(),
        }
    }
}

async fn listen(mut from: bayeux::Events, into: Arc<Mutex<Vec<Event>>>) {
    while let Some(event) = from.next().await {
        let mut events = into.lock().unwrap_or_else(PoisonError::into_inner);
        if events.len() < 1000 {
            events.push(event);
        }
    }
}

#[allow(clippy::needless_pass_by_value)]
fn failed(error: bayeux::Error) -> Failed {
    Failed { code: error.code(), text: error.to_string() }
}

/// A payload for a text: not all of a long one.
fn brief(data: &Value) -> String {
    let text = data.to_string();
    match text.char_indices().nth(120) {
        Some((at, _)) => format!("{}… ({} bytes)", &text[..at], text.len()),
        None => text,
    }
}
