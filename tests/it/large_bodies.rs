//! Stored bodies that are sent without a copy: every byte arrives in order.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::LazyLock,
};

use crate::{
    client::{Client, Ending},
    harness::{TestProxy, until},
    instance::Home,
    origin::Origin,
};

const KIB: usize = 1024;
const LARGEST: usize = 9000 * KIB;
/// Sizes around the limits that select how a body is sent and split.
const SIZES: [usize; 15] = [
    1,
    16 * KIB,
    32 * KIB - 1,
    32 * KIB,
    32 * KIB + 1,
    64 * KIB,
    128 * KIB - 1,
    128 * KIB,
    128 * KIB + 1,
    256 * KIB,
    256 * KIB + 1,
    1000 * KIB,
    2048 * KIB + 1,
    5000 * KIB,
    LARGEST,
];

/// The first `size` bytes of a text that does not repeat.
fn body_of(size: usize) -> &'static [u8] {
    static ALL: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let words = 0..u32::try_from(LARGEST / 4).unwrap();
        let word = |word: u32| word.wrapping_mul(2_654_435_761).to_le_bytes();
        words.flat_map(word).collect()
    });
    &ALL[..size]
}

/// An origin that responds to `/N` with a body of N bytes.
fn of_any_size() -> Origin {
    Origin::start(|exchange| {
        let size = exchange.target().trim_start_matches('/').parse().unwrap();
        exchange.ok("Cache-Control: max-age=600\r\n", body_of(size));
    })
}

/// A proxy that has stored bodies of all these sizes.
fn warm(origin: &Origin) -> TestProxy {
    let proxy = TestProxy::builder(origin)
        .with(|config| config.workers = 1)
        .start();
    for size in SIZES {
        assert_eq!(proxy.get(&format!("/{size}")).x_cache(), "MISS");
    }
    proxy
}

/// Reads the response to a GET and compares its body.
#[track_caller]
fn expect(client: &mut Client, status: u16, body: &[u8]) {
    let answer = client.answer();
    let found = (answer.status(), answer.x_cache(), answer.ending);
    assert_eq!(found, (status, "HIT", Ending::Whole));
    assert_eq!(answer.all("content-length"), [body.len().to_string()]);
    assert!(answer.all("transfer-encoding").is_empty());
    assert!(answer.body == body, "another body of {} bytes", body.len());
}

#[test]
fn bodies_of_every_size_arrive_byte_for_byte_over_one_connection() {
    let origin = of_any_size();
    let proxy = warm(&origin);
    let mut client = proxy.connect();
    for size in SIZES.into_iter().chain(SIZES.into_iter().rev()) {
        expect(client.ask(&format!("/{size}"), ""), 200, body_of(size));
    }
}

#[test]
fn pipelined_requests_get_large_bodies_one_after_the_other() {
    let origin = of_any_size();
    let proxy = warm(&origin);
    let mut client = proxy.connect();
    for _ in 0..2 {
        for size in SIZES {
            client.ask(&format!("/{size}"), "");
            client.send(format!("HEAD /{size} HTTP/1.1\r\nHost: a\r\n\r\n"));
        }
    }
    for _ in 0..2 {
        for size in SIZES {
            expect(&mut client, 200, body_of(size));
            let head = client.answer_to("HEAD");
            assert_eq!(head.all("content-length"), [size.to_string()]);
        }
    }
    client.ask("/1", "Connection: close\r\n");
    expect(&mut client, 200, body_of(1));
    assert!(client.is_closed());
}

#[test]
fn ranges_of_every_length_arrive_byte_for_byte() {
    let origin = of_any_size();
    let proxy = warm(&origin);
    let mut client = proxy.connect();
    for size in SIZES {
        let body = body_of(size);
        for (first, last) in [
            (0, size - 1),
            (size / 3, size - 1),
            (size / 3, size / 2),
            (size - 1, size - 1),
            (0, size.min(16 * KIB) - 1),
            (size.saturating_sub(16 * KIB), size - 1),
        ] {
            let range = format!("Range: bytes={first}-{last}\r\n");
            expect(
                client.ask(&format!("/{size}"), &range),
                206,
                &body[first..=last],
            );
        }
    }
    client.ask("/9216000", "Range: bytes=0-9999,1000000-1300000\r\n");
    let several = client.answer();
    assert_eq!((several.status(), several.ending), (206, Ending::Whole));
    assert!(memchr::memmem::find(&several.body, &body_of(1_300_001)[1_000_000..]).is_some());
    expect(client.ask("/65536", ""), 200, body_of(64 * KIB));
}

#[test]
fn the_connection_closes_after_the_body_if_it_must() {
    let origin = of_any_size();
    let proxy = warm(&origin);
    for size in SIZES {
        for (version, fields) in [("1.1", "Connection: close\r\n"), ("1.0", "")] {
            let mut client = proxy.connect();
            client.send(format!(
                "GET /{size} HTTP/{version}\r\nHost: a\r\n{fields}\r\n"
            ));
            expect(&mut client, 200, body_of(size));
            assert!(client.is_closed(), "{size} {version} {fields}");
        }
        let mut client = proxy.connect();
        for _ in 0..2 {
            client.send(format!(
                "GET /{size} HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"
            ));
            expect(&mut client, 200, body_of(size));
        }
    }
}

