//! The driver: the one task of a client. It owns the session and the transports, passes inputs to the session and carries
//! out its outputs. It decides nothing about the protocol.

use std::borrow::Cow;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bayeux_proto::client::{
    AuthReason, CallError, CallId, CallResult, CloseReason, Event, ExchangeId, Failure, FailureKind, Input,
    Operation, Output, Session, SinkId, State, Transmit, Verdict,
};
use bayeux_proto::codec::{self, Batch, DecodeError, Decoder};
use bayeux_proto::{BayeuxError, Channel, Message, Time, Transport, printable};
use bytes::Bytes;
use futures_util::FutureExt;
use http::HeaderMap;
use tokio::sync::futures::OwnedNotified;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};
use url::Url;

use crate::auth::{Auth, Credentials};
use crate::error::Cause;
use crate::extension::{Extensions, Veto};
use crate::filter::{Filtered, Filtering, Outgoing, Payload, PayloadFilter};
use crate::queue::Queue;
use crate::retry::Decide;
use crate::shared::{Call, Command, ForgottenPublish, Shared};
use crate::sinks::Sinks;
use crate::telemetry::Telemetry;
use crate::transport::{HttpStack, LongPolling, LongPollingEvent, WebSocket, WebSocketEvent, display_url};
use crate::waiting::Waiting;
use crate::wire_log;

/// How many inputs of one kind are handled before the outputs of the session.
const BURST: usize = 256;
/// How many rounds of inputs and outputs precede a yield to other tasks.
const ROUNDS: usize = 16;
/// How many messages are handled before a yield to their receivers: few enough to be in the processor's cache when they are
/// read, and far fewer than the limit of a queue.
const MAX_TURN: usize = 256;
/// The same in bytes, for messages that are large.
const MAX_TURN_BYTES: usize = 256 * 1024;

/// How long a WebSocket is idle before it releases its buffer.
const QUIET: Duration = Duration::from_secs(1);
/// In place of times that the clock cannot represent.
const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
/// A call without a caller.
const NOBODY: CallId = CallId(u64::MAX);

/// The configuration of a driver.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) session: bayeux_proto::client::Config,
    pub(crate) http: Arc<HttpStack>,
    /// The servers of the cluster, the preferred one first.
    pub(crate) servers: Vec<Urls>,
    /// Whether a request with a single meta message adds its type to the URL.
    pub(crate) suffix: bool,
    pub(crate) extensions: Extensions,
    pub(crate) filter: Option<Arc<dyn PayloadFilter>>,
    pub(crate) auth: Option<Arc<dyn Auth>>,
    pub(crate) auth_timeout: Duration,
    pub(crate) decide_retry: Option<Decide>,
    pub(crate) outage_timeout: Option<Duration>,
}

/// The URLs of a server.
#[derive(Clone, Debug)]
pub(crate) struct Urls {
    pub(crate) polling: Url,
    pub(crate) websocket: Url,
}

pub(crate) struct Driver {
    parts: Parts,
    session: Session,
    decoder: Decoder,
    origin: Instant,
    commands: mpsc::Receiver<Command>,
    burst: Vec<Command>,
    shared: Arc<Shared>,
    waiting: Waiting,
    sinks: Sinks,
    /// How many messages went to receivers since the last yield.
    delivered: usize,
    /// How many bytes arrived since then.
    received_bytes: usize,
    /// How many messages the last frames had that arrived together: the next ones often have as many.
    expected: usize,
    /// Since when the connection is lost, as the queues know it.
    lost: Option<Time>,
    long_polling: LongPolling,
    websocket: WebSocket,
    filtering: Filtering,
    credentials: HeaderMap,
    asking: Option<Asking>,
    /// Notified when a receiver that was low on credit has it again.
    credit_freed: Pin<Box<OwnedNotified>>,
    timer: Pin<Box<Sleep>>,
    /// When the timer fires: when the first thing is due, or earlier.
    timer_at: Option<Time>,
    /// When to check whether the WebSocket is idle.
    look_at: Option<Time>,
    /// The call that opened the session, whose caller may not have got the result yet.
    opened: Option<CallId>,
    telemetry: Telemetry,
}

