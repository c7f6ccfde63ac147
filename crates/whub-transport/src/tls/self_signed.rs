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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier;
    use rustls::pki_types::{ServerName, UnixTime};
    use rustls::{CertificateError as Invalid, Error, RootCertStore};

    use super::super::provider;
    use super::*;

    /// What a client that trusts the certificate says to it under this name, so many days from now.
    fn verdict(certificate: &CertifiedKey, name: &str, days: u32) -> Result<(), Error> {
        let leaf = certificate.cert.first().expect("one certificate");
        let mut roots = RootCertStore::empty();
        roots.add(leaf.clone()).expect("usable as an authority");
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider());
        let verifier = verifier.build().expect("a verifier");
        let name = ServerName::try_from(name).expect("a name");
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        let then = UnixTime::since_unix_epoch(since + days * DAY);
        verifier.verify_server_cert(leaf, &[], &name, &[], then).map(|_| ())
    }

    #[test]
    fn it_is_for_this_machine_and_the_names_asked_for() {
        let certificate =
            generate(&["hub.example.org".to_owned(), "192.0.2.1".to_owned()]).expect("generated");
        for name in ["localhost", "127.0.0.1", "::1", "hub.example.org", "192.0.2.1"] {
            assert_eq!(verdict(&certificate, name, 0), Ok(()), "{name}");
        }
        let other = verdict(&certificate, "other.example.org", 0).expect_err("another name");
        assert!(
            matches!(other, Error::InvalidCertificate(Invalid::NotValidForNameContext { .. })),
            "{other}"
        );
    }

    #[test]
    fn it_is_valid_for_a_year() {
        let certificate = generate(&[]).expect("generated");
        assert_eq!(verdict(&certificate, "localhost", 364), Ok(()));
        let late = verdict(&certificate, "localhost", 366).expect_err("expired");
        assert!(matches!(late, Error::InvalidCertificate(Invalid::ExpiredContext { .. })), "{late}");
    }

    #[test]
    fn what_is_no_name_is_refused() {
        assert!(generate(&["\u{fc}".to_owned()]).is_err());
    }
}
