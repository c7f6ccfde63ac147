//! Whose certificates a client believes.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
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
        let builder = match self {
            Self::System => builder.with_root_certificates(system_roots()),
            Self::File(path) => {
                let mut roots = RootCertStore::empty();
                for certificate in read_certificates(path)? {
                    let unusable = |source| CertificateError::Authority { path: path.clone(), source };
                    roots.add(certificate).map_err(unusable)?;
                }
                builder.with_root_certificates(roots)
            }
            Self::Pinned(fingerprint) => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Pin::new(Some(*fingerprint))))
            }
            Self::Anything => builder.dangerous().with_custom_certificate_verifier(Arc::new(Pin::new(None))),
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

/// Another certificate than the expected one.
#[derive(Debug, thiserror::Error)]
#[error("its certificate has the fingerprint {shown}, pinned is {pinned}")]
struct NotPinned {
    pinned: Fingerprint,
    shown: Fingerprint,
}

/// Accepts one certificate, or with no fingerprint any. The handshake still proves possession of its key.
#[derive(Debug)]
struct Pin {
    fingerprint: Option<Fingerprint>,
    provider: Arc<CryptoProvider>,
}

impl Pin {
    fn new(fingerprint: Option<Fingerprint>) -> Self {
        Self { fingerprint, provider: provider() }
    }
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown = Fingerprint::of(certificate);
        match self.fingerprint {
            Some(pinned) if pinned != shown => {
                let other = OtherError(Arc::new(NotPinned { pinned, shown }));
                Err(Error::InvalidCertificate(Invalid::Other(other)))
            }
            Some(_) | None => Ok(ServerCertVerified::assertion()),
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
