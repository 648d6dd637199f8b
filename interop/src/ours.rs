//! Our server as a peer: `serve PORT HOLD KEEP`, as all the others.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bayeux_server::{
    BayeuxError, Channel, ClientId, Denial, Message, Policy, Request, Server, ServiceError, Transport,
};
use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::outcome::Outcome;

/// What is written to a server's standard input.
#[derive(Debug, Deserialize)]
struct Publish {
    channel: String,
    data: Value,
}

pub(crate) async fn serve(args: &[String]) -> Outcome {
    let mut numbers = args.iter().map(|arg| arg.parse::<u64>());
    let mut number = || numbers.next().ok_or("serve PORT HOLD KEEP");
    let port = u16::try_from(number()??)?;
    let (hold, keep) = (number()??, number()??);
    let handle: Arc<OnceLock<Server>> = Arc::default();
    let dismissing = Arc::clone(&handle);
    let server = Server::builder()
        .timeout(Duration::from_millis(hold))
        .max_interval(Duration::from_millis(keep))
        .max_message_size(16 * 1024 * 1024)
        .transports([Transport::WebSocket, Transport::LongPolling, Transport::CallbackPolling])
        .policy(Gate)
        .service("/service/echo", |request: Request| async move { Ok::<_, ServiceError>(Some(request.data)) })
        .service("/service/fail", |_| async { Err(ServiceError::new(500, "failed_as_asked")) })
        .service("/service/dismiss", move |request: Request| {
            let server = Arc::clone(&dismissing);
            async move {
                if let Some(server) = server.get() {
                    server.disconnect(&request.session);
                }
                Ok::<_, ServiceError>(None)
            }
        })
        .build()?;
    let _ = handle.set(server.clone());
    let running = server.bind(("127.0.0.1", port)).await?;
    println!("READY {}", running.url());
    let mut input = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = input.next_line().await? {
        let publish: Publish = serde_json::from_str(&line)?;
        server.publish(publish.channel, &publish.data)?;
    }
    running.shutdown().await;
    Ok(())
}

/// Refuses everything under `/denied/`, and handshakes that ask for it.
struct Gate;

impl Policy for Gate {
    fn may_handshake(&mut self, handshake: &Message) -> Result<(), Denial> {
        let asked = handshake.ext_value("interop") == Some(Value::from("deny"));
        if asked { Err(Denial::with(BayeuxError::new(403, "", "handshake_denied"))) } else { Ok(()) }
    }

    fn may_subscribe(&mut self, _: &ClientId, channel: &Channel) -> Result<(), Denial> {
        open(channel)
    }

    fn may_publish(&mut self, _: &ClientId, message: &Message) -> Result<(), Denial> {
        open(message.channel())
    }
}

fn open(channel: &Channel) -> Result<(), Denial> {
    if channel.as_str().starts_with("/denied/") { Err(Denial::new()) } else { Ok(()) }
}
