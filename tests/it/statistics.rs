//! Statistics of the proxy, in `stats` and at its end.

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    client::Client,
    instance::{Finished, Home, Instance},
    origin::Origin,
    ports::free_port,
};

/// The output of `stats --json`.
fn stats(home: &Home) -> Value {
    let shown = home.run(&["stats", "--json"]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    serde_json::from_str(&shown.stdout).unwrap()
}

fn count(causes: &Value, name: &str) -> u64 {
    let mut causes = causes.as_array().unwrap().iter();
    let cause = causes.find(|cause| cause["name"] == name);
    cause.map_or(0, |cause| cause["count"].as_u64().unwrap())
}

fn varied() -> Origin {
    Origin::start(|exchange| match exchange.target().as_str() {
        "/no-store" => exchange.ok("Cache-Control: no-store\r\n", "body"),
        "/validate" if exchange.nth > 0 => {
            exchange.send("HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n");
        }
        "/validate" => exchange.ok("Cache-Control: no-cache\r\nETag: \"a\"\r\n", "body"),
        _ => exchange.ok("", "ten bytes!"),
    })
}

#[test]
fn every_request_is_counted_once_with_its_outcome_and_reason() {
    let origin = varied();
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    for target in ["/a", "/a", "/a", "/no-store", "/validate", "/validate"] {
        proxy.get(target);
    }
    proxy.get_with("/b", "Cache-Control: only-if-cached\r\n");
    proxy.get_with("/a", "Cache-Control: no-cache\r\n");
    let stats = stats(&home);
    assert_eq!(stats["requests"], 8, "{stats:#}");
    assert_eq!(
        (&stats["hits"], &stats["validated"]),
        (&2.into(), &1.into())
    );
    assert_eq!((&stats["misses"], &stats["failed"]), (&4.into(), &1.into()));
    assert_eq!(count(&stats["misses_by"], "uri-miss"), 3);
    assert_eq!(count(&stats["misses_by"], "request"), 1);
    assert_eq!(count(&stats["not_stored_by"], "no-store"), 1);
    assert_eq!(count(&stats["not_reused_by"], "client-no-cache"), 1);
    assert_eq!(count(&stats["failed_by"], "only-if-cached"), 1);
    assert_eq!(stats["status_classes"], serde_json::json!([0, 7, 0, 0, 1]));
    assert_eq!(stats["origin"]["answers"], 5);
    assert_eq!(stats["saved"]["requests"], 2);
    assert_eq!(stats["saved"]["bytes"], 24);
    assert_eq!(stats["received_bytes"], 28);
    assert_eq!(stats["cache"]["entries"], 2);
    assert_eq!(stats["hit_ratio"], 0.375);
}

#[test]
fn a_hit_is_counted_with_the_log_off() {
    let origin = varied();
    let home = Home::new();
    let proxy = home.start_with(&origin.url(), &["--workers", "1"], &[("RUST_LOG", "off")]);
    for _ in 0..4 {
        proxy.get("/a");
    }
    let stats = stats(&home);
    assert_eq!((&stats["hits"], &stats["requests"]), (&3.into(), &4.into()));
    assert_eq!(
        (&stats["saved"]["bytes"], &stats["sent_bytes"]),
        (&30.into(), &40.into())
    );
}

#[test]
fn an_unreachable_origin_is_counted_as_such() {
    let home = Home::new();
    let proxy = home.start(&format!("http://127.0.0.1:{}", free_port()), &[]);
    assert_eq!(proxy.get("/").status(), 502);
    let stats = stats(&home);
    assert_eq!(count(&stats["failed_by"], "origin-unreachable"), 1);
    assert_eq!(stats["origin"]["failures"], 1);
    assert_eq!(stats["origin"]["last_failure_kind"], "origin-unreachable");
}

#[test]
fn the_text_report_names_savings_and_remedies_for_misses() {
    let origin = varied();
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    for target in ["/a", "/a", "/no-store"] {
        proxy.get(target);
    }
    let shown = home.run(&["stats"]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    for words in [
        &format!("on port {}", proxy.port),
        "33.3 %",
        "Saved",
        "no-store",
        "policy = \"always\" in a rule caches it",
        "of 256.0 MiB",
    ] {
        assert!(shown.stdout.contains(words), "{words}: {}", shown.stdout);
    }
}

#[test]
fn stats_on_a_pipe_writes_a_line_a_second_and_ends_with_its_reader() {
    let origin = varied();
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    proxy.get("/a");
    let port = proxy.port.to_string();
    let mut shell = std::process::Command::new("bash");
    let program = env!("CARGO_BIN_EXE_caching-proxy");
    let line = format!("\"{program}\" stats --watch --port {port} | head -n 2");
    shell.args(["-c", &line]).env_clear();
    shell.env("XDG_RUNTIME_DIR", home.path("run"));
    shell.env("TMPDIR", home.path("tmp"));
    shell.env("CACHING_PROXY_TEST_ROOT", home.path(""));
    shell.env("PATH", std::env::var_os("PATH").unwrap());
    let shown = Finished::of(shell);
    let lines: Vec<&str> = shown.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{shown:?}");
    assert!(
        lines[0].contains(" requests=1 hits=0 misses=1 "),
        "{lines:?}"
    );
    assert!(lines[1].contains(" requests=0 "), "{lines:?}");
}

#[test]
fn stats_without_a_running_proxy_exits_with_4() {
    Home::new().run(&["stats"]).refused(4, &["no running"]);
}

fn ended(mut proxy: Instance) -> String {
    proxy.signal(Signal::TERM);
    assert!(proxy.wait().success());
    proxy.log()
}

#[test]
fn the_proxy_prints_its_savings_at_the_end_if_there_were_requests() {
    let origin = varied();
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    for _ in 0..4 {
        proxy.get("/a");
    }
    let log = ended(proxy);
    assert!(
        log.contains("saved 3 requests to the origin (75 %), 30 B, "),
        "{log}"
    );
    let log = ended(home.start(&origin.url(), &[]));
    assert!(!log.contains("saved"), "{log}");
}

/// One more request has failed for the reason `name`, with a status of this class.
#[track_caller]
fn assert_one_more(before: &Value, after: &Value, name: &str, class: usize) {
    let failed = |stats: &Value| count(&stats["failed_by"], name);
    assert_eq!(failed(after), failed(before) + 1, "{after:#}");
    let number = |value: &Value| value.as_u64().unwrap();
    for path in ["requests", "failed"] {
        assert_eq!(number(&after[path]), number(&before[path]) + 1, "{path}");
    }
    let of_class = |stats: &Value| number(&stats["status_classes"][class]);
    assert_eq!(of_class(after), of_class(before) + 1, "{name}");
}

#[test]
fn requests_that_are_refused_before_the_handler_are_counted_by_status_and_logged_with_their_bytes()
{
    let (origin, home) = (Origin::counting(""), Home::new());
    let proxy = home.start(&origin.url(), &[]);
    let large = format!(
        "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
        "A: b\r\n".repeat(1000)
    );
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n";
    for (head, status, name, logged) in [
        (
            "GET / HTTP/1.1\r\n\r\n",
            400,
            "malformed-head",
            "B  the request has no Host header",
        ),
        // The parser refuses it.
        (
            "GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n",
            400,
            "malformed-head",
            "B  not an HTTP/1.1 request",
        ),
        (
            "HEAD a HTTP/1.1\r\nHost: a\r\n\r\n",
            400,
            "malformed-head",
            "B  the request target is not a path or a URL",
        ),
        (
            &large,
            431,
            "large-head",
            "B  the request has more than 1,000 header lines",
        ),
        (
            "GET / HTTP/2.0\r\n\r\n",
            505,
            "http-version",
            "B  the request is not in HTTP/1.0 or HTTP/1.1",
        ),
        (chunked, 400, "malformed-body", "B  "),
    ] {
        let before = stats(&home);
        let mut client = Client::connect(proxy.port);
        client.send(head);
        let method = head.split(' ').next().unwrap();
        let answer = client.answer_to(method);
        assert_eq!(answer.status(), status);
        let line = proxy.log_line(&[&format!("ms {}{logged}", answer.text().len())]);
        assert!(line.contains(&format!("MISS {status} ")), "{line}");
        assert!(!line.contains("disconnected"), "{line}");
        let after = stats(&home);
        assert_one_more(&before, &after, name, usize::from(status / 100 - 1));
        assert!(after["sent_bytes"].as_u64() >= before["sent_bytes"].as_u64());
    }
    assert_eq!(origin.count(), 0);
}
