//! Events of a connection as sentences for people.

use bayeux::Event;

/// Turns events into sentences, and remembers which facts have been reported, so that none is reported twice.
#[derive(Debug, Default)]
pub(crate) struct Narrator {
    lost: bool,
    /// The client was connected before.
    connected: bool,
    /// The cause that was reported last while waiting for the first connection.
    cause: Option<String>,
}

impl Narrator {
    /// The sentence for an event; `None` if people do not need to know of it.
    pub(crate) fn describe(&mut self, event: &Event) -> Option<String> {
        Some(match event {
            Event::Lost { cause, .. } => {
                self.lost = true;
                format!("connection lost: {cause}")
            }
            // The loss has just been reported.
            Event::Retrying { delay, failures: 0 | 1, .. } if self.lost => {
                format!("trying again in {:.1} s", delay.as_secs_f64())
            }
            // While a server is not up yet, each cause is reported once.
            Event::Retrying { cause, .. } if !self.connected => {
                let cause = cause.to_string();
                if self.cause.as_ref() == Some(&cause) {
                    return None;
                }
                format!("waiting for the server: {}", self.cause.insert(cause))
            }
            Event::Retrying { delay, cause, .. } => {
                format!("no connection: {cause}; trying again in {:.1} s", delay.as_secs_f64())
            }
            Event::Connected { .. } if !std::mem::replace(&mut self.connected, true) => {
                self.lost = false;
                return None;
            }
            Event::Connected { transport, .. } if std::mem::take(&mut self.lost) => {
                format!("connected again over {transport}")
            }
            Event::TransportChanged { to, cause: Some(cause), .. } => {
                format!("continuing over {to}: {cause}")
            }
            Event::ServerChanged { to, cause, .. } => {
                // This implies that the connection was lost.
                self.lost = true;
                format!("continuing with {to}: {cause}")
            }
            Event::Resubscribed { channel, outcome: Err(error), .. } => {
                format!("{channel} could not be restored: {error}")
            }
            Event::GapPossible { channels, .. } => {
                let channels: Vec<_> = channels.iter().map(|channel| channel.as_str()).collect();
                format!("messages on {} may have been missed", channels.join(", "))
            }
            Event::AdviceCapped { what, advised, used, .. } => format!(
                "the server asked to wait {} ({what}), which is too long: {} is used; --max-advised-wait sets the limit",
                humantime::format_duration(*advised),
                humantime::format_duration(*used)
            ),
            Event::CookiesWithheld { names, .. } => format!(
                "cookies for TLS only were not sent: {}; --secure-cookies-over-http sends them",
                names.join(", ")
            ),
            Event::RequestFailed { channel, failure, .. } if !self.lost => {
                format!("a request to {channel} failed: {failure}")
            }
            Event::PublishFailed { channel, error, .. } => {
                format!("a message to {channel} was not published: {error}")
            }
            Event::SlowConsumer { dropped, .. } => {
                format!("{dropped} messages were dropped because the output is read too slowly")
            }
            _ => return None,
        })
    }
}
