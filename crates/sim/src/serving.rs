//! The server's shell: it hands the engine what comes, does what the engine says, and keeps the books of what was
//! promised to whom.

use std::time::Duration;

use bayeux_proto::server::{Input, LinkId, LinkKind, Output};
use bayeux_proto::{Channel, Message};
use bytes::Bytes;

use crate::trace::brief;
use crate::world::{Happening, World, number_of};

impl World {
    /// Messages of a client come to the server.
    pub(crate) fn serve(&mut self, client: usize, link: LinkId, kind: LinkKind, body: &Bytes) {
        let Ok(batch) = self.server.decoder.decode(body) else { return };
        let messages = batch.messages;
        self.note(|| format!("->  server, of c{client}: {}", brief(&messages)));
        let counts = |message: &Message| message.channel() != Channel::CONNECT;
        let asked: Vec<Message> = messages.iter().filter(|message| counts(message)).cloned().collect();
        let replies = self.engine(Input::Received { link, kind, messages }, Some(link));
        self.enter(client, &asked, &replies);
        self.settle();
    }

    /// Something else happens at the server.
    pub(crate) fn at_server(&mut self, input: Input) {
        self.engine(input, None);
        self.settle();
    }

    /// Hands the engine an input and does what it says. What it sends over `asked_on`, as far as that is about
    /// something else than connects.
    fn engine(&mut self, input: Input, asked_on: Option<LinkId>) -> Vec<Message> {
        let mut replies = Vec::new();
        let Some(engine) = &mut self.server.engine else { return replies };
        engine.handle(input, self.now);
        let outputs: Vec<Output> = std::iter::from_fn(|| engine.poll_output()).collect();
        for output in outputs {
            match output {
                Output::Respond { link, messages, .. } => {
                    let body = self.body(messages, link, asked_on, &mut replies);
                    self.respond(link, body);
                }
                Output::Push { link, messages } => {
                    let body = self.body(messages, link, asked_on, &mut replies);
                    self.frame_down(link, body);
                }
                Output::Reject { link, status, reason } => {
                    self.note(|| format!("    server rejects {link:?}: {status} {reason}"));
                    if self.sockets.contains_key(&link) {
                        self.close_from_server(link, 1008);
                    } else {
                        self.reject(link, status);
                    }
                }
                Output::Close { link, code, reason } => {
                    self.note(|| format!("    server closes {link:?}: {code} {reason}"));
                    self.close_from_server(link, code);
                }
                Output::Service(call) => {
                    let number = number_of(&call.data).unwrap_or(u32::MAX);
                    if self.chance.chance(self.service_answers) {
                        let after = self.chance.up_to(Duration::from_secs(2));
                        self.plan(after, Happening::Answer(call.token, call.data, number));
                    }
                }
                Output::Removed(session, because) => {
                    self.note(|| format!("    server ends session {session:?}: {because:?}"));
                    self.server.end(&session);
                }
                Output::Dropped(session, count) => {
                    self.note(|| format!("    server drops {count} messages of {session:?}"));
                    if let Some(owner) = self.server.session(&session).map(|known| known.owner)
                        && self.clients[owner].ledger.session.as_ref() == Some(&session)
                    {
                        self.clients[owner].ledger.excuse(count);
                    }
                }
                _ => {}
            }
        }
        replies
    }

    fn body(
        &mut self,
        body: Bytes,
        link: LinkId,
        asked_on: Option<LinkId>,
        replies: &mut Vec<Message>,
    ) -> Bytes {
        if asked_on == Some(link)
            && let Ok(batch) = self.server.decoder.decode(&body)
        {
            replies
                .extend(batch.messages.into_iter().filter(|message| message.channel() != Channel::CONNECT));
        }
        body
    }

    /// Enters into the books what the server granted, in the order in which it was asked.
    fn enter(&mut self, client: usize, asked: &[Message], replies: &[Message]) {
        for request in asked {
            let answers = |reply: &&Message| {
                reply.id() == request.id()
                    && reply.channel() == request.channel()
                    && reply.fields().successful == Some(true)
            };
            let Some(reply) = replies.iter().find(answers) else { continue };
            let session = request.fields().client_id.as_ref();
            let names = request.fields().subscription.iter().flat_map(|subscription| subscription.names());
            match request.channel().as_str() {
                Channel::HANDSHAKE => {
                    if let Some(id) = &reply.fields().client_id {
                        self.server.begin(id.clone(), client);
                    }
                }
                Channel::SUBSCRIBE => {
                    if let Some(known) = session.and_then(|id| self.server.session(id)) {
                        known.subscriptions.extend(names.map(|name| Channel::from_wire(name)));
                    }
                }
                Channel::UNSUBSCRIBE => {
                    if let Some(known) = session.and_then(|id| self.server.session(id)) {
                        for name in names {
                            known.subscriptions.remove(&Channel::from_wire(name));
                        }
                    }
                }
                _ => self.published(client, request),
            }
        }
    }

    fn published(&mut self, client: usize, message: &Message) {
        // Requests to services among them: those reach nobody else.
        let Some(number) = number_of(message.data()) else { return };
        let taken = self.post.take(number);
        self.check(client, taken);
        if !message.channel().is_broadcast() {
            return;
        }
        for known in self.server.reached(message.channel()) {
            let ledger = &mut self.clients[known.owner].ledger;
            ledger.owe(number, message.channel(), &known.id, self.now);
        }
    }

    /// Sets the server's timer.
    fn settle(&mut self) {
        let wanted = self.server.engine.as_ref().and_then(|engine| engine.poll_timeout());
        if let Some(at) = wanted
            && self.server.timer.is_none_or(|set| at < set)
        {
            let at = at.max(self.now);
            self.server.timer = Some(at);
            self.future.plan(at, Happening::ServerTimer(at));
        }
    }
}
