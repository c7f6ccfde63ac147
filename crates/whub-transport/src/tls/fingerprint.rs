//! The SHA-256 of a certificate: how people compare, and clients pin, one that nobody vouches for.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest;
use rustls::pki_types::CertificateDer;
use thiserror::Error;

/// The SHA-256 of a certificate's DER form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Of this certificate.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        let digest = digest::digest(&digest::SHA256, certificate);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        Self(bytes)
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    /// 64 hexadecimal digits; colons between them and `sha256:` in front are ignored.
    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let text = text.trim().to_ascii_lowercase();
        let digits: Vec<u8> = text
            .strip_prefix("sha256:")
            .unwrap_or(&text)
            .chars()
            .filter(|c| *c != ':')
            .map(|c| c.to_digit(16).map(|digit| digit as u8).ok_or(FingerprintError))
            .collect::<Result<_, _>>()?;
        let (pairs, []) = digits.as_chunks::<2>() else { return Err(FingerprintError) };
        let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
        bytes.try_into().map(Self).map_err(|_| FingerprintError)
    }
}

impl fmt::Display for Fingerprint {
    /// As OpenSSL and browsers show it: `AB:CD:…`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            let colon = if i == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02X}")?;
        }
        Ok(())
    }
}

/// Text that is no fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a fingerprint is the certificate's SHA-256: 64 hexadecimal digits, with or without colons")]
pub struct FingerprintError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_and_read_back() {
        // The SHA-256 of nothing (FIPS 180-4 example value).
        let empty = Fingerprint::of(&CertificateDer::from(Vec::new()));
        let shown = empty.to_string();
        assert!(shown.starts_with("E3:B0:C4:42:98:FC:1C:14:"), "{shown}");
        for text in [shown.clone(), shown.replace(':', ""), format!("SHA256:{}", shown.to_lowercase())] {
            assert_eq!(text.parse(), Ok(empty), "{text}");
        }
        for text in ["", "E3", &shown[3..], &format!("{shown}:00"), &shown.replace('E', "G")] {
            assert_eq!(text.parse::<Fingerprint>(), Err(FingerprintError), "{text}");
        }
    }
}
