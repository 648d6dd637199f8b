//! The clients' shells: they hand their sessions what comes, and do what the sessions say, as the driver of the real
//! client does.

use std::time::Duration;

use bayeux_proto::client::{
    AuthReason, CallError, CallId, CallResult, Delivery, Event, ExchangeId, Failure, FailureKind, Input,
    LostCause, Operation, Output, SinkId, State, Transmit,
};
use bayeux_proto::{Channel, Message, Transport, codec};
use bytes::Bytes;

use crate::client::{About, Client, Queued};
use crate::gate::Gate;
use crate::law::Law;
use crate::scenario::{Credentials, Step};
use crate::trace::brief;
use crate::world::{Happening, World, failure, number_of, payload};

/// What a call may take beyond its deadlines, while a body comes in parts.
const GRACE: Duration = Duration::from_secs(40);
/// How long a client may be busy, so that a burst comes meanwhile.
const BUSY: Duration = Duration::from_millis(5);

impl World {
    /// Something comes to a client, which handles it now, or with what comes next.
    pub(crate) fn at_client(&mut self, client: usize, input: Input) {
        self.queue(client, Queued { input, unwanted: None });
    }

    fn queue(&mut self, client: usize, queued: Queued) {
        self.clients[client].inputs.push(queued);
        if self.clients[client].busy {
            return;
        }
        if self.is_busy() {
            self.clients[client].busy = true;
            let span = self.chance.up_to(BUSY);
            return self.plan(span, Happening::ClientTurn(client));
        }
        self.client_turn(client);
    }

    /// A client hands its session what has come, and then carries out what that wants.
    pub(crate) fn client_turn(&mut self, client: usize) {
        let now = self.now;
        let actor = &mut self.clients[client];
        actor.busy = false;
        actor.driver.set_now(now);
        // What a session got before its user gave a channel up may be delivered after it, if both come in one burst.
        let mut unwanted = Vec::new();
        for (place, Queued { input, unwanted: channel }) in
            std::mem::take(&mut actor.inputs).into_iter().enumerate()
        {
            // A closed client keeps the desired subscriptions of its inbox, and returns them.
            let ends = matches!(actor.driver.session().state(), State::Disconnected | State::Disconnecting);
            match channel.filter(|_| !ends) {
                Some((sink, channel)) if place == 0 => actor.ledger.unwanted(sink, &channel),
                late => unwanted.extend(late),
            }
            actor.hurried |= matches!(input, Input::Reconnect);
            actor.driver.pass(input);
        }
        self.carry_out(client);
        self.clients[client].hurried = false;
        for (sink, channel) in unwanted {
            self.clients[client].ledger.unwanted(sink, &channel);
        }
        let actor = &mut self.clients[client];
        for mailbox in actor.receivers.values_mut() {
            if std::mem::take(&mut mailbox.filled)
                && let Some(room) = mailbox.room()
            {
                actor.driver.pass(Input::Credit(mailbox.receiver.sink, Some(room)));
            }
        }
        self.carry_out(client);
        self.set_timer(client);
    }

    fn carry_out(&mut self, client: usize) {
        while let Some(output) = self.clients[client].driver.poll() {
            match output {
                Output::Send(transmit) => self.send(client, transmit),
                Output::Cancel(exchange) => self.cancel(client, exchange),
                Output::CloseWebSocket { graceful } => {
                    self.note(|| format!("    c{client} closes its socket, graceful: {graceful}"));
                    self.clients[client].ledger.connect_gone();
                    self.leave_socket(client, graceful);
                }
                Output::Ping => {
                    self.note(|| format!("    c{client} pings"));
                    self.ping(client);
                }
                Output::Deliver { sinks, messages } => {
                    messages.iter().for_each(|message| self.deliver(client, &sinks, message));
                }
                Output::Resolve(call, result) => self.resolve(client, call, &result),
                Output::Event(event) => self.event(client, &event),
                Output::ResetCookies => {
                    self.note(|| format!("    c{client} forgets its cookies"));
                    self.clients[client].reset_cookies();
                }
                Output::Authenticate(reason) => self.ask(client, &reason),
                // The clients do not decide about retries.
                Output::SubscriptionLost { .. } | Output::DecideRetry(_) => {}
            }
        }
        if let Some(breach) = self.clients[client].driver.breach().map(str::to_owned) {
            self.break_law(client, Law::Contract, breach);
        }
    }

