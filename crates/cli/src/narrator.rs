//! What happens to a connection, told to people.

use bayeux::Event;

/// Tells what people need to know, and remembers what they know.
#[derive(Debug, Default)]
pub(crate) struct Narrator {
    lost: bool,
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
            Event::Retrying { delay, cause, .. } => {
                format!("no connection: {cause}; trying again in {:.1} s", delay.as_secs_f64())
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
            Event::SlowConsumer { dropped, .. } => {
                format!("{dropped} messages were dropped: whoever reads the output is too slow")
            }
            _ => return None,
        })
    }
}
