//! Runs the client against servers that others wrote. `interop/run` installs them and calls this with their names.

mod peer;
mod scenarios;

use bayeux::ConnectionType;

use crate::peer::Peer;

#[tokio::main]
async fn main() -> std::process::ExitCode {
    let (mut passed, mut failed) = (0, 0);
    let mut rows = Vec::new();
    for name in std::env::args().skip(1) {
        match Peer::start(&name).await {
            Ok(peer) => rows.extend(try_peer(&peer, &mut passed, &mut failed).await),
            Err(error) => {
                println!("{name}: {error}");
                failed += 1;
            }
        }
    }
    println!("\n| peer | transport | {} |", scenarios::NAMES.join(" | "));
    println!("|---|---|{}", "---|".repeat(scenarios::NAMES.len()));
    rows.iter().for_each(|row| println!("{row}"));
    println!("\n{passed} passed, {failed} failed");
    if failed == 0 && passed > 0 { std::process::ExitCode::SUCCESS } else { std::process::ExitCode::FAILURE }
}

/// The rows of one peer in the table.
async fn try_peer(peer: &Peer, passed: &mut u32, failed: &mut u32) -> Vec<String> {
    let mut rows = Vec::new();
    for transport in [ConnectionType::WebSocket, ConnectionType::LongPolling] {
        let mut cells = Vec::new();
        for name in scenarios::NAMES {
            cells.push(match scenarios::run(name, peer, transport).await {
                None => "-",
                Some(Ok(())) => {
                    *passed += 1;
                    "pass"
                }
                Some(Err(error)) => {
                    println!("{} over {transport}, {name}: {error}", peer.name);
                    *failed += 1;
                    "FAIL"
                }
            });
        }
        rows.push(format!("| {} | {transport} | {} |", peer.name, cells.join(" | ")));
    }
    rows
}
