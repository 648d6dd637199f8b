//! Measures the client beside the floor, which is a bare loop that reads the same frames, and beside the clients of
//! others, on the same work in the same run.

mod descriptors;
mod feed;
mod figure;
mod floor;
mod goals;
mod greedy;
mod job;
mod meter;
mod ours;
mod page;
mod plot;
mod process;
mod race;
mod racers;
mod report;
mod results;
mod servers;
mod works;

use clap::{Parser, Subcommand};

type Fallible<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Measures the client beside the floor and the clients of others; prints one table.
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the works and print the table.
    Race(race::Race),
    /// Load our server and CometD's Java server with `bayeux bench`, in turn, and print the table.
    Servers(servers::Servers),
    /// Attack our server with 1 MB/s in several ways, and print what another client notices, and the server's memory.
    Greedy(greedy::Greedy),
    /// Serve as the attacked server, until the standard input ends; prints the address.
    #[command(hide = true)]
    Stand(greedy::Stand),
    /// Serve feeds, as the works ask for them in their URL; prints the port.
    Feed {
        /// Over TLS, with a certificate that is written to this file.
        #[arg(long)]
        tls: Option<std::path::PathBuf>,
    },
    /// Do one job with our client, and print the measurement.
    Ours(job::Job),
    /// Do one job with a bare loop, and print the measurement.
    Floor(job::Job),
    /// Print the table again from the files of earlier runs.
    Show {
        /// The files. What several have is taken from the first, and the machine from the first that measured clients.
        #[arg(required = true)]
        files: Vec<std::path::PathBuf>,
        /// Put the tables and plots between the markers of this page, and what they are made of into a file beside it
        /// that ends in json.
        #[arg(long)]
        page: Option<std::path::PathBuf>,
    },
}

fn main() -> Fallible {
    match Args::parse().command {
        Command::Race(race) => race.run(),
        Command::Servers(servers) => servers.run(),
        Command::Greedy(greedy) => greedy.run(),
        Command::Stand(stand) => stand.run(),
        Command::Feed { tls } => feed::run(tls.as_deref()),
        Command::Ours(job) => ours::run(&job),
        Command::Floor(job) => floor::run(&job),
        Command::Show { files, page } => page::show(&files, page.as_deref()),
    }
}
