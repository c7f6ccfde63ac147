//! The certificate in use, and how it is replaced without anyone noticing.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use thiserror::Error;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use super::fingerprint::Fingerprint;
use super::provider;

/// A certificate that may be replaced at any time. A handshake takes the one that is there and keeps it.
#[derive(Debug)]
pub(super) struct LiveCertificate {
    files: Option<Files>,
    // Written only on replacement, read once per handshake.
    current: RwLock<Arc<CertifiedKey>>,
}

#[derive(Debug)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    /// What the files looked like when they were last read successfully.
    seen: Mutex<Option<[Stamp; 2]>>,
}

/// By what a changed file is recognised. The inode is there for files that are swapped by renaming.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: SystemTime,
    bytes: u64,
    inode: u64,
}

impl LiveCertificate {
    pub(super) fn from_files(certificate: &Path, key: &Path) -> Result<Self, CertificateError> {
        let files =
            Files { certificate: certificate.to_owned(), key: key.to_owned(), seen: Mutex::default() };
        let first = files.read()?;
        Ok(Self { files: Some(files), current: RwLock::new(Arc::new(first)) })
    }

    pub(super) fn fixed(certificate: CertifiedKey) -> Self {
        Self { files: None, current: RwLock::new(Arc::new(certificate)) }
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        // `certified` makes no key without a certificate.
        self.now().cert.first().map_or_else(|| Fingerprint::of(&Vec::new().into()), Fingerprint::of)
    }

    pub(super) fn reload(&self) -> Result<(), CertificateError> {
        let Some(files) = &self.files else { return Ok(()) };
        let fresh = Arc::new(files.read()?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    pub(super) fn reload_if_changed(&self) -> Result<bool, CertificateError> {
        let Some(files) = &self.files else { return Ok(false) };
        if !files.changed()? {
            return Ok(false);
        }
        self.reload()?;
        Ok(true)
    }

    pub(super) async fn watch(self: Arc<Self>, every: Duration) {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut trouble = String::new();
        loop {
            ticks.tick().await;
            let live = self.clone();
            let outcome = tokio::task::spawn_blocking(move || live.reload_if_changed()).await;
            match outcome {
                Ok(Ok(changed)) => {
                    if changed {
                        info!(fingerprint = %self.fingerprint(), "the TLS certificate was replaced");
                    }
                    trouble.clear();
                }
                Ok(Err(error)) => complain(&mut trouble, error.to_string()),
                Err(error) => complain(&mut trouble, error.to_string()),
            }
        }
    }

    fn now(&self) -> Arc<CertifiedKey> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Files are often replaced one after the other, so a trouble is tried again; but it is told only once.
fn complain(trouble: &mut String, error: String) {
    if *trouble != error {
        warn!(%error, "the new TLS certificate cannot be used, the old one stays");
        *trouble = error;
    }
}

impl ResolvesServerCert for LiveCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.now())
    }
}

impl Files {
    fn read(&self) -> Result<CertifiedKey, CertificateError> {
        // Looked at before reading: a change in between is then seen the next time.
        let stamps = self.stamps()?;
        let chain = read_certificates(&self.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| unusable(&self.key, error))?;
        warn_if_open_to_others(&self.key);
        let fresh = certified(chain, key).map_err(|error| self.name(error))?;
        *self.seen() = Some(stamps);
        Ok(fresh)
    }

    fn changed(&self) -> Result<bool, CertificateError> {
        let stamps = self.stamps()?;
        Ok(*self.seen() != Some(stamps))
    }

    fn stamps(&self) -> Result<[Stamp; 2], CertificateError> {
        Ok([stamp(&self.certificate)?, stamp(&self.key)?])
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Option<[Stamp; 2]>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn name(&self, error: CertificateError) -> CertificateError {
        let CertificateError::Tls(source) = error else { return error };
        CertificateError::Pair { certificate: self.certificate.clone(), key: self.key.clone(), source }
    }
}

fn stamp(path: &Path) -> Result<Stamp, CertificateError> {
    let read = || -> io::Result<Stamp> {
        let file = std::fs::metadata(path)?;
        Ok(Stamp { modified: file.modified()?, bytes: file.len(), inode: file.ino() })
    };
    read().map_err(|source| CertificateError::Read { path: path.to_owned(), source })
}

fn warn_if_open_to_others(key: &Path) {
    if std::fs::metadata(key).is_ok_and(|file| file.mode() & 0o007 != 0) {
        warn!(key = %key.display(), "everyone on this machine can use the private key; chmod 600 it");
    }
}

/// All certificates of a PEM file, at least one.
pub(super) fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(|certificates| certificates.collect())
        .map_err(|error| unusable(path, error))?;
    if chain.is_empty() {
        return Err(CertificateError::Empty(path.to_owned()));
    }
    Ok(chain)
}

fn unusable(path: &Path, error: pem::Error) -> CertificateError {
    let path = path.to_owned();
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the other variants are all bad PEM, told by their text"
    )]
    match error {
        pem::Error::Io(source) => CertificateError::Read { path, source },
        pem::Error::NoItemsFound => CertificateError::Empty(path),
        other => CertificateError::Pem { path, trouble: other.to_string() },
    }
}

/// A chain and the key that belongs to it; one that does not is refused.
pub(super) fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, CertificateError> {
    Ok(CertifiedKey::from_der(chain, key, &provider())?)
}

/// A certificate or key that cannot be used.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not PEM.
    #[error("{} is not valid PEM: {trouble}", path.display())]
    Pem {
        /// Which file.
        path: PathBuf,
        /// What the parser said.
        trouble: String,
    },
    /// The file is PEM, or text, without what is wanted.
    #[error("{} holds no certificate or no private key in PEM form", .0.display())]
    Empty(PathBuf),
    /// One of its certificates cannot be used to check others by.
    #[error("a certificate in {} cannot be used: {source}", path.display())]
    Authority {
        /// Which file.
        path: PathBuf,
        /// What rustls said.
        source: rustls::Error,
    },
    /// Certificate and key do not fit, or are of a kind rustls does not know.
    #[error("{} and {} cannot be used together: {source}", certificate.display(), key.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What rustls said.
        source: rustls::Error,
    },
    /// rustls does not accept it.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    /// No self-signed certificate could be made of these names.
    #[error("cannot make a self-signed certificate: {0}")]
    SelfSigned(#[from] rcgen::Error),
    /// The reading itself broke off.
    #[error("the certificates could not be read: {0}")]
    Lost(String),
    /// The key just generated cannot be used.
    #[error("the generated key cannot be used")]
    Generated,
}
