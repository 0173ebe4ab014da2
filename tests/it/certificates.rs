//! HTTPS towards clients: which certificate they get, and what happens when its files change.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    os::unix::fs::symlink,
    sync::Arc,
};

use chrono::Datelike as _;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustix::process::Signal;
use rustls::{
    ALL_VERSIONS, ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, RootCertStore,
    StreamOwned, SupportedProtocolVersion,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    version::TLS12,
};
use serde_json::json;

use crate::{
    instance::{Home, Instance},
    origin::Origin,
    ports::free_port,
    waiting::{DEADLINE, until},
};

/// An authority, and the certificates that it signs in the working directory of a home.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    /// Writes `file.pem` and `file.key`, and returns the certificate.
    fn sign(&self, home: &Home, file: &str, name: &str) -> CertificateDer<'static> {
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        self.sign_params(home, file, &params)
    }

    fn sign_params(
        &self,
        home: &Home,
        file: &str,
        params: &CertificateParams,
    ) -> CertificateDer<'static> {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        home.write(&format!("{file}.pem"), &certificate.pem());
        home.write(&format!("{file}.key"), &key.serialize_pem());
        certificate.der().clone()
    }

    /// A client that trusts this authority alone.
    fn client(&self, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        client(self.0.der().clone(), versions)
    }
}

/// A client that trusts this authority alone.
pub(crate) fn client(
    trusted: CertificateDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

/// A connection of a client.
#[derive(Debug)]
pub(crate) struct Secure(StreamOwned<ClientConnection, TcpStream>);

impl Secure {
    /// Connects to `port` of this machine, as a client that knows the server as `name`, which may be an address.
    pub(crate) fn connect(
        port: u16,
        name: &str,
        client: &Arc<ClientConfig>,
    ) -> std::io::Result<Self> {
        let address = name.parse().unwrap_or(Ipv4Addr::LOCALHOST);
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connection = ClientConnection::new(Arc::clone(client), name).unwrap();
        let socket = TcpStream::connect((address, port))?;
        socket.set_read_timeout(Some(DEADLINE))?;
        let mut stream = StreamOwned::new(connection, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self(stream))
    }

    fn certificate(&self) -> CertificateDer<'static> {
        self.0.conn.peer_certificates().unwrap()[0]
            .clone()
            .into_owned()
    }

    /// The body of the response to a GET, which has `length` bytes.
    fn get(&mut self, target: &str, length: usize) -> String {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n");
        self.0.write_all(request.as_bytes()).unwrap();
        let mut read = Vec::new();
        let end = b"\r\n\r\n";
        while !read.ends_with(end) {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap();
            read.push(byte[0]);
        }
        let head = String::from_utf8(read).unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        String::from_utf8(body).unwrap()
    }
}

/// The certificate that a client which trusts `authority` gets for `name`.
fn served(proxy: &Instance, authority: &Authority, name: &str) -> CertificateDer<'static> {
    let client = authority.client(ALL_VERSIONS);
    let connection = Secure::connect(proxy.port, name, &client).unwrap();
    connection.certificate()
}

/// An origin that says hello.
fn hello() -> Origin {
    Origin::start(|exchange| exchange.ok("", "hello"))
}

/// The certificate of the authority that the proxy makes, in a home.
pub(crate) const LOCAL_AUTHORITY: &str = "work/.local/share/caching-proxy/local-ca/ca.pem";

const PAIR: [&str; 4] = ["--tls-cert", "a.pem", "--tls-key", "a.key"];

#[test]
fn clients_of_both_versions_are_served_and_get_the_certificate_for_their_name() {
    let (home, origin, authority) = (Home::new(), hello(), Authority::new());
    let a = authority.sign(&home, "a", "a.test");
    let b = authority.sign(&home, "b", "*.b.test");
    home.write(
        "config/proxy.toml",
        "tls = [{ cert = \"a.pem\", key = \"a.key\" }, { cert = \"b.pem\", key = \"b.key\" }]\n",
    );
    let proxy = home.start(&origin.url(), &[]);
    for versions in [ALL_VERSIONS, &[&TLS12]] {
        let client = authority.client(versions);
        for (name, certificate) in [("a.test", &a), ("www.b.test", &b)] {
            let mut connection = Secure::connect(proxy.port, name, &client).unwrap();
            assert_eq!(connection.certificate(), *certificate);
            assert_eq!(connection.get("/", 5), "hello");
            let version = connection.0.conn.protocol_version().unwrap();
            assert_eq!(
                version == ProtocolVersion::TLSv1_2,
                versions.len() == 1,
                "{version:?}"
            );
        }
    }
}

