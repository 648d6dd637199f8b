//! What the commands share: a client from the options, its events, its log, its end.

use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use bayeux::{Builder, Client, Error, Event, Proxy, TlsOptions};
use tokio::task::JoinHandle;
use tracing_subscriber::EnvFilter;

use crate::args::Connection;
use crate::failure::Failure;
use crate::interrupt::{Interruptions, interrupted};
use crate::narrator::Narrator;
use crate::{output, report};

/// Opens a client as the options say, does `work` until it is done or the user interrupts, and closes in good order.
/// What happens to the connection is told on standard error.
pub(crate) async fn run(
    url: &str,
    options: &Connection,
    work: impl AsyncFnOnce(&Client) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let client = client(url, options)?;
    let watch = watch(&client, options.events);
    let outcome = guard(&client, async {
        client.open().await?;
        work(&client).await
    })
    .await;
    // The last event is on its way already.
    let _ = tokio::time::timeout(Duration::from_secs(1), watch).await;
    outcome
}

/// Does `work` until it is done or the user interrupts, and closes in either case.
pub(crate) async fn guard(
    client: &Client,
    work: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let mut interruptions = Interruptions::new();
    let outcome = tokio::select! {
        outcome = work => outcome,
        code = interruptions.next() => Err(Failure::Interrupted(code)),
    };
    tokio::select! {
        // The client is closed in any case.
        _ = client.close() => outcome,
        code = interruptions.next() => Err(Failure::Interrupted(code)),
    }
}

/// Closes in good order, or not when the user interrupts.
pub(crate) async fn close(client: &Client) -> Result<(), Failure> {
    tokio::select! {
        // The client is closed in any case.
        _ = client.close() => Ok(()),
        code = interrupted() => Err(Failure::Interrupted(code)),
    }
}

/// A client as the options say, with its log, not yet open.
pub(crate) fn client(url: &str, options: &Connection) -> Result<Client, Failure> {
    if options.verbose {
        log("bayeux::wire=trace,bayeux=debug");
    }
    Ok(builder(url, options)?.build()?)
}

/// Tells on standard error what happens to the connection, to programs or to people, until the client is closed.
fn watch(client: &Client, as_json: bool) -> JoinHandle<()> {
    let mut events = client.events();
    tokio::spawn(async move {
        let mut narrator = Narrator::default();
        while let Some(event) = events.next().await {
            if as_json {
                output::print_event(report::event(&event));
            } else if let Some(sentence) = narrator.tell(&event) {
                output::warning(&sentence);
            }
            if matches!(event, Event::Closed(_)) {
                return;
            }
        }
    })
}

/// Prints the lifecycle events as JSON lines on standard error, for commands that tell people in their own way.
pub(crate) fn print_events(client: &Client) {
    drop(watch(client, true));
}

/// The options as those of a builder.
pub(crate) fn builder(url: &str, options: &Connection) -> Result<Builder, Failure> {
    if !url.contains("://") {
        return Err(Failure::UsageHint(
            "this is no URL of a server: http://, https://, ws:// or wss:// is missing".to_owned(),
            "write it as http://localhost:8080/cometd",
        ));
    }
    let mut builder = Client::builder(url)
        .fallback_urls(&options.fallback_url)
        .connection_timeout(options.connection_timeout.0)
        .connect_timeout(options.connect_timeout)
        .tls(tls(options)?);
    if !options.transport.is_empty() {
        builder = builder.connection_types(options.transport.iter().copied());
    }
    // What is wrong with them is told without them: they are secrets.
    for header in &options.header {
        let (name, value) = pair(header, ':', "--header: it is no \"Name: value\"")?;
        builder = builder.header(name, value);
    }
    for cookie in &options.cookie {
        let (name, value) = pair(cookie, '=', "--cookie: it is no name=value")?;
        builder = builder.cookie(name, value);
    }
    match options.proxy.as_deref() {
        None => {}
        Some("none") => builder = builder.proxy(Proxy::none()),
        Some(url) => builder = builder.proxy(Proxy::url(url)?),
    }
    Ok(builder)
}

fn pair<'a>(text: &'a str, separator: char, wrong: &str) -> Result<(&'a str, &'a str), Failure> {
    match text.split_once(separator) {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim(), value.trim())),
        _ => Err(Failure::Usage(wrong.to_owned())),
    }
}

fn tls(options: &Connection) -> Result<TlsOptions, Failure> {
    let read = |option: &str, path: &Path| {
        std::fs::read(path)
            .map_err(|error| Failure::Usage(format!("{option}: cannot read {}: {error}", path.display())))
    };
    let mut tls = TlsOptions::new();
    if let Some(ca) = &options.ca {
        tls = tls.ca_pem(&read("--ca", ca)?).map_err(|error| unusable("--ca", ca, &error))?;
    }
    if let (Some(cert), Some(key)) = (&options.cert, &options.key) {
        tls = tls
            .client_certificate_pem(&read("--cert", cert)?, &read("--key", key)?)
            .map_err(|error| unusable("--cert", cert, &error))?;
    }
    if options.insecure {
        tls = tls.dangerously_trust_anyone();
    }
    Ok(tls)
}

fn unusable(option: &str, path: &Path, error: &Error) -> Failure {
    let text = error.to_string();
    let why = text.strip_prefix("configuration: ").unwrap_or(&text);
    Failure::Usage(format!("{option} {}: {why}", path.display()))
}

/// The client's URL as it may be shown: without user, password and query.
pub(crate) fn shown_url(client: &Client) -> String {
    let mut url = client.url().clone();
    // Only URLs without a host refuse this, and those have no user either.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.to_string()
}

/// Logs to standard error.
pub(crate) fn log(filter: &str) {
    // A second logger would be a mistake of ours, and no reason to fail.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .try_init();
}
