//! Durations (`"5s"`, `"1m30s"`), byte sizes (`"64KiB"`, `65536`) and rates (`"100/s burst 200"`): reading and printing.

use std::time::Duration;

use whub_core::middleware::Rate;

/// Units of time, longest first, in milliseconds.
const DURATION_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Units of size; the first three are the ones printed, largest first.
const BYTE_UNITS: [(&str, u64); 8] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("KB", 1_000),
];

/// Reads a duration: numbers with a unit (`d`, `h`, `m`, `s`, `ms`), several in a row being added up; a fraction is
/// allowed (`0.5s`) and rounded to milliseconds. `None` for anything else, a number without a unit included, because
/// guessing the unit would be wrong by a factor of a thousand.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total_ms = 0_u64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (number, after) = split_number(rest)?;
        let unit_end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_end);
        let (_, unit_ms) = DURATION_UNITS.into_iter().find(|(name, _)| *name == unit)?;
        total_ms = total_ms.checked_add(scaled(number, unit_ms)?)?;
        rest = next;
    }
    Some(Duration::from_millis(total_ms))
}

/// Prints a duration as one number in the longest unit that is exact; what is below a millisecond is cut off.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if ms == 0 {
        return "0s".to_owned();
    }
    in_units(ms, &DURATION_UNITS)
}

/// Reads a size: a number of bytes, bare or with a unit (`B`, `KiB`, `MiB`, `GiB`, or the decimal `kB`, `MB`, `GB`).
#[must_use]
pub fn parse_bytes(text: &str) -> Option<usize> {
    let (number, unit) = split_number(text.trim())?;
    let unit = unit.trim_start();
    let factor = match unit {
        "" => 1,
        unit => BYTE_UNITS.into_iter().find(|(name, _)| *name == unit)?.1,
    };
    usize::try_from(scaled(number, factor)?).ok()
}

/// Prints a size as one number in the largest binary unit that is exact, plain bytes without a unit.
#[must_use]
pub fn show_bytes(bytes: usize) -> String {
    if !bytes.is_multiple_of(1024) || bytes == 0 {
        return bytes.to_string();
    }
    in_units(bytes as u64, &BYTE_UNITS[..3])
}

/// Reads a rate: a number of calls, a slash, a time (`s`, `m`, `10s`), and perhaps `burst` with the number of calls
/// that may come at once, which otherwise is the first number.
#[must_use]
pub fn parse_rate(text: &str) -> Option<Rate> {
    let (count, rest) = text.trim().split_once('/')?;
    let (period, burst) = match rest.split_once(" burst ") {
        Some((period, burst)) => (period, Some(burst)),
        None => (rest, None),
    };
    let period = period.trim();
    let one = format!("1{period}");
    let period =
        parse_duration(if period.starts_with(|c: char| c.is_ascii_digit()) { period } else { &one })?;
    let count = count.trim().parse().ok().filter(|count| *count > 0)?;
    let burst = burst.map_or(Some(count), |burst| burst.trim().parse().ok().filter(|burst| *burst > 0))?;
    (!period.is_zero()).then_some(Rate { count, period, burst })
}

/// Prints a rate as [`parse_rate`] reads it.
#[must_use]
pub fn show_rate(rate: Rate) -> String {
    let period = show_duration(rate.period);
    let period = match period.strip_prefix('1') {
        Some(unit) if unit.starts_with(|c: char| c.is_ascii_alphabetic()) => unit,
        _ => &period,
    };
    let burst = if rate.burst == rate.count { String::new() } else { format!(" burst {}", rate.burst) };
    format!("{}/{period}{burst}", rate.count)
}

/// The leading number (digits, perhaps a point and more digits) and what follows it.
fn split_number(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    number.starts_with(|c: char| c.is_ascii_digit()).then_some((number, rest))
}

/// `number` times `factor`, fractions rounded to the nearest whole.
fn scaled(number: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let whole = whole.parse::<u64>().ok()?.checked_mul(factor)?;
    if fraction.is_empty() || fraction.len() > 9 || fraction.contains('.') {
        return None;
    }
    let scale = 10_u128.pow(fraction.len() as u32);
    let part = fraction.parse::<u128>().ok()? * u128::from(factor);
    whole.checked_add(u64::try_from((part + scale / 2) / scale).ok()?)
}

fn in_units(value: u64, units: &[(&str, u64)]) -> String {
    let unit = units.iter().find(|(_, size)| value.is_multiple_of(*size));
    unit.map_or_else(|| value.to_string(), |(name, size)| format!("{}{name}", value / size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        let ms = |text| parse_duration(text).map(|duration| duration.as_millis());
        assert_eq!(ms("250ms"), Some(250));
        assert_eq!(ms("5s"), Some(5_000));
        assert_eq!(ms("1m30s"), Some(90_000));
        assert_eq!(ms("1d1h1m1s1ms"), Some(90_061_001));
        assert_eq!(ms("0.5s"), Some(500));
        assert_eq!(ms("1.25s"), Some(1_250));
        assert_eq!(ms("0s"), Some(0));
        for text in [
            "",
            "5",
            "s",
            "5 s",
            "-5s",
            "5x",
            "5s5",
            "1.s",
            "1.2.3s",
            "99999999999999999999s",
            "9999999999999999d",
        ] {
            assert_eq!(ms(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_may_have_units() {
        assert_eq!(parse_bytes("1048576"), Some(1 << 20));
        assert_eq!(parse_bytes("1MiB"), Some(1 << 20));
        assert_eq!(parse_bytes("1.5 KiB"), Some(1536));
        assert_eq!(parse_bytes("2MB"), Some(2_000_000));
        assert_eq!(parse_bytes("7B"), Some(7));
        for text in ["", "MiB", "1mib", "-1", "1 M", "99999999999GiB"] {
            assert_eq!(parse_bytes(text), None, "{text}");
        }
    }

    #[test]
    fn rates_have_a_time_and_perhaps_a_burst() {
        let rate = |count, seconds, burst| Some(Rate { count, period: Duration::from_secs(seconds), burst });
        for (text, expected, shown) in [
            ("100/s burst 200", rate(100, 1, 200), "100/s burst 200"),
            ("300/1m", rate(300, 60, 300), "300/m"),
            (" 5 / 10s ", rate(5, 10, 5), "5/10s"),
            ("1/h burst 1", rate(1, 3600, 1), "1/h"),
        ] {
            assert_eq!(parse_rate(text), expected, "{text}");
            assert_eq!(expected.map(show_rate).as_deref(), Some(shown));
            assert_eq!(parse_rate(shown), expected, "{shown}");
        }
        for text in ["", "5", "0/s", "5/", "5/0s", "5/s burst 0", "5/s burst", "-1/s", "5/parsec", "5/s200"] {
            assert_eq!(parse_rate(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_printed_reads_back() {
        for ms in [0, 1, 250, 1_000, 1_500, 90_000, 3_600_000, 86_400_000, 90_061_001] {
            let duration = Duration::from_millis(ms);
            assert_eq!(parse_duration(&show_duration(duration)), Some(duration));
        }
        for bytes in [0, 1, 1000, 1024, 65_536, 1_048_576, 1_572_864, 1 << 30] {
            assert_eq!(parse_bytes(&show_bytes(bytes)), Some(bytes));
        }
        assert_eq!(show_duration(Duration::from_secs(90)), "90s");
        assert_eq!(show_bytes(1_572_864), "1536KiB");
    }
}
