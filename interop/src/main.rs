//! Our client with every server, and our server with every client: installs them, runs them, and writes a table.
//! `interop/run` calls this; see `interop/README.md`.

mod cell;
mod driven;
mod guard;
mod install;
mod known;
mod networks;
mod options;
mod ours;
mod outcome;
mod pair;
mod peers;
mod process;
mod scenarios;
mod server;
mod table;
mod tap;
mod user;
mod wire;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::options::Options;
use crate::outcome::Outcome;
use crate::pair::Pair;
use crate::peers::{CLIENTS, OURS, Peer, SERVERS};
use crate::table::Row;

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "serve") {
        return told(ours::serve(&args[1..]).await.map(|()| true));
    }
    if args.first().is_some_and(|arg| arg == "guard") {
        return told(guard::run(&args[1..]).await.map(|()| true));
    }
    let options = match Options::parse(&args) {
        Ok(Some(options)) => options,
        Ok(None) => return ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("interop/run: {error}");
            return ExitCode::from(2);
        }
    };
    tokio::select! {
        outcome = run(&options) => told(outcome),
        // Dropping what runs closes the input of all processes, and they end with it.
        () = interrupted() => {
            eprintln!("interrupted");
            ExitCode::from(130)
        }
    }
}

fn told(outcome: Outcome<bool>) -> ExitCode {
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminated) => tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminated.recv() => {}
        },
        Err(_) => drop(tokio::signal::ctrl_c().await),
    }
}

async fn run(options: &Options) -> Outcome<bool> {
    let mut missing = Vec::new();
    let mut versions = BTreeMap::new();
    for peer in SERVERS.iter().chain(CLIENTS).filter(|peer| peer.name == OURS || options.wants(peer.name)) {
        if versions.contains_key(peer.name) || missing.contains(&peer.name) {
            continue;
        }
        println!("{}: installing", peer.name);
        let installed = install::install(peer).await;
        let version = match installed {
            Ok(()) => install::version(peer).await,
            Err(error) => Err(error),
        };
        match version {
            Ok(version) => drop(versions.insert(peer.name, version)),
            Err(error) => {
                println!("{}: MISSING: {error}", peer.name);
                missing.push(peer.name);
            }
        }
    }
    let there = |peer: &&Peer| options.wants(peer.name) && versions.contains_key(peer.name);
    let ours = |peers: &'static [Peer]| peers.iter().find(|peer| peer.name == OURS);
    let (Some(client), Some(server)) = (ours(CLIENTS), ours(SERVERS)) else { return Ok(false) };
    let mut pairs: Vec<Pair> = Vec::new();
    if options.all_pairs {
        for theirs in CLIENTS.iter().filter(there) {
            pairs.extend(SERVERS.iter().filter(there).flat_map(|server| Pair::all(theirs, server)));
        }
    } else {
        pairs.extend(SERVERS.iter().filter(there).flat_map(|theirs| Pair::all(client, theirs)));
        let others = CLIENTS.iter().filter(|client| client.name != OURS);
        pairs.extend(others.filter(there).flat_map(|theirs| Pair::all(theirs, server)));
    }
    let rows = play(pairs, options).await;
    let (with_servers, with_clients): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.client == OURS);
    let mut text = String::new();
    for (rows, head, name) in [
        (&with_servers, "server, with our client", (|row| row.server) as fn(&Row) -> &'static str),
        (&with_clients, "client, with our server", |row| row.client),
    ] {
        if !rows.is_empty() {
            let _ = writeln!(text, "\n{}", table::scenarios_table(rows, head, name));
        }
    }
    println!("{text}");
    for (name, version) in &versions {
        println!("{name} {version}");
    }
    missing.iter().for_each(|name| println!("{name} is MISSING"));
    let counts = with_servers.iter().chain(&with_clients).map(Row::count);
    let (passed, failed) = counts.fold((0, 0), |sum, row| (sum.0 + row.0, sum.1 + row.1));
    println!("\n{passed} passed, {} failed", failed + missing.len());
    Ok(failed == 0 && missing.is_empty() && passed > 0)
}

/// Plays all rows, a few at once, and returns them in order.
async fn play(pairs: Vec<Pair>, options: &Options) -> Vec<Row> {
    let slots = Arc::new(Semaphore::new(options.jobs));
    let only: Arc<[String]> = options.only.clone().into();
    let mut running = JoinSet::new();
    for (place, pair) in pairs.into_iter().enumerate() {
        let (slots, only) = (Arc::clone(&slots), Arc::clone(&only));
        running.spawn(async move {
            let _slot = slots.acquire_owned().await;
            (place, pair.play(&only).await)
        });
    }
    let mut rows = BTreeMap::new();
    while let Some(row) = running.join_next().await {
        match row {
            Ok((place, row)) => drop(rows.insert(place, row)),
            Err(error) => println!("a row ended with {error}"),
        }
    }
    rows.into_values().collect()
}
