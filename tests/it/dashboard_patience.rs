//! The time limits of the dashboard: no client blocks others for long.

use std::{net::TcpListener, sync::mpsc, time::Duration};

use caching_proxy::{
    config::Config,
    dashboard::{self, Dashboard},
    origin::OriginUrl,
    server::Server,
};

use crate::{
    client::Client,
    harness::{DEADLINE, until},
};

/// The server checks its time limits twice a second.
const PATIENCE: Duration = Duration::from_secs(1);
/// The number of connections served at a time.
const ALL: usize = 64;

/// A dashboard with short time limits. Dropping it stops it.
struct ShortLimits {
    port: u16,
    token: String,
    _end: tokio::sync::oneshot::Sender<()>,
}

impl ShortLimits {
    fn start() -> Self {
        let (ready, started) = mpsc::channel();
        let (end, ended) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            actix::System::new().block_on(async move {
                let origin = OriginUrl::parse("http://127.0.0.1:9").unwrap();
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let mut config = Config::for_origin(origin);
                config.workers = 1;
                let server = Server::start(config.into(), None, vec![listener]).unwrap();
                let address = "127.0.0.1:0".parse().unwrap();
                let socket = dashboard::listen(address).unwrap();
                let dashboard = Dashboard::start(socket, server.shared(), PATIENCE).unwrap();
                ready.send(dashboard.link()).unwrap();
                ended.await.ok();
            });
        });
        let link = started.recv_timeout(DEADLINE).unwrap();
        let (address, token) = link.split_once("/#token=").unwrap();
        let port = address.rsplit(':').next().unwrap().parse().unwrap();
        Self {
            port,
            token: token.to_owned(),
            _end: end,
        }
    }

    /// Opens connections and sends this text on each. `HOST` stands for the host name of the dashboard.
    fn send_on_all(&self, text: &str) -> Vec<Client> {
        let text = text.replace("HOST", &format!("127.0.0.1:{}", self.port));
        (0..ALL)
            .map(|_| {
                let mut client = Client::connect(self.port);
                client.send(&text);
                client
            })
            .collect()
    }

    fn is_healthy(&self) -> bool {
        let mut client = Client::connect(self.port);
        let port = self.port;
        client.send(format!(
            "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"
        ));
        client.answer().status() == 200
    }

    fn events(&self) -> Client {
        let (port, token) = (self.port, &self.token);
        let mut stream = Client::connect(port);
        stream.send(format!(
            "GET /events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n\r\n"
        ));
        stream.wait_for("event: now");
        stream
    }
}

#[test]
fn a_half_sent_body_gets_408_and_frees_its_connection() {
    let dashboard = ShortLimits::start();
    for framing in [
        "Content-Length: 100\r\n\r\nhalf",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let request = format!(
            "POST /api/purge HTTP/1.1\r\nHost: HOST\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\n{framing}",
            dashboard.token
        );
        let mut halves = dashboard.send_on_all(&request);
        until("others are answered", || dashboard.is_healthy());
        for half in &mut halves {
            let answer = half.answer();
            assert_eq!(answer.status(), 408, "{framing}");
            assert_eq!(answer.field("connection"), Some("close"));
            assert_eq!(answer.field("cache-control"), Some("no-store"));
            assert!(half.is_closed());
        }
    }
}

#[test]
fn a_request_refused_before_its_body_arrives_frees_its_connection() {
    let dashboard = ShortLimits::start();
    for framing in ["Content-Length: 100", "Transfer-Encoding: chunked"] {
        let request = format!("GET /healthz HTTP/1.1\r\nHost: HOST\r\n{framing}\r\n\r\n");
        let mut halves = dashboard.send_on_all(&request);
        until("others are answered", || dashboard.is_healthy());
        for half in &mut halves {
            assert_eq!(half.answer().status(), 200);
            assert!(half.is_closed());
        }
    }
}

#[test]
fn a_connection_without_a_whole_request_is_closed_in_time() {
    let dashboard = ShortLimits::start();
    for half in ["", "GET / HTTP/1.1\r\nHost: HOST\r\n"] {
        let mut halves = dashboard.send_on_all(half);
        until("others are answered", || dashboard.is_healthy());
        for half in &mut halves {
            assert_eq!(half.answer().status(), 408);
            assert!(half.is_closed());
        }
    }
}

#[test]
fn a_dashboard_connection_carries_one_request() {
    let dashboard = ShortLimits::start();
    let whole = "GET /healthz HTTP/1.1\r\nHost: HOST\r\n\r\n";
    for mut client in dashboard.send_on_all(whole) {
        let answer = client.answer();
        assert_eq!((answer.status(), answer.text()), (200, "ok\n".to_owned()));
        assert_eq!(answer.field("connection"), Some("close"));
        assert!(client.is_closed());
    }
}

#[test]
fn an_event_stream_outlives_every_time_limit() {
    let dashboard = ShortLimits::start();
    let mut stream = dashboard.events();
    // This connection began after the stream and stays active. Only the limit for all connections ends it.
    let mut stuck = dashboard
        .send_on_all("GET /healthz HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n");
    for stuck in &mut stuck {
        stuck.answer();
        assert!(stuck.is_closed());
    }
    // More events than can have arrived before: one a second, and two at the beginning.
    for _ in 0..3 + 3 * PATIENCE.as_secs() {
        assert!(stream.next_event());
    }
}
