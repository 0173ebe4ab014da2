//! Connections to a port for TLS, over real sockets.

use std::{io, net::SocketAddr};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::*;
use crate::{
    config::{CertificateFiles, TlsSettings, TrustedProxies},
    origin::OriginUrl,
    tls::ServerTls,
};

/// No test waits longer than this.
const DEADLINE: Duration = Duration::from_secs(20);
const NEVER: Duration = Duration::from_secs(3600);
/// The proxy answers this itself.
const REQUEST: &str = "OPTIONS / HTTP/1.1\r\nHost: localhost\r\nMax-Forwards: 0\r\n\r\n";
const LAST_REQUEST: &str =
    "OPTIONS / HTTP/1.1\r\nHost: localhost\r\nMax-Forwards: 0\r\nConnection: close\r\n\r\n";

/// A proxy with a port for TLS.
struct TlsServer {
    server: Server,
    address: SocketAddr,
    certificate: CertificateDer<'static>,
}

impl TlsServer {
    fn start(handshake: Duration, adapt: impl FnOnce(&mut Config, &mut Listeners)) -> Self {
        let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = issued.cert.der().clone();
        let dir = tempfile::tempdir().unwrap();
        let files = CertificateFiles {
            certificate: dir.path().join("cert.pem"),
            key: dir.path().join("key.pem"),
        };
        std::fs::write(&files.certificate, issued.cert.pem()).unwrap();
        std::fs::write(&files.key, issued.signing_key.serialize_pem()).unwrap();
        let settings = TlsSettings {
            given: Some(files),
            listed: Vec::new(),
            bind: "127.0.0.1".parse::<std::net::IpAddr>().unwrap().into(),
            port: None,
            redirect_http: false,
        };
        let tls = ServerTls::load(&settings, clock::now()).unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let mut config = Config::for_origin(OriginUrl::parse("http://127.0.0.1:1").unwrap());
        config.workers = 1;
        let mut listeners = Listeners {
            tls: vec![listener],
            server_tls: Some(tls),
            ..Listeners::default()
        };
        adapt(&mut config, &mut listeners);
        let limits = Limits {
            head: NEVER,
            idle: NEVER,
            stall: NEVER,
            handshake,
        };
        let options = (WorkerCacheMode::On, limits);
        let server = Server::start_with_limits(Arc::new(config), None, listeners, options).unwrap();
        Self {
            server,
            address,
            certificate,
        }
    }

    async fn plain(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// The handshake on a connection.
    async fn shake_hands(&self, tcp: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.shake_hands_for(&[], tcp).await
    }

    /// The same for one of these protocols.
    async fn shake_hands_for(
        &self,
        protocols: &[&[u8]],
        tcp: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|it| it.to_vec()).collect();
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        timeout(DEADLINE, connector.connect(name, tcp))
            .await
            .unwrap()
    }

    async fn connect(&self) -> TlsStream<TcpStream> {
        self.shake_hands(self.plain().await).await.unwrap()
    }
}

fn test(run: impl AsyncFnOnce()) {
    actix_rt::System::new().block_on(run());
}

/// All that arrives until the connection ends. An error if it ends without close_notify.
async fn rest(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> io::Result<String> {
    let mut received = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut received))
        .await
        .unwrap()?;
    Ok(received)
}

async fn response(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut received = Vec::new();
    while !received.ends_with(b"\r\n\r\n") {
        let read = timeout(DEADLINE, stream.read_buf(&mut received))
            .await
            .unwrap();
        assert!(read.unwrap() > 0, "{}", received.escape_ascii());
    }
    String::from_utf8(received).unwrap()
}

#[test]
fn requests_over_tls_are_served_and_the_end_is_announced() {
    test(async || {
        let proxy = TlsServer::start(NEVER, |_, _| {});
        let mut client = proxy.connect().await;
        client.write_all(REQUEST.as_bytes()).await.unwrap();
        let first = response(&mut client).await;
        assert!(first.starts_with("HTTP/1.1 200 OK\r\n"), "{first}");
        client.write_all(LAST_REQUEST.as_bytes()).await.unwrap();
        let last = rest(&mut client).await.unwrap();
        assert!(last.starts_with("HTTP/1.1 200 OK\r\n"), "{last}");
        proxy.server.stop().await;
    });
}

