//! A server made with axum-cometd. Prints `READY URL`, publishes the lines of its input, and ends when that does.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use axum_cometd::{LongPollingServiceContext, LongPollingServiceContextBuilder, RouterBuilder};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let numbers: Vec<u64> = std::env::args().skip(1).map(|arg| arg.parse()).collect::<Result<_, _>>()?;
    let [port, timeout, max_interval] = numbers[..] else { return Err("PORT TIMEOUT MAX_INTERVAL".into()) };
    let context: Arc<LongPollingServiceContext<(), ()>> = LongPollingServiceContextBuilder::new()
        .timeout(Duration::from_millis(timeout))
        .max_interval(Duration::from_millis(max_interval))
        .client_channel_capacity(20_000)
        .subscription_channel_capacity(20_000)
        .build();
    let router = RouterBuilder::new()
        // Where clients that add the name of a meta message to the URL look for it.
        .subscribe_base_path("/cometd/subscribe")
        .handshake_base_path("/cometd")
        .connect_base_path("/cometd")
        .disconnect_base_path("/cometd")
        .build(Arc::clone(&context));
    let listener = TcpListener::bind(("127.0.0.1", u16::try_from(port)?))?;
    println!("READY http://{}/cometd", listener.local_addr()?);
    let serving = axum::Server::from_tcp(listener)?.serve(router.into_make_service());
    let publishing = async {
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        while let Some(line) = lines.next_line().await? {
            let publish: Value = serde_json::from_str(&line)?;
            let channel = publish["channel"].as_str().unwrap_or_default();
            if let Err(error) = context.send(channel, publish["data"].clone()).await {
                eprintln!("cannot send to {channel}: {error}");
            }
        }
        Ok::<_, Box<dyn std::error::Error>>(())
    };
    tokio::select! {
        served = serving => served.map_err(Into::into),
        published = publishing => published,
    }
}
