//! A lifetime: one thing after the other until the plan is done, then the proof that all is well.

use std::time::Duration;

use bayeux_proto::Time;
use bayeux_proto::client::{Input, SinkId, State};
use bayeux_proto::server::{self, LinkId, LinkKind};

use crate::fault::Fault;
use crate::law::{Law, Violation};
use crate::report::Report;
use crate::scenario::{Scenario, Step};
use crate::trace::Trace;
use crate::world::{Exchange, Happening, Outcome, Socket, World};

/// More than that in one lifetime is a loop.
const MOST_HAPPENINGS: u64 = 100_000_000;
/// Within that, the network of an exhaustive search may change the order of what arrives.
const REORDERED: Duration = Duration::from_millis(100);
/// How long a server that shuts down goes on sending.
const SENDS_ON: Duration = Duration::from_millis(500);

/// How things stand in a world.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// The virtual time.
    pub at: Duration,
    /// How many clients are connected.
    pub connected: usize,
    /// How many sessions the server has.
    pub sessions: usize,
    /// How many calls wait for an answer, in all clients.
    pub calls: usize,
    /// How many messages wait in receivers' queues.
    pub waiting: usize,
    /// How many requests are on their way or held.
    pub exchanges: usize,
    /// How many sockets there are, those among them that one end has not missed yet.
    pub sockets: usize,
    /// How many things are planned to happen.
    pub planned: usize,
    /// How many messages were delivered so far.
    pub delivered: u64,
    /// How many bytes the proof's own books take, about: they grow with each message, and nothing else may.
    pub books: usize,
}

/// A law that was broken, and what led to it.
pub(crate) struct Ended(pub(crate) Violation, pub(crate) Trace);

impl World {
    /// Lives through the plan of a scenario, then waits until all clients have recovered, sends a last message on every
    /// channel, closes all clients, and looks whether anything is left.
    pub(crate) fn live(
        mut self,
        scenario: &Scenario,
        watch_every: Duration,
        mut watch: impl FnMut(Snapshot),
    ) -> Result<(Report, World), Box<Ended>> {
        self.be_moody(true);
        (0..self.servers.len()).for_each(|server| self.come_up(server));
        let healed = Time::from_origin(scenario.heals_at());
        let mut next = Time::ZERO + watch_every;
        while !watch_every.is_zero() && next < healed {
            self.run_until(next)?;
            watch(self.snapshot());
            next = next + watch_every;
        }
        self.run_until(healed)?;
        self.note(|| "==  the network is whole".to_owned());
        self.be_moody(false);
        if let Some(gate) = &self.gate {
            // From now on all tokens that are given are valid for ever.
            gate.revoke();
        }

        let bound = scenario.recovery_bound();
        self.run_until(healed + bound)?;
        self.recovered(bound);
        // A client that has ended by itself is opened again by its user.
        for client in 0..self.clients.len() {
            if self.clients[client].wants_open
                && self.clients[client].driver.session().state() == State::Disconnected
            {
                self.act(client, Step::Open);
            }
        }
        let opened = healed + bound + Duration::from_secs(40);
        self.run_until(opened)?;
        self.all_connected();
        self.last_messages(scenario);
        let paid = opened + Duration::from_secs(60);
        self.run_until(paid)?;
        self.all_connected();
        self.all_paid();

        for client in 0..self.clients.len() {
            self.act(client, Step::Close);
        }
        let closed = paid + Duration::from_secs(60);
        self.run_until(closed)?;
        self.nothing_left_at_clients();
        let expired = scenario.server.timeout + scenario.server.interval + scenario.server.max_interval;
        self.run_until(closed + expired + Duration::from_secs(120))?;
        self.nothing_left_at_server();
        if let Err((client, wrong)) = self.post.order() {
            self.check(client, Err(wrong));
        }
        self.end()?;
        Ok((self.report(), self))
    }

    fn end(&mut self) -> Result<(), Box<Ended>> {
        match self.violation.take() {
            Some(violation) => Err(Box::new(Ended(violation, std::mem::take(&mut self.trace)))),
            None => Ok(()),
        }
    }

