//! Plays the cells of the table: each scenario with each client.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::page::{Cell, Page};
use super::scenario::{ALL, Scenario};
use super::stage::Stage;
use super::verdict::{ENDS_PROCESS, Verdict};
use super::{COLUMNS, columns};
use crate::driven::Driver;
use crate::options::Options;
use crate::outcome::Outcome;
use crate::peers::{Install, Need, OURS, Peer};
use crate::trace;

/// How many cells are played at once; most of their time they wait.
const AT_ONCE: usize = 24;

/// Plays all cells, prints them, and compares the page with them, or writes it. Returns what is not well.
pub(crate) async fn run(
    options: &Options,
    versions: &BTreeMap<&'static str, String>,
) -> Outcome<Vec<String>> {
    let there: Vec<&'static Peer> = columns().filter(|client| versions.contains_key(client.name)).collect();
    let wanted = ALL.iter().filter(|scenario| options.wants_scenario(scenario.name));
    let (alone, quiet): (Vec<_>, Vec<_>) = wanted.partition(|scenario| scenario.alone);
    let mut cells = Vec::new();
    let mut playing = JoinSet::new();
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    for client in there.iter().copied() {
        playing.spawn(play_quiet(client, quiet.clone(), Arc::clone(&slots)));
    }
    for played in playing.join_all().await {
        cells.extend(played);
    }
    for scenario in alone {
        for client in there.iter().copied() {
            cells.push(play_alone(scenario, client).await);
        }
    }
    let page = Page { cells, versions };
    println!("\n{}", page.table());
    let mut complaints = page.complaints();
    if options.only.is_empty() && there.len() == COLUMNS.len() {
        complaints.extend(page.put(options.write)?);
    }
    Ok(complaints)
}

/// Plays what may be played at once.
async fn play_quiet(
    client: &'static Peer,
    scenarios: Vec<&'static Scenario>,
    slots: Arc<Semaphore>,
) -> Vec<Cell> {
    // A Java VM takes long to start, and an exception does not end it.
    let shared = match client.install {
        Install::Maven => match start(client).await {
            Ok(driver) => driver,
            Err(error) => {
                println!("{}: {error}", client.name);
                return scenarios
                    .into_iter()
                    .map(|scenario| Cell::broken(scenario, client, &error))
                    .collect();
            }
        },
        _ => None,
    };
    let mut playing = JoinSet::new();
    for scenario in scenarios {
        let (shared, slots) = (shared.clone(), Arc::clone(&slots));
        playing.spawn(async move {
            let _slot = slots.acquire_owned().await;
            match shared {
                Some(driver) => play(scenario, client, Some(&driver)).await,
                None => play_alone(scenario, client).await,
            }
        });
    }
    let cells = playing.join_all().await;
    stop(shared).await;
    cells
}

/// Plays one cell with a process of its own.
async fn play_alone(scenario: &'static Scenario, client: &'static Peer) -> Cell {
    match start(client).await {
        Ok(driver) => {
            let cell = play(scenario, client, driver.as_ref()).await;
            stop(driver).await;
            cell
        }
        Err(error) => {
            println!("{}: {error}", client.name);
            Cell::broken(scenario, client, &error)
        }
    }
}

async fn start(client: &Peer) -> Outcome<Option<Arc<Driver>>> {
    Ok(if client.name == OURS { None } else { Some(Driver::start(client).await?) })
}

async fn stop(driver: Option<Arc<Driver>>) {
    if let Some(driver) = driver
        // After such a server, some are busy for long.
        && let Err(error) = driver.kill().await
    {
        println!("{error}");
    }
}

async fn play(scenario: &'static Scenario, client: &'static Peer, driver: Option<&Arc<Driver>>) -> Cell {
    let cell = play_once(scenario, client, driver).await;
    if cell.verdict.is_some() {
        return cell;
    }
    // A busy machine may have kept the client from opening at all.
    play_once(scenario, client, driver).await
}

async fn play_once(scenario: &'static Scenario, client: &'static Peer, driver: Option<&Arc<Driver>>) -> Cell {
    if scenario.plain.ack && !client.has.contains(&Need::Ack) {
        return Cell::new(scenario, client, Some(Verdict::NotPlayed));
    }
    let began = std::time::Instant::now();
    let stage = match Stage::start(scenario.way, scenario.plain, driver).await {
        Ok(stage) => stage,
        Err(error) => {
            println!("{}, {}: {error}", client.name, scenario.name);
            return Cell::broken(scenario, client, &error);
        }
    };
    let outcome = scenario.play(&stage).await;
    let took = began.elapsed().as_secs_f64();
    let ended = driver.is_some_and(|driver| driver.has_ended());
    let outcome = if ended { Ok(Verdict::Wrong(ENDS_PROCESS)) } else { outcome };
    let (what, verdict) = match outcome {
        Ok(verdict) => (verdict.text().to_owned(), Some(verdict)),
        Err(error) => (format!("FAIL: {error}"), None),
    };
    println!("{}, {}: {what} ({took:.1} s)", client.name, scenario.name);
    let mut cell = Cell::new(scenario, client, verdict);
    if verdict != Some(Verdict::Right) {
        let (wire, reported) = stage.log();
        let mut trace = trace::last(&wire, &reported);
        if let Some(driver) = driver
            && ended
        {
            trace += &format!("  --- the process said\n{}", driver.said().await);
        }
        println!("{trace}");
        cell.trace = format!("  {what}\n{trace}");
    }
    stage.end().await;
    cell
}
