//! Limits: memory stays bounded whatever clients and the origin send, and every wait ends.
//!
//! Memory is measured on the real binary, which runs nothing else.

use std::{io::Write, net::TcpStream, time::Duration};

use crate::{
    client::{Client, Ending},
    harness::{TestProxy, until},
    instance::Home,
    origin::{Exchange, Origin},
};

const MIB: usize = 1024 * 1024;

fn mib(count: usize) -> u64 {
    u64::try_from(count * MIB).unwrap()
}

fn big(exchange: &mut Exchange<'_>, length: usize) {
    exchange.send(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"
    ));
    exchange.filler(length);
}

#[test]
fn a_400_mib_body_is_relayed_in_little_memory() {
    const LENGTH: usize = 400 * MIB;
    let origin = Origin::start(|exchange| match exchange.target().as_str() {
        "/big" => big(exchange, LENGTH),
        _ => exchange.ok("", "small"),
    });
    let home = Home::new();
    let proxy = home.start(&origin.url(), &["--max-memory", "32MiB"]);
    proxy.get("/warm-up").expect(200, "MISS", "small");
    let before = proxy.memory("VmRSS");
    let mut client = Client::connect(proxy.port);
    let (head, bytes) = client.ask("/big", "Connection: close\r\n").count_body();
    assert_eq!(
        (head.status, bytes),
        (200, u64::try_from(LENGTH).unwrap()),
        "{head:?}"
    );
    let grown = proxy.memory("VmHWM") - before;
    assert!(grown < mib(64), "grown by {} KiB", grown / 1024);
}

#[test]
fn a_100_mib_upload_is_relayed_in_little_memory() {
    const LENGTH: usize = 100 * MIB;
    let origin = Origin::start(|exchange| {
        let length = exchange.request.body.len().to_string();
        exchange.ok("", length);
    });
    let home = Home::new();
    let proxy = home.start(&origin.url(), &["--max-memory", "32MiB"]);
    proxy.get("/warm-up").expect(200, "MISS", "0");
    let before = proxy.memory("VmRSS");
    let mut client = Client::connect(proxy.port);
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LENGTH}\r\n\r\n"
    ));
    let piece = vec![b'u'; MIB];
    for _ in 0..LENGTH / MIB {
        client.send(&piece);
    }
    client.answer().expect(200, "MISS", &LENGTH.to_string());
    let grown = proxy.memory("VmHWM") - before;
    assert!(grown < mib(32), "grown by {} KiB", grown / 1024);
}

#[test]
fn twenty_stalled_readers_of_16_mib_use_little_memory() {
    const LENGTH: usize = 16 * MIB;
    let origin = Origin::start(|exchange| big(exchange, LENGTH));
    let home = Home::new();
    let proxy = home.start(
        &origin.url(),
        &[
            "--max-memory=64MiB",
            "--max-object=20MiB",
            // Every client reads often enough not to count as stalled.
            "--timeout=10m",
        ],
    );
    assert_eq!(proxy.get("/").body.len(), LENGTH);
    assert_eq!(proxy.get("/").x_cache(), "HIT");
    let before = proxy.memory("VmRSS");
    let mut readers: Vec<Client> = (0..20).map(|_| Client::connect(proxy.port)).collect();
    for reader in &mut readers {
        reader.ask("/", "").wait_for("\r\n\r\n");
    }
    // A client that reads gets the whole body while the others stall.
    assert_eq!(proxy.get("/").body.len(), LENGTH);
    for reader in &mut readers {
        let answer = reader.answer();
        assert_eq!((answer.ending, answer.body.len()), (Ending::Whole, LENGTH));
    }
    let grown = proxy.memory("VmHWM").saturating_sub(before);
    assert!(grown < mib(48), "grown by {} KiB", grown / 1024);
    assert_eq!(origin.count(), 1);
}

#[test]
fn twenty_stalled_readers_during_a_fetch_use_little_memory() {
    const LENGTH: usize = 64 * MIB;
    let origin = Origin::start(|exchange| match exchange.target().as_str() {
        "/big" => big(exchange, LENGTH),
        _ => exchange.ok("", "small"),
    });
    let home = Home::new();
    // The body is too large to store, so each fetch waits for its reader.
    let proxy = home.start(&origin.url(), &["--max-memory", "16MiB"]);
    proxy.get("/warm-up").expect(200, "MISS", "small");
    let before = proxy.memory("VmRSS");
    let mut readers: Vec<Client> = (0..20).map(|_| Client::connect(proxy.port)).collect();
    for reader in &mut readers {
        reader.ask("/big", "").wait_for("\r\n\r\n");
    }
    for number in 0..50 {
        proxy
            .get(&format!("/{number}"))
            .expect(200, "MISS", "small");
    }
    drop(readers);
    let grown = proxy.memory("VmHWM") - before;
    assert!(grown < mib(96), "grown by {} KiB", grown / 1024);
}