    /// A session asks for credentials.
    fn ask(&mut self, client: usize, reason: &AuthReason) {
        self.note(|| format!("    c{client} asks for credentials: {reason:?}"));
        self.faults.count("credentials asked for");
        let Some(source) = self.clients[client].source else { return };
        self.clients[client].question += 1;
        let question = self.clients[client].question;
        let pause = self.chance.up_to(source.pause);
        self.plan(pause, Happening::Credentials(client, question));
    }

    /// The source of credentials answers, if the session still waits for that.
    pub(crate) fn answer_question(&mut self, client: usize, question: u64) {
        let Some(source) = self.clients[client].source else { return };
        if self.clients[client].question != question || !self.clients[client].driver.is_asking() {
            return;
        }
        let stormy = self.now.since_origin() < self.heals_at;
        let token = match source {
            _ if !stormy => Some(Gate::FOR_EVER),
            Credentials { failures, .. } if self.chance.chance(failures) => None,
            // Out of a store that has not noticed yet.
            Credentials { stale, .. } if self.chance.chance(stale) => Some(Gate::token(self.now)),
            Credentials { lifetime, .. } => Some(Gate::token(self.now + lifetime)),
        };
        self.note(|| format!("    c{client} gets a token: {token:?}"));
        let answer = match token {
            Some(token) => {
                self.clients[client].token = Some(token);
                Ok(serde_json::Map::from_iter([(Client::TOKEN.to_owned(), token.into())]))
            }
            None => Err("the source has none".to_owned()),
        };
        self.at_client(client, Input::Credentials(answer));
    }

    pub(crate) fn grant_credit(&mut self, client: usize, sink: SinkId) {
        let room = self.clients[client].receivers.get(&sink).and_then(|mailbox| mailbox.room());
        if let Some(room) = room {
            self.at_client(client, Input::Credit(sink, Some(room)));
        }
    }

    fn set_timer(&mut self, client: usize) {
        let wanted = self.clients[client].driver.wakes_at();
        if let Some(at) = wanted
            && self.clients[client].timer.is_none_or(|set| at < set)
        {
            let at = at.max(self.now);
            self.clients[client].timer = Some(at);
            self.future.plan(at, Happening::ClientTimer(client, at));
        }
    }

    fn send(&mut self, client: usize, transmit: Transmit) {
        let Transmit { exchange, server, transport, messages, .. } = transmit;
        self.note(|| format!("<-  c{client} to address {server} over {transport}: {}", brief(&messages)));
        let now = self.now;
        let interval = self.clients[client].interval;
        let mut repeatable = false;
        for message in &messages {
            let actor = &mut self.clients[client];
            let id = message.id().and_then(|id| id.number());
            let outcome = match message.channel().as_str() {
                Channel::CONNECT => {
                    // A client that does not acknowledge may lose what answers a request that was repeated in secret.
                    repeatable = actor.ledger.acked;
                    actor.connect_exchange = Some(exchange);
                    actor.ledger.connect_sent(id.unwrap_or(0), interval, now)
                }
                Channel::HANDSHAKE => {
                    repeatable = true;
                    actor.handshake = id;
                    actor.ledger.handshake_sent(now)
                }
                _ => Ok(()),
            };
            self.check(client, outcome);
        }
        let body = codec::encode(&messages);
        match transport {
            Transport::WebSocket => self.send_frame(client, server, body),
            _ => self.post(client, exchange, server, &body, repeatable),
        }
    }

    fn cancel(&mut self, client: usize, exchange: ExchangeId) {
        self.note(|| format!("    c{client} gives {exchange:?} up"));
        let connect = self.clients[client].connect_exchange == Some(exchange);
        if connect {
            self.clients[client].ledger.connect_gone();
        } else {
            self.clients[client].downlink.carries_on = true;
        }
        self.give_up(client, exchange);
    }

