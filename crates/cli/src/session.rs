//! What the commands share: a client from the options, its events, its log, its end.

use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use bayeux::{AuthReason, Backoff, Builder, Client, Credentials, Error, Event, Proxy, TlsOptions};
use tokio::task::JoinHandle;
use tracing_subscriber::EnvFilter;

use crate::args::{Access, Connection, Patience};
use crate::failure::Failure;
use crate::interrupt::{Interruptions, interrupted};
use crate::narrator::Narrator;
use crate::secrets::Secrets;
use crate::target::Target;
use crate::{output, report};

/// Opens a client as the options say, does `work` until it is done or the user interrupts, and closes in good order.
/// What happens to the connection is told on standard error.
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
pub(crate) fn client(target: &Target, options: &Connection) -> Result<Client, Failure> {
    if options.verbose {
        log("bayeux::wire=trace,bayeux=debug");
    }
    Ok(builder(target, options)?.build()?)
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

/// Reports on standard error what happens to the connection, to programs or to people, for as long as the client is open.
pub(crate) fn report_events(client: &Client, options: &Connection) {
    drop(watch(client, options.events));
}

/// Prints the lifecycle events as JSON lines on standard error, for commands that tell people in their own way.
pub(crate) fn print_events(client: &Client) {
    drop(watch(client, true));
}

/// The options as those of a builder.
pub(crate) fn builder(target: &Target, options: &Connection) -> Result<Builder, Failure> {
    let Target { url, access, secrets } = target;
    if options.wait.is_some() && humantime::parse_duration(url).is_ok() {
        return Err(Failure::UsageHint(format!("{url} is no URL"), "a time to wait is written --wait=1m"));
    }
    check_scheme(url)?;
    let mut builder = Client::builder(url)
        .fallback_urls(&access.fallback_url)
        .outage_timeout(options.outage_timeout.0)
        .connect_timeout(options.connect_timeout)
        .secure_cookies_over_http(access.secure_cookies_over_http)
        .tls(tls(access)?);
    if !access.transport.is_empty() {
        builder = builder.transports(access.transport.iter().copied());
    }
    if let Some(Patience(wait)) = options.wait {
        builder = builder.retry_open(true).open_timeout(wait).retry(
            // Who waits for a server to come up wants to know it soon.
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

/// Whether a client could be made of these.
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
        "this is no URL of a server: http://, https://, ws:// or wss:// is missing".to_owned(),
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
        .with_writer(|| output::Log)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .try_init();
}