#[test]
fn a_renewal_is_noticed_and_connections_and_sessions_go_on() {
    let (home, origin, authority) = (Home::new(), hello(), Authority::new());
    authority.sign(&home, "a", "a.test");
    let proxy = home.start(&origin.url(), &PAIR);
    let client = authority.client(ALL_VERSIONS);
    let mut before = Secure::connect(proxy.port, "a.test", &client).unwrap();
    assert_eq!(before.get("/", 5), "hello");
    let new = authority.sign(&home, "a", "a.test");
    until("the new certificate is in force", || {
        served(&proxy, &authority, "a.test") == new
    });
    assert_eq!(before.get("/", 5), "hello");
    let mut resumed = Secure::connect(proxy.port, "a.test", &client).unwrap();
    assert_eq!(resumed.get("/", 5), "hello");
    let kind = resumed.0.conn.handshake_kind();
    assert_eq!(kind, Some(HandshakeKind::Resumed));
    proxy.log_line(&["new TLS certificate for a.test"]);
}

#[test]
fn a_swapped_link_is_noticed() {
    let (home, origin, authority) = (Home::new(), hello(), Authority::new());
    let one = authority.sign(&home, "one/a", "a.test");
    let two = authority.sign(&home, "two/a", "a.test");
    let link = |target: &str, path: &str| symlink(target, home.path("work").join(path)).unwrap();
    link("one", "..data");
    link("..data/a.pem", "a.pem");
    link("..data/a.key", "a.key");
    let proxy = home.start(&origin.url(), &PAIR);
    assert_eq!(served(&proxy, &authority, "a.test"), one);
    link("two", "..new");
    let work = home.path("work");
    fs::rename(work.join("..new"), work.join("..data")).unwrap();
    until("the new certificate is in force", || {
        served(&proxy, &authority, "a.test") == two
    });
}

#[test]
fn a_reload_reads_new_certificates_at_once_and_refuses_wrong_ones() {
    let (home, origin, authority) = (Home::new(), hello(), Authority::new());
    authority.sign(&home, "a", "a.test");
    let proxy = home.start(&origin.url(), &PAIR);
    let new = authority.sign(&home, "a", "a.test");
    let reloaded = home.run(&["reload"]);
    assert_eq!(reloaded.code, Some(0), "{reloaded:?}");
    assert_eq!(served(&proxy, &authority, "a.test"), new);

    let other = authority.sign(&home, "b", "a.test");
    let work = home.path("work");
    fs::copy(work.join("b.key"), work.join("a.key")).unwrap();
    let refused = home.run(&["reload"]);
    refused.refused(
        2,
        &[
            "the old certificates stay in force (a.test (a.pem) is valid until 4096-01-01, for ",
            "the private key in a.key is not for the certificate in a.pem",
        ],
    );
    assert_eq!(served(&proxy, &authority, "a.test"), new);
    proxy.log_line(&["ERROR", "not for the certificate in a.pem"]);
    fs::copy(work.join("b.pem"), work.join("a.pem")).unwrap();
    until("the pair that fits is in force", || {
        served(&proxy, &authority, "a.test") == other
    });
}

#[test]
fn a_hangup_signal_reads_certificates_again() {
    let (home, origin, authority) = (Home::new(), hello(), Authority::new());
    authority.sign(&home, "a", "a.test");
    let file = |name: &str| {
        let text = format!("tls_cert = \"{name}.pem\"\ntls_key = \"{name}.key\"\n");
        home.write("config/proxy.toml", &text);
    };
    file("a");
    let proxy = home.start(&origin.url(), &[]);
    let other = authority.sign(&home, "b", "a.test");
    file("b");
    proxy.signal(Signal::HUP);
    proxy.log_line(&["configuration reloaded: changed tls_cert, tls_key"]);
    assert_eq!(served(&proxy, &authority, "a.test"), other);

    home.write("c.pem", "");
    file("c");
    proxy.signal(Signal::HUP);
    proxy.log_line(&[
        "ERROR",
        "configuration not reloaded, the old one stays active: the old certificates stay in force (a.test (b.pem)",
        "c.pem has no certificate",
    ]);
    assert_eq!(served(&proxy, &authority, "a.test"), other);
}

#[test]
fn a_certificate_that_ends_within_14_days_is_warned_about() {
    let (home, origin, authority) = (Home::new(), hello(), Authority::new());
    for (file, days) in [("a", 14), ("b", 16)] {
        let mut params = CertificateParams::new(vec![format!("{file}.test")]).unwrap();
        let end = chrono::Utc::now() + chrono::Duration::days(days);
        let (month, day) = (end.month().try_into(), end.day().try_into());
        params.not_after = rcgen::date_time_ymd(end.year(), month.unwrap(), day.unwrap());
        authority.sign_params(&home, file, &params);
    }
    home.write(
        "config/proxy.toml",
        "tls = [{ cert = \"a.pem\", key = \"a.key\" }, { cert = \"b.pem\", key = \"b.key\" }]\n",
    );
    let proxy = home.start(&origin.url(), &[]);
    proxy.log_line(&[
        "WARN",
        "a.test (a.pem) expires on ",
        ", in 13 days: renew it",
    ]);
    let log = proxy.whole_log();
    assert!(!log.contains("b.test (b.pem) expires"), "{log}");
}