    fn deliver(&mut self, client: usize, sinks: &[SinkId], message: &Message) {
        let Some(number) = number_of(message.data()) else { return };
        self.note(|| format!("    c{client} gets message {number} on {} for {sinks:?}", message.channel()));
        let taken = self.post.taken(number);
        for sink in sinks {
            self.delivered += 1;
            let actor = &mut self.clients[client];
            let outcome = actor.ledger.delivered(number, message.channel(), *sink, taken);
            // While a client closes, events may ride on the reply to its disconnect. They do not come again, so they come
            // whether there is room or not; what does not fit is counted and told by the shell.
            let closing = actor.about.values().any(|about| matches!(about, About::Close));
            let lossless = actor.ledger.acked && !closing;
            let Some(mailbox) = actor.receivers.get_mut(sink) else { continue };
            let overrun = mailbox.push(number) && lossless && mailbox.room().is_some();
            let pace = (!std::mem::replace(&mut mailbox.draining, true)).then_some(mailbox.receiver.pace);
            // The user of a receiver that has ended drops it.
            let dropped = if mailbox.ended { actor.ledger.desired_of(*sink) } else { Vec::new() };
            for channel in dropped {
                self.plan(Duration::ZERO, Happening::Step(client, Step::Unsubscribe(channel, *sink)));
            }
            self.check(client, outcome);
            if overrun {
                self.break_law(client, Law::Room, format!("{sink:?} is full, and message {number} comes"));
            }
            if let Some(pace) = pace {
                self.plan(pace, Happening::Drain(client, *sink));
            }
        }
    }

    fn resolve(&mut self, client: usize, call: CallId, result: &CallResult) {
        let now = self.now;
        let Some(about) = self.clients[client].about.remove(&call) else { return };
        self.note(|| match result {
            Ok(_) => format!("    c{client} {about:?} is done"),
            Err(error) => format!("    c{client} {about:?} fails: {error}"),
        });
        self.failed_calls += u64::from(result.is_err());
        let outcome = self.clients[client].ledger.resolved(call, now);
        self.check(client, outcome);
        match about {
            About::Subscribe(channel, sink, desired) => {
                let ledger = &mut self.clients[client].ledger;
                match result {
                    Ok(_) => ledger.granted(sink, &channel, desired),
                    // Its own unsubscription has ended it; the end of the session is reported as such.
                    Err(CallError::NotSubscribed(_) | CallError::Closed(_)) => {}
                    Err(CallError::TooManyPending { .. }) => ledger.untried(sink, &channel, desired),
                    Err(_) => ledger.refused(sink, &channel, desired),
                }
            }
            About::Message(number, at) => {
                let config = &self.clients[client].config;
                // What lacks credentials is refused for good, after they were renewed or could not be.
                let temporary = |failure: &Failure| {
                    failure.http_status() != Some(401) && !failure.to_string().contains("no credentials")
                };
                let early = matches!(result, Err(CallError::Transport { failure, .. }) if temporary(failure))
                    && config.delivery == Delivery::AtLeastOnce
                    && now.since(at) < config.call_timeout;
                if early {
                    let what =
                        format!("message {number} was to be sent again, and is given up after one failure");
                    self.break_law(client, Law::Outcome, what);
                }
                let told = self.post.tell(number, result);
                self.check(client, told);
            }
            About::Request(number) => {
                let told = self.post.tell(number, result);
                self.check(client, told);
            }
            About::Open | About::Close | About::Unsubscribe => {}
        }
    }

    fn event(&mut self, client: usize, event: &Event) {
        self.note(|| format!("    c{client} says {}", describe(event)));
        let now = self.now;
        match event {
            Event::Connected { .. } => {
                let ledger = &mut self.clients[client].ledger;
                ledger.connected = true;
                ledger.connections += 1;
                self.check_restored(client);
            }
            Event::Lost { cause, .. } => {
                self.clients[client].ledger.connected = false;
                // A server may forget a session while a reply to it is on its way; a client may not give up a link.
                if self.is_only_slow
                    && !self.clients[client].downlink.carries_on
                    && cause.failure().is_some_and(|failure| failure.kind() == FailureKind::Timeout)
                {
                    self.break_law(client, Law::Progress, format!("lost: {cause}"));
                }
            }
            Event::Retrying { delay, failures, cause, .. } => {
                // A server that answers, if only that it has forgotten the session, ends no row of failures, but the
                // way to it works: a new session is asked for sooner.
                let failures = if matches!(cause, LostCause::SessionLost(_)) { &0 } else { failures };
                let actor = &mut self.clients[client];
                let [shortest, longest] = actor.pauses;
                let pauses = [shortest, longest.max(actor.interval)];
                let outcome = actor.ledger.retrying(*delay, *failures, pauses, actor.interval, now);
                if actor.hurried {
                    actor.ledger.hurried();
                }
                self.check(client, outcome);
            }
            Event::TransportChanged { cause: Some(_), .. } | Event::ServerChanged { .. } => {
                self.clients[client].ledger.changed_transport();
            }
            Event::GapPossible { channels, .. } => self.clients[client].ledger.gap(channels),
            Event::Resubscribed { channel, outcome, .. } => {
                let actor = &mut self.clients[client];
                actor.refused.retain(|refused| refused != channel);
                if outcome.is_err() {
                    actor.refused.push(channel.clone());
                }
            }
            Event::Closed(_) => {
                let actor = &mut self.clients[client];
                actor.ledger.closed();
                actor.refused.clear();
                for mailbox in actor.receivers.values_mut() {
                    mailbox.ended = mailbox.receiver.sink != SinkId::INBOX;
                }
            }
            _ => {}
        }
    }

