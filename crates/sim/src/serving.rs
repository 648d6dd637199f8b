//! The servers' shells: they hand their engines what comes, carry out what these want, and keep the books of what was promised
//! to whom.

use std::time::Duration;

use bayeux_proto::server::{Input, LinkId, LinkKind, Output};
use bayeux_proto::{Channel, ClientId};
use bytes::Bytes;

use crate::law::Law;
use crate::server::Deed;
use crate::trace::brief;
use crate::world::{Happening, World, number_of};

/// How long a server may be busy, so that a burst comes meanwhile.
const BUSY: Duration = Duration::from_millis(3);

/// A message that a server took.
struct Taken {
    number: u32,
    sender: usize,
    /// The sessions that it reaches, each with the subscriptions by which it does.
    reached: Vec<(ClientId, Vec<Channel>)>,
}

impl World {
    /// Messages of a client come to a server.
    pub(crate) fn serve(&mut self, client: usize, server: usize, link: LinkId, kind: LinkKind, body: &Bytes) {
        let Some(engine) = &mut self.servers[server].engine else { return };
        let Ok(messages) = engine.decode(body) else { return };
        self.note(|| format!("->  s{server}, of c{client}: {}", brief(&messages)));
        self.at_server(server, Input::Received { link, kind, messages });
    }

    /// Something comes to a server, which handles it now, or with what comes next.
    pub(crate) fn at_server(&mut self, server: usize, input: Input) {
        self.servers[server].inputs.push(input);
        if self.servers[server].busy {
            return;
        }
        if self.is_busy() {
            self.servers[server].busy = true;
            let span = self.chance.up_to(BUSY);
            return self.plan(span, Happening::ServerTurn(server));
        }
        self.server_turn(server);
    }

    /// A link is gone, or a response was written.
    pub(crate) fn link_closed(&mut self, server: usize, link: LinkId) {
        if !self.cookies || self.servers[server].open.remove(&link) {
            self.at_server(server, Input::LinkClosed(link));
        }
    }

    /// A server handles what has come, and then carries out what its engine wants.
    pub(crate) fn server_turn(&mut self, server: usize) {
        let now = self.now;
        let it = &mut self.servers[server];
        it.busy = false;
        let inputs = std::mem::take(&mut it.inputs);
        let Some(engine) = &mut it.engine else { return };
        engine.set_now(now);
        inputs.into_iter().for_each(|input| engine.pass(input));
        let outputs: Vec<Output> = std::iter::from_fn(|| engine.poll()).collect();
        let breach = engine.breach().map(str::to_owned);
        let taken = self.enter(server);
        outputs.into_iter().for_each(|output| self.serve_output(server, output));
        self.owe(server, taken);
        if let Some(breach) = breach {
            self.break_law(0, Law::Contract, format!("server {server}: {breach}"));
        }
        self.settle(server);
    }

    fn serve_output(&mut self, server: usize, output: Output) {
        match output {
            Output::Respond { link, messages, browser } => {
                self.note(|| format!("<-  s{server} to {link:?}: {} bytes", messages.len()));
                if let Some(exchange) = self.exchanges.get_mut(&link) {
                    exchange.sets = browser;
                }
                let written = self.respond(link, messages);
                let epoch = self.servers[server].epoch;
                if self.cookies {
                    self.plan(written, Happening::Written(server, epoch, link));
                }
            }
            Output::Push { link, messages } => {
                self.note(|| format!("<-  s{server} over {link:?}: {} bytes", messages.len()));
                self.frame_down(link, messages);
            }
            Output::Reject { link, status, reason } => {
                self.note(|| format!("    s{server} rejects {link:?}: {status} {reason}"));
                if self.sockets.contains_key(&link) {
                    self.close_from_server(link, 1008);
                } else {
                    self.reject(link, status);
                    self.servers[server].open.remove(&link);
                }
            }
            Output::Close { link, code, reason } => {
                self.note(|| format!("    s{server} closes {link:?}: {code} {reason}"));
                self.close_from_server(link, code);
            }
            Output::Service(call) => {
                let number = number_of(&call.data).unwrap_or(u32::MAX);
                if self.chance.chance(self.service_answers) {
                    let after = self.chance.up_to(Duration::from_secs(2));
                    self.plan(after, Happening::Answer(server, call.token, call.data, number));
                }
            }
            Output::Subscribed(session, channel) => {
                if let Some(known) = self.servers[server].session_mut(&session) {
                    known.subscriptions.insert(channel);
                }
            }
            Output::Unsubscribed(session, channel) => {
                if let Some(known) = self.servers[server].session_mut(&session) {
                    known.subscriptions.remove(&channel);
                }
            }
            Output::Removed(session, because) => {
                self.note(|| format!("    s{server} ends session {session:?}: {because:?}"));
                self.servers[server].end(&session);
            }
            Output::Dropped(session, count) => {
                self.note(|| format!("    s{server} drops {count} messages of {session:?}"));
                if let Some(owner) = self.servers[server].session(&session).map(|known| known.owner)
                    && self.clients[owner].ledger.session.as_ref() == Some(&session)
                {
                    self.clients[owner].ledger.excuse(count);
                }
            }
            Output::WrongBrowser(link) => {
                self.note(|| format!("    s{server} misses the cookie of a session on {link:?}"));
            }
            _ => {}
        }
    }

    /// Enters into the books what a server did: the sessions that it granted, and the messages that it took. To whom it owes
    /// these by the subscriptions that it had before.
    fn enter(&mut self, server: usize) -> Vec<Taken> {
        let mut all = Vec::new();
        for deed in self.servers[server].take_done() {
            match deed {
                Deed::Began(session, owner) => self.servers[server].begin(session, owner),
                Deed::Took(session, channel, number) => {
                    let it = &self.servers[server];
                    let sender = it.session(&session).map_or(0, |known| known.owner);
                    if channel.is_broadcast() {
                        let reached = it.reached(&channel).map(|known| {
                            let matching = known.subscriptions.iter().filter(|name| name.matches(&channel));
                            (known.id.clone(), matching.cloned().collect())
                        });
                        all.push(Taken { number, sender, reached: reached.collect() });
                    }
                    let taken = self.post.take(number);
                    self.check(sender, taken);
                }
            }
        }
        all
    }

    /// Owes messages to those whose subscription was there before and after the turn in which the messages were taken: in
    /// which order the engine did all that, the books cannot tell.
    fn owe(&mut self, server: usize, taken: Vec<Taken>) {
        for Taken { number, sender, reached } in taken {
            for (session, mut by) in reached {
                let Some(known) = self.servers[server].session(&session) else { continue };
                by.retain(|name| known.subscriptions.contains(name));
                self.clients[known.owner].ledger.owe(number, sender, &session, &by, self.now);
            }
        }
    }

    /// Sets a server's timer. What its engine has left to do at once is done soon, so that something may come before.
    fn settle(&mut self, server: usize) {
        let Some(engine) = &self.servers[server].engine else { return };
        let Some(at) = engine.wakes_at() else { return };
        let slice = engine.engine().has_work();
        if slice {
            self.trace.line(self.now, || format!("    s{server} has more to do at once"));
        }
        let at = if slice { self.now + self.chance.up_to(BUSY) } else { at.max(self.now) };
        if self.servers[server].timer.is_none_or(|set| at < set) {
            self.servers[server].timer = Some(at);
            self.future.plan(at, Happening::ServerTimer(server, at));
        }
    }
}