#[test]
fn a_reload_that_makes_a_local_certificate_logs_the_command_that_trusts_it() {
    let (home, origin, authority) = (Home::new(), hello(), Authority::new());
    authority.sign(&home, "a", "a.test");
    let list = "tls = [{ cert = \"a.pem\", key = \"a.key\" }]\n";
    home.write("config/proxy.toml", list);
    let proxy = home.start(&origin.url(), &[]);
    home.write("config/proxy.toml", "tls = true\n");
    assert_eq!(home.run(&["reload"]).code, Some(0));
    proxy.log_line(&[
        "INFO",
        "HTTPS: to trust the certificate of this proxy, run once",
    ]);
    let file = home.path(LOCAL_AUTHORITY);
    proxy.log_line(&[file.to_str().unwrap()]);
}

#[test]
fn a_certificate_that_cannot_be_used_at_the_start_ends_it() {
    let (home, authority) = (Home::new(), Authority::new());
    authority.sign(&home, "a", "a.test");
    home.write("a.key", "");
    let mut args = vec!["--port", "0", "--origin", "http://127.0.0.1:1"];
    args.extend(PAIR);
    for command in [None, Some("check-config")] {
        let args: Vec<&str> = command.into_iter().chain(args.iter().copied()).collect();
        home.run(&args)
            .refused(2, &["a.key has no private key", "it is empty"]);
    }
}

#[test]
fn an_expired_certificate_is_served_with_an_error_in_the_log() {
    let (home, origin, authority) = (Home::new(), hello(), Authority::new());
    let mut params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    authority.sign_params(&home, "a", &params);
    let proxy = home.start(&origin.url(), &PAIR);
    let client = authority.client(ALL_VERSIONS);
    let refused = Secure::connect(proxy.port, "a.test", &client);
    let error = refused.err().unwrap().to_string();
    assert!(error.contains("xpired"), "{error}");
    proxy.log_line(&["ERROR", "a.test (a.pem) expired on 2020-01-01"]);
    let checked = home.run_ok(&[
        "check-config",
        "--origin",
        "http://a.test",
        PAIR[0],
        PAIR[1],
        PAIR[2],
        PAIR[3],
    ]);
    assert!(
        checked.contains("HTTPS: the certificate for a.test (a.pem) expired on 2020-01-01"),
        "{checked}"
    );
}

#[test]
fn the_days_left_are_in_statistics_and_metrics() {
    let (home, origin, authority) = (Home::new(), hello(), Authority::new());
    authority.sign(&home, "a", "a.test");
    let metrics = free_port().to_string();
    let mut args = PAIR.to_vec();
    args.extend(["--metrics", &metrics]);
    let _proxy = home.start(&origin.url(), &args);
    let stats = home.run_json(&["stats", "--json"]);
    let certificate = &stats["certificates"][0];
    assert_eq!(
        (&certificate["name"], &certificate["source"]),
        (&json!("a.test"), &json!("a.pem"))
    );
    assert!(certificate["seconds_left"].as_u64().unwrap() > 1_000_000_000);
    let text = home.run_ok(&["stats"]);
    assert!(
        text.contains("until the certificate for a.test expires"),
        "{text}"
    );
    let mut client = crate::client::Client::connect(metrics.parse().unwrap());
    let scraped = client.ask("/metrics", "Connection: close\r\n").answer();
    let scraped = String::from_utf8_lossy(&scraped.body).into_owned();
    let sample = "caching_proxy_tls_certificate_expiry_seconds{name=\"a.test\"} ";
    assert!(scraped.contains(sample), "{scraped}");
}

#[test]
fn a_local_certificate_is_made_and_the_command_that_trusts_it_is_printed() {
    let (home, origin) = (Home::new(), hello());
    let proxy = home.start(&origin.url(), &["--tls"]);
    let file = home.path(LOCAL_AUTHORITY);
    let authority = CertificateDer::from_pem_file(&file).unwrap();
    let client = client(authority, ALL_VERSIONS);
    for name in ["localhost", "127.0.0.1"] {
        let mut connection = Secure::connect(proxy.port, name, &client).unwrap();
        assert_eq!(connection.get("/", 5), "hello");
    }
    proxy.log_line(&["HTTPS: to trust the certificate of this proxy, run once"]);
    proxy.log_line(&[file.to_str().unwrap()]);
    let start = format!(
        "Proxy starting on port {}\nOrigin: {}\n",
        proxy.port,
        origin.url()
    );
    assert_eq!(proxy.stdout(), start);
    // The next one has the same authority.
    let next = home.start(&origin.url(), &["--tls"]);
    let mut connection = Secure::connect(next.port, "localhost", &client).unwrap();
    assert_eq!(connection.get("/", 5), "hello");
}
