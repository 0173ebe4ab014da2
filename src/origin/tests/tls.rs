//! https origins.

use std::{
    io::Write,
    mem::MaybeUninit,
    rc::Rc,
    sync::Arc,
    task::{Context, Waker},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use tempfile::NamedTempFile;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::peer::*;
use crate::origin::{
    connect::{ConnectionUse, Dialer},
    pool::{PersistentConnection, Pool, PoolLimits},
    stream::OriginStream,
    *,
};

const WHOLE: &str = "HTTP/1.1 200 OK\r\n\r\nto the end";

/// A certificate with its key.
struct ServerCertificate {
    certificate: CertificateDer<'static>,
    pem: String,
    key: KeyPair,
}

fn params(name: &str) -> CertificateParams {
    CertificateParams::new([name.to_owned()]).unwrap()
}

fn self_signed(params: CertificateParams) -> ServerCertificate {
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    ServerCertificate {
        certificate: certificate.der().clone(),
        pem: certificate.pem(),
        key,
    }
}

fn expired(mut params: CertificateParams) -> CertificateParams {
    params.not_before = date_time_ymd(2001, 1, 1);
    params.not_after = date_time_ymd(2002, 1, 1);
    params
}

fn authority(mut params: CertificateParams) -> CertificateParams {
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn pem_file(pem: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(pem.as_bytes()).unwrap();
    file
}

/// How the origin closes a connection.
#[derive(Clone, Copy)]
enum Ending {
    CloseNotify,
    Cut,
}

/// An https origin's side of the handshake.
fn acceptor(identity: &ServerCertificate) -> TlsAcceptor {
    let key = PrivateKeyDer::try_from(identity.key.serialize_der()).unwrap();
    let server =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![identity.certificate.clone()], key)
            .unwrap();
    TlsAcceptor::from(Arc::new(server))
}

/// A connection to an https origin, and the origin's end of it.
async fn pair() -> (OriginStream, TlsStream<TcpStream>) {
    let identity = self_signed(params("localhost"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = OriginUrl::parse(&format!("https://localhost:{port}")).unwrap();
    let trusted = tls_config(Some(pem_file(&identity.pem).path())).unwrap();
    let dialer = Dialer::new(Destination {
        tls: Some(trusted),
        ..Destination::direct(url)
    });
    let script = async {
        let tcp = listener.accept().await.unwrap().0;
        acceptor(&identity).accept(tcp).await.unwrap()
    };
    let dialed = dialer.dial_within(WaitLimit::timeout(PATIENT), ConnectionUse::Requests);
    let (ours, theirs) = tokio::join!(dialed, script);
    let mut ours = ours.unwrap();
    // Processes the session tickets.
    while !ours.is_quiet(&mut Context::from_waker(Waker::noop())) {
        tokio::task::yield_now().await;
    }
    (ours, theirs)
}

/// Sends a request to an https origin with the certificate `identity`, trusting `ca`.
async fn ask_tls(
    identity: &ServerCertificate,
    ca: &str,
    response: &str,
    ending: Ending,
) -> Result<FullResponse, OriginError> {
    let acceptor = acceptor(identity);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = config(&format!(
        "https://localhost:{}",
        listener.local_addr().unwrap().port()
    ));
    config.destination.tls = Some(tls_config(Some(pem_file(ca).path())).unwrap());
    let script = async {
        let tcp = listener.accept().await.unwrap().0;
        let Ok(tls) = acceptor.accept(tcp).await else {
            return;
        };
        let mut peer = Peer(tls);
        peer.respond(response).await;
        match ending {
            Ending::CloseNotify => peer.close().await,
            Ending::Cut => peer.0.get_mut().0.shutdown().await.unwrap(),
        }
    };
    let origin = Origin::new(config);
    tokio::join!(ask(&origin, get("/")), script).0
}

fn reason(outcome: Result<FullResponse, OriginError>) -> String {
    let error = outcome.unwrap_err();
    assert!(matches!(error, OriginError::Tls { .. }), "{error}");
    assert_eq!(error.kind(), OriginErrorKind::Unreachable);
    error.to_string()
}

#[test]
fn a_private_authority_is_trusted_when_named() {
    run(async {
        let ca =
            CertifiedIssuer::self_signed(authority(params("ca")), KeyPair::generate().unwrap())
                .unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params("localhost").signed_by(&key, &ca).unwrap();
        let identity = ServerCertificate {
            certificate: certificate.der().clone(),
            pem: certificate.pem(),
            key,
        };
        let response = ask_tls(&identity, &ca.pem(), WHOLE, Ending::CloseNotify)
            .await
            .unwrap();
        assert_eq!(response.body, "to the end");
        // Exactly this certificate, without its authority.
        let response = ask_tls(&identity, &identity.pem, WHOLE, Ending::CloseNotify)
            .await
            .unwrap();
        assert_eq!(response.body, "to the end");

        let stranger = self_signed(params("localhost"));
        assert!(
            reason(ask_tls(&stranger, &ca.pem(), WHOLE, Ending::CloseNotify).await)
                .contains("not signed by a trusted CA")
        );
    });
}

#[test]
fn a_pinned_certificate_is_trusted_even_as_its_own_authority() {
    run(async {
        for params in [params("localhost"), authority(params("localhost"))] {
            let identity = self_signed(params);
            let response = ask_tls(&identity, &identity.pem, WHOLE, Ending::CloseNotify)
                .await
                .unwrap();
            assert_eq!(response.body, "to the end");
        }
    });
}

#[test]
fn names_and_dates_are_checked_for_pinned_certificates_too() {
    run(async {
        for kind in [|params| params, authority] {
            let other = self_signed(kind(params("example.org")));
            assert!(
                reason(ask_tls(&other, &other.pem, WHOLE, Ending::CloseNotify).await)
                    .ends_with("for another host name")
            );
            let old = self_signed(kind(expired(params("localhost"))));
            assert!(
                reason(ask_tls(&old, &old.pem, WHOLE, Ending::CloseNotify).await)
                    .ends_with("has expired")
            );
            let mut future = params("localhost");
            future.not_before = date_time_ymd(2999, 1, 1);
            future.not_after = date_time_ymd(3000, 1, 1);
            let future = self_signed(kind(future));
            assert!(
                reason(ask_tls(&future, &future.pem, WHOLE, Ending::CloseNotify).await)
                    .ends_with("not valid yet")
            );
        }
        let ca =
            CertifiedIssuer::self_signed(authority(params("ca")), KeyPair::generate().unwrap())
                .unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = expired(params("localhost")).signed_by(&key, &ca).unwrap();
        let old = ServerCertificate {
            certificate: certificate.der().clone(),
            pem: certificate.pem(),
            key,
        };
        assert!(
            reason(ask_tls(&old, &old.pem, WHOLE, Ending::CloseNotify).await)
                .ends_with("has expired")
        );
    });
}

#[test]
fn a_certificate_without_names_is_named_as_such() {
    run(async {
        for kind in [|params| params, authority] {
            let mut nameless = params("localhost");
            nameless.subject_alt_names.clear();
            let nameless = self_signed(kind(nameless));
            let reason =
                reason(ask_tls(&nameless, &nameless.pem, WHOLE, Ending::CloseNotify).await);
            assert!(reason.contains("has no subjectAltName"), "{reason}");
        }
    });
}

#[test]
fn an_end_without_close_notify_is_a_cut() {
    run(async {
        let identity = self_signed(params("localhost"));
        let cut = ask_tls(&identity, &identity.pem, WHOLE, Ending::Cut)
            .await
            .unwrap_err();
        assert_eq!(cut.kind(), OriginErrorKind::Cut, "{cut}");
        let framed = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody";
        assert_eq!(
            ask_tls(&identity, &identity.pem, framed, Ending::Cut)
                .await
                .unwrap()
                .body,
            "body"
        );
    });
}

#[test]
fn an_idle_connection_is_closed_with_close_notify() {
    run(async {
        let pool = Rc::new(Pool::new(PoolLimits {
            idle: Duration::from_millis(1),
            age: Duration::from_secs(60),
        }));
        let (ours, mut theirs) = pair().await;
        pool.put(PersistentConnection::new(ours));
        // Without close_notify, rustls reports an error.
        assert_eq!(theirs.read(&mut [0]).await.unwrap(), 0);
    });
}

#[test]
fn a_close_notify_is_seen_before_the_reactor_runs() {
    run(async {
        let (mut ours, mut theirs) = pair().await;
        theirs.get_mut().1.send_close_notify();
        theirs.flush().await.unwrap();
        // Waits without running the reactor.
        while ours.socket().peek(&mut [MaybeUninit::uninit()]).is_err() {}
        assert!(!ours.is_quiet(&mut Context::from_waker(Waker::noop())));
    });
}

#[test]
fn an_origin_without_tls_is_reported_as_such() {
    run(async {
        let test = TestOrigin::with(|config| {
            config.destination.url = OriginUrl::parse(
                &config
                    .destination
                    .url
                    .to_string()
                    .replace("http:", "https:"),
            )
            .unwrap();
            config.destination.tls = Some(
                tls_config(Some(pem_file(&self_signed(params("localhost")).pem).path())).unwrap(),
            );
        })
        .await;
        let script = async {
            let mut peer = test.accept().await;
            peer.send("HTTP/1.1 400 Bad Request\r\n\r\n").await;
            peer.gone().await;
        };
        assert!(
            reason(tokio::join!(ask(&test.origin, get("/")), script).0)
                .contains("does not speak TLS")
        );
    });
}

#[test]
fn unusable_ca_files_are_refused_with_the_reason() {
    let message = |pem: &str| {
        tls_config(Some(pem_file(pem).path()))
            .unwrap_err()
            .to_string()
    };
    assert!(message("").contains("holds no certificate"));
    assert!(message("just text\n").contains("holds no certificate"));
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(message(broken).contains("certificate 1 in"));
    assert!(message("-----BEGIN CERTIFICATE-----\nAAAA\n").contains("cannot read certificates"));
    let missing = tls_config(Some(std::path::Path::new("no/such/file.pem"))).unwrap_err();
    assert!(
        missing
            .to_string()
            .starts_with("cannot read certificates from no/such/file.pem"),
        "{missing}"
    );
}
