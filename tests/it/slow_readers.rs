//! Clients that read slowly, stall or disconnect: effects on other clients and on the origin.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::LazyLock,
    time::{Duration, Instant},
};

use crate::{
    client::{Answer, Client, Ending},
    harness::{DEADLINE, TestProxy},
    instance::Home,
    origin::{Exchange, Gate, Origin},
};

const KIB: usize = 1024;
const MAX_OBJECT_BYTES: u64 = 64 * 1024;
/// Longest transfer on a busy machine. A stall is noticed sooner, because each read has its deadline.
const LONGEST_TRANSFER: Duration = Duration::from_secs(3 * DEADLINE.as_secs());

/// A proxy with this number of workers that stores no body over 64 KiB.
fn proxy_with_small_limit(origin: &Origin, workers: usize) -> TestProxy {
    TestProxy::builder(origin)
        .with(|config| {
            config.max_object_bytes = MAX_OBJECT_BYTES;
            config.workers = workers;
        })
        .start()
}

/// A client with a small receive buffer that sends a request and reads nothing.
fn client_that_never_reads(port: u16, target: &str) -> TcpStream {
    let socket = socket2::Socket::new(
        socket2::Domain::IPV4,
        socket2::Type::STREAM,
        Some(socket2::Protocol::TCP),
    )
    .unwrap();
    socket.set_recv_buffer_size(4 * KIB).unwrap();
    let address: std::net::SocketAddr = ([127, 0, 0, 1], port).into();
    socket.connect(&address.into()).unwrap();
    let mut stream = TcpStream::from(socket);
    stream
        .write_all(format!("GET {target} HTTP/1.1\r\nHost: proxy.test\r\n\r\n").as_bytes())
        .unwrap();
    stream
}

/// An event stream that sends this text and then nothing. The gate opens when the proxy closes the connection.
fn silent_event_stream(fields: &'static str, said: &'static str) -> (Origin, Gate) {
    let hung_up = Gate::default();
    let origin = Origin::start({
        let hung_up = hung_up.clone();
        move |exchange| {
            exchange.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{fields}Transfer-Encoding: chunked\r\n\r\n"
            ));
            if !said.is_empty() {
                exchange.chunk(said);
            }
            exchange.stall();
            hung_up.open();
        }
    });
    (origin, hung_up)
}

#[test]
fn a_disconnect_from_a_silent_event_stream_reaches_the_origin() {
    for fields in [
        "",
        "Cache-Control: no-store\r\n",
        "Cache-Control: no-cache\r\n",
    ] {
        let (origin, hung_up) = silent_event_stream(fields, "data: 1\n\n");
        let proxy = TestProxy::to(&origin);
        let mut client = proxy.begin("/", "");
        client.wait_for("data: 1");
        drop(client);
        hung_up.wait();
    }
}

#[test]
fn a_disconnect_from_an_event_stream_without_events_reaches_the_origin() {
    let (origin, hung_up) = silent_event_stream("", "");
    let proxy = TestProxy::to(&origin);
    let mut client = proxy.begin("/", "");
    client.wait_for("\r\n\r\n");
    drop(client);
    hung_up.wait();
}

/// A chunked body of 32 MiB. The first chunk is "first"; the others are sent when the gate is open.
fn large_chunked_body(exchange: &mut Exchange<'_>, gate: &Gate) {
    let piece = vec![b'x'; 256 * KIB];
    exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    exchange.chunk("first");
    gate.wait();
    for _ in 0..128 {
        exchange.chunk(&piece);
    }
    exchange.chunk("");
}

