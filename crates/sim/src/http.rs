//! Long-polling: each batch a request, its response the answer, each of them at the mercy of the network.

use std::time::Duration;

use bayeux_proto::client::{ExchangeId, FailureKind};
use bayeux_proto::server::{Input, LinkId};
use bytes::Bytes;

use crate::fault::{Fate, Leg};
use crate::world::{Exchange, Happening, Outcome, World, failure};

/// How long it takes the server to notice that a client which is cut off is gone.
const NOTICE: Duration = Duration::from_secs(60);
/// The pause between the parts of a body that trickles in.
const TRICKLE: Duration = Duration::from_secs(3);

impl World {
    /// A client sends a request; whether middleboxes may repeat it.
    pub(crate) fn post(
        &mut self,
        client: usize,
        id: ExchangeId,
        address: usize,
        body: &Bytes,
        repeatable: bool,
    ) {
        let link = self.new_exchange(client, id, address, repeatable);
        self.clients[client].exchanges.insert(id, link);
        let latency = self.chance.latency();
        let patience = self.clients[client].config.connect_timeout;
        if !self.cut_off(client).is_zero() {
            // A connection that stood waits for the network; a new one is given up by the connector.
            let cut_off = self.cut_off(client);
            match self.chance.random.u8(..3) {
                0 => self.plan(cut_off + latency, Happening::Request(link, body.clone())),
                1 => {}
                _ => self.fail(link, FailureKind::Unreachable, patience),
            }
            return;
        }
        match self.fate(Leg::Request { repeatable }, client) {
            Fate::Late => {
                let late = self.lateness();
                self.plan(latency + late, Happening::Request(link, body.clone()));
            }
            Fate::Vanish => {}
            Fate::Break => self.fail(link, FailureKind::Lost, latency * 2),
            Fate::Unreachable => self.fail(link, FailureKind::Unreachable, latency),
            Fate::Twice => {
                self.plan(latency, Happening::Request(link, body.clone()));
                let second = self.new_exchange(client, id, address, repeatable);
                let later = self.chance.latency();
                self.plan(latency + later, Happening::Request(second, body.clone()));
            }
            _ => self.plan(latency, Happening::Request(link, body.clone())),
        }
    }

    fn new_exchange(&mut self, client: usize, id: ExchangeId, address: usize, repeatable: bool) -> LinkId {
        let link = self.new_link();
        let server = self.balance(client, address);
        let epoch = self.is_up(server).then_some(self.servers[server].epoch);
        let browser = self.clients[client].jar(address).browser.clone();
        let exchange = Exchange {
            client,
            id,
            address,
            server,
            epoch,
            browser,
            token: self.clients[client].token,
            sets: None,
            held: false,
            given_up: false,
            repeatable,
        };
        self.exchanges.insert(link, exchange);
        link
    }

    fn fail(&mut self, link: LinkId, kind: FailureKind, after: Duration) {
        self.plan(after, Happening::Response(link, Outcome::Failed(failure(kind))));
    }

    /// The client waits no more.
    pub(crate) fn give_up(&mut self, client: usize, id: ExchangeId) {
        if let Some(link) = self.clients[client].exchanges.remove(&id)
            && let Some(exchange) = self.exchanges.get_mut(&link)
        {
            exchange.given_up = true;
            let latency = self.chance.latency();
            let notice = if self.cut_off(client).is_zero() { latency } else { NOTICE };
            self.plan(notice, Happening::Gone(link));
        }
    }

