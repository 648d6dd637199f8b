//! The commands of a pipe that are in progress.

use bayeux::Client;
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use serde_json::value::RawValue;

use crate::command::{Command, Verb};
use crate::json::Object;
use crate::line;

/// How many commands may be in progress. The next line is read when one of them completes.
const AT_ONCE: usize = 1024;

/// Commands that have begun, and the one that must wait for them.
pub(crate) struct UnderWay<'a> {
    client: &'a Client,
    running: FuturesUnordered<LocalBoxFuture<'a, Outcome>>,
    /// The channels that are being subscribed to or unsubscribed from.
    subscribing: Vec<String>,
    held: Option<Command>,
}

struct Outcome {
    /// The channel, if it was about a subscription.
    subscription: Option<String>,
    line: Object,
}

impl<'a> UnderWay<'a> {
    pub(crate) fn new(client: &'a Client) -> Self {
        Self { client, running: FuturesUnordered::new(), subscribing: Vec::new(), held: None }
    }

    /// Whether another command can begin.
    pub(crate) fn has_capacity(&self) -> bool {
        self.held.is_none() && self.running.len() < AT_ONCE
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_none() && self.running.is_empty()
    }

    /// Begins to carry a command out. Those about the same subscription follow each other: an unsubscription would cut
    /// short the subscription that it is to undo.
    pub(crate) fn begin(&mut self, command: Command) {
        if let Some(channel) = command.subscription() {
            if self.subscribing.iter().any(|busy| busy == channel) {
                self.held = Some(command);
                return;
            }
            self.subscribing.push(channel.to_owned());
        }
        self.running.push(Box::pin(carry_out(self.client, command)));
    }

    /// The line for the next outcome; `None` if no command is being carried out.
    pub(crate) async fn next(&mut self) -> Option<Object> {
        let Outcome { subscription, line } = self.running.next().await?;
        self.subscribing.retain(|busy| Some(busy) != subscription.as_ref());
        if let Some(held) = self.held.take() {
            self.begin(held);
        }
        Some(line)
    }
}

async fn carry_out(client: &Client, command: Command) -> Outcome {
    let subscription = command.subscription().map(str::to_owned);
    let Command { verb, data, tag } = command;
    let outcome = match &verb {
        Verb::Subscribe(channel) => {
            client.subscribe(channel).await.map(|()| line::typed("subscribed").with("channel", channel))
        }
        Verb::Unsubscribe(channel) => {
            client.unsubscribe(channel).await.map(|()| line::typed("unsubscribed").with("channel", channel))
        }
        Verb::Publish(channel) => client.publish(channel, &data).await.map(|reply| {
            line::typed("reply").with("channel", channel).with_object("reply", &crate::report::reply(&reply))
        }),
        Verb::Request(channel) => client
            .request::<Box<RawValue>>(channel, &data)
            .await
            .map(|answer| line::typed("reply").with("channel", channel).with_raw("data", Some(&answer))),
    };
    let line = outcome.unwrap_or_else(|error| line::error(&error));
    Outcome { subscription, line: line.with_raw("tag", tag.as_deref()) }
}
