//! What happens to a connection, told to people.

use bayeux::Event;

/// Tells what people need to know, and remembers what they know.
#[derive(Debug, Default)]
pub(crate) struct Narrator {
    lost: bool,
    /// There was a connection.
    connected: bool,
    /// Why there was none when that was told last.
    cause: Option<String>,
}

impl Narrator {
    /// A sentence, if the event is worth one.
    pub(crate) fn tell(&mut self, event: &Event) -> Option<String> {
        Some(match event {
            Event::Lost { cause } => {
                self.lost = true;
                format!("connection lost: {cause}")
            }
            // The loss itself has just been told.
            Event::Retrying { delay, failures: 0 | 1, .. } if self.lost => {
                format!("trying again in {:.1} s", delay.as_secs_f64())
            }
            // Who waits for a server to come up is told once what is the matter.
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
            Event::Connected { transport } if std::mem::take(&mut self.lost) => {
                format!("connected again over {transport}")
            }
            Event::TransportChanged { to, cause: Some(cause), .. } => format!("going on over {to}: {cause}"),
            Event::ServerChanged { to, cause, .. } => {
                // That says as much as a loss.
                self.lost = true;
                format!("going on with {to}: {cause}")
            }
            Event::Resubscribed { channel, outcome: Err(error) } => {
                format!("{channel} could not be restored: {error}")
            }
            Event::GapPossible { channels } => {
                let channels: Vec<_> = channels.iter().map(|channel| channel.as_str()).collect();
                format!("messages on {} may have been missed", channels.join(", "))
            }
            Event::AdviceCapped { what, advised, used } => format!(
                "the server asked to wait {} ({what}), which is too long: {} is used",
                humantime::format_duration(*advised),
                humantime::format_duration(*used)
            ),
            Event::CookiesWithheld { names } => format!(
                "cookies for TLS only were not sent: {}; --secure-cookies-over-http sends them",
                names.join(", ")
            ),
            Event::RequestFailed { channel, failure, .. } if !self.lost => {
                format!("a request to {channel} failed: {failure}")
            }
            Event::PublishFailed { channel, error } => {
                format!("a message to {channel} was not published: {error}")
            }
            Event::SlowConsumer { dropped, .. } => {
                format!("{dropped} messages were dropped: whoever reads the output is too slow")
            }
            _ => return None,
        })
    }
}
