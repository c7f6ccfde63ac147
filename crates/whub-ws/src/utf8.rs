//! UTF-8 that arrives in pieces: a fault is told with the byte that makes it one, not at the end of the message.

use crate::Violation;

/// Remembers the one character that a piece may end within.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Utf8 {
    /// The first bytes of a character, so far right.
    begun: [u8; 4],
    begun_bytes: u8,
}

impl Utf8 {
    /// Takes the next bytes of a text.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> Result<(), Violation> {
        while self.begun_bytes > 0 {
            let Some((byte, rest)) = bytes.split_first() else { return Ok(()) };
            bytes = rest;
            let size = usize::from(self.begun_bytes);
            self.begun[size] = *byte;
            self.begun_bytes = self.trailing(size + 1)?;
        }
        let Err(error) = std::str::from_utf8(bytes) else { return Ok(()) };
        if error.error_len().is_some() {
            return Err(Violation::Utf8);
        }
        let tail = &bytes[error.valid_up_to()..];
        self.begun[..tail.len()].copy_from_slice(tail);
        self.begun_bytes = tail.len() as u8; // At most three, or it would be a whole character.
        Ok(())
    }

    /// Says whether the text may end here.
    pub(crate) const fn finish(self) -> Result<(), Violation> {
        if self.begun_bytes > 0 { Err(Violation::Utf8) } else { Ok(()) }
    }

    fn trailing(&self, size: usize) -> Result<u8, Violation> {
        match std::str::from_utf8(&self.begun[..size]) {
            Ok(_) => Ok(0),
            Err(error) if error.error_len().is_none() => Ok(size as u8),
            Err(_) => Err(Violation::Utf8),
        }
    }
}

/// Checks a text that is there as a whole.
#[inline]
pub(crate) fn check(text: &[u8]) -> Result<(), Violation> {
    std::str::from_utf8(text).map_or(Err(Violation::Utf8), |_| Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many bytes the validator takes one by one before it objects.
    fn taken(text: &[u8]) -> usize {
        let mut utf8 = Utf8::default();
        text.iter().take_while(|byte| utf8.push(&[**byte]).is_ok()).count()
    }

    #[test]
    fn a_fault_is_told_with_the_byte_that_makes_it_one() {
        assert_eq!(taken("κόσμε €𝄞".as_bytes()), "κόσμε €𝄞".len());
        assert_eq!(taken(b"a\xff"), 1);
        assert_eq!(taken(b"\xc0\x80"), 0, "overlong");
        assert_eq!(taken(b"\xe0\x80\x80"), 1, "overlong");
        assert_eq!(taken(b"\xed\xa0\x80"), 1, "a surrogate");
        assert_eq!(taken(b"\xf4\x90\x80\x80"), 1, "above U+10FFFF");
        assert_eq!(taken(b"\xf5"), 0);
    }

    #[test]
    fn every_cut_of_a_text_is_fine_but_it_may_not_end_within_a_character() {
        let text = "aβ€𝄞z".as_bytes();
        for cut in 0..=text.len() {
            let mut utf8 = Utf8::default();
            utf8.push(&text[..cut]).unwrap();
            let at_border = std::str::from_utf8(&text[..cut]).is_ok();
            assert_eq!(utf8.finish().is_ok(), at_border, "cut at {cut}");
            utf8.push(&text[cut..]).unwrap();
            utf8.finish().unwrap();
        }
    }
}
