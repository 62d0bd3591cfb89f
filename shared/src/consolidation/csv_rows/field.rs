//! What single fields mean.

use std::ops::Range;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use memchr::memchr2;

/// Adds a key, which is encoded as in forms: `+` for a space, `%` and two hexadecimal digits for a
/// byte. A `%` that no such digits follow stands for itself. The bytes may be no text.
pub(super) fn decode_key(mut encoded: &[u8], decoded: &mut Vec<u8>) {
    while let Some(place) = memchr2(b'+', b'%', encoded) {
        let (before, rest) = encoded.split_at(place);
        decoded.extend_from_slice(before);
        let (byte, length) = match *rest {
            [b'+', ..] => (b' ', 1),
            [_, high, low, ..] => match (hex_digit(high), hex_digit(low)) {
                (Some(high), Some(low)) => (high << 4 | low, 3),
                _ => (b'%', 1),
            },
            _ => (b'%', 1),
        };
        decoded.push(byte);
        encoded = &rest[length..];
    }
    decoded.extend_from_slice(encoded);
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// A truth, in letters of any case, or null for nothing; `None` if it is neither.
#[expect(clippy::option_option, reason = "what is null is not wrong")]
pub(super) fn flag(text: &[u8]) -> Option<Option<bool>> {
    match text {
        b"" => Some(None),
        b"true" => Some(Some(true)),
        b"false" => Some(Some(false)),
        _ if text.eq_ignore_ascii_case(b"true") => Some(Some(true)),
        _ if text.eq_ignore_ascii_case(b"false") => Some(Some(false)),
        _ => None,
    }
}

/// A decimal number.
#[inline]
pub(super) fn number(text: &[u8]) -> Option<i64> {
    // Numbers of so few digits cannot be too large.
    if (1..=18).contains(&text.len())
        && let Some(number) = decimal(text)
    {
        return Some(number);
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// An instant in epoch milliseconds: given as such, or as a date and time of ISO 8601, which is in
/// UTC unless it says otherwise. What is finer than a millisecond is cut off.
pub(super) fn instant(text: &[u8]) -> Option<i64> {
    usual_instant(text).or_else(|| number(text)).or_else(|| {
        let text = std::str::from_utf8(text).ok()?;
        let instant: Timestamp = text.parse().ok().or_else(|| {
            let in_utc: DateTime = text.parse().ok()?;
            Some(in_utc.to_zoned(TimeZone::UTC).ok()?.timestamp())
        })?;
        i64::try_from(instant.as_nanosecond().div_euclid(1_000_000)).ok()
    })
}

/// `2024-02-29T23:59:59.999Z`, and the same without milliseconds; `None` for everything else.
fn usual_instant(text: &[u8]) -> Option<i64> {
    let (seconds, milliseconds) = match text {
        [seconds @ .., b'.', hundreds, tens, ones, b'Z'] => {
            (seconds, decimal(&[*hundreds, *tens, *ones])?)
        }
        [seconds @ .., b'Z'] => (seconds, 0),
        _ => return None,
    };
    let seconds: &[u8; "2024-02-29T23:59:59".len()] = seconds.try_into().ok()?;
    let signs = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if signs.iter().any(|(place, sign)| seconds[*place] != *sign) {
        return None;
    }
    let number = |digits: Range<usize>| decimal(&seconds[digits]);
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let is_time = hour < 24 && minute < 60 && second < 60;
    let is_date = (1..=12).contains(&month) && (1..=days_of(year, month)).contains(&day);
    if !is_time || !is_date {
        return None;
    }
    let minutes = (days_to(year, month, day) * 24 + hour) * 60 + minute;
    Some((minutes * 60 + second) * 1_000 + milliseconds)
}

#[inline]
fn decimal(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |number, digit| {
        let digit = digit.wrapping_sub(b'0');
        (digit < 10).then(|| number * 10 + i64::from(digit))
    })
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from the first of 1970 to a day of the years from 0 on. They are counted from the first of
/// March, so that a leap day is the last of its year.
fn days_to(year: i64, month: i64, day: i64) -> i64 {
    /// From the first of March of year 0 to the first of 1970.
    const EPOCH: i64 = 719_468;
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // Five months from March or August on have 153 days.
    let before_month = (153 * month + 2) / 5;
    year * 365 + leap_days + before_month + day - 1 - EPOCH
}
