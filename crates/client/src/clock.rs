//! The wall clock in the unit of the wire: milliseconds since the beginning of 1970, UTC.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(crate) fn unix_ms(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
    }
}

/// Times that the clock cannot represent are the epoch: a server sent an invalid value.
pub(crate) fn from_unix_ms(ms: i64) -> SystemTime {
    let span = Duration::from_millis(ms.unsigned_abs());
    let time = if ms < 0 { UNIX_EPOCH.checked_sub(span) } else { UNIX_EPOCH.checked_add(span) };
    time.unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_and_after_1970_survive() {
        for ms in [0, 1, -1, 1_700_000_000_123, -1_700_000_000_123] {
            assert_eq!(unix_ms(from_unix_ms(ms)), ms);
        }
        let _ = (from_unix_ms(i64::MIN), from_unix_ms(i64::MAX));
    }
}
