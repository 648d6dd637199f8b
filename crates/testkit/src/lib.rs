//! What the tests of a program that speaks CometD need.
//!
//! | | |
//! |---|---|
//! | [`TestServer`] | a real server in the process, which can be cut, restarted, or made to forget its sessions |
//! | [`Peer`] | a scripted server, which says exactly what a test wants it to say, right or wrong |
//! | [`FaultProxy`] | a network between a client and any server, which breaks on demand |
//! | [`HttpProxy`], [`SocksProxy`] | the proxies of a company network |
//! | [`Authority`] | certificates |
//!
//! They listen on a free port of the loopback interface, so that tests run in parallel, and end when they are
//! dropped. They panic when they cannot do their part: that ends the test.
//!
//! With tokio's paused clock (`tokio::time::pause`), what takes hours takes milliseconds: all waits of client, server, peer and
//! network are tokio's. Connect before the clock is paused, since it does not wait for the kernel to carry bytes.
//! `docs/testing-your-program.md` in the repository has a test of each kind.
//!
//! [`sim`] is something else: both sessions and a network that fails, in virtual time, from one seed. It is how this project
//! proves its own laws, and knows nothing of a user's program.
//!
//! ```
//! use bayeux_testkit::TestServer;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), bayeux::Error> {
//! let server = TestServer::start().await;
//! let client = bayeux::Client::connect(&server.url()).await?;
//! client.subscribe("/news").await?;
//! server.publish("/news", "hello");
//! assert_eq!(client.receive().await?.data().as_str(), "\"hello\"");
//!
//! // The server comes back without a memory; the client restores its subscription.
//! let mut events = client.events();
//! server.restart().await;
//! while !matches!(events.next().await, Some(bayeux::Event::Connected { .. })) {}
//! client.publish("/news", "again").await?;
//! assert_eq!(client.receive().await?.data().as_str(), "\"again\"");
//! client.close().await
//! # }
//! ```

pub mod sim;

#[cfg(feature = "sockets")]
mod peer;
#[cfg(feature = "sockets")]
mod proxy;
#[cfg(feature = "sockets")]
mod server;
#[cfg(feature = "sockets")]
mod tls;

#[cfg(feature = "sockets")]
pub use peer::{Answer, Peer, Request, RequestKind};
#[cfg(feature = "sockets")]
pub use proxy::{FaultProxy, HttpProxy, ProxiedRequest, SocksProxy};
#[cfg(feature = "sockets")]
pub use server::{TestServer, TestServerBuilder};
#[cfg(feature = "sockets")]
pub use tls::{Authority, Identity};
