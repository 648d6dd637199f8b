//! `bayeux serve`

use std::io::ErrorKind;

use bayeux_server::{Server, Transport};

use crate::args::Serve;
use crate::demo::Demo;
use crate::failure::Failure;
use crate::interrupt::Interruptions;
use crate::{output, session};

pub(crate) async fn run(options: &Serve) -> Result<(), Failure> {
    match options.verbose {
        0 => {}
        1 => session::log("bayeux_server=debug"),
        _ => session::log("bayeux_server=trace,hyper=debug"),
    }
    let demo = Demo::default();
    let mut builder = Server::builder().timeout(options.timeout).max_interval(options.max_interval);
    // Any page that a browser on this machine shows could otherwise read and publish here.
    if !options.origins.iter().any(|origin| origin == "any") {
        builder = builder.same_origin(true).origins(&options.origins);
    }
    if options.callback_polling {
        let all = [Transport::WebSocket, Transport::LongPolling, Transport::CallbackPolling];
        builder = builder.transports(all);
    }
    let server = demo
        .install(builder.max_message_size(options.max_message_size))
        .build()
        .map_err(|error| Failure::Usage(error.to_string()))?;
    tokio::spawn(demo.watch(&server));
    let running = server
        .bind((options.host.as_str(), options.port))
        .await
        .map_err(|error| cannot_listen(options, &error))?;
    let mut interruptions = Interruptions::new();
    output::print(running.url())?;
    let more =
        if options.callback_polling { ", long-polling and callback-polling" } else { " and long-polling" };
    output::note(&format!("CometD over WebSocket{more}, with the chat demo; ^C ends it."));
    interruptions.next().await;
    tokio::select! {
        () = running.shutdown() => Ok(()),
        code = interruptions.next() => Err(Failure::Interrupted(code)),
    }
}

fn cannot_listen(options: &Serve, error: &std::io::Error) -> Failure {
    let text = format!("cannot listen on {}, port {}: {error}", options.host, options.port);
    match error.kind() {
        ErrorKind::AddrInUse => Failure::UsageHint(text, "--port 0 picks a free port"),
        ErrorKind::PermissionDenied => Failure::UsageHint(
            text,
            "ports below 1024 are reserved: use --port 8080, or --port 0 for a free port",
        ),
        _ => Failure::UsageHint(
            text,
            "--host must be an address of this machine, such as 127.0.0.1, or 0.0.0.0 for all addresses",
        ),
    }
}
