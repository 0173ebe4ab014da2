//! Mistakes that people make at first: options of other programs, a URL without its option, the proxy used as a forward
//! proxy.

use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};

use crate::{
    client::Client,
    harness::TestProxy,
    instance::{Home, Instance},
    origin::Origin,
    ports::free_port,
};

const CLOSED: &str = "http://127.0.0.1:9";

/// The port in the first line that the proxy prints.
fn printed_port(instance: &Instance) -> u16 {
    let stdout = instance.stdout();
    let line = stdout.lines().next().unwrap();
    let port = line.strip_prefix("Proxy starting on port ");
    port.and_then(|port| port.parse().ok())
        .unwrap_or_else(|| panic!("{line}"))
}

/// Starts the proxy with these arguments alone. The port of the instance is the one that it prints.
fn launch(home: &Home, args: &[&str]) -> Instance {
    let mut instance = Instance::launch(home.command(args), 0).expect("the port is free");
    instance.port = printed_port(&instance);
    instance
}

#[test]
fn the_short_options_serve_as_the_long_ones_do() {
    let origin = Origin::counting("");
    let home = Home::new();
    home.write("my.toml", "policy = \"strict\"\n");
    let port = free_port().to_string();
    let proxy = launch(&home, &["-p", &port, "-o", &origin.url(), "-c", "my.toml"]);
    assert_eq!(proxy.port.to_string(), port);
    proxy.get("/a").expect(200, "MISS", "GET /a #0");
    proxy.log_line(&["policy strict", "my.toml"]);
    let stats = home.run_json(&["stats", "-p", &port, "--json"]);
    assert!(stats.is_object());
    home.run(&["-p", "-1", "-o", CLOSED])
        .refused(2, &["--port", "\"-1\" is not a port"]);
}

#[test]
fn a_mistake_that_is_known_gets_the_right_spelling_in_one_line() {
    let home = Home::new();
    for (args, line) in [
        (
            &["--port", "8000", "--target", CLOSED][..],
            "there is no --target, it is --origin; run: caching-proxy --port 8000 --origin http://127.0.0.1:9",
        ),
        (
            &["clear-cache"],
            "there is no `clear-cache`, it is --clear-cache; run: caching-proxy --clear-cache",
        ),
        (
            &["http://127.0.0.1:9/?a&b"],
            "the URL of the origin needs --origin; run: caching-proxy --origin 'http://127.0.0.1:9/?a&b'",
        ),
        (
            &["start", "-o", CLOSED],
            "`start` is not a command: leave it out; run: caching-proxy -o http://127.0.0.1:9",
        ),
    ] {
        let finished = home.run(args);
        finished.refused(2, &[]);
        assert_eq!(finished.stderr, format!("error: {line}\n"));
    }
    home.run(&["--orign", CLOSED]).refused(2, &["--origin"]);
}

#[test]
fn port_0_takes_a_free_port_and_every_command_finds_the_proxy_there() {
    let origin = Origin::counting("");
    let home = Home::new();
    home.write("config/proxy.toml", "port = 0\n");
    let proxy = launch(&home, &["--origin", &origin.url()]);
    let port = proxy.port.to_string();
    assert_eq!(
        proxy.stdout(),
        format!("Proxy starting on port {port}\nOrigin: {}\n", origin.url())
    );
    proxy.log_line(&["listening on", &format!("http://127.0.0.1:{port}/")]);
    proxy.get("/a").expect(200, "MISS", "GET /a #0");
    home.run_json(&["stats", "--json", "--port", &port]);
    // A reload reads the 0 of the file again. The port stays.
    let reloaded = home.run(&["reload", "--port", &port]);
    assert_eq!(reloaded.stderr, "no changes\n");
    proxy.get("/a").expect(200, "HIT", "GET /a #0");
    home.run(&["--clear-cache", "--port", "0"])
        .refused(2, &["a number from 1 to 65535"]);
}

#[test]
fn localhost_is_both_loopback_addresses_with_one_cache() {
    let origin = Origin::counting("");
    let home = Home::new();
    let proxy = launch(
        &home,
        &[
            "--bind",
            "localhost",
            "--port",
            "0",
            "--workers",
            "1",
            "--origin",
            &origin.url(),
        ],
    );
    proxy.log_line(&["listening on", &format!("http://localhost:{}/", proxy.port)]);
    proxy.get("/a").expect(200, "MISS", "GET /a #0");
    // A machine may have no IPv6.
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        let stream = TcpStream::connect((Ipv6Addr::LOCALHOST, proxy.port)).unwrap();
        let mut client = Client::over(stream);
        client
            .ask("/a", "")
            .answer()
            .expect(200, "HIT", "GET /a #0");
        assert_eq!(origin.count(), 1);
    }
}

#[test]
fn a_port_that_is_in_use_in_one_family_is_refused() {
    let Ok(other) = TcpListener::bind((Ipv6Addr::LOCALHOST, free_port())) else {
        return;
    };
    let port = other.local_addr().unwrap().port().to_string();
    let home = Home::new();
    home.run(&["--bind", "localhost", "--port", &port, "--origin", CLOSED])
        .refused(3, &[&format!("port {port} is in use")]);
}

#[test]
fn a_request_for_another_host_gets_421_and_a_sentence() {
    const SENTENCE: &str = "This is no forward proxy: it serves its own origins, and not the host in the URL of the request; \
                            to set the origin, start caching-proxy with --origin URL.\n";
    let origin = Origin::counting("");
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    for (url, host) in [
        ("http://elsewhere.test/x", "elsewhere.test".to_owned()),
        // Clients that use a forward proxy send the same host twice.
        (
            "http://elsewhere.test:8080/x",
            "elsewhere.test:8080".to_owned(),
        ),
        (
            "https://elsewhere.test/x",
            format!("127.0.0.1:{}", proxy.port),
        ),
    ] {
        let mut client = Client::connect(proxy.port);
        client.send(format!("GET {url} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        client.answer().expect(421, "MISS", SENTENCE);
        assert!(client.is_closed());
    }
    assert_eq!(origin.count(), 0);
    proxy.log_line(&["421", "--origin URL"]);
    let port = proxy.port.to_string();
    let stats = home.run_ok(&["stats", "--port", &port]);
    assert!(stats.contains("for another host"), "{stats}");
}

#[test]
fn a_request_in_absolute_form_for_the_proxy_itself_is_served() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    let port = proxy.port;
    for (host, x_cache) in [
        (Ipv4Addr::LOCALHOST.to_string(), "MISS"),
        ("localhost".to_owned(), "HIT"),
        ("[::1]".to_owned(), "HIT"),
    ] {
        let mut client = proxy.connect();
        client.send(format!(
            "GET http://{host}:{port}/x?y=1 HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n"
        ));
        client.answer().expect(200, x_cache, "GET /x?y=1 #0");
    }
}
