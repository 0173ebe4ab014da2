//! Failures of the origin: the error response, its time limit, and which requests are repeated.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    client::{Answer, Client, Ending},
    harness::{DEADLINE, TestProxy},
    instance::{Home, Instance},
    origin::{Gate, Origin},
    ports::free_port,
};

/// Panics unless the body is one plain sentence without internal details.
#[track_caller]
pub(crate) fn assert_plain(answer: &Answer, status: u16) {
    let text = answer.text();
    assert_eq!(
        (answer.status(), answer.x_cache(), answer.ending),
        (status, "MISS", Ending::Whole),
        "{text}"
    );
    assert!(
        answer
            .field("content-type")
            .unwrap()
            .starts_with("text/plain"),
        "{:?}",
        answer.head
    );
    let line = text.trim_end();
    assert!(
        !line.is_empty() && line.len() < 300 && !line.contains('\n'),
        "{text:?}"
    );
    for inside in [
        "awc", "actix", "Error(", "Err(", "os error", "panicked", "src/", "Some(", "::", "Io(",
        "Connect(",
    ] {
        assert!(!text.contains(inside), "{inside:?} in {text:?}");
    }
}

/// A timeout short enough to wait for, and long enough for a busy machine.
const SHORT: Duration = Duration::from_secs(2);

fn short_timeout(origin: &Origin) -> TestProxy {
    TestProxy::builder(origin)
        .with(|config| config.timeout = SHORT)
        .start()
}

#[test]
fn a_refused_connection_gets_502() {
    let proxy = TestProxy::for_url(&format!("http://127.0.0.1:{}", free_port())).start();
    assert_plain(&proxy.get("/"), 502);
    assert_plain(&proxy.request("POST", "/", "", b"body"), 502);
}

#[test]
fn an_unknown_host_gets_502() {
    let proxy = TestProxy::for_url("http://no-such-host.invalid").start();
    assert_plain(&proxy.get("/"), 502);
}

#[test]
fn a_disconnect_without_a_response_gets_502() {
    let origin = Origin::start(|exchange| match exchange.target().as_str() {
        "/close" => exchange.close(),
        "/reset" => exchange.reset(),
        _ => {
            exchange.send("HTTP/1.1 200 OK\r\nX-Unfin");
            exchange.close();
        }
    });
    let proxy = TestProxy::to(&origin);
    for target in ["/close", "/reset", "/half-a-head"] {
        assert_plain(&proxy.get(target), 502);
    }
}

#[test]
fn a_response_that_is_not_http_gets_502() {
    let origin = Origin::start(|exchange| {
        exchange.send("220 mail.example ESMTP\r\n\r\n");
        exchange.close();
    });
    let proxy = TestProxy::to(&origin);
    assert_plain(&proxy.get("/"), 502);
}

#[test]
fn a_failure_is_not_stored() {
    let origin = Origin::start(|exchange| match exchange.nth {
        0 => exchange.reset(),
        _ => exchange.ok("", "back again"),
    });
    let proxy = TestProxy::to(&origin);
    assert_plain(&proxy.get("/"), 502);
    proxy.get("/").expect(200, "MISS", "back again");
}

/// An origin that closes every connection while it is down.
fn origin_with_outage(is_down: &Arc<AtomicBool>) -> Origin {
    let is_down = Arc::clone(is_down);
    Origin::start(move |exchange| {
        let fields = match exchange.target().as_str() {
            "/old" => "Cache-Control: max-age=1, must-revalidate\r\nAge: 9\r\nETag: \"a\"\r\n",
            "/vary" => "Cache-Control: max-age=60\r\nVary: Accept\r\n",
            _ => "Cache-Control: max-age=60\r\n",
        };
        match is_down.load(Ordering::SeqCst) {
            true => exchange.reset(),
            false => exchange.ok(fields, "body"),
        }
    })
}

/// The Cache-Status of a MISS.
#[track_caller]
fn status_of_miss(proxy: &Instance, target: &str, fields: &str) -> String {
    let put = "PUT /put HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let answer = match target {
        "/put" => Client::connect(proxy.port).send(put).answer(),
        _ => proxy.get_with(target, fields),
    };
    assert_eq!(answer.x_cache(), "MISS", "{target}");
    answer.field("cache-status").unwrap().to_owned()
}

