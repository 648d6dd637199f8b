//! The clients and their chat rooms.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bayeux::Client;
use futures_util::StreamExt;
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::tally::Tally;
use crate::args::Bench;
use crate::failure::Failure;
use crate::session;
use crate::target::Target;

/// How many clients are opened at once.
const AT_ONCE: usize = 50;
/// How many batches may wait for their replies.
const UNDER_WAY: usize = 1024;

/// The payload of the load test.
#[derive(Serialize)]
struct Chat<'a> {
    room: u32,
    user: u32,
    chat: &'a str,
    /// When it was published, in nanoseconds since this process began.
    start: u64,
    msg_id: String,
}

/// The part of the payload that is read.
#[derive(Deserialize)]
struct Started {
    start: u64,
}

pub(crate) struct Crowd {
    clients: Vec<Client>,
    /// The rooms with members, and the number of members.
    rooms: Vec<(u32, u64)>,
    under_way: Arc<Semaphore>,
    epoch: Instant,
}

impl Crowd {
    /// Opens the clients and joins the rooms.
    pub(crate) async fn gather(
        target: &Target,
        options: &Bench,
        tally: &Arc<Tally>,
        bar: &ProgressBar,
    ) -> Result<Self, Failure> {
        let epoch = Instant::now();
        let mut members = vec![0_u64; options.rooms as usize];
        let mut clients = Vec::new();
        let joining = (0..options.clients).map(|_| {
            let rooms = some_rooms(options);
            rooms.iter().for_each(|room| members[*room as usize] += 1);
            join(target, options, rooms)
        });
        // The rooms are chosen before the first client is open.
        let joining: Vec<_> = joining.collect();
        let mut joining = futures_util::stream::iter(joining).buffer_unordered(AT_ONCE);
        while let Some(client) = joining.next().await {
            let client = client?;
            if clients.is_empty() {
                // The clients share their fate: the events of one are enough.
                session::report_events(&client, &options.connection);
            }
            tokio::spawn(read(client.clone(), Arc::clone(tally), epoch));
            clients.push(client);
            bar.inc(1);
        }
        let rooms = (0..).zip(members).filter(|(_, members)| *members > 0).collect();
        Ok(Self { clients, rooms, under_way: Arc::new(Semaphore::new(UNDER_WAY)), epoch })
    }

    /// Starts to publish a batch and returns the number of copies to expect.
    pub(crate) fn publish(&self, options: &Bench, number: u32, tally: &Arc<Tally>) -> u64 {
        let at = if options.randomize { fastrand::usize(..self.clients.len()) } else { number as usize };
        let user = at % self.clients.len();
        let client = self.clients[user].clone();
        let text = "x".repeat(options.message_size as usize);
        let targets: Vec<(u32, u64)> =
            (0..options.batch_size).filter_map(|_| fastrand::choice(&self.rooms).copied()).collect();
        let expected = targets.iter().map(|(_, members)| members).sum();
        let (base, epoch) = (options.channel.clone(), self.epoch);
        let (tally, under_way) = (Arc::clone(tally), Arc::clone(&self.under_way));
        tokio::spawn(async move {
            // The semaphore is never closed.
            let Ok(_permit) = under_way.acquire().await else { return };
            let outcomes = client.batch(|batch| {
                for (at, (room, _)) in targets.iter().enumerate() {
                    let start = u64::try_from(epoch.elapsed().as_nanos()).unwrap_or(u64::MAX);
                    let msg_id = format!("{number}-{at}");
                    let chat = Chat { room: *room, user: user as u32, chat: &text, start, msg_id };
                    batch.publish(channel(&base, *room), &chat)?;
                }
                Ok(())
            });
            match outcomes.await {
                Ok(outcomes) => {
                    outcomes.iter().filter(|outcome| outcome.is_err()).for_each(|_| tally.failure())
                }
                Err(_) => targets.iter().for_each(|_| tally.failure()),
            }
        });
        expected
    }

    /// Waits until every batch has its replies.
    pub(crate) async fn all_sent(&self) {
        // The semaphore is never closed.
        let _ = self.under_way.acquire_many(UNDER_WAY as u32).await;
    }

    /// Closes all clients.
    pub(crate) async fn leave(self) {
        let closing = self.clients.into_iter().map(|client| async move { client.close().await });
        futures_util::stream::iter(closing).buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
    }
}

fn channel(base: &str, room: u32) -> String {
    format!("/bench{base}/{room}")
}

/// Distinct rooms for one client.
fn some_rooms(options: &Bench) -> Vec<u32> {
    fastrand::choose_multiple(0..options.rooms, options.rooms_per_client as usize)
}

async fn join(target: &Target, options: &Bench, rooms: Vec<u32>) -> Result<Client, Failure> {
    let client = session::builder(target, &options.connection)?.acknowledge(options.ack).build()?;
    client.open().await?;
    let outcomes = client
        .batch(|batch| rooms.iter().try_for_each(|room| batch.subscribe(channel(&options.channel, *room))));
    for outcome in outcomes.await? {
        outcome?;
    }
    Ok(client)
}

async fn read(client: Client, tally: Arc<Tally>, epoch: Instant) {
    while let Some(message) = client.next().await {
        // If the connection stays lost, the result shows the missing messages.
        let Ok(message) = message else { continue };
        if let Ok(Started { start }) = message.data().decode() {
            tally.message(epoch.elapsed().saturating_sub(Duration::from_nanos(start)));
        }
    }
}