type Asking = Pin<Box<dyn Future<Output = Result<Credentials, String>> + Send>>;

/// Why a body or frame cannot be used.
fn undecodable(what: &str, error: &DecodeError) -> Failure {
    match error {
        DecodeError::TooMany { most, .. } => Failure::new(
            FailureKind::TooLarge,
            format!("{what} has more than {most} messages; max_message_size raises the limit"),
        ),
        error => Failure::new(FailureKind::Malformed, format!("{what}: {error}")),
    }
}

/// The filter vetoed what was received.
fn refused_by_filter(veto: &Veto) -> Failure {
    Failure::new(FailureKind::Malformed, format!("the payload filter refused what was received: {veto}"))
}

impl Driver {
    pub(crate) fn new(parts: Parts, commands: mpsc::Receiver<Command>, shared: Arc<Shared>) -> Self {
        Self {
            session: Session::new(parts.session.clone()),
            decoder: Decoder::limited(parts.http.max_messages()),
            origin: Instant::now(),
            commands,
            burst: Vec::new(),
            waiting: Waiting::default(),
            sinks: Sinks::new(Arc::clone(&shared.inbox)),
            delivered: 0,
            received_bytes: 0,
            expected: 0,
            lost: None,
            long_polling: LongPolling::new(Arc::clone(&parts.http)),
            websocket: WebSocket::new(Arc::clone(&parts.http), parts.servers[0].websocket.clone()),
            filtering: Filtering::new(parts.filter.clone()),
            credentials: HeaderMap::new(),
            asking: None,
            credit_freed: Box::pin(Arc::clone(&shared.credit_freed).notified_owned()),
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            timer_at: None,
            look_at: None,
            opened: None,
            telemetry: Telemetry::new(&parts.session.endpoint),
            shared,
            parts,
        }
    }

