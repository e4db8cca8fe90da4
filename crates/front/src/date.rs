//! Calendar time as HTTP and logs write it.
//!
//! `date` knows UTC only. The current date is kept a thread and formatted once a second, because every
//! response carries it (RFC 9110 §6.6.1); reading it costs one `clock_gettime` in the vDSO.

use rustix::time::{ClockId, clock_gettime};
use std::cell::Cell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Bytes of a date such as `Sun, 06 Nov 1994 08:49:37 GMT`.
pub const HTTP_DATE_LEN: usize = 29;

/// The first second of the year 10000: neither HTTP nor RFC 3339 can write it.
const SECONDS_MAX: u64 = 253_402_300_800;
const DAY_NAMES: [&[u8; 3]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];
const MONTH_NAMES: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

thread_local! {
    static CURRENT: Cell<(u64, [u8; HTTP_DATE_LEN])> = const { Cell::new((u64::MAX, [0; HTTP_DATE_LEN])) };
}

/// The current time as a `date` field's value (IMF-fixdate, RFC 9110 §5.6.7).
pub fn now() -> [u8; HTTP_DATE_LEN] {
    let second = wall_us() / 1_000_000;
    CURRENT.with(|current| {
        let (kept, text) = current.get();
        if kept == second {
            return text;
        }
        let text = http_date(second);
        current.set((second, text));
        text
    })
}

/// Microseconds since the Unix epoch by the coarse clock, which lags by a few milliseconds at most and
/// costs a quarter of the precise one.
pub fn wall_us() -> u64 {
    let time = clock_gettime(ClockId::RealtimeCoarse);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1000
}

/// A time in seconds since the Unix epoch as IMF-fixdate.
pub fn http_date(seconds: u64) -> [u8; HTTP_DATE_LEN] {
    let civil = Civil::from_unix(seconds);
    let mut text = *b"ddd, DD mmm YYYY hh:mm:ss GMT";
    text[0..3].copy_from_slice(civil.weekday_name());
    two_digits(&mut text[5..7], civil.day);
    text[8..11].copy_from_slice(civil.month_name());
    four_digits(&mut text[12..16], civil.year);
    two_digits(&mut text[17..19], civil.hour);
    two_digits(&mut text[20..22], civil.minute);
    two_digits(&mut text[23..25], civil.second);
    text
}

/// Seconds since the Unix epoch of an HTTP date in any of the three forms that RFC 9110 §5.6.7 obliges a
/// recipient to read; `None` for anything else and for times before 1970.
pub fn parse_http_date(value: &[u8]) -> Option<u64> {
    let time = httpdate::parse_http_date(std::str::from_utf8(value).ok()?.trim_ascii()).ok()?;
    Some(seconds_since_epoch(time))
}

/// Whole seconds since the Unix epoch; 0 for earlier times.
pub fn seconds_since_epoch(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

/// Seconds since the Unix epoch of a time in the calendar, UTC: 0 for times before 1970, `None` for what is no
/// time (a thirteenth month). Days are checked against the longest month only.
pub fn seconds_of_civil(year: u32, month: u32, day: u32, hour: u32, minute: u32, second: u32) -> Option<u64> {
    let valid = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    if !valid || year > 9999 {
        return None;
    }
    if year < 1970 {
        return Some(0);
    }
    // The inverse of `Civil::from_unix`, with years counted from March as there.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    Some(u64::from(days) * 86_400 + u64::from(hour * 3600 + minute * 60 + second))
}

/// A second in the proleptic Gregorian calendar, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// 1970 to 9999.
    pub year: u32,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
    /// 0 to 23.
    pub hour: u32,
    /// 0 to 59.
    pub minute: u32,
    /// 0 to 59.
    pub second: u32,
    /// 0 is Monday.
    pub weekday: u32,
}

impl Civil {
    /// The calendar's reading of a Unix time; times from the year 10000 on read as the last second before.
    pub fn from_unix(seconds: u64) -> Civil {
        let seconds = seconds.min(SECONDS_MAX - 1);
        let days = (seconds / 86_400) as u32;
        let rest = (seconds % 86_400) as u32;
        // Years are counted from 1 March, so that the leap day is a year's last and months follow the
        // 153-days-in-5-months pattern; 719,468 days lie between 0000-03-01 and the epoch.
        let shifted = days + 719_468;
        let era = shifted / 146_097;
        let day_of_era = shifted % 146_097;
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        Civil {
            year: era * 400 + year_of_era + u32::from(month <= 2),
            month,
            day: day_of_year - (153 * month_from_march + 2) / 5 + 1,
            hour: rest / 3600,
            minute: rest / 60 % 60,
            second: rest % 60,
            weekday: (days + 3) % 7,
        }
    }

    /// `Sun`.
    pub fn weekday_name(&self) -> &'static [u8; 3] {
        DAY_NAMES[(self.weekday % 7) as usize]
    }

    /// `Nov`.
    pub fn month_name(&self) -> &'static [u8; 3] {
        MONTH_NAMES[((self.month.max(1) - 1) % 12) as usize]
    }
}

fn two_digits(out: &mut [u8], value: u32) {
    out[0] = b'0' + (value / 10 % 10) as u8;
    out[1] = b'0' + (value % 10) as u8;
}

fn four_digits(out: &mut [u8], value: u32) {
    two_digits(&mut out[0..2], value / 100);
    two_digits(&mut out[2..4], value % 100);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(seconds: u64, expected: &str) {
        assert_eq!(std::str::from_utf8(&http_date(seconds)).unwrap(), expected);
        assert_eq!(parse_http_date(expected.as_bytes()), Some(seconds));
    }

    #[test]
    fn dates_of_the_standard_and_of_leap_years() {
        check(0, "Thu, 01 Jan 1970 00:00:00 GMT");
        check(784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT");
        check(951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT");
        check(4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT");
        check(4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT");
        check(SECONDS_MAX - 1, "Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[test]
    fn every_day_agrees_with_an_independent_implementation() {
        for day in 0..200_000_u64 {
            let seconds = day * 86_400 + day % 86_400;
            let other = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
            assert_eq!(std::str::from_utf8(&http_date(seconds)).unwrap(), other);
            let Civil { year, month, day, hour, minute, second, .. } = Civil::from_unix(seconds);
            assert_eq!(seconds_of_civil(year, month, day, hour, minute, second), Some(seconds));
        }
    }

    #[test]
    fn obsolete_forms_are_read_and_rubbish_is_not() {
        assert_eq!(parse_http_date(b"Sunday, 06-Nov-94 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(parse_http_date(b"Sun Nov  6 08:49:37 1994"), Some(784_111_777));
        for rubbish in [&b""[..], b"yesterday", b"\xff\xff", b"Sun, 99 Nov 1994 08:49:37 GMT"] {
            assert_eq!(parse_http_date(rubbish), None);
        }
    }

    #[test]
    fn a_time_beyond_the_calendar_is_its_last_second() {
        assert_eq!(&http_date(u64::MAX)[..], b"Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[test]
    fn now_is_now() {
        let kept = parse_http_date(&now()).unwrap();
        let clock = seconds_since_epoch(SystemTime::now());
        assert!(clock.abs_diff(kept) <= 1, "{kept} against {clock}");
    }
}
