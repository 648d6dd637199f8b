//! Where markers are kept.

use super::error::StoreError;

/// Keeps the marker of each channel: the id of the last event that was processed, with all before it.
///
/// The methods may block: the client calls them outside the tasks of the runtime, one at a time for each channel.
pub trait ReplayStore: Send + Sync + 'static {
    /// Returns the marker of a channel, which may have a filter; `None` if there is none.
    ///
    /// # Errors
    /// An error ends [`Client::stream_from`](crate::Client::stream_from).
    fn load(&self, channel: &str) -> Result<Option<i64>, StoreError>;

    /// Saves the marker of a channel. When this returns, the marker is to survive the end of the process.
    ///
    /// # Errors
    /// An error is returned by [`ReplayStream::next`](super::ReplayStream::next) or [`Tracked::ack`](super::Tracked::ack), and the
    /// marker is saved with the next one.
    fn save(&self, channel: &str, marker: i64) -> Result<(), StoreError>;

    /// Whether the methods may block. Default: true.
    fn may_block(&self) -> bool {
        true
    }
}

impl<S: ReplayStore + ?Sized> ReplayStore for std::sync::Arc<S> {
    fn load(&self, channel: &str) -> Result<Option<i64>, StoreError> {
        (**self).load(channel)
    }

    fn save(&self, channel: &str, marker: i64) -> Result<(), StoreError> {
        (**self).save(channel, marker)
    }

    fn may_block(&self) -> bool {
        (**self).may_block()
    }
}
