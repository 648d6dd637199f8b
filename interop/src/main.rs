//! Our client with every server, and our server with every client: installs them, runs them, and writes a table.
//! `interop/run` calls this; see `interop/README.md`.

mod cell;
mod driven;
mod guard;
mod install;
mod known;
mod misbehaviour;
mod networks;
mod options;
mod ours;
mod outcome;
mod pair;
mod peers;
mod process;
mod report;
mod run;
mod scenarios;
mod server;
mod table;
mod tap;
mod trace;
mod until;
mod user;
mod wire;

use std::process::ExitCode;

use crate::options::Options;
use crate::outcome::Outcome;

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "serve") {
        return exit_code(ours::serve(&args[1..]).await.map(|()| true));
    }
    if args.first().is_some_and(|arg| arg == "guard") {
        return exit_code(guard::run(&args[1..]).await.map(|()| true));
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
        outcome = run::run(&options) => exit_code(outcome),
        // Dropping what runs closes the input of all processes, and they end with it.
        () = interrupted() => {
            eprintln!("interrupted");
            ExitCode::from(130)
        }
    }
}

fn exit_code(outcome: Outcome<bool>) -> ExitCode {
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
