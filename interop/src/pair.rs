//! A client and a server, tried with each other over each transport that they share: one row a transport.

use std::sync::Arc;

use bayeux::Transport;

use crate::cell::Cell;
use crate::driven::Driver;
use crate::known;
use crate::outcome::Outcome;
use crate::peers::{OURS, Peer};
use crate::scenarios;
use crate::server::Server;
use crate::table::{Entry, Row};

/// Which pair, over which transport.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair {
    pub(crate) client: &'static Peer,
    pub(crate) server: &'static Peer,
    pub(crate) transport: Transport,
}

impl Pair {
    /// All rows of two peers.
    pub(crate) fn all(client: &'static Peer, server: &'static Peer) -> impl Iterator<Item = Self> {
        let shared = client.transports.iter().filter(|transport| server.transports.contains(transport));
        shared.map(move |transport| Self { client, server, transport: *transport })
    }

    /// Plays all scenarios, or only those named, with a server and a client of its own.
    pub(crate) async fn play(self, only: &[String]) -> Row {
        let mut row = Row::new(self.client.name, self.server.name, self.transport.as_str());
        if let Err(error) = self.fill(&mut row, only).await {
            row.failures.push(format!("{row}: {error}"));
            println!("{row}: {error}");
        }
        row
    }

    async fn fill(self, row: &mut Row, only: &[String]) -> Outcome {
        let server = Server::start(self.server).await?;
        let driver = if self.client.name == OURS { None } else { Some(Driver::start(self.client).await?) };
        for scenario in scenarios::ALL {
            let wanted = only.is_empty() || only.iter().any(|name| name == scenario.name);
            let has = |peer: &Peer| scenario.needs.iter().all(|need| peer.has.contains(need));
            let entry = if wanted && has(self.client) && has(self.server) {
                self.try_one(scenario, &server, driver.as_ref(), row).await
            } else {
                Entry::NotTried
            };
            row.entries.push(entry);
        }
        let stopped = match driver {
            Some(driver) => driver.stop().await,
            None => Ok(()),
        };
        server.stop().await.and(stopped)
    }

    async fn try_one(
        self,
        scenario: &scenarios::Scenario,
        server: &Server,
        driver: Option<&Arc<Driver>>,
        row: &mut Row,
    ) -> Entry {
        let cell = Cell::new(server, driver, self.transport);
        let began = std::time::Instant::now();
        let outcome = scenario.run(&cell).await;
        let took = began.elapsed().as_secs_f64();
        let known = known::limit(self.client.name, self.server.name, self.transport, scenario.name);
        let entry = match (outcome, known) {
            (Ok(()), None) => {
                println!("{row}, {}: pass ({took:.1} s)", scenario.name);
                Entry::Pass
            }
            (Err(error), Some(limit)) => {
                println!("{row}, {}: fails as is known ({took:.1} s): {error}", scenario.name);
                Entry::Known(limit.reason)
            }
            (Ok(()), Some(limit)) => {
                let what = format!("{row}, {}: passes, but should not: {}", scenario.name, limit.reason);
                println!("{what}");
                row.failures.push(what);
                Entry::Fail
            }
            (Err(error), None) => {
                let what = format!("{row}, {}: FAIL ({took:.1} s): {error}", scenario.name);
                println!("{what}\n{}", cell.logs().await);
                row.failures.push(format!("{what}\n{}", cell.last_words()));
                Entry::Fail
            }
        };
        cell.clear().await;
        entry
    }
}
