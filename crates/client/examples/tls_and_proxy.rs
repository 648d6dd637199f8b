//! TLS with an authority of one's own, a client certificate, and a proxy with a password.
//!
//! `cargo run -p bayeux --example tls_and_proxy`

use bayeux::{Client, Proxy, TlsOptions, Transport};
use bayeux_testkit::{Authority, HttpProxy, TestServer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let authority = Authority::new();
    let server = TestServer::builder()
        .tls(authority.issue(&["127.0.0.1"]))
        .client_authority(authority.pem())
        .start()
        .await;
    let proxy = HttpProxy::with_password("ann", "secret").await;
    let certificate = authority.issue_client("ann");

    for transport in [Transport::WebSocket, Transport::LongPolling] {
        let tls = TlsOptions::new()
            .ca_pem(authority.pem().as_bytes())?
            .client_certificate_pem(certificate.chain_pem().as_bytes(), certificate.key_pem().as_bytes())?;
        let client = Client::builder(server.url())
            .transports([transport])
            .tls(tls)
            .proxy(Proxy::url(&proxy.url_with_password())?)
            .build()?;
        client.open().await?;
        let answer: String = client.request("/service/echo", "hello").await?;
        println!("{transport} through TLS and the proxy: {answer}");
        client.close().await?;
    }
    println!("the proxy has seen {} requests", proxy.requests().len());
    Ok(())
}