#[test]
fn the_budget_holds_under_a_flood_of_distinct_objects() {
    let origin =
        Origin::start(|exchange| exchange.ok("Content-Type: image/png\r\n", vec![b'f'; 32 * 1024]));
    let home = Home::new();
    let proxy = home.start(&origin.url(), &["--max-memory", "16MiB"]);
    proxy.get("/warm-up");
    let before = proxy.memory("VmRSS");
    let mut client = Client::connect(proxy.port);
    for number in 0..3000 {
        assert_eq!(
            client.ask(&format!("/{number}"), "").answer().body.len(),
            32 * 1024
        );
    }
    let grown = proxy.memory("VmRSS").saturating_sub(before);
    assert!(grown < mib(48), "96 MiB came, {} KiB stayed", grown / 1024);
}

#[test]
fn many_small_objects_count_with_their_overhead() {
    const BUDGET: u64 = 1024 * 1024;
    let origin = Origin::counting("Vary: X-Variant\r\n");
    let small = |config: &mut caching_proxy::config::Config| {
        config.max_memory_bytes = BUDGET;
        config.max_object_bytes = BUDGET / 4;
    };
    let proxy = TestProxy::builder(&origin).with(small).start();
    let filler = "k".repeat(2000);
    let mut client = proxy.connect();
    for number in 0..1000 {
        client.ask(&format!("/{number}?{filler}"), "").answer();
        client
            .ask("/one", &format!("X-Variant: {number}{filler}\r\n"))
            .answer();
    }
    let cleared = proxy.clear();
    assert!(
        cleared.entries > 0 && cleared.bytes <= BUDGET,
        "{} entries, {} bytes",
        cleared.entries,
        cleared.bytes
    );
    // A key of 2000 bytes uses at least that much memory.
    assert!(
        cleared.entries * 2000 <= BUDGET,
        "{} entries of more than 2000 bytes each",
        cleared.entries
    );
}

#[test]
fn a_scan_does_not_evict_frequently_requested_objects() {
    let origin = Origin::start(|exchange| {
        let body = format!("{:0>4096}", exchange.nth);
        exchange.ok("", body);
    });
    let small = |config: &mut caching_proxy::config::Config| {
        config.max_memory_bytes = 1024 * 1024;
        config.max_object_bytes = 256 * 1024;
    };
    let proxy = TestProxy::builder(&origin).with(small).start();
    let mut client = proxy.connect();
    for number in 0..800 {
        client.ask("/popular", "").answer();
        client.ask(&format!("/scanned/{number}"), "").answer();
    }
    let fetches = origin
        .seen()
        .iter()
        .filter(|seen| seen.target() == "/popular")
        .count();
    assert!(fetches <= 3, "fetched {fetches} times");
}

#[test]
fn an_object_over_the_size_limit_is_served_whole_and_not_stored() {
    const LIMIT: usize = 64 * 1024;
    let origin = Origin::start(|exchange| {
        let length = if exchange.target().ends_with("fits") {
            LIMIT
        } else {
            LIMIT + 1
        };
        if exchange.target().starts_with("/chunked") {
            exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            exchange.chunk(vec![b'o'; length / 2]);
            exchange.chunk(vec![b'o'; length - length / 2]);
            exchange.chunk("");
        } else {
            exchange.ok("", vec![b'o'; length]);
        }
    });
    let limit = |config: &mut caching_proxy::config::Config| config.max_object_bytes = 64 * 1024;
    let proxy = TestProxy::builder(&origin).with(limit).start();
    for framing in ["/chunked", "/length"] {
        for (size, second, length) in [("-fits", "HIT", LIMIT), ("-too-large", "MISS", LIMIT + 1)] {
            let target = format!("{framing}{size}");
            for outcome in ["MISS", second] {
                let answer = proxy.get(&target);
                let found = (answer.x_cache(), answer.ending, answer.body.len());
                assert_eq!(found, (outcome, Ending::Whole, length), "{target}");
            }
        }
    }
}

#[test]
fn a_request_with_too_large_headers_gets_431() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    let mut client = proxy.connect();
    client.send_until_refused(
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\nX-Large: {}\r\n\r\n",
            "l".repeat(2 * MIB)
        )
        .as_bytes(),
    );
    assert_eq!(client.answer().status(), 431);
    assert_eq!(origin.count(), 0);
}

#[test]
fn endless_headers_of_the_origin_get_502() {
    let origin = Origin::start(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nX-Large: ");
        exchange.filler(64 * MIB);
        exchange.close();
    });
    let proxy = TestProxy::to(&origin);
    assert_eq!(proxy.get("/").status(), 502);
}

