//! The outputs of a session in order, and the numbers of its messages and exchanges.

use std::collections::VecDeque;
use std::sync::Arc;

use super::contract::{AuthReason, CallId, ExchangeId, Output, SinkId, Transmit};
use super::event::Event;
use super::outcome::{CallError, CallResult};
use super::retry::FailedAttempt;
use crate::channel::Channel;
use crate::message::Message;
use crate::printable::printable;

/// All outputs of a session leave through here: no other file makes a `Send`, a `Cancel` or a `CloseWebSocket`.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    outputs: VecDeque<Output>,
    /// How many of them give an exchange up, or the WebSocket: their driver does not know yet.
    cancels: u32,
    closes: u32,
    last_id: u64,
    last_exchange: u64,
}

impl Outbox {
    /// Takes the first output.
    pub(super) fn next(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        match &output {
            Some(Output::Cancel(_)) => self.cancels -= 1,
            Some(Output::CloseWebSocket { .. }) => self.closes -= 1,
            _ => {}
        }
        output
    }

    /// Whether an exchange was given up by an output that was not taken yet.
    pub(super) fn has_cancelled(&self, exchange: ExchangeId) -> bool {
        let is_its = |output: &Output| matches!(output, Output::Cancel(other) if *other == exchange);
        self.cancels > 0 && self.outputs.iter().any(is_its)
    }

    /// Whether the WebSocket was closed by an output that was not taken yet.
    pub(super) fn has_closed_websocket(&self) -> bool {
        self.closes > 0
    }

    /// Returns a message id that was never used in this session.
    pub(super) fn new_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    pub(super) fn last_id(&self) -> u64 {
        self.last_id
    }

    /// Continues the message ids after `last`, so that a late reply matches no new message.
    pub(super) fn continue_ids(&mut self, last: u64) {
        self.last_id = self.last_id.max(last);
    }

    pub(super) fn new_exchange(&mut self) -> ExchangeId {
        self.last_exchange += 1;
        ExchangeId(self.last_exchange)
    }

    pub(super) fn send(&mut self, transmit: Transmit) {
        self.outputs.push_back(Output::Send(transmit));
    }

    /// Gives an HTTP exchange up.
    pub(super) fn cancel(&mut self, exchange: ExchangeId) {
        self.cancels += 1;
        self.outputs.push_back(Output::Cancel(exchange));
    }

    pub(super) fn close_websocket(&mut self, graceful: bool) {
        self.closes += 1;
        self.outputs.push_back(Output::CloseWebSocket { graceful });
    }

    /// Removes the frames that were not taken yet, because their socket is lost. The driver would open another socket
    /// for them, beside the attempt that follows the loss.
    pub(super) fn withdraw_frames(&mut self) {
        self.outputs
            .retain(|output| !matches!(output, Output::Send(transmit) if transmit.transport.is_duplex()));
    }

    pub(super) fn ping(&mut self) {
        self.outputs.push_back(Output::Ping);
    }

    pub(super) fn reset_cookies(&mut self) {
        self.outputs.push_back(Output::ResetCookies);
    }

    pub(super) fn authenticate(&mut self, reason: AuthReason) {
        self.outputs.push_back(Output::Authenticate(reason));
    }

    pub(super) fn decide_retry(&mut self, failed: FailedAttempt) {
        self.outputs.push_back(Output::DecideRetry(failed));
    }

    pub(super) fn event(&mut self, mut event: Event) {
        if let Event::Ignored { what } = &mut event {
            // It quotes the peer.
            *what = printable(what).into_owned();
        }
        self.outputs.push_back(Output::Event(event));
    }

    /// Resolves a call, if one waits.
    pub(super) fn resolve(&mut self, call: Option<CallId>, result: CallResult) {
        if let Some(call) = call {
            self.outputs.push_back(Output::Resolve(call, result));
        }
    }

    pub(super) fn subscription_lost(&mut self, sinks: Vec<SinkId>, channel: Channel, error: CallError) {
        self.outputs.push_back(Output::SubscriptionLost { sinks, channel, error });
    }

