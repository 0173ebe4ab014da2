//! Listening sockets that the program is started with: systemd's socket activation.

use std::{net::TcpListener, os::fd::AsRawFd as _};

use rustix::{
    io::{FdFlags, fcntl_setfd},
    process::Signal,
};
use rustls::{
    ALL_VERSIONS,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use crate::{
    certificates::{LOCAL_AUTHORITY, Secure, client},
    client::Client,
    instance::{Finished, Home, Instance},
    origin::Origin,
    ports,
};

/// Sockets that a program under test inherits. They stay open here, as with systemd.
struct Sockets(Vec<TcpListener>);

impl Sockets {
    fn new(count: usize) -> Self {
        Self((0..count).map(|_| ports::listener()).collect())
    }

    fn port(&self, index: usize) -> u16 {
        self.0[index].local_addr().unwrap().port()
    }

    /// Lines of bash that pass the sockets on, from descriptor 3, to the program that it becomes.
    fn passed_on(&self) -> String {
        let sockets = self.0.iter().enumerate();
        let moved: String = sockets
            .map(|(index, socket)| format!("exec {}<&{}\n", 3 + index, socket.as_raw_fd()))
            .collect();
        format!("{moved}export LISTEN_PID=$$ LISTEN_FDS={}", self.0.len())
    }

    /// Starts the program with these lines of bash before it.
    fn start(&self, home: &Home, lines: &str, origin: &Origin, args: &[&str]) -> Instance {
        let url = origin.url();
        let args = [&["--origin", &url], args].concat();
        self.inherit(FdFlags::empty());
        let started = Instance::launch(home.command_after(lines, &args), self.port(0));
        self.inherit(FdFlags::CLOEXEC);
        started.unwrap()
    }

    fn inherit(&self, flags: FdFlags) {
        for socket in &self.0 {
            fcntl_setfd(socket, flags).unwrap();
        }
    }
}

fn origin() -> Origin {
    Origin::start(|exchange| exchange.ok("Cache-Control: max-age=60\r\n", "response"))
}

#[test]
fn an_inherited_socket_takes_the_place_of_the_port() {
    let (home, origin, sockets) = (Home::new(), origin(), Sockets::new(1));
    // It waits in the queue of the socket until the proxy accepts.
    let mut early = Client::connect(sockets.port(0));
    early.ask("/", "");
    let proxy = sockets.start(&home, &sockets.passed_on(), &origin, &["--port", "1"]);
    early.answer().expect(200, "MISS", "response");
    proxy.get("/").expect(200, "HIT", "response");
    let line = format!("Proxy starting on port {}\n", sockets.port(0));
    assert!(proxy.stdout().starts_with(&line), "{}", proxy.stdout());
    let stats = home.run_ok(&["stats", "--port", &sockets.port(0).to_string()]);
    assert!(
        stats.contains(&format!("port {}", sockets.port(0))),
        "{stats}"
    );
}

#[test]
fn no_connection_is_refused_while_the_proxy_starts_again() {
    let (home, origin, sockets) = (Home::new(), origin(), Sockets::new(1));
    let mut first = sockets.start(&home, &sockets.passed_on(), &origin, &[]);
    first.get("/").expect(200, "MISS", "response");
    first.signal(Signal::TERM);
    assert!(first.wait().success());
    let mut between = Client::connect(sockets.port(0));
    between.ask("/", "");
    let _second = sockets.start(&home, &sockets.passed_on(), &origin, &[]);
    between.answer().expect(200, "MISS", "response");
}

#[test]
fn a_socket_by_the_name_of_the_other_port_is_for_tls() {
    let (home, origin, sockets) = (Home::new(), origin(), Sockets::new(2));
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = crate::tls::params("localhost").self_signed(&key).unwrap();
    home.write("cert.pem", &certificate.pem());
    home.write("key.pem", &key.serialize_pem());
    let lines = format!(
        "{}\nexport LISTEN_FDNAMES=web:tls-port",
        sockets.passed_on()
    );
    let args = [
        "--tls-cert",
        "cert.pem",
        "--tls-key",
        "key.pem",
        "--tls-port",
        "1",
    ];
    let proxy = sockets.start(&home, &lines, &origin, &args);
    proxy.get("/").expect(200, "MISS", "response");
    let mut client = Client::connect(sockets.port(1));
    client.ask("/", "");
    assert_eq!(client.answer().status(), 400);
    proxy.log_line(&["this port takes HTTPS"]);
}

#[test]
fn a_local_certificate_is_for_the_address_of_an_inherited_socket() {
    let (home, origin) = (Home::new(), origin());
    let address = "127.0.0.2";
    let sockets = Sockets(vec![TcpListener::bind((address, 0)).unwrap()]);
    let _proxy = sockets.start(&home, &sockets.passed_on(), &origin, &["--tls"]);
    let authority = CertificateDer::from_pem_file(home.path(LOCAL_AUTHORITY)).unwrap();
    let client = client(authority, ALL_VERSIONS);
    Secure::connect(sockets.port(0), address, &client).unwrap();
}

#[test]
fn sockets_of_another_process_are_left_alone() {
    let (home, origin) = (Home::new(), origin());
    let args = [("LISTEN_FDS", "1"), ("LISTEN_PID", "1")];
    let proxy = home.start_with(&origin.url(), &[], &args);
    proxy.get("/").expect(200, "MISS", "response");
}

#[test]
fn what_is_no_listening_socket_is_refused() {
    let home = Home::new();
    let lines = "exec 3</dev/null; export LISTEN_PID=$$ LISTEN_FDS=1";
    let command = home.command_after(lines, &["--origin", "http://127.0.0.1:1"]);
    Finished::of(command).refused(3, &["LISTEN_FDS", "not a socket"]);
    let sockets = Sockets::new(1);
    sockets.inherit(FdFlags::empty());
    let lines = format!("{}\nexport LISTEN_FDNAMES=tls-port", sockets.passed_on());
    let command = home.command_after(&lines, &["--origin", "http://127.0.0.1:1"]);
    Finished::of(command).refused(2, &["tls-port", "--tls-port"]);
}
