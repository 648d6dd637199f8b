//! The `timestamp` field: when a message was sent, by the sender's clock.
//!
//! We write the form of the specification, `YYYY-MM-DDThh:mm:ss.ss` in GMT. Nobody else does: CometD's
//! client, its JavaScript client and its server each have a form of their own. So there is nothing here to read one;
//! [`Fields::timestamp`](crate::Fields::timestamp) is the text as it came, to be shown to people.

use crate::message::Message;

/// Stamps a message with a time in milliseconds since the beginning of 1970, UTC.
pub fn set(message: &mut Message, unix_ms: i64) {
    message.fields_mut().timestamp = Some(format(unix_ms));
}

/// A time in milliseconds since the beginning of 1970, UTC, in the form of the specification. Milliseconds are cut to
/// hundredths of a second, not rounded, so that a stamp is never later than its time.
pub fn format(unix_ms: i64) -> String {
    const DAY: i64 = 86_400_000;
    let (year, month, day) = date(unix_ms.div_euclid(DAY));
    let in_day = unix_ms.rem_euclid(DAY);
    let (hours, minutes) = (in_day / 3_600_000, in_day / 60_000 % 60);
    let (seconds, hundredths) = (in_day / 1000 % 60, in_day / 10 % 100);
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{hundredths:02}")
}

/// The date that is so many days after 1970-01-01. Years are counted from March, so that the leap day comes last; the
/// Gregorian calendar repeats after 400 of them.
fn date(days: i64) -> (i64, i64, i64) {
    const ERA: i64 = 146_097;
    const FROM_MARCH_OF_YEAR_0: i64 = 719_468;
    let days = days + FROM_MARCH_OF_YEAR_0;
    let (era, day_of_era) = (days.div_euclid(ERA), days.rem_euclid(ERA));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / (ERA - 1)) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Channel;

    #[test]
    fn the_form_is_that_of_the_specification() {
        for (unix_ms, text) in [
            (0, "1970-01-01T00:00:00.00"),
            (-1, "1969-12-31T23:59:59.99"),
            (951_782_399_999, "2000-02-28T23:59:59.99"),
            (951_782_400_000, "2000-02-29T00:00:00.00"),
            (4_107_542_399_000, "2100-02-28T23:59:59.00"),
            (4_107_542_400_000, "2100-03-01T00:00:00.00"),
            (1_704_067_199_995, "2023-12-31T23:59:59.99"),
            (-62_135_596_800_000, "0001-01-01T00:00:00.00"),
        ] {
            assert_eq!(format(unix_ms), text);
        }
        let mut message = Message::meta(Channel::CONNECT);
        set(&mut message, 1_704_067_200_120);
        assert_eq!(message.fields().timestamp.as_deref(), Some("2024-01-01T00:00:00.12"));
    }

    proptest::proptest! {
        #[test]
        fn no_time_makes_it_panic_and_days_follow_each_other(days in -1_000_000i64..1_000_000, any: i64) {
            let _ = format(any);
            let (year, month, day) = date(days);
            let next = date(days + 1);
            let leap = year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0);
            let length = [31, 28 + i64::from(leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month as usize - 1];
            let expected = match (month, day == length) {
                (12, true) => (year + 1, 1, 1),
                (_, true) => (year, month + 1, 1),
                _ => (year, month, day + 1),
            };
            proptest::prop_assert_eq!(next, expected);
        }
    }
}
