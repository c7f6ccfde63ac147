//! Randomness from the system: masking keys and jitter.

/// Keys for masking, taken from the system many at a time: one system call serves 256 frames.
#[derive(Default)]
pub(crate) struct Keys {
    pool: Vec<[u8; 4]>,
}

impl Keys {
    /// A fresh key (RFC 6455 section 5.3).
    pub(crate) fn next(&mut self) -> [u8; 4] {
        if let Some(key) = self.pool.pop() {
            return key;
        }
        let mut bytes = [0; 1024];
        // Without the system's random source the keys repeat; the mask guards proxies, not secrets.
        let _ = getrandom::fill(&mut bytes);
        self.pool.extend(bytes.as_chunks::<4>().0);
        self.pool.pop().unwrap_or_default()
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys")
    }
}

/// A number that nobody else has.
#[cfg(feature = "expose")]
pub(crate) fn number() -> u64 {
    // Without the system's random source: one that other processes hardly have at the same time.
    getrandom::u64().unwrap_or_else(|_| std::process::id().into())
}

/// A number from 0 up to, not including, 1.
pub(crate) fn fraction() -> f64 {
    let bits = getrandom::u64().unwrap_or(u64::MAX / 2) >> 11;
    bits as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_and_fractions_stay_below_one() {
        let mut keys = Keys::default();
        let taken: std::collections::HashSet<_> = (0..600).map(|_| keys.next()).collect();
        assert!(taken.len() > 590);
        assert!((0..1000).map(|_| fraction()).all(|fraction| (0.0..1.0).contains(&fraction)));
    }
}
