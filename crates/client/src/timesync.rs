//! The timesync extension of the client, which estimates the server's clock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bayeux_proto::ext::timesync::{Estimator, Reply};
use bayeux_proto::{Channel, Message};

use crate::clock::{from_unix_ms, unix_ms};
use crate::extension::{Extension, Veto};

/// An [`Extension`] that estimates the difference between the clocks of client and server with each meta message, as CometD's
/// timesync extension does.
///
/// `TimeSync` is a handle: pass a clone to [`Builder::extension`](crate::Builder::extension) and keep one for queries. The error of
/// the estimate is at most half the difference between the network delays in both directions.
///
/// ```
/// use bayeux::{Client, TimeSync};
///
/// let time = TimeSync::new();
/// let client = Client::builder("https://example.com/cometd").extension(time.clone()).build()?;
/// assert_eq!(time.lag(), None); // before the first reply
/// # Ok::<(), bayeux::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct TimeSync(Arc<Mutex<Estimator>>);

impl TimeSync {
    /// Creates an extension without an estimate.
    pub fn new() -> Self {
        Self::default()
    }

    /// The network delay from the client to the server, in whole milliseconds: the mean of the last ten replies. `None` before the first
    /// reply, or if the server does not have the extension.
    pub fn lag(&self) -> Option<Duration> {
        self.estimator().lag()
    }

    /// The server's clock minus the local clock in milliseconds: the mean of the last ten replies. `None` as for [`lag`](Self::lag).
    pub fn offset_ms(&self) -> Option<i64> {
        self.estimator().estimate().map(|estimate| estimate.offset_ms)
    }

    /// The current time of the server's clock. `None` as for [`lag`](Self::lag).
    pub fn server_time(&self) -> Option<SystemTime> {
        self.estimator().server_ms(unix_ms(SystemTime::now())).map(from_unix_ms)
    }

    /// The time of the local clock at which the server's clock shows `server`, for times in the server's messages. `None` as for
    /// [`lag`](Self::lag).
    pub fn local_time(&self, server: SystemTime) -> Option<SystemTime> {
        self.estimator().client_ms(unix_ms(server)).map(from_unix_ms)
    }

    fn estimator(&self) -> MutexGuard<'_, Estimator> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Extension for TimeSync {
    fn outgoing(&self, message: &mut Message) -> Result<(), Veto> {
        if message.channel().is_meta() && message.channel() != Channel::DISCONNECT {
            self.estimator().request(unix_ms(SystemTime::now())).write(message);
        }
        Ok(())
    }

    fn incoming(&self, message: &mut Message) -> Result<(), Veto> {
        if message.channel().is_meta()
            && let Some(reply) = Reply::read(message)
        {
            self.estimator().observe(&reply, unix_ms(SystemTime::now()));
        }
        Ok(())
    }
}
