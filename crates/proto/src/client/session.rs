//! The session as its driver sees it: what goes in, what comes out, and when to call again.

use super::config::Config;
use super::contract::{Input, Output};
use super::core::Core;
use super::event::State;
use super::snapshot::SessionSnapshot;
use super::subscriptions::SubscriptionChanges;
use crate::channel::Channel;
use crate::time::Time;
use crate::transport::Transport;

/// A client's session with a server, from the first handshake to the last disconnect and over any number of
/// re-handshakes between them. It does no I/O and reads no clock.
///
/// # How to drive it
///
/// Repeat these three steps:
///
/// 1. Pass any number of inputs to [`handle`](Session::handle).
/// 2. Take outputs from [`poll_output`](Session::poll_output) until it returns `None`, and carry each out, in order.
/// 3. Wait for the next input, but at most until [`poll_timeout`](Session::poll_timeout); then pass [`Input::Timeout`].
///
/// `now` never goes back. Inputs that an output leads to (a response, say) are inputs like any other: they may be
/// passed while outputs are taken, or later. Messages of calls are put into batches in step 2, so that calls that
/// were passed together travel together.
///
/// ```
/// use std::time::Duration;
///
/// use bayeux_proto::Time;
/// use bayeux_proto::client::{CallId, Config, Input, Operation, Output, Session};
///
/// let mut session = Session::new(Config::default());
/// let now = Time::from_origin(Duration::from_millis(1));
/// session.handle(Input::Call(CallId(1), Operation::Open), now);
/// while let Some(output) = session.poll_output() {
///     match output {
///         Output::Send(transmit) => assert_eq!(transmit.messages[0].channel(), "/meta/handshake"),
///         other => panic!("{other:?}"),
///     }
/// }
/// assert!(session.poll_timeout() > Some(now), "by then the reply is overdue");
/// ```
#[derive(Debug)]
pub struct Session {
    core: Core,
}

impl Session {
    /// Creates a session that is not open yet.
    pub fn new(config: Config) -> Self {
        Self { core: Core::new(config) }
    }

    /// Returns the state.
    pub fn state(&self) -> State {
        self.core.state()
    }

    /// Returns the transport in use, or to be used.
    pub fn transport(&self) -> Transport {
        self.core.transport()
    }

    /// Returns the server in use, or to be used: 0 is the one that the session is configured with, others are its
    /// fallbacks.
    pub fn server(&self) -> usize {
        self.core.servers().current()
    }

    /// Returns since when messages do not flow, if they should.
    pub fn lost_since(&self) -> Option<Time> {
        self.core.lost_since()
    }

    /// Returns when something last came from the server; `None` before that.
    pub fn last_received(&self) -> Option<Time> {
        Some(self.core.last_received()).filter(|at| *at > Time::ZERO)
    }

    /// Returns what another process needs to continue the session; `None` if there is no session. With `goes_on` the
    /// session continues here as well: a process that resumes it later may get events again that this one gets
    /// meanwhile.
    pub fn snapshot(&self, goes_on: bool) -> Option<SessionSnapshot> {
        self.core.snapshot(goes_on)
    }

    /// Returns how many calls wait for their reply.
    pub fn pending(&self) -> usize {
        self.core.calls().len()
    }

    /// Returns the desired subscriptions that the server has granted.
    pub fn subscriptions(&self) -> impl Iterator<Item = &Channel> {
        self.core.subscriptions().current()
    }

    /// Returns a number that changes whenever [`Session::subscriptions`] may have changed.
    pub fn subscriptions_version(&self) -> u64 {
        self.core.subscriptions().version()
    }

    /// Returns which of [`Session::subscriptions`] may have changed since the last call of this method: cheaper than
    /// to read all of them.
    pub fn take_subscription_changes(&mut self) -> SubscriptionChanges {
        self.core.subscriptions_mut().take_changes()
    }

    /// Returns the next output, or `None` if there is nothing to do until the next input.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.core.next_output()
    }

    /// Returns when to pass [`Input::Timeout`] at the latest. Changes with each input and output.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.core.poll_timeout()
    }

    /// Handles what happened at `now`.
    pub fn handle(&mut self, input: Input, now: Time) {
        self.core.handle(input, now);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::client::contract::{CallId, Operation, SinkId};
    use crate::error::BayeuxError;
    use crate::message::Message;

    /// A session over a WebSocket, and a server that answers each message in a frame of its own.
    struct Served {
        session: Session,
        calls: u64,
        /// The server has forgotten the session, and says so once.
        forgotten: bool,
    }

    impl Served {
        fn open() -> Self {
            let config = Config { transports: vec![Transport::WebSocket], ..Config::default() };
            let mut served = Self { session: Session::new(config), calls: 0, forgotten: false };
            served.call(Operation::Open);
            served
        }

        fn call(&mut self, operation: Operation) {
            self.calls += 1;
            self.handle(Input::Call(CallId(self.calls), operation));
        }

        fn handle(&mut self, input: Input) {
            let mut inputs = VecDeque::from([input]);
            while let Some(input) = inputs.pop_front() {
                self.session.handle(input, Time::ZERO);
                while let Some(output) = self.session.poll_output() {
                    if let Output::Send(transmit) = output {
                        let replies = transmit.messages.iter().filter_map(|message| self.reply(message));
                        let frames: Vec<_> = replies.collect();
                        inputs.extend(
                            frames
                                .into_iter()
                                .map(|reply| Input::Received { exchange: None, messages: vec![reply] }),
                        );
                    }
                }
            }
        }

        fn reply(&mut self, message: &Message) -> Option<Message> {
            let mut reply = Message::new(message.channel().clone());
            reply.set_id(message.id().cloned());
            let fields = reply.fields_mut();
            fields.successful = Some(true);
            match message.channel().as_str() {
                Channel::HANDSHAKE => {
                    fields.client_id = Some(crate::id::ClientId::new("client"));
                    fields.supported_connection_types = Some(vec!["websocket".to_owned()]);
                }
                Channel::CONNECT if std::mem::take(&mut self.forgotten) => {
                    fields.successful = Some(false);
                    fields.error = Some(BayeuxError::parse("402::unknown"));
                }
                // The next is held.
                Channel::CONNECT if message.fields().advice.is_none() => return None,
                _ => {}
            }
            Some(reply)
        }

        fn visits(&self) -> u64 {
            self.session.core.subscriptions().visits()
        }
    }

    /// How many subscriptions are looked at while that many are made, and while they are restored.
    fn work(count: u64) -> [u64; 2] {
        let mut served = Served::open();
        for n in 0..count {
            let channel = Channel::from_wire(&format!("/a/{n}"));
            served.call(Operation::Subscribe { channel, sink: SinkId(n) });
        }
        assert_eq!(served.session.core.subscriptions().current().count() as u64, count);
        let made = served.visits();
        served.forgotten = true;
        served.handle(Input::Reconnect);
        assert!(!served.forgotten);
        assert_eq!(served.session.state(), State::Connected);
        assert_eq!(served.session.core.sessions(), 2);
        for n in 0..count {
            let channel = Channel::from_wire(&format!("/a/{n}"));
            served.handle(Input::Forget(CallId(n)));
            served.call(Operation::Unsubscribe { channel, sink: SinkId(n) });
        }
        [made, served.visits() - made]
    }

    #[test]
    fn the_work_for_a_subscription_does_not_grow_with_their_number() {
        for count in [100, 1000] {
            let [made, restored] = work(count);
            assert!(made <= 2 * count, "{count}: {made}");
            assert!(restored <= 10 * count, "{count}: {restored}");
        }
    }
}
