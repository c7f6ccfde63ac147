//! TLS: the listening side, whom the dialling side trusts, and what both share.
//!
//! The provider is passed wherever rustls wants one; nothing here relies on a process-wide default.

mod certificate;
mod fingerprint;
mod self_signed;
mod trust;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use thiserror::Error;
use tokio_rustls::TlsStream;

pub use certificate::CertificateError;
pub use fingerprint::{Fingerprint, FingerprintError};
pub use trust::Trust;

use crate::counters::{TransportCounters, count};
use crate::stream::Stream;
use certificate::LiveCertificate;

/// What was agreed inside TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Alpn {
    /// `h2`.
    Http2,
    /// `http/1.1`.
    Http1,
    /// `whub/1`, the own protocol; frames follow at once, without a preface.
    Own,
    /// The client named none. That means HTTP.
    Absent,
}

impl Alpn {
    /// Those a hub offers, the preferred first.
    pub const OFFERED: [Self; 3] = [Self::Http2, Self::Http1, Self::Own];

    /// As it travels in the handshake; empty for [`Alpn::Absent`].
    #[must_use]
    pub fn protocol(self) -> &'static [u8] {
        match self {
            Self::Http2 => b"h2",
            Self::Http1 => b"http/1.1",
            Self::Own => b"whub/1",
            Self::Absent => b"",
        }
    }

    pub(crate) fn agreed(protocol: Option<&[u8]>) -> Self {
        let known = Self::OFFERED.into_iter().find(|offered| Some(offered.protocol()) == protocol);
        known.unwrap_or(Self::Absent)
    }
}

/// The listening side of TLS. Cheap to clone; all clones share one certificate.
#[derive(Debug, Clone)]
pub struct TlsAcceptor {
    config: Arc<ServerConfig>,
    certificate: Arc<LiveCertificate>,
}

impl TlsAcceptor {
    /// Certificate chain and private key from PEM files, which may be replaced while the hub runs.
    ///
    /// # Errors
    /// When a file cannot be read or holds nothing usable, or the key does not fit the certificate.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Self, CertificateError> {
        Self::new(LiveCertificate::from_files(certificate, key)?)
    }

    /// A fresh certificate for `localhost`, the loopback addresses, this machine's name and `more` names or
    /// addresses, valid for a year, signed by nobody: for trying out.
    ///
    /// # Errors
    /// When one of `more` is neither a name nor an address.
    pub fn self_signed(more: &[String]) -> Result<Self, CertificateError> {
        Self::new(LiveCertificate::fixed(self_signed::generate(more)?))
    }

    fn new(certificate: LiveCertificate) -> Result<Self, CertificateError> {
        let certificate = Arc::new(certificate);
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(certificate.clone());
        config.alpn_protocols = Alpn::OFFERED.map(|alpn| alpn.protocol().to_vec()).into();
        Ok(Self { config: Arc::new(config), certificate })
    }

    /// The SHA-256 of the certificate now in use, by which a client can pin it.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.certificate.fingerprint()
    }

    /// Reads the files again, changed or not. Connections that stand keep what they agreed on.
    ///
    /// # Errors
    /// When the new files are not usable; the old certificate then stays in use.
    pub fn reload(&self) -> Result<(), CertificateError> {
        self.certificate.reload()
    }

    /// Reads the files again if they changed; whether they did.
    ///
    /// # Errors
    /// As [`reload`](Self::reload).
    pub fn reload_if_changed(&self) -> Result<bool, CertificateError> {
        self.certificate.reload_if_changed()
    }

    /// Follows the files for ever, looking every so often. What is wrong with a new file is logged, once.
    pub async fn watch(self, every: Duration) {
        self.certificate.watch(every).await;
    }

    /// Does the handshake, within a deadline, and counts a failure.
    ///
    /// # Errors
    /// [`HandshakeError`]; the peer has been told as far as TLS can.
    pub async fn accept(
        &self,
        stream: Stream,
        within: Duration,
        counters: &TransportCounters,
    ) -> Result<(Stream, Alpn), HandshakeError> {
        let handshake = tokio_rustls::TlsAcceptor::from(self.config.clone()).accept(stream);
        match tokio::time::timeout(within, handshake).await {
            Ok(Ok(tls)) => {
                let alpn = Alpn::agreed(tls.get_ref().1.alpn_protocol());
                Ok((Stream::Tls(Box::new(TlsStream::Server(tls))), alpn))
            }
            Ok(Err(error)) => {
                count(&counters.tls_failures);
                Err(HandshakeError::Failed(error))
            }
            Err(_) => {
                count(&counters.tls_timeouts);
                Err(HandshakeError::Late)
            }
        }
    }
}

/// Why a handshake came to nothing.
#[derive(Debug, Error)]
pub enum HandshakeError {
    /// It took longer than the deadline.
    #[error("the peer did not finish the TLS handshake in time")]
    Late,
    /// The two sides found no agreement, or the peer left.
    #[error("the TLS handshake failed: {0}")]
    Failed(#[source] io::Error),
}

/// The one crypto provider of the hub.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
