//! What all commands share: a client from the options, events, logs, interruption.

use std::future::Future;

use bayeux::{Builder, Client, Proxy, TlsOptions};
use tracing_subscriber::EnvFilter;

use crate::args::Connection;
use crate::failure::Failure;
use crate::{lines, report};

/// Opens a client as the options say.
pub(crate) async fn open(url: &str, options: &Connection) -> Result<Client, Failure> {
    let client = client(url, options)?;
    client.open().await?;
    Ok(client)
}

/// A client as the options say, with its events and its log, not yet open.
pub(crate) fn client(url: &str, options: &Connection) -> Result<Client, Failure> {
    if options.verbose {
        log("bayeux::wire=trace,bayeux=debug");
    }
    let client = builder(url, options)?.build()?;
    if options.events {
        let mut events = client.events();
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                lines::print_error(&report::event(&event));
            }
        });
    }
    Ok(client)
}

/// The options as those of a builder.
pub(crate) fn builder(url: &str, options: &Connection) -> Result<Builder, Failure> {
    let mut builder = Client::builder(url)
        .connection_timeout(options.connection_timeout.0)
        .connect_timeout(options.connect_timeout)
        .tls(tls(options)?);
    if !options.transport.is_empty() {
        builder = builder.connection_types(options.transport.iter().copied());
    }
    for (name, value) in &options.header {
        builder = builder.header(name, value);
    }
    for (name, value) in &options.cookie {
        builder = builder.cookie(name, value);
    }
    match options.proxy.as_deref() {
        None => {}
        Some("none") => builder = builder.proxy(Proxy::none()),
        Some(url) => builder = builder.proxy(Proxy::url(url)?),
    }
    Ok(builder)
}

fn tls(options: &Connection) -> Result<TlsOptions, Failure> {
    let read = |path: &std::path::Path| {
        std::fs::read(path)
            .map_err(|error| Failure::Usage(format!("cannot read {}: {error}", path.display())))
    };
    let mut tls = TlsOptions::new();
    if let Some(ca) = &options.ca {
        tls = tls.ca_pem(&read(ca)?)?;
    }
    if let (Some(cert), Some(key)) = (&options.cert, &options.key) {
        tls = tls.client_certificate_pem(&read(cert)?, &read(key)?)?;
    }
    if options.insecure {
        tls = tls.dangerously_trust_anyone();
    }
    Ok(tls)
}

/// Logs to standard error.
pub(crate) fn log(filter: &str) {
    // A second logger would be a mistake of ours, and no reason to fail.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_target(false)
        .try_init();
}

/// Does `work` until it is done or the user interrupts, and closes the client in either case.
pub(crate) async fn until_interrupted(
    client: &Client,
    work: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let outcome = tokio::select! {
        outcome = work => outcome,
        () = interrupted() => Err(Failure::Interrupted),
    };
    client.close().await?;
    outcome
}

/// Waits for ^C, or for the wish of the system that we end.
pub(crate) async fn interrupted() {
    #[cfg(unix)]
    if let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        return;
    }
    // Where there is no such signal to be had, there is nothing to wait for.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