#[test]
fn a_stalled_follower_does_not_stop_the_leader_of_a_body_too_large_to_store() {
    let gate = Gate::default();
    let origin = Origin::start({
        let gate = gate.clone();
        move |exchange| large_chunked_body(exchange, &gate)
    });
    let proxy = proxy_with_small_limit(&origin, 2);
    let mut leader = proxy.begin("/", "");
    leader.wait_for("first");
    let mut follower = proxy.begin("/", "");
    follower.wait_for("first");
    assert_eq!(origin.count(), 1, "the second streams along with the first");
    gate.open();
    let start = Instant::now();
    let answer = leader.answer();
    assert_eq!(
        (answer.ending, answer.body.len()),
        (Ending::Whole, 5 + 32 * KIB * KIB)
    );
    assert!(start.elapsed() < LONGEST_TRANSFER, "{:?}", start.elapsed());
    drop(follower);
}

/// How an origin lets a client go on with a body.
#[derive(Clone, Copy, Debug)]
enum GoingOn {
    /// It has a strong tag, and answers ranges.
    Ranges,
    /// It has a strong tag, and ignores Range.
    TagOnly,
    /// It says nothing.
    Nothing,
}

const LARGE: usize = 32 * KIB * KIB;

/// 32 MiB that do not repeat.
fn large_body() -> &'static [u8] {
    static ALL: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let words = 0..u32::try_from(LARGE / 4).unwrap();
        let word = |word: u32| word.wrapping_mul(2_654_435_761).to_le_bytes();
        words.flat_map(word).collect()
    });
    &ALL
}

/// A chunked body of 32 MiB, which begins after the first gate and goes on after the second; or the rest of it.
fn large_body_to_go_on(exchange: &mut Exchange<'_>, gates: &[Gate; 2], way: GoingOn) {
    let body = large_body();
    let tag = match way {
        GoingOn::Ranges | GoingOn::TagOnly => "ETag: \"v\"\r\n",
        GoingOn::Nothing => "",
    };
    let range = exchange.request.field("range");
    if let (GoingOn::Ranges, Some(range)) = (way, range) {
        assert_eq!(exchange.request.field("if-range").unwrap(), "\"v\"");
        let first = range
            .strip_prefix("bytes=")
            .and_then(|range| range.strip_suffix('-'));
        let first: usize = first.unwrap().parse().unwrap();
        let lines = format!(
            "{tag}Content-Range: bytes {first}-{}/{LARGE}\r\n",
            LARGE - 1
        );
        return exchange.answer("206 Partial Content", &lines, &body[first..]);
    }
    gates[0].wait();
    exchange.send(format!(
        "HTTP/1.1 200 OK\r\n{tag}Transfer-Encoding: chunked\r\n\r\n"
    ));
    exchange.chunk(&body[..10]);
    gates[1].wait();
    for piece in body[10..].chunks(256 * KIB) {
        exchange.chunk(piece);
    }
    exchange.chunk("");
}

/// Two clients of one body too large to store, of which the first is read first.
fn two_downloads(origin: &Origin, gates: &[Gate; 2]) -> [Answer; 2] {
    // It is made before anybody waits for it: that takes long.
    let _ = large_body();
    let proxy = proxy_with_small_limit(origin, 2);
    let mut clients = [proxy.begin("/", ""), proxy.begin("/", "")];
    proxy.wait_for_followers(1);
    gates[0].open();
    for client in &mut clients {
        client.wait_for_body();
    }
    assert_eq!(origin.count(), 1, "the second streams along with the first");
    gates[1].open();
    // The first is not held to the pace of the second, which reads nothing meanwhile.
    clients.each_mut().map(Client::answer)
}

#[test]
fn the_slower_of_two_downloads_of_a_body_too_large_to_store_gets_it_whole() {
    for way in [GoingOn::Ranges, GoingOn::TagOnly, GoingOn::Nothing] {
        let gates = [Gate::default(), Gate::default()];
        let origin = Origin::start({
            let gates = gates.clone();
            move |exchange| large_body_to_go_on(exchange, &gates, way)
        });
        for answer in two_downloads(&origin, &gates) {
            let found = (answer.status(), answer.ending);
            assert_eq!(found, (200, Ending::Whole), "{way:?}");
            assert!(answer.body == large_body(), "{way:?}: another body");
        }
        assert_eq!(origin.count(), 2, "{way:?}");
    }
}