#[test]
fn a_client_that_never_finishes_its_headers_gets_408() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    let (mut first, mut later) = (proxy.connect(), proxy.connect());
    // These ask for nothing.
    let (mut silent, mut blank) = (proxy.connect(), proxy.connect());
    first.send("GET / HTTP/1.1\r\nHost: a\r\nX-Slo");
    blank.send("\r\n");
    // Unlike the first connection, this one has carried a request.
    later.ask("/", "").answer();
    later.send("GET /again HTTP/1.1\r\nHost: a\r\nX-Slo");
    for mut client in [first, later] {
        let answer = client.answer();
        answer.expect(408, "MISS", "The request headers did not arrive in time.\n");
        assert_eq!(answer.field("connection"), Some("close"));
        assert!(client.is_closed());
    }
    assert!(silent.is_closed() && blank.is_closed());
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_client_that_never_finishes_its_body_after_the_response_is_disconnected() {
    let origin = Origin::counting("");
    let proxy = TestProxy::builder(&origin)
        .with(|config| config.client_timeout = Duration::from_millis(300))
        .start();
    for (framing, begun) in [
        ("Transfer-Encoding: chunked", "5\r\nab"),
        ("Transfer-Encoding: chunked", ""),
        ("Content-Length: 5", "ab"),
    ] {
        let head = |fields| format!("OPTIONS / HTTP/1.1\r\nHost: a\r\n{fields}{framing}\r\n\r\n");
        // One response is sent at once, the other when the body does not arrive.
        for (fields, status) in [("Max-Forwards: 0\r\n", 200), ("", 408)] {
            let mut client = proxy.connect();
            client.send(head(fields) + begun);
            let answer = client.answer_to("OPTIONS");
            assert_eq!(answer.status(), status, "{framing}");
            assert_eq!(answer.field("connection"), Some("close"), "{framing}");
            assert!(client.is_closed(), "{framing}");
        }
    }
    // This client sends continuously and never finishes.
    let mut stream = TcpStream::connect(("127.0.0.1", proxy.port)).unwrap();
    stream
        .write_all(
            b"OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
        )
        .unwrap();
    until("the endless request is refused", || {
        stream.write_all(b"1\r\na\r\n").is_err()
    });
}

#[test]
fn clients_wait_while_all_files_are_open() {
    const LIMIT: usize = 64;
    let origin = Origin::counting("");
    let home = Home::new();
    let port = crate::ports::free_port();
    let port_flag = port.to_string();
    let args = [
        "--workers=1",
        "--port",
        &port_flag,
        "--origin",
        &origin.url(),
    ];
    let command = home.command_after(&format!("ulimit -n {LIMIT}"), &args);
    let proxy = crate::instance::Instance::launch(command, port).expect("the port was free");
    proxy.get("/").expect(200, "MISS", "GET / #0");
    let mut clients: Vec<Client> = (0..LIMIT).map(|_| Client::connect(port)).collect();
    proxy.log_line(&["cannot accept connections: ", "open files"]);
    // Each closes its connection, so the last one is accepted too.
    for client in &mut clients {
        let answer = client.ask("/", "Connection: close\r\n").answer();
        answer.expect(200, "HIT", "GET / #0");
    }
    let log = proxy.whole_log();
    assert_eq!(log.matches("cannot accept connections").count(), 1, "{log}");
}

#[test]
fn a_client_beyond_the_limit_waits_until_another_one_leaves() {
    let origin = Origin::counting("Cache-Control: no-store\r\n");
    let home = Home::new();
    let args = ["--max-clients", "2", "--workers", "1"];
    let proxy = home.start(&origin.url(), &args);
    let connect = || {
        let mut client = Client::connect(proxy.port);
        assert_eq!(client.ask("/a", "").answer().status(), 200);
        client
    };
    let mut clients = [connect(), connect()];
    let mut third = Client::connect(proxy.port);
    third.ask("/third", "");
    for client in &mut clients {
        assert_eq!(client.ask("/a", "").answer().status(), 200);
    }
    assert!(origin.seen().iter().all(|seen| seen.target() == "/a"));
    drop(clients);
    third.answer().expect(200, "MISS", "GET /third #0");
}

#[test]
fn too_few_open_files_for_all_clients_are_a_warning() {
    let origin = Origin::counting("");
    let home = Home::new();
    let url = origin.url();
    let port = crate::ports::free_port();
    let args = [
        "--origin",
        &url,
        "--port",
        &port.to_string(),
        "--workers",
        "1",
    ];
    let command = home.command_after("ulimit -n 500", &args);
    let proxy = crate::instance::Instance::launch(command, port).unwrap();
    proxy.log_line(&["WARN", "limit of open files is 500", "--max-clients 8192"]);
}