    /// Runs until all handles are dropped. An open session is then left without a disconnect: `close()` sends one.
    #[expect(clippy::manual_async_fn, reason = "the future of an async fn would hold the driver twice")]
    pub(crate) fn run(mut self) -> impl Future<Output = ()> + Send {
        async move {
            self.grant_credit();
            std::future::poll_fn(|cx| self.poll(cx)).await;
            self.end(&CloseReason::Requested);
            // A closing handshake that has begun is completed.
            std::future::poll_fn(|cx| self.websocket.poll_closing(cx)).await;
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        (self.delivered, self.received_bytes) = (0, 0);
        for round in 0..ROUNDS {
            let Poll::Ready(alive) = self.poll_inputs(round == 0, cx) else { return Poll::Pending };
            if !alive {
                return Poll::Ready(());
            }
            self.carry_out();
            if self.delivered >= MAX_TURN || self.received_bytes >= MAX_TURN_BYTES {
                break;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Handles all inputs that are ready. Pending if there were none; false if all handles are dropped. What can only become
    /// ready while the task sleeps is polled only if it was `woken`.
    fn poll_inputs(&mut self, woken: bool, cx: &mut Context<'_>) -> Poll<bool> {
        let mut any = false;
        let mut burst = std::mem::take(&mut self.burst);
        let commands = self.commands.poll_recv_many(cx, &mut burst, BURST);
        let is_abandoned = matches!(commands, Poll::Ready(0));
        for command in burst.drain(..) {
            any = true;
            self.command(command);
            if self.session.state() == State::Disconnected {
                // The outputs of a session's end precede the next session, whose receivers they would end otherwise.
                self.carry_out();
            }
        }
        self.burst = burst;
        if is_abandoned {
            return Poll::Ready(false);
        }
        any |= self.poll_filtering(cx);
        any |= self.poll_websocket(cx);
        for _ in 0..BURST {
            let Poll::Ready(event) = self.long_polling.poll_event(cx) else { break };
            any = true;
            self.long_polling_event(event);
        }
        if let Some(asking) = &mut self.asking
            && let Poll::Ready(outcome) = asking.as_mut().poll(cx)
        {
            any = true;
            self.asking = None;
            let input = outcome.map(|credentials| {
                self.parts.http.keep_secret(&credentials.headers, &credentials.ext);
                self.credentials = credentials.headers;
                credentials.ext
            });
            self.handle(Input::Credentials(input));
        }
        while woken && self.credit_freed.as_mut().poll(cx).is_ready() {
            any = true;
            self.credit_freed.set(Arc::clone(&self.shared.credit_freed).notified_owned());
            self.grant_credit();
            self.replay_gaps();
        }
        any |= self.poll_timer(woken, cx);
        if any { Poll::Ready(true) } else { Poll::Pending }
    }

    /// Handles the frames that are ready as one batch, because they arrived in sequence.
    fn poll_websocket(&mut self, cx: &mut Context<'_>) -> bool {
        let mut any = false;
        let mut frames = None;
        for _ in 0..BURST {
            // What comes after a frame is handled after it.
            if self.filtering.has_frame() {
                break;
            }
            let Poll::Ready(event) = self.websocket.poll_event(cx) else { break };
            any = true;
            if let WebSocketEvent::Received(body) = &event {
                wire_log::log("<", "websocket", body, |text| self.parts.http.mask(text));
                self.received_bytes += body.len();
                if self.filtering.is_on() {
                    let payload = Payload { body: body.clone(), headers: HeaderMap::new() };
                    self.filtering.receive(None, payload);
                    // The bytes have come, however long the filter takes.
                    self.handle(Input::Alive);
                    continue;
                }
                let expected = self.expected;
                let batch = frames
                    .get_or_insert_with(|| Batch { messages: Vec::with_capacity(expected), skipped: 0 });
                let Err(error) = self.decoder.decode_into(body, batch) else {
                    if batch.messages.len() >= MAX_TURN || self.received_bytes >= MAX_TURN_BYTES {
                        break;
                    }
                    continue;
                };
                self.received_frames(&mut frames);
                self.unusable_frame(&error);
                continue;
            }
            self.received_frames(&mut frames);
            match event {
                WebSocketEvent::Received(_) | WebSocketEvent::Alive => self.handle(Input::Alive),
                WebSocketEvent::Arriving => self.handle(Input::Arriving),
                WebSocketEvent::Lost(failure) => {
                    self.parts.http.leave_connections();
                    self.filtering.drop_frames();
                    self.handle(Input::TransportLost(self.masked(failure)));
                }
            }
        }
        self.received_frames(&mut frames);
        any
    }

    fn unusable_frame(&mut self, error: &DecodeError) {
        let what = format!("a frame of {}", display_url(&self.urls().websocket));
        self.lose_websocket(self.masked(undecodable(&what, error)));
    }

    fn lose_websocket(&mut self, failure: Failure) {
        self.websocket.abort();
        self.filtering.drop_frames();
        self.handle(Input::TransportLost(failure));
    }

    /// Handles the payloads that have passed the filter.
    fn poll_filtering(&mut self, cx: &mut Context<'_>) -> bool {
        let mut any = false;
        for _ in 0..BURST {
            let Poll::Ready(filtered) = self.filtering.poll_event(cx) else { break };
            any = true;
            match filtered {
                Filtered::Outgoing(outgoing, Ok(payload)) => {
                    self.transmit(outgoing.exchange, outgoing.server, outgoing.url, payload);
                }
                Filtered::Outgoing(outgoing, Err(veto)) => {
                    for message in outgoing.messages {
                        let reason = veto.to_string();
                        self.handle(Input::Vetoed { message: Box::new(message), reason });
                    }
                }
                Filtered::Incoming(Some(exchange), Ok(payload)) => {
                    self.received_response(exchange, &payload.body)
                }
                Filtered::Incoming(Some(exchange), Err(veto)) => {
                    self.handle(Input::ExchangeFailed(exchange, refused_by_filter(&veto)));
                }
                Filtered::Incoming(None, Ok(payload)) => match self.decoder.decode(&payload.body) {
                    Ok(batch) => self.received(None, batch),
                    Err(error) => self.unusable_frame(&error),
                },
                Filtered::Incoming(None, Err(veto)) => self.lose_websocket(refused_by_filter(&veto)),
            }
        }
        any
    }

    fn received_frames(&mut self, frames: &mut Option<Batch>) {
        if let Some(batch) = frames.take() {
            self.expected = batch.messages.len();
            self.received(None, batch);
        }
    }

    fn poll_timer(&mut self, woken: bool, cx: &mut Context<'_>) -> bool {
        if self.look_at.is_none() && self.websocket.is_awake() {
            self.look_at = Some(self.now() + QUIET);
        }
        let due =
            [self.session.poll_timeout(), self.look_at, self.sinks.next_report()].into_iter().flatten().min();
        // It may fire too early, which is cheaper than setting it for each call and each reply.
        let mut may_fire = woken && self.timer_at.is_some();
        if let Some(at) = due
            && self.timer_at.is_none_or(|armed| at < armed)
        {
            may_fire = true;
            self.timer_at = due;
            let at = self.origin.checked_add(at.since_origin());
            self.timer.as_mut().reset(at.unwrap_or_else(|| Instant::now() + NEVER));
        }
        if !may_fire || self.timer.as_mut().poll(cx).is_pending() {
            return false;
        }
        self.timer_at = None;
        let now = self.now();
        if self.look_at.take_if(|at| *at <= now).is_some() {
            self.websocket.rest_if_quiet(cx);
        }
        for event in self.sinks.reports(now) {
            self.event(event);
        }
        if self.session.poll_timeout().is_some_and(|at| at <= now) {
            self.session.handle(Input::Timeout, now);
        }
        true
    }

    fn now(&self) -> Time {
        Time::from_origin(self.origin.elapsed())
    }

    fn handle(&mut self, input: Input) {
        let now = self.now();
        self.session.handle(input, now);
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Call(call) => {
                let Call { id: call, operation, reply } = *call;
                if matches!(operation, Operation::Open | Operation::Resume(_))
                    && self.session.state() == State::Disconnected
                {
                    self.shared.inbox.reopen();
                    self.opened = Some(call);
                }
                self.waiting.add(call, reply);
                self.handle(Input::Call(call, operation));
            }
            Command::PublishAndForget(publish) => {
                let ForgottenPublish { id, channel, data, taken } = *publish;
                self.waiting.add_forgetful(id, channel.clone(), taken);
                self.handle(Input::Call(id, Operation::Publish { channel, data }));
            }
            Command::Batch(calls) => {
                let operations = calls
                    .into_iter()
                    .map(|Call { id, operation, reply }| {
                        self.waiting.add(id, reply);
                        (id, operation)
                    })
                    .collect();
                self.handle(Input::Batch(operations));
            }
            Command::Attach(attached) => {
                let (sink, channel, queue) = *attached;
                self.handle(Input::Credit(sink, queue.credit()));
                self.set_lost(&queue);
                self.sinks.add(sink, channel, queue);
            }
            Command::Detach(sink) => self.detach(sink),
            Command::Reconnect => {
                self.parts.http.leave_connections();
                self.handle(Input::Reconnect);
            }
            Command::Snapshot { leave, reply } => {
                let snapshot = self.session.snapshot(!leave);
                // If the caller has dropped its future, the session continues.
                let taken = reply.send(snapshot.map(|session| (session, self.parts.http.save_cookies())));
                if leave && taken.is_ok() {
                    self.handle(Input::Call(NOBODY, Operation::Suspend));
                }
            }
            Command::RestoreCookies(saved) => {
                if self.session.state() == State::Disconnected
                    && let Err(error) = self.parts.http.restore_cookies(&saved)
                {
                    tracing::warn!(%error, "the cookies of the snapshot are invalid");
                }
            }
            Command::Forget(call) => {
                let answered = self.waiting.take(call).is_none();
                self.handle(Input::Forget(call));
                if answered && self.opened == Some(call) {
                    // The caller gave up while the result was on its way.
                    self.handle(Input::Call(NOBODY, Operation::Close));
                }
            }
        }
    }

    fn detach(&mut self, sink: SinkId) {
        let now = self.now();
        if let Some((channel, report)) = self.sinks.remove(sink, now) {
            if let Some(event) = report {
                self.event(event);
            }
            self.handle(Input::Credit(sink, None));
            self.handle(Input::Call(NOBODY, Operation::Unsubscribe { channel, sink }));
        }
    }

    fn long_polling_event(&mut self, event: LongPollingEvent) {
        match event {
            LongPollingEvent::Received(exchange, headers, body) => {
                wire_log::log("<", "long-polling", &body, |text| self.parts.http.mask(text));
                self.received_bytes += body.len();
                if self.filtering.is_on() {
                    self.filtering.receive(Some(exchange), Payload { body, headers });
                } else {
                    self.received_response(exchange, &body);
                }
            }
            LongPollingEvent::Progress(exchange) => self.handle(Input::Progress(exchange)),
            LongPollingEvent::Failed(exchange, failure) => {
                if is_of_connection(failure.kind()) {
                    self.parts.http.leave_connections();
                }
                self.handle(Input::ExchangeFailed(exchange, self.masked(failure)));
            }
        }
    }

    fn received_response(&mut self, exchange: ExchangeId, body: &Bytes) {
        match self.decoder.decode(body) {
            Ok(batch) => self.received(Some(exchange), batch),
            Err(error) => {
                let what = format!("the response of {}", display_url(&self.urls().polling));
                let failure = self.masked(undecodable(&what, &error));
                self.handle(Input::ExchangeFailed(exchange, failure));
            }
        }
    }

    /// The failure without this client's credentials, if the peer repeated them.
    fn masked(&self, failure: Failure) -> Failure {
        let text = failure.to_string();
        match self.parts.http.mask(&text) {
            Cow::Borrowed(_) => failure,
            Cow::Owned(masked) => failure.with_text(&masked),
        }
    }

    /// Masks this client's credentials in an error that the server wrote.
    fn mask_error(&self, message: &mut Message) {
        if let Some(error) = &mut message.fields_mut().error
            && let Cow::Owned(masked) = self.parts.http.mask(error.as_str())
        {
            *error = BayeuxError::parse(masked);
        }
    }

    fn received(&mut self, exchange: Option<ExchangeId>, batch: Batch) {
        if batch.skipped > 0 {
            tracing::warn!(skipped = batch.skipped, "the server sent elements that are not messages");
        }
        let mut messages = batch.messages;
        for message in messages.iter_mut().filter(|message| message.fields().error.is_some()) {
            self.mask_error(message);
        }
        self.parts.extensions.incoming(&mut messages);
        self.handle(Input::Received { exchange, messages });
    }

    /// Carries out the outputs of the session, then publishes its status.
    fn carry_out(&mut self) {
        if let Some(names) = self.parts.http.newly_withheld_cookies() {
            self.event(Event::cookies_withheld(names));
        }
        self.do_outputs();
        self.hand_over();
        if self.sinks.any_filled() {
            self.update_credit();
            self.do_outputs();
            self.hand_over();
        }
        self.publish_status();
    }

    fn do_outputs(&mut self) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Send(transmit) => self.send(transmit),
                Output::Cancel(exchange) => {
                    // The other connections to a server that did not answer may be broken too.
                    self.parts.http.leave_connections();
                    self.long_polling.cancel(exchange);
                    self.filtering.cancel(exchange);
                }
                Output::CloseWebSocket { graceful: true } => {
                    self.websocket.close();
                    self.filtering.drop_frames();
                }
                Output::CloseWebSocket { graceful: false } => {
                    self.websocket.abort();
                    self.filtering.drop_frames();
                }
                Output::Deliver { sinks, messages } => self.deliver(&sinks, messages),
                Output::Resolve(call, result) => self.resolve(call, result),
                Output::SubscriptionLost { sinks, channel, error } => {
                    self.hand_over();
                    let is_final = matches!(error, CallError::ReplayUnavailable { .. });
                    let cause = Cause::NotRestored { channel, error };
                    if is_final {
                        self.sinks.fail(&sinks, &cause);
                    } else {
                        self.sinks.push_error(&sinks, &cause);
                    }
                }
                Output::Event(event) => self.event(event),
                Output::Authenticate(reason) => self.ask(reason),
                Output::Ping => self.websocket.ping(),
                Output::ResetCookies => self.parts.http.reset_cookies(),
                Output::DecideRetry(failed) => {
                    let decide = self.parts.decide_retry.as_ref();
                    let verdict = decide.map_or(Verdict::Retry, |decide| decide(&failed));
                    self.handle(Input::RetryDecided(verdict));
                }
            }
        }
        self.waiting.taken();
    }

