//! WebSocket: frames in order in both directions, over a connection that may break or go silent.

use std::time::Duration;

use bayeux_proto::Time;
use bayeux_proto::client::FailureKind;
use bayeux_proto::server::{Input, LinkId};
use bytes::Bytes;

use crate::fault::{Fate, Leg};
use crate::world::{Happening, Socket, World, failure};

/// The pause between the parts of a frame that trickles in.
const TRICKLE: Duration = Duration::from_secs(3);
/// How long it takes the server to notice that a silent socket is gone, at least and at most.
const NOTICE: [Duration; 2] = [Duration::from_secs(30), Duration::from_secs(90)];
/// How many frames the server writes into a silent socket before it drops it.
const BOUND: u32 = 1024;

impl World {
    /// A client sends a frame, and opens a socket for it when it has none.
    pub(crate) fn send_frame(&mut self, client: usize, address: usize, body: Bytes) {
        let link = match self.clients[client].socket {
            Some(link) => link,
            None => self.open_socket(client, address),
        };
        match self.sockets.get_mut(&link) {
            Some(socket) if !socket.open => socket.waiting.push(body),
            _ => self.frame_up(link, body),
        }
    }

    fn open_socket(&mut self, client: usize, address: usize) -> LinkId {
        let link = self.new_link();
        let server = self.balance(client, address);
        self.clients[client].socket = Some(link);
        let latency = self.chance.latency() + self.chance.latency();
        let mut socket = Socket {
            client,
            address,
            server,
            epoch: self.servers[server].epoch,
            open: false,
            waiting: Vec::new(),
            stalled: false,
            closed: false,
            left: false,
            dropped: false,
            last_up: Time::ZERO,
            last_down: Time::ZERO,
            swallowed: 0,
        };
        let patience = self.clients[client].config.connect_timeout;
        let (refused_until, status) = self.clients[client].upgrades_refused;
        let ends = |kind| Happening::Upgraded(link, Some(failure(kind)));
        let (after, end) = if !self.cut_off(client).is_zero() {
            (patience, ends(FailureKind::Unreachable))
        } else if refused_until > self.now {
            (latency, ends(FailureKind::UpgradeRefused { status }))
        } else if !self.is_up(server) {
            (latency, ends(FailureKind::Unreachable))
        } else if self.is_unauthorized(self.clients[client].token) {
            self.faults.count("token refused by the gateway");
            (latency, ends(FailureKind::UpgradeRefused { status: 401 }))
        } else if !self.servers[server].speaks_websocket() {
            (latency, ends(FailureKind::UpgradeRefused { status: 400 }))
        } else if self.clients[client].frames_swallowed_until > self.now {
            socket.stalled = true;
            (latency, Happening::Upgraded(link, None))
        } else {
            match self.fate(Leg::Upgrade, client) {
                Fate::Late => (latency + self.lateness(), Happening::Upgraded(link, None)),
                Fate::Vanish => (patience, ends(FailureKind::Timeout)),
                Fate::Break => (latency, ends(FailureKind::Lost)),
                Fate::Unreachable => (latency, ends(FailureKind::Unreachable)),
                Fate::Status(status) => (latency, ends(FailureKind::UpgradeRefused { status })),
                _ => (latency, Happening::Upgraded(link, None)),
            }
        };
        // The client's shell waits no longer than that for an upgrade.
        let end = if after > patience { ends(FailureKind::Timeout) } else { end };
        self.sockets.insert(link, socket);
        self.plan(after.min(patience), end);
        link
    }

    /// An upgrade succeeds: what waits goes out.
    pub(crate) fn socket_opens(&mut self, link: LinkId) {
        let Some(socket) = self.sockets.get_mut(&link) else { return };
        socket.open = true;
        let Socket { client, address, server, epoch, .. } = *socket;
        let waiting = std::mem::take(&mut socket.waiting);
        if epoch != self.servers[server].epoch || !self.is_up(server) {
            return self.break_socket(link);
        }
        if self.cookies {
            self.exchange_cookies(client, address, server, link);
        }
        for body in waiting {
            self.frame_up(link, body);
        }
    }

    /// The upgrade brings the client's cookie, or its response sets one.
    fn exchange_cookies(&mut self, client: usize, address: usize, server: usize, link: LinkId) {
        let sent = self.clients[client].jar(address).browser.clone();
        let issued = sent.is_none();
        let browser = sent.unwrap_or_else(|| format!("socket {}", link.0).into());
        self.servers[server].open.insert(link);
        let opened = Input::LinkOpened {
            link,
            browser: Some(browser.clone()),
            multiplexed: false,
            socket_cookie: None,
        };
        self.at_server(server, opened);
        if issued {
            self.at_server(server, Input::CookieIssued(link));
        }
        self.clients[client].set_cookies(address, server, Some(browser));
    }

    fn frame_up(&mut self, link: LinkId, body: Bytes) {
        let Some((after, fate)) = self.frame(link, true) else { return };
        if fate == Fate::Garbage {
            // The server closes a socket that brings it nonsense.
            if let Some(socket) = self.sockets.get_mut(&link) {
                socket.closed = true;
            }
            self.plan(after * 2, Happening::Lost(link, failure(FailureKind::Closed { code: 1007 })));
            return self.plan(after, Happening::Gone(link));
        }
        self.plan(after, Happening::FrameUp(link, body));
    }

