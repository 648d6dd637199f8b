//! What the commands share: building a client from the options, reporting its events, logging, and closing it.

use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use bayeux::{AuthReason, Backoff, Builder, Client, Credentials, Error, Event, Proxy, TlsOptions};
use tokio::task::JoinHandle;
use tracing_subscriber::EnvFilter;

use crate::args::{Access, Connection, TimeLimit};
use crate::failure::Failure;
use crate::interrupt::{Interruptions, interrupted};
use crate::narrator::Narrator;
use crate::secrets::Secrets;
use crate::target::Target;
use crate::{output, report};

/// Opens a client with these options, runs `work` until it completes or a signal interrupts it, and closes the session.
/// Reports the events of the connection on standard error.
pub(crate) async fn run(
    target: &Target,
    options: &Connection,
    work: impl AsyncFnOnce(&Client) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let client = client(target, options)?;
    let watch = watch(&client, options.events);
    let outcome = guard(&client, async {
        client.open().await?;
        work(&client).await
    })
    .await;
    // The last event has been emitted already.
    let _ = tokio::time::timeout(Duration::from_secs(1), watch).await;
    outcome
}

/// Runs `work` until it completes or a signal interrupts it, and closes the session in either case.
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

/// Closes the session; a signal ends the wait.
pub(crate) async fn close(client: &Client) -> Result<(), Failure> {
    tokio::select! {
        // The client is closed in any case.
        _ = client.close() => Ok(()),
        code = interrupted() => Err(Failure::Interrupted(code)),
    }
}

/// Builds a client from the options, with its log. It is not open yet.
pub(crate) fn client(target: &Target, options: &Connection) -> Result<Client, Failure> {
    if options.verbose {
        log("bayeux::wire=trace,bayeux=debug");
    }
    Ok(builder(target, options)?.build()?)
}

/// Reports the events on standard error, as JSON or as sentences, until the client is closed.
fn watch(client: &Client, as_json: bool) -> JoinHandle<()> {
    let mut events = client.events();
    tokio::spawn(async move {
        let mut narrator = Narrator::default();
        while let Some(event) = events.next().await {
            if as_json {
                output::print_event(report::event(&event));
            } else if let Some(sentence) = narrator.describe(&event) {
                output::warning(&sentence);
            }
            if matches!(event, Event::Closed(_)) {
                return;
            }
        }
    })
}

/// Reports the events on standard error in the format that the options ask for, until the client is closed.
pub(crate) fn report_events(client: &Client, options: &Connection) {
    drop(watch(client, options.events));
}

/// Prints the events as JSON lines on standard error, for commands that report them to people in another way.
pub(crate) fn print_events(client: &Client) {
    drop(watch(client, true));
}

/// A builder with these options.
pub(crate) fn builder(target: &Target, options: &Connection) -> Result<Builder, Failure> {
    let Target { url, access, secrets } = target;
    if options.wait.is_some() && humantime::parse_duration(url).is_ok() {
        return Err(Failure::UsageHint(format!("{url} is not a URL"), "a time to wait is written --wait=1m"));
    }
    check_scheme(url)?;
    let mut builder = Client::builder(url)
        .fallback_urls(&access.fallback_url)
        .outage_timeout(options.outage_timeout.0)
        .connect_timeout(options.connect_timeout)
        .max_advised_wait(options.max_advised_wait)
        .secure_cookies_over_http(access.secure_cookies_over_http)
        .tls(tls(access)?);
    if !access.transport.is_empty() {
        builder = builder.transports(access.transport.iter().copied());
    }
    if let Some(TimeLimit(wait)) = options.wait {
        builder = builder.retry_open(true).open_timeout(wait).retry(
            // With `--wait`, the user wants to connect soon after the server is up.
            Backoff::exponential(Duration::from_millis(250)..=Duration::from_secs(2)).jittered(),
        );
    }
    if let Some(bytes) = options.max_message_size {
        builder = builder.max_message_size(bytes).max_send_size(bytes);
    }
    for (name, value) in &secrets.headers {
        builder = builder.header(name, value);
    }
    for (name, value) in &secrets.cookies {
        builder = builder.cookie(name, value);
    }
    for (key, value) in &secrets.ext {
        builder = builder.handshake_ext(key, value.clone());
    }
    match &secrets.bearer {
        Some(bearer) if bearer.file.is_some() => {
            let bearer = bearer.clone();
            builder = builder.auth(move |reason| {
                let token = match reason {
                    AuthReason::First => bearer.token.clone(),
                    _ => bearer.renewed(),
                };
                async move { Ok(Credentials::bearer(&token)?) }
            });
        }
        Some(bearer) => builder = builder.header("Authorization", format!("Bearer {}", bearer.token)),
        None => {}
    }
    match access.proxy.as_deref() {
        None => {}
        Some("none") => builder = builder.proxy(Proxy::none()),
        Some(url) => builder = builder.proxy(Proxy::url(url)?),
    }
    Ok(builder)
}

/// Returns an error if no client can be built from these.
pub(crate) fn check(url: &str, fallback_urls: &[String], secrets: &Secrets) -> Result<(), Failure> {
    check_scheme(url)?;
    let mut builder = Client::builder(url).fallback_urls(fallback_urls);
    for (name, value) in &secrets.headers {
        builder = builder.header(name, value);
    }
    for (name, value) in &secrets.cookies {
        builder = builder.cookie(name, value);
    }
    builder.build()?;
    Ok(())
}

fn check_scheme(url: &str) -> Result<(), Failure> {
    if url.contains("://") {
        return Ok(());
    }
    Err(Failure::UsageHint(
        "the URL of the server lacks http://, https://, ws:// or wss://".to_owned(),
        "write it as http://localhost:8080/cometd",
    ))
}

fn tls(options: &Access) -> Result<TlsOptions, Failure> {
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

/// The client's URL without secrets: without user, password and query.
pub(crate) fn shown_url(client: &Client) -> String {
    let mut url = client.url().clone();
    // These fail only for URLs without a host, which have no user either.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.to_string()
}

/// Logs to standard error from now on.
pub(crate) fn log(filter: &str) {
    // It fails only if there is a logger already, which is a bug but no reason to end the command.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(|| output::Log)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .try_init();
}
