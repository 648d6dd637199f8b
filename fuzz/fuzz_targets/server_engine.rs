//! The server's engine under clients that do anything, as `bayeux_fuzz::server` says.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|script: &str| bayeux_fuzz::server::Server::run(script));