    /// Grants credit for all queues that must not drop messages.
    fn grant_credit(&mut self) {
        self.sinks.fill_all();
        self.update_credit();
    }

    /// Asks again for what did not fit the queues of replayed streams.
    fn replay_gaps(&mut self) {
        for sink in self.sinks.gaps() {
            // What arrived before is dropped: it comes again, in its order.
            self.carry_out();
            if let Some((channel, after)) = self.sinks.take_gap(sink) {
                self.handle(Input::Call(NOBODY, Operation::ReplayAgain { channel, sink, after }));
            }
        }
    }

    /// Grants credit for the queues that got messages.
    fn update_credit(&mut self) {
        while let Some((id, credit)) = self.sinks.next_credit() {
            self.handle(Input::Credit(id, Some(credit)));
        }
    }

    fn send(&mut self, transmit: Transmit) {
        let Transmit { exchange, server, transport, mut messages, .. } = transmit;
        let vetoed = self.parts.extensions.outgoing(&mut messages);
        for (message, reason) in vetoed {
            self.handle(Input::Vetoed { message: Box::new(message), reason });
        }
        if messages.is_empty() {
            return;
        }
        self.telemetry.sent.increment(messages.len() as u64);
        let mut headers = self.credentials.clone();
        let url = (transport != Transport::WebSocket).then(|| self.request_url(server, &messages));
        if url.is_some() || self.websocket.is_closed() {
            self.parts.extensions.headers(&mut headers);
        }
        let payload = Payload { body: codec::encode(&messages), headers };
        if self.filtering.is_on() {
            self.filtering.send(Outgoing { exchange, server, url, messages }, payload);
        } else {
            self.transmit(exchange, server, url, payload);
        }
    }

