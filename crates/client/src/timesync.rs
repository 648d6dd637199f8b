//! The time synchronisation extension of the client: what the server's clock says.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bayeux_proto::ext::timesync::{Estimator, Reply};
use bayeux_proto::{Channel, Message};

use crate::clock::{from_unix_ms, unix_ms};
use crate::extension::{Extension, Veto};

/// Compares the clocks of client and server with each meta message, as CometD's timesync extension does.
///
/// It is a handle: give a clone to [`Builder::extension`](crate::Builder::extension) and keep one to ask. Over a
/// loopback the error is within 2 ms; in general it is at most half the difference between the ways there and back.
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
    /// A comparison that has not begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long a message takes from here to the server: the mean of the last ten replies, in whole milliseconds.
    /// `None` before the first reply, or when the server lacks the extension.
    pub fn lag(&self) -> Option<Duration> {
        self.estimator().lag()
    }

    /// The server's clock minus ours in milliseconds, the mean of the last ten replies. `None` as for [`lag`](Self::lag).
    pub fn offset_ms(&self) -> Option<i64> {
        self.estimator().estimate().map(|estimate| estimate.offset_ms)
    }

    /// What the server's clock says now. `None` as for [`lag`](Self::lag).
    pub fn server_time(&self) -> Option<SystemTime> {
        self.estimator().server_ms(unix_ms(SystemTime::now())).map(from_unix_ms)
    }

    /// What our clock says, or said, when the server's says `server`: for the times in a server's messages. `None` as
    /// for [`lag`](Self::lag).
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