#[test]
fn http_2_is_served_over_tls_where_the_handshake_has_chosen_it() {
    test(async || {
        let proxy = TlsServer::start(NEVER, |_, _| {});
        let tls = proxy.shake_hands_for(&[b"http/1.1"], proxy.plain().await);
        let mut older = tls.await.unwrap();
        older.write_all(LAST_REQUEST.as_bytes()).await.unwrap();
        let served = rest(&mut older).await.unwrap();
        assert!(served.starts_with("HTTP/1.1 200 OK\r\n"), "{served}");
        let tls = proxy.shake_hands_for(&[b"h2"], proxy.plain().await);
        let (mut requests, connection) = h2::client::handshake(tls.await.unwrap()).await.unwrap();
        let connection = actix_rt::spawn(connection);
        let request = http::Request::options("https://localhost/").header("max-forwards", "0");
        let (response, _) = requests
            .send_request(request.body(()).unwrap(), true)
            .unwrap();
        let response = timeout(DEADLINE, response).await.unwrap().unwrap();
        assert_eq!(response.status(), 200);
        // The end is announced: the client would take any other for an error.
        proxy.server.stop().await;
        drop(requests);
        timeout(DEADLINE, connection)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    });
}

#[test]
fn plain_http_to_a_port_for_tls_is_told_to_use_https() {
    test(async || {
        let proxy = TlsServer::start(NEVER, |_, _| {});
        let mut client = proxy.plain().await;
        client.write_all(REQUEST.as_bytes()).await.unwrap();
        let refused = rest(&mut client).await.unwrap();
        assert!(
            refused.starts_with("HTTP/1.1 400 Bad Request\r\n"),
            "{refused}"
        );
        assert!(
            refused.ends_with("This port takes HTTPS: use https:// for it.\n"),
            "{refused}"
        );
        proxy.server.stop().await;
    });
}

#[test]
fn a_client_that_does_not_complete_the_handshake_is_closed() {
    test(async || {
        let proxy = TlsServer::start(Duration::from_millis(50), |_, _| {});
        for sent in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"] {
            let mut client = proxy.plain().await;
            client.write_all(sent).await.unwrap();
            let read = timeout(DEADLINE, client.read(&mut [0])).await.unwrap();
            assert!(matches!(read, Ok(0) | Err(_)), "{sent:?}: {read:?}");
        }
        proxy.server.stop().await;
    });
}

#[test]
fn handshakes_that_hang_keep_nobody_else_from_being_served() {
    test(async || {
        let proxy = TlsServer::start(NEVER, |_, _| {});
        let mut hanging = Vec::new();
        for number in 0..60 {
            let mut client = proxy.plain().await;
            let sent: &[u8] = [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00"][number % 3];
            client.write_all(sent).await.unwrap();
            hanging.push(client);
        }
        for _ in 0..10 {
            let mut client = proxy.connect().await;
            client.write_all(LAST_REQUEST.as_bytes()).await.unwrap();
            let served = rest(&mut client).await.unwrap();
            assert!(served.starts_with("HTTP/1.1 200 OK\r\n"), "{served}");
        }
        // They do not hold up the end either.
        let stopped = timeout(Duration::from_secs(5), proxy.server.stop()).await;
        assert!(stopped.is_ok());
        drop(hanging);
    });
}

#[test]
fn a_header_of_the_proxy_protocol_precedes_the_handshake() {
    test(async || {
        let proxy = TlsServer::start(NEVER, |config, _| {
            config.deployment.proxy_protocol = true;
            config.deployment.trusted_proxies = TrustedProxies::default();
        });
        let mut tcp = proxy.plain().await;
        let header = b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 443\r\n";
        tcp.write_all(header).await.unwrap();
        let mut client = proxy.shake_hands(tcp).await.unwrap();
        client.write_all(LAST_REQUEST.as_bytes()).await.unwrap();
        let served = rest(&mut client).await.unwrap();
        assert!(served.starts_with("HTTP/1.1 200 OK\r\n"), "{served}");
        proxy.server.stop().await;
    });
}

#[test]
fn plain_requests_are_redirected_to_the_port_for_tls() {
    test(async || {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let proxy = TlsServer::start(NEVER, |_, listeners| {
            listeners.plain.push(listener);
            listeners.plain_requests = PlainRequests::Redirect { tls_port: 8443 };
        });
        let mut client = TcpStream::connect(address).await.unwrap();
        let port = address.port();
        let request = format!(
            "POST /a?b HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Length: 4\r\n\r\nbody"
        );
        client.write_all(request.as_bytes()).await.unwrap();
        let redirected = rest(&mut client).await.unwrap();
        assert!(
            redirected.starts_with("HTTP/1.1 308 Permanent Redirect\r\n"),
            "{redirected}"
        );
        let location = "\r\nLocation: https://localhost:8443/a?b\r\n";
        assert!(redirected.contains(location), "{redirected}");
        proxy.server.stop().await;
    });
}