#[test]
fn the_slower_download_is_cut_if_the_content_has_changed() {
    let gates = [Gate::default(), Gate::default()];
    let origin = Origin::start({
        let gates = gates.clone();
        move |exchange| match exchange.nth {
            0 => large_body_to_go_on(exchange, &gates, GoingOn::Nothing),
            _ => exchange.ok("", vec![b'x'; LARGE]),
        }
    });
    let [whole, cut] = two_downloads(&origin, &gates);
    assert_eq!((whole.ending, cut.ending), (Ending::Whole, Ending::Cut));
    assert!(large_body().starts_with(&cut.body));
}

/// This number of chunks of one byte, and the last chunk.
fn tiny_chunks(exchange: &mut Exchange<'_>, count: usize) {
    const AT_ONCE: usize = 4000;
    assert_eq!(count % AT_ONCE, 0);
    let block = b"1\r\ny\r\n".repeat(AT_ONCE);
    exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..count / AT_ONCE {
        exchange.send(&block);
    }
    exchange.chunk("");
}

#[test]
fn a_client_that_reads_many_tiny_chunks_gets_them_all_quickly() {
    const COUNT: usize = 200_000;
    let origin = Origin::start(|exchange| tiny_chunks(exchange, COUNT));
    let proxy = proxy_with_small_limit(&origin, 1);
    let start = Instant::now();
    let mut client = TcpStream::connect(("127.0.0.1", proxy.port)).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: proxy.test\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    let read = client.read_to_end(&mut answer);
    read.unwrap_or_else(|error| panic!("{error} after {} bytes", answer.len()));
    assert!(start.elapsed() < LONGEST_TRANSFER, "{:?}", start.elapsed());
    let body = memchr::memmem::find(&answer, b"\r\n\r\n").unwrap();
    // No chunk size has this letter, so the proxy may join chunks.
    assert_eq!(memchr::memchr_iter(b'y', &answer[body..]).count(), COUNT);
    assert!(answer.ends_with(b"\r\n0\r\n\r\n"));
}

#[test]
fn a_client_that_does_not_read_tiny_chunks_delays_no_other_client() {
    // More than sockets and windows hold, so the fetch stalls.
    const COUNT: usize = 4_000_000;
    let begun = Gate::default();
    let origin = Origin::start({
        let begun = begun.clone();
        move |exchange| match exchange.target().as_str() {
            "/tiny" => {
                begun.open();
                tiny_chunks(exchange, COUNT);
            }
            _ => exchange.ok("Cache-Control: no-store\r\n", "quick"),
        }
    });
    let proxy = proxy_with_small_limit(&origin, 1);
    let mut warm: Client = proxy.connect();
    warm.ask("/quick", "").answer().expect(200, "MISS", "quick");
    let stalled = client_that_never_reads(proxy.port, "/tiny");
    begun.wait();
    let start = Instant::now();
    for _ in 0..50 {
        warm.ask("/quick", "").answer().expect(200, "MISS", "quick");
    }
    assert!(start.elapsed() < LONGEST_TRANSFER, "{:?}", start.elapsed());
    drop(stalled);
}

/// The system takes little for a client that does not read. So it soon takes more for one that reads slowly, and a slow
/// client is told from one that has stopped.
#[cfg(target_os = "linux")]
#[test]
fn little_waits_in_the_system_for_a_client_that_does_not_read() {
    let origin = Origin::start(|exchange| exchange.ok("", vec![b'x'; 8 * KIB * KIB]));
    let home = Home::new();
    let proxy = home.start(&origin.url(), &["--client-timeout", "1s"]);
    proxy.get("/large");
    let stopped = client_that_never_reads(proxy.port, "/large");
    let line = proxy.log_line(&["HIT 200 GET /large", "client disconnected"]);
    drop(stopped);
    let sent = line.split_whitespace().find_map(|word| {
        let bytes = word.strip_suffix('B')?;
        bytes.parse::<usize>().ok()
    });
    assert!(sent.unwrap() < 512 * KIB, "{line}");
}