    /// Delivers messages to `sinks`, in one output with those before them if the receivers are the same.
    pub(super) fn deliver(&mut self, sinks: &Arc<[SinkId]>, mut messages: Vec<Message>) {
        if sinks.is_empty() {
            return;
        }
        match self.delivery_to(sinks) {
            Some(before) => before.append(&mut messages),
            None => self.outputs.push_back(Output::Deliver { sinks: Arc::clone(sinks), messages }),
        }
    }

    /// The same for one message.
    pub(super) fn deliver_one(&mut self, sinks: &Arc<[SinkId]>, message: Message) {
        if sinks.is_empty() {
            return;
        }
        match self.delivery_to(sinks) {
            Some(before) => before.push(message),
            None => {
                self.outputs.push_back(Output::Deliver { sinks: Arc::clone(sinks), messages: vec![message] });
            }
        }
    }

    /// The messages of the last output, if it delivers to the same receivers.
    fn delivery_to(&mut self, sinks: &Arc<[SinkId]>) -> Option<&mut Vec<Message>> {
        match self.outputs.back_mut() {
            Some(Output::Deliver { sinks: same, messages }) if Arc::ptr_eq(same, sinks) || same == sinks => {
                Some(messages)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::contract::Lane;
    use crate::transport::Transport;

    fn transmit(outbox: &mut Outbox, transport: Transport) -> Transmit {
        let exchange = outbox.new_exchange();
        Transmit { exchange, server: 0, transport, lane: Lane::Other, messages: Vec::new() }
    }

    #[test]
    fn only_frames_are_withdrawn() {
        let mut outbox = Outbox::default();
        let frame = transmit(&mut outbox, Transport::WebSocket);
        let post = transmit(&mut outbox, Transport::LongPolling);
        outbox.send(frame);
        outbox.send(post);
        outbox.cancel(ExchangeId(9));
        outbox.withdraw_frames();
        assert!(matches!(outbox.next(), Some(Output::Send(Transmit { exchange: ExchangeId(2), .. }))));
        assert!(matches!(outbox.next(), Some(Output::Cancel(ExchangeId(9)))));
        assert!(outbox.next().is_none());
    }

    #[test]
    fn what_is_given_up_counts_until_the_output_is_taken() {
        let mut outbox = Outbox::default();
        outbox.cancel(ExchangeId(1));
        outbox.close_websocket(true);
        assert!(outbox.has_cancelled(ExchangeId(1)) && !outbox.has_cancelled(ExchangeId(2)));
        outbox.next();
        assert!(!outbox.has_cancelled(ExchangeId(1)) && outbox.has_closed_websocket());
        outbox.next();
        assert!(!outbox.has_closed_websocket());
    }

    #[test]
    fn messages_in_a_row_for_the_same_receivers_are_one_output() {
        let message = || Message::new(Channel::parse("/a").unwrap());
        let one: Arc<[SinkId]> = Arc::from([SinkId(1)]);
        let same: Arc<[SinkId]> = Arc::from([SinkId(1)]);
        let two: Arc<[SinkId]> = Arc::from([SinkId(2)]);
        let none: Arc<[SinkId]> = Arc::from([]);
        let mut outbox = Outbox::default();
        outbox.deliver(&one, vec![message(), message()]);
        outbox.deliver_one(&none, message());
        outbox.deliver_one(&same, message());
        outbox.deliver_one(&two, message());
        outbox.deliver(&two, vec![message()]);
        let counts: Vec<usize> = std::iter::from_fn(|| outbox.next())
            .map(|output| match output {
                Output::Deliver { messages, .. } => messages.len(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(counts, [3, 2]);
    }

    #[test]
    fn continued_ids_never_go_back() {
        let mut outbox = Outbox::default();
        outbox.continue_ids(7);
        assert_eq!(outbox.new_id(), 8);
        outbox.continue_ids(3);
        assert_eq!((outbox.new_id(), outbox.last_id()), (9, 9));
    }

    #[test]
    fn text_of_a_peer_is_escaped_in_events() {
        let mut outbox = Outbox::default();
        outbox.event(Event::Ignored { what: "a\u{1b}b".to_owned() });
        assert!(matches!(outbox.next(), Some(Output::Event(Event::Ignored { what })) if what == "a\\u{1b}b"));
    }
}