#[test]
fn a_failed_fetch_has_the_same_forward_reason_as_a_successful_one() {
    let is_down = Arc::new(AtomicBool::new(false));
    let origin = origin_with_outage(&is_down);
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    for target in ["/fresh", "/old", "/vary"] {
        proxy.get(target).expect(200, "MISS", "body");
    }
    is_down.store(true, Ordering::SeqCst);
    let no_cache = "Cache-Control: no-cache\r\n";
    let cases = [
        ("/cold", "", "uri-miss", ""),
        ("/fresh", no_cache, "request", "; detail=client-no-cache"),
        ("/old", "", "stale", ""),
        ("/vary", "Accept: b\r\n", "vary-miss", ""),
        ("/if", "If-Match: \"x\"\r\n", "uri-miss", ""),
        ("/put", "", "method", ""),
    ];
    for (target, fields, forward, detail) in cases {
        let status = status_of_miss(&proxy, target, fields);
        let expected = format!("caching-proxy; fwd={forward}{detail}");
        assert_eq!(status, expected, "{target}");
    }
    proxy.log_line(&[
        "MISS 504 GET /fresh",
        "not reused: client-no-cache (ignore_client_cache_control = true in a [[rules]] entry for ",
        "the cached response must be validated",
    ]);
    // A request that is not forwarded has no forward reason.
    let field = "Cache-Control: only-if-cached\r\n";
    assert_eq!(status_of_miss(&proxy, "/nothing", field), "caching-proxy");
    is_down.store(false, Ordering::SeqCst);
    for (target, fields, forward, _) in cases {
        let status = status_of_miss(&proxy, target, fields);
        let expected = format!("caching-proxy; fwd={forward}; fwd-status=200");
        assert!(status.starts_with(&expected), "{target}: {status}");
    }
}

#[test]
fn a_silent_origin_leads_to_504_within_the_timeout() {
    let origin = Origin::start(|exchange| {
        if exchange.target() == "/half" {
            exchange.send("HTTP/1.1 200 OK\r\nX-Half: 1\r\n");
        }
        exchange.stall();
    });
    let proxy = short_timeout(&origin);
    for target in ["/none", "/half"] {
        let start = Instant::now();
        assert_plain(&proxy.get(target), 504);
        assert!(start.elapsed() < DEADLINE, "{:?}", start.elapsed());
    }
    assert_plain(&proxy.request("POST", "/post", "", b"body"), 504);
}

#[test]
fn a_body_that_stalls_at_the_origin_is_truncated_for_the_client() {
    let origin = Origin::start(|exchange| match exchange.nth {
        0 => {
            exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this");
            exchange.stall();
        }
        _ => exchange.ok("", "whole"),
    });
    let proxy = short_timeout(&origin);
    let cut = proxy.get("/");
    assert_eq!(
        (cut.status(), cut.ending, cut.text().as_str()),
        (200, Ending::Cut, "only this")
    );
    proxy.get("/").expect(200, "MISS", "whole");
}

#[test]
fn the_timeout_limits_silence_and_not_the_whole_response() {
    let origin = Origin::start(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n");
        for _ in 0..12 {
            // A gate that stays closed would panic; a channel without a sender is a pause of known length.
            let (_keep, pause) = std::sync::mpsc::channel::<()>();
            pause.recv_timeout(SHORT / 8).unwrap_err();
            exchange.send("x");
        }
    });
    let proxy = short_timeout(&origin);
    proxy.get("/").expect(200, "MISS", "xxxxxxxxxxxx");
}

#[test]
fn a_get_on_a_dead_reused_connection_is_sent_again() {
    let origin =
        Origin::start(
            |exchange| match (exchange.request.connection, exchange.target().as_str()) {
                (0, "/second") => exchange.reset(),
                _ => {
                    let target = exchange.target();
                    exchange.ok("", target);
                }
            },
        );
    let proxy = TestProxy::builder(&origin)
        .with(|config| config.workers = 1)
        .start();
    proxy.get("/first").expect(200, "MISS", "/first");
    proxy.get("/second").expect(200, "MISS", "/second");
}