    /// Sends a request to that URL, or without one a frame.
    fn transmit(&mut self, exchange: ExchangeId, server: usize, url: Option<Url>, payload: Payload) {
        let Payload { body, headers } = payload;
        let transport = if url.is_some() { Transport::LongPolling } else { Transport::WebSocket };
        wire_log::log(">", transport.as_str(), &body, |text| self.parts.http.mask(text));
        match url {
            Some(url) => self.long_polling.send(exchange, url, headers, body),
            None => {
                if self.websocket.is_closed() {
                    self.websocket.open(self.parts.servers[server].websocket.clone(), headers);
                }
                self.websocket.send(body);
            }
        }
    }

    /// The URLs of the server in use.
    fn urls(&self) -> &Urls {
        &self.parts.servers[self.session.server()]
    }

    /// The URL for a request. As in CometD's clients, a single meta message adds its type to a URL without a query, so that
    /// proxies and logs can distinguish the held connect.
    fn request_url(&self, server: usize, messages: &[Message]) -> Url {
        let mut url = self.parts.servers[server].polling.clone();
        let name = match messages {
            [message] => message.channel().as_str().strip_prefix("/meta/"),
            _ => None,
        };
        if let Some(name) = name.filter(|_| self.parts.suffix)
            && url.query().is_none()
        {
            let path = format!("{}/{name}", url.path().trim_end_matches('/'));
            url.set_path(&path);
        }
        url
    }