    /// Whether the server has all subscriptions that the client says it has.
    fn check_restored(&mut self, client: usize) {
        let actor = &self.clients[client];
        let Some(session) = actor.ledger.session.clone() else { return };
        let claimed: Vec<Channel> = actor
            .driver
            .session()
            .subscriptions()
            .filter(|channel| !channel.is_service() && !actor.refused.contains(channel))
            .cloned()
            .collect();
        // A session that the server has ended meanwhile proves nothing.
        let Some(known) = self.servers.iter().find_map(|server| server.session(&session)) else { return };
        let missing = claimed.iter().find(|channel| !known.subscriptions.contains(*channel)).cloned();
        if let Some(channel) = missing {
            let what = format!("connected, and the server knows of no subscription to {channel}");
            self.break_law(client, Law::Restored, what);
        }
    }

    /// A response or frame comes to a client.
    pub(crate) fn receive(&mut self, client: usize, exchange: Option<ExchangeId>, body: &Bytes) {
        let Ok(messages) = self.clients[client].driver.decode(body) else {
            let broken = failure(FailureKind::Malformed);
            return match exchange {
                Some(exchange) => self.exchange_fails(client, exchange, broken),
                None => {
                    self.leave_socket(client, false);
                    self.socket_lost(client, broken);
                }
            };
        };
        self.note(|| format!("->  c{client}: {}", brief(&messages)));
        let now = self.now;
        for message in &messages {
            let actor = &mut self.clients[client];
            let granted = message.is_successful();
            let id = message.id().and_then(|id| id.number());
            match message.channel().as_str() {
                Channel::CONNECT => {
                    actor.ledger.connect_answered(id, granted, now);
                }
                Channel::HANDSHAKE if granted && actor.handshake == id && id.is_some() => {
                    actor.handshake = None;
                    if let Some(id) = &message.fields().client_id {
                        // The session of before is of no use any more; what it was owed is told below.
                        let acked =
                            message.ext_value("ack").is_some_and(|ack| ack != serde_json::json!(false));
                        actor.ledger.session_begins(id.clone(), acked && actor.config.ack);
                        actor.refused.clear();
                    }
                }
                _ => actor.ledger.moved(now),
            }
            if message.fields().error.as_ref().is_some_and(|error| error.code() == Some(402)) {
                // The way to the server works, and a new session may be asked for at once.
                actor.ledger.answered();
            }
        }
        if exchange.is_some() && self.clients[client].connect_exchange == exchange {
            self.clients[client].ledger.connect_gone();
        }
        self.at_client(client, Input::Received { exchange, messages });
    }

    pub(crate) fn exchange_fails(
        &mut self,
        client: usize,
        exchange: ExchangeId,
        failure: bayeux_proto::client::Failure,
    ) {
        self.note(|| format!("->  c{client}: {exchange:?} failed: {:?}", failure.kind()));
        if self.clients[client].connect_exchange == Some(exchange) {
            self.clients[client].ledger.connect_gone();
        }
        self.at_client(client, Input::ExchangeFailed(exchange, failure));
    }

    pub(crate) fn socket_lost(&mut self, client: usize, failure: bayeux_proto::client::Failure) {
        self.note(|| format!("->  c{client}: socket lost: {:?}", failure.kind()));
        self.clients[client].ledger.connect_gone();
        self.at_client(client, Input::TransportLost(failure));
    }

