//! Clients, a server, and a network that fails, in virtual time.
//!
//! The sessions are the real ones, [`bayeux_proto::client::Session`] and [`bayeux_proto::server::Engine`]; the shells
//! around them and the network between them are simulated. There is no clock, no thread and no socket, so a lifetime of
//! minutes takes a millisecond, and the same seed always gives the same lifetime.
//!
//! - [`Simulation`] makes up a whole lifetime from a seed: clients, what they do, and what goes wrong.
//! - [`Scenario`] is for a plan of your own: with your configuration, your retries, your order of events.
//!
//! Both check a set of [laws](Law) all the time, and give a [`Report`], or a [`Broken`] law with a [`Trace`] of all that
//! led to it.

mod acting;
mod chance;
mod client;
mod client_driver;
mod exhaust;
mod fault;
mod gate;
mod http;
mod law;
mod ledger;
mod life;
mod post;
mod queue;
mod records;
mod report;
mod run;
mod scenario;
mod server;
mod server_driver;
mod serving;
mod simulation;
mod slow;
mod socket;
mod trace;
mod world;

pub use client_driver::ClientDriver;
pub use exhaust::{Searched, SmallWorld};
pub use fault::{Counts, Fault};
pub use law::{Law, Violation};
pub use life::Snapshot;
pub use records::Records;
pub use report::{Broken, Report};
pub use scenario::{Actor, Credentials, Overflow, Receiver, Scenario, Step};
pub use server_driver::ServerDriver;
pub use simulation::Simulation;
pub use trace::Trace;

/// The programs of the README are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
