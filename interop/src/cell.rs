//! One cell of a table: a client, a server, a transport, and all that a scenario needs of them.

use std::sync::{Arc, Mutex, PoisonError};

use bayeux::Transport;

use crate::driven::Driver;
use crate::outcome::{Failed, Outcome};
use crate::server::Server;
use crate::tap::Tap;
use crate::trace;
use crate::user::{Open, User};

/// Who is to be tried.
#[derive(Debug)]
pub(crate) struct Cell<'a> {
    pub(crate) server: &'a Server,
    /// The process of the client under test; `None` is our own client.
    pub(crate) driver: Option<&'a Arc<Driver>>,
    pub(crate) transport: Transport,
    seats: Mutex<Vec<Arc<Seat>>>,
}

/// A user and the line that it talks over.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) name: &'static str,
    pub(crate) user: User,
    pub(crate) tap: Arc<Tap>,
}

impl std::ops::Deref for Seat {
    type Target = User;

    fn deref(&self) -> &User {
        &self.user
    }
}

impl Seat {
    /// How many messages were sent on this meta channel.
    pub(crate) fn sent(&self, meta: &str) -> usize {
        // The second is how it stands in a URL.
        let names = [format!("\"/meta/{meta}\""), format!("%22%2Fmeta%2F{meta}%22")];
        let sent = |line: &&str| line.contains(" > ") && names.iter().any(|name| line.contains(name));
        self.tap.log().lines().filter(sent).count()
    }

    /// Whether this text came from the server.
    pub(crate) fn received(&self, text: &str) -> bool {
        self.tap.log().lines().any(|line| line.contains(" < ") && line.contains(text))
    }
}

impl<'a> Cell<'a> {
    pub(crate) fn new(server: &'a Server, driver: Option<&'a Arc<Driver>>, transport: Transport) -> Self {
        Self { server, driver, transport, seats: Mutex::default() }
    }

    /// A user of the client under test, open.
    pub(crate) async fn subject(&self, name: &'static str) -> Outcome<Arc<Seat>> {
        Ok(self.try_subject(name, false).await??)
    }

    /// The same, but the opening may fail; with `deny` the server is asked to refuse.
    pub(crate) async fn try_subject(
        &self,
        name: &'static str,
        deny: bool,
    ) -> Outcome<Result<Arc<Seat>, Failed>> {
        self.seat(name, self.transport, |options| options.deny = deny, self.driver).await
    }

    /// Several users of the client under test in the windows of one browser, open.
    pub(crate) async fn windows(&self, names: [&'static str; 2]) -> Outcome<[Arc<Seat>; 2]> {
        // Cookies are those of an address, so it must be the same.
        let tap = Arc::new(Tap::start(self.server.address).await?);
        let mut seats = Vec::new();
        for name in names {
            let share = |options: &mut Open| options.browser = Some("one for all");
            seats.push(self.seat_at(Arc::clone(&tap), name, self.transport, share, self.driver).await??);
        }
        seats.try_into().map_err(|_| "not as many seats as names".into())
    }

    /// A user of our own client, open, over the other transport where the server has it.
    pub(crate) async fn other(&self, name: &'static str) -> Outcome<Arc<Seat>> {
        let transport = match self.transport {
            Transport::LongPolling if self.server.peer.transports.contains(&Transport::WebSocket) => {
                Transport::WebSocket
            }
            _ => Transport::LongPolling,
        };
        Ok(self.seat(name, transport, |_| {}, None).await??)
    }

    async fn seat(
        &self,
        name: &'static str,
        transport: Transport,
        change: impl FnOnce(&mut Open),
        driver: Option<&Arc<Driver>>,
    ) -> Outcome<Result<Arc<Seat>, Failed>> {
        let tap = Arc::new(Tap::start(self.server.address).await?);
        self.seat_at(tap, name, transport, change, driver).await
    }

    async fn seat_at(
        &self,
        tap: Arc<Tap>,
        name: &'static str,
        transport: Transport,
        change: impl FnOnce(&mut Open),
        driver: Option<&Arc<Driver>>,
    ) -> Outcome<Result<Arc<Seat>, Failed>> {
        let mut options = Open::new(tap.address, &self.server.path, transport);
        change(&mut options);
        let user = match driver {
            Some(driver) => User::Driven(driver.user()),
            None => User::ours(&options)?,
        };
        let seat = Arc::new(Seat { name, user, tap });
        self.seats.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&seat));
        Ok(seat.open(&options).await.map(|()| seat))
    }

    /// How many handshakes that user has sent.
    pub(crate) fn handshakes(&self, name: &str) -> usize {
        let seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        seats.iter().filter(|seat| seat.name == name).map(|seat| seat.sent("handshake")).sum()
    }

    /// The wire log and the reports of the clients, to diagnose a failure.
    pub(crate) async fn logs(&self) -> String {
        let mut text = String::new();
        for seat in self.seats.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let (name, wire) = (seat.name, seat.tap.log());
            let reported: String = seat.user.reported().iter().map(|line| format!("    {line}\n")).collect();
            text += &format!("  --- wire of {name} (> to the server, < from it)\n{wire}");
            if !reported.is_empty() {
                text += &format!("  --- {name}'s client reported\n{reported}");
            }
        }
        if let Some(driver) = self.driver {
            text += &format!("  --- the driven client said\n{}", driver.said().await);
        }
        text += &format!("  --- the server said\n{}", self.server.said().await);
        text
    }

    /// The end of that.
    pub(crate) fn last_words(&self) -> String {
        let seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |seat: &Arc<Seat>| {
            format!("  {}\n{}", seat.name, trace::last(&seat.tap.log(), &seat.user.reported()))
        };
        seats.iter().map(of).collect()
    }

    /// Ends all sessions; what the clients do then is no part of the scenario.
    pub(crate) async fn clear(&self) {
        let seats = std::mem::take(&mut *self.seats.lock().unwrap_or_else(PoisonError::into_inner));
        for seat in seats {
            let _ = tokio::time::timeout(std::time::Duration::from_secs(8), seat.close()).await;
        }
    }
}