#[test]
fn a_half_closed_client_gets_the_whole_body() {
    let origin = of_any_size();
    let proxy = warm(&origin);
    for size in [64 * KIB, 128 * KIB + 1, 9000 * KIB] {
        let stream = TcpStream::connect(("127.0.0.1", proxy.port)).unwrap();
        let half = stream.try_clone().unwrap();
        let mut client = Client::over(stream);
        client.ask(&format!("/{size}"), "");
        half.shutdown(std::net::Shutdown::Write).unwrap();
        expect(&mut client, 200, body_of(size));
        assert!(client.is_closed());
    }
}

#[test]
fn a_request_with_a_body_gets_the_whole_response() {
    let origin = of_any_size();
    let proxy = warm(&origin);
    let mut client = proxy.connect();
    for size in SIZES {
        client.send(format!(
            "GET /{size} HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
        ));
        let answer = client.answer();
        assert_eq!((answer.status(), answer.ending), (200, Ending::Whole));
        assert!(answer.body == body_of(size));
    }
    expect(client.ask("/65536", ""), 200, body_of(64 * KIB));
}

/// A connection of a client with a small receive buffer.
pub(crate) fn client_with_small_buffer(port: u16) -> TcpStream {
    let socket = socket2::Socket::new(
        socket2::Domain::IPV4,
        socket2::Type::STREAM,
        Some(socket2::Protocol::TCP),
    )
    .unwrap();
    socket.set_recv_buffer_size(32 * KIB).unwrap();
    let address: std::net::SocketAddr = ([127, 0, 0, 1], port).into();
    socket.connect(&address.into()).unwrap();
    socket.into()
}

#[test]
fn a_body_cleared_during_its_transfer_arrives_whole() {
    let origin = of_any_size();
    let proxy = warm(&origin);
    let mut client = Client::over(client_with_small_buffer(proxy.port));
    client.ask("/9216000", "").ask("/65536", "");
    client.wait_for("\r\n\r\n");
    proxy.clear();
    assert_eq!(proxy.get("/9216000").x_cache(), "MISS");
    expect(&mut client, 200, body_of(LARGEST));
    let next = client.answer();
    assert_eq!((next.x_cache(), next.body.len()), ("MISS", 64 * KIB));
}

#[test]
fn a_stalled_client_of_a_large_body_delays_no_other_client() {
    let origin = of_any_size();
    let proxy = warm(&origin);
    let mut stalled = Client::over(client_with_small_buffer(proxy.port));
    stalled.ask("/9216000", "").wait_for("\r\n\r\n");
    let mut client = proxy.connect();
    for size in SIZES {
        expect(client.ask(&format!("/{size}"), ""), 200, body_of(size));
    }
    expect(&mut stalled, 200, body_of(LARGEST));
}

#[test]
fn a_body_in_transfer_arrives_whole_before_the_proxy_stops() {
    let origin = of_any_size();
    let proxy = warm(&origin);
    let mut client = Client::over(client_with_small_buffer(proxy.port));
    client.ask("/9216000", "").wait_for("\r\n\r\n");
    let reading = std::thread::spawn(move || {
        expect(&mut client, 200, body_of(LARGEST));
        assert!(client.is_closed());
    });
    proxy.stop();
    reading.join().unwrap();
}

#[test]
fn the_log_shows_the_bytes_sent_to_each_client() {
    let origin = of_any_size();
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    proxy.get("/9216000");
    proxy.get("/9216000");
    proxy.get("/65536");
    proxy.get("/65536");
    // Reads the head and a little more, and disconnects.
    let mut stream = client_with_small_buffer(proxy.port);
    stream
        .write_all(b"GET /9216000 HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    stream.read_exact(&mut [0; 1000]).unwrap();
    drop(stream);
    let lines = |sign: &str| {
        let log = proxy.log();
        log.lines()
            .filter(|line| line.contains("HIT 200") && line.ends_with(sign))
            .count()
    };
    until("the whole ones are logged", || {
        lines(" 9216000B") == 1 && lines(" 65536B") == 1
    });
    until("the one that broke off is logged", || {
        lines("B  client disconnected") == 1
    });
    assert!(!proxy.log().contains("9216000B  not sent"));
}

#[test]
fn a_client_that_reads_nothing_of_a_large_body_is_disconnected() {
    let origin = of_any_size();
    let home = Home::new();
    let proxy = home.start(&origin.url(), &["--client-timeout", "1s"]);
    assert_eq!(proxy.get("/9216000").status(), 200);
    let mut stream = client_with_small_buffer(proxy.port);
    stream
        .write_all(b"GET /9216000 HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    until("it is hung up on", || {
        proxy.log().contains("client disconnected")
    });
    let mut taken = Vec::new();
    let _ = stream.read_to_end(&mut taken);
    assert!(taken.len() < 9000 * KIB, "{}", taken.len());
}
