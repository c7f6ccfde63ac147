//! What a process prints goes to the log, line by line.

use tokio::io::{AsyncRead, AsyncReadExt};

/// A longer line is logged in pieces, bytes.
const LINE_BYTES_MAX: usize = 4 << 10;

/// Where it was printed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stream {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// Logs what comes, to its end.
pub(super) async fn log(endpoint: String, stream: Stream, mut from: impl AsyncRead + Unpin) {
    let mut lines = Lines::default();
    let mut piece = vec![0; LINE_BYTES_MAX];
    // A pipe that breaks has ended.
    while let Ok(count @ 1..) = from.read(&mut piece).await {
        lines.add(&piece[..count], |line| say(&endpoint, stream, line));
    }
    lines.end(|line| say(&endpoint, stream, line));
}

fn say(endpoint: &str, stream: Stream, line: &str) {
    match stream {
        Stream::Output => tracing::info!(target: "whub_server::endpoint", endpoint, "{line}"),
        Stream::Error => tracing::info!(target: "whub_server::endpoint", endpoint, stderr = true, "{line}"),
    }
}

/// Bytes that become lines.
#[derive(Debug, Default)]
struct Lines {
    /// The line that has not ended; at most [`LINE_BYTES_MAX`].
    begun: Vec<u8>,
}

impl Lines {
    fn add(&mut self, bytes: &[u8], mut say: impl FnMut(&str)) {
        for &byte in bytes {
            if byte == b'\n' {
                self.end(&mut say);
                continue;
            }
            if self.begun.len() == LINE_BYTES_MAX {
                self.end(&mut say);
            }
            self.begun.push(byte);
        }
    }

    fn end(&mut self, mut say: impl FnMut(&str)) {
        let line = shown(&self.begun);
        self.begun.clear();
        if !line.is_empty() {
            say(&line);
        }
    }
}

/// A line without what would play tricks on a terminal.
fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let harmless = |mark: char| if mark.is_control() && mark != '\t' { '\u{fffd}' } else { mark };
    text.trim_end().chars().map(harmless).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let (mut lines, mut said) = (Lines::default(), Vec::new());
        for piece in pieces {
            lines.add(piece, |line| said.push(line.to_owned()));
        }
        lines.end(|line| said.push(line.to_owned()));
        said
    }

    #[test]
    fn lines_are_whole_however_they_come() {
        assert_eq!(lines(&[b"on", b"e\r\n\ntwo\nth", b"ree"]), ["one", "two", "three"]);
        assert_eq!(lines(&[b"\x1b[31mred\t\xff\n"]), ["\u{fffd}[31mred\t\u{fffd}"]);
    }

    #[test]
    fn long_ones_come_in_pieces() {
        let long = vec![b'x'; LINE_BYTES_MAX * 2 + 5];
        let lengths: Vec<_> = lines(&[&long, b"\n", b"y"]).iter().map(String::len).collect();
        assert_eq!(lengths, [LINE_BYTES_MAX, LINE_BYTES_MAX, 5, 1]);
    }
}