#[test]
fn a_connection_closed_while_idle_causes_no_failure() {
    let origin = Origin::start(|exchange| {
        exchange.ok("", "body");
        exchange.close();
    });
    let proxy = TestProxy::to(&origin);
    for number in 0..20 {
        proxy.get(&format!("/{number}")).expect(200, "MISS", "body");
    }
    for _ in 0..20 {
        assert_eq!(proxy.request("DELETE", "/x", "", b"").status(), 200);
    }
}

#[test]
fn a_post_is_never_sent_twice() {
    let origin = Origin::start(|exchange| match exchange.request.method().as_str() {
        "POST" => exchange.reset(),
        _ => exchange.ok("", "body"),
    });
    let proxy = TestProxy::builder(&origin)
        .with(|config| config.workers = 1)
        .start();
    // Opens a connection that can be reused.
    proxy.get("/").expect(200, "MISS", "body");
    assert_plain(&proxy.request("POST", "/order", "", b"one pizza"), 502);
    assert_plain(&proxy.request("POST", "/empty", "", b""), 502);
    let posts = origin
        .seen()
        .iter()
        .filter(|seen| seen.method() == "POST")
        .count();
    assert_eq!(posts, 2);
}

#[test]
fn a_get_that_fails_on_a_new_connection_is_not_repeated() {
    let origin = Origin::start(|exchange| exchange.reset());
    let proxy = TestProxy::to(&origin);
    assert_plain(&proxy.get("/"), 502);
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_client_that_disconnects_during_its_upload_affects_no_other_client() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    for _ in 0..20 {
        let mut client = proxy.connect();
        client.send("POST /half HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nonly this");
    }
    proxy.get("/").expect(200, "MISS", "GET / #0");
    assert_eq!(origin.count(), 1);
}

#[test]
fn many_slow_responses_do_not_delay_a_fast_one() {
    let gate = Gate::default();
    let origin = Origin::start({
        let gate = gate.clone();
        move |exchange| {
            if exchange.target() != "/quick" {
                gate.wait();
            }
            exchange.ok("", "body");
        }
    });
    let proxy = TestProxy::to(&origin);
    let mut slow: Vec<_> = (0..40)
        .map(|number| proxy.begin(&format!("/slow/{number}"), ""))
        .collect();
    origin.wait_for(40);
    proxy.get("/quick").expect(200, "MISS", "body");
    gate.open();
    for client in &mut slow {
        client.answer().expect(200, "MISS", "body");
    }
}

#[test]
fn a_shutdown_finishes_requests_in_progress() {
    let gate = Gate::default();
    let origin = Origin::start({
        let gate = gate.clone();
        move |exchange| {
            exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst ");
            gate.wait();
            exchange.send("last");
        }
    });
    let proxy = TestProxy::to(&origin);
    let mut client = proxy.begin("/", "Connection: close\r\n");
    client.wait_for("first ");
    let port = proxy.port;
    let stopping = std::thread::spawn(move || proxy.stop());
    crate::harness::until("the port is closed", || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_err()
    });
    gate.open();
    client.answer().expect(200, "MISS", "first last");
    stopping.join().unwrap();
}

#[test]
fn an_origin_that_is_down_at_the_start_causes_only_a_warning() {
    let address = format!("127.0.0.1:{}", free_port());
    let home = Home::new();
    let mut proxy = home.start(&format!("http://{address}"), &[]);
    proxy.log_line(&[
        "WARN",
        "cannot reach the origin",
        &format!("{address} cannot be reached: connection refused"),
        "502 or 504",
    ]);
    assert_eq!(proxy.get("/").status(), 502);
    proxy.signal(rustix::process::Signal::TERM);
    assert_eq!(proxy.wait().code(), Some(0));
}

#[test]
fn an_origin_that_is_up_at_the_start_gets_no_request() {
    let origin = Origin::counting("");
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    proxy.get("/").expect(200, "MISS", "GET / #0");
    assert_eq!(origin.count(), 1);
    let log = proxy.whole_log();
    assert!(!log.contains("WARN"), "{log}");
}