    /// The server sends a frame.
    pub(crate) fn frame_down(&mut self, link: LinkId, body: Bytes) {
        let Some((after, fate)) = self.frame(link, false) else { return };
        let body = if fate == Fate::Garbage { body.slice(..body.len() / 2) } else { body };
        if fate == Fate::Trickle {
            for part in 1..=4 {
                self.plan(after + TRICKLE * part, Happening::Arriving(link));
            }
            if let Some(socket) = self.sockets.get_mut(&link) {
                socket.last_down = socket.last_down + TRICKLE * 5;
            }
            return self.plan(after + TRICKLE * 5, Happening::FrameDown(link, body));
        }
        let Some(client) = self.sockets.get(&link).map(|socket| socket.client) else { return };
        let (parts, end) = self.transfer(client, body.len(), after);
        for part in parts {
            self.plan(part, Happening::Arriving(link));
        }
        if let Some(socket) = self.sockets.get_mut(&link) {
            socket.last_down = socket.last_down.max(self.now + end);
        }
        self.plan(end, Happening::FrameDown(link, body));
    }

    /// When a frame arrives, and what else becomes of it; `None` when it does not arrive.
    fn frame(&mut self, link: LinkId, up: bool) -> Option<(Duration, Fate)> {
        let socket = self.sockets.get(&link)?;
        let client = socket.client;
        if socket.stalled {
            if !up {
                self.swallow(link);
            }
            return None;
        }
        let fate = self.fate(Leg::Frame, client);
        match fate {
            Fate::Vanish => {
                self.stall(link);
                if !up {
                    self.swallow(link);
                }
                return None;
            }
            Fate::Break => {
                self.break_socket(link);
                return None;
            }
            _ => {}
        }
        let late = match fate {
            Fate::Late => self.lateness(),
            _ => Duration::ZERO,
        };
        let held = self.cut_off(client);
        let earliest = self.now + self.chance.latency() + late + held;
        let socket = self.sockets.get_mut(&link)?;
        let last = if up { &mut socket.last_up } else { &mut socket.last_down };
        *last = earliest.max(*last);
        Some((last.since(self.now), fate))
    }

    /// The server writes into a silent socket, until it has had enough.
    fn swallow(&mut self, link: LinkId) {
        let span = self.chance.up_to(NOTICE[1].saturating_sub(NOTICE[0]));
        let Some(socket) = self.sockets.get_mut(&link) else { return };
        socket.swallowed += 1;
        match socket.swallowed {
            1 => self.plan(NOTICE[0] + span, Happening::Gone(link)),
            BOUND => self.plan(Duration::ZERO, Happening::Gone(link)),
            _ => {}
        }
    }

    /// A socket goes silent.
    pub(crate) fn stall(&mut self, link: LinkId) {
        if let Some(socket) = self.sockets.get_mut(&link) {
            socket.stalled = true;
        }
    }

    /// A socket breaks, and both ends are told.
    pub(crate) fn break_socket(&mut self, link: LinkId) {
        let latency = self.chance.latency();
        let Some(socket) = self.sockets.get_mut(&link) else { return };
        let was_silent = std::mem::replace(&mut socket.stalled, true);
        let (up, down) = (socket.last_up.max(self.now), socket.last_down.max(self.now));
        if !was_silent {
            self.future.plan(down + latency, Happening::Lost(link, failure(FailureKind::Lost)));
            self.future.plan(up + latency, Happening::Gone(link));
        }
    }

    /// The server closes a socket.
    pub(crate) fn close_from_server(&mut self, link: LinkId, code: u16) {
        let latency = self.chance.latency();
        let Some(socket) = self.sockets.get_mut(&link) else { return };
        socket.closed = true;
        let down = socket.last_down.max(self.now);
        if !socket.stalled {
            self.future.plan(down + latency, Happening::Lost(link, failure(FailureKind::Closed { code })));
        }
        self.plan(latency * 2, Happening::Gone(link));
    }

    /// A client leaves its socket. What has come for it is not heard any more; what it has sent still comes to the server
    /// when it closes the socket gracefully. When it drops it, a frame that came would undo what the client asks for
    /// elsewhere by then, and take events to a socket that nobody reads; no client can prevent that, and a connection that
    /// is reset seldom brings it about.
    pub(crate) fn leave_socket(&mut self, client: usize, graceful: bool) {
        let Some(link) = self.clients[client].socket.take() else { return };
        let latency = self.chance.latency();
        let Some(socket) = self.sockets.get_mut(&link) else { return };
        socket.left = true;
        socket.dropped = !graceful;
        let up = socket.last_up.max(self.now);
        if socket.stalled {
            self.plan(NOTICE[0], Happening::Gone(link));
        } else {
            self.future.plan(up + latency, Happening::Gone(link));
        }
    }

    /// A client pings.
    pub(crate) fn ping(&mut self, client: usize) {
        let Some(link) = self.clients[client].socket else { return };
        let held = self.cut_off(client);
        let latency = self.chance.latency() * 2 + held;
        let Some(socket) = self.sockets.get_mut(&link) else { return };
        if socket.open && !socket.stalled {
            let answered = (self.now + latency).max(socket.last_down);
            socket.last_down = answered;
            self.future.plan(answered, Happening::Pong(link));
        }
    }

    /// Whether a frame that comes to the server finds it.
    pub(crate) fn finds_server(&self, link: LinkId) -> bool {
        self.sockets.get(&link).is_some_and(|socket| {
            let server = &self.servers[socket.server];
            !socket.closed && !socket.dropped && server.engine.is_some() && socket.epoch == server.epoch
        })
    }

    /// The client whose current socket this is.
    pub(crate) fn owner_of(&self, link: LinkId) -> Option<usize> {
        let client = self.sockets.get(&link)?.client;
        (self.clients[client].socket == Some(link)).then_some(client)
    }

    /// A server is down, and with it all its sockets.
    pub(crate) fn break_sockets(&mut self, server: usize) {
        let its = self.sockets.iter().filter(|(_, socket)| socket.server == server);
        let links: Vec<LinkId> = its.map(|(link, _)| *link).collect();
        for link in links {
            self.break_socket(link);
        }
    }
}
