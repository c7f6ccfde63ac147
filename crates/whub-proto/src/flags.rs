//! The flag byte of every [`Head`](crate::Head).

use std::fmt;

/// A set of flags. Bits that this build does not know are kept.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Flags(u8);

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// Last frame of this direction of the stream.
    pub const END: Self = Self(1);
    /// The sender wants `Ok` or `Error` for this frame; the id must not be 0.
    pub const ACK: Self = Self(2);
    /// The payload is valid UTF-8; in relayed WebSockets, a text message.
    pub const TEXT: Self = Self(4);
    /// The payload is compressed with the codec agreed in `Welcome.features`.
    pub const COMPRESSED: Self = Self(8);
    /// The message comes from history, not live.
    pub const REPLAY: Self = Self(16);
    /// The message goes on in the next `Data` frame of this id.
    pub const MORE: Self = Self(32);

    /// The known flags with their names in the JSON mirror.
    pub const NAMED: [(Self, &'static str); 6] = [
        (Self::END, "end"),
        (Self::ACK, "ack"),
        (Self::TEXT, "text"),
        (Self::COMPRESSED, "compressed"),
        (Self::REPLAY, "replay"),
        (Self::MORE, "more"),
    ];

    /// The set with exactly these bits.
    #[inline]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// The byte on the wire.
    #[inline]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether all of `other` is set.
    #[inline]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// This set and `other`.
    #[inline]
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This set without `other`.
    #[inline]
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// This set, with `other` if `wanted`.
    #[inline]
    #[must_use]
    pub const fn with_if(self, wanted: bool, other: Self) -> Self {
        if wanted { self.with(other) } else { self }
    }
}

impl std::ops::BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.with(other)
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = Self::NAMED.iter().fold(Self::NONE, |all, (flag, _)| all | *flag);
        let mut set = f.debug_set();
        for (flag, name) in Self::NAMED {
            if self.contains(flag) {
                set.entry(&format_args!("{name}"));
            }
        }
        if self.without(known) != Self::NONE {
            set.entry(&format_args!("{:#04x}", self.without(known).bits()));
        }
        set.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_bits_are_kept_and_shown() {
        let flags = Flags::from_bits(0x81);
        assert!(flags.contains(Flags::END));
        assert!(!flags.contains(Flags::END | Flags::ACK));
        assert_eq!(flags.without(Flags::END).bits(), 0x80);
        assert_eq!(format!("{flags:?}"), "{end, 0x80}");
    }
}