    fn run_until(&mut self, until: Time) -> Result<(), Box<Ended>> {
        let mut count = 0;
        while self.future.next_at().is_some_and(|at| at <= until) {
            if let Some((at, happening)) = self.next() {
                self.set_now(at);
                self.happen(happening);
            }
            self.end()?;
            count += 1;
            if count > MOST_HAPPENINGS {
                self.break_law(0, Law::Backoff, format!("{count} things happened until {until:?}"));
            }
        }
        self.set_now(until);
        for client in 0..self.clients.len() {
            let overdue = self.clients[client].ledger.overdue(self.now);
            self.check(client, overdue);
        }
        self.end()
    }

    /// What happens next: what comes first, or whatever a search lets the network bring first.
    fn next(&mut self) -> Option<(Time, Happening)> {
        if !self.chance.is_search() {
            return self.future.pop();
        }
        let first = self.future.next_at()?;
        let mut ways: Vec<(LinkId, (Time, u64))> = Vec::new();
        for (key, happening) in self.future.upcoming(first + REORDERED) {
            let link = match happening {
                Happening::Request(link, _)
                | Happening::Response(link, _)
                | Happening::FrameUp(link, _)
                | Happening::FrameDown(link, _) => *link,
                _ => break,
            };
            // What goes one way keeps its order.
            if ways.iter().all(|(other, _)| *other != link) {
                ways.push((link, key));
            }
        }
        if ways.len() < 2 {
            return self.future.pop();
        }
        let chosen = self.chance.order(ways.len());
        let key = ways.get(chosen).map_or(ways[0].1, |(_, key)| *key);
        self.future.take(key).map(|happening| (key.0, happening))
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::ClientTimer(client, at) => {
                if self.clients[client].timer == Some(at) {
                    self.clients[client].timer = None;
                    self.at_client(client, Input::Timeout);
                }
            }
            Happening::ServerTimer(server, at) => {
                if self.servers[server].timer == Some(at) {
                    self.servers[server].timer = None;
                    self.at_server(server, server::Input::Timeout);
                }
            }
            Happening::ClientTurn(client) => self.client_turn(client),
            Happening::ServerTurn(server) => self.server_turn(server),
            Happening::Step(client, step) => self.act(client, step),
            Happening::Again(client, again) => {
                self.act(client, again.step.clone());
                if (self.now + again.pause).since_origin() <= again.until {
                    self.plan(again.pause, Happening::Again(client, again));
                }
            }
            Happening::Drain(client, sink) => self.drain(client, sink),
            Happening::Fault(fault) => self.fault(fault),
            Happening::Up(server) => self.come_up(server),
            Happening::Down(server) => self.go_down(server),
            Happening::Written(server, epoch, link) => {
                if self.servers[server].epoch == epoch && self.is_up(server) {
                    self.link_closed(server, link);
                }
            }
            Happening::Credentials(client, question) => self.answer_question(client, question),
            Happening::Request(link, body) => {
                if self.request_arrives(link)
                    && let Some(Exchange { client, server, .. }) = self.exchanges.get(&link)
                {
                    self.serve(*client, *server, link, LinkKind::Http, &body);
                }
            }
            Happening::Response(link, outcome) => self.response(link, outcome),
            Happening::Gone(link) => self.gone(link),
            Happening::Upgraded(link, failed) => match (self.owner_of(link), failed) {
                (None, _) => {}
                (Some(_), None) => self.socket_opens(link),
                (Some(client), Some(failure)) => self.lose(client, link, failure),
            },
            Happening::FrameUp(link, body) => {
                if self.finds_server(link)
                    && let Some(Socket { client, server, .. }) = self.sockets.get(&link)
                {
                    self.serve(*client, *server, link, LinkKind::WebSocket, &body);
                }
            }
            Happening::FrameDown(link, body) => {
                if let Some(client) = self.owner_of(link) {
                    self.receive(client, None, &body);
                }
            }
            Happening::Arriving(link) => {
                if let Some(client) = self.owner_of(link) {
                    self.at_client(client, Input::Arriving);
                }
            }
            Happening::Pong(link) => {
                if let Some(client) = self.owner_of(link) {
                    self.note(|| format!("->  c{client}: pong"));
                    self.at_client(client, Input::Alive);
                }
            }
            Happening::Lost(link, failure) => {
                if let Some(client) = self.owner_of(link) {
                    self.lose(client, link, failure);
                }
            }
            Happening::Answer(server, token, data, number) => {
                self.note(|| format!("    s{server} answers request {number}"));
                self.at_server(server, server::Input::Answer { token, answer: Ok(data) });
            }
        }
    }

    fn response(&mut self, link: LinkId, outcome: Outcome) {
        let is_last = !matches!(outcome, Outcome::Part);
        let Some((client, exchange)) = self.response_arrives(link, is_last) else { return };
        match outcome {
            Outcome::Part => self.at_client(client, Input::Progress(exchange)),
            Outcome::Body(body) => self.receive(client, Some(exchange), &body),
            Outcome::Failed(failure) => self.exchange_fails(client, exchange, failure),
        }
    }

    fn lose(&mut self, client: usize, link: LinkId, failure: bayeux_proto::client::Failure) {
        self.clients[client].socket = None;
        if let Some(socket) = self.sockets.get_mut(&link) {
            socket.left = true;
            if socket.closed || !socket.open {
                self.sockets.remove(&link);
            }
        }
        self.socket_lost(client, failure);
    }

    /// The server notices that a request or a socket is gone.
    fn gone(&mut self, link: LinkId) {
        let exchange = self.exchanges.remove(&link).map(|exchange| (exchange.server, exchange.epoch));
        let found = match self.sockets.get_mut(&link) {
            Some(socket) => {
                socket.closed = true;
                let of = (socket.server, Some(socket.epoch));
                if socket.left {
                    self.sockets.remove(&link);
                }
                Some(of)
            }
            None => exchange,
        };
        if let Some((server, epoch)) = found
            && epoch == Some(self.servers[server].epoch)
            && self.is_up(server)
        {
            self.link_closed(server, link);
        }
    }

    fn drain(&mut self, client: usize, sink: SinkId) {
        let Some(mailbox) = self.clients[client].receivers.get_mut(&sink) else { return };
        mailbox.items.pop_front();
        mailbox.draining = !mailbox.items.is_empty();
        let (again, pace) = (mailbox.draining, mailbox.receiver.pace);
        // As the real queue: it tells when it is half empty, and when it is empty.
        let credit_freed = mailbox.items.is_empty() || mailbox.items.len() * 2 <= mailbox.receiver.capacity;
        if again {
            self.plan(pace, Happening::Drain(client, sink));
        }
        if credit_freed {
            self.grant_credit(client, sink);
        }
    }

    fn fault(&mut self, fault: Fault) {
        self.note(|| format!("!!  {fault:?}"));
        let until = self.now + fault.span();
        let socket_of =
            |world: &Self, client: usize| world.clients.get(client).and_then(|client| client.socket);
        match fault {
            Fault::CutSocket { client } => {
                let Some(link) = socket_of(self, client) else { return };
                self.break_socket(link);
            }
            Fault::StallSocket { client } => {
                let Some(link) = socket_of(self, client) else { return };
                self.stall(link);
            }
            Fault::Partition { client, .. } => {
                let Some(client) = self.clients.get_mut(client) else { return };
                client.cut_off_until = client.cut_off_until.max(until);
            }
            Fault::RefuseUpgrades { client, status, .. } => {
                let Some(client) = self.clients.get_mut(client) else { return };
                client.upgrades_refused = (until, status);
            }
            Fault::SwallowFrames { client, .. } => {
                let Some(client) = self.clients.get_mut(client) else { return };
                client.frames_swallowed_until = until;
            }
            Fault::SlowLink { client, bytes_per_second, .. } => {
                let Some(client) = self.clients.get_mut(client) else { return };
                client.downlink.slow_down(bytes_per_second, until);
            }
            Fault::Restart { server, down } => {
                if !self.is_up(server) {
                    return;
                }
                self.go_down(server);
                self.plan(down, Happening::Up(server));
            }
            Fault::Shutdown { server, down } => {
                if !self.is_up(server) {
                    return;
                }
                self.at_server(server, server::Input::Shutdown);
                self.plan(SENDS_ON.min(down), Happening::Down(server));
                self.plan(down.max(SENDS_ON), Happening::Up(server));
            }
        }
        self.faults.count(fault.name());
    }

    fn be_moody(&mut self, moody: bool) {
        for server in &self.servers {
            server.moody.store(moody, std::sync::atomic::Ordering::Relaxed);
        }
    }

    fn come_up(&mut self, server: usize) {
        if !self.is_up(server) {
            self.note(|| format!("    s{server} is up"));
            let seed = self.chance.random.u64(..);
            self.servers[server].start(self.refusals, seed, self.now);
        }
    }

    fn go_down(&mut self, server: usize) {
        if self.is_up(server) {
            self.note(|| format!("    s{server} is down"));
            self.servers[server].crash();
            self.drop_exchanges(server);
            self.break_sockets(server);
        }
    }

    fn recovered(&mut self, bound: Duration) {
        for client in 0..self.clients.len() {
            let actor = &self.clients[client];
            let state = actor.driver.session().state();
            if actor.wants_open && !matches!(state, State::Connected | State::Disconnected) {
                let what = format!("{state:?}, {bound:?} after the last fault");
                self.break_law(client, Law::Recovery, what);
            }
        }
    }

    fn all_connected(&mut self) {
        for client in 0..self.clients.len() {
            let actor = &self.clients[client];
            let state = actor.driver.session().state();
            if actor.wants_open && !(state == State::Connected && actor.ledger.connected) {
                self.break_law(client, Law::Recovery, format!("{state:?}, and nothing is wrong"));
            }
        }
    }

    /// A message on every channel that is published to, so that whatever hides behind the last fault comes out.
    fn last_messages(&mut self, scenario: &Scenario) {
        let Some(client) = self.clients.iter().position(|client| client.wants_open) else { return };
        let mut channels = std::collections::BTreeSet::new();
        for actor in &scenario.clients {
            let steps = actor.steps.iter().map(|(_, step)| step);
            for step in steps.chain(actor.repeated.iter().map(|again| &again.step)) {
                collect_channels(step, &mut channels);
            }
        }
        for channel in channels {
            self.act(client, Step::Publish(channel, 0));
        }
    }

    fn all_paid(&mut self) {
        for client in 0..self.clients.len() {
            let unpaid = self.clients[client].ledger.unpaid();
            self.check(client, unpaid);
        }
    }

    fn nothing_left_at_clients(&mut self) {
        for client in 0..self.clients.len() {
            let actor = &self.clients[client];
            let (pending, waiting) = (actor.driver.session().pending(), actor.ledger.waiting());
            let (state, timer) = (actor.driver.session().state(), actor.driver.wakes_at());
            if pending > 0 || waiting > 0 || state != State::Disconnected || timer.is_some() {
                let what = format!("closed: {state:?}, {pending} requests, {waiting} calls, timer {timer:?}");
                self.break_law(client, Law::Leak, what);
            }
        }
    }

    fn nothing_left_at_server(&mut self) {
        for server in 0..self.servers.len() {
            let Some(driver) = &self.servers[server].engine else { continue };
            let (sessions, timer) = (driver.engine().sessions(), driver.wakes_at());
            if sessions > 0 || timer.is_some() {
                let what = format!("server {server} has {sessions} sessions, timer {timer:?}");
                self.break_law(0, Law::Leak, what);
            }
        }
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            at: self.now.since_origin(),
            connected: self
                .clients
                .iter()
                .filter(|client| client.driver.session().state() == State::Connected)
                .count(),
            sessions: self
                .servers
                .iter()
                .flat_map(|server| &server.engine)
                .map(|it| it.engine().sessions())
                .sum(),
            calls: self.clients.iter().map(|client| client.driver.session().pending()).sum(),
            waiting: self
                .clients
                .iter()
                .flat_map(|client| client.receivers.values().map(|mailbox| mailbox.items.len()))
                .sum(),
            exchanges: self.exchanges.len(),
            sockets: self.sockets.len(),
            planned: self.future.len(),
            delivered: self.delivered,
            books: self.post.bytes() + self.clients.iter().map(|client| client.ledger.bytes()).sum::<usize>(),
        }
    }

    fn report(&mut self) -> Report {
        let (published, doubled) = self.post.totals();
        Report {
            lifetimes: 1,
            virtual_time: self.now.since_origin(),
            faults: std::mem::take(&mut self.faults),
            calls: self.calls,
            failed_calls: self.failed_calls,
            published,
            delivered: self.delivered,
            missed: self.clients.iter().map(|client| client.ledger.missed).sum(),
            doubled,
            sessions: self.servers.iter().map(|server| server.granted).sum(),
            connections: self.clients.iter().map(|client| client.ledger.connections).sum(),
        }
    }
}

fn collect_channels(step: &Step, channels: &mut std::collections::BTreeSet<bayeux_proto::Channel>) {
    match step {
        Step::Publish(channel, _) if channel.is_broadcast() => {
            channels.insert(channel.clone());
        }
        Step::Batch(steps) => steps.iter().for_each(|step| collect_channels(step, channels)),
        _ => {}
    }
}
