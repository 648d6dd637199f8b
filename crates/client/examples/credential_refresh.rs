//! A token that expires: the client asks for another when the server refuses the one it has.
//!
//! `cargo run -p bayeux --example credential_refresh`

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bayeux::{AuthReason, Client, Credentials};
use bayeux_testkit::{Answer, Peer};

#[tokio::main]
async fn main() -> Result<(), bayeux::Error> {
    // A server that has revoked the first token by the time of the second publish.
    let peer = Peer::start(|request| match (request.name(), request.header("authorization")) {
        ("upgrade", _) => Answer::status(404),
        ("/news", Some("Bearer token-1")) if request.nth > 0 => Answer::status(401),
        _ => request.decently(),
    })
    .await;

    let issued = Arc::new(AtomicU32::new(0));
    let client = Client::builder(peer.url())
        .auth(move |reason: AuthReason| {
            let number = issued.fetch_add(1, Ordering::SeqCst) + 1;
            println!("a token is asked for: {reason:?}; token-{number} is issued");
            async move { Ok(Credentials::bearer(&format!("token-{number}"))?) }
        })
        .build()?;
    client.open().await?;
    for number in 1..=3 {
        client.publish("/news", &number).await?;
        println!("{number} is published");
    }
    client.close().await
}
