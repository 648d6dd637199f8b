//! The command as users run it: real processes over the loopback interface, one file a command.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bench;
mod chat;
mod completions;
mod contexts;
mod credentials;
mod documented;
mod help;
mod inspect;
mod options;
mod pipe;
mod publish;
mod refusals;
mod request;
mod running;
mod serve;
mod subscribe;
#[cfg(unix)]
mod terminal;
mod tls;
