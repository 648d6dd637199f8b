//! The whole run: install, play, report.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::install;
use crate::misbehaviour;
use crate::networks::{self, Setup};
use crate::options::Options;
use crate::outcome::Outcome;
use crate::pair::Pair;
use crate::peers::{CLIENTS, NETWORKS, OURS, PYTHON, Peer, SERVERS};
use crate::report::Report;
use crate::table::Row;

/// Whether all went well.
pub(crate) async fn run(options: &Options) -> Outcome<bool> {
    let (versions, missing) = install_all(options).await;
    let mut failures: Vec<String> = missing.iter().map(|name| format!("{name} is MISSING")).collect();
    if options.wants_pairs() {
        failures.extend(try_pairs(options, &versions, missing).await?);
    }
    if options.wants_misbehaviour() {
        failures.extend(misbehaviour::play::run(options, &versions).await?);
    }
    print_failures(&failures);
    Ok(failures.is_empty())
}

/// Prints at the end why the run failed: the trace of each failure, and then a line for each.
fn print_failures(failures: &[String]) {
    for failure in failures.iter().filter(|failure| failure.contains('\n')) {
        println!("\n{failure}");
    }
    if !failures.is_empty() {
        println!("\nThe run fails for:");
    }
    for failure in failures {
        println!("- {}", failure.lines().next().unwrap_or_default());
    }
}

async fn try_pairs(
    options: &Options,
    versions: &Versions,
    missing: Vec<&'static str>,
) -> Outcome<Vec<String>> {
    let pairs = pairs(options, versions);
    let setups = setups(options, versions);
    let (rows, networks) = play(pairs, setups, options).await;
    let report = Report { rows, networks, versions: versions.clone(), missing };
    println!("{}", report.text());
    println!("{}", report.counts());
    let mut failures = report.failures();
    if options.is_all() || options.write {
        failures.extend(report.put(options.write)?);
    }
    Ok(failures)
}

type Versions = BTreeMap<&'static str, String>;

/// The versions of what could be had, and the names of what could not.
async fn install_all(options: &Options) -> (Versions, Vec<&'static str>) {
    let (mut versions, mut missing) = (Versions::new(), Vec::new());
    let wanted = |name: &str| name == OURS || options.wants(name);
    let servers = SERVERS.iter().filter(|peer| wanted(peer.name));
    let clients = CLIENTS.iter().filter(|peer| wanted(peer.name) || options.wants_column(peer.name));
    for peer in servers.chain(clients) {
        println!("{}: installing", peer.name);
        let version = match install::install(peer).await {
            Ok(()) => install::version(peer).await,
            Err(error) => Err(error),
        };
        note(peer.name, version, &mut versions, &mut missing);
    }
    for tool in NETWORKS.into_iter().filter(|tool| options.wants(tool)) {
        println!("{tool}: installing");
        note(tool, Setup::install(tool).await, &mut versions, &mut missing);
    }
    if CLIENTS.iter().any(|peer| peer.name.ends_with("-chromium") && versions.contains_key(peer.name)) {
        note("chromium", install::tool_version("chromium", "--version").await, &mut versions, &mut missing);
    }
    (versions, missing)
}

fn note(
    name: &'static str,
    version: Outcome<String>,
    versions: &mut Versions,
    missing: &mut Vec<&'static str>,
) {
    match version {
        Ok(version) => drop(versions.insert(name, version)),
        Err(error) => {
            println!("{name}: MISSING: {error}");
            missing.push(name);
        }
    }
}

/// Our clients with each server, and each other client with our server; or each with each.
fn pairs(options: &Options, versions: &Versions) -> Vec<Pair> {
    let there = |peer: &&Peer| options.wants(peer.name) && versions.contains_key(peer.name);
    let ours = |peer: &&Peer| peer.name == OURS;
    let servers: Vec<&'static Peer> = SERVERS.iter().filter(there).collect();
    let clients: Vec<&'static Peer> = CLIENTS.iter().filter(there).collect();
    let mut pairs = Vec::new();
    if options.all_pairs {
        for client in clients {
            pairs.extend(servers.iter().flat_map(|server| Pair::all(client, server)));
        }
        return pairs;
    }
    let python = clients.iter().copied().filter(|client| client.name == PYTHON);
    for client in CLIENTS.iter().filter(ours).chain(python) {
        pairs.extend(servers.iter().flat_map(|server| Pair::all(client, server)));
    }
    for server in SERVERS.iter().filter(ours) {
        let others = clients.iter().filter(|client| ![OURS, PYTHON].contains(&client.name));
        pairs.extend(others.flat_map(|client| Pair::all(client, server)));
    }
    pairs
}

fn setups(options: &Options, versions: &Versions) -> Vec<(&'static Setup, &'static Peer)> {
    if options.all_pairs || !options.only.is_empty() {
        return Vec::new();
    }
    let mut setups = Vec::new();
    for setup in networks::SETUPS.iter().filter(|setup| versions.contains_key(setup.tool)) {
        let behind = SERVERS.iter().filter(|server| networks::is_behind(server));
        setups
            .extend(behind.filter(|server| versions.contains_key(server.name)).map(|server| (setup, server)));
    }
    setups
}

/// Plays all rows, a few at once, and returns them in order.
async fn play(
    pairs: Vec<Pair>,
    setups: Vec<(&'static Setup, &'static Peer)>,
    options: &Options,
) -> (Vec<Row>, Vec<networks::Row>) {
    let slots = Arc::new(Semaphore::new(options.jobs));
    let only: Arc<[String]> = options.only.clone().into();
    let (mut rows, mut through) = (JoinSet::new(), JoinSet::new());
    for (place, pair) in pairs.into_iter().enumerate() {
        let (slots, only) = (Arc::clone(&slots), Arc::clone(&only));
        rows.spawn(async move {
            let _slot = slots.acquire_owned().await;
            (place, pair.play(&only).await)
        });
    }
    for (place, (setup, server)) in setups.into_iter().enumerate() {
        let slots = Arc::clone(&slots);
        through.spawn(async move {
            let _slot = slots.acquire_owned().await;
            (place, setup.play(server).await)
        });
    }
    (in_order(rows.join_all().await), in_order(through.join_all().await))
}

fn in_order<T>(mut rows: Vec<(usize, T)>) -> Vec<T> {
    rows.sort_by_key(|(place, _)| *place);
    rows.into_iter().map(|(_, row)| row).collect()
}