    /// A request comes to where its server is, or was. Whether the server is to have it.
    pub(crate) fn request_arrives(&mut self, link: LinkId) -> bool {
        let Some(exchange) = self.exchanges.get(&link) else { return false };
        let Exchange { client, epoch, server, token, .. } = *exchange;
        if epoch != Some(self.servers[server].epoch) || !self.is_up(server) {
            // The connection was to another server, or to none.
            let kind = if epoch.is_none() { FailureKind::Unreachable } else { FailureKind::Lost };
            let latency = self.chance.latency();
            self.fail(link, kind, latency);
            return false;
        }
        // What a server does for a request that its client has given up may undo what the client asked for later, and
        // without acknowledgements its answer takes events with it. No client can prevent either, or know. A connection
        // that was given up seldom carries a request so late; here it never does, but for what changes nothing.
        if exchange.given_up && !(exchange.repeatable && self.clients[client].ledger.acked) {
            return false;
        }
        if self.is_unauthorized(token) {
            self.note(|| format!("    the gateway refuses the token of c{client}"));
            self.faults.count("token refused by the gateway");
            self.reject(link, 401);
            return false;
        }
        if let Some(exchange) = self.exchanges.get_mut(&link) {
            exchange.held = true;
            if self.cookies {
                let browser = exchange.browser.clone();
                self.servers[server].open.insert(link);
                self.at_server(
                    server,
                    Input::LinkOpened { link, browser, multiplexed: false, socket_cookie: None },
                );
            }
        }
        true
    }

    /// The server answers. How long it takes until it has written the response.
    pub(crate) fn respond(&mut self, link: LinkId, body: Bytes) -> Duration {
        let Some(exchange) = self.exchanges.get_mut(&link) else { return Duration::ZERO };
        exchange.held = false;
        let client = exchange.client;
        let latency = self.chance.latency();
        let cut_off = self.cut_off(client);
        if !cut_off.is_zero() {
            if self.chance.chance(0.5) {
                self.plan(cut_off + latency, Happening::Response(link, Outcome::Body(body)));
            }
            return NOTICE.min(cut_off + latency);
        }
        let whole = |body| Happening::Response(link, Outcome::Body(body));
        match self.fate(Leg::Response, client) {
            Fate::Late => {
                let late = self.lateness();
                self.plan(latency + late, whole(body));
            }
            Fate::Vanish => return NOTICE,
            Fate::Break => self.fail(link, FailureKind::Lost, latency),
            Fate::CutBody => {
                self.plan(latency, Happening::Response(link, Outcome::Part));
                self.fail(link, FailureKind::Lost, latency + TRICKLE);
            }
            Fate::Status(status) => self.fail(link, FailureKind::Http { status }, latency),
            Fate::Garbage => self.plan(latency, whole(body.slice(..body.len() / 2))),
            Fate::Trickle => {
                for part in 1..=4 {
                    self.plan(latency + TRICKLE * part, Happening::Response(link, Outcome::Part));
                }
                self.plan(latency + TRICKLE * 5, whole(body));
            }
            _ => {
                let (parts, end) = self.transfer(client, body.len(), latency);
                for part in parts {
                    self.plan(part, Happening::Response(link, Outcome::Part));
                }
                self.plan(end, whole(body));
                return end;
            }
        }
        latency
    }

    /// The server, or a gateway in front of it, refuses a request.
    pub(crate) fn reject(&mut self, link: LinkId, status: u16) {
        if let Some(exchange) = self.exchanges.get_mut(&link) {
            exchange.held = false;
            let latency = self.chance.latency();
            self.fail(link, FailureKind::Http { status }, latency);
        }
    }

    /// Something of a response comes to the client. The exchange, if the client still waits for it.
    pub(crate) fn response_arrives(&mut self, link: LinkId, is_last: bool) -> Option<(usize, ExchangeId)> {
        let exchange = self.exchanges.get(&link)?;
        let Exchange { client, id, address, server, ref sets, .. } = *exchange;
        self.clients[client].set_cookies(address, server, sets.clone());
        let waits = self.clients[client].exchanges.contains_key(&id);
        if is_last {
            self.exchanges.remove(&link);
            self.clients[client].exchanges.remove(&id);
        }
        waits.then_some((client, id))
    }

    /// A server is down, and with it all that it had not answered.
    pub(crate) fn drop_exchanges(&mut self, server: usize) {
        let held = |exchange: &Exchange| exchange.held && exchange.server == server;
        let held: Vec<LinkId> =
            self.exchanges.iter().filter(|(_, exchange)| held(exchange)).map(|(link, _)| *link).collect();
        for link in held {
            let latency = self.chance.latency();
            let client = self.exchanges[&link].client;
            // Who is cut off hears nothing of it.
            if self.cut_off(client).is_zero() {
                self.fail(link, FailureKind::Lost, latency);
            }
        }
    }
}
