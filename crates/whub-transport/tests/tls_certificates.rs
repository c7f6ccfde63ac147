//! Certificates: found, pinned, replaced while connections stand.

mod common;

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use common::{Folder, PATIENCE, dialer, listen, self_signed};
use rcgen::{CertificateParams, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use whub_transport::{Alpn, DialError, Fingerprint, Listener, Stream, TlsAcceptor, TransportCounters, Trust};

/// Writes a fresh certificate for 127.0.0.1 and its key; its fingerprint.
fn write_pair(certificate: &Path, key: &Path) -> Fingerprint {
    let pair = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
    let fresh = params.self_signed(&pair).expect("a certificate");
    std::fs::write(certificate, fresh.pem()).expect("written");
    std::fs::write(key, pair.serialize_pem()).expect("written");
    // Two writes within one tick of the file system's clock would look like one.
    static WRITES: AtomicU64 = AtomicU64::new(1);
    let at = SystemTime::now() + Duration::from_secs(WRITES.fetch_add(1, Ordering::Relaxed));
    for path in [certificate, key] {
        let file = File::options().append(true).open(path).expect("just written");
        file.set_modified(at).expect("our own file");
    }
    Fingerprint::of(fresh.der())
}

/// One connection: what the server saw and what the client got.
async fn shake(
    listener: &Listener,
    tls: &TlsAcceptor,
    trust: Trust,
) -> (Option<(Stream, Alpn)>, Result<Stream, DialError>) {
    let client = dialer("tls", listener, trust);
    let counters = TransportCounters::default();
    let serving = async {
        let accepted = listener.accept().await;
        tls.accept(accepted.stream, PATIENCE, &counters).await.ok()
    };
    tokio::join!(serving, client.connect())
}

async fn shake_well(listener: &Listener, tls: &TlsAcceptor, trust: Trust) -> (Stream, Stream) {
    let (server, client) = shake(listener, tls, trust).await;
    (server.expect("the server agrees").0, client.expect("the client agrees"))
}

async fn still_works((server, client): &mut (Stream, Stream)) {
    client.write_all(b"ping").await.expect("send");
    client.flush().await.expect("flush");
    let mut got = [0; 4];
    server.read_exact(&mut got).await.expect("receive");
    assert_eq!(&got, b"ping");
}

#[tokio::test]
async fn a_replaced_certificate_is_shown_to_new_connections_and_old_ones_stand() {
    let folder = Folder::new();
    let (certificate, key) = (folder.file("cert.pem"), folder.file("key.pem"));
    let first = write_pair(&certificate, &key);
    let tls = TlsAcceptor::from_files(&certificate, &key).expect("usable");
    let listener = listen("127.0.0.1:0").await;
    let mut standing = shake_well(&listener, &tls, Trust::Pinned(first)).await;
    assert!(!tls.reload_if_changed().expect("readable"), "nothing changed");

    let second = write_pair(&certificate, &key);
    assert!(tls.reload_if_changed().expect("usable"), "the change is seen");
    assert_eq!(tls.fingerprint(), second);
    let mut fresh = shake_well(&listener, &tls, Trust::Pinned(second)).await;
    let (_, refused) = shake(&listener, &tls, Trust::Pinned(first)).await;
    assert!(refused.expect_err("the old one is not shown any more").is_untrusted());

    still_works(&mut standing).await;
    still_works(&mut fresh).await;
}

#[tokio::test]
async fn files_swapped_by_renaming_are_seen() {
    let folder = Folder::new();
    let (certificate, key) = (folder.file("cert.pem"), folder.file("key.pem"));
    write_pair(&certificate, &key);
    let tls = TlsAcceptor::from_files(&certificate, &key).expect("usable");
    let (new_certificate, new_key) = (folder.file("cert.new"), folder.file("key.new"));
    let second = write_pair(&new_certificate, &new_key);
    std::fs::rename(new_certificate, &certificate).expect("renamed");
    std::fs::rename(new_key, &key).expect("renamed");
    assert!(tls.reload_if_changed().expect("usable"));
    assert_eq!(tls.fingerprint(), second);
}

#[tokio::test]
async fn a_broken_file_keeps_the_old_certificate_and_says_what_is_wrong() {
    let folder = Folder::new();
    let (certificate, key) = (folder.file("cert.pem"), folder.file("key.pem"));
    let first = write_pair(&certificate, &key);
    let tls = TlsAcceptor::from_files(&certificate, &key).expect("usable");
    let listener = listen("127.0.0.1:0").await;

    // Half of a replacement: the certificate is new, its key not yet.
    let second = write_pair(&certificate, &folder.file("later.pem"));
    let error = tls.reload_if_changed().expect_err("they do not fit").to_string();
    assert!(error.contains("cert.pem") && error.contains("key.pem"), "{error}");
    shake_well(&listener, &tls, Trust::Pinned(first)).await;

    std::fs::write(&certificate, "no PEM at all").expect("written");
    let error = tls.reload_if_changed().expect_err("no certificate").to_string();
    assert!(error.contains("cert.pem") && error.contains("no certificate"), "{error}");
    std::fs::remove_file(&certificate).expect("removed");
    let error = tls.reload().expect_err("no file").to_string();
    assert!(error.contains("cannot read") && error.contains("cert.pem"), "{error}");
    shake_well(&listener, &tls, Trust::Pinned(first)).await;

    let third = write_pair(&certificate, &key);
    assert!(tls.reload_if_changed().expect("whole again"));
    assert!(tls.fingerprint() == third && third != second);
}

#[tokio::test(start_paused = true)]
async fn the_watcher_follows_the_files() {
    let folder = Folder::new();
    let (certificate, key) = (folder.file("cert.pem"), folder.file("key.pem"));
    write_pair(&certificate, &key);
    let tls = TlsAcceptor::from_files(&certificate, &key).expect("usable");
    let watching = tokio::spawn(tls.clone().watch(Duration::from_secs(2)));
    let second = write_pair(&certificate, &key);
    // Time is made up: each wait ends as soon as the watcher has nothing left to do.
    let replaced = async {
        while tls.fingerprint() != second {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    timeout(Duration::from_secs(3600), replaced).await.expect("seen");
    watching.abort();
}

#[test]
fn a_start_without_usable_files_is_refused() {
    let folder = Folder::new();
    let (certificate, key) = (folder.file("cert.pem"), folder.file("key.pem"));
    let missing = TlsAcceptor::from_files(&certificate, &key).expect_err("nothing there").to_string();
    assert!(missing.contains("cannot read") && missing.contains("cert.pem"), "{missing}");
    write_pair(&certificate, &key);
    let swapped = TlsAcceptor::from_files(&key, &certificate).expect_err("the wrong way round").to_string();
    assert!(swapped.contains("key.pem"), "{swapped}");
}

#[tokio::test]
async fn a_certificate_is_believed_by_authority_or_pin_only() {
    let folder = Folder::new();
    let (certificate, key) = (folder.file("cert.pem"), folder.file("key.pem"));
    let own = write_pair(&certificate, &key);
    let tls = TlsAcceptor::from_files(&certificate, &key).expect("usable");
    let listener = listen("127.0.0.1:0").await;
    for trust in [Trust::Pinned(own), Trust::File(certificate.clone()), Trust::Anything] {
        still_works(&mut shake_well(&listener, &tls, trust).await).await;
    }
    for trust in [Trust::Pinned(self_signed().fingerprint()), Trust::System] {
        let (_, client) = shake(&listener, &tls, trust.clone()).await;
        let error = client.expect_err("a stranger");
        assert!(error.is_untrusted() && !error.is_retryable(), "{trust:?}: {error}");
    }
    let (_, client) = shake_unserved(&listener, Trust::File(folder.file("missing.pem"))).await;
    let error = client.expect_err("no authority");
    assert!(!error.is_retryable() && error.to_string().contains("missing.pem"), "{error}");
}

async fn shake_unserved(listener: &Listener, trust: Trust) -> (Stream, Result<Stream, DialError>) {
    let client = dialer("tls", listener, trust);
    let (accepted, outcome) = tokio::join!(listener.accept(), client.connect());
    (accepted.stream, outcome)
}