    fn deliver(&mut self, sinks: &[SinkId], messages: Vec<Message>) {
        if !sinks.is_empty() {
            self.telemetry.received.increment(messages.len() as u64);
            self.delivered += messages.len();
            self.sinks.take(sinks, messages);
        }
    }

    /// Adds the messages of this round to the queues of their receivers.
    fn hand_over(&mut self) {
        let origin = self.origin;
        for event in self.sinks.hand_over(|| Time::from_origin(origin.elapsed())) {
            self.event(event);
        }
    }

    fn resolve(&mut self, call: CallId, result: CallResult) {
        // Messages that arrived before a reply are in their queues when the caller gets it.
        self.hand_over();
        if result.is_err() {
            self.telemetry.failed_calls.increment(1);
        }
        let Some(waiter) = self.waiting.take(call) else { return };
        if let Ok(message) = &result
            && message.channel() == Channel::HANDSHAKE
        {
            self.shared.set_handshake(message.clone());
        }
        self.publish_status();
        if let Err(CallError::Closed(reason)) = &result
            && self.session.state() == State::Disconnected
        {
            self.shared.status.send_modify(|status| {
                status.closed.get_or_insert_with(|| reason.clone());
            });
        }
        if let Some(event) = waiter.resolve(result) {
            self.event(event);
        }
    }

