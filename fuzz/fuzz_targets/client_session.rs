//! The client's session under a server and a network that do anything, as `bayeux_fuzz::client` says.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|script: &str| bayeux_fuzz::client::Client::run(script));
