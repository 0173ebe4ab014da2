//! Metrics and health checks on an address of their own.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, TcpListener},
};

use crate::{
    client::{Answer, Client},
    exchange::Gate,
    harness::until,
    instance::{Home, Instance},
    origin::Origin,
    ports::free_port,
};

/// A proxy with a listener for metrics on all addresses.
struct Watched {
    proxy: Instance,
    metrics: u16,
}

impl Watched {
    fn start(home: &Home, origin: &str) -> Self {
        Self::start_with(home, origin, &[])
    }

    fn start_with(home: &Home, origin: &str, args: &[&str]) -> Self {
        let metrics = free_port();
        let address = format!("0.0.0.0:{metrics}");
        let all = [&["--metrics", &address, "--store", "cache"], args].concat();
        let proxy = home.start(origin, &all);
        proxy.log_line(&["metrics and health checks on", &address]);
        Self { proxy, metrics }
    }

    fn request(&self, method: &str, path: &str) -> Answer {
        let mut client = Client::connect(self.metrics);
        // Other machines reach it by any name.
        client.send(format!(
            "{method} {path} HTTP/1.1\r\nHost: metrics.test\r\n\r\n"
        ));
        client.answer_to(method)
    }

    fn get(&self, path: &str) -> Answer {
        self.request("GET", path)
    }
}

#[test]
fn the_guide_lists_every_metric() {
    let origin = Origin::counting("");
    let home = Home::new();
    let tls_port = free_port().to_string();
    // The metrics of what is switched on are there, also if there is no Redis.
    let args = ["--redis", "unix:/none", "--tls", "--tls-port", &tls_port];
    let watched = Watched::start_with(&home, &origin.url(), &args);
    let metrics = watched.get("/metrics").text();
    let of_program = metrics.lines().filter_map(|line| {
        let name = line.strip_prefix("# TYPE caching_proxy_")?;
        name.split(' ').next()
    });
    let guide = include_str!("../../src/guide/service.md");
    let (_, table) = guide.split_once("| metric | labels |").unwrap();
    let (table, _) = table.split_once("\n\n").unwrap();
    let first_cells = table.lines().filter_map(|row| row.split('|').nth(1));
    let of_guide = first_cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let (of_program, of_guide): (BTreeSet<&str>, BTreeSet<&str>) =
        (of_program.collect(), of_guide.collect());
    assert!(of_program.len() > 20);
    assert_eq!(of_guide, of_program);
}

#[test]
fn metrics_and_health_checks_are_served_and_nothing_else() {
    let origin = Origin::counting("");
    let home = Home::new();
    let watched = Watched::start(&home, &origin.url());
    assert_eq!(watched.proxy.get("/a").status(), 200);
    let metrics = watched.get("/metrics");
    assert_eq!(metrics.status(), 200);
    assert!(
        metrics.text().contains("caching_proxy_requests_total{"),
        "{}",
        metrics.text()
    );
    for path in ["/healthz", "/readyz"] {
        let response = watched.get(path);
        assert_eq!(
            (response.status(), response.text()),
            (200, "ok\n".to_owned())
        );
        let head = watched.request("HEAD", path);
        assert_eq!((head.status(), head.body.len()), (200, 0));
        let post = watched.request("POST", path);
        assert_eq!(
            (post.status(), post.field("allow")),
            (405, Some("GET, HEAD"))
        );
    }
    for path in ["/", "/events", "/api/entries", "/app.js", "/metrics/", "/a"] {
        let response = watched.get(path);
        assert_eq!(response.status(), 404, "{path}");
        assert!(response.text().contains("/readyz"), "{path}");
    }
    // The proxy itself has none of these paths.
    for path in ["/metrics", "/healthz", "/readyz"] {
        watched
            .proxy
            .get(path)
            .expect(200, "MISS", &format!("GET {path} #0"));
    }
}

#[test]
fn an_origin_that_is_known_to_fail_makes_the_proxy_not_ready() {
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let origin = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let home = Home::new();
    let watched = Watched::start(&home, &origin);
    assert_eq!(watched.get("/readyz").status(), 200);
    assert_eq!(watched.proxy.get("/a").status(), 502);
    let ready = watched.get("/readyz");
    assert_eq!(ready.status(), 503);
    assert!(
        ready.text().starts_with("the origin could not be reached"),
        "{}",
        ready.text()
    );
    assert_eq!(watched.get("/healthz").status(), 200);
}

#[test]
fn a_proxy_that_shuts_down_is_alive_and_not_ready() {
    let gate = Gate::default();
    let origin = Origin::start({
        let gate = gate.clone();
        move |exchange| {
            gate.wait();
            exchange.ok("", "late");
        }
    });
    let home = Home::new();
    let mut watched = Watched::start(&home, &origin.url());
    let mut client = Client::connect(watched.proxy.port);
    client.ask("/a", "");
    origin.wait_for(1);
    watched.proxy.signal(rustix::process::Signal::TERM);
    until("the proxy is not ready", || {
        watched.get("/readyz").status() == 503
    });
    let ready = watched.get("/readyz");
    assert_eq!(ready.text(), "the proxy is shutting down\n");
    assert_eq!(watched.get("/healthz").status(), 200);
    gate.open();
    assert_eq!(client.answer().text(), "late");
    assert!(watched.proxy.wait().success());
}

#[test]
fn an_address_that_cannot_be_listened_on_is_named() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, free_port())).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let home = Home::new();
    let port = free_port().to_string();
    let args = [
        "--port",
        &port,
        "--origin",
        "http://127.0.0.1:9",
        "--metrics",
        &address,
    ];
    home.run(&args).refused(3, &["--metrics", &address]);
    for wrong in ["nine", "0.0.0.0", "127.0.0.1:0", ":9090"] {
        let args = ["--origin", "http://127.0.0.1:9", "--metrics", wrong];
        home.run(&args)
            .refused(2, &["--metrics", wrong, "0.0.0.0:9090"]);
    }
}
