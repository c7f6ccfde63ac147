//! A certificate out of nothing, for trying TLS out on one's own machine.

use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;

use super::certificate::{CertificateError, certified};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) fn generate(more: &[String]) -> Result<CertifiedKey, CertificateError> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    names.extend(hostname());
    names.extend_from_slice(more);
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, "whub, self-signed");
    // Yesterday, so that a client whose clock is a little behind accepts it.
    params.not_before = (SystemTime::now() - DAY).into();
    params.not_after = (SystemTime::now() + 365 * DAY).into();
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(|_| CertificateError::Generated)?;
    certified(vec![certificate.der().clone()], key)
}

/// This machine's name, where it is one that a certificate can hold.
fn hostname() -> Option<String> {
    let system = rustix::system::uname();
    let name = system.nodename().to_str().ok()?;
    let legal =
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'));
    legal.then(|| name.to_owned())
}
