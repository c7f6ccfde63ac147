//! Reads frames of `whub.v1.json` from standard input, one a line, and prints their bytes as hex: for new vectors.
//!
//! ```sh
//! echo '{"kind":"ping","id":1}' | cargo run -q -p whub-proto --example json_to_hex
//! ```

use std::io::{self, BufRead, Write};

use whub_proto::json::Decoder;

fn main() -> io::Result<()> {
    let mut decoder = Decoder::new();
    let mut stdout = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let mut bytes = Vec::new();
        decoder.decode(&line?, &mut bytes).map_err(io::Error::other)?;
        for byte in bytes {
            write!(stdout, "{byte:02x}")?;
        }
        writeln!(stdout)?;
    }
    Ok(())
}
