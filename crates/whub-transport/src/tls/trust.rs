//! Whose certificates a client believes.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError as Invalid, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore,
    SignatureScheme,
};

use super::certificate::{CertificateError, read_certificates};
use super::fingerprint::Fingerprint;
use super::{Alpn, provider};

/// How a client decides that a server is who it says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Trust {
    /// The authorities this system trusts.
    #[default]
    System,
    /// The authorities, or the self-signed certificate, in this PEM file, and no others.
    File(PathBuf),
    /// The one certificate with this fingerprint, whatever name it is for and whoever signed it.
    Pinned(Fingerprint),
    /// Any certificate: encrypted, but to whom nobody knows. For tests only.
    Anything,
}

impl Trust {
    /// Whether the file with the authorities, if there is one, can be used. It reads the file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), CertificateError> {
        self.client_config(Alpn::Absent).map(drop)
    }

    /// The client configuration that follows. It may read files; run it where blocking is allowed.
    pub(crate) fn client_config(&self, alpn: Alpn) -> Result<ClientConfig, CertificateError> {
        let builder =
            ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
        let rule = match self {
            Self::System => None,
            Self::File(path) => {
                let unusable = |source| CertificateError::Authority { path: path.clone(), source };
                Some(Rule::Listed(Listed::new(read_certificates(path)?).map_err(unusable)?))
            }
            Self::Pinned(fingerprint) => Some(Rule::Pinned(*fingerprint)),
            Self::Anything => Some(Rule::Anything),
        };
        let builder = match rule {
            None => builder.with_root_certificates(system_roots()),
            Some(rule) => {
                let verifier = Arc::new(Verifier { rule, provider: provider() });
                builder.dangerous().with_custom_certificate_verifier(verifier)
            }
        };
        let mut config = builder.with_no_client_auth();
        if alpn != Alpn::Absent {
            config.alpn_protocols = vec![alpn.protocol().to_vec()];
        }
        Ok(config)
    }
}

fn system_roots() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "some of the system's certificate authorities cannot be read");
    }
    let mut roots = RootCertStore::empty();
    // Systems carry certificates that are too old to parse; the rest still count.
    roots.add_parsable_certificates(found.certs);
    roots
}

/// Decides by a rule of the hub's own. The handshake still proves possession of the certificate's key.
#[derive(Debug)]
struct Verifier {
    rule: Rule,
    provider: Arc<CryptoProvider>,
}

#[derive(Debug)]
enum Rule {
    Listed(Listed),
    Pinned(Fingerprint),
    Anything,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.rule {
            Rule::Listed(listed) => listed.verify(certificate, between, name, ocsp, now),
            Rule::Pinned(pinned) => verify_pinned(*pinned, certificate),
            Rule::Anything => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Trusts the authorities of a list, and the servers that show a certificate of the list itself.
///
/// The second is how programs everywhere read such a file. webpki alone refuses it where the certificate says that it
/// may sign others too, as those of `openssl req -x509` do. Of what webpki would look at after that, the name is looked at
/// here; the purposes that the certificate names are not, for who listed it has said what it is for.
#[derive(Debug)]
struct Listed {
    certificates: Vec<CertificateDer<'static>>,
    authorities: Arc<WebPkiServerVerifier>,
}

impl Listed {
    fn new(certificates: Vec<CertificateDer<'static>>) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            roots.add(certificate.clone())?;
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider());
        let authorities = verifier.build().map_err(|error| Error::General(error.to_string()))?;
        Ok(Self { certificates, authorities })
    }

    fn verify(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.authorities.verify_server_cert(certificate, between, name, ocsp, now) {
            // This is found out after the dates were, and before the name is looked at.
            Err(error) if is_authority_itself(&error) => {
                if !self.certificates.contains(certificate) {
                    return Err(Error::InvalidCertificate(Invalid::UnknownIssuer));
                }
                verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verdict => verdict,
        }
    }
}

/// Whether the first fault of a server's certificate is that it may sign others.
fn is_authority_itself(error: &Error) -> bool {
    let Error::InvalidCertificate(Invalid::Other(OtherError(cause))) = error else { return false };
    matches!(cause.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

fn verify_pinned(pinned: Fingerprint, certificate: &CertificateDer<'_>) -> Result<ServerCertVerified, Error> {
    let shown = Fingerprint::of(certificate);
    if pinned == shown {
        return Ok(ServerCertVerified::assertion());
    }
    Err(Error::InvalidCertificate(Invalid::Other(OtherError(Arc::new(NotPinned { pinned, shown })))))
}

/// Another certificate than the expected one.
#[derive(Debug, thiserror::Error)]
#[error("its certificate has the fingerprint {shown}, pinned is {pinned}")]
struct NotPinned {
    pinned: Fingerprint,
    shown: Fingerprint,
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    /// A certificate of the kind that `openssl req -x509` makes: of its own signing, and allowed to sign others.
    fn own_authority() -> CertificateDer<'static> {
        let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = (SystemTime::now() - DAY).into();
        params.not_after = (SystemTime::now() + DAY).into();
        let key = KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("signed").der().clone()
    }

    /// What a client that trusts `listed` says to a server that shows `shown`, so many days from now.
    fn verdict(
        listed: &CertificateDer<'static>,
        shown: &CertificateDer<'_>,
        name: &str,
        days: u32,
    ) -> Result<(), Error> {
        let verifier = Listed::new(vec![listed.clone()]).expect("usable");
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        let then = UnixTime::since_unix_epoch(since + days * DAY);
        let name = ServerName::try_from(name).expect("a name");
        verifier.verify(shown, &[], &name, &[], then).map(drop)
    }

    #[test]
    fn a_listed_certificate_is_trusted_though_it_may_sign_others() {
        let listed = own_authority();
        assert_eq!(verdict(&listed, &listed, "localhost", 0), Ok(()));
    }

    #[test]
    fn but_only_itself_by_its_name_and_while_it_is_valid() {
        let (listed, other) = (own_authority(), own_authority());
        let unknown = verdict(&listed, &other, "localhost", 0).expect_err("another certificate");
        assert_eq!(unknown, Error::InvalidCertificate(Invalid::UnknownIssuer));
        let misnamed = verdict(&listed, &listed, "example.org", 0).expect_err("another name");
        assert!(
            matches!(misnamed, Error::InvalidCertificate(Invalid::NotValidForNameContext { .. })),
            "{misnamed}"
        );
        let late = verdict(&listed, &listed, "localhost", 2).expect_err("expired");
        assert!(matches!(late, Error::InvalidCertificate(Invalid::ExpiredContext { .. })), "{late}");
    }
}