    fn event(&mut self, event: Event) {
        tracing::debug!(?event, "event");
        self.telemetry.event(&event);
        if let Event::Closed(reason) = &event {
            self.end(reason);
            let now = self.now();
            for event in self.sinks.last_reports(now) {
                self.event(event);
            }
        }
        // A listener that gets the event sees the matching state.
        self.publish_status();
        self.shared.emit(event);
    }

    /// Ends the session: receivers end after their messages, and the next session starts without cookies.
    fn end(&mut self, reason: &CloseReason) {
        self.hand_over();
        self.asking = None;
        self.parts.http.reset_cookies();
        self.parts.http.leave_connections();
        // Before the receivers, so that one that ends sees a closed client.
        self.shared.status.send_modify(|status| {
            status.state = State::Disconnected;
            status.closed = Some(reason.clone());
        });
        self.sinks.close(reason);
    }

    fn publish_status(&mut self) {
        self.shared.follow_subscriptions(&mut self.session);
        let state = self.session.state();
        let transport = self.session.transport();
        let server = self.session.server();
        let pending = self.session.pending();
        let last_received = self.session.last_received().map(|at| self.origin + at.since_origin());
        self.shared.status.send_if_modified(|status| {
            let changed =
                status.state != state || status.transport != Some(transport) || status.server != server;
            status.pending_calls = pending;
            status.last_received = last_received;
            if changed {
                status.state = state;
                status.transport = Some(transport);
                status.server = server;
                if state != State::Disconnected {
                    status.closed = None;
                }
            }
            changed
        });
        let lost = self.session.lost_since().filter(|_| state != State::Disconnected);
        if lost != self.lost {
            self.lost = lost;
            for queue in self.sinks.queues() {
                self.set_lost(queue);
            }
        }
    }

    fn set_lost(&self, queue: &Queue) {
        let lost = self.lost.map(|at| self.origin + at.since_origin());
        queue.set_lost(lost, self.parts.outage_timeout);
    }

    fn ask(&mut self, reason: AuthReason) {
        let Some(auth) = self.parts.auth.clone() else {
            return self
                .handle(Input::Credentials(Err("the client has no source of credentials".to_owned())));
        };
        let wait = self.parts.auth_timeout;
        self.asking = Some(Box::pin(async move {
            let asking = AssertUnwindSafe(async { auth.credentials(reason).await }).catch_unwind();
            match tokio::time::timeout(wait, asking).await {
                Ok(Ok(outcome)) => outcome.map_err(|error| printable(&error.to_string()).into_owned()),
                Ok(Err(_)) => Err("the source of credentials panicked".to_owned()),
                Err(_) => Err(format!("no answer from the source of credentials within {wait:?}")),
            }
        }));
    }
}

/// Whether a failure concerns the connection, not the request or the server.
fn is_of_connection(kind: FailureKind) -> bool {
    !matches!(
        kind,
        FailureKind::Http { .. }
            | FailureKind::UpgradeRefused { .. }
            | FailureKind::TooLarge
            | FailureKind::Malformed
            | FailureKind::LocalLimit
    )
}

impl Drop for Driver {
    /// However the task ends, with the runtime or by a panic, no receiver waits forever.
    fn drop(&mut self) {
        if self.shared.status.borrow().closed.is_none() {
            let failure = Failure::new(FailureKind::Lost, "the task of the client has ended");
            self.end(&CloseReason::Failed(failure));
        }
    }
}
