//! Tables, times and durations as people read them.

use crate::output::one_line;

/// Rows in columns as wide as they need; the first row is the heading, and columns marked so stand at the right.
pub(crate) fn table<const COLUMNS: usize>(rows: &[[String; COLUMNS]], right: [bool; COLUMNS]) -> String {
    let rows: Vec<[String; COLUMNS]> =
        rows.iter().map(|row| row.each_ref().map(|cell| one_line(cell).into_owned())).collect();
    let mut widths = [0; COLUMNS];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut shown = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths).zip(right).map(|((cell, width), right)| {
            let space = " ".repeat(width - cell.chars().count());
            if right { format!("{space}{cell}") } else { format!("{cell}{space}") }
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        shown.push_str(line.trim_end());
        shown.push('\n');
    }
    shown
}

/// Milliseconds, with three digits that count.
pub(crate) fn duration(ms: f64) -> String {
    match ms {
        ms if ms < 9.995 => format!("{ms:.2} ms"),
        ms if ms < 99.95 => format!("{ms:.1} ms"),
        ms if ms < 9_999.5 => format!("{ms:.0} ms"),
        ms => format!("{:.1} s", ms / 1000.0),
    }
}

/// The time of day in UTC, of milliseconds since 1970.
pub(crate) fn time_of_day(unix_ms: u64) -> String {
    let (seconds, ms) = (unix_ms / 1000, unix_ms % 1000);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{hour:02}:{minute:02}:{second:02}.{ms:03}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_need() {
        let rows =
            [["service", "calls"], ["/ü", "7"], ["/math/:op", "1234567"]].map(|row| row.map(str::to_owned));
        let expected = "service      calls\n/ü               7\n/math/:op  1234567\n";
        assert_eq!(table(&rows, [false, true]), expected);
        let forged = [["a\nb".to_owned(), "1".to_owned()]];
        assert_eq!(table(&forged, [false, true]), "a\\nb  1\n");
    }

    #[test]
    fn durations_have_three_digits() {
        for (ms, shown) in [
            (0.0, "0.00 ms"),
            (1.254, "1.25 ms"),
            (9.996, "10.0 ms"),
            (99.96, "100 ms"),
            (1234.0, "1234 ms"),
            (61_234.0, "61.2 s"),
        ] {
            assert_eq!(duration(ms), shown);
        }
    }

    #[test]
    fn times_are_those_of_the_day() {
        assert_eq!(time_of_day(0), "00:00:00.000");
        assert_eq!(time_of_day(1_795_256_461_042), "10:21:01.042");
    }
}