    /// A user does something.
    pub(crate) fn act(&mut self, client: usize, step: Step) {
        if matches!(step, Step::Open | Step::Subscribe(..) | Step::Batch(_)) {
            // What these mean depends on what has come before.
            self.client_turn(client);
        }
        self.note(|| format!("==  c{client} user: {step:?}"));
        if let Step::Reconnect = step {
            self.clients[client].ledger.hurried();
            self.clients[client].ledger.connect_gone();
            return self.at_client(client, Input::Reconnect);
        }
        if let Step::Batch(steps) = step {
            let mut calls = Vec::new();
            for step in steps {
                if let Step::Unsubscribe(channel, sink) = &step
                    && !matches!(
                        self.clients[client].driver.session().state(),
                        State::Disconnected | State::Disconnecting
                    )
                {
                    self.clients[client].ledger.unwanted(*sink, channel);
                }
                calls.extend(self.call(client, step));
            }
            return self.at_client(client, Input::Batch(calls));
        }
        let unwanted = match &step {
            Step::Unsubscribe(channel, sink) => Some((*sink, channel.clone())),
            _ => None,
        };
        if let Some((call, operation)) = self.call(client, step) {
            self.queue(client, Queued { input: Input::Call(call, operation), unwanted });
        }
    }

    fn call(&mut self, client: usize, step: Step) -> Option<(CallId, Operation)> {
        let now = self.now;
        let config = self.clients[client].config.clone();
        let patience = config.call_timeout + config.request_timeout + GRACE + self.slack;
        let (about, operation, patience) = match step {
            Step::Open => {
                let patience = config.open_timeout.map(|span| span + GRACE);
                self.clients[client].wants_open = true;
                self.clients[client].ledger.hurried();
                for mailbox in self.clients[client].receivers.values_mut() {
                    mailbox.ended = false;
                }
                (About::Open, Operation::Open, patience)
            }
            Step::Close => {
                self.clients[client].wants_open = false;
                (About::Close, Operation::Close, Some(config.close_timeout + GRACE))
            }
            Step::Subscribe(channel, sink) => {
                self.attach(client, sink);
                let desired = self.clients[client].ledger.wants(sink, &channel);
                let about = About::Subscribe(channel.clone(), sink, desired);
                (about, Operation::Subscribe { channel, sink }, Some(patience))
            }
            Step::Unsubscribe(channel, sink) => {
                (About::Unsubscribe, Operation::Unsubscribe { channel, sink }, Some(patience))
            }
            Step::Publish(channel, filling) => {
                let repeatable = config.delivery == Delivery::AtLeastOnce;
                let number = self.post.write(client, repeatable);
                let data = payload(number, filling);
                (About::Message(number, now), Operation::Publish { channel, data }, Some(patience))
            }
            Step::Request(channel, timeout) => {
                let number = self.post.write(client, false);
                let data = payload(number, 0);
                let patience = timeout.map_or(patience, |timeout| timeout + GRACE);
                (About::Request(number), Operation::Request { channel, data, timeout }, Some(patience))
            }
            Step::Batch(_) | Step::Reconnect => return None,
        };
        self.calls += 1;
        let actor = &mut self.clients[client];
        let call = actor.driver.new_call();
        let by = patience.map(|patience| now + patience);
        actor.ledger.called(call, name_of(&about), by);
        actor.about.insert(call, about);
        Some((call, operation))
    }

    /// A receiver comes, or comes back.
    fn attach(&mut self, client: usize, sink: SinkId) {
        if let Some(mailbox) = self.clients[client].receivers.get_mut(&sink)
            && std::mem::take(&mut mailbox.ended)
        {
            mailbox.items.clear();
        }
        self.grant_credit(client, sink);
    }
}

fn name_of(about: &About) -> &'static str {
    match about {
        About::Open => "opening",
        About::Close => "closing",
        About::Subscribe(..) => "subscribing",
        About::Unsubscribe => "unsubscribing",
        About::Message(..) => "publishing",
        About::Request(_) => "a request",
    }
}

fn describe(event: &Event) -> String {
    match event {
        Event::Connected { transport, .. } => format!("Connected over {transport}"),
        Event::Lost { cause, .. } => format!("Lost: {cause}"),
        Event::Retrying { delay, failures, cause, .. } => {
            format!("Retrying after {delay:?}, failures: {failures}: {cause}")
        }
        Event::GapPossible { channels, .. } => format!("GapPossible on {channels:?}"),
        Event::Resubscribed { channel, outcome, .. } => {
            format!("Resubscribed {channel}: {}", if outcome.is_ok() { "granted" } else { "refused" })
        }
        Event::TransportChanged { from, to, .. } => format!("TransportChanged from {from} to {to}"),
        Event::Closed(reason) => format!("Closed: {reason}"),
        Event::AdviceChanged(_) => "AdviceChanged".to_owned(),
        other => format!("{other:?}"),
    }
}
