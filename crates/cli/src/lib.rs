//! The command `bayeux`: CometD at the terminal and in scripts.
//!
//! The library has one function, for programs that contain the command, such as the Python package `aiobayeux`. The options
//! and the output are documented by `bayeux --help`.

mod args;
mod arguments;
mod bench;
mod chat;
mod command;
mod config;
mod context;
mod demo;
mod excerpt;
mod failure;
mod harmless;
mod input;
mod inspect;
mod interrupt;
mod json;
mod line;
mod narrator;
mod output;
mod payload;
mod pipe;
mod publish;
mod report;
mod request;
mod screen;
mod secrets;
mod serve;
mod session;
mod subscribe;
mod syntax;
mod target;
mod under_way;
mod values;

use std::ffi::OsString;

use clap::{CommandFactory, Parser};

use crate::args::{Args, Command};
use crate::failure::Failure;

/// Runs the command with these arguments, the first of which is its name, and returns its exit code.
///
/// It starts a runtime of its own, handles SIGINT, SIGTERM and SIGHUP, and uses the standard streams of the process.
pub fn run<A: Into<OsString> + Clone>(arguments: impl IntoIterator<Item = A>) -> u8 {
    let args = match Args::try_parse_from(arguments) {
        Ok(args) => args,
        Err(error) => {
            // The same as `Args::parse`, which would end the process. Nobody is left to tell of a closed output.
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::from(error).report(),
    };
    let outcome = runtime.block_on(execute(args));
    // A thread that still reads the terminal must not delay the exit.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => 0,
        Err(failure) => failure.report(),
    }
}

async fn execute(args: Args) -> Result<(), Failure> {
    match args.command {
        Command::Serve(options) => serve::run(&options).await,
        Command::Subscribe(options) => subscribe::run(options).await,
        Command::Publish(options) => publish::run(options).await,
        Command::Request(options) => request::run(options).await,
        Command::Inspect(options) => inspect::run(options).await,
        Command::Chat(options) => chat::run(options).await,
        Command::Pipe(options) => pipe::run(options).await,
        Command::Bench(options) => bench::run(options).await,
        Command::Context(options) => context::run(options),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "bayeux", &mut script);
            Ok(output::print_bytes(&script)?)
        }
    }
}
